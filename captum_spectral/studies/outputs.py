"""The outputs of a model that the labels of a data set stand for."""

from __future__ import annotations

import contextlib

from captum_spectral.sources.labels import class_ids, outputs_of_labels
from captum_spectral.sources.models import LoadedModel
from captum_spectral.sources.pictures import Pictures

__all__ = ["outputs_of"]


def outputs_of(
    pictures: Pictures, model: LoadedModel, num_classes: int, label_map: dict[str, int] | None
) -> dict[int, int] | None:
    """Map each label of the data to its output; None for data without labels.

    Raises:
        ValueError: Labels or a label map that do not fit the model.
    """
    if pictures.classes is not None:
        return dict(
            enumerate(class_ids(pictures.classes, num_classes, model.categories, label_map))
        )
    labels: list[int | None] = []
    for i in range(len(pictures)):
        with contextlib.suppress(OSError, ValueError):  # the picture will be skipped
            labels.append(pictures.label(i))
        if labels == [None]:  # no label is known, then; reading on could mean every picture
            return None
    return outputs_of_labels(labels, num_classes, label_map) or None
