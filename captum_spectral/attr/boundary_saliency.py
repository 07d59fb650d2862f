"""BoundarySaliency: the gradient at the nearest decision boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import torch
from captum.attr import GradientAttribution
from torch import Tensor

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

__all__ = ["BoundarySaliency"]


class BoundarySaliency(Synchronous, GradientAttribution):  # type: ignore[misc]
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
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None

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

    def __init__(self, forward_func: Callable[..., Any], *, output: Output | None = None) -> None:
        GradientAttribution.__init__(self, reading(forward_func, output))

    @overload
    def attribute(
        self, inputs: Tensor, target: TargetType, **options: Unpack[BoundaryOptions]
    ) -> Tensor: ...

    @overload
    def attribute(
        self, inputs: tuple[Tensor, ...], target: TargetType, **options: Unpack[BoundaryOptions]
    ) -> tuple[Tensor, ...]: ...

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
        internal_batch_size: int | None = None,
        show_progress: bool = False,
    ) -> Any:
        r"""Return the gradients at the boundary points of the inputs.

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
                points, which then are the same for all copies of an example, and so is this
                attribution. None: search. Default: None
            additional_forward_args (Any, optional): Further arguments of ``forward_func``, a
                single one or a tuple. Tensors with one entry per example follow their example, all
                else is passed through. Default: None
            score (str, optional): ``"logit"``, the output of ``target``; or ``"margin"``, that
                less the output of the class on the other side. Default: "logit"
            search (BoundarySearch, str or callable, optional): How the points are looked for, see
                :class:`~captum_spectral.BoundarySearch`: with which method, in which range of valid
                inputs, from how many starts, and whether an example without a boundary is an error
                or gets NaN attributions. A name or a function alone is its method, with the
                defaults of all else. Default: "deepfool"
            internal_batch_size (int, optional): Rows in a forward pass, at most, of the search too;
                it bounds the memory and changes the result by rounding only. None: ``B``. Examples
                that do not fit in memory are done again, half as many at a time, in both cases.
                Default: None
            show_progress (bool, optional): Display a progress bar that counts the stages of the
                search, and the gradients, of each example. Default: False

        Returns:
            *Tensor* or *tuple[Tensor, ...]* of **attributions**, contiguous, of the shape of the
            inputs and their dtype, float32 for half precision.

        Raises:
            TypeError, ValueError, BoundaryNotFoundError: As
                :func:`~captum_spectral.boundary.find_boundary`; a ValueError also for baselines
                that are not across the boundary.
            torch.OutOfMemoryError: Not even a single example fits in memory.
        """
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
            attributions = at_boundary.attributions(
                _slopes, f"{self.get_name()} attribution", show_progress
            )
        return format_output(is_tuple(inputs), (attributions,))

    @property
    def multiplies_by_inputs(self) -> bool:
        """False: a slope."""
        return False


def _slopes(scored: Scored, points: Tensor, examples: Tensor, max_rows: int | None) -> Tensor:
    """Differentiate the score of each point. A point is one row, so ``max_rows`` holds already."""
    with torch.enable_grad():
        leaf = points.requires_grad_()
        (slopes,) = gradients(scored(leaf, examples), (leaf,))
    return slopes
