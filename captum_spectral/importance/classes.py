"""Tables of classes: which features carry each of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.importance.result import ImportanceResult

__all__ = ["ClassTable", "class_table"]


class ClassTable(NamedTuple):
    """The mean attributions of every feature for the images of every class.

    Args:
        classes: ``Y`` classes that have images, in order.
        values: ``(Y, M)`` mean attributions, in the unit of the result.
        standard_error: ``(Y, M)`` of ``values``, over the images of the class (clustered by group
            where there are groups); NaN for a class with a single image or group.
        num_examples: How many images each class has.
        names: Of the features; None: they are bands, or numbered.
    """

    classes: tuple[int, ...]
    values: Tensor
    standard_error: Tensor
    num_examples: tuple[int, ...]
    names: tuple[str, ...] | None


def class_table(result: ImportanceResult) -> ClassTable:
    """Put the results of classes together, a row for each.

    The rows, weighted by ``num_examples``, have the mean ``result.attributions``. Classes are
    compared by their differences: with the standard errors of two classes added in squares, as
    their images are not the same ones. Of many cells some differ by chance.

    Args:
        result: Of a :class:`~captum_spectral.SpectralImportance` with ``num_classes``.

    Returns:
        A :class:`ClassTable`.

    Raises:
        ValueError: A result without classes.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralImportance
        >>> from captum_spectral.features import Sectors
        >>> from captum_spectral.importance import class_table
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3)).eval()
        >>> importance = SpectralImportance(model, features=Sectors(2, 2), num_classes=3)
        >>> importance.update(torch.rand(6, 3, 16, 16), torch.tensor([0, 0, 0, 2, 2, 2]))
        >>> table = class_table(importance.compute())
        >>> table.classes, table.values.shape, table.names[3]
        ((0, 2), torch.Size([2, 4]), '0.25+ at 90°')
    """
    if not result.per_class:
        raise ValueError(
            "this result has no classes; use SpectralImportance(..., num_classes=Y), which keeps "
            "them apart"
        )
    classes = tuple(sorted(result.per_class))
    rows = [result.per_class[c] for c in classes]
    return ClassTable(
        classes,
        torch.stack([row.attributions for row in rows]),
        torch.stack([row.standard_error for row in rows]),
        tuple(row.num_examples for row in rows),
        result.names,
    )
