"""find_boundary: the nearest points that a classifier takes for another class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_spectral._captum import TargetType, is_tuple, progress_bar
from captum_spectral.boundary.batches import Batches
from captum_spectral.boundary.box import Clip
from captum_spectral.boundary.classifier import Classifier
from captum_spectral.boundary.nearest import Nearest
from captum_spectral.boundary.result import Boundary, OnMissing, as_boundary
from captum_spectral.boundary.search import RADII, BoundarySearch, SearchMethod, format_search

__all__ = ["find_boundary"]


def find_boundary(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType,
    *,
    method: SearchMethod | BoundarySearch = "deepfool",
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
    on_missing: OnMissing = "raise",
    internal_batch_size: int | None = None,
    show_progress: bool = False,
) -> Boundary:
    r"""Find the closest point that a classifier takes for another class.

    .. math::
        x' = \operatorname*{argmin}_{z:\, F(z) \ne c} |z - x|_2, \qquad
        F(z) = \operatorname*{argmax}_j f_j(z), \qquad F(x) = c

    An attack proposes a point across the boundary, and the crossing on the way to it is located to
    a part in ``2^bisection_steps`` of its distance. From there the point slides along the boundary
    towards the perpendicular of :math:`x`, and its crossing is located again. The point kept is
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
              ``num_candidates`` strongest other classes, of which the 3 nearest are followed; the
              first two steps go half of the way.
            - ``"pgd"``: projected normalised gradient steps in l2 balls of growing ``radii``.
            - a function of ``inputs (B, ...)`` and ``target (B,)`` that returns candidates
              ``(B, ...)``, such as any attack:
              ``lambda x, c: captum_pgd.perturb(x, 0.5, 0.1, 40, c, norm="L2")``. Candidates that
              did not cross, or are not finite, count as not found.
            - a :class:`BoundarySearch`, which holds all options from ``clip`` to ``on_missing``;
              beside it they must be left out here.
        additional_forward_args: Further arguments of ``forward_func``, a single one or a tuple;
            tensors with one entry per example follow their example. Default: None
        clip: ``(low, high)`` of valid inputs, where all points stay: numbers, one number per
            channel (dim 1), or tensors that broadcast to the inputs. The inputs must lie inside, up
            to the rounding of their dtype. Where both are equal nothing is changed. None: no
            limits. Default: None
        num_candidates: For ``"deepfool"``, how many other classes are considered; all if there are
            fewer. Default: 10
        overshoot: How much farther than the linearised boundary a step of ``"deepfool"``, or of the
            refinement, goes. Default: 0.02
        radii: For ``"pgd"``, of the balls, in the units of the inputs. Default: those of the paper,
            36/255 to 1.1, which suit normalised ImageNet
        max_steps: Steps of ``"deepfool"``, or of ``"pgd"`` in each ball. None: 50 or 40.
            Default: None
        bisection_steps: The crossing is located as closely as by halving the way so many times, at
            most 50. Default: 12
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
        internal_batch_size: At most so many examples are searched at a time, so that no forward
            pass has more rows; a ``method`` of your own is called with as many. It bounds the
            memory and changes the result by rounding only. None: all at once. Examples whose search
            does not fit in memory are searched again, half as many at a time, in both cases.
            Default: None
        show_progress: Display a progress bar that counts, for each search of an example, three
            stages: candidate, crossing, refinement. Default: False

    Returns:
        :class:`Boundary`: ``points`` of the shape of the inputs, ``distances (B,)``,
        ``found (B,)`` and ``classes (B,)``.

    Raises:
        TypeError: Inputs or outputs that are no real floating tensor, a target that names no class
            per example, a ``method`` that is none of these, counts of a wrong kind.
        ValueError: Inputs that are not finite or outside ``clip``, more than one input tensor, a
            target that is not predicted (the message names the examples), outputs that are not
            ``(B, classes)``, not finite, or have no gradient, candidates of a wrong shape, options
            beside a :class:`BoundarySearch`.
        BoundaryNotFoundError: With ``on_missing="raise"``; a ``RuntimeError`` that lists the
            examples, and holds what was found for the others as its ``boundary``.
        torch.OutOfMemoryError: Not even the search of a single example fits in memory.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost in model rows per example: 1, and for each of the ``1 + num_restarts`` searches those of
    the method, 1 and mostly 2 or 3 to locate the crossing, and up to 2 and mostly 2 or 3 for each
    refinement (1 of them backward, too); to locate a crossing never takes more than
    ``bisection_steps + 3``. DeepFool: ``s + 1`` forward for ``s`` steps, mostly 3 to 6, and up to
    ``num_candidates`` backward for the first step and 3 for each other. So about 8 + s forward by
    default, counted 6 + s to 11 + s. PGD: up to 41 forward and 40 backward for each radius. All
    examples of ``internal_batch_size`` move together, which bounds the memory. Those that are done
    cost no further forward rows; one that crosses while others move still takes part in the
    backward pass of that step.

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
    # Also where the caller has switched gradients off.
    with torch.inference_mode(False), torch.no_grad():
        search = format_search(
            method,
            "method",
            clip=clip,
            num_candidates=num_candidates,
            overshoot=overshoot,
            radii=radii,
            max_steps=max_steps,
            bisection_steps=bisection_steps,
            refinement_steps=refinement_steps,
            num_restarts=num_restarts,
            generator=generator,
            on_missing=on_missing,
        )
        classifier = Classifier(forward_func, inputs, target, additional_forward_args)
        batches = Batches(classifier.inputs, internal_batch_size)
        nearest = Nearest(search, classifier)
        classifier.check_decisions(batches)
        total = nearest.stages * len(classifier.inputs)
        with progress_bar(show_progress, "Boundary search", total) as bar:
            crossings = nearest.crossings(batches, bar)
        return as_boundary(crossings, search.on_missing, is_tuple(inputs))
