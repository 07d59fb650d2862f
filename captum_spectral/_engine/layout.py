"""Signals as rows of memory, in the order in which the caller's tensors lie."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Layout"]


class Layout(NamedTuple):
    """How one signal lies in memory.

    Mixing bands is the same for every element, so it can be done on flat rows in any order. Taking
    the order of the caller's input gives the model channels_last signals for channels_last inputs
    without a copy.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]  # the dims of the signal, from the slowest to the fastest in memory

    @classmethod
    def of(cls, x: Tensor) -> Layout:
        """The layout of the signals in ``x (B, *signal)``: contiguous or channels_last."""
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        dims = tuple(range(x.dim() - 1))
        if (
            x.dim() in formats
            and not x.is_contiguous()
            and x.is_contiguous(memory_format=formats[x.dim()])
        ):
            dims = (*dims[1:], 0)
        return cls(tuple(x.shape[1:]), dims)

    @property
    def size(self) -> int:
        """Elements of a signal."""
        return torch.Size(self.shape).numel()

    def unflatten(self, rows: Tensor) -> Tensor:
        """``(n, size)`` as signals ``(n, *signal)``, a view."""
        dims = rows.reshape(len(rows), *(self.shape[d] for d in self.order))
        return dims.permute(0, *(1 + self.order.index(d) for d in range(len(self.order))))
