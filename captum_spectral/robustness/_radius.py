"""The normalised radius of every frequency, which filters and cut-offs compare with their edges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["ROUNDING", "radius"]

# Radii this close to an edge are on it. Edges are often sums of steps such as 0.1, and the radii of
# two frequencies differ by more for any signal of less than 30,000 samples a side.
ROUNDING = 1e-9


def radius(sizes: Sequence[int]) -> Tensor:
    """Return ``max_d 2 |k_d| / n_d`` over the plane of ``torch.fft.fftn``, ``(*sizes)`` float64.

    0 is the mean and 1 the Nyquist frequency along an axis; sides of odd length do not reach 1.
    """
    axes = [2 * torch.fft.fftfreq(n, dtype=torch.float64, device="cpu").abs() for n in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).amax(0)
