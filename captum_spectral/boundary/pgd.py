"""An l2 sweep: projected gradient steps inside balls of growing radius, until one holds a flip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_spectral._engine.forward import gradients
from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier

__all__ = ["pgd"]


@torch.enable_grad()
def pgd(
    classifier: Classifier,
    box: Box,
    starts: Tensor,
    *,
    radii: Sequence[float],
    max_steps: int,
) -> Tensor:
    r"""Return points that have crossed a boundary, in the smallest ball where that was found.

    Steps of length ``2 * radius / max_steps`` follow the normalised gradient of
    :math:`\max_{j \ne c} f_j - f_c`, which, unlike the cross entropy of the original, does not
    vanish where the model is confident. The ball is around the example.

    Args:
        classifier: The model and its examples.
        box: Where points may lie.
        starts: ``(B, ...)``, one per example, projected into each ball.
        radii: Of the balls, in the units of the inputs.
        max_steps: Steps in each ball.

    Returns:
        ``(B, ...)``, the start for those that crossed nowhere.

    Cost per example: at most ``max_steps + 1`` rows forward and ``max_steps`` backward in each ball
    up to the one where it crosses. Memory: the graph of the rows.
    """
    found = starts.clone()
    remaining = classifier.examples  # (R,) those that crossed in no smaller ball
    for radius in sorted(radii):
        points = _into_ball(classifier, box, starts, classifier.examples, radius)
        active, missing = remaining, torch.ones_like(classifier.examples, dtype=torch.bool)
        for step in range(max_steps + 1):
            leaf, logits = classifier.differentiable(points[active], active)
            crossed = classifier.crossed(logits, active)
            found[active[crossed]] = points[active[crossed]]
            missing[active[crossed]] = False
            if step == max_steps or crossed.all():
                break
            (gradient,) = gradients(-classifier.margin(logits, active), (leaf,))
            free = box.of(active).without_blocked(points[active], gradient.to(points))
            direction = _unit(free)
            moving = ~crossed & (direction != 0).flatten(1).any(1)
            active = active[moving]
            if not len(active):
                break
            moved = points[active] + 2 * radius / max_steps * direction[moving]
            points[active] = _into_ball(classifier, box, moved, active, radius)
        remaining = remaining[missing[remaining]]
        if not len(remaining):
            break
    return found


def _into_ball(
    classifier: Classifier, box: Box, points: Tensor, examples: Tensor, radius: float
) -> Tensor:
    """Draw points to their examples, to a radius, and into the box, which holds those."""
    center = classifier.inputs[examples]
    offset = points - center
    length = offset.flatten(1).norm(dim=1).reshape(-1, *[1] * (points.dim() - 1))
    return box.of(examples).clamp(center + offset * (radius / length).clamp(max=1))


def _unit(direction: Tensor) -> Tensor:
    """Scale rows ``(R, ...)`` to length 1; those without a direction become 0."""
    length = direction.flatten(1).norm(dim=1).reshape(-1, *[1] * (direction.dim() - 1))
    usable = (length > 0) & length.isfinite()
    return torch.where(usable, direction / length, 0)
