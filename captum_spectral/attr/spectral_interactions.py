"""SpectralInteractions: which frequency bands act together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum.attr import PerturbationAttribution
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._captum import BaselineType, TargetType, log_usage
from captum_spectral._engine.outputs import Output, reading
from captum_spectral._engine.solving import check_interactions
from captum_spectral.attr._synchronous import Synchronous
from captum_spectral.coalitions import (
    InteractionResult,
    among_all,
    is_exact,
    places_of,
    subsets_of,
)
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import SpectralDims
from captum_spectral.game import BandGame

__all__ = ["SpectralInteractions"]


class SpectralInteractions(Synchronous, PerturbationAttribution):  # type: ignore[misc]
    r"""Interactions of the frequency bands of an input: which bands act together.

    The game is that of :class:`~captum_spectral.SpectralShapley`. Two bands interact by what the
    second adds to the first, more or less than it adds without it, averaged over coalitions of the
    others:

    .. math::
        \mathrm{SII}_{ij} = \sum_{S \not\ni i, j} \frac{|S|!\, (M - |S| - 2)!}{(M - 1)!}
            \big(v(S \cup ij) - v(S \cup i) - v(S \cup j) + v(S)\big)

    A positive interaction says that the bands need each other, a negative one that each does what
    the other does, too. By default they come as k-SII of order 2: interactions of two, and for each
    single band its Shapley value less half of its interactions, so that all of them sum to
    v(full) - v(empty).

    Args:
        forward_func: The model, or any modification of its forward function.
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None

    Cost in model rows per example: ``2^M`` exactly (256 for 8 bands), or at most ``budget``, the
    same rows that :class:`~captum_spectral.SpectralShapley` takes. About 20 rows per band resolve
    interactions of networks. All outputs come from the same rows.

    Example::

        >>> import torch
        >>> from captum_spectral.attr import SpectralInteractions
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(4 * 30 * 30, 10)).eval()
        >>> inputs = torch.rand(2, 3, 32, 32)
        >>> result = SpectralInteractions(model).attribute(inputs, [3, 7], num_bands=6)
        >>> result.values.shape                      # 6 bands and 15 pairs of bands
        torch.Size([2, 21])
        >>> result.matrix(example=1).shape           # its rows sum to Shapley values
        torch.Size([6, 6])
        >>> result.top(1)[0][0] in result.subsets
        True

    References:
        M. Grabisch, M. Roubens, *An axiomatic approach to the concept of interaction among players
        in cooperative games*, 1999. S. Bordt, U. von Luxburg, *From Shapley Values to Generalized
        Additive Models and back*, AISTATS 2023.
    """

    def __init__(self, forward_func: Callable[..., Any], *, output: Output | None = None) -> None:
        PerturbationAttribution.__init__(self, reading(forward_func, output))

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = None,
        *,
        index: str = "k-SII",
        order: int = 2,
        baselines: BaselineType = None,
        additional_forward_args: Any = None,
        feature_mask: Tensor | tuple[Tensor, ...] | None = None,
        num_bands: int | None = None,
        spectral_dims: SpectralDims = (-2, -1),
        features: Features | tuple[Features, ...] | None = None,
        budget: int | None = None,
        estimator: str | None = None,
        prior: Any = "energy",
        perturbations_per_eval: int | None = None,
        generator: torch.Generator | None = None,
        show_progress: bool = False,
        shortcuts: bool = True,
    ) -> InteractionResult:
        r"""Attribute the output to the frequency bands of the inputs and to sets of them.

        The other arguments are those of :meth:`captum_spectral.SpectralShapley.attribute`.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): Real floating input ``(B, ..., H, W)``, or a
                tuple of them.
            target (int, tuple, Tensor, or list, optional): Output index to explain; None: every
                output. Default: None
            index (str, optional): ``"k-SII"``, efficient, with rows of a matrix that sum to Shapley
                values; ``"SII"``, Shapley values and interactions side by side; ``"BII"``, the same
                over coalitions that are all as likely; ``"STII"``, efficient, with all higher
                orders in the top one; ``"Moebius"``, what sets add to an input that holds nothing
                else. Default: "k-SII"
            order (int, optional): The most players of an interaction, 1 to 3. Default: 2
            baselines (scalar, Tensor, tuple of scalar, or Tensor, optional): What an absent band
                holds. Default: None, zero
            additional_forward_args (Any, optional): Further arguments of ``forward_func``.
                Default: None
            feature_mask (Tensor or tuple[Tensor, ...], optional): Band ids over the unshifted
                Fourier plane. Default: None
            num_bands (int, optional): Bands where there is no ``feature_mask``; None: 8, or as many
                as fit. Default: None
            spectral_dims (tuple[int, ...], optional): The dims that are transformed, for all inputs
                or one entry for each, as in ``SpectralShapley``. Default: (-2, -1)
            features (Features or tuple[Features, ...], optional): Other players than frequency
                bands. Default: None
            budget (int, optional): The most model rows per example, at least 4. Below ``2^M`` for
                ``"k-SII"``, ``"SII"`` and ``"BII"`` of order 2 or less. Default: None, exact
            estimator (str, optional): ``"gaussian_process"`` or None, which is the same.
                Default: None
            prior (str or Tensor, optional): ``"energy"``, ``"flat"``, or weights ``(M,)`` or
                ``(B, M)``. Default: "energy"
            perturbations_per_eval (int, optional): At most ``perturbations_per_eval * B`` rows in a
                forward pass; None: as many as the model is fastest with. Default: None
            generator (torch.Generator, optional): Source of the coalitions. Default: None
            show_progress (bool, optional): Display a progress bar, in model rows. Default: False
            shortcuts (bool, optional): Let the engine show a Module the rows in faster ways, which
                give the same values to rounding: in another memory format, and behind affine first
                layers, which then run once per band; see :class:`~captum_spectral.Game`. False, or
                a number of ``perturbations_per_eval``: never. Not with a ``budget``.
                Default: True

        Returns:
            *InteractionResult* with **values** ``(B, *outputs, S)`` of the S sets of bands, and
            their standard errors, 0 where they are exact.

        Raises:
            TypeError, AssertionError, torch.OutOfMemoryError: As
                :meth:`captum_spectral.SpectralShapley.attribute`.
            ValueError: As there; an unknown index, an order above 3, an index or order that takes
                all ``2^M`` coalitions with a smaller budget.
        """
        order, _ = check_interactions(index, order, budget, estimator)
        if perturbations_per_eval is not None:
            check_count("perturbations_per_eval", perturbations_per_eval)
        game = BandGame(
            self.forward_func,
            inputs,
            target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            feature_mask=feature_mask,
            num_bands=num_bands,
            spectral_dims=spectral_dims,
            features=features,
            shortcuts=shortcuts and budget is None,  # to check them takes a row more
        )
        solver = game.interaction_estimator(
            index, order, budget=budget, prior=prior, generator=generator
        )
        values = game.values_of(
            solver.coalitions,
            perturbations_per_eval,
            show_progress,
            description=f"{self.get_name()} attribution",
        )
        found = solver.estimate(values)
        # Ids without any frequency take part in no set.
        places = places_of(game.players, game.num_bands, order)
        num_sets = len(subsets_of(game.num_bands, order))
        full, empty = (x.to("cpu", torch.float64) for x in (found.full_value, found.empty_value))
        return InteractionResult(
            among_all(found.values, places, num_sets),
            among_all(found.standard_error, places, num_sets),
            empty,
            full,
            index,
            order=order,
            num_players=game.num_bands,
            num_rows=solver.coalitions.shape[-2],
            estimated=not is_exact(solver),
        )

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: the values measure what bands add to the output, not a slope."""
        return True

    def has_convergence_delta(self) -> bool:
        """False: interactions of most indices sum to nothing that is known."""
        return False
