"""The boundary points of an attribution, found or given, and the score explained there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from captum_spectral._arguments import detached
from captum_spectral._captum import NullProgress, TargetType, is_tuple, progress
from captum_spectral.boundary.box import Box, Clip, format_clip
from captum_spectral.boundary.classifier import Classifier
from captum_spectral.boundary.nearest import Advance, Search
from captum_spectral.boundary.result import (
    BoundaryNotFoundError,
    OnMissing,
    as_boundary,
    check_on_missing,
)

__all__ = ["AtBoundary", "Score", "Scored"]

Score = Literal["logit", "margin"]


class Scored:
    """The explained score of rows ``(R, ...)`` that are versions of given examples: ``(R,)``.

    The examples travel with the rows as Captum's additional argument; targets and the user's own
    arguments are picked by them.
    """

    def __init__(self, classifier: Classifier, classes: Tensor, score: Score) -> None:
        self._classifier, self._classes, self._margin = classifier, classes, score == "margin"
        self.num_missing = int((classes < 0).sum())

    def batches(self) -> list[Tensor]:
        """The examples that have a point, as many at a time as may go through the model."""
        batches = self._classifier.batches()
        with_point = (e[self._classes[e] >= 0] for e in batches)
        return [e for e in with_point if len(e)]

    def __call__(self, points: Tensor, examples: Tensor) -> Tensor:
        """The score of each row."""
        logits = self._classifier(points, examples)
        explained = self._classifier.of_target(logits, examples)
        if self._margin:
            explained = explained - logits.gather(1, self._classes[examples, None])[:, 0]
        return explained


class AtBoundary:
    """What a method at the boundary was given, checked; where its points come from.

    Args:
        baselines: Points of the user, instead of a search.
        search: How they are searched otherwise.
        clip: Where, then.

    Attributes:
        inputs: ``(B, ...)`` in float32 or float64, as the attributions.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType,
        baselines: Any,
        additional_forward_args: Any,
        score: Score,
        search: Search,
        clip: Clip | None,
        on_missing: OnMissing,
        internal_batch_size: int | None,
    ) -> None:
        if score not in ("logit", "margin"):
            raise ValueError(f'score must be "logit" or "margin", got {score!r}')
        check_on_missing(on_missing)
        self._classifier = Classifier(
            forward_func, inputs, target, additional_forward_args, internal_batch_size
        )
        self._score, self._search, self._on_missing = score, search, on_missing
        self._in_tuple = is_tuple(inputs)
        self.inputs = self._classifier.inputs
        # How often the bar is moved by each example until it has its point.
        self._stages = search.stages if baselines is None else 1
        self._given: Tensor | None = None
        if baselines is not None:
            self._given = _format_given(self._classifier, baselines, on_missing)
            if clip is not None:
                # Wrappers that repeat the inputs do not repeat the bounds.
                format_clip(clip, self.inputs, self._classifier.dtype, any_number=True)
                clip = None
        self._box = Box(clip, self._classifier.inputs, self._classifier.dtype)

    def attributions(
        self, explain: Callable[[Scored, Tensor, Tensor], Tensor], title: str, show_progress: bool
    ) -> Tensor:
        """Of all examples ``(B, ...)``; NaN for those without a point.

        Args:
            explain: Takes the score, points and their examples, and gives their attributions.
            title: Of the progress bar.
            show_progress: Whether there is one.
        """
        total = len(self.inputs) * (self._stages + 1)
        with progress(desc=title, total=total) if show_progress else NullProgress() as bar:
            points, scored = self._points(bar.update)
            # Contiguous, whatever the layout of the inputs.
            attributions = points.new_full(points.shape, torch.nan)
            for examples in scored.batches():
                attributions[examples] = explain(scored, points[examples], examples)
                bar.update(len(examples))
            bar.update(scored.num_missing)
        return attributions

    def _points(self, advance: Advance) -> tuple[Tensor, Scored]:
        """``(B, ...)`` the points, in the dtype of ``inputs``, and the score explained there.

        NaN where there is no point.
        """
        classifier = self._classifier
        if self._given is not None:
            points, classes = self._given, _classes_across(classifier, self._given)
            advance(len(points))
        else:
            closest = self._search.run(classifier, self._box, advance)
            as_boundary(closest, self._on_missing, self._in_tuple)
            points, classes = closest.points, closest.classes
        return points.to(self.inputs), Scored(classifier, classes, self._score)


def _format_given(classifier: Classifier, baselines: Any, on_missing: OnMissing) -> Tensor:
    """Boundary points of the user, as many as examples, in their dtype."""
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
    points = detached(points).to(x).to(classifier.dtype).expand_as(x).contiguous()
    missing = (~points.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
    if on_missing == "raise" and missing:
        raise BoundaryNotFoundError(missing)
    return points


def _classes_across(classifier: Classifier, points: Tensor) -> Tensor:
    """``(B,)`` the classes of points, which must be others; -1 where the point is missing."""
    classes = torch.full_like(classifier.examples, -1)
    rows = points.isfinite().flatten(1).all(1).nonzero().flatten()
    if len(rows):
        logits = classifier.outputs(points[rows], rows)
        # A point next to the boundary may round to the near side in another batch.
        rounding = 2 * torch.finfo(points.dtype).eps * logits.abs().amax(1)
        slack = 1e-4 * (logits.amax(1) - logits.amin(1)) + rounding
        near = rows[~(classifier.margin(logits, rows) <= slack)].tolist()
        if near:
            raise ValueError(
                "baselines must be points that the model takes for another class than target, as "
                f"those of find_boundary(...).points; they are not for the examples {near}"
            )
        classes[rows] = classifier.others(logits, rows).argmax(1)
    return classes
