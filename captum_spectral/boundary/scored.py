"""The boundary points of an attribution, found or given, and the score explained there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from captum_spectral._captum import TargetType
from captum_spectral.boundary.box import Clip
from captum_spectral.boundary.classifier import Classifier
from captum_spectral.boundary.search import (
    Boundary,
    BoundaryNotFoundError,
    SearchMethod,
    find_boundary,
)

__all__ = ["OnMissing", "Score", "Scored", "at_boundary"]

Score = Literal["logit", "margin"]
OnMissing = Literal["raise", "nan"]


class Scored:
    """The explained score of rows ``(R, ...)`` that are versions of given examples: ``(R,)``.

    The examples travel with the rows as Captum's additional argument; targets and the user's own
    arguments are picked by them.
    """

    def __init__(self, classifier: Classifier, classes: Tensor, score: Score) -> None:
        self.examples = (classes >= 0).nonzero().flatten()
        self._classifier, self._classes, self._margin = classifier, classes, score == "margin"

    def __call__(self, points: Tensor, examples: Tensor) -> Tensor:
        """The score of each row."""
        logits = self._classifier(points, examples)
        explained = self._classifier.of_target(logits, examples)
        if self._margin:
            explained = explained - logits.gather(1, self._classes[examples, None])[:, 0]
        return explained


def at_boundary(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType,
    baselines: Any,
    additional_forward_args: Any,
    score: Score,
    search: SearchMethod,
    clip: Clip | None,
    num_restarts: int,
    generator: torch.Generator | None,
    on_missing: OnMissing,
) -> tuple[Tensor, Scored]:
    """The boundary points, found or given, and the score that is explained there."""
    if score not in ("logit", "margin"):
        raise ValueError(f'score must be "logit" or "margin", got {score!r}')
    classifier = Classifier(forward_func, inputs, target, additional_forward_args)
    if baselines is None:
        boundary = find_boundary(
            classifier,
            inputs,
            target,
            search,
            classifier.examples,
            clip,
            num_restarts=num_restarts,
            generator=generator,
            on_missing=on_missing,
        )
    else:
        boundary = _given(classifier, baselines, on_missing)
    points = boundary.points[0] if isinstance(boundary.points, tuple) else boundary.points
    return points, Scored(classifier, boundary.classes, score)


def _given(classifier: Classifier, baselines: Any, on_missing: OnMissing) -> Boundary:
    """Boundary points of the user, checked. One row per example."""
    x = classifier.inputs
    points = baselines[0] if isinstance(baselines, tuple) and len(baselines) == 1 else baselines
    if not isinstance(points, Tensor):
        raise TypeError(
            "baselines must be boundary points, a tensor such as find_boundary(...).points, or be "
            f"left out, got {type(points).__name__}"
        )
    if tuple(points.shape) not in (tuple(x.shape), (1, *x.shape[1:])):
        raise ValueError(
            f"baselines of shape {tuple(points.shape)} must have the shape of the inputs, "
            f"{tuple(x.shape)}, or {(1, *x.shape[1:])}"
        )
    # First dim 1 is what NoiseTunnel leaves of a single example.
    points = points.detach().to(x).to(classifier.dtype).expand_as(x).contiguous()
    found = points.isfinite().flatten(1).all(1)
    if on_missing == "raise" and not found.all():
        raise BoundaryNotFoundError((~found).nonzero().flatten().tolist())
    classes = torch.full_like(classifier.examples, -1)
    rows = found.nonzero().flatten()
    if len(rows):
        logits = classifier.outputs(points[rows], rows)
        others, other_classes = classifier.others(logits, rows).max(1)
        # A point next to the boundary may round to the near side in another batch.
        slack = 1e-4 * logits.abs().amax(1)
        near = rows[~(classifier.of_target(logits, rows) <= others + slack)].tolist()
        if near:
            raise ValueError(
                "baselines must be points that the model takes for another class than target, as "
                f"those of find_boundary(...).points; they are not for the examples {near}"
            )
        classes[rows] = other_classes
    distances = (points.to(x) - x).flatten(1).norm(dim=1).nan_to_num(torch.inf)
    return Boundary(points, distances, found, classes)
