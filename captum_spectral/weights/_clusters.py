"""Singular values that are too close to each other, or to zero, to have derivatives of their own.

The singular values of an ``(m, n)`` matrix are eigenvalues of the Hermitian matrix
``[[0, A], [A^H, 0]]``, whose others are their negatives and, unless the matrix is square, 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Clusters"]


class Clusters:
    """Chains of neighbouring values no further apart than a tolerance.

    Args:
        values: ``(..., p)``, falling.
        tolerance: ``(..., 1)`` largest distance of two neighbours in a cluster.
        rounding: ``(..., 1)`` largest value that counts as zero.
        square: Whether 0 is no eigenvalue of its own.
    """

    def __init__(
        self, values: Tensor, tolerance: Tensor, rounding: Tensor, *, square: bool
    ) -> None:
        self.values = values
        steps = values[..., :-1] - values[..., 1:]
        apart = steps > tolerance
        self.ids = torch.cat([torch.zeros_like(values[..., :1]), apart.cumsum(-1)], -1).long()
        self.sizes = self._gather(self._zeros().scatter_add(-1, self.ids, torch.ones_like(values)))
        smallest = self._least(values)
        # Of a cluster with a value that is zero, not even the mean has a derivative: the values
        # meet their own negatives.
        self.zero = smallest <= rounding
        self.tied = self.sizes > 1
        self.any_tied = bool(self.tied.any())
        # Neighbours of other clusters on either side, the negatives and the zero below.
        edge = torch.full_like(values[..., :1], torch.inf)
        steps = torch.where(apart, steps, torch.inf)
        beside = torch.minimum(torch.cat([edge, steps], -1), torch.cat([steps, edge], -1))
        below = smallest + values[..., -1:] if square else smallest
        self.gap = torch.where(self.zero, 0, torch.minimum(self._least(beside), below))

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of ``x``, ``(..., p)``, over the cluster of each value."""
        if not self.any_tied:
            return x
        ids = self.ids.expand(x.shape)
        return torch.zeros_like(x).scatter_add(-1, ids, x).gather(-1, ids) / self.sizes

    def window(self, k: int) -> slice:
        """Return the columns that hold the cluster of value ``k`` in every matrix."""
        same = self.ids == self.ids[..., k : k + 1]
        inside = same.reshape(-1, same.shape[-1]).any(0).nonzero()
        return slice(int(inside[0]), int(inside[-1]) + 1)

    def weights(self, k: int) -> Tensor:
        """Return what each column of the window adds to the mean of the cluster, ``(..., q)``."""
        inside = self.ids[..., self.window(k)] == self.ids[..., k : k + 1]
        return inside / self.sizes[..., k : k + 1]

    def same(self, columns: slice) -> Tensor:
        """Return whether value i is in the cluster of column k, ``(..., p, q)``."""
        return self.ids[..., :, None] == self.ids[..., None, columns]

    def resolvents(self, columns: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Return 1 / (s_i - s_k), 1 / (s_i + s_k), both ``(..., p, q)``, and 1 / s_k, ``(..., q)``.

        The first is 0 inside the cluster of k; all are 0 for a k that is zero.
        """
        s_i, s_k = self.values[..., :, None], self.values[..., None, columns]
        zero = self.zero[..., columns]
        none = self.same(columns) | zero[..., None, :]
        minus = torch.where(none, 0, 1 / torch.where(none, 1, s_i - s_k))
        none = zero[..., None, :]
        plus = torch.where(none, 0, 1 / torch.where(none, 1, s_i + s_k))
        own = torch.where(zero, 0, 1 / torch.where(zero, 1, self.values[..., columns]))
        return minus, plus, own

    def _zeros(self) -> Tensor:
        return torch.zeros_like(self.values)

    def _gather(self, of_clusters: Tensor) -> Tensor:
        return of_clusters.gather(-1, self.ids)

    def _least(self, x: Tensor) -> Tensor:
        """Return the smallest ``x`` in the cluster of each value."""
        smallest = self._zeros().scatter_reduce(-1, self.ids, x, "amin", include_self=False)
        return self._gather(smallest)
