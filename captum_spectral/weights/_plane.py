"""Frequencies of a grid as integers, and the matrix of a convolution at each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from captum_spectral.weights._matrices import unit_of

__all__ = [
    "all_indices",
    "blocks_of",
    "from_half",
    "half_plane",
    "largest",
    "norms",
    "power_of",
    "singular",
    "transfer",
]

_ENTRIES = 2**22  # complex numbers of matrices that are held at a time, 32 MiB in float32


def all_indices(sizes: Sequence[int]) -> Tensor:
    """Return all bins of a grid, ``(F, D)`` int64 on the CPU, the last dim running fastest."""
    axes = [torch.arange(n, device="cpu") for n in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(sizes))


def half_plane(sizes: Sequence[int]) -> Tensor:
    """Return the bins ``(F, D)`` whose negatives are all others: half of the last dim."""
    return all_indices([*sizes[:-1], sizes[-1] // 2 + 1])


def from_half(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Spread values ``(F, ...)`` of :func:`half_plane`, equal at k and -k, over ``(*sizes, ...)``.

    Args:
        values: One entry for each bin of the half plane.
        sizes: Of the grid.
    """
    index = all_indices(sizes)
    beyond = index[:, -1] > sizes[-1] // 2
    index[beyond] = -index[beyond] % torch.tensor(list(sizes), device="cpu")
    place = torch.zeros(len(index), dtype=torch.int64, device="cpu")
    for d, n in enumerate([*sizes[:-1], sizes[-1] // 2 + 1]):
        place = place * n + index[:, d]
    return values[place.to(values.device)].reshape(*sizes, *values.shape[1:])


def transfer(kernel: Tensor, offsets: Tensor, sizes: Sequence[int], index: Tensor) -> Tensor:
    """Return ``A(w) = sum_a K[a] exp(+j w . offset_a)`` at bins of a grid.

    The sum over taps is written out. A transform of the kernel would need it laid on the grid
    first, where taps beyond its size must be wrapped, and it could not be had for a part of the
    frequencies alone.

    Args:
        kernel: ``(T, G, O, I)``, a matrix for each tap and group.
        offsets: ``(T, D)`` integer places of the taps, on the CPU.
        sizes: Of the grid.
        index: ``(..., D)`` bins, on the CPU.

    Returns:
        ``(..., G, O, I)`` complex.
    """
    turns = torch.zeros(*index.shape[:-1], len(offsets), dtype=torch.float64, device="cpu")
    for d, n in enumerate(sizes):  # whole turns are dropped as integers, so no phase is inexact
        turns += (index[..., d, None] * offsets[:, d] % n).double() / n
    angles = (2 * math.pi * turns).reshape(-1, len(offsets))
    flat = kernel.reshape(len(offsets), -1)
    real, imaginary = (
        wave(angles).to(device=kernel.device, dtype=kernel.dtype) @ flat
        for wave in (torch.cos, torch.sin)
    )
    return torch.complex(real, imaginary).reshape(*index.shape[:-1], *kernel.shape[1:])


def blocks_of(count: int, entries: int) -> Iterator[slice]:
    """Yield slices of ``count`` matrices of so many entries that fit in memory together."""
    step = max(1, _ENTRIES // max(entries, 1))
    yield from (slice(start, start + step) for start in range(0, count, step))


def largest(matrices: Tensor) -> Tensor:
    """Return the largest singular value of matrices ``(..., m, n)``, differentiable.

    Without gradients by the eigenvalues of the smaller Gram matrix, which is exact for the largest
    value to rounding, and faster; with them by the singular values, whose gradient is finite at 0.
    """
    m, n = matrices.shape[-2:]
    if min(m, n) == 1:
        return norms(matrices, (-2, -1))
    if matrices.requires_grad and torch.is_grad_enabled():
        return singular(matrices)[..., 0]
    # Squares of numbers beyond 1e19 would overflow in float32.
    scale = matrices.abs().amax().clamp(min=torch.finfo(matrices.real.dtype).tiny)
    a = matrices / scale
    gram = a @ a.mH if m <= n else a.mH @ a
    found: Tensor = torch.linalg.eigvalsh(gram)[..., -1].clamp(min=0).sqrt() * scale
    return found


def norms(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the root of the sum of squares over dims, none of which overflows or is lost."""
    parts = torch.view_as_real(x.detach()) if x.is_complex() else x.detach()
    unit = unit_of(parts.abs().amax())
    found: Tensor = torch.linalg.vector_norm(x / unit, dim=dims) * unit
    return found


def singular(matrices: Tensor) -> Tensor:
    """Return the singular values of matrices ``(..., m, n)``, ``(..., min(m, n))``, descending."""
    if min(matrices.shape[-2:]) == 1:
        return largest(matrices)[..., None]
    values: Tensor = torch.linalg.svdvals(matrices)
    return values


def power_of(power: Tensor | float | None, sizes: tuple[int, ...], like: Tensor) -> Tensor:
    """Return the weight of every frequency of a grid, ``(*sizes)``: given, 1/f^a, or 1 for all.

    Raises:
        TypeError: Power of a wrong kind.
        ValueError: Power that is negative or of another shape.
    """
    if power is None:
        return like.new_ones(sizes)
    if isinstance(power, Tensor):
        if power.dtype.is_complex or tuple(power.shape) != sizes:
            raise ValueError(
                f"power must be real and of the shape of size, {sizes}, got {power.dtype} "
                f"of shape {tuple(power.shape)}"
            )
        if not (torch.isfinite(power).all() and (power >= 0).all() and power.any()):
            raise ValueError(
                "power must be finite, nowhere negative and not all 0, got "
                f"{float(power.min()):.4g} to {float(power.max()):.4g}"
            )
        return power.detach().to(like)
    if isinstance(power, bool) or not isinstance(power, int | float):
        raise TypeError(
            f"power must be None, a tensor or the exponent a of 1/f^a, got {type(power).__name__}"
        )
    if not math.isfinite(power):
        raise ValueError(f"power must be a finite exponent, got {power}")
    squares = torch.zeros((), dtype=torch.float64, device="cpu")
    for d, n in enumerate(sizes):
        axis = torch.fft.fftfreq(n, dtype=torch.float64, device="cpu").square()
        squares = squares + axis.reshape([-1 if i == d else 1 for i in range(len(sizes))])
    weights = torch.where(squares > 0, squares.clamp(min=1e-30) ** (-power / 2), 0.0)
    return weights.to(like)
