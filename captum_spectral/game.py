"""The game that frequency bands play: the only place that calls the model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import (
    RowExamples,
    check_count,
    format_baselines,
    format_inputs,
    format_spectral_dims,
    format_target,
    take_args,
    take_target,
)
from captum_spectral._captum import (
    BaselineType,
    NullProgress,
    TargetType,
    progress,
    run_forward,
)
from captum_spectral._engine.bands import Bands, BandSignals
from captum_spectral._engine.chunk_size import ChunkSize, FixedSize, automatic_size
from captum_spectral._engine.evaluation import Evaluation, OneNumberPerBatchError
from captum_spectral._engine.grid import Walk
from captum_spectral._feature_mask import format_feature_masks
from captum_spectral._outputs import select
from captum_spectral.synthesis import synthesize_rows

__all__ = ["BandGame", "warn_if_training"]


class BandGame:
    r"""The cooperative game in which the frequency bands of an input are the players.

    A coalition :math:`S` of bands is worth what the model makes of the input whose other bands are
    those of the baseline:

    .. math::
        v(S) = f(x_S), \qquad x_S = b + \sum_{i \in S} (x_i - b_i)

    :meth:`evaluate` gives the values of coalitions. Called on real weights, the game is a forward
    function over band space, differentiable in the weights, so that *any* Captum method runs on it
    and its result compares with the Shapley values:

    .. code-block:: python

        game = BandGame(model, inputs)
        IntegratedGradients(game).attribute(
            torch.ones(B, M), target=target, additional_forward_args=torch.arange(B)
        )

    The indices ``torch.arange(B)`` say which example a row belongs to. Captum's methods multiply
    rows in different orders and expand the indices alongside, so nothing is left to guess.

    Args:
        forward_func: The model, or any function of the inputs that Captum accepts.
        inputs: Real floating ``(B, ..., H, W)`` tensor, or a tuple of them.
        feature_mask: Integer band ids over the unshifted Fourier plane (layout of
            ``torch.fft.fftn`` over the spectral dims), of the shape of the spectral dims or
            broadcastable to the input; a tuple of them for a tuple of inputs, where the same id in
            two tensors is one player. None: ``num_bands`` equal-width bands for each tensor.
            Default: None
        baselines: What an absent band holds: None (zero), a number, a tensor of the input's shape
            or with first dim 1, or a tuple of those. Default: None
        target: As everywhere in Captum; None keeps all outputs. Leave it out where the Captum
            method run on the game is given the target. Default: None
        additional_forward_args: Further arguments of ``forward_func``; tensors with one entry per
            example follow their example. Default: None
        num_bands: Bands per input tensor when there is no ``feature_mask``. Default: 8
        spectral_dims: The transformed dims. Default: (-2, -1)

    Attributes:
        num_bands (int): ``M``, the largest band id plus one.
        num_examples (int): ``B``.
        players (Tensor): ``(P,)`` the band ids that hold any frequency.
        feature_masks (tuple[Tensor, ...]): The masks, with the rank of their inputs.

    Raises:
        TypeError: Inputs, mask, baselines or counts of a wrong kind.
        ValueError: Non-finite inputs, shapes that do not fit, an asymmetric mask, a target of the
            wrong length, spectral dims out of range.

    Warns:
        UserWarning: The model, or a part of it, is in training mode: dropout and batch statistics
            would make the values random.

    Cost: no model rows until it is evaluated.

    Example::

        >>> import torch
        >>> from captum_spectral import BandGame
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 5)).eval()
        >>> game = BandGame(model, torch.randn(2, 3, 16, 16), num_bands=4)
        >>> game.evaluate(torch.eye(4, dtype=torch.bool)).shape
        torch.Size([2, 4, 5])
        >>> weights = torch.rand(6, 4, requires_grad=True)
        >>> game(weights, torch.tensor([0, 0, 0, 1, 1, 1])).shape
        torch.Size([6, 5])
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        feature_mask: Tensor | tuple[Tensor, ...] | None = None,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: Any = None,
        num_bands: int = 8,
        spectral_dims: int | tuple[int, ...] = (-2, -1),
    ) -> None:
        self.forward_func = forward_func
        self.additional_forward_args = additional_forward_args
        self._inputs = format_inputs(inputs)
        dims = format_spectral_dims(spectral_dims, self._inputs)
        baselines = format_baselines(baselines, self._inputs)
        self.feature_masks = format_feature_masks(feature_mask, self._inputs, dims, num_bands)
        self._signals = BandSignals(self._inputs, baselines, self.feature_masks, dims)
        self.players = torch.cat(self._signals.ids).unique()
        self.num_bands = int(self.players[-1]) + 1
        self.num_examples = len(self._inputs[0])
        target, self._highest_class = format_target(target, self.num_examples)
        # On the device of the rows: copying it there for every forward pass would wait for it.
        on_device = isinstance(target, Tensor)
        self._target = target.to(self._signals.device) if on_device else target
        self._unfinished: tuple[Tensor, int | None, Evaluation] | None = None
        warn_if_training(forward_func)

    # ------------------------------------------------------------------ coalitions

    def evaluate(
        self,
        coalitions: Tensor,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        description: str = "Band game evaluation",
    ) -> Tensor:
        """Values of coalitions, without gradients.

        Args:
            coalitions: Boolean ``(K, M)``, shared by all examples, or ``(B, K, M)``, each example
                its own.
            perturbations_per_eval: How many coalitions of the whole batch share a forward pass
                (Captum's meaning: at most ``perturbations_per_eval * B`` rows, coalition by
                coalition). None: as many rows as the model is fastest with, found on the way and
                remembered for this model and kind of input until the process ends; of few examples
                at a time, so memory does not grow with ``B``. Use 1 for a ``forward_func`` that
                needs the batch as it is (it is divided only where it does not fit in memory), and
                any number for results that are the same to the last bit in every run that does
                not meet the limits of memory.
                Default: None
            show_progress: Show a progress bar, in rows. Default: False
            description: Title of the progress bar.

        Returns:
            ``(B, K, *outputs)``; float64 where the model gives float64, else float32. A
            ``forward_func`` that gives one number for the whole batch has its values with first dim
            1: ``(1, K, *outputs)``.

        Raises:
            TypeError: Coalitions that are not boolean, a forward output that is no real number or
                tensor.
            ValueError: Shapes that do not fit, ``perturbations_per_eval`` below 1, or above 1 when
                ``forward_func`` gives one number for the batch, an output that is not finite (the
                message names the coalition) or does not grow with the batch.
            torch.OutOfMemoryError: Not even one row fits in memory, or the table of values does
                not. Otherwise a forward pass that does not fit is repeated with half the rows.

        An exception in ``forward_func``, Ctrl-C too, loses nothing: called again with the same
        coalitions, the game goes on where it was interrupted. Make a new game if the model has
        changed in between.

        Cost: ``K`` model rows per example. Memory beyond the table of values: the ``M + 1`` band
        signals of the examples in a forward, and its rows.
        """
        self._check_coalitions(coalitions)
        if perturbations_per_eval is not None:
            check_count("perturbations_per_eval", perturbations_per_eval)
        evaluation = self._continued(coalitions, perturbations_per_eval)
        if evaluation is None:
            evaluation = self._evaluation(coalitions, perturbations_per_eval)
        self._unfinished = coalitions.clone(), perturbations_per_eval, evaluation
        total = self.num_examples * coalitions.shape[-2]
        bar = progress(desc=description, total=total) if show_progress else NullProgress()
        with bar, torch.no_grad():
            if evaluation.remaining < total:
                bar.update(total - evaluation.remaining)
            try:
                values = evaluation.run(bar)
            except OneNumberPerBatchError as found:
                if perturbations_per_eval not in (None, 1):
                    raise ValueError(
                        f"perturbations_per_eval={perturbations_per_eval} needs a forward_func "
                        f"with one output per row, but {found}; use perturbations_per_eval=1"
                    ) from None
                evaluation = self._evaluation(coalitions, 1, one_number=True)
                self._unfinished = coalitions.clone(), perturbations_per_eval, evaluation
                values = evaluation.run(bar)
        self._unfinished = None
        return values

    def _evaluation(
        self, coalitions: Tensor, perturbations_per_eval: int | None, one_number: bool = False
    ) -> Evaluation:
        size: ChunkSize
        if perturbations_per_eval is None:
            size = automatic_size(self.forward_func, self._inputs, self._signals.layouts)
        else:
            size = FixedSize(perturbations_per_eval * self.num_examples)
        by_example = perturbations_per_eval is None
        walk = Walk(self.num_examples, coalitions.shape[-2], by_example)
        on_device = coalitions.to(self._signals.device)
        return Evaluation(self._signals, self._forward, on_device, walk, size, one_number)

    def _continued(
        self, coalitions: Tensor, perturbations_per_eval: int | None
    ) -> Evaluation | None:
        """The evaluation that an exception ended, if it was of these coalitions."""
        if self._unfinished is None:
            return None
        before, per_eval, evaluation = self._unfinished
        same = per_eval == perturbations_per_eval and before.device == coalitions.device
        return evaluation if same and torch.equal(before, coalitions) else None

    # ------------------------------------------------------------------ band space

    def __call__(self, weights: Tensor, examples: Tensor | None = None) -> Any:
        """The model on inputs whose bands are weighted; 1 is present, 0 the baseline.

        Args:
            weights: ``(R, M)`` real weights; the result is differentiable in them.
            examples: ``(R,)`` integers: row ``r`` is a version of example ``examples[r]``; a 0-d
                tensor is the example of all rows (Captum's KernelShap hands it over like this).
                None needs ``R = B`` rows, row ``r`` for example ``r``.

        Returns:
            What ``forward_func`` gives for the R rows, at the game's target if it has one.

        Raises:
            TypeError: ``examples`` that are not integers.
            ValueError: Rows that cannot be told apart, or indices that no example has.

        Cost: R model rows. The bands of all examples are kept after the first call, M + 1 times the
        memory of the inputs.
        """
        if weights.dim() != 2 or weights.shape[1] != self.num_bands:
            raise ValueError(
                f"weights must be (R, {self.num_bands}), one column per band, got shape "
                f"{tuple(weights.shape)}"
            )
        examples = self._check_examples(weights, examples)
        rows = tuple(
            synthesize_rows(
                bands.signals,
                weights.to(bands.columns.device)[:, bands.columns],
                examples.to(bands.columns.device),
            )
            for bands in self._all_bands
        )
        return self._forward(self._signals.as_inputs(rows), examples.to)

    @cached_property
    def _all_bands(self) -> tuple[Bands, ...]:
        return self._signals.split(slice(0, self.num_examples))

    # ------------------------------------------------------------------ shared

    def _forward(self, signals: tuple[Tensor, ...], examples: RowExamples) -> Any:
        """The model on rows whose examples are given: the one place where it is called."""
        target = take_target(self._target, examples)
        args = take_args(self.additional_forward_args, examples, self.num_examples)
        output = run_forward(self.forward_func, signals, None, args)
        return select(output, target, self._highest_class)

    # ------------------------------------------------------------------ checks

    def _check_coalitions(self, coalitions: Tensor) -> None:
        if not isinstance(coalitions, Tensor) or coalitions.dtype is not torch.bool:
            raise TypeError(
                "coalitions must be a boolean tensor, got "
                f"{getattr(coalitions, 'dtype', type(coalitions).__name__)}; call the game itself "
                "for real weights: game(weights, examples)"
            )
        shape = tuple(coalitions.shape)
        own = len(shape) == 3 and shape[0] == self.num_examples
        if (len(shape) != 2 and not own) or shape[-1] != self.num_bands or shape[-2] == 0:
            raise ValueError(
                f"coalitions must be (K, {self.num_bands}) or ({self.num_examples}, K, "
                f"{self.num_bands}), got shape {shape}"
            )

    def _check_examples(self, weights: Tensor, examples: Tensor | None) -> Tensor:
        if examples is None:
            if len(weights) != self.num_examples:
                raise ValueError(
                    f"got {len(weights)} rows of weights for {self.num_examples} examples and no "
                    "indices, so which example a row belongs to is unknown; pass "
                    "examples (R,), as in .attribute(torch.ones(B, M), ..., "
                    "additional_forward_args=torch.arange(B)), which Captum expands with the rows"
                )
            return torch.arange(self.num_examples, device="cpu")
        if not isinstance(examples, Tensor) or examples.dtype.is_floating_point:
            raise TypeError(
                "examples must be a tensor of integers such as torch.arange(B), got "
                f"{getattr(examples, 'dtype', type(examples).__name__)}"
            )
        if examples.dim() == 0:
            examples = examples.expand(len(weights))
        if examples.shape != weights.shape[:1]:
            raise ValueError(
                f"examples must have one index per row of weights, ({len(weights)},), got shape "
                f"{tuple(examples.shape)}"
            )
        if int(examples.min()) < 0 or int(examples.max()) >= self.num_examples:
            raise ValueError(
                f"examples must lie in 0..{self.num_examples - 1}, got "
                f"{int(examples.min())}..{int(examples.max())}"
            )
        return examples.long().cpu()


def warn_if_training(forward_func: Callable[..., Any]) -> None:
    """Warn the caller's caller about a model whose values are random."""
    if isinstance(forward_func, torch.nn.Module) and any(
        module.training for module in forward_func.modules()
    ):
        warnings.warn(
            "forward_func, or a part of it, is in training mode: dropout and batch statistics make "
            "its values random; call .eval() first",
            stacklevel=4,
        )
