"""Search, locate the crossing, refine, start again elsewhere, keep the closest: batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.boundary.bisection import Crossing, bisect
from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier
from captum_spectral.boundary.deepfool import deepfool
from captum_spectral.boundary.pgd import pgd
from captum_spectral.boundary.refinement import closer, refine

__all__ = ["RADII", "Advance", "Search", "SearchMethod"]

# Told of how many examples another stage is done.
Advance = Callable[[int], object]

# A name, or a function of inputs (B, ...) and target (B,) that gives candidate points (B, ...).
SearchMethod = Literal["deepfool", "pgd"] | Callable[[Tensor, Tensor], Tensor]

# A float64 has 53 bits.
MOST_BISECTION_STEPS = 50

# Of the paper, for ImageNet in normalised units.
RADII = (36 / 255, 64 / 255, 0.3, 0.5, 0.7, 0.9, 1.1)


@dataclass(frozen=True)
class Search:
    """How the boundary is looked for; the options of :func:`find_boundary`, checked."""

    method: SearchMethod
    num_candidates: int = 10
    overshoot: float = 0.02
    radii: Sequence[float] = RADII
    max_steps: int | None = None
    bisection_steps: int = 12
    refinement_steps: int = 1
    num_restarts: int = 0
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        check_count("num_candidates", self.num_candidates)
        check_count("bisection_steps", self.bisection_steps, at_least=0)
        if self.bisection_steps > MOST_BISECTION_STEPS:
            raise ValueError(
                f"bisection_steps must be at most {MOST_BISECTION_STEPS}, as no dtype tells closer "
                f"points apart, got {self.bisection_steps}"
            )
        check_count("refinement_steps", self.refinement_steps, at_least=0)
        check_count("num_restarts", self.num_restarts, at_least=0)
        if self.max_steps is not None:
            check_count("max_steps", self.max_steps)
        if not self.overshoot > 0:
            raise ValueError(f"overshoot must be positive, got {self.overshoot}")
        if len(self.radii) == 0 or not all(0 < r < float("inf") for r in self.radii):
            raise ValueError(f"radii must be one or more positive numbers, got {self.radii!r}")
        if self.method not in ("deepfool", "pgd") and not callable(self.method):
            raise TypeError(
                'method must be "deepfool", "pgd" or a function of (inputs, target) that returns '
                f"candidate points, got {self.method!r}"
            )

    @property
    def stages(self) -> int:
        """How often :meth:`run` tells of each example."""
        return 3 * (1 + self.num_restarts)

    def run(self, classifier: Classifier, box: Box, advance: Advance) -> Crossing:
        """The closest crossing of each example; decisions are checked first."""
        classifier.check_decisions()
        directions = [self._direction(classifier.inputs) for _ in range(self.num_restarts)]
        crossings = [
            self._closest(classifier.part(examples), box.of(examples), directions, advance)
            for examples in classifier.batches()
        ]
        return Crossing(*(torch.cat(parts) for parts in zip(*crossings, strict=True)))

    def _closest(
        self, classifier: Classifier, box: Box, directions: list[Tensor], advance: Advance
    ) -> Crossing:
        closest = self._crossing(classifier, box, classifier.inputs, advance)
        for direction in directions:
            starts = box.clamp(_around(classifier.inputs, closest.distances, direction))
            closest = closer(self._crossing(classifier, box, starts, advance), closest)
        return closest

    def _crossing(
        self, classifier: Classifier, box: Box, starts: Tensor, advance: Advance
    ) -> Crossing:
        candidates = self._candidates(classifier, box, starts)
        advance(len(starts))
        coarse = bisect(classifier, box, candidates, self.bisection_steps)
        advance(len(starts))
        fine = refine(
            classifier, box, coarse, self.refinement_steps, self.overshoot, self.bisection_steps
        )
        advance(len(starts))
        return fine

    def _candidates(self, classifier: Classifier, box: Box, starts: Tensor) -> Tensor:
        if self.method == "deepfool":
            return deepfool(
                classifier, box, starts, self.num_candidates, self.overshoot, self.max_steps or 50
            )
        if self.method == "pgd":
            return pgd(classifier, box, starts, self.radii, self.max_steps or 40)
        with torch.enable_grad():
            given = self.method(starts.to(classifier.dtype, copy=True), classifier.target.clone())
        return _check_candidates(given, starts)

    def _direction(self, x: Tensor) -> Tensor:
        """``(1, ...)`` of length 1, for all examples."""
        device = "cpu" if self.generator is None else self.generator.device
        direction = torch.randn(
            1, *x.shape[1:], generator=self.generator, device=device, dtype=torch.float64
        )
        unit: Tensor = direction / direction.norm()
        return unit.to(x)


def _around(x: Tensor, distances: Tensor, direction: Tensor) -> Tensor:
    """Half as far away as the boundary, or a tenth of the length where there is none yet."""
    length = torch.where(distances.isfinite(), distances / 2, x.flatten(1).norm(dim=1) / 10)
    return x + length.reshape(-1, *[1] * (x.dim() - 1)) * direction


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
