"""Products with the matrix of a transform, at full precision."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["apply_along", "reduced_products"]


def apply_along(matrix: Tensor, x: Tensor, dim: int) -> Tensor:
    """Multiply every line of ``x`` along a dim by a matrix, in the dtype of ``x``.

    Autocast and reduced-precision float32 products (TF32, bfloat16) are settings for the network;
    applied here they would change what the network is shown by 1e-3.

    Args:
        matrix: ``(m, n)`` float64, on the CPU.
        x: With size ``n`` in ``dim``, in float32 or float64.
        dim: Which.

    Returns:
        With size ``m`` in ``dim``; differentiable in ``x``.
    """
    exact = x.double() if reduced_products(x.dtype) and x.device.type != "mps" else x
    with torch.autocast(x.device.type, enabled=False):
        product = exact.movedim(dim, -1) @ matrix.to(exact.device, exact.dtype).T
    return product.movedim(-1, dim).to(x.dtype)


def reduced_products(dtype: torch.dtype) -> bool:
    """Return whether products of a dtype may be computed with fewer digits than it has."""
    if dtype is not torch.float32:
        return False
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # set per backend through the newer switches: assume the worst
        return True
