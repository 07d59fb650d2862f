"""Attributions at boundary points: where the points come from, and the score explained there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from captum_spectral._arguments import detached
from captum_spectral._captum import TargetType, is_tuple, progress_bar
from captum_spectral.boundary.batches import Batches
from captum_spectral.boundary.classifier import Classifier
from captum_spectral.boundary.nearest import Nearest
from captum_spectral.boundary.result import BoundaryNotFoundError, as_boundary
from captum_spectral.boundary.search import BoundarySearch, SearchMethod, format_search

__all__ = ["AtBoundary", "BoundaryOptions", "Explain", "Score", "Scored"]

Score = Literal["logit", "margin"]


class BoundaryOptions(TypedDict, total=False):
    """Arguments of both boundary methods that do not change what kind of thing they return."""

    baselines: Tensor | tuple[Tensor, ...] | None
    additional_forward_args: Any
    score: Score
    search: BoundarySearch | SearchMethod
    internal_batch_size: int | None
    show_progress: bool


class Scored:
    """The explained score of rows ``(R, ...)`` that are versions of given examples: ``(R,)``.

    The examples travel with the rows as Captum's additional argument; targets and the user's own
    arguments are picked by them.

    Args:
        classifier: The model.
        classes: ``(B,)`` those on the other side of the boundary.
        score: The output of the target, or how far it is ahead of ``classes``.
    """

    def __init__(self, classifier: Classifier, classes: Tensor, score: Score) -> None:
        self._classifier, self._classes, self._margin = classifier, classes, score == "margin"

    def __call__(self, points: Tensor, examples: Tensor) -> Tensor:
        """Return the score of each row."""
        logits = self._classifier(points, examples)
        explained = self._classifier.of_target(logits, examples)
        if self._margin:
            explained = explained - logits.gather(1, self._classes[examples, None])[:, 0]
        return explained


# Makes attributions (R, ...) from the score, points (R, ...), their examples (R,), and how many
# rows may share a forward pass, None for any number.
Explain = Callable[[Scored, Tensor, Tensor, int | None], Tensor]


class AtBoundary:
    """The arguments of a method at the boundary, checked.

    Args:
        forward_func: The model.
        inputs: As of the user, like all of these.
        target: The explained classes.
        baselines: Boundary points, None to search them.
        additional_forward_args: Further arguments of the model.
        score: What is explained.
        search: How points are searched, and what to do where there is none.
        internal_batch_size: Rows in a forward pass, at most.

    Attributes:
        inputs (Tensor): ``(B, ...)`` in float32 or float64, as the attributions.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType,
        *,
        baselines: Any,
        additional_forward_args: Any,
        score: Score,
        search: BoundarySearch | SearchMethod,
        internal_batch_size: int | None,
    ) -> None:
        if score not in ("logit", "margin"):
            raise ValueError(f'score must be "logit" or "margin", got {score!r}')
        options = format_search(search, "search")
        self._score, self._on_missing = score, options.on_missing
        self._classifier = Classifier(forward_func, inputs, target, additional_forward_args)
        self.inputs, self._in_tuple = self._classifier.inputs, is_tuple(inputs)
        self._batches = Batches(self.inputs, internal_batch_size)
        self._points_from: Nearest | Tensor
        if baselines is None:
            self._points_from = Nearest(options, self._classifier)
        else:
            self._points_from = _format_given(self._classifier, baselines, options)

    def attributions(self, explain: Explain, title: str, show_progress: bool) -> Tensor:
        """Return the attributions of all examples ``(B, ...)``; NaN for those without a point.

        Args:
            explain: Makes them, for examples that have one.
            title: Of the progress bar.
            show_progress: Whether there is one.
        """
        # An example is counted at each stage of its search, or once its point is checked, and once
        # it is explained.
        stages = self._points_from.stages if isinstance(self._points_from, Nearest) else 1
        total = len(self.inputs) * (stages + 1)
        with progress_bar(show_progress, title, total) as bar:
            points, classes = self._points(bar)
            scored = Scored(self._classifier, classes, self._score)

            def explained(examples: Tensor) -> tuple[Tensor, ...]:
                # Contiguous, whatever the layout of the inputs.
                result = points.new_full((len(examples), *points.shape[1:]), torch.nan)
                present = classes[examples] >= 0
                if present.any():
                    those = examples[present]
                    max_rows = self._batches.max_rows
                    result[present] = explain(scored, points[those], those, max_rows)
                return (result,)

            (attributions,) = self._batches.of_all(explained, bar)
        return attributions

    def _points(self, bar: Any) -> tuple[Tensor, Tensor]:
        """Return points ``(B, ...)`` in the dtype of ``inputs``, and the classes there ``(B,)``.

        NaN and -1 where there is no point.
        """
        given = self._points_from
        if isinstance(given, Tensor):
            return given.to(self.inputs), self._classes_across(given, bar)
        self._classifier.check_decisions(self._batches)
        found = given.crossings(self._batches, bar)
        as_boundary(found, self._on_missing, self._in_tuple)  # raises where one must not be missing
        return found.points.to(self.inputs), found.classes

    def _classes_across(self, points: Tensor, bar: Any) -> Tensor:
        """Return the classes ``(B,)`` of given points, which must be across; -1 of a missing one.

        Cost: a model row per point.
        """
        classifier = self._classifier

        def across(examples: Tensor) -> tuple[Tensor, ...]:
            classes = torch.full_like(examples, -1)
            near = torch.zeros_like(examples, dtype=torch.bool)
            present = points[examples].isfinite().flatten(1).all(1)
            if present.any():
                those = examples[present]
                logits = classifier(points[those], those)
                # A point next to the boundary may round to the near side in another batch.
                rounding = 2 * torch.finfo(points.dtype).eps * logits.abs().amax(1)
                slack = 1e-4 * (logits.amax(1) - logits.amin(1)) + rounding
                near[present] = ~(classifier.margin(logits, those) <= slack)
                classes[present] = classifier.others(logits, those).argmax(1)
            return classes, near

        classes, near = self._batches.of_all(across, bar)
        if near.any():
            raise ValueError(
                "baselines must be points that the model takes for another class than target, as "
                "those of find_boundary(...).points; they are not for the examples "
                f"{near.nonzero().flatten().tolist()}"
            )
        return classes


def _format_given(classifier: Classifier, baselines: Any, search: BoundarySearch) -> Tensor:
    """Return boundary points of the user, as many as examples, in their dtype."""
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
    if search.on_missing == "raise" and missing:
        raise BoundaryNotFoundError(missing)
    return points
