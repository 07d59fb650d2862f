"""Crossings of the boundary: locate one on the way to a point, and slide along from there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral._engine.forward import gradients
from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier

__all__ = ["Crossing", "bisect", "closer", "refine"]

# How many trials behind halving interpolation may fall; it needs some to close in from both sides.
FREE_TRIALS = 3

# Of the distance there was: what is no closer than this is not looked at. It also keeps rounding
# from deciding, so that an example's result does not depend on the rest of its batch.
WORTHWHILE = 0.999


class Crossing(NamedTuple):
    """Points at which the way to each candidate crosses the boundary.

    Args:
        points: ``(B, ...)`` on the far side, in the dtype of the inputs; NaN where nothing crossed.
        distances: ``(B,)`` from the examples, l2; infinite where nothing crossed.
        classes: ``(B,)`` predicted at the points; -1 where nothing crossed.
    """

    points: Tensor
    distances: Tensor
    classes: Tensor


@torch.no_grad()
def bisect(classifier: Classifier, box: Box, candidates: Tensor, num_steps: int) -> Crossing:
    r"""Locate the crossing on the way from each example to its candidate.

    The way has :math:`2^\text{num\_steps}` equal parts, and the one that crosses is looked for.
    Halving would take ``num_steps`` trials. Interpolating the margin of the class between the ends
    of what is left (regula falsi; an end that stays counts half as much: Illinois) mostly takes 2
    or 3, and never more than ``num_steps + 3``: what may be left is bounded by what halving would
    have left 3 trials before. All trials lie between parts, where rounding, which differs between
    batches, does not move them.

    Every point returned was itself shown to the model and taken for another class.

    Args:
        classifier: The model and its examples, whose decisions were checked.
        box: Where points may lie.
        candidates: ``(B, ...)``, hopefully across the boundary; not finite for none.
        num_steps: How often halving would halve the way.

    Cost per example: 1 row, and if the candidate is across mostly 2 or 3, at most ``num_steps + 3``
    more.
    """
    x = classifier.inputs
    wide = (-1, *[1] * (x.dim() - 1))
    points = torch.full_like(x, torch.nan)
    classes = torch.full_like(classifier.examples, -1)

    def cross(trials: Tensor, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the trials ``(R, ...)`` that are across; return which, and all margins."""
        trials = box.of(examples).clamp(trials).to(classifier.dtype)
        logits = classifier(trials, examples)
        crossed = classifier.crossed(logits, examples)
        points[examples[crossed]] = trials[crossed].to(x)
        classes[examples[crossed]] = logits.argmax(1)[crossed]
        return crossed, classifier.margin(logits, examples)

    active = candidates.isfinite().flatten(1).all(1).nonzero().flatten()  # (R,)
    if len(active):
        crossed, margins = cross(candidates[active], active)
        active = active[crossed]
        way = points - x  # of the candidates; points move on, towards x
        parts = 2.0**num_steps
        left = _Left.all_of_the_way(parts, classifier.margins[active], margins[crossed])
        for t in range(num_steps + FREE_TRIALS):
            open_ = left.far - left.near > 1
            active, left = active[open_], left.of(open_)
            if not len(active):
                break
            trials = left.trials(parts * 2.0 ** (FREE_TRIALS - 1 - t))  # in parts of the way
            share = (trials / parts).to(x).reshape(wide)
            left = left.after(trials, *cross(x[active] + share * way[active], active))
    distances = (points - x).flatten(1).norm(dim=1).nan_to_num(torch.inf)
    return Crossing(points.to(classifier.dtype), distances, classes)


@torch.enable_grad()
def refine(
    classifier: Classifier,
    box: Box,
    crossing: Crossing,
    *,
    num_steps: int,
    overshoot: float,
    bisection_steps: int,
) -> Crossing:
    r"""Return crossings at least as close as those given.

    The boundary is taken for its tangent plane at the crossing, and the example projected onto it,
    a little farther than that, but a little less far than the crossing. Where that crosses, it is
    closer.

    Args:
        classifier: The model and its examples.
        box: Where points may lie.
        crossing: What the search found.
        num_steps: How often, at most; an example that came no closer is done.
        overshoot: How much farther than the plane.
        bisection_steps: As in :func:`bisect`.

    Cost per example that has a crossing: 2 rows forward and 1 backward for each step, and
    mostly 2 or 3, at most ``bisection_steps + 3`` more if it came closer.
    """
    active = (crossing.classes >= 0).nonzero().flatten()  # (R,)
    for _ in range(num_steps):
        if not len(active):
            break
        candidates = torch.full_like(classifier.inputs, torch.nan)
        candidates[active] = _feet(classifier, box, crossing, active, overshoot)
        again = bisect(classifier, box, candidates, bisection_steps)
        active = (again.distances < crossing.distances).nonzero().flatten()
        crossing = closer(again, crossing)
    return crossing


def closer(a: Crossing, b: Crossing) -> Crossing:
    """Return, per example, the closer of two crossings; ``b`` if they are equal."""
    better = a.distances < b.distances
    wide = better.reshape(-1, *[1] * (a.points.dim() - 1))
    return Crossing(
        torch.where(wide, a.points, b.points),
        torch.where(better, a.distances, b.distances),
        torch.where(better, a.classes, b.classes),
    )


class _Left(NamedTuple):
    """The stretch of each row's way that is left: from ``near`` to ``far`` ``(R,)``, in parts."""

    near: Tensor
    far: Tensor
    near_margin: Tensor  # of the explained class, positive
    far_margin: Tensor  # negative, as another class is ahead
    far_moved: Tensor  # which end the last trial moved
    near_moved: Tensor

    @classmethod
    def all_of_the_way(cls, parts: float, near_margin: Tensor, far_margin: Tensor) -> _Left:
        """Begin with all parts."""
        near = torch.zeros_like(far_margin)
        moved = torch.zeros_like(near, dtype=torch.bool)
        return cls(
            near=near,
            far=near + parts,
            near_margin=near_margin,
            far_margin=far_margin,
            far_moved=moved,
            near_moved=moved,
        )

    def of(self, rows: Tensor) -> _Left:
        """Pick rows."""
        return _Left(*(t[rows] for t in self))

    def trials(self, most: float) -> Tensor:
        """Return whole numbers inside, next to where the margin should vanish.

        Args:
            most: What may be left afterwards.
        """
        share = self.near_margin / (self.near_margin - self.far_margin)
        # Not finite where a margin is not.
        share = torch.where((share >= 0) & (share <= 1), share, 0.5)
        zero = (self.near + share * (self.far - self.near)).ceil()
        zero = zero.maximum(self.far - most).minimum(self.near + most)
        return zero.maximum(self.near + 1).minimum(self.far - 1)

    def after(self, trials: Tensor, crossed: Tensor, margins: Tensor) -> _Left:
        """Move the far end to trials that crossed, the near end to the others."""
        # An end that stays for the second time counts half: Illinois.
        stale_near = torch.where(self.far_moved, self.near_margin / 2, self.near_margin)
        stale_far = torch.where(self.near_moved, self.far_margin / 2, self.far_margin)
        return _Left(
            near=torch.where(crossed, self.near, trials),
            far=torch.where(crossed, trials, self.far),
            near_margin=torch.where(crossed, stale_near, margins),
            far_margin=torch.where(crossed, margins, stale_far),
            far_moved=crossed,
            near_moved=~crossed,
        )


def _feet(
    classifier: Classifier, box: Box, crossing: Crossing, examples: Tensor, overshoot: float
) -> Tensor:
    """Project examples ``(R,)`` onto the tangent planes at their crossings, and a little beyond."""
    x = classifier.inputs[examples]
    wide = (-1, *[1] * (x.dim() - 1))
    leaf, logits = classifier.differentiable(crossing.points[examples], examples)
    rivals = crossing.classes[examples, None]
    gain = logits.gather(1, rivals)[:, 0] - classifier.of_target(logits, examples)
    (normal,) = gradients(gain, (leaf,))
    normal = normal.to(x)
    length = normal.flatten(1).norm(dim=1)
    unit = normal / length.reshape(wide)
    way = leaf.detach().to(x) - x
    # (R,) from the example to the plane: to the crossing, less how far that lies beyond the plane.
    distance = (unit * way).flatten(1).sum(1) - (gain.detach() / length).to(x)
    foot = box.of(examples).move(x, unit, (1 + overshoot) * distance) - x
    shorter: Tensor = WORTHWHILE * crossing.distances[examples] / foot.flatten(1).norm(dim=1)
    return x + shorter.clamp(max=1).reshape(wide) * foot
