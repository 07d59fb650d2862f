"""Memory for rows, used again and again; and what to do where it ran out, on any device."""

from __future__ import annotations

import gc
import sys

import numpy as np
import torch
from torch import Tensor

__all__ = ["Buffer", "is_out_of_memory", "release", "what_it_said"]

ALIGNMENT = 64  # bytes, what PyTorch gives its own tensors

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


class Buffer:
    """Rows for the model in the same memory every time, unless somebody still holds the last ones.

    Fresh memory costs a page fault per 4 KiB when it is first written, several times what it takes
    to compute the signals in it. But a model, or a hook on it, may keep the tensor it is given, and
    that must not change under its feet. So the memory belongs to an array whose reference count
    tells whether any tensor still looks at it; then new memory is taken.

    On other devices than the CPU PyTorch's allocator keeps memory for reuse by itself.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory: np.ndarray | None = None
        self._references = 0

    def rows(self, rows: int, size: int, dtype: torch.dtype) -> Tensor:
        """Return ``(rows, size)``, uninitialised."""
        if self._device.type != "cpu":
            return torch.empty(rows, size, dtype=dtype, device=self._device)
        num_bytes = rows * size * dtype.itemsize
        if (
            self._memory is None
            or len(self._memory) < num_bytes
            or sys.getrefcount(self._memory) > self._references
        ):
            self._memory = None  # before the new memory is taken, not after
            memory = np.empty(num_bytes + ALIGNMENT, dtype=np.uint8)
            self._memory = memory[-memory.ctypes.data % ALIGNMENT :]
            self._references = sys.getrefcount(self._memory)
        return torch.from_numpy(self._memory)[:num_bytes].view(dtype).view(rows, size)

    def release(self) -> None:
        """Give the memory back."""
        self._memory = None


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
