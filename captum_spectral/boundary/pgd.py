"""Take projected gradient steps in l2 balls of growing radius until one holds a flip (PGD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier, slope

__all__ = ["pgd"]


@torch.enable_grad()
def pgd(
    classifier: Classifier,
    box: Box,
    starts: Tensor,
    radii: Sequence[float],
    max_steps: int,
) -> Tensor:
    r"""Find points across a boundary, for every example in the smallest ball that yields one.

    Steps of length ``2 * radius / max_steps`` follow the normalised gradient of
    :math:`\max_{j \ne c} f_j - f_c`, which, unlike the cross entropy of the original, does not
    vanish where the model is confident. The ball is around the example.

    Args:
        classifier: The model and its examples.
        box: The range of valid points.
        starts: ``(B, ...)``, one per example, projected into each ball.
        radii: Radii of the balls, in the units of the inputs.
        max_steps: Steps at most in each ball.

    Returns:
        ``(B, ...)`` the points; the start for an example that crossed nowhere.

    Cost per example: at most ``max_steps + 1`` rows forward and ``max_steps`` backward in each ball
    up to the one where it crosses. Memory: the graph of the rows.
    """
    found = starts.clone()
    remaining = classifier.examples
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
            # Ascend against the margin, (R, ...), in the coordinates that the box leaves free.
            gradient = slope(-classifier.margin(logits, active), leaf).to(points)
            direction = _unit(box.of(active).without_blocked(points[active], gradient))
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
    """Draw points towards their examples: to within the radius, then into the box around those."""
    center = classifier.inputs[examples]
    offset = points - center
    length = offset.flatten(1).norm(dim=1).reshape(-1, *[1] * (points.dim() - 1))
    # A point at its centre has length 0 and a share of infinity, cut to 1: it stays.
    return box.of(examples).clamp(center + offset * (radius / length).clamp(max=1))


def _unit(direction: Tensor) -> Tensor:
    """Scale rows to length 1; a row without a direction becomes 0."""
    length = direction.flatten(1).norm(dim=1).reshape(-1, *[1] * (direction.dim() - 1))
    usable = (length > 0) & length.isfinite()
    return torch.where(usable, direction / length, 0)
