"""The game that features play for the output of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from captum_spectral._arguments import (
    check_coalitions,
    check_count,
    format_baselines,
    format_examples,
    format_inputs,
)
from captum_spectral._captum import BaselineType, TargetType
from captum_spectral._engine.chunk_size import (
    AutomaticFormat,
    ChunkSize,
    FixedSize,
    automatic_size,
)
from captum_spectral._engine.evaluation import Coalitions, Evaluation, RowLimit, Table
from captum_spectral._engine.forward import Forward
from captum_spectral._engine.outputs import Output, inner_module, reading
from captum_spectral._engine.resuming import Resuming
from captum_spectral._engine.rows import Walk
from captum_spectral._engine.shortcuts import Known, known_of
from captum_spectral._engine.signals import Signals
from captum_spectral._engine.solving import check_interactions, estimator_for, expected
from captum_spectral.coalitions import (
    MAX_EXACT_ROWS,
    Estimator,
    ExactInteractions,
    PlayerEstimate,
    among_all,
    check_few,
    interactions_of,
)
from captum_spectral.features.features import Features, assign
from captum_spectral.game.mixing import Mixing, OpaqueMixing

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Game"]

_MOST_LISTED = 64  # features of a coalition in an error


class Game(nn.Module):
    r"""The cooperative game in which the features of an input are the players.

    A coalition :math:`S` of features is worth what the model makes of the input whose other
    features are those of the baseline:

    .. math::
        v(S) = f(x_S), \qquad x_S = b + T^{-1}\big[\, 1[\text{ids} \in S] \cdot T(x - b) \,\big]

    :meth:`evaluate` gives the values of coalitions, :meth:`solve` what an estimator makes of them.
    Called on real weights, the game is a forward function over the weights of the features,
    differentiable in them, so that Captum's methods run on it and their results compare with the
    Shapley values. It is a ``torch.nn.Module`` with the model in it, so that methods that put hooks
    on layers (DeepLift, GuidedBackprop, LRP) find them; these need a model that is a module, too:

    .. code-block:: python

        game = Game(model, inputs, features=Pixels(segments))
        IntegratedGradients(game).attribute(
            torch.ones(B, M), target=target, additional_forward_args=torch.arange(B)
        )

    The indices ``torch.arange(B)`` say which example a row belongs to. Captum's methods multiply
    rows in different orders and expand the indices alongside.

    Args:
        forward_func: The model, or any function of the inputs that Captum accepts.
        inputs: Real floating ``(B, ...)`` tensor, or a tuple of them.
        target: As everywhere in Captum; None keeps all outputs. Leave it out where the Captum
            method run on the game is given the target. Default: None
        features: A member of :mod:`captum_spectral.features` for all inputs, each of which then has
            players of its own; or a tuple with one for each, where the same id in two inputs is
            one player.
        baselines: What an absent feature holds: None (zero), a number, a tensor of the input's
            shape or with first dim 1, or a tuple of those. Default: None
        additional_forward_args: Further arguments of ``forward_func``; tensors with one entry per
            example follow their example. Default: None
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None
        shortcuts: Show a Module the rows in faster ways, found and timed on the way: in another
            memory format, and behind affine first layers, which run once for each part of an
            example and not for each row. Values are the same to rounding: of each way a row is
            checked, once for a model and a kind of input. For Modules without hooks, inputs of 3 x
            96 x 96 elements or more, and ``perturbations_per_eval=None``. Default: True

    Attributes:
        num_features (int): ``M``, the largest id of a feature plus one.
        num_examples (int): ``B``.
        inputs (tuple[Tensor, ...]): The inputs, detached.
        players (Tensor): ``(P,)`` the ids that are there.
        feature_masks (tuple[Tensor, ...]): The ids of each input, ``(B or 1, ...)``, in the layout
            in which values are painted.

    Raises:
        TypeError: Inputs, features, baselines or a target of a wrong kind.
        ValueError: Non-finite inputs, shapes that do not fit, a target of the wrong length.

    Warns:
        UserWarning: The model, or a part of it, is in training mode: dropout and batch statistics
            would make the values random. Ids are missing between 0 and the largest one.

    Cost: no model rows until it is evaluated.

    Example::

        >>> import torch
        >>> from captum_spectral import Game
        >>> from captum_spectral.features import Pixels
        >>> game = Game(lambda x: x.prod(1), torch.tensor([[2.0, 3.0]]), features=Pixels())
        >>> game.evaluate(torch.tensor([[False, False], [False, True], [True, True]]))
        tensor([[0., 0., 6.]])
    """

    _kind: ClassVar[str] = "feature"
    _keep_not_finite = False
    _shortcuts = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = None,
        *,
        features: Features | tuple[Features, ...],
        baselines: BaselineType = None,
        additional_forward_args: Any = None,
        output: Output | None = None,
        shortcuts: bool = True,
    ) -> None:
        super().__init__()
        self._shortcuts = shortcuts
        tensors = format_inputs(inputs)
        starts = format_baselines(baselines, tensors)
        # Copies: a game outlives the call, and must not change with what the user does meanwhile.
        with torch.inference_mode(False), torch.no_grad():
            own = tuple(x.clone() for x in tensors)
            self._place(own, tuple(b.clone() for b in starts), *assign(features, own))
            self._play(reading(forward_func, output), target, additional_forward_args)

    @classmethod
    def of_checked(
        cls,
        forward_func: Callable[..., Any],
        inputs: tuple[Tensor, ...],
        baselines: tuple[Tensor, ...],
        placed: tuple[tuple[Features, ...], tuple[Tensor, ...]],
        additional_forward_args: Any = None,
        keep_not_finite: bool = False,
        shortcuts: bool = True,
    ) -> Game:
        """Make a game from what ``_arguments`` and ``features.assign`` have checked already.

        With ``keep_not_finite`` NaN and infinite values are values as others, and no error.
        """
        game = cls.__new__(cls)
        nn.Module.__init__(game)
        game._keep_not_finite, game._shortcuts = keep_not_finite, shortcuts
        game._place(inputs, baselines, *placed)
        game._play(forward_func, None, additional_forward_args)
        return game

    def _place(
        self,
        inputs: tuple[Tensor, ...],
        baselines: tuple[Tensor, ...],
        features: tuple[Features, ...],
        ids: tuple[Tensor, ...],
    ) -> None:
        self.inputs, self.feature_masks = inputs, ids
        self.signals = Signals(inputs, baselines, features, ids)
        self.players = self.signals.players
        self.num_features = int(self.players[-1]) + 1
        self.num_examples = len(inputs[0])

    def _play(
        self, forward_func: Callable[..., Any], target: TargetType, additional_forward_args: Any
    ) -> None:
        device = self.signals.device
        self.caller = Forward(
            forward_func, self.num_examples, device, target, additional_forward_args
        )
        self._resuming: Resuming[Table] = Resuming(self.caller)
        self.training = False  # the game itself has no mode
        module = inner_module(forward_func)
        self._is_module = module is not None
        kind = Mixing if self._is_module else OpaqueMixing
        self.mixing = kind(self.signals.weighted)
        if module is not None:
            self.model = module

    @property
    def forward_func(self) -> Callable[..., Any]:
        """The model."""
        return self.caller.forward_func

    # ------------------------------------------------------------------ coalitions

    def evaluate(
        self,
        coalitions: Tensor,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        description: str = "Game evaluation",
    ) -> Tensor:
        """Return the values of coalitions, without gradients.

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
                not meet the limits of memory. Default: None
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
        coalitions, the game goes on where it was interrupted, but starts over if weights or buffers
        of the model, or autocast, have changed in between. Of a function that is no Module nothing
        is seen: make a new game if it has changed.

        Cost: ``K`` model rows per example, and one or two rows more to check shortcuts, once.
        Memory beyond the table of values: the parts of the examples in a forward (``M + 1``
        signals, or one where features are many), and its rows.
        """
        check_coalitions(coalitions, self.num_examples, self.num_features)
        of_players = coalitions[..., self.players.to(coalitions.device)]
        return self.values_of(of_players, perturbations_per_eval, show_progress, description)

    def estimator(
        self,
        n_samples: int | None = None,
        generator: torch.Generator | None = None,
        *,
        budget: int | None = None,
        estimator: str | None = None,
        prior: Any = "energy",
        index: str = "shapley",
    ) -> Estimator:
        """Return the estimator that solves this game within so many model rows.

        Args:
            n_samples: How many random orderings, each with its reverse. Default: None
            generator: Source of the coalitions; None: PyTorch's global one. Default: None
            budget: Model rows per example, the empty and the grand coalition included, that are
                never exceeded; exact values if it is ``2^M`` or more. Default: None, exact
            estimator: ``"gaussian_process"``, ``"cross_fitted"``, ``"regression"`` or
                ``"orderings"``. None: ``"gaussian_process"`` with a budget. Default: None
            prior: How much players are expected to matter: ``"energy"``, by the square root of the
                energy of their part of the input; ``"flat"``, all alike; or weights ``(M,)`` or
                ``(B, M)``. Default: "energy"
            index: ``"shapley"`` or ``"banzhaf"``. Default: "shapley"

        Raises:
            TypeError, ValueError: Arguments of a wrong kind, or that do not go together; a budget
                below 4 or too small for the estimator; exact values that need more than ``2^16``
                model rows.
        """
        return estimator_for(
            self.signals.energies,
            self.num_examples,
            len(self.players),
            n_samples,
            generator,
            budget=budget,
            estimator=estimator,
            prior=self._of_players(prior),
            index=index,
        )

    def interaction_estimator(
        self,
        index: str = "k-SII",
        order: int = 2,
        *,
        budget: int | None = None,
        prior: Any = "energy",
        generator: torch.Generator | None = None,
    ) -> Estimator:
        """Return the estimator of interactions of the players of this game.

        Args:
            index: ``"k-SII"``, ``"SII"``, ``"STII"``, ``"BII"`` or ``"Moebius"``.
            order: 1 to 3.
            budget: As in :meth:`estimator`. Default: None, exact
            prior: As in :meth:`estimator`. Default: "energy"
            generator: As in :meth:`estimator`. Default: None

        Raises:
            TypeError, ValueError: Arguments of a wrong kind, an index or order that takes more
                model rows than there are.
        """
        order, rows = check_interactions(index, order, budget)
        num_players = len(self.players)
        check_few(index, order, num_players, rows or MAX_EXACT_ROWS)
        if rows is None:
            return ExactInteractions(num_players, index, order)
        playing, relevance, seed = expected(
            self.signals.energies(), self._of_players(prior), self.num_examples, generator
        )
        return interactions_of(rows, playing, relevance, index, order=order, seed=seed)

    def _of_players(self, prior: Any) -> Any:
        """Leave out of weights ``(..., M)`` those of ids that do not play."""
        if isinstance(prior, str) or len(self.players) == self.num_features:
            return prior
        try:
            weights = torch.as_tensor(prior)
        except (TypeError, ValueError, RuntimeError):
            return prior  # refused where priors are looked at
        fits = weights.dim() > 0 and weights.shape[-1] == self.num_features
        return weights[..., self.players.to(weights.device)] if fits else weights

    def solve(
        self,
        estimator: Estimator,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        description: str = "Game evaluation",
    ) -> PlayerEstimate:
        """Evaluate the coalitions that an estimator wants, and return what it makes of them.

        Args:
            estimator: Of :mod:`captum_spectral.coalitions`, for as many players as this game has.
            perturbations_per_eval: As in :meth:`evaluate`. Default: None
            show_progress: Show a progress bar, in rows. Default: False
            description: Title of the progress bar.

        Returns:
            The estimate for all ``M`` ids; those that are not there do not play and get 0.

        Raises:
            ValueError: An estimator for another number of players; else as :meth:`evaluate`.

        Cost: a model row per example and coalition of the estimator.
        """
        num_players = estimator.coalitions.shape[-1]
        if num_players != len(self.players):
            raise ValueError(
                f"the estimator is for {num_players} players, and this game has "
                f"{len(self.players)}: use len(game.players)"
            )
        values = self.values_of(
            estimator.coalitions, perturbations_per_eval, show_progress, description
        )
        found = estimator.estimate(values)
        if num_players == self.num_features:
            return found
        phi, error = (
            among_all(x, self.players, self.num_features)
            for x in (found.values, found.standard_error)
        )
        return found._replace(values=phi, standard_error=error)

    def values_of(
        self,
        coalitions: Coalitions,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        description: str = "Game evaluation",
        name_of: Callable[[Tensor], str] | None = None,
    ) -> Tensor:
        """Return the values of coalitions ``(K, P)`` or ``(B, K, P)`` of the players alone.

        Like :meth:`evaluate` in everything else; coalitions may be made as they are needed, and
        ``name_of`` tells which one ``(P,)`` it was in an error.
        """
        if perturbations_per_eval is not None:
            perturbations_per_eval = check_count("perturbations_per_eval", perturbations_per_eval)
        limit = RowLimit("perturbations_per_eval", perturbations_per_eval, whole=1)
        work = self._resuming.run(
            coalitions,
            limit.value,
            lambda: self._begun(coalitions, limit, name_of or self._name_of),
            show_progress=show_progress,
            description=description,
        )
        assert work.values is not None
        return work.values

    def _begun(
        self, coalitions: Coalitions, limit: RowLimit, name_of: Callable[[Tensor], str]
    ) -> tuple[Table, Evaluation]:
        if isinstance(coalitions, Tensor):
            coalitions = coalitions.to(self.signals.device, copy=True)
        known = None
        if limit.value is None and self._shortcuts:
            known = known_of(self.caller, self.inputs, self.signals)
        work = Table(
            self.signals,
            coalitions,
            self.caller,
            name_of,
            keep_not_finite=self._keep_not_finite,
            known=known,
        )
        walk = Walk(self.num_examples, coalitions.shape[-2], by_example=limit.value is None)
        rows = None if limit.value is None else limit.value * self.num_examples
        size = self.chunk_size(rows, known=known)
        return work, Evaluation(work, walk, size, limit)

    def chunk_size(
        self, rows: int | None, gradients: bool = False, known: Known | None = None
    ) -> ChunkSize:
        """Decide how many rows share a forward pass: a number of rows, or the clock."""
        if rows is not None:
            return FixedSize(rows)
        layouts = self.signals.layouts
        size = automatic_size(self.forward_func, self.inputs, layouts, gradients)
        if known is None or known.formats is None:
            return size
        other = automatic_size(self.forward_func, self.inputs, (layouts, "channels_last"))
        return AutomaticFormat(known.formats, (size, other))

    # ------------------------------------------------------------------ real weights

    def forward(self, weights: Tensor, examples: Tensor | None = None, *apart: Any) -> Any:
        """Run the model on inputs whose features are weighted; 1 is present, 0 the baseline.

        Args:
            weights: ``(R, M)`` real weights; the result is differentiable in them.
            examples: ``(R,)`` integers: row ``r`` is a version of example ``examples[r]``; a 0-d
                tensor is the example of all rows (Captum's KernelShap hands it over like this).
                None needs ``R = B`` rows, row ``r`` for example ``r``.
            *apart: Nothing: DeepLiftShap takes a tensor apart that is not in a tuple.

        Returns:
            What ``forward_func`` gives for the R rows, at the game's target if it has one, as a
            tensor or one number.

        Raises:
            TypeError, ValueError: ``examples`` that are no such integers.

        Cost: R model rows. The parts of all examples are kept after the first call, up to M + 1
        times the memory of the inputs.
        """
        if weights.dim() != 2 or weights.shape[1] != self.num_features:
            raise ValueError(
                f"weights must be (R, {self.num_features}), one column per {self._kind}, got shape "
                f"{tuple(weights.shape)}"
            )
        examples = format_examples(examples, len(weights), self.num_examples, apart)
        of_players = weights[:, self.players.to(weights.device)]
        with self._resuming.lock:  # an evaluation would share the parts that are held
            self.mixing.examples = examples
            rows = self.mixing(of_players)
        return self.caller(rows if isinstance(rows, tuple) else (rows,), examples.to)

    def apply(self, fn: Callable[[nn.Module], Any]) -> Self:
        """Apply a function to every module, as methods do that put hooks on layers.

        Raises:
            TypeError: The model is a function, in which there are no modules to be seen.
        """
        if not self._is_module:
            raise TypeError(
                f"forward_func is a {type(self.forward_func).__name__}, whose layers cannot be "
                "seen: DeepLift, GuidedBackprop, Deconvolution and LRP need a torch.nn.Module; "
                "IntegratedGradients, KernelShap or ShapleyValueSampling take any function"
            )
        return super().apply(fn)

    def _name_of(self, members: Tensor) -> str:
        """Say which coalition ``(P,)`` this is."""
        present = self.players[members.cpu()].tolist()
        listed = present if len(present) <= _MOST_LISTED else f"{len(present)} (too many to list)"
        return (
            f"the coalition of {self._kind}s {listed} out of {self.num_features}, the others those "
            "of the baseline"
        )
