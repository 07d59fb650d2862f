"""Recognise that memory ran out, on any device, and give it back."""

from __future__ import annotations

import gc

import torch

__all__ = ["is_out_of_memory", "release", "what_it_said"]

# What PyTorch raises as a plain RuntimeError when an allocation fails.
_SIGNS = (
    "can't allocate memory",  # the CPU allocator
    "not enough memory: you tried to allocate",  # the same on Windows
    "out of memory",  # CUDA, MPS, XPU drivers
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
    "std::bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error tells that an allocation failed, so that fewer rows may work."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def release(device: torch.device) -> None:
    """Give back what nothing uses any more, also what the caching allocator keeps."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def what_it_said(error: BaseException) -> str:
    """Return the allocator's own words, with the amount, without PyTorch's advice and stack."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    amounts = [line for line in lines if "ried to allocate" in line]  # not "Caught ... in replica"
    text = (amounts or lines or [type(error).__name__])[0]
    return text.split(" See documentation")[0].split(" If reserved but unallocated")[0]
