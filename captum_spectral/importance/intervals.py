"""The error of a score, from the covariance of the bands that it is computed from."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Estimate", "estimate_score"]

_DRAWS = 2000
_SEARCHES = 8  # random directions, beside those where a kink lies
_STEPS = 25
_CLEAR = 3.0  # standard errors from a kink that leave no doubt

Score = Callable[[Tensor], Tensor]


class Estimate(NamedTuple):
    """A number, and how far it may be off.

    Attributes:
        value: The number.
        standard_error: Its standard deviation when the bands are drawn anew from their covariance;
            NaN where it is not known.
        low: Lower end of a 95 % interval, NaN where it is not known.
        high: Its upper end.
    """

    value: float
    standard_error: float
    low: float = math.nan
    high: float = math.nan


def estimate_score(
    score: Score, phi: Tensor, covariance: Tensor, normalization: str, with_interval: bool = True
) -> Estimate:
    r"""Estimate a score of bands that are known up to a covariance.

    A score has kinks where a band crosses 0 (``"positive"``) or another band becomes the smallest
    (``"min_shift"``), and near them it is biased: noise in bands of no worth looks like power. The
    interval therefore is that of all scores of bands :math:`\phi'` which the estimate
    :math:`\phi` leaves possible,

    .. math:: (\phi' - \phi)^\top \Sigma^{-1} (\phi' - \phi) \le \chi^2_{1 + k}(0.95),

    with :math:`k` the number of bands within 3 standard errors of a kink. With clear bands it is
    the usual interval; with :math:`k` doubtful ones it covers more than 95 %, not less.

    Args:
        score: Of attributions ``(..., M)``.
        phi: ``(M,)`` float64.
        covariance: ``(M, M)``.
        normalization: "min_shift" or "positive".
        with_interval: Search for the interval, which takes some 0.05 s. Default: True
    """
    value = float(score(phi))
    if math.isnan(value) or not covariance.isfinite().all():
        return Estimate(value, math.nan)
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    root = vectors * eigenvalues.clamp(min=0).sqrt()  # (M, M), root @ root.T is the covariance
    generator = torch.Generator("cpu").manual_seed(0)
    noise = torch.randn(_DRAWS, len(phi), generator=generator, dtype=torch.float64, device="cpu")
    redrawn = score(phi + noise @ root.T)
    redrawn = redrawn[redrawn.isfinite()]
    error = float(redrawn.std()) if len(redrawn) > 1 else math.nan
    if not with_interval:
        return Estimate(value, error)
    radius = math.sqrt(_chi_squared(1 + _doubtful(phi, covariance, normalization)))
    starts = torch.cat(
        [
            _at_kinks(phi, root, radius),
            torch.nn.functional.normalize(noise[:_SEARCHES], dim=1),
        ]
    )
    low, high = (_extreme(score, phi, radius * root, starts, sign) for sign in (-1, 1))
    return Estimate(value, error, low, high)


def _doubtful(phi: Tensor, covariance: Tensor, normalization: str) -> int:
    """Count the bands so close to a kink that they may lie on its other side."""
    variance = covariance.diagonal()
    if normalization == "positive":
        return int((phi.abs() < _CLEAR * variance.sqrt()).sum())
    smallest = int(phi.argmin())
    apart = variance + variance[smallest] - 2 * covariance[smallest]
    return int((phi - phi[smallest] < _CLEAR * apart.clamp(min=0).sqrt()).sum())


def _at_kinks(phi: Tensor, root: Tensor, radius: float) -> Tensor:
    """Return the points of the unit ball where the smallest bands are equal, or 0."""
    points = [phi]
    for order, equal in ((phi.argsort(), True), (phi.abs().argsort(), False)):
        for j in range(1 + equal, len(phi) + equal):
            point = phi.clone()
            point[order[:j]] = phi[order[:j]].mean() if equal else 0.0
            points.append(point)
    offsets = (torch.stack(points) - phi) @ torch.linalg.pinv(root).T / radius
    inside: Tensor = offsets[offsets.norm(dim=1) <= 1]
    return inside


def _extreme(score: Score, phi: Tensor, root: Tensor, starts: Tensor, sign: int) -> float:
    """Follow the gradient inside the unit ball, from all starts at once, to the extreme score."""
    best, u = -math.inf, starts
    for step in range(_STEPS):
        u = u.detach().requires_grad_()
        values = sign * score(phi + u @ root.T)  # (starts,)
        finite = values.detach()[values.detach().isfinite()]
        best = max(best, float(finite.max()) if len(finite) else best)
        (gradient,) = torch.autograd.grad(values.nan_to_num().sum(), u)
        length = 1.0 if step == 0 else 0.5 * (1 - step / _STEPS)
        u = u.detach() + length * torch.nn.functional.normalize(gradient.nan_to_num(), dim=1)
        u = u / u.norm(dim=1, keepdim=True).clamp(min=1)
    return sign * best


def _chi_squared(degrees: int) -> float:
    """Return the 95 % quantile, to 1 % (Wilson and Hilferty), exactly for one degree."""
    if degrees == 1:
        return NormalDist().inv_cdf(0.975) ** 2
    part = 2 / (9 * degrees)
    return degrees * float((1 - part + NormalDist().inv_cdf(0.95) * math.sqrt(part)) ** 3)
