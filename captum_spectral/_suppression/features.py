"""The features that can be suppressed, from masks as users give them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from captum_spectral._arguments import format_spectral_dims
from captum_spectral._feature_mask import format_feature_masks
from captum_spectral._suppression.samples import Pixels, SuppressedBands

__all__ = ["features"]


def features(
    domain: str,
    inputs: tuple[Tensor, ...],
    baselines: tuple[Tensor, ...],
    feature_mask: Tensor | tuple[Tensor, ...] | None,
    num_bands: int | None,
    spectral_dims: int | tuple[int, ...] | None,
) -> tuple[Pixels | SuppressedBands, ...]:
    """What makes the samples of each input."""
    if domain == "frequency":
        dims = format_spectral_dims((-2, -1) if spectral_dims is None else spectral_dims, inputs)
        masks = format_feature_masks(
            feature_mask, inputs, dims, 8 if num_bands is None else num_bands
        )
        return tuple(map(SuppressedBands, inputs, baselines, masks, dims))
    if domain != "pixel":
        raise ValueError(f"domain must be 'pixel' or 'frequency', got {domain!r}")
    for name, value in (("num_bands", num_bands), ("spectral_dims", spectral_dims)):
        if value is not None:
            raise ValueError(
                f"{name}={value!r} is for the suppression of frequency bands; add "
                "domain='frequency', or give pixel groups as feature_mask"
            )
    ids = _every_pixel(inputs) if feature_mask is None else _groups(feature_mask, inputs)
    return tuple(map(Pixels, inputs, baselines, ids))


def _every_pixel(inputs: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """An id for every pixel of every input, shared by the channels."""
    first = 0
    for x in inputs:
        sizes = [1, 1, *x.shape[2:]] if x.dim() > 2 else [1, x.shape[1]]
        count = torch.Size(sizes).numel()
        yield torch.arange(first, first + count, device="cpu").reshape(sizes)
        first += count


def _groups(
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
