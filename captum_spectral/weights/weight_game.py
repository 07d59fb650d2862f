"""The game that parts of a change of weights play for the output of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_spectral._arguments import check_coalitions, check_count, format_examples, format_inputs
from captum_spectral._captum import TargetType
from captum_spectral._engine.chunk_size import FixedSize
from captum_spectral._engine.evaluation import Evaluation, NotFiniteError, RowLimit, Work
from captum_spectral._engine.forward import Forward, as_results, first_not_finite
from captum_spectral._engine.resuming import Resuming
from captum_spectral._engine.rows import Chunk, Walk
from captum_spectral._engine.solving import estimator_for
from captum_spectral.coalitions import Estimator, PlayerEstimate
from captum_spectral.features.features import Features
from captum_spectral.weights.changes import (
    BandChange,
    Change,
    LayerChange,
    SingularChange,
    weights_of,
)
from captum_spectral.weights.rounding import RoundedWeights

__all__ = ["WeightGame"]


class WeightGame:
    r"""The game in which parts of a change of weights are the players.

    Two sets of weights of one model give two outputs. With the change of the weights as a sum of
    parts,

    .. math::
        v(S) = f\Big(x;\ W_0 + \sum_{i \in S} \Delta_i\Big)

    is worth v(all), the output of the model, when all parts are in, and v(none), that of the
    baseline weights, when none is. Like :class:`~captum_spectral.Game` it gives values of
    coalitions, is solved by the estimators of :mod:`captum_spectral.coalitions`, and is a forward
    function over gates on which any Captum method runs:

    .. code-block:: python

        game = WeightGame(model, inputs, baselines=rounded, target=labels)
        IntegratedGradients(game).attribute(torch.ones(1, game.num_players), n_steps=16)

    Args:
        model: A ``torch.nn.Module``, in the state it is to be explained in; never changed.
        inputs: ``(B, ...)`` tensor, or a tuple of them.
        target: As everywhere in Captum; None keeps all outputs. Default: None
        baselines: The other weights: a model with the same names, what
            :func:`~captum_spectral.weights.quantize_weights` returned, or a state dict.
        players: ``"layer"``: a player for each module with all parameters and floating buffers in
            it that differ (running statistics, too). A dict from tensor names to ids: your own
            groups of those. ``"band"``: frequency bands of the *input* of one convolution; its
            change acts on the bands that are in. ``"singular"``: groups of singular components of
            the change of one layer, largest first. Default: "layer"
        layer: Name of the one layer of ``"band"`` and ``"singular"``; all others keep the model's
            weights. None: the only one that differs. Default: None
        features: The bands of ``"band"``. None: 8, or as many as fit. Default: None
        num_groups: Of ``"singular"``. None: 8, or as many as there are. Default: None
        additional_forward_args: Further arguments of the model. Default: None

    Attributes:
        names (tuple[str, ...]): The players.
        num_players (int): ``P``.
        num_examples (int): ``B``.

    Raises:
        TypeError: A model that is no module, baselines, players or a target of a wrong kind.
        ValueError: Baselines with other names or shapes (they are listed), nothing that differs,
            lazy, parametrised or quantised modules, a layer that is not there, options that mean
            nothing for these players.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost: one model row to learn the size of the input of a layer for ``"band"``; else none until it
    is evaluated.

    Example::

        >>> import copy, torch
        >>> from captum_spectral.weights import WeightGame
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> rounded = copy.deepcopy(model.eval())
        >>> for weight in rounded.parameters():
        ...     weight.data = (weight.data * 4).round() / 4
        >>> game = WeightGame(model, torch.rand(5, 3), baselines=rounded)
        >>> game.names
        ('0', '2')
        >>> game.evaluate(torch.tensor([[False, False], [True, True]])).shape
        torch.Size([5, 2, 2])
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = None,
        *,
        baselines: nn.Module | RoundedWeights | Mapping[str, Tensor],
        players: Literal["layer", "band", "singular"] | Mapping[str, int] = "layer",
        layer: str | None = None,
        features: Features | None = None,
        num_groups: int | None = None,
        additional_forward_args: Any = None,
    ) -> None:
        tensors = format_inputs(inputs)
        with torch.inference_mode(False):  # autograd cannot use inference tensors
            self.inputs = tuple(x.clone() for x in tensors)
        self.num_examples = len(self.inputs[0])
        changed = weights_of(model, baselines)
        self.model = model
        self.forward = Forward(
            model, self.num_examples, self.inputs[0].device, target, additional_forward_args
        )
        self.change = self._change_of(changed, players, layer, features, num_groups)
        self.names = self.change.names
        self.num_players = len(self.names)
        self.players = torch.arange(self.num_players)
        self._resuming: Resuming[_WeightTable] = Resuming(self.forward)

    def _change_of(
        self,
        changed: dict[str, tuple[Tensor, Tensor]],
        players: Any,
        layer: str | None,
        features: Features | None,
        num_groups: int | None,
    ) -> Change:
        if isinstance(players, Mapping):
            _check_unused("a dict", layer=layer, features=features, num_groups=num_groups)
            return LayerChange(changed, players)
        if players not in ("layer", "band", "singular"):
            raise ValueError(
                "players must be 'layer', 'band', 'singular' or a dict from names to ids, got "
                f"{players!r}"
            )
        if players == "layer":
            _check_unused("'layer'", layer=layer, features=features, num_groups=num_groups)
            return LayerChange(changed)
        if players == "singular":
            _check_unused("'singular'", features=features)
            return SingularChange(self.model, changed, layer, num_groups)
        _check_unused("'band'", num_groups=num_groups)
        first = torch.zeros(1, dtype=torch.int64)
        rows = tuple(x[:1] for x in self.inputs)
        return BandChange(
            self.model, changed, layer, features, lambda: self.forward.returned(rows, first.to)
        )

    def evaluate(
        self,
        coalitions: Tensor,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        description: str = "Weight game evaluation",
    ) -> Tensor:
        """Return the values of coalitions, without gradients.

        Args:
            coalitions: Boolean ``(K, P)``: which parts of the change are in.
            internal_batch_size: The most rows of a forward pass. None: all examples together,
                halved where they do not fit in memory. Default: None
            show_progress: Show a progress bar, in rows. Default: False
            description: Title of the progress bar.

        Returns:
            ``(B, K, *outputs)``.

        Raises:
            TypeError: Coalitions that are not boolean.
            ValueError: Shapes that do not fit, an output that is not finite.

        An exception loses nothing: called again with the same coalitions, it goes on where it was,
        unless the weights have changed in between.

        Cost: ``K`` model rows per example, each coalition with weights of its own.
        """
        check_coalitions(coalitions, self.num_examples, self.num_players)
        if coalitions.dim() != 2:
            raise ValueError(
                "coalitions of weights are shared by all examples, (K, P), got shape "
                f"{tuple(coalitions.shape)}"
            )
        if internal_batch_size is not None:
            internal_batch_size = check_count("internal_batch_size", internal_batch_size)
        limit = RowLimit("internal_batch_size", internal_batch_size, whole=self.num_examples)
        work = self._resuming.run(
            coalitions,
            internal_batch_size,
            lambda: self._begun(coalitions.cpu().clone(), limit),
            show_progress=show_progress,
            description=description,
        )
        assert work.values is not None
        return work.values.transpose(0, 1).contiguous()

    def _begun(self, coalitions: Tensor, limit: RowLimit) -> tuple[_WeightTable, Evaluation]:
        work = _WeightTable(self, coalitions)
        walk = Walk(len(coalitions), self.num_examples, by_example=True)
        size = FixedSize(limit.value or self.num_examples)
        return work, Evaluation(work, walk, size, limit)

    def estimator(
        self,
        n_samples: int | None = None,
        generator: torch.Generator | None = None,
        *,
        budget: int | None = None,
        estimator: str | None = None,
        prior: Any = "flat",
        index: str = "shapley",
    ) -> Estimator:
        """Return the estimator that solves this game within so many model rows.

        Args:
            n_samples: How many random orderings, each with its reverse. Default: None
            generator: Source of the coalitions. Default: None, PyTorch's global one
            budget: Model rows per example, never exceeded. Default: None, exact
            estimator: As in :meth:`captum_spectral.Game.estimator`. Default: None
            prior: ``"flat"``, all players alike, or weights ``(P,)`` or ``(B, P)``: the size of a
                change says little about what it does. Default: "flat"
            index: ``"shapley"`` or ``"banzhaf"``. Default: "shapley"

        Raises:
            TypeError, ValueError: As :meth:`captum_spectral.Game.estimator`.
        """
        if isinstance(prior, str) and prior == "energy":
            raise ValueError(
                "prior='energy' is of parts of an input; a change of weights takes 'flat' or "
                "weights (P,)"
            )
        return estimator_for(
            lambda: torch.ones(1, self.num_players, dtype=torch.float64),
            self.num_examples,
            self.num_players,
            n_samples,
            generator,
            budget=budget,
            estimator=estimator,
            prior=prior,
            index=index,
        )

    def solve(
        self,
        estimator: Estimator,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        description: str = "Weight game evaluation",
    ) -> PlayerEstimate:
        """Evaluate the coalitions that an estimator wants, and return what it makes of them.

        Args:
            estimator: Of :mod:`captum_spectral.coalitions`, for ``num_players`` players.
            internal_batch_size: As in :meth:`evaluate`. Default: None
            show_progress: Show a progress bar, in rows. Default: False
            description: Title of the progress bar.

        Raises:
            ValueError: An estimator for another number of players; else as :meth:`evaluate`.
        """
        if estimator.coalitions.shape[-1] != self.num_players:
            raise ValueError(
                f"the estimator is for {estimator.coalitions.shape[-1]} players, and this game has "
                f"{self.num_players}: use game.num_players"
            )
        return estimator.estimate(
            self.evaluate(estimator.coalitions, internal_batch_size, show_progress, description)
        )

    def __call__(self, gates: Tensor, examples: Tensor | None = None) -> Tensor:
        """Run the model with each part of the change weighted; 1 is in, 0 is not.

        Args:
            gates: ``(R, P)`` real; the result is differentiable in them.
            examples: ``(R,)`` integers: row ``r`` is example ``examples[r]``. None: every row
                stands for all examples, and its value is their mean.

        Returns:
            ``(R, *outputs)`` at the game's target, if it has one.

        Raises:
            TypeError: Gates that are no real tensor, ``examples`` that are not integers.
            ValueError: Gates of another shape, examples that do not exist.

        Cost: R forward passes, of one row each, or of B without ``examples``.
        """
        if not isinstance(gates, Tensor) or gates.dtype.is_complex:
            raise TypeError(f"gates must be a real torch.Tensor, got {_kind(gates)}")
        if gates.dim() != 2 or gates.shape[1] != self.num_players or not len(gates):
            raise ValueError(
                f"gates must be (R, {self.num_players}), one column per player, got shape "
                f"{tuple(gates.shape)}"
            )
        everybody = torch.arange(self.num_examples)
        if examples is not None:
            examples = format_examples(examples, len(gates), self.num_examples).cpu()
        results = []
        for r, own in enumerate(gates):
            rows = everybody if examples is None else examples[r : r + 1]
            output = as_results(self.at(own, rows))
            results.append(output.mean(0) if examples is None else output[0])
        return torch.stack(results)

    def at(self, gates: Tensor, examples: Tensor) -> Any:
        """Run the model on examples ``(R,)`` with gates ``(P,)``."""
        rows = tuple(x[examples.to(x.device)] for x in self.inputs)
        return self.forward(
            rows, examples.to, lambda *given: self.change.run(self.model, gates, given)
        )


def _kind(given: Any) -> str:
    return str(given.dtype) if isinstance(given, Tensor) else type(given).__name__


def _check_unused(players: str, **options: Any) -> None:
    """Raise for an option that is given and means nothing to these players."""
    given = [name for name, option in options.items() if option is not None]
    if given:
        raise ValueError(f"{given[0]} means nothing for players={players}; leave it out")


class _WeightTable(Work):
    """Keeps the values ``(K, B, *outputs)``: of each coalition's weights, the rows of all examples.

    Of the walk's grid, coalitions are the "examples" and examples the "coalitions": the rows of one
    set of weights follow each other.
    """

    def __init__(self, game: WeightGame, coalitions: Tensor) -> None:
        self._game, self._coalitions = game, coalitions
        self.num_examples, self.device = len(coalitions), game.inputs[0].device
        self.values: Tensor | None = None

    def do(self, chunk: Chunk, walk: Walk) -> torch.device:
        """Run the rows of a chunk, one set of weights after the other."""
        found: list[tuple[int, slice, Tensor]] = []
        for tile in chunk.tiles():
            examples = torch.arange(tile.coalitions.start, tile.coalitions.stop)
            for k in range(tile.examples.start, tile.examples.stop):
                gates = self._coalitions[k].to(self.device, self._game.inputs[0].dtype)
                output = as_results(self._game.at(gates, examples))
                if len(output) != len(examples):
                    raise ValueError(
                        f"model returned shape {tuple(output.shape)} for {len(examples)} rows; dim "
                        "0 of its output must be that of its inputs"
                    )
                row = first_not_finite(output)
                if row is not None:
                    names = self._game.names
                    on = [names[i] for i in self._coalitions[k].nonzero()[:, 0].tolist()]
                    raise NotFiniteError(
                        "model gave a value that is not finite (NaN or infinite) for example "
                        f"{int(examples[row])} with the changes of {on}",
                        int(examples[row]),
                    )
                found.append((k, tile.coalitions, output))
        if self.values is None:
            first = found[0][2]
            shape = len(self._coalitions), self._game.num_examples, *first.shape[1:]
            dtype = torch.promote_types(first.dtype, torch.float32)
            self.values = first.new_empty(shape, dtype=dtype)
        for k, examples_of, output in found:
            self.values[k, examples_of] = output.to(self.values.dtype)
        self.nothing_kept = False
        return self.device

    def describe(self, rows: int) -> str:
        """Tell the shape of the rows."""
        return f"{rows} rows of shape {tuple(self._game.inputs[0].shape[1:])}"

    def start_over(self) -> None:
        """Forget all values."""
        super().start_over()
        self.values = None
