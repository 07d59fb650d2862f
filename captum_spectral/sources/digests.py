"""Digests of what tensors hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

__all__ = ["digest_of"]

_INDICES = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}


def digest_of(tensors: Iterable[Tensor], text: str = "") -> str:
    """Return a digest of tensors, their shapes and dtypes, and a text.

    Args:
        tensors: On any device, of any layout: strided, conjugated, sparse, quantised, nested or a
            subclass made of such. A tensor whose content cannot be read, such as one on the
            ``meta`` device, counts with its shape and dtype only.
        text: What else tells one state from another. Default: ""

    Returns:
        32 hexadecimal digits.

    Example::

        >>> digest_of([torch.ones(2)]) == digest_of([torch.ones(2, 1)])
        False
    """
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for x in tensors:
        for part in _content(x.detach()):
            digest.update(part)
    return digest.hexdigest()


def _content(x: Tensor) -> Iterator[bytes]:
    """Yield the shape and dtype of a tensor and all that it holds, as bytes."""
    if x.is_nested:
        for each in x.unbind():
            yield from _content(each)
        return
    yield f"{tuple(x.shape)} {x.dtype}".encode()
    try:
        # As bytes: NumPy has no bfloat16.
        parts = [part.reshape(-1).view(torch.uint8).numpy() for part in _parts(x)]
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):  # on no device, opaque
        yield b"unread"
        return
    for part in parts:
        yield part.tobytes()


def _parts(x: Tensor) -> Iterator[Tensor]:
    """Yield strided tensors on the CPU that together say what ``x`` holds."""
    if hasattr(x, "__tensor_flatten__"):  # a subclass that is made of other tensors
        for name in x.__tensor_flatten__()[0]:
            yield from _parts(getattr(x, name))
    elif x.layout is torch.sparse_coo:
        x = x.coalesce()  # sums what is there twice and sorts
        yield from (x.indices().cpu(), *_parts(x.values()))
    elif x.layout in _INDICES:
        yield from (getattr(x, name)().cpu() for name in _INDICES[x.layout])
        yield from _parts(x.values())
    elif x.layout is not torch.strided:
        yield from _parts(x.to_dense())
    elif x.is_quantized:
        yield x.int_repr().cpu()
        if x.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            yield torch.tensor([x.q_scale(), x.q_zero_point()], dtype=torch.float64)
        else:
            yield from (x.q_per_channel_scales().cpu(), x.q_per_channel_zero_points().cpu())
    else:
        yield x.cpu().resolve_conj().resolve_neg()
