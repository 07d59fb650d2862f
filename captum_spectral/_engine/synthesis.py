"""Coalition signals as sums of the parts of their players.

The Fourier transform is linear, so with the differences ``d_i = x_i - b_i`` of the bands of input
and baseline, the signal of a coalition is ``x_S = b + sum_{i in S} d_i``: no transform per
coalition. Signals are flat rows here; their shape does not matter.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from captum_spectral._arguments import warn
from captum_spectral._engine.memory import is_out_of_memory
from captum_spectral.features.products import reduced_products

__all__ = ["synthesize", "synthesize_rows"]


def synthesize(signals: Tensor, coalitions: Tensor, out: Tensor) -> None:
    """Write ``out[b, k] = baseline[b] + sum of differences[b, i] over the bands i in coalition k``.

    On CUDA one kernel reads the bands and writes every row once; elsewhere, and for what the kernel
    does not do, it is a matrix product per example. Both give the same numbers, to rounding.

    Args:
        signals: ``(b, 1 + P, D)``, the baseline and then the bands of input less baseline.
        coalitions: Boolean ``(k, P)``, shared by all examples, or ``(b, k, P)``.
        out: ``(b, k, D)`` in the dtype of the model's input, with any strides over b and k.

    Cost: no model rows, and no memory unless ``out`` has another dtype than ``signals``.
    """
    if _kernel_can_do(signals, out) and _by_kernel(signals, coalitions, out):
        return
    weights = _with_baseline(coalitions.to(signals.dtype))
    for b, (bands, rows) in enumerate(zip(signals, out, strict=True)):
        own = weights if weights.dim() == 2 else weights[b]
        if rows.dtype is bands.dtype and not reduced_products(bands.dtype):
            with torch.autocast(bands.device.type, enabled=False):
                torch.mm(own, bands, out=rows)
        else:
            rows.copy_(_product(own, bands))


def _kernel_can_do(signals: Tensor, out: Tensor) -> bool:
    dtypes = (torch.float32, torch.float16, torch.bfloat16)
    coalitions_fit = signals.shape[1] - 1 <= 63  # in the bits of an int64, less the sign
    return out.is_cuda and signals.dtype is torch.float32 and out.dtype in dtypes and coalitions_fit


_kernel: Callable[[Tensor, Tensor, Tensor], None] | None = None
_kernel_fails = False


def _by_kernel(signals: Tensor, coalitions: Tensor, out: Tensor) -> bool:
    """Try the kernel and say whether it did it; it needs Triton and a compiler."""
    global _kernel, _kernel_fails
    if _kernel_fails:
        return False
    try:
        if _kernel is None:  # Triton looks for drivers and compilers: only where it is needed
            from captum_spectral._engine import synthesis_kernel

            _kernel = synthesis_kernel.synthesize
        _kernel(signals, coalitions, out)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        _kernel_fails = True
        if not isinstance(error, ImportError):  # Triton is not part of every build of PyTorch
            warn(
                f"the Triton kernel cannot be used here ({type(error).__name__}: {error}); a "
                "matrix product gives the same signals, more slowly"
            )
    return not _kernel_fails


def synthesize_rows(signals: Tensor, weights: Tensor, examples: Tensor) -> Tensor:
    """Make the signals of rows with real weights, differentiable in them.

    Row ``r`` is ``baseline[e] + sum_i weights[r, i] * differences[e, i]`` with ``e = examples[r]``.
    Rows are grouped by example, so that each group is one product with the bands of its example and
    autograd keeps no copy of the bands per row.

    Args:
        signals: ``(B, 1 + P, D)``, the baseline and then the bands of input less baseline.
        weights: ``(R, P)``.
        examples: ``(R,)`` int64.

    Returns:
        ``(R, D)`` in the dtype of ``signals``.

    Cost: no model rows; memory of the result.
    """
    order = examples.argsort(stable=True)
    met, counts = examples.unique(return_counts=True)
    weights = _with_baseline(weights.to(signals.dtype))
    groups = zip(met.tolist(), weights[order].split(counts.tolist()), strict=True)
    mixed = torch.cat([_product(w, signals[e]) for e, w in groups])
    return mixed[order.argsort()]


def _with_baseline(weights: Tensor) -> Tensor:
    """Put a weight of 1 for the baseline before the weights of the parts."""
    return torch.nn.functional.pad(weights, (1, 0), value=1.0)


def _product(weights: Tensor, bands: Tensor) -> Tensor:
    """Compute ``weights @ bands`` at full precision, whatever the caller allows elsewhere.

    Autocast and reduced-precision float32 products (TF32, bfloat16) are settings for the network;
    applied here they would change what the network is shown by 1e-3.
    """
    if reduced_products(bands.dtype):
        return _sum_of_bands(weights, bands)
    with torch.autocast(bands.device.type, enabled=False):
        return weights @ bands


def _sum_of_bands(weights: Tensor, bands: Tensor) -> Tensor:
    """Compute the product as a sum over bands: slower, but no switch reaches it."""
    terms = (weights[:, i, None] * bands[i] for i in range(len(bands)))
    return sum(terms, start=bands.new_zeros(len(weights), bands.shape[1]))
