"""Slide along the boundary, from a point on it to the foot of the example's perpendicular."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral.boundary.bisection import Crossing, bisect
from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier, slope

__all__ = ["closer", "refine"]

# A foot is drawn in to this share of the distance there was, so that a crossing there is closer by
# more than rounding, and an example's result does not depend on the rest of its batch.
WORTHWHILE = 0.999


@torch.enable_grad()
def refine(
    classifier: Classifier,
    box: Box,
    crossing: Crossing,
    num_steps: int,
    overshoot: float,
    bisection_steps: int,
) -> Crossing:
    r"""Return crossings at least as close as those given.

    The boundary is replaced by its tangent plane at the crossing. The example is projected a little
    beyond this plane, but not as far away as the crossing. If the projection is across the
    boundary, the crossing on the way to it is closer.

    Args:
        classifier: The model and its examples.
        box: The range of valid points.
        crossing: The result of the search.
        num_steps: Projections at most; an example that came no closer is done.
        overshoot: Share of the way by which the projection goes beyond the plane.
        bisection_steps: ``num_steps`` of :func:`bisect`.

    Cost per example that has a crossing: 2 rows forward and 1 backward for each step, and
    mostly 2 or 3, at most ``bisection_steps + 3`` more if it came closer.
    """
    active = (crossing.classes >= 0).nonzero().flatten()
    for _ in range(num_steps):
        if not len(active):
            break
        candidates = torch.full_like(classifier.inputs, torch.nan)
        candidates[active] = _feet(classifier, box, crossing, active, overshoot)
        again = bisect(classifier, box, candidates, bisection_steps)
        active = (again.distances < crossing.distances).nonzero().flatten()
        crossing = closer(again, crossing)
    return crossing


def _feet(
    classifier: Classifier, box: Box, crossing: Crossing, examples: Tensor, overshoot: float
) -> Tensor:
    """Project examples a little beyond the tangent planes at their crossings."""
    x = classifier.inputs[examples]
    wide = (-1, *[1] * (x.dim() - 1))
    leaf, logits = classifier.differentiable(crossing.points[examples], examples)
    rivals = crossing.classes[examples, None]
    gain = logits.gather(1, rivals)[:, 0] - classifier.of_target(logits, examples)
    normal = slope(gain, leaf).to(x)
    length = normal.flatten(1).norm(dim=1)
    unit = normal / length.reshape(wide)
    way = leaf.detach().to(x) - x
    distance = (unit * way).flatten(1).sum(1) - (gain.detach() / length).to(x)
    foot = box.of(examples).move(x, unit, (1 + overshoot) * distance) - x
    shorter: Tensor = WORTHWHILE * crossing.distances[examples] / foot.flatten(1).norm(dim=1)
    return x + shorter.clamp(max=1).reshape(wide) * foot


def closer(a: Crossing, b: Crossing) -> Crossing:
    """Return, per example, the closer of two crossings; ``b`` if they are equal."""
    better = a.distances < b.distances
    wide = better.reshape(-1, *[1] * (a.points.dim() - 1))
    return Crossing(
        torch.where(wide, a.points, b.points),
        torch.where(better, a.distances, b.distances),
        torch.where(better, a.classes, b.classes),
    )
