"""Coalition signals from band signals.

The Fourier transform is linear, so with the differences ``d_i = x_i - b_i`` of the bands of input
and baseline, the signal of a coalition is ``x_S = b + sum_{i in S} d_i``: no transform per
coalition, one matrix product for all of them. Weights between 0 and 1 are allowed and give a
gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["synthesize", "synthesize_rows"]


def synthesize(baseline: Tensor, differences: Tensor, weights: Tensor) -> Tensor:
    """Signals of coalitions: ``x[k, b] = baseline[b] + sum_i weights[k, i] * differences[i, b]``.

    Args:
        baseline: ``(B or 1, *signal)``.
        differences: ``(M, B, *signal)``, bands of input less baseline.
        weights: ``(K, M)``, shared by all examples, or ``(B, K, M)``, each example its own.

    Returns:
        ``(K, B, *signal)`` in the dtype of ``differences``.

    Cost: no model rows; one matrix product, memory of the result.
    """
    num_bands, num_examples, *signal = differences.shape
    if weights.dim() == 2:
        mixed = _product(weights, differences.reshape(num_bands, -1))
    else:
        mixed = _product(weights, differences.flatten(2).transpose(0, 1)).transpose(0, 1)
    return mixed.reshape(-1, num_examples, *signal) + baseline


def synthesize_rows(
    baseline: Tensor, differences: Tensor, weights: Tensor, examples: Tensor
) -> Tensor:
    """Signals of rows that belong to examples: row ``r`` to example ``examples[r]``.

    Rows are grouped by example, so that each group is one product with the bands of its example and
    autograd keeps no copy of the bands per row.

    Args:
        baseline: ``(B or 1, *signal)``.
        differences: ``(M, B, *signal)``.
        weights: ``(R, M)``.
        examples: ``(R,)`` int64.

    Returns:
        ``(R, *signal)`` in the dtype of ``differences``.

    Cost: no model rows; memory of the result.
    """
    order = examples.argsort(stable=True)
    met, counts = examples.unique(return_counts=True)
    groups = zip(met.tolist(), weights[order].split(counts.tolist()), strict=True)
    mixed = torch.cat([_product(w, differences[:, e].flatten(1)) for e, w in groups])
    rows = mixed[order.argsort()].reshape(-1, *differences.shape[2:])
    return rows + (baseline if len(baseline) == 1 else baseline[examples])


def _product(weights: Tensor, bands: Tensor) -> Tensor:
    """Matrix product at the full precision of ``bands``, whatever the caller allows elsewhere.

    Autocast and reduced-precision float32 products (TF32, bfloat16) are settings for the network;
    applied here they would change what the network is shown by 1e-3.
    """
    dtype = bands.dtype
    if dtype is torch.float32 and _reduced_float32_products():
        dtype = torch.float64
    with torch.autocast(bands.device.type, enabled=False):
        return (weights.to(dtype) @ bands.to(dtype)).to(bands.dtype)


def _reduced_float32_products() -> bool:
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # set per backend through the newer switches: assume the worst
        return True
