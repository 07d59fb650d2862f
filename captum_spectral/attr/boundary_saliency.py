"""BoundarySaliency: the gradient at the nearest decision boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum.attr import GradientAttribution
from torch import Tensor

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

__all__ = ["BoundarySaliency"]


class BoundarySaliency(GradientAttribution):  # type: ignore[misc]
    r"""The gradient at the nearest decision boundary: what the decision is sensitive to.

    A gradient at :math:`x` describes the linear region of :math:`x`; what decides about the class
    is the closest point :math:`x'` that is taken for another one:

    .. math::
        A(x) = \nabla f_c(x'), \qquad
        x' = \operatorname*{argmin}_{z:\, F(z) \ne c} |z - x|_2, \qquad c = F(x)

    It is signed, and of the explained class :math:`c`. ``score="margin"`` takes
    :math:`\nabla (f_c - f_{c'})(x')` instead, with :math:`c' = F(x')`: the true normal of the
    boundary, pointing to the side of :math:`x`.

    Args:
        forward_func: The classifier, or any modification of its forward function:
            ``(B, classes)`` outputs, of which the largest is the decision.

    Cost in model rows per example: that of :func:`~captum_spectral.boundary.find_boundary` (about
    8 + s forward and up to 8 + 3 s backward for DeepFool with ``s`` steps, mostly 3 to 6), and 1
    forward and backward. With given ``baselines``: 2 forward, 1 backward. Memory: the graph of
    ``internal_batch_size`` rows, or of ``B``.

    What it does not say: how much a feature adds to the output (it is a slope, in outputs per unit
    of the input), nor anything about :math:`x` where the boundary that was found is not the nearest
    one. Where all boundaries are smooth, as in robust models, it is close to the plain gradient.
    Given ``baselines`` do not follow the inputs: Captum's ``NoiseTunnel`` then returns the map
    without noise, and ``sensitivity_max`` is 0.

    Example::

        >>> import torch
        >>> from captum_spectral import BoundarySaliency
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(),
        ...     torch.nn.Linear(4 * 14 * 14, 10)).eval()
        >>> inputs = torch.rand(2, 3, 16, 16)
        >>> target = model(inputs).argmax(1)                 # the decisions themselves
        >>> BoundarySaliency(model).attribute(inputs, target).shape
        torch.Size([2, 3, 16, 16])

    References:
        Z. Wang, M. Fredrikson, A. Datta, *Robust Models Are More Interpretable Because
        Attributions Look Normal*, ICML 2022. S.-M. Moosavi-Dezfooli, A. Fawzi, P. Frossard,
        *DeepFool: a simple and accurate method to fool deep neural networks*, CVPR 2016.
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
        internal_batch_size: int | None = None,
        show_progress: bool = False,
    ) -> Any:
        r"""The gradients at the boundary points of the inputs.

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
                repeat the points, which then are the same for all copies of an example, and so is
                this attribution. None: search. Default: None
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
                attributions. Default: "raise"
            internal_batch_size (int, optional): Rows in a forward pass, at most, of the search too;
                it bounds the memory and changes the result by rounding only. None: ``B``.
                Default: None
            show_progress (bool, optional): Display a progress bar that counts the stages of the
                search, and the gradients, of each example. Default: False

        Returns:
            *Tensor* or *tuple[Tensor]* of **attributions**, contiguous, of the shape of the inputs
            and their dtype, float32 for half precision.

        Raises:
            TypeError, ValueError, BoundaryNotFoundError: As
                :func:`~captum_spectral.boundary.find_boundary`; a ValueError also for baselines
                that are not across the boundary.
        """
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
            attributions = at_boundary.attributions(
                _slopes, f"{self.get_name()} attribution", show_progress
            )
        return format_output(is_tuple(inputs), (attributions,))

    @property
    def multiplies_by_inputs(self) -> bool:
        """False: a slope."""
        return False

    def attribute_future(self) -> None:
        """Not implemented, as in most of Captum."""
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")


def _slopes(scored: Scored, points: Tensor, examples: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = points.requires_grad_()
        return slope(scored(leaf, examples), leaf)
