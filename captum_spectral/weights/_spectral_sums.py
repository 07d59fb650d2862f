"""Sums of a function over singular values that autograd differentiates twice, at ties too.

For F = sum_k f(s_k) with M = U^H E V and M+-, its Hermitian and skew part,

    gradient      U f'(S) V^H
    Hessian . E   U [ f'[s_i, s_k] o M+  +  (f'(s_i) + f'(s_k)) / (s_i + s_k) o M- ] V^H
                  + (1 - U U^H) E V (f'/s) V^H  +  U (f'/s) U^H E (1 - V V^H)

where f'[x, y] is the divided difference of f', f'' at ties. The singular vectors themselves, whose
derivatives blow up at ties, are never differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["INVERSE", "LOGARITHM", "ONE", "Slope", "power", "spectral_sum"]


class Slope(NamedTuple):
    """The derivative f' of a function of singular values.

    Args:
        of: f'(s) for s > 0.
        between: Its divided difference ``(x, y)`` for x, y > 0, without cancellation at x = y.
        at_zero: The limit of f'(s) / s at 0, which is f''(0); 0 where there is none, so that the
            derivatives are those among matrices of the same rank.
        keeps_zeros: Whether a value that is 0 to within rounding has derivatives by ``of``.
    """

    of: Callable[[Tensor], Tensor]
    between: Callable[[Tensor, Tensor], Tensor]
    at_zero: float = 0.0
    keeps_zeros: bool = False


ONE = Slope(torch.ones_like, lambda x, y: torch.zeros_like(x + y))
# At a value that is 0 the logarithm has no derivative: infinite and NaN entries say so.
INVERSE = Slope(torch.reciprocal, lambda x, y: -1 / (x * y), keeps_zeros=True)
LOGARITHM = Slope(lambda s: s.log() + 1, lambda x, y: _log_ratio(x, y))


def power(q: float) -> Slope:
    """Return the slope of s^q, q >= 1."""

    def between(x: Tensor, y: Tensor) -> Tensor:
        low, step = torch.minimum(x, y), (x - y).abs() / torch.minimum(x, y)
        growth = torch.expm1((q - 1) * torch.log1p(step)) / torch.where(step == 0, 1, step)
        return q * low ** (q - 2) * torch.where(step == 0, q - 1, growth)

    return Slope(lambda s: q * s ** (q - 1), between, at_zero=2.0 if q == 2 else 0.0)


def spectral_sum(weight: Tensor, value: Callable[[Tensor], Tensor], slope: Slope) -> Tensor:
    """Compute sum_k f(s_k), ``(...)``, of ``(..., m, n)``; ``value`` is f."""
    found: Tensor = _Sum.apply(weight, value, slope)
    return found


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, value: Any, slope: Slope) -> Tensor:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        right = right.mH
        ctx.save_for_backward(weight, left, values, right)
        ctx.slope = slope
        found: Tensor = value(values).sum(-1)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        gradient = _Gradient.apply(*ctx.saved_tensors, ctx.slope)
        return grad[..., None, None] * gradient, None, None


class _Gradient(torch.autograd.Function):
    """U f'(S) V^H; its derivative along E is the Hessian times E, which is its own adjoint."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, left: Tensor, values: Tensor, right: Tensor, slope: Slope
    ) -> Tensor:
        ctx.save_for_backward(left, values, right)
        ctx.slope = slope
        first, _ = _firsts(values, slope, left, right)
        return (left * first[..., None, :]) @ right.mH

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, None, None, None, None]:
        left, values, right = ctx.saved_tensors
        return _product(direction, left, values, right, ctx.slope), None, None, None, None


def _firsts(values: Tensor, slope: Slope, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return f'(s), 0 for values that are 0, and which they are."""
    if slope.keeps_zeros:
        return slope.of(values), torch.zeros_like(values, dtype=torch.bool)
    precision = max(left.shape[-2], right.shape[-2]) * torch.finfo(values.dtype).eps
    zero = values <= precision * values[..., :1]
    return torch.where(zero, 0, slope.of(torch.where(zero, 1, values))), zero


def _product(e: Tensor, left: Tensor, values: Tensor, right: Tensor, slope: Slope) -> Tensor:
    """Return the Hessian times E, ``(..., m, n)``."""
    first, zero = _firsts(values, slope, left, right)
    safe = torch.where(zero, 1, values)
    # f'(s) / s, and the same of pairs: between a value and a zero both are f'(s) / s.
    over = torch.where(zero, slope.at_zero, first / safe)
    both, either = zero[..., :, None] & zero[..., None, :], zero[..., :, None] | zero[..., None, :]
    x, y = values[..., :, None], values[..., None, :]
    sums = torch.where(both, 1, x + y)
    odd = torch.where(both, slope.at_zero, (first[..., :, None] + first[..., None, :]) / sums)
    even = slope.between(safe[..., :, None], safe[..., None, :])
    even = torch.where(either, odd, even)

    mapped = e @ right
    within = left.mH @ mapped
    hermitian, skew = (within + within.mH) / 2, (within - within.mH) / 2
    found = left @ (even * hermitian + odd * skew) @ right.mH
    if left.shape[-2] > left.shape[-1]:
        found = found + ((mapped - left @ within) * over[..., None, :]) @ right.mH
    if right.shape[-2] > right.shape[-1]:
        beyond = left.mH @ e - within @ right.mH
        found = found + (left * over[..., None, :]) @ beyond
    return found


def _log_ratio(x: Tensor, y: Tensor) -> Tensor:
    """Return (log x - log y) / (x - y)."""
    low, step = torch.minimum(x, y), (x - y).abs() / torch.minimum(x, y)
    return torch.where(step == 0, 1, torch.log1p(step) / torch.where(step == 0, 1, step)) / low
