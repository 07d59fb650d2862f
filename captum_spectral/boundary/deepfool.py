"""DeepFool: step to the nearest of the linearised boundaries, until one is crossed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral._engine.forward import gradients
from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier

__all__ = ["deepfool"]

HALF_STEPS = 2
# Which class is nearest hardly changes on the way, and each class looked at costs a backward pass.
KEPT_CANDIDATES = 3


@torch.enable_grad()
def deepfool(
    classifier: Classifier,
    box: Box,
    starts: Tensor,
    *,
    num_candidates: int,
    overshoot: float,
    max_steps: int,
) -> Tensor:
    r"""Return points of which most have crossed a boundary.

    At a point with outputs :math:`f`, the boundary to class :math:`j` is, to first order,

    .. math::
        d_j = \frac{f_c - f_j}{|w_j|}, \quad w_j = \nabla (f_j - f_c)

    away along :math:`w_j`. Each step goes ``1 + overshoot`` times the way to the nearest, the first
    two half of it: where they lead, the slopes are closer to those at the boundary.

    Args:
        classifier: The model and its examples.
        box: Where points may lie.
        starts: ``(B, ...)``, one per example.
        num_candidates: The classes considered: those with the largest outputs at the start, and of
            these the nearest 3 from the second step on.
        overshoot: How much farther than the linearised boundary a step goes.
        max_steps: Steps at most.

    Returns:
        ``(B, ...)`` where each example stopped: across, or stuck.

    Cost per example: a row forward for each step it takes, and one at the end; ``num_candidates``
    rows backward for the first step and 3 for each other. Memory: two gradients and the graph of
    the rows.
    """
    points = starts.clone()
    active = classifier.examples  # (R,) those that still move
    candidates: Tensor | None = None  # (R, k) their classes
    for step in range(max_steps):
        leaf, logits = classifier.differentiable(points[active], active)
        if candidates is None:
            k = min(num_candidates, logits.shape[1] - 1)
            candidates = classifier.others(logits.detach(), active).topk(k, dim=1).indices
        moving = ~classifier.crossed(logits, active) & logits.detach().isfinite().all(1)
        if not moving.any():
            break
        rows = _Rows(points[active], leaf, logits, active)
        unit, distances, candidates = _to_nearest(classifier, box.of(active), rows, candidates)
        moving &= distances.isfinite()
        active, candidates = active[moving], candidates[moving]
        if not len(active):
            break
        share = 0.5 if step < min(HALF_STEPS, max_steps - 1) else 1 + overshoot
        here = rows.points[moving]
        points[active] = box.of(active).move(here, unit[moving], share * distances[moving])
    return points


class _Rows(NamedTuple):
    """Points of a step in the precision in which they move, as the model saw them, its outputs."""

    points: Tensor  # (R, ...)
    leaf: Tensor  # (R, ...) of the graph
    logits: Tensor  # (R, classes)
    examples: Tensor  # (R,)


def _to_nearest(
    classifier: Classifier, box: Box, rows: _Rows, candidates: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return directions ``(R, ...)`` and distances ``(R,)`` to the nearest linearised boundaries.

    The distance is infinite where no class has a slope. Third come the candidates worth another
    look.
    """
    points, leaf, logits, examples = rows
    wide = (-1, *[1] * (points.dim() - 1))
    # Rows that lie on the boundary itself must move, too; the bisection takes it back.
    least = 1e-5 * logits.detach().abs().amax(1) + 1e-8
    shortest = torch.full_like(least, torch.inf).to(points)
    distances, directions = shortest, torch.zeros_like(points)
    ways = []
    num_candidates = candidates.shape[1]
    for j in range(num_candidates):
        rival = logits.gather(1, candidates[:, j : j + 1])[:, 0]
        gain = rival - classifier.of_target(logits, examples)
        (gradient,) = gradients(gain, (leaf,), retain_graph=j < num_candidates - 1)
        gradient = gradient.to(points)
        margin = (least - gain.detach()).to(points)
        # How far it is when the coordinates at their bounds stay there.
        free = box.without_blocked(points, gradient).flatten(1).norm(dim=1)
        way = (margin / free).nan_to_num(torch.inf, torch.inf)  # NaN of a broken gradient
        ways.append(way)
        nearer = way < shortest
        shortest = torch.where(nearer, way, shortest)
        length = gradient.flatten(1).norm(dim=1)
        distances = torch.where(nearer, margin / length, distances)
        directions = torch.where(nearer.reshape(wide), gradient / length.reshape(wide), directions)
    kept = torch.stack(ways, 1).topk(min(KEPT_CANDIDATES, num_candidates), largest=False).indices
    return directions, distances, candidates.gather(1, kept)
