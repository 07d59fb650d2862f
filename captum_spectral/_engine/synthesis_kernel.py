"""The CUDA kernel behind :func:`captum_spectral._engine.synthesis.synthesize`, in Triton.

A program makes a block of ``ROWS`` coalitions by ``BLOCK`` elements of one example: it keeps the
sums in registers, reads the baseline and each band of its elements once, and writes every row once,
in the dtype of the model. A coalition is a bit mask. With ``TRITON_INTERPRET=1`` in the environment
the same code runs on the CPU, which is how it is tested without a GPU.
"""

# No "from __future__ import annotations": older interpreters must see tl.constexpr, not its name.

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["as_bits", "synthesize"]

# What the tuner chooses from: coalitions and elements per program, and its warps.
BLOCKS = [
    triton.Config({"ROWS": rows, "BLOCK": block}, num_warps=warps)
    for rows, block, warps in [
        (8, 256, 4),
        (8, 512, 4),
        (8, 1024, 8),
        (16, 128, 4),
        (16, 256, 4),
        (16, 512, 8),
        (32, 128, 4),
        (32, 256, 8),
    ]
]
# These change from chunk to chunk; a version compiled for 1 or for multiples of 16 gains nothing.
# Not so the strides: where they are multiples of 16, four elements are stored at once.
CHANGING = ["num_examples", "num_coalitions", "codes_per_example", "size_class"]
INTERPRETER_BLOCKS = {"ROWS": 8, "BLOCK": 256}  # there is nothing to tune, and no device to time


def synthesize(signals: Tensor, coalitions: Tensor, out: Tensor) -> None:
    """Do what ``synthesis.synthesize`` does, for float32 signals of up to 63 parts."""
    num_examples, num_signals, num_elements = signals.shape
    num_coalitions = coalitions.shape[-2]
    codes = as_bits(coalitions)
    arguments = (
        out,
        signals,
        codes,
        num_examples,
        num_coalitions,
        num_elements,
        out.stride(0),
        out.stride(1),
        signals.stride(0),
        signals.stride(1),
        codes.stride(0) if codes.dim() == 2 else 0,
        min(num_coalitions, 64).bit_length(),
    )

    def grid(blocks: dict[str, int]) -> tuple[int]:
        tiles = num_examples * triton.cdiv(num_coalitions, blocks["ROWS"])
        return (tiles * triton.cdiv(num_elements, blocks["BLOCK"]),)

    if INTERPRETED:
        _kernel.fn[grid(INTERPRETER_BLOCKS)](
            *arguments, NUM_BANDS=num_signals - 1, **INTERPRETER_BLOCKS
        )
    else:
        with torch.cuda.device(out.device):
            # A multiplication by 0 or 1 is exact, so fused or not the sums are the same.
            _kernel[grid](*arguments, NUM_BANDS=num_signals - 1, enable_fp_fusion=True)


def as_bits(coalitions: Tensor) -> Tensor:
    """Pack booleans ``(..., P)`` into int64 ``(...)`` with bit i for band i."""
    places = torch.arange(coalitions.shape[-1], device=coalitions.device)
    return (coalitions.long() << places).sum(-1)


@triton.autotune(configs=BLOCKS, key=["NUM_BANDS", "num_elements", "size_class"])  # type: ignore[untyped-decorator]
@triton.jit(do_not_specialize=CHANGING)  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    out,
    signals,
    codes,
    num_examples,
    num_coalitions,
    num_elements,
    out_per_example,
    out_per_coalition,
    signals_per_example,
    signals_per_band,
    codes_per_example,
    size_class,
    NUM_BANDS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # Neighbouring programs share their elements, so that bands come from the cache.
    tiles_per_example = tl.cdiv(num_coalitions, ROWS)
    tiles = num_examples * tiles_per_example
    tile = tl.program_id(0) % tiles
    elements = (tl.program_id(0) // tiles) * BLOCK + tl.arange(0, BLOCK)
    example = (tile // tiles_per_example).to(tl.int64)
    rows = (tile % tiles_per_example) * ROWS + tl.arange(0, ROWS)
    exists = elements < num_elements
    asked = rows < num_coalitions

    bits = tl.load(codes + example * codes_per_example + rows, mask=asked, other=0)
    signal_at = signals + example * signals_per_example + elements
    baseline = tl.load(signal_at, mask=exists, other=0.0)
    sums = tl.zeros((ROWS, BLOCK), tl.float32) + baseline[None, :]
    for i in tl.static_range(NUM_BANDS):
        signal_at += signals_per_band
        band = tl.load(signal_at, mask=exists, other=0.0)
        sums += ((bits >> i) & 1).to(tl.float32)[:, None] * band[None, :]
    row_at = out + example * out_per_example + rows.to(tl.int64) * out_per_coalition
    tl.store(
        row_at[:, None] + elements[None, :],
        sums.to(out.dtype.element_ty),
        mask=asked[:, None] & exists[None, :],
    )


INTERPRETED = not isinstance(_kernel.fn, triton.runtime.JITFunction)
