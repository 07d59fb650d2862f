"""Attributions taken at the nearest decision boundary instead of at the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from captum.attr import GradientAttribution, IntegratedGradients
from torch import Tensor

from captum_spectral._captum import TargetType, format_output, is_tuple, log_usage
from captum_spectral.boundary.box import Clip
from captum_spectral.boundary.classifier import Classifier, slope
from captum_spectral.boundary.search import (
    Boundary,
    BoundaryNotFoundError,
    SearchMethod,
    find_boundary,
)

__all__ = ["BoundaryIntegratedGradients", "BoundarySaliency"]

Score = Literal["logit", "margin"]
OnMissing = Literal["raise", "nan"]


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

    Cost in model rows per example: that of :func:`~captum_spectral.boundary.find_boundary` (up to
    29 + s forward for DeepFool with ``s`` steps, mostly 3 to 5, each with up to 10 backward), and 1
    forward and backward. With given ``baselines``: 2 forward, 1 backward.

    What it does not say: how much a feature adds to the output (it is a slope, in outputs per unit
    of the input), nor anything about :math:`x` where the boundary that was found is not the nearest
    one. Where all boundaries are smooth, as in robust models, it is close to the plain gradient.

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
    ) -> Any:
        r"""The gradients at the boundary points of the inputs.

        Args:
            inputs (Tensor or tuple[Tensor]): Real floating tensor ``(B, ...)``, or a tuple of one.
            target (int, list, or Tensor): The class to explain, which must be the predicted one:
                an int for all examples, a list of ints or a 1-D tensor with one per example.
            baselines (Tensor or tuple[Tensor], optional): Boundary points of the shape of the
                inputs, as in ``find_boundary(...).points``: no search. NaN for the examples that
                have none. Under Captum's wrappers give them, or the search is repeated for every
                copy of the inputs; the wrappers repeat the points, which then are the same for all
                copies of an example, and so is this attribution. None: search. Default: None
            additional_forward_args (Any, optional): Further arguments of ``forward_func``, a
                single one or a tuple. Tensors with one entry per example follow their example, all
                else is passed through. Default: None
            score (str, optional): ``"logit"``, the output of ``target``; or ``"margin"``, that
                less the output of the class on the other side. Default: "logit"
            search (str or callable, optional): ``method`` of
                :func:`~captum_spectral.boundary.find_boundary`, which has more options; its points
                can be given as ``baselines``. Default: "deepfool"
            clip (tuple, optional): ``(low, high)`` of valid inputs: numbers, one number per
                channel, or tensors that broadcast to the inputs. Default: None
            num_restarts (int, optional): Further searches from random points. Default: 0
            generator (torch.Generator, optional): Source of these; None takes PyTorch's global
                one. Default: None
            on_missing (str, optional): Of examples without a boundary: ``"raise"``, or ``"nan"``
                attributions. Default: "raise"

        Returns:
            *Tensor* or *tuple[Tensor]* of **attributions**, of the shape and dtype of the inputs.

        Raises:
            TypeError, ValueError, BoundaryNotFoundError: As
                :func:`~captum_spectral.boundary.find_boundary`; a ValueError also for baselines
                that are not across the boundary.
        """
        points, scored = _at_boundary(
            self.forward_func,
            inputs,
            target,
            baselines,
            additional_forward_args,
            score,
            search,
            clip,
            num_restarts,
            generator,
            on_missing,
        )
        attributions = torch.full_like(points, torch.nan)
        if len(scored.examples):
            with torch.enable_grad():
                leaf = points[scored.examples].requires_grad_()
                attributions[scored.examples] = slope(scored(leaf, scored.examples), leaf)
        return format_output(is_tuple(inputs), (attributions,))

    @property
    def multiplies_by_inputs(self) -> bool:
        """False: a slope."""
        return False

    def attribute_future(self) -> None:
        """Not implemented, as in most of Captum."""
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")


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

    Cost in model rows per example: that of :func:`~captum_spectral.boundary.find_boundary` (up to
    29 + s forward for DeepFool with ``s`` steps, mostly 3 to 5, each with up to 10 backward; 1 with
    given ``baselines``), ``n_steps`` forward and backward, and 2 for the delta. Memory: the graph
    of ``internal_batch_size`` rows, or of ``n_steps * B``.

    What it does not say: what makes the model sure of the class far from the boundary, or how the
    features act together elsewhere. A feature in which :math:`x` and :math:`x'` agree gets 0, so
    the attribution depends on the point that was found; another one as close gives another map.

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
    ) -> Any:
        r"""Captum's integrated gradients from the boundary points to the inputs.

        Args:
            inputs (Tensor or tuple[Tensor]): Real floating tensor ``(B, ...)``, or a tuple of one.
            target (int, list, or Tensor): The class to explain, which must be the predicted one:
                an int for all examples, a list of ints or a 1-D tensor with one per example.
            baselines (Tensor or tuple[Tensor], optional): Boundary points of the shape of the
                inputs, as in ``find_boundary(...).points``: no search. NaN for the examples that
                have none. Under Captum's wrappers give them, or the search is repeated for every
                copy of the inputs; the wrappers repeat the points. None: search. Default: None
            additional_forward_args (Any, optional): Further arguments of ``forward_func``, a
                single one or a tuple. Tensors with one entry per example follow their example, all
                else is passed through. Default: None
            score (str, optional): ``"logit"``, the output of ``target``; or ``"margin"``, that
                less the output of the class on the other side. Default: "logit"
            search (str or callable, optional): ``method`` of
                :func:`~captum_spectral.boundary.find_boundary`, which has more options; its points
                can be given as ``baselines``. Default: "deepfool"
            clip (tuple, optional): ``(low, high)`` of valid inputs: numbers, one number per
                channel, or tensors that broadcast to the inputs. Default: None
            num_restarts (int, optional): Further searches from random points. Default: 0
            generator (torch.Generator, optional): Source of these; None takes PyTorch's global
                one. Default: None
            on_missing (str, optional): Of examples without a boundary: ``"raise"``, or ``"nan"``
                attributions and deltas. Default: "raise"
            n_steps (int, optional): Steps of the quadrature. Default: 50
            method (str, optional): The quadrature, as in Captum: ``"gausslegendre"``,
                ``"riemann_middle"``, ... Default: "gausslegendre"
            internal_batch_size (int, optional): Rows in a forward pass of the quadrature, at most.
                None: all. Default: None
            return_convergence_delta (bool, optional): Return
                :math:`\sum_i A_i - (f(x) - f(x'))` as well, with the score that was explained as
                :math:`f`. Default: False

        Returns:
            *Tensor* or *tuple[Tensor]* of **attributions**, of the shape and dtype of the inputs;
            with ``return_convergence_delta`` followed by the **delta** ``(B,)``.

        Raises:
            TypeError, ValueError, BoundaryNotFoundError: As
                :func:`~captum_spectral.boundary.find_boundary`; a ValueError also for baselines
                that are not across the boundary.
        """
        points, scored = _at_boundary(
            self.forward_func,
            inputs,
            target,
            baselines,
            additional_forward_args,
            score,
            search,
            clip,
            num_restarts,
            generator,
            on_missing,
        )
        attributions = torch.full_like(points, torch.nan)
        delta = points.new_full(points.shape[:1], torch.nan)
        if len(scored.examples):
            x = (inputs[0] if isinstance(inputs, tuple) else inputs).detach()
            integrated = IntegratedGradients(scored)
            integrated.gradient_func = _gradients
            result = integrated.attribute(
                x[scored.examples],
                points[scored.examples],
                additional_forward_args=scored.examples,
                n_steps=n_steps,
                method=method,
                internal_batch_size=internal_batch_size,
                return_convergence_delta=return_convergence_delta,
            )
            if return_convergence_delta:
                result, delta[scored.examples] = result
            attributions[scored.examples] = result
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


class _Scored:
    """The explained score of rows ``(R, ...)`` that are versions of given examples: ``(R,)``.

    The examples travel with the rows as Captum's additional argument; targets and the user's own
    arguments are picked by them.
    """

    def __init__(self, classifier: Classifier, classes: Tensor, score: Score) -> None:
        self.examples = (classes >= 0).nonzero().flatten()
        self._classifier, self._classes, self._margin = classifier, classes, score == "margin"

    def __call__(self, points: Tensor, examples: Tensor) -> Tensor:
        logits = self._classifier(points, examples)
        explained = self._classifier.of_target(logits, examples)
        if self._margin:
            explained = explained - logits.gather(1, self._classes[examples, None])[:, 0]
        return explained


def _at_boundary(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType,
    baselines: Any,
    additional_forward_args: Any,
    score: Score,
    search: SearchMethod,
    clip: Clip | None,
    num_restarts: int,
    generator: torch.Generator | None,
    on_missing: OnMissing,
) -> tuple[Tensor, _Scored]:
    """The boundary points, found or given, and the score that is explained there."""
    if score not in ("logit", "margin"):
        raise ValueError(f'score must be "logit" or "margin", got {score!r}')
    classifier = Classifier(forward_func, inputs, target, additional_forward_args)
    if baselines is None:
        boundary = find_boundary(
            classifier,
            inputs,
            target,
            search,
            classifier.examples,
            clip,
            num_restarts=num_restarts,
            generator=generator,
            on_missing=on_missing,
        )
    else:
        boundary = _given(classifier, baselines, on_missing)
    points = boundary.points[0] if isinstance(boundary.points, tuple) else boundary.points
    return points, _Scored(classifier, boundary.classes, score)


def _given(classifier: Classifier, baselines: Any, on_missing: OnMissing) -> Boundary:
    """Boundary points of the user, checked. One row per example."""
    x = classifier.inputs
    points = baselines[0] if isinstance(baselines, tuple) and len(baselines) == 1 else baselines
    if not isinstance(points, Tensor):
        raise TypeError(
            "baselines must be boundary points, a tensor such as find_boundary(...).points, or be "
            f"left out, got {type(points).__name__}"
        )
    if tuple(points.shape) not in (tuple(x.shape), (1, *x.shape[1:])):
        raise ValueError(
            f"baselines of shape {tuple(points.shape)} must have the shape of the inputs, "
            f"{tuple(x.shape)}, or {(1, *x.shape[1:])}"
        )
    # First dim 1 is what NoiseTunnel leaves of a single example.
    points = points.detach().to(x).to(classifier.dtype).expand_as(x).contiguous()
    found = points.isfinite().flatten(1).all(1)
    if on_missing == "raise" and not found.all():
        raise BoundaryNotFoundError((~found).nonzero().flatten().tolist())
    classes = torch.full_like(classifier.examples, -1)
    rows = found.nonzero().flatten()
    if len(rows):
        logits = classifier.outputs(points[rows], rows)
        others, other_classes = classifier.others(logits, rows).max(1)
        # A point next to the boundary may round to the near side in another batch.
        slack = 1e-4 * logits.abs().amax(1)
        near = rows[~(classifier.of_target(logits, rows) <= others + slack)].tolist()
        if near:
            raise ValueError(
                "baselines must be points that the model takes for another class than target, as "
                f"those of find_boundary(...).points; they are not for the examples {near}"
            )
        classes[rows] = other_classes
    distances = (points.to(x) - x).flatten(1).norm(dim=1).nan_to_num(torch.inf)
    return Boundary(points, distances, found, classes)


def _gradients(
    forward_fn: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    target_ind: TargetType = None,
    additional_forward_args: Any = None,
) -> tuple[Tensor, ...]:
    """Captum's ``compute_gradients`` for a score, with an error that says what is wrong."""
    with torch.enable_grad():
        return (slope(forward_fn(*inputs, *additional_forward_args), inputs[0]),)
