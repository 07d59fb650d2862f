"""The game that frequency bands play: the only place that calls the model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import (
    check_count,
    check_target,
    format_baselines,
    format_inputs,
    format_spectral_dims,
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
from captum_spectral._feature_mask import format_feature_masks
from captum_spectral._outputs import as_results, check_finite, select
from captum_spectral._tiles import Tile, tiles
from captum_spectral.spectrum import signal_dtype, split
from captum_spectral.synthesis import synthesize, synthesize_rows

__all__ = ["BandGame"]


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
        self.target = target
        self.additional_forward_args = additional_forward_args
        self._inputs = format_inputs(inputs)
        self._dims = format_spectral_dims(spectral_dims, self._inputs)
        self._baselines = tuple(
            b.to(signal_dtype(b.dtype)) for b in format_baselines(baselines, self._inputs)
        )
        self.feature_masks = format_feature_masks(feature_mask, self._inputs, self._dims, num_bands)
        self._ids = tuple(mask.unique().cpu() for mask in self.feature_masks)
        self._columns = tuple(
            ids.to(x.device) for ids, x in zip(self._ids, self._inputs, strict=True)
        )
        self.players = torch.cat(self._ids).unique()
        self.num_bands = int(self.players[-1]) + 1
        self.num_examples = len(self._inputs[0])
        check_target(target, self.num_examples)
        _warn_if_training(forward_func)

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
                coalition). None chooses: about 8 rows on the CPU, 256 elsewhere, of few examples at
                a time, so memory does not grow with ``B``. Use 1 for a ``forward_func`` that needs
                the batch as it is. Default: None
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

        Cost: ``K`` model rows per example. Memory beyond the table of values: the ``M + 1`` band
        signals of the examples in a forward, and its rows.
        """
        self._check_coalitions(coalitions)
        if perturbations_per_eval is not None:
            check_count("perturbations_per_eval", perturbations_per_eval)
        coalitions = coalitions.to(self._inputs[0].device)
        num_coalitions = coalitions.shape[-2]
        total = self.num_examples * num_coalitions
        bar = progress(desc=description, total=total) if show_progress else NullProgress()
        device = coalitions.device

        def plan(per_eval: int | None) -> Iterator[Tile]:
            return tiles(self.num_examples, num_coalitions, per_eval, device)

        with bar, torch.no_grad():
            try:
                return self._evaluate(coalitions, plan(perturbations_per_eval), bar)
            except _OneNumberPerBatch as found:
                if perturbations_per_eval is not None:
                    raise ValueError(
                        f"perturbations_per_eval={perturbations_per_eval} needs a forward_func "
                        f"with one output per row, but {found}; use perturbations_per_eval=1"
                    ) from None
            return self._evaluate(coalitions, plan(1), bar)

    def _evaluate(self, coalitions: Tensor, plan: Iterator[Tile], bar: Any) -> Tensor:
        values: Tensor | None = None
        bands: tuple[Tensor, ...] = ()
        held: slice | None = None
        for tile in plan:
            if tile.examples != held:
                held, bands = tile.examples, self._bands(tile.examples)
            chosen = coalitions[..., tile.coalitions, :]
            if chosen.dim() == 3:
                chosen = chosen[tile.examples]
            signals = tuple(
                synthesize(b, d, w).flatten(0, 1).to(x.dtype)
                for b, d, w, x in zip(
                    self._baseline_rows(tile.examples),
                    bands,
                    self._own(chosen),
                    self._inputs,
                    strict=True,
                )
            )
            output = as_results(self._forward(signals, tile.row_examples()))
            if values is None:
                values = self._empty_table(output, tile, coalitions.shape[-2])
            if len(output) != (1 if len(values) < self.num_examples else tile.rows):
                raise ValueError(
                    f"forward_func returned shape {tuple(output.shape)} for {tile.rows} rows; dim "
                    "0 of its output must grow with the batch, or it must give one number for all"
                )
            part = values[tile.examples, tile.coalitions]
            part.copy_(output.reshape(tile.width, -1, *output.shape[1:]).transpose(0, 1))
            if part.device.type == "cpu":
                check_finite(part, chosen, tile.examples.start)
            bar.update(tile.rows)
        assert values is not None
        if values.device.type != "cpu":  # one synchronisation, when all work is queued
            check_finite(values, coalitions)
        return values

    def _empty_table(self, output: Tensor, tile: Tile, num_coalitions: int) -> Tensor:
        """The table that the first output calls for: a row per example, or one for the batch."""
        num_results = self.num_examples
        if len(output) == 1 < tile.rows:
            if (tile.height, tile.width) != (self.num_examples, 1):
                raise _OneNumberPerBatch(
                    f"it returned shape {tuple(output.shape)} for {tile.rows} rows"
                )
            num_results = 1
        dtype = torch.promote_types(output.dtype, torch.float32)
        return output.new_empty((num_results, num_coalitions, *output.shape[1:]), dtype=dtype)

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
        signals = tuple(
            synthesize_rows(b, d, w, examples.to(d.device)).to(x.dtype)
            for b, d, w, x in zip(
                self._baseline_rows(slice(None)),
                self._all_bands,
                self._own(weights),
                self._inputs,
                strict=True,
            )
        )
        return self._forward(signals, examples)

    @cached_property
    def _all_bands(self) -> tuple[Tensor, ...]:
        return self._bands(slice(None))

    # ------------------------------------------------------------------ shared

    def _bands(self, examples: slice) -> tuple[Tensor, ...]:
        """``(P, b, ...)`` bands of input less baseline, of the bands that each tensor has."""
        return tuple(
            split(
                x[examples].to(signal_dtype(x.dtype)) - b,
                mask if len(mask) == 1 else mask[examples],
                dims,
                ids,
            )
            for x, b, mask, dims, ids in zip(
                self._inputs,
                self._baseline_rows(examples),
                self.feature_masks,
                self._dims,
                self._ids,
                strict=True,
            )
        )

    def _baseline_rows(self, examples: slice) -> Iterator[Tensor]:
        for b in self._baselines:
            yield b if len(b) == 1 else b[examples]

    def _own(self, weights: Tensor) -> Iterator[Tensor]:
        """For each input the columns of the bands it has."""
        for x, columns in zip(self._inputs, self._columns, strict=True):
            yield weights.to(x.device)[..., columns]

    def _forward(self, signals: tuple[Tensor, ...], examples: Tensor) -> Any:
        """The model on rows whose examples are given: the one place where it is called."""
        target = take_target(self.target, examples)
        args = take_args(self.additional_forward_args, examples, self.num_examples)
        return select(run_forward(self.forward_func, signals, None, args), target)

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
            return torch.arange(self.num_examples)
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


class _OneNumberPerBatch(Exception):
    """The forward output belongs to the batch, but the rows were not one whole batch."""


def _warn_if_training(forward_func: Callable[..., Any]) -> None:
    if isinstance(forward_func, torch.nn.Module) and any(
        module.training for module in forward_func.modules()
    ):
        warnings.warn(
            "forward_func, or a part of it, is in training mode: dropout and batch statistics make "
            "its values random; call .eval() first",
            stacklevel=4,
        )
