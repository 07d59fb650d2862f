"""Halving the way from an example to a point across the boundary; the far side is kept."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier

__all__ = ["Crossing", "bisect"]


class Crossing(NamedTuple):
    """Where the way to each candidate crosses the boundary.

    Args:
        points: ``(B, ...)`` on the far side, in the dtype of the inputs; NaN where nothing crossed.
        distances: ``(B,)`` from the examples, l2; infinite where nothing crossed.
        classes: ``(B,)`` predicted at the points; -1 where nothing crossed.
    """

    points: Tensor
    distances: Tensor
    classes: Tensor


def bisect(classifier: Classifier, box: Box, candidates: Tensor, num_steps: int) -> Crossing:
    """The crossing on the way from each example to its candidate.

    Every point returned was itself shown to the model and taken for another class.

    Args:
        classifier: The model and its examples.
        box: Where points may lie.
        candidates: ``(B, ...)``, hopefully across the boundary; not finite for none.
        num_steps: How often the way is halved.

    Cost per example: 1 row, and ``num_steps`` more if the candidate is across.
    """
    x = classifier.inputs
    wide = (-1, *[1] * (x.dim() - 1))
    points = torch.full_like(x, torch.nan)
    classes = torch.full_like(classifier.examples, -1)

    def keep_crossed(trials: Tensor, examples: Tensor) -> Tensor:
        trials = box.clamp(trials).to(classifier.dtype)
        logits = classifier.outputs(trials, examples)
        crossed = classifier.crossed(logits, examples)
        points[examples[crossed]] = trials[crossed].to(x)
        classes[examples[crossed]] = logits.argmax(1)[crossed]
        return crossed

    active = candidates.isfinite().flatten(1).all(1).nonzero().flatten()
    if len(active):
        active = active[keep_crossed(candidates[active], active)]
    near, far = torch.zeros_like(active, dtype=x.dtype), torch.ones_like(active, dtype=x.dtype)
    if len(active):
        way = points[active] - x[active]
        for _ in range(num_steps):
            middle = (near + far) / 2
            crossed = keep_crossed(x[active] + middle.reshape(wide) * way, active)
            near, far = torch.where(crossed, near, middle), torch.where(crossed, middle, far)
    distances = (points - x).flatten(1).norm(dim=1).nan_to_num(torch.inf)
    return Crossing(points.to(classifier.dtype), distances, classes)
