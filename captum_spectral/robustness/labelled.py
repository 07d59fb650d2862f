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

_ROUNDING = 1.01  # widths are of bounds in the precision of the images


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

    def check_radii(self, radii: Tensor, norm: str) -> None:
        """Raise where a radius under the max-norm is larger than pixels can move at all.

        Radii under other norms are not looked at: up to a corner of ``clip`` all mean something.
        """
        if norm != "linf":
            return
        width = float(self.box.width(self.classifier.inputs[:1]).max())
        largest = float(radii.max())
        if largest > _ROUNDING * width:
            raise ValueError(
                f"epsilon must be at most the width of clip, {width:.4g}, got {largest:.4g}: no "
                f"pixel can move farther; if levels of 255 are meant, {largest:g}/255 of that "
                f"width is {largest / 255 * width:.4g}"
            )

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
