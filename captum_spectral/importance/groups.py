"""Sums over groups of images that are not independent, such as the views of one picture.

A table ``(K, 3 + M)`` has a row for every class and group that were met: the class, the id of the
group, how many images it has, and the sum of their band attributions. Rows of the same class and
group are added up, so that its memory grows with the number of groups, not with that of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "append_rows",
    "clustered_covariance",
    "combine",
    "empty_table",
    "format_groups",
    "num_images",
    "of_class",
    "rows_of",
]

_CLASS, _GROUP, _COUNT = range(3)
_SUMS = 3  # where the attributions begin
_PENDING = 1024  # rows that may wait to be added up, so that a large table is seldom sorted
_LARGEST = 2**53  # integers up to here are exact in float64


def format_groups(groups: Any, num_images: int) -> Tensor:
    """Return ids of groups as ``(B,)`` int64 on the CPU."""
    try:
        ids = torch.as_tensor(groups, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"groups must be integers, one id per image, got {groups!r}") from error
    if ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype is torch.bool:
        raise TypeError(f"groups must be integers, one id per image, got dtype {ids.dtype}")
    if tuple(ids.shape) != (num_images,):
        raise ValueError(
            f"groups must be ({num_images},), one id per image, got shape {tuple(ids.shape)}"
        )
    ids = ids.long()
    if int(ids.min()) < -_LARGEST or int(ids.max()) > _LARGEST:
        raise ValueError("groups must be ids from -2**53 to 2**53, such as the numbers of pictures")
    return ids


def empty_table(num_bands: int) -> Tensor:
    """Return the table of no groups: ``(0, 3 + M)``."""
    return torch.zeros(0, _SUMS + num_bands, dtype=torch.float64, device="cpu")


def rows_of(phi: Tensor, classes: Tensor, groups: Tensor) -> Tensor:
    """Return a row ``(B, 3 + M)`` for every image: attributions ``(B, M)``, all else ``(B,)``."""
    head = torch.stack([classes.double(), groups.double(), torch.ones(len(phi)).double()], 1)
    return torch.cat([head, phi.to("cpu", torch.float64)], 1)


def append_rows(tables: Sequence[Tensor], rows: Tensor) -> list[Tensor]:
    """Append rows to the parts of a table; add them up when many wait.

    The sums do not depend on when that happens, to the last bit: images are added one after the
    other.
    """
    device = tables[0].device
    parts = [*tables, rows.to(device)]
    if sum(map(len, parts[1:])) <= max(_PENDING, len(parts[0])):
        return parts
    return [combine(parts).to(device)]


def combine(tables: Sequence[Tensor]) -> Tensor:
    """Return one table ``(K, 3 + M)`` on the CPU in which every class and group is once."""
    rows = torch.cat([table.to("cpu", torch.float64) for table in tables])
    if not len(rows):
        return rows
    keys, places = rows[:, :_COUNT].unique(dim=0, return_inverse=True)
    sums = torch.zeros(len(keys), rows.shape[1] - _COUNT, dtype=torch.float64, device="cpu")
    return torch.cat([keys, sums.index_add_(0, places, rows[:, _COUNT:])], 1)


def of_class(table: Tensor, number: int | None) -> Tensor:
    """Return the part of a table that is of one class; None: all classes together."""
    if number is not None:
        return table[table[:, _CLASS] == number]
    together = table.clone()
    together[:, _CLASS] = 0
    return combine([together])


def clustered_covariance(table: Tensor, mean: Tensor) -> Tensor:
    r"""Return the covariance ``(M, M)`` of the mean over images that come in groups.

    With the residual :math:`r_g = \sum_{i \in g} (\phi_i - \bar\phi)` of each of :math:`G` groups,

    .. math:: \Sigma = \frac{G}{G - 1} \frac{1}{N^2} \sum_g r_g r_g^\top

    which holds whatever the images of a group have in common. Groups of one image give the
    ordinary covariance of a mean, one group alone none (NaN).

    Args:
        table: ``(G, 3 + M)``, every group once.
        mean: ``(M,)`` over all images.

    References:
        K.-Y. Liang, S. L. Zeger, *Longitudinal data analysis using generalized linear models*,
        Biometrika 1986; A. C. Cameron, D. L. Miller, *A practitioner's guide to cluster-robust
        inference*, Journal of Human Resources 2015.
    """
    count = len(table)
    if count < 2:
        return torch.full((len(mean), len(mean)), torch.nan, dtype=torch.float64, device="cpu")
    images = table[:, _COUNT]
    residuals = table[:, _SUMS:] - images[:, None] * mean  # (G, M)
    return residuals.T @ residuals * (count / (count - 1) / float(images.sum()) ** 2)


def num_images(table: Tensor) -> int:
    """Count the images of a table."""
    return round(float(table[:, _COUNT].sum()))
