"""WeightShapley: which parts of a change of weights changed the output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from captum_spectral._captum import TargetType, log_usage
from captum_spectral.attr._synchronous import Synchronous
from captum_spectral.attr._values import Solver, gap_of
from captum_spectral.features.features import Features
from captum_spectral.weights.rounding import RoundedWeights
from captum_spectral.weights.weight_game import WeightGame

__all__ = ["WeightShapley"]


class WeightShapley(Synchronous, Attribution):  # type: ignore[misc]
    r"""Shapley values of the parts of a change of weights: what made two models differ.

    The model's weights less the baselines' are a sum of parts :math:`\Delta_i` (layers, or bands
    of a layer's input, or singular components), and the difference of the two outputs is split
    among these:

    .. math::
        v(S) = f\Big(x;\ W_0 + \sum_{i \in S} \Delta_i\Big), \qquad
        \sum_i \phi_i = f(x; W) - f(x; W_0)

    See :class:`~captum_spectral.weights.WeightGame`, on which every other method of Captum runs.
    For many layers IntegratedGradients over its gates costs a fraction of the rows.

    Args:
        forward_func: The model, a ``torch.nn.Module``.

    Cost in model rows per example: ``2^P`` exactly, or at most ``budget``.

    Example::

        >>> import copy, torch
        >>> from captum_spectral import WeightShapley
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> rounded = copy.deepcopy(model.eval())
        >>> for weight in rounded.parameters():
        ...     weight.data = (weight.data * 4).round() / 4
        >>> x = torch.rand(5, 3)
        >>> layers, delta = WeightShapley(model).attribute(
        ...     x, 1, baselines=rounded, return_convergence_delta=True)
        >>> layers.shape, bool((delta.abs() < 1e-5).all())
        (torch.Size([5, 2]), True)
        >>> change = (model(x) - rounded(x))[:, 1]
        >>> torch.allclose(layers.sum(1), change.detach(), atol=1e-5)
        True
    """

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = None,
        *,
        baselines: nn.Module | RoundedWeights | Mapping[str, Tensor],
        players: Literal["layer", "band", "singular"] | Mapping[str, int] = "layer",
        layer: str | None = None,
        features: Features | None = None,
        num_groups: int | None = None,
        additional_forward_args: Any = None,
        n_samples: int | None = None,
        budget: int | None = None,
        estimator: str | None = None,
        prior: Any = "flat",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        return_standard_error: bool = False,
        generator: torch.Generator | None = None,
        show_progress: bool = False,
    ) -> Any:
        r"""Attribute the difference of two outputs to parts of the difference of the weights.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): ``(B, ...)``, or a tuple of them.
            target (int, tuple, Tensor, or list, optional): Output index; None: every output.
                Default: None
            baselines (Module, RoundedWeights or dict[str, Tensor]): The other weights.
            players (str or dict[str, int], optional): ``"layer"``, ``"band"``, ``"singular"``, or
                ids of tensors, see :class:`~captum_spectral.weights.WeightGame`. Default: "layer"
            layer (str, optional): The layer of ``"band"`` and ``"singular"``. Default: None
            features (Features, optional): The bands of ``"band"``. Default: None
            num_groups (int, optional): Of ``"singular"``. Default: None
            additional_forward_args (Any, optional): Further arguments of the model. Default: None
            n_samples (int, optional): Orderings, each with its reverse. Default: None
            budget (int, optional): The most model rows per example; None: exact. Default: None
            estimator (str, optional): Of a budget, as in :class:`~captum_spectral.SpectralShapley`.
                Default: None
            prior (str or Tensor, optional): ``"flat"``, or weights ``(P,)`` or ``(B, P)``.
                Default: "flat"
            internal_batch_size (int, optional): The most rows of a forward pass. None: all examples
                together, halved where they do not fit in memory. Default: None
            return_convergence_delta (bool, optional): Return
                :math:`\sum_i \phi_i - (f(x; W) - f(x; W_0))` as well. Default: False
            return_standard_error (bool, optional): Return the standard errors as well.
                Default: False
            generator (torch.Generator, optional): Source of the coalitions. Default: None
            show_progress (bool, optional): Display a progress bar, in model rows. Default: False

        Returns:
            *Tensor* ``(B, *outputs, P)``, or a tuple of it with the delta ``(B, *outputs)`` and the
            standard error ``(B, *outputs, P)``, as asked for.

        Raises:
            TypeError, ValueError: As :class:`~captum_spectral.weights.WeightGame`, and options that
                do not go together.
        """
        solver = Solver(
            n_samples, budget, estimator, prior, generator, with_errors=return_standard_error
        )
        game = WeightGame(
            self.forward_func,
            inputs,
            target,
            baselines=baselines,
            players=players,
            layer=layer,
            features=features,
            num_groups=num_groups,
            additional_forward_args=additional_forward_args,
        )
        description = f"{self.get_name()} attribution"
        found = solver.solve(game, internal_batch_size, show_progress, description)
        results = [found.values]
        if return_convergence_delta:
            results.append(gap_of(found.values, found.full_value, found.empty_value))
        if return_standard_error:
            results.append(found.standard_error)
        results = [x.to(found.full_value.device) for x in results]
        return results[0] if len(results) == 1 else tuple(results)

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: the values measure what a part of the change adds to the output."""
        return True

    def has_convergence_delta(self) -> bool:
        """True: the delta is the efficiency gap, 0 to rounding."""
        return True
