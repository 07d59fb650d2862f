"""Digests of what tensors hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["digest_of"]


def digest_of(tensors: Iterable[Tensor], text: str = "") -> str:
    """A digest of tensors, their shapes and dtypes, and a text.

    Args:
        tensors: On any device.
        text: What else tells one state from another. Default: ""

    Returns:
        32 hexadecimal digits.

    Cost: no model rows.

    Example::

        >>> digest_of([torch.ones(2)]) == digest_of([torch.ones(2, 1)])
        False
    """
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for x in tensors:
        digest.update(f"{tuple(x.shape)} {x.dtype}".encode())
        # As bytes: NumPy has no bfloat16.
        digest.update(x.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
