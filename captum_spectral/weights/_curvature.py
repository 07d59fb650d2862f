"""Second derivatives of singular values along entries of the matrix, in closed form.

Along E, with M = U^H E V, a_i = M_ik, b_i = conj(M_ki), g_ik = 1 / (s_i - s_k) outside of the
cluster of k and h_ik = 1 / (s_i + s_k):

    D^2 s_k = 1/2 sum_i [ -g_ik |a_i + b_i|^2 + h_ik |a_i - b_i|^2 ] + (null vectors) / s_k

so that |a_i|^2 + |b_i|^2 has the weight (h - g) / 2, and 2 Re a_i conj(b_i) the weight
-(h + g) / 2. Below these are called `even` and `odd`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral.weights._clusters import Clusters

__all__ = ["Curvature", "mean_under_noise"]


class Curvature:
    """The Hessian of the mean of a cluster of a real matrix.

    Args:
        left: ``(..., m, p)`` U.
        right: ``(..., n, p)`` V.
        clusters: Of the values.
        columns: A window that holds the cluster.
        weights: ``(..., 1, q)`` weight of every column of the window in the mean.
    """

    def __init__(
        self, left: Tensor, right: Tensor, clusters: Clusters, columns: slice, weights: Tensor
    ) -> None:
        self.left, self.right, self.weights = left, right, weights
        self.even, self.odd, self.own = _weights(clusters, columns)
        self.u, self.v = left[..., columns], right[..., columns]

    def diagonal(self) -> Tensor:
        """Return L_aa v_b^2 + u_a^2 R_bb + 2 C_ab u_a v_b, ``(..., m, n)``."""
        u, v = self.u * self.weights, self.v * self.weights
        of_left = _squares(self.left) @ self.even + outside(self.left) * self.own[..., None, :]
        of_right = _squares(self.right) @ self.even + outside(self.right) * self.own[..., None, :]
        found = of_left @ (v * self.v).mT + (u * self.u) @ of_right.mT
        for j in range(self.u.shape[-1]):
            mixed = (self.left * self.odd[..., None, :, j]) @ self.right.mT
            found = found + 2 * mixed * u[..., j, None] * self.v[..., None, :, j]
        return found

    def full(self) -> Tensor:
        """Return L_ac v_b v_d + u_a u_c R_bd + C_ad u_c v_b + C_cb u_a v_d, all four dims."""
        found: Tensor | float = 0.0
        for j in range(self.u.shape[-1]):
            u, v = self.u[..., j], self.v[..., j]
            even, odd = self.even[..., None, :, j], self.odd[..., None, :, j]
            of_left = self._whole(self.left, even, j)
            of_right = self._whole(self.right, even, j)
            mixed = (self.left * odd) @ self.right.mT
            terms = (
                torch.einsum("...ac,...b,...d->...abcd", of_left, v, v)
                + torch.einsum("...bd,...a,...c->...abcd", of_right, u, u)
                + torch.einsum("...ad,...c,...b->...abcd", mixed, u, v)
                + torch.einsum("...cb,...a,...d->...abcd", mixed, u, v)
            )
            found = found + self.weights[..., j, None, None, None] * terms
        assert isinstance(found, Tensor)
        return found

    def _whole(self, vectors: Tensor, even: Tensor, j: int) -> Tensor:
        """Return the sum over all singular vectors of one side, those of 0 too."""
        found = (vectors * even) @ vectors.mT
        if vectors.shape[-2] > vectors.shape[-1]:
            eye = torch.eye(vectors.shape[-2]).to(vectors)
            found = found + (eye - vectors @ vectors.mT) * self.own[..., j, None, None]
        return found


def mean_under_noise(
    left: Tensor, right: Tensor, variance: Tensor, clusters: Clusters
) -> tuple[Tensor, Tensor]:
    """Return half the second derivative in the mean over noise, and the deviation of the first.

    Args:
        left: ``(..., m, p)`` U.
        right: ``(..., n, p)`` V.
        variance: ``(..., m or 1, n or 1)`` of the entries.
        clusters: Of the values.

    Returns:
        ``(..., p)`` before means over clusters, and ``(..., p)`` of the means.
    """
    even, odd, own = _weights(clusters, slice(None))
    sizes = left.shape[-2], right.shape[-2]
    entire = variance.expand(*variance.shape[:-2], *sizes)
    u2, v2 = _squares(left), _squares(right)
    across, down = entire @ v2, entire.mT @ u2  # (..., m, p), (..., n, p)
    both = u2.mT @ across  # E |M_ik|^2
    total = (even * (both + both.mT)).sum(-2)
    total = total + own * (outside(left) * across).sum(-2) + own * (outside(right) * down).sum(-2)
    diagonal = both.diagonal(dim1=-2, dim2=-1)
    if left.dtype.is_complex:  # E a_i conj(b_i) is 0
        diagonal = diagonal / 2
    elif 1 in variance.shape[-2:]:  # vectors of one side are orthogonal: all but i = k is 0
        total = total + 2 * odd.diagonal(dim1=-2, dim2=-1) * diagonal
    else:
        total = total + 2 * _crossed(left, right, entire, odd)
    if not clusters.any_tied:
        return total / 2, diagonal.sqrt()
    return total / 2, _deviation(left, right, entire, clusters)


def outside(vectors: Tensor) -> Tensor:
    """Return what the span of the vectors leaves of each unit vector, squared, ``(..., m, 1)``."""
    if vectors.shape[-2] == vectors.shape[-1]:
        return torch.zeros_like(vectors[..., :1].real)
    return (1 - _squares(vectors).sum(-1, keepdim=True)).clamp(min=0)


def _crossed(left: Tensor, right: Tensor, variance: Tensor, odd: Tensor) -> Tensor:
    """Return sum_i odd_ik sum_ab u_ai u_ak variance_ab v_bi v_bk, a column at a time."""
    columns = []
    for k in range(left.shape[-1]):
        u, v = left * left[..., k : k + 1], right * right[..., k : k + 1]
        columns.append(((u * (variance @ v)).sum(-2) * odd[..., k]).sum(-1))
    return torch.stack(columns, -1)


def _deviation(left: Tensor, right: Tensor, variance: Tensor, clusters: Clusters) -> Tensor:
    """Return the deviation of the first-order change of every cluster's mean."""
    columns = []
    for k in range(left.shape[-1]):
        window, weights = clusters.window(k), clusters.weights(k)[..., None, :].to(left.dtype)
        size = ((left[..., window] * weights) @ right[..., window].mH).abs()
        share = 2 if left.dtype.is_complex else 1
        columns.append(((variance * size**2).sum((-2, -1)) / share).sqrt())
    return torch.stack(columns, -1)


def _weights(clusters: Clusters, columns: slice) -> tuple[Tensor, Tensor, Tensor]:
    minus, plus, own = clusters.resolvents(columns)
    return (plus - minus) / 2, -(plus + minus) / 2, own


def _squares(x: Tensor) -> Tensor:
    return x.real**2 + x.imag**2 if x.is_complex() else x**2
