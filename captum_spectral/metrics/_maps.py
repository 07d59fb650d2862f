"""Turn attributions into one map of pixels per example, and regions into masks of it."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral._arguments import format_inputs

__all__ = ["format_map", "format_region"]


def format_map(attributions: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Sum all dims between the first and the last two, to ``(B, H, W)`` in at least float32."""
    tensors = format_inputs(attributions, "attributions")
    if len(tensors) > 1 or tensors[0].dim() < 3:
        got = f"a tuple of {len(tensors)}" if len(tensors) > 1 else f"{tuple(tensors[0].shape)}"
        raise ValueError(
            "attributions must be one map for each example, (B, C, H, W) or (B, H, W), or a tuple "
            f"of one such tensor; got {got}"
        )
    (a,) = tensors
    a = a.to(torch.promote_types(a.dtype, torch.float32))
    # (B, C, H, W), with C = 1 for maps without channels, summed over C.
    return a.reshape(len(a), -1, *a.shape[-2:]).sum(1)


def format_region(region: Tensor, like: Tensor) -> Tensor:
    """Return a mask ``(B or 1, H, W)`` for maps ``like (B, H, W)``; raise if one is empty."""
    if not isinstance(region, Tensor):
        raise TypeError(f"region must be a torch.Tensor, got {type(region).__name__}")
    if region.dtype is torch.bool:
        return _mask(region.to(like.device), like)
    if region.dtype.is_floating_point or region.dtype.is_complex:
        raise TypeError(
            "region must be a boolean mask, or boxes (x1, y1, x2, y2) of integers, got dtype "
            f"{region.dtype}; round boxes to pixels, or use mask > 0.5"
        )
    return _boxes(region.to(like.device), like)


def _mask(region: Tensor, like: Tensor) -> Tensor:
    """Check a mask ``(H, W)`` or ``(B, H, W)`` and give it a dim of examples."""
    if region.shape not in (like.shape, like.shape[1:]):
        raise ValueError(
            f"region must be a mask {tuple(like.shape[1:])} or {tuple(like.shape)} as the maps "
            f"are, got shape {tuple(region.shape)}"
        )
    region = region.reshape(-1, *like.shape[1:])  # (B or 1, H, W)
    empty = ~region.flatten(1).any(1)
    if empty.any():
        raise ValueError(
            f"region must hold a pixel of every example: the mask of example "
            f"{int(empty.nonzero()[0])} is empty"
        )
    return region


def _boxes(region: Tensor, like: Tensor) -> Tensor:
    """Check boxes ``(4,)`` or ``(B, 4)`` and draw them as masks."""
    num_examples, height, width = like.shape
    if tuple(region.shape) not in ((4,), (num_examples, 4)):
        raise ValueError(
            f"region must be a box (4,) or boxes ({num_examples}, 4) where it holds integers, got "
            f"shape {tuple(region.shape)}; use mask.bool() for a mask"
        )
    boxes = region.reshape(-1, 4, 1, 1)
    x1, y1, x2, y2 = boxes.unbind(1)  # (B or 1, 1, 1) each, to broadcast over the pixels
    fits = (x1 >= 0) & (x1 < x2) & (x2 <= width) & (y1 >= 0) & (y1 < y2) & (y2 <= height)
    if not fits.all():
        wrong = int((~fits).nonzero()[0, 0])
        raise ValueError(
            f"region must lie in the map and hold a pixel: 0 <= x1 < x2 <= {width} and "
            f"0 <= y1 < y2 <= {height}, got the box (x1, y1, x2, y2) = "
            f"{tuple(boxes[wrong].flatten().tolist())} of example {wrong}"
        )
    # (W,) and (H, 1) against (B or 1, 1, 1) give (B or 1, H, W).
    x = torch.arange(width, device=like.device)
    y = torch.arange(height, device=like.device)[:, None]
    return (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
