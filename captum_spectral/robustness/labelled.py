"""Images with labels and a classifier of them, checked: what every measure here starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from captum_spectral._arguments import format_labels
from captum_spectral.boundary.batches import Batches
from captum_spectral.boundary.box import Box, Clip, check_pair
from captum_spectral.boundary.classifier import Classifier

__all__ = ["Labelled", "labelled"]


class Labelled(NamedTuple):
    """Images, the classifier whose targets are their labels, the range of their pixels.

    Args:
        classifier: The model and the images.
        box: Where pixels may lie.
        batches: How many images may go through the model at once.
    """

    classifier: Classifier
    box: Box
    batches: Batches

    def correct(self) -> Tensor:
        """Return which images are rightly classified ``(B,)``, and keep the margins of all.

        Cost: a model row per image.
        """
        return self.classifier.decide(self.batches) == self.classifier.target

    def of(self, images: Tensor) -> Labelled:
        """Return some of the images ``(b,)``, after :meth:`correct`."""
        classifier = self.classifier.part(images)
        batches = Batches(classifier.inputs, self.batches.max_rows)
        return Labelled(classifier, self.box.of(images), batches)


def labelled(
    forward_func: Callable[..., Any],
    images: Tensor,
    labels: Tensor,
    clip: Clip | None,
    internal_batch_size: int | None,
) -> Labelled:
    """Check the arguments that all measures share, before any forward pass."""
    if clip is not None:
        check_pair(clip)
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be one tensor (B, ...), got {type(images).__name__}")
    target = format_labels(labels, len(images)) if images.dim() else labels
    classifier = Classifier(forward_func, images, target, names=("images", "labels"))
    box = Box(clip, classifier.inputs, classifier.dtype, "images")
    return Labelled(classifier, box, Batches(classifier.inputs, internal_batch_size))
