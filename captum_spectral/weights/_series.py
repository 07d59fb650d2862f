"""The Taylor series of all singular values along a direction, from one decomposition.

T(t) = [[0, A + tE], [(A + tE)^H, 0]] has the eigenvalues +-s_i(t). For the columns of a cluster,
T(t) W(t) = W(t) H(t) with W(t) = W_0 + t W_1 + ..., W_0^H W_j = 0 and H(0) = diag(s); the trace of
H(t) is the sum of the cluster's values, whether they are tied or only close. Order by order
(T. Kato's reduced resolvents, each column with its own shift s_k):

    H_j = W_0^H T_1 W_{j-1},   W_j = S[ -T_1 W_{j-1} + sum_{0<i<j} W_{j-i} H_i ]

A vector (x; y) of T is x = U alpha + N xi, y = V beta: for m >= n, V is unitary, and T_1 leads out
of the span of U only along N = (1 - U U^H) E V. So all of it is done with p x p matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral.weights._clusters import Clusters

__all__ = ["coefficients"]


def coefficients(
    left: Tensor, right: Tensor, direction: Tensor, clusters: Clusters, columns: slice, order: int
) -> list[Tensor]:
    """Return Re diag H_j, j = 1..order, ``(..., q)``; their means over clusters are the series."""
    if order == 1:
        mapped = direction @ right[..., columns]
        return [(left[..., columns].conj() * mapped).sum(-2).real]
    if left.shape[-2] < right.shape[-2]:  # the values of A^H along E^H are the same
        left, right, direction = right, left, direction.mH
    mapped = direction @ right  # (..., m, p)
    within = left.mH @ mapped  # (..., p, p)
    gram = None
    if left.shape[-2] > right.shape[-2]:
        outside = mapped - left @ within
        gram = outside.mH @ outside
    return _Series(within, gram, clusters, columns).run(order)


class _Series:
    """Columns W_j in the coordinates (alpha, beta, xi), ``(2 or 3, ..., p, q)``.

    Args:
        within: ``(..., p, p)`` U^H E V.
        gram: ``(..., p, p)`` N^H N; None for square matrices, where nothing is outside of U.
        clusters: Of the values.
        columns: The columns that are followed: whole clusters.
    """

    def __init__(
        self, within: Tensor, gram: Tensor | None, clusters: Clusters, columns: slice
    ) -> None:
        self.within, self.gram, self.columns = within, gram, columns
        self.minus, self.plus, self.own = clusters.resolvents(columns)
        self.same = clusters.same(columns)[..., columns, :] if clusters.any_tied else None

    def run(self, order: int) -> list[Tensor]:
        """Return Re diag H_j for j = 1..order."""
        start = torch.eye(self.within.shape[-1]).to(self.within)[:, self.columns]
        # T_1 W_0, whose xi is that of beta = 1.
        mapped = self._stack(
            self.within[..., self.columns], self.within.mH[..., self.columns], start
        )
        effective = [self._effective(mapped)]
        found = [self._diagonal(effective[0])]
        columns: list[Tensor] = []
        for j in range(2, order + 1):
            right = -mapped
            for i in range(1, j - 1):
                right = right + self._times(columns[j - i - 2], effective[i - 1])
            columns.append(self._resolve(right))
            if j == order:
                found.append(self._last(columns[-1]))
                break
            mapped = self._apply(columns[-1])
            effective.append(self._effective(mapped))
            found.append(self._diagonal(effective[-1]))
        return found

    def _apply(self, w: Tensor) -> Tensor:
        """Return T_1 W."""
        beta = self.within.mH @ w[0]
        if self.gram is not None:
            beta = beta + self.gram @ w[2]
        return self._stack(self.within @ w[1], beta, w[1])

    def _last(self, w: Tensor) -> Tensor:
        """Return Re diag W_0^H T_1 W, of which no more than the diagonal is computed."""
        columns = self.columns
        found = self.within.mT[..., columns] * w[1] + self.within[..., columns].conj() * w[0]
        if self.gram is not None:
            found = found + self.gram.mT[..., columns] * w[2]
        return found.sum(-2).real / 2

    def _effective(self, mapped: Tensor) -> Tensor:
        """Return H_j, 0 between clusters; its diagonal alone, ``(..., q)``, without ties."""
        rows = (mapped[0] + mapped[1])[..., self.columns, :] / 2
        return rows.diagonal(dim1=-2, dim2=-1) if self.same is None else rows * self.same

    def _diagonal(self, effective: Tensor) -> Tensor:
        return (effective if self.same is None else effective.diagonal(dim1=-2, dim2=-1)).real

    def _times(self, w: Tensor, effective: Tensor) -> Tensor:
        return w * effective[..., None, :] if self.same is None else w @ effective

    def _resolve(self, w: Tensor) -> Tensor:
        """Return S W: every column k divided by what is between its s_k and the eigenvalues."""
        upper = (w[0] + w[1]) * self.minus
        lower = (w[1] - w[0]) * self.plus
        xi = -w[2] * self.own[..., None, :] if self.gram is not None else None
        return self._stack((upper + lower) / 2, (upper - lower) / 2, xi)

    def _stack(self, alpha: Tensor, beta: Tensor, xi: Tensor | None) -> Tensor:
        if self.gram is None or xi is None:
            return torch.stack([alpha, beta])
        return torch.stack([alpha, beta, xi.expand(alpha.shape)])
