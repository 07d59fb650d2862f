"""Nearest: search, locate the crossing, refine, start again elsewhere, keep the closest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_spectral.boundary.batches import Batches, Stages
from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier
from captum_spectral.boundary.crossing import Crossing, bisect, closer, refine
from captum_spectral.boundary.deepfool import deepfool
from captum_spectral.boundary.pgd import pgd
from captum_spectral.boundary.search import BoundarySearch

__all__ = ["Nearest", "as_candidates"]


class Nearest:
    """The search for the nearest crossing of each example.

    Args:
        search: How it is looked for.
        classifier: The model and its examples.
        box: Where points may lie; None: the ``clip`` of the search, checked. Default: None

    Attributes:
        stages (int): How often each example is counted on a progress bar.
    """

    def __init__(
        self, search: BoundarySearch, classifier: Classifier, box: Box | None = None
    ) -> None:
        self._search, self._classifier = search, classifier
        self._box = box or Box(search.clip, classifier.inputs, classifier.dtype)
        self.stages = 3 * (1 + search.num_restarts)

    def crossings(self, batches: Batches, bar: Any) -> Crossing:
        """Return the closest crossing of each example, whose decisions were checked."""
        # Once, and not for each batch: a batch may be repeated, or cut elsewhere.
        directions = [
            self._direction(self._classifier.inputs) for _ in range(self._search.num_restarts)
        ]
        stages = Stages(bar, self.stages)

        def closest_of(examples: Tensor) -> Crossing:
            stages.begin(len(examples))
            classifier, box = self._classifier.part(examples), self._box.of(examples)
            closest = self._crossing(classifier, box, classifier.inputs, stages)
            for direction in directions:
                starts = box.clamp(_around(classifier.inputs, closest.distances, direction))
                closest = closer(self._crossing(classifier, box, starts, stages), closest)
            return closest

        return Crossing(*batches.of_all(closest_of, stages))

    def _crossing(
        self, classifier: Classifier, box: Box, starts: Tensor, stages: Stages
    ) -> Crossing:
        search = self._search
        candidates = self._candidates(classifier, box, starts)
        stages.advance()
        coarse = bisect(classifier, box, candidates, search.bisection_steps)
        stages.advance()
        fine = refine(
            classifier,
            box,
            coarse,
            num_steps=search.refinement_steps,
            overshoot=search.overshoot,
            bisection_steps=search.bisection_steps,
        )
        stages.advance()
        return fine

    def _candidates(self, classifier: Classifier, box: Box, starts: Tensor) -> Tensor:
        search = self._search
        if search.method == "deepfool":
            return deepfool(
                classifier,
                box,
                starts,
                num_candidates=search.num_candidates,
                overshoot=search.overshoot,
                max_steps=search.max_steps or 50,
            )
        if search.method == "pgd":
            return pgd(
                classifier, box, starts, radii=search.radii, max_steps=search.max_steps or 40
            )
        with torch.enable_grad():
            given = search.method(starts.to(classifier.dtype, copy=True), classifier.target.clone())
        return as_candidates(given, starts, "method")

    def _direction(self, x: Tensor) -> Tensor:
        """Draw a direction ``(1, ...)`` of length 1, for all examples."""
        generator = self._search.generator
        device = "cpu" if generator is None else generator.device
        direction = torch.randn(
            1, *x.shape[1:], generator=generator, device=device, dtype=torch.float64
        )
        unit: Tensor = direction / direction.norm()
        return unit.to(x)


def _around(x: Tensor, distances: Tensor, direction: Tensor) -> Tensor:
    """Go half as far as the boundary, or a tenth of the length where there is none yet."""
    length = torch.where(distances.isfinite(), distances / 2, x.flatten(1).norm(dim=1) / 10)
    return x + length.reshape(-1, *[1] * (x.dim() - 1)) * direction


def as_candidates(candidates: Any, starts: Tensor, name: str) -> Tensor:
    """Return what the user's own search, the argument ``name``, gave for ``starts (R, ...)``."""
    if not isinstance(candidates, Tensor):
        raise TypeError(f"{name} must return a torch.Tensor, got {type(candidates).__name__}")
    if candidates.shape != starts.shape:
        raise ValueError(
            f"{name} must return one point per example, {tuple(starts.shape)}, got shape "
            f"{tuple(candidates.shape)}"
        )
    detached: Tensor = candidates.detach().to(starts)
    return detached
