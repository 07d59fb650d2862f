"""Matrices, directions and indices of singular values, checked before any work."""

from __future__ import annotations

import numbers
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "check_has_values",
    "check_index",
    "format_direction",
    "format_matrix",
    "format_std",
    "unit_of",
]


def format_matrix(weight: object, name: str = "weight") -> Tensor:
    """Check a stack of matrices ``(..., m, n)``; return it in a precision that has an SVD."""
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(weight).__name__}")
    if not (weight.dtype.is_floating_point or weight.dtype.is_complex):
        raise TypeError(
            f"{name} must be floating or complex, got dtype {weight.dtype}; use .float() first"
        )
    if weight.dim() < 2 or weight.numel() == 0:
        raise ValueError(
            f"{name} must be (..., m, n) with at least one entry, got shape {tuple(weight.shape)}"
        )
    _check_finite(weight, name)
    return weight.to(_DTYPES.get(weight.dtype, weight.dtype))


def format_direction(direction: object, weight: Tensor) -> Tensor:
    """Check a direction ``(..., m, n)`` against its matrix; return it in the matrix's dtype."""
    if not isinstance(direction, Tensor):
        raise TypeError(f"direction must be a torch.Tensor, got {type(direction).__name__}")
    if not (direction.dtype.is_floating_point or direction.dtype.is_complex):
        raise TypeError(
            f"direction must be floating or complex, got dtype {direction.dtype}; use .float() "
            "first"
        )
    if direction.dtype.is_complex and not weight.dtype.is_complex:
        raise TypeError(
            f"direction must be real for a real weight, got dtype {direction.dtype}; make the "
            "weight complex to leave the real matrices"
        )
    if direction.shape[-2:] != weight.shape[-2:]:
        raise ValueError(
            f"direction must end in the sizes of weight, {tuple(weight.shape[-2:])}, got shape "
            f"{tuple(direction.shape)}"
        )
    _check_leading(direction, weight, "direction")
    if direction.device != weight.device:
        raise ValueError(f"direction is on {direction.device}, weight on {weight.device}")
    _check_finite(direction, "direction")
    return direction.detach().to(weight.dtype)


def format_std(std: object, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Check standard deviations of the entries: a number, or what broadcasts to the matrix."""
    if isinstance(std, bool) or not isinstance(std, (numbers.Real, Tensor)):
        raise TypeError(f"std must be a number or a torch.Tensor, got {type(std).__name__}")
    if isinstance(std, Tensor) and not std.dtype.is_floating_point:
        raise TypeError(f"std must be a real floating tensor, got dtype {std.dtype}")
    given: Any = std
    tau = torch.as_tensor(given, dtype=dtype, device=weight.device).detach()
    sizes = tuple(weight.shape[-2:])
    own = (1,) * (2 - tau.dim()) + tuple(tau.shape[-2:])
    if any(size not in (1, full) for size, full in zip(own, sizes, strict=True)):
        raise ValueError(
            f"std must be a number or broadcast to weight's {sizes}, got shape {tuple(tau.shape)}"
        )
    _check_leading(tau, weight, "std")
    _check_finite(tau, "std")
    if bool((tau < 0).any()):
        raise ValueError(f"std must not be negative, got {float(tau.min()):.4g}")
    return tau.reshape(*tau.shape[:-2], *own)


def check_index(k: object, count: int) -> int:
    """Check the number of a singular value; return it counted from the largest."""
    if isinstance(k, bool) or not isinstance(k, numbers.Integral):
        raise TypeError(f"k must be an integer, the number of a singular value, got {k!r}")
    if not -count <= int(k) < count:
        raise ValueError(
            f"k must be from 0 to {count - 1}, or negative to count from the smallest, got {k}"
        )
    return int(k) % count


def unit_of(size: Tensor) -> Tensor:
    """Return the power of two at most ``size``, 1 for 0: dividing by it rounds nothing."""
    mantissa = torch.frexp(size).mantissa
    return torch.where(size > 0, size / (2 * mantissa), 1)


def _check_leading(x: Tensor, weight: Tensor, name: str) -> None:
    own, other = x.shape[:-2], weight.shape[:-2]
    pairs = zip(reversed(own), reversed(other), strict=False)  # one may have dims more
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        raise ValueError(
            f"the leading dims of {name}, {tuple(own)}, do not broadcast with those of weight, "
            f"{tuple(other)}"
        )


def check_has_values(x: Tensor, name: str) -> None:
    """Raise for a tensor that has a shape and no values."""
    if x.is_meta:
        raise ValueError(f"{name} is on the meta device, which holds no values; load them first")


def _check_finite(x: Tensor, name: str) -> None:
    check_has_values(x, name)
    finite = torch.isfinite(x.detach())
    if not finite.all():
        raise ValueError(
            f"{name} must be finite: it holds {int((~finite).sum())} NaN or infinite values"
        )


_DTYPES = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.complex32: torch.complex64,
}
