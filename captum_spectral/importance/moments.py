"""Moments of images from which means and their covariance follow, in one matrix.

An image contributes its record ``z``: a 1, the model rows it took, whether its label is known,
whether the model found it, the values of the grand and of the empty coalition, and its band
attributions. The matrix of some images holds their number in its corner, their mean record in its
first row and column, and elsewhere the scatter around that mean, so that no digits are lost where
values are large against their spread. Matrices merge exactly (Chan, Golub and LeVeque 1979), so any
split of the images, over batches or processes, gives the same.
"""

from __future__ import annotations

from numbers import Real
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.importance.groups import clustered_covariance, num_images, of_class, rows_of

__all__ = [
    "Records",
    "Statistics",
    "Tolerance",
    "add_records",
    "empty_moments",
    "group_rows",
    "merge",
    "num_examples",
    "record_of",
    "statistics",
]

_ONE, _ROWS, _LABELLED, _CORRECT, _FULL, _EMPTY = range(6)
_BANDS = 6  # where the attributions begin
MIN_EXAMPLES = 30  # fewer say little about their own spread


class Records(NamedTuple):
    """Records of the images of a batch.

    Args:
        values: ``(B, V)`` records, on the CPU.
        classes: ``(B,)`` the class whose moments each is added to.
        groups: ``(B,)`` ids of the picture that each is a view of; None: all are independent.
    """

    values: Tensor
    classes: Tensor
    groups: Tensor | None = None

    @property
    def usable(self) -> Tensor:
        """``(B,)`` whether all of an image's record is finite."""
        return self.values.isfinite().all(1)

    @property
    def whole_is_finite(self) -> Tensor:
        """``(B,)`` whether the value of the whole image is finite."""
        return self.values[:, _FULL].isfinite()

    def of(self, which: Tensor) -> Records:
        """Return the records of the images where ``which (B,)`` is true."""
        groups = None if self.groups is None else self.groups[which]
        return Records(self.values[which], self.classes[which], groups)


def empty_moments(num_bands: int, classes: int = 1) -> Tensor:
    """Return the moments of no images: zeros ``(Y, V, V)``."""
    size = _BANDS + num_bands
    return torch.zeros(classes, size, size, dtype=torch.float64, device="cpu")


def group_rows(records: Records) -> Tensor:
    """Return the rows ``(B, 3 + M)`` that records with groups add to a table of groups."""
    assert records.groups is not None
    return rows_of(records.values[:, _BANDS:], records.classes, records.groups)


def record_of(
    phi: Tensor, full: Tensor, empty: Tensor, correct: Tensor, labelled: Tensor, rows: int
) -> Tensor:
    """Put the records ``(B, V)`` of images together: attributions ``(B, M)``, all else ``(B,)``."""
    one = torch.ones(len(phi), device="cpu")
    scalars = torch.stack(
        [x.to("cpu", torch.float64) for x in (one, one * rows, labelled, correct, full, empty)], 1
    )
    return torch.cat([scalars, phi.to("cpu", torch.float64)], 1)


def add_records(moments: Tensor, records: Tensor, classes: Tensor) -> Tensor:
    """Add records ``(B, V)`` of classes ``(B,)`` to moments ``(Y, V, V)``; return the sum.

    Images are added one after the other, so that the result does not depend on how they were cut
    into batches, to the last bit.
    """
    total = moments.to(torch.float64, copy=True)
    for number, record in zip(classes.tolist(), records.to(moments.device), strict=True):
        total[number] = _merge(total[number], _of_one(record))
    return total


def merge(moments: Tensor) -> Tensor:
    """Merge the moments ``(Y, ...)`` of Y sets of images, one after the other."""
    merged = moments[0]
    for part in moments[1:]:
        merged = _merge(merged, part)
    return merged


def _of_one(record: Tensor) -> Tensor:
    """Return the moments ``(V, V)`` of a record ``(V,)``, whose first entry is 1."""
    moments = torch.zeros(len(record), len(record), dtype=torch.float64, device=record.device)
    moments[_ONE], moments[:, _ONE] = record, record
    return moments


def _merge(a: Tensor, b: Tensor) -> Tensor:
    """Merge moments ``(..., V, V)``."""
    count_a, count_b = a[..., _ONE, _ONE, None], b[..., _ONE, _ONE, None]
    count = count_a + count_b
    share = count_b / count.clamp(min=1)  # 0 of 0 images
    change = b[..., _ONE, :] - a[..., _ONE, :]  # of the mean, (..., V)
    mean = torch.where(count_a > 0, a[..., _ONE, :] + share * change, b[..., _ONE, :])
    between = (count_a * share)[..., None] * change[..., :, None] * change[..., None, :]
    merged = a + b + between
    mean[..., _ONE] = count[..., 0]
    merged[..., _ONE, :], merged[..., :, _ONE] = mean, mean
    return merged


def num_examples(moments: Tensor) -> int:
    """Count the images of moments ``(..., V, V)``."""
    return round(float(moments[..., _ONE, _ONE].sum()))


class Statistics(NamedTuple):
    """Means over images, in float64 on the CPU; see ``ImportanceResult`` for what they are."""

    num_examples: int
    num_rows: int
    accuracy: float | None
    full_value: float
    empty_value: float
    attributions: Tensor
    covariance: Tensor
    num_groups: int | None


def statistics(
    moments: Tensor, table: Tensor | None = None, number: int | None = None
) -> Statistics:
    """Read the means off one matrix ``(V, V)`` of moments, and the covariance of the mean.

    Args:
        moments: Of all images, or of those of one class.
        table: The groups that all images come in, see ``groups``; None or empty: they are
            independent. Default: None
        number: Which class the moments are of. Default: None, all

    Raises:
        ValueError: Some of the images are in no group.
    """
    moments = moments.to("cpu", torch.float64)
    count = float(moments[_ONE, _ONE])
    mean = moments[_ONE]
    bands = slice(_BANDS, None)
    scatter = moments[bands, bands]
    num_groups = None
    if table is not None and len(table):
        table = of_class(table, number)
        num_groups = len(table)
        if num_images(table) != round(count):
            raise ValueError(
                f"{num_images(table)} of {round(count)} images have groups; groups must be given "
                "with every update or with none"
            )
        covariance = clustered_covariance(table, mean[bands])
    elif count > 1:
        covariance = scatter / (count - 1) / count
    else:
        covariance = torch.full_like(scatter, torch.nan)
    labelled = float(mean[_LABELLED])
    return Statistics(
        num_examples=round(count),
        num_rows=round(count * float(mean[_ROWS])),
        accuracy=float(mean[_CORRECT]) / labelled if labelled else None,
        full_value=float(mean[_FULL]),
        empty_value=float(mean[_EMPTY]),
        attributions=mean[bands].clone(),
        covariance=covariance,
        num_groups=num_groups,
    )


class Tolerance:
    """Says whether all bands are known well enough.

    Args:
        relative: Largest half width of a band's confidence interval, as a share of the largest
            attribution.
        confidence: Level of the interval.

    Raises:
        TypeError: No numbers.
        ValueError: A tolerance that is not positive, a confidence outside of (0, 1).
    """

    def __init__(self, relative: float, confidence: float) -> None:
        for name, number in (("tolerance", relative), ("confidence", confidence)):
            if isinstance(number, bool) or not isinstance(number, Real):
                raise TypeError(f"{name} must be a number, got {number!r}")
        if not relative > 0:
            raise ValueError(f"tolerance must be positive, 0.02 for 2 %, say, got {relative!r}")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, 0.95, say, got {confidence!r}")
        self._relative = float(relative)
        self._widths = NormalDist().inv_cdf((1 + confidence) / 2)

    def is_reached(self, moments: Tensor, table: Tensor | None = None) -> bool:
        """Say whether the images of moments ``(V, V)``, in the groups of a table, suffice."""
        if num_examples(moments) < MIN_EXAMPLES:
            return False
        found = statistics(moments, table)
        if found.num_groups is not None and found.num_groups < MIN_EXAMPLES:
            return False
        half_width = self._widths * float(found.covariance.diagonal().max().sqrt())
        return half_width <= self._relative * float(found.attributions.abs().max())
