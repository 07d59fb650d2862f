"""Find the crossing on the way from an example to a point across; keep its far side."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier

__all__ = ["Crossing", "bisect"]

# Interpolation may fall so many trials behind halving; it needs some to close in from both sides.
FREE_TRIALS = 3


class Crossing(NamedTuple):
    """Hold the points at which the ways to the candidates cross the boundary.

    Args:
        points: ``(B, ...)`` on the far side, in the dtype of the inputs; NaN where nothing crossed.
        distances: ``(B,)`` from the examples, l2; infinite where nothing crossed.
        classes: ``(B,)`` predicted at the points; -1 where nothing crossed.
    """

    points: Tensor
    distances: Tensor
    classes: Tensor


def bisect(classifier: Classifier, box: Box, candidates: Tensor, num_steps: int) -> Crossing:
    r"""Find the crossing on the way from each example to its candidate.

    The way is cut into :math:`2^\text{num\_steps}` equal parts; one that crosses is looked for.
    Halving would take ``num_steps`` trials. Interpolating the margin of the class between the ends
    of the rest of the way (regula falsi, where an end that stays counts half as much: Illinois)
    mostly takes 2 or 3, and never more than ``num_steps + 3``: the rest is never longer than the
    one that halving would have had 3 trials before. All trials lie between parts, so that rounding,
    which differs between batches, does not move them.

    Every point returned was itself shown to the model and taken for another class.

    Args:
        classifier: The model and its examples.
        box: The range of valid points.
        candidates: ``(B, ...)``, hopefully across the boundary; not finite for an example
            without one.
        num_steps: Number of times that halving would halve the way.

    Cost per example: 1 row, and if the candidate is across mostly 2 or 3, at most ``num_steps + 3``
    more.
    """
    x = classifier.inputs
    wide = (-1, *[1] * (x.dim() - 1))
    points = torch.full_like(x, torch.nan)
    classes = torch.full_like(classifier.examples, -1)

    def cross(trials: Tensor, examples: Tensor) -> tuple[Tensor, Tensor]:
        trials = box.of(examples).clamp(trials).to(classifier.dtype)
        logits = classifier.outputs(trials, examples)
        crossed = classifier.crossed(logits, examples)
        points[examples[crossed]] = trials[crossed].to(x)
        classes[examples[crossed]] = logits.argmax(1)[crossed]
        return crossed, classifier.margin(logits, examples)

    active = candidates.isfinite().flatten(1).all(1).nonzero().flatten()
    if len(active):
        crossed, margins = cross(candidates[active], active)
        active = active[crossed]
        way = points - x
        parts = 2.0**num_steps
        left = _Left.all_of_the_way(parts, classifier.margins[active], margins[crossed])
        for t in range(num_steps + FREE_TRIALS):
            open_ = left.far - left.near > 1
            active, left = active[open_], left.of(open_)
            if not len(active):
                break
            trials = left.trials(parts * 2.0 ** (FREE_TRIALS - 1 - t))
            share = (trials / parts).to(x).reshape(wide)
            left = left.after(trials, *cross(x[active] + share * way[active], active))
    distances = (points - x).flatten(1).norm(dim=1).nan_to_num(torch.inf)
    return Crossing(points.to(classifier.dtype), distances, classes)


class _Left(NamedTuple):
    """Hold the rest of the way: its ends, their margins, which end moved last; each ``(R,)``."""

    near: Tensor
    far: Tensor
    near_margin: Tensor
    far_margin: Tensor
    far_moved: Tensor
    near_moved: Tensor

    @classmethod
    def all_of_the_way(cls, parts: float, near_margin: Tensor, far_margin: Tensor) -> _Left:
        near = torch.zeros_like(far_margin)
        moved = torch.zeros_like(near, dtype=torch.bool)
        return cls(near, near + parts, near_margin, far_margin, moved, moved)

    def of(self, rows: Tensor) -> _Left:
        return _Left(*(t[rows] for t in self))

    def trials(self, most: float) -> Tensor:
        """Return whole numbers between the ends, next to where the margin should vanish.

        Args:
            most: The rest may be no longer than this afterwards.
        """
        share = self.near_margin / (self.near_margin - self.far_margin)
        # Not finite if a margin is not: then halve.
        share = torch.where((share >= 0) & (share <= 1), share, 0.5)
        zero = (self.near + share * (self.far - self.near)).ceil()
        zero = zero.maximum(self.far - most).minimum(self.near + most)
        return zero.maximum(self.near + 1).minimum(self.far - 1)

    def after(self, trials: Tensor, crossed: Tensor, margins: Tensor) -> _Left:
        """Return the rest after trials, which replace the end on their side."""
        # Illinois: halve the margin of an end that stays for the second time in a row.
        stale_near = torch.where(self.far_moved, self.near_margin / 2, self.near_margin)
        stale_far = torch.where(self.near_moved, self.far_margin / 2, self.far_margin)
        return _Left(
            torch.where(crossed, self.near, trials),
            torch.where(crossed, trials, self.far),
            torch.where(crossed, stale_near, margins),
            torch.where(crossed, margins, stale_far),
            crossed,
            ~crossed,
        )
