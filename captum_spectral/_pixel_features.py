"""Features in the pixel domain: every pixel, or Captum's groups; and which domain is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["check_domain", "every_pixel", "pixel_groups"]


def check_domain(
    domain: str, num_bands: int | None, spectral_dims: int | tuple[int, ...] | None
) -> None:
    """A domain that exists, without the options of the other one."""
    if domain not in ("pixel", "frequency"):
        raise ValueError(f"domain must be 'pixel' or 'frequency', got {domain!r}")
    for name, value in (("num_bands", num_bands), ("spectral_dims", spectral_dims)):
        if domain == "pixel" and value is not None:
            raise ValueError(
                f"{name}={value!r} is for frequency bands; add domain='frequency', or give pixel "
                "groups as feature_mask"
            )


def every_pixel(inputs: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """An id for every pixel of every input, shared by the channels."""
    first = 0
    for x in inputs:
        sizes = [1, 1, *x.shape[2:]] if x.dim() > 2 else [1, x.shape[1]]
        count = torch.Size(sizes).numel()
        yield torch.arange(first, first + count, device="cpu").reshape(sizes)
        first += count


def pixel_groups(
    feature_mask: Tensor | tuple[Tensor, ...], inputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Captum's masks with the rank of their inputs, ids counted from 0 without gaps."""
    masks = feature_mask if isinstance(feature_mask, tuple) else (feature_mask,)
    if len(masks) != len(inputs):
        raise ValueError(
            f"feature_mask must have one mask per input: got {len(masks)} for {len(inputs)} inputs"
        )
    placed = []
    for i, (mask, x) in enumerate(zip(masks, inputs, strict=True)):
        which = f"feature_mask[{i}]" if isinstance(feature_mask, tuple) else "feature_mask"
        if not isinstance(mask, Tensor):
            raise TypeError(f"{which} must be a torch.Tensor, got {type(mask).__name__}")
        if mask.dtype.is_floating_point or mask.dtype.is_complex or mask.dtype is torch.bool:
            raise TypeError(
                f"{which} must hold integer ids of pixel groups, got dtype {mask.dtype}; use "
                "mask.long() if its values are whole numbers"
            )
        pairs = zip(reversed(mask.shape), reversed(x.shape), strict=False)
        if mask.dim() > x.dim() or not all(m in (1, n) for m, n in pairs):
            raise ValueError(
                f"{which} of shape {tuple(mask.shape)} does not broadcast to the input of shape "
                f"{tuple(x.shape)}"
            )
        if int(mask.min()) < 0:
            raise ValueError(f"{which} holds the negative id {int(mask.min())}; ids must be 0..F-1")
        rank = [1] * (x.dim() - mask.dim()) + list(mask.shape)
        placed.append(mask.detach().to("cpu", torch.int64).reshape(rank))
    ids = torch.cat([mask.flatten() for mask in placed]).unique()
    return tuple(torch.searchsorted(ids, mask) for mask in placed)
