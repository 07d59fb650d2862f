"""BoundaryIntegratedGradients: integrated gradients from the nearest decision boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum.attr import GradientAttribution, IntegratedGradients
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._captum import (
    TargetType,
    format_output,
    is_tuple,
    log_usage,
)
from captum_spectral.boundary.box import Clip
from captum_spectral.boundary.classifier import slope
from captum_spectral.boundary.nearest import Search, SearchMethod
from captum_spectral.boundary.result import OnMissing
from captum_spectral.boundary.scored import AtBoundary, Score, Scored

__all__ = ["BoundaryIntegratedGradients"]

QUADRATURES = (
    "gausslegendre",
    "riemann_left",
    "riemann_middle",
    "riemann_right",
    "riemann_trapezoid",
)


class BoundaryIntegratedGradients(GradientAttribution):  # type: ignore[misc]
    r"""Integrated gradients from the nearest decision boundary to the input.

    The baseline of integrated gradients is the closest point :math:`x'` that the model takes for
    another class, so nothing has to be chosen, and what is explained is the decision:

    .. math::
        A(x) = (x - x') \odot \int_0^1 \nabla f_c\big(x' + t (x - x')\big)\, dt, \qquad
        \sum_i A_i(x) = f_c(x) - f_c(x')

    with :math:`x' = \operatorname{argmin}_{z:\, F(z) \ne c} |z - x|_2` and :math:`c = F(x)`.
    ``score="margin"`` integrates :math:`\nabla (f_c - f_{c'})` instead, with
    :math:`c' = F(x')`; then the sum is the margin of :math:`x`, as that of :math:`x'` is almost 0.

    Args:
        forward_func: The classifier, or any modification of its forward function:
            ``(B, classes)`` outputs, of which the largest is the decision.

    Cost in model rows per example: that of :func:`~captum_spectral.boundary.find_boundary` (about
    8 + s forward and up to 8 + 3 s backward for DeepFool with ``s`` steps, mostly 3 to 6; 1 with
    given ``baselines``), ``n_steps`` forward and backward, and 2 for the delta. Memory: the graph
    of ``internal_batch_size`` rows, or of ``n_steps * B``.

    What it does not say: what makes the model sure of the class far from the boundary, or how the
    features act together elsewhere. A feature in which :math:`x` and :math:`x'` agree gets 0, so
    the attribution depends on the point that was found; another one as close gives another map.
    Given ``baselines`` do not follow the inputs: Captum's ``NoiseTunnel`` and ``sensitivity_max``
    then move one end of the path only, and do not show how the boundary point moves.

    Example::

        >>> import torch
        >>> from captum_spectral import BoundaryIntegratedGradients
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(),
        ...     torch.nn.Linear(4 * 14 * 14, 10)).eval()
        >>> inputs = torch.rand(2, 3, 16, 16)
        >>> target = model(inputs).argmax(1)                 # the decisions themselves
        >>> attributions, delta = BoundaryIntegratedGradients(model).attribute(
        ...     inputs, target, return_convergence_delta=True)
        >>> attributions.shape
        torch.Size([2, 3, 16, 16])
        >>> bool((delta.abs() < 1e-4).all())
        True

    References:
        Z. Wang, M. Fredrikson, A. Datta, *Robust Models Are More Interpretable Because
        Attributions Look Normal*, ICML 2022. S.-M. Moosavi-Dezfooli, A. Fawzi, P. Frossard,
        *DeepFool: a simple and accurate method to fool deep neural networks*, CVPR 2016.
        M. Sundararajan, A. Taly, Q. Yan, *Axiomatic Attribution for Deep Networks*, ICML 2017.
    """

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        GradientAttribution.__init__(self, forward_func)

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType,
        baselines: Tensor | tuple[Tensor, ...] | None = None,
        additional_forward_args: Any = None,
        score: Score = "logit",
        search: SearchMethod = "deepfool",
        clip: Clip | None = None,
        num_restarts: int = 0,
        generator: torch.Generator | None = None,
        on_missing: OnMissing = "raise",
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        show_progress: bool = False,
    ) -> Any:
        r"""Captum's integrated gradients from the boundary points to the inputs.

        Args:
            inputs (Tensor or tuple[Tensor]): Real floating tensor ``(B, ...)``, or a tuple of one.
                Half-precision inputs reach the model in their own dtype.
            target (int, list, or Tensor): The class to explain, which must be the predicted one,
                except that this is not checked with ``baselines``: an int for all examples, a list
                of ints or a 1-D tensor with one per example.
            baselines (Tensor or tuple[Tensor], optional): Boundary points of the shape of the
                inputs, as in ``find_boundary(...).points``, NaN for the examples that have none.
                Then nothing is searched: ``search``, ``clip`` and ``num_restarts`` are ignored, and
                what the model predicts for the inputs is not looked at. Under Captum's wrappers
                give them, or the search is repeated for every copy of the inputs; the wrappers
                repeat the points. None: search. Default: None
            additional_forward_args (Any, optional): Further arguments of ``forward_func``, a
                single one or a tuple. Tensors with one entry per example follow their example, all
                else is passed through. Default: None
            score (str, optional): ``"logit"``, the output of ``target``; or ``"margin"``, that
                less the output of the class on the other side. Default: "logit"
            search (str or callable, optional): ``method`` of
                :func:`~captum_spectral.boundary.find_boundary`, which has more options; its points
                can be given as ``baselines``, with which this is ignored. Default: "deepfool"
            clip (tuple, optional): ``(low, high)`` of valid inputs: numbers, one number per
                channel, or tensors that broadcast to the inputs; ignored with ``baselines``.
                Default: None
            num_restarts (int, optional): Further searches from random points; ignored with
                ``baselines``. Default: 0
            generator (torch.Generator, optional): Source of these; None takes PyTorch's global
                one. Default: None
            on_missing (str, optional): Of examples without a boundary: ``"raise"``, or ``"nan"``
                attributions and deltas. Default: "raise"
            n_steps (int, optional): Steps of the quadrature. Default: 50
            method (str, optional): The quadrature, as in Captum: ``"gausslegendre"``,
                ``"riemann_left"``, ``"riemann_middle"``, ``"riemann_right"`` or
                ``"riemann_trapezoid"``. Default: "gausslegendre"
            internal_batch_size (int, optional): Rows in a forward pass, at most, of the search and
                of the quadrature; it bounds the memory and changes the result by rounding only.
                None: ``B`` and ``n_steps * B``. Default: None
            return_convergence_delta (bool, optional): Return
                :math:`\sum_i A_i - (f(x) - f(x'))` as well, with the score that was explained as
                :math:`f`. Default: False
            show_progress (bool, optional): Display a progress bar that counts the stages of the
                search, and the quadrature, of each example. Default: False

        Returns:
            *Tensor* or *tuple[Tensor]* of **attributions**, contiguous, of the shape of the inputs;
            with ``return_convergence_delta`` followed by the **delta** ``(B,)``. Both are of the
            dtype of the inputs, float32 for half precision.

        Raises:
            TypeError, ValueError, BoundaryNotFoundError: As
                :func:`~captum_spectral.boundary.find_boundary`; a ValueError also for baselines
                that are not across the boundary.
        """
        # Captum would look at them after the search.
        if n_steps is None:
            raise TypeError("n_steps must be an integer, got None")
        check_count("n_steps", n_steps)
        if method not in QUADRATURES:
            raise ValueError(f"method must be one of {', '.join(QUADRATURES)}, got {method!r}")
        # Also where the caller has switched gradients off.
        with torch.inference_mode(False), torch.no_grad():
            at_boundary = AtBoundary(
                self.forward_func,
                inputs,
                target,
                baselines,
                additional_forward_args,
                score,
                Search(search, num_restarts=num_restarts, generator=generator),
                clip,
                on_missing,
                internal_batch_size,
            )
            x = at_boundary.inputs
            delta = x.new_full(x.shape[:1], torch.nan)

            def integrate(scored: Scored, points: Tensor, examples: Tensor) -> Tensor:
                integrated = IntegratedGradients(scored)
                integrated.gradient_func = _gradients
                result: Any = integrated.attribute(
                    x[examples],
                    points,
                    additional_forward_args=examples,
                    n_steps=n_steps,
                    method=method,
                    internal_batch_size=internal_batch_size,
                    return_convergence_delta=return_convergence_delta,
                )
                if return_convergence_delta:
                    result, delta[examples] = result
                integral: Tensor = result
                return integral

            attributions = at_boundary.attributions(
                integrate, f"{self.get_name()} attribution", show_progress
            )
        formatted = format_output(is_tuple(inputs), (attributions,))
        return (formatted, delta) if return_convergence_delta else formatted

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: the values measure what a feature adds to the output on the way to the input."""
        return True

    def has_convergence_delta(self) -> bool:
        """True: the delta is the error of the quadrature."""
        return True

    def attribute_future(self) -> None:
        """Not implemented, as in most of Captum."""
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")


def _gradients(
    forward_fn: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    target_ind: TargetType = None,
    additional_forward_args: Any = None,
) -> tuple[Tensor, ...]:
    """Captum's ``compute_gradients`` for a score, with an error that says what is wrong."""
    with torch.enable_grad():
        return (slope(forward_fn(*inputs, *additional_forward_args), inputs[0]),)
