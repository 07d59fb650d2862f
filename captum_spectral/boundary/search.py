"""find_boundary: search, bisect, keep the closest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._captum import TargetType, format_output, is_tuple
from captum_spectral.boundary.bisection import Crossing, bisect
from captum_spectral.boundary.box import Box, Clip
from captum_spectral.boundary.classifier import Classifier
from captum_spectral.boundary.deepfool import deepfool
from captum_spectral.boundary.pgd import pgd
from captum_spectral.boundary.refinement import closer, refine

__all__ = ["Boundary", "BoundaryNotFoundError", "SearchMethod", "find_boundary"]

# A name, or a function of inputs (B, ...) and target (B,) that gives candidate points (B, ...).
SearchMethod = Literal["deepfool", "pgd"] | Callable[[Tensor, Tensor], Tensor]

# Of the paper, for ImageNet in normalised units.
RADII = (36 / 255, 64 / 255, 0.3, 0.5, 0.7, 0.9, 1.1)


class Boundary(NamedTuple):
    """The nearest points of another class that :func:`find_boundary` found.

    Args:
        points: ``(B, ...)`` :math:`x'`, of the shape and dtype of the inputs (a tuple for a tuple),
            on the far side of the boundary. NaN where none was found.
        distances: ``(B,)`` :math:`|x' - x|_2`, in float32 or float64. Infinite where none was
            found.
        found: ``(B,)`` boolean.
        classes: ``(B,)`` integers, the class predicted at the points. -1 where none was found.

    Raises:
        AttributeError: On an attempt to change it.

    Cost: no model rows.

    Example::

        >>> import torch
        >>> from captum_spectral import find_boundary
        >>> model = torch.nn.Linear(2, 2).requires_grad_(False)
        >>> model.weight[:], model.bias[:] = torch.eye(2), 0
        >>> boundary = find_boundary(model.eval(), torch.tensor([[3.0, 1.0]]), target=0)
        >>> boundary.found, boundary.classes
        (tensor([True]), tensor([1]))
        >>> print(f"{float(boundary.distances):.2f}")        # |f_0 - f_1| / |w_0 - w_1|
        1.41
    """

    points: Tensor | tuple[Tensor, ...]
    distances: Tensor
    found: Tensor
    classes: Tensor


class BoundaryNotFoundError(RuntimeError):
    """For some examples the search met no other class.

    Args:
        examples: Their indices.

    Example::

        >>> from captum_spectral.boundary import BoundaryNotFoundError
        >>> BoundaryNotFoundError([2]).examples
        [2]
    """

    def __init__(self, examples: list[int]) -> None:
        self.examples = examples
        super().__init__(
            f"no decision boundary was found for the examples {examples}: no step led to another "
            'class. on_missing="nan" leaves them out; more num_restarts or max_steps, larger radii '
            "(pgd), or another method may find one"
        )


def find_boundary(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType,
    method: SearchMethod = "deepfool",
    additional_forward_args: Any = None,
    clip: Clip | None = None,
    num_candidates: int = 10,
    overshoot: float = 0.02,
    radii: Sequence[float] = RADII,
    max_steps: int | None = None,
    bisection_steps: int = 12,
    refinement_steps: int = 1,
    num_restarts: int = 0,
    generator: torch.Generator | None = None,
    on_missing: Literal["raise", "nan"] = "raise",
) -> Boundary:
    r"""The closest point that a classifier takes for another class.

    .. math::
        x' = \operatorname*{argmin}_{z:\, F(z) \ne c} |z - x|_2, \qquad
        F(z) = \operatorname*{argmax}_j f_j(z), \qquad F(x) = c

    An attack proposes a point across the boundary, and the way to it is halved until the crossing
    is located to a part in ``2^bisection_steps`` of its distance. From there the point slides along
    the boundary towards the perpendicular of :math:`x`, and is bisected again. The point kept is
    always one that the model was shown and took for another class: :math:`F(x') \ne c` for
    certain.

    Args:
        forward_func: The classifier: ``(B, classes)`` outputs, of which the largest is the
            decision. Differentiable, but for a ``method`` of your own without refinement.
        inputs: Real floating tensor ``(B, ...)``, or a tuple of one.
        target: The class :math:`c`, which must be the predicted one: an int for all examples, a
            list of ints or a 1-D tensor with one per example.
        method: How points across the boundary are found. Default: "deepfool"

            - ``"deepfool"``: steps to the nearest of the linearised boundaries to the
              ``num_candidates`` strongest other classes; the first two go half of the way.
            - ``"pgd"``: projected normalised gradient steps in l2 balls of growing ``radii``.
            - a function of ``inputs (B, ...)`` and ``target (B,)`` that returns candidates
              ``(B, ...)``, such as any attack:
              ``lambda x, c: captum_pgd.perturb(x, 0.5, 0.1, 40, c, norm="L2")``. Candidates that
              did not cross, or are not finite, count as not found.
        additional_forward_args: Further arguments of ``forward_func``, a single one or a tuple;
            tensors with one entry per example follow their example. Default: None
        clip: ``(low, high)`` of valid inputs, where all points stay: numbers, one number per
            channel (dim 1), or tensors that broadcast to the inputs. The inputs must lie inside.
            None: no limits. Default: None
        num_candidates: For ``"deepfool"``, how many other classes are considered; all if there are
            fewer. Default: 10
        overshoot: How much farther than the linearised boundary a step of ``"deepfool"``, or of the
            refinement, goes. Default: 0.02
        radii: For ``"pgd"``, of the balls, in the units of the inputs. Default: those of the paper,
            36/255 to 1.1, which suit normalised ImageNet
        max_steps: Steps of ``"deepfool"``, or of ``"pgd"`` in each ball. None: 50 or 40.
            Default: None
        bisection_steps: How often the way to the boundary is halved. Default: 12
        refinement_steps: How often, at most, the point is moved along the boundary to where the
            example's perpendicular onto the tangent plane meets it, as long as it comes closer by
            0.1 %; needs gradients. Default: 1
        num_restarts: How many times the search is repeated from a random point around each input:
            half as far away as the closest boundary so far, or a tenth of the input's length where
            there is none yet. The closest point of all searches counts. The random directions are
            shared by the batch. Default: 0
        generator: Source of the random directions; None takes PyTorch's global one. Not used
            without restarts. Default: None
        on_missing: What to do with examples for which no boundary was found: ``"raise"``, or
            ``"nan"``: NaN points, infinite distances, class -1. Default: "raise"

    Returns:
        :class:`Boundary`: ``points`` of the shape of the inputs, ``distances (B,)``,
        ``found (B,)`` and ``classes (B,)``.

    Raises:
        TypeError: Inputs or outputs that are no real floating tensor, a target that names no class
            per example, a ``method`` that is neither a name nor callable, counts of a wrong kind.
        ValueError: Inputs that are not finite or outside ``clip``, more than one input tensor, a
            target that is not predicted (the message names the examples), outputs that are not
            ``(B, classes)``, not finite, or have no gradient, candidates of a wrong shape.
        BoundaryNotFoundError: With ``on_missing="raise"``; a ``RuntimeError`` that lists the
            examples.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost in model rows per example: 1, and for each of the ``1 + num_restarts`` searches those of
    the method, ``1 + bisection_steps``, and up to ``2 + bisection_steps`` for each refinement
    (1 of them backward, too). DeepFool: ``s + 1`` forward for ``s`` steps, mostly 3 to 5, each with
    up to ``num_candidates`` backward. So 29 + s by default. PGD: up to 41 forward and 40 backward
    for each radius. All examples move together (at most B rows in a forward pass, which bounds the
    memory), and those that are done cost nothing more.

    What it does not say: an upper bound of the distance, not the distance itself. A closer point
    may exist elsewhere, also with restarts; only a verifier can exclude it. ``found`` being false
    is no proof of robustness: a model without usable gradients is not found either.

    Example::

        >>> import torch
        >>> from captum_spectral import find_boundary
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(),
        ...     torch.nn.Linear(4 * 14 * 14, 10)).eval()
        >>> inputs = torch.rand(2, 3, 16, 16)
        >>> target = model(inputs).argmax(1)
        >>> boundary = find_boundary(model, inputs, target)
        >>> boundary.points.shape
        torch.Size([2, 3, 16, 16])
        >>> bool((model(boundary.points).argmax(1) != target).all())
        True

    References:
        Z. Wang, M. Fredrikson, A. Datta, *Robust Models Are More Interpretable Because
        Attributions Look Normal*, ICML 2022. S.-M. Moosavi-Dezfooli, A. Fawzi, P. Frossard,
        *DeepFool: a simple and accurate method to fool deep neural networks*, CVPR 2016.
    """
    check_count("num_candidates", num_candidates)
    check_count("bisection_steps", bisection_steps, at_least=0)
    check_count("refinement_steps", refinement_steps, at_least=0)
    check_count("num_restarts", num_restarts, at_least=0)
    if max_steps is not None:
        check_count("max_steps", max_steps)
    if not overshoot > 0:
        raise ValueError(f"overshoot must be positive, got {overshoot}")
    if len(radii) == 0 or not all(0 < r < float("inf") for r in radii):
        raise ValueError(f"radii must be one or more positive numbers, got {radii!r}")
    if on_missing not in ("raise", "nan"):
        raise ValueError(f'on_missing must be "raise" or "nan", got {on_missing!r}')
    if method not in ("deepfool", "pgd") and not callable(method):
        raise TypeError(
            'method must be "deepfool", "pgd" or a function of (inputs, target) that returns '
            f"candidate points, got {method!r}"
        )
    classifier = Classifier(forward_func, inputs, target, additional_forward_args)
    box = Box(clip, classifier.inputs, classifier.dtype)
    classifier.check_decisions()

    def search(starts: Tensor) -> Tensor:
        if method == "deepfool":
            return deepfool(classifier, box, starts, num_candidates, overshoot, max_steps or 50)
        if method == "pgd":
            return pgd(classifier, box, starts, radii, max_steps or 40)
        with torch.enable_grad():
            given = method(starts.to(classifier.dtype, copy=True), classifier.target.clone())
        return _check_candidates(given, starts)

    def crossing(starts: Tensor) -> Crossing:
        coarse = bisect(classifier, box, search(starts), bisection_steps)
        return refine(classifier, box, coarse, refinement_steps, overshoot, bisection_steps)

    closest = crossing(classifier.inputs)
    for _ in range(num_restarts):
        starts = box.clamp(_around(classifier.inputs, closest.distances, generator))
        closest = closer(crossing(starts), closest)

    found = closest.distances.isfinite()
    if on_missing == "raise" and not found.all():
        raise BoundaryNotFoundError((~found).nonzero().flatten().tolist())
    points: Any = format_output(is_tuple(inputs), (closest.points,))
    return Boundary(points, closest.distances, found, closest.classes)


def _around(x: Tensor, distances: Tensor, generator: torch.Generator | None) -> Tensor:
    """A random point around each example; the direction is the same for all."""
    device = "cpu" if generator is None else generator.device
    direction = torch.randn(
        1, *x.shape[1:], generator=generator, device=device, dtype=torch.float64
    ).to(x)
    length = torch.where(distances.isfinite(), distances / 2, x.flatten(1).norm(dim=1) / 10)
    offset: Tensor = length.reshape(-1, *[1] * (x.dim() - 1)) * direction / direction.norm()
    return x + offset


def _check_candidates(candidates: Any, starts: Tensor) -> Tensor:
    if not isinstance(candidates, Tensor):
        raise TypeError(f"method must return a torch.Tensor, got {type(candidates).__name__}")
    if candidates.shape != starts.shape:
        raise ValueError(
            f"method must return one point per example, {tuple(starts.shape)}, got shape "
            f"{tuple(candidates.shape)}"
        )
    detached: Tensor = candidates.detach().to(starts)
    return detached
