"""BoundaryIntegratedGradients: integrated gradients from the nearest decision boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, overload

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
from captum_spectral._engine.forward import gradients
from captum_spectral._engine.outputs import Output, reading
from captum_spectral.attr._at_boundary import AtBoundary, BoundaryOptions, Score, Scored
from captum_spectral.attr._synchronous import Synchronous
from captum_spectral.boundary.search import BoundarySearch, SearchMethod

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["BoundaryIntegratedGradients"]

Inputs = TypeVar("Inputs", Tensor, tuple[Tensor, ...])
Quadrature = Literal[
    "gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid"
]
QUADRATURES = get_args(Quadrature)


class _Options(BoundaryOptions, total=False):
    n_steps: int
    method: Quadrature


class BoundaryIntegratedGradients(Synchronous, GradientAttribution):  # type: ignore[misc]
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
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None

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

    def __init__(self, forward_func: Callable[..., Any], *, output: Output | None = None) -> None:
        GradientAttribution.__init__(self, reading(forward_func, output))

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType,
        *,
        return_convergence_delta: Literal[False] = ...,
        **options: Unpack[_Options],
    ) -> Inputs: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType,
        *,
        return_convergence_delta: Literal[True],
        **options: Unpack[_Options],
    ) -> tuple[Inputs, Tensor]: ...

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType,
        *,
        baselines: Tensor | tuple[Tensor, ...] | None = None,
        additional_forward_args: Any = None,
        score: Score = "logit",
        search: BoundarySearch | SearchMethod = "deepfool",
        n_steps: int = 50,
        method: Quadrature = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        show_progress: bool = False,
    ) -> Any:
        r"""Integrate gradients, as Captum does it, from the boundary points to the inputs.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): Real floating tensor ``(B, ...)``, or a tuple of
                one. Half-precision inputs reach the model in their own dtype.
            target (int, list, or Tensor): The class to explain, which must be the predicted one,
                except that this is not checked with ``baselines``: an int for all examples, a list
                of ints or a 1-D tensor with one per example.
            baselines (Tensor or tuple[Tensor, ...], optional): Boundary points of the shape of the
                inputs, as in ``find_boundary(...).points``, NaN for the examples that have none.
                Then nothing is searched, of ``search`` only ``on_missing`` counts, and what the
                model predicts for the inputs is not looked at. Under Captum's wrappers give them,
                or the search is repeated for every copy of the inputs; the wrappers repeat the
                points. None: search. Default: None
            additional_forward_args (Any, optional): Further arguments of ``forward_func``, a
                single one or a tuple. Tensors with one entry per example follow their example, all
                else is passed through. Default: None
            score (str, optional): ``"logit"``, the output of ``target``; or ``"margin"``, that
                less the output of the class on the other side. Default: "logit"
            search (BoundarySearch, str or callable, optional): How the points are looked for, see
                :class:`~captum_spectral.BoundarySearch`: with which method, in which range of valid
                inputs, from how many starts, and whether an example without a boundary is an error
                or gets NaN attributions and deltas. A name or a function alone is its method, with
                the defaults of all else. Default: "deepfool"
            n_steps (int, optional): Steps of the quadrature. Default: 50
            method (str, optional): The quadrature, as in Captum: ``"gausslegendre"``,
                ``"riemann_left"``, ``"riemann_middle"``, ``"riemann_right"`` or
                ``"riemann_trapezoid"``. Default: "gausslegendre"
            internal_batch_size (int, optional): Rows in a forward pass, at most, of the search and
                of the quadrature; it bounds the memory and changes the result by rounding only.
                None: ``B`` and ``n_steps * B``. Examples that do not fit in memory are done again,
                half as many at a time, in both cases, and a single one step by step. Default: None
            return_convergence_delta (bool, optional): Return
                :math:`\sum_i A_i - (f(x) - f(x'))` as well, with the score that was explained as
                :math:`f`. Default: False
            show_progress (bool, optional): Display a progress bar that counts the stages of the
                search, and the quadrature, of each example. Default: False

        Returns:
            *Tensor* or *tuple[Tensor, ...]* of **attributions**, contiguous, of the shape of the
            inputs; with ``return_convergence_delta`` followed by the **delta** ``(B,)``. Both are
            of the dtype of the inputs, float32 for half precision.

        Raises:
            TypeError, ValueError, BoundaryNotFoundError: As
                :func:`~captum_spectral.boundary.find_boundary`; a ValueError also for baselines
                that are not across the boundary.
            torch.OutOfMemoryError: Not even a single example fits in memory.
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
                baselines=baselines,
                additional_forward_args=additional_forward_args,
                score=score,
                search=search,
                internal_batch_size=internal_batch_size,
            )
            x = at_boundary.inputs
            delta = x.new_full(x.shape[:1], torch.nan)

            def integrate(
                scored: Scored, points: Tensor, examples: Tensor, max_rows: int | None
            ) -> Tensor:
                integrated = IntegratedGradients(scored)
                integrated.gradient_func = _gradients
                result: Any = integrated.attribute(
                    x[examples],
                    points,
                    additional_forward_args=examples,
                    n_steps=n_steps,
                    method=method,
                    # Captum takes a step of all examples at least.
                    internal_batch_size=None if max_rows is None else max(max_rows, len(points)),
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


def _gradients(
    forward_fn: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    target_ind: TargetType = None,
    additional_forward_args: Any = None,
) -> tuple[Tensor, ...]:
    """Do what Captum's ``compute_gradients`` does, with an error that says what is wrong."""
    with torch.enable_grad():
        return gradients(forward_fn(*inputs, *additional_forward_args), inputs)
