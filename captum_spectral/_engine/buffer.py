"""Memory that is used again."""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor

__all__ = ["Buffer"]

ALIGNMENT = 64  # bytes, what PyTorch gives its own tensors


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
        """``(rows, size)``, uninitialised."""
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
