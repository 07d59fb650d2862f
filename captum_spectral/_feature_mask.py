"""Feature masks as users give them, checked and brought into one form."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from captum_spectral.masks import band_mask

__all__ = ["format_feature_masks"]


def format_feature_masks(
    feature_mask: Tensor | tuple[Tensor, ...] | None,
    inputs: tuple[Tensor, ...],
    dims: tuple[tuple[int, ...], ...],
    num_bands: int,
) -> tuple[Tensor, ...]:
    """Masks with the rank of their inputs and whole spectral dims, checked; one per input.

    Args:
        feature_mask: As the user gave it; None builds ``num_bands`` bands for every input, each
            input with ids of its own.
        inputs: The input tensors.
        dims: Transformed dims of each input, non-negative.
        num_bands: Bands per input when ``feature_mask`` is None.

    Returns:
        One int64 mask per input, size 1 or the input's in the dims that are not transformed, on the
        device of the input.
    """
    if feature_mask is None:
        return tuple(
            _place(band_mask([x.shape[d] for d in ds], num_bands), x, ds, "").to(x.device)
            + i * num_bands
            for i, (x, ds) in enumerate(zip(inputs, dims, strict=True))
        )
    masks = feature_mask if isinstance(feature_mask, tuple) else (feature_mask,)
    if len(masks) != len(inputs):
        raise ValueError(
            f"feature_mask must have one mask per input: got {len(masks)} for {len(inputs)} inputs"
        )
    formatted = []
    for i, (mask, x, ds) in enumerate(zip(masks, inputs, dims, strict=True)):
        which = f"[{i}]" if isinstance(feature_mask, tuple) else ""
        _check_ids(mask, which)
        placed = _place(mask.detach().to(x.device, torch.int64), x, ds, which)
        _check_symmetry(placed, ds, which)
        formatted.append(placed)
    present = torch.cat([m.unique().cpu() for m in formatted]).unique()
    missing = int(present[-1]) + 1 - len(present)
    if missing:
        warnings.warn(
            f"feature_mask is missing {missing} of the integers between 0 and {int(present[-1])}; "
            "bands that hold no frequency get the attribution 0",
            stacklevel=4,
        )
    return tuple(formatted)


def _check_ids(mask: Tensor, which: str) -> None:
    if not isinstance(mask, Tensor):
        raise TypeError(f"feature_mask{which} must be a torch.Tensor, got {type(mask).__name__}")
    if mask.dtype.is_floating_point or mask.dtype.is_complex or mask.dtype is torch.bool:
        raise TypeError(
            f"feature_mask{which} must hold integer band ids, got dtype {mask.dtype}; "
            "use mask.long() if its values are whole numbers"
        )
    if mask.numel() == 0:
        raise ValueError(f"feature_mask{which} is empty (shape {tuple(mask.shape)})")
    if int(mask.min()) < 0:
        raise ValueError(
            f"feature_mask{which} holds the negative id {int(mask.min())}; ids must be 0..M-1"
        )


def _place(mask: Tensor, x: Tensor, dims: tuple[int, ...], which: str) -> Tensor:
    """The mask with the rank of ``x``: its own dims where the spectral dims of ``x`` are."""
    spectral = tuple(x.shape[d] for d in dims)
    if tuple(mask.shape) == spectral:
        order = sorted(range(len(dims)), key=lambda j: dims[j])
        sizes = [x.shape[d] if d in dims else 1 for d in range(x.dim())]
        return mask.permute(order).reshape(sizes)
    pairs = zip(reversed(mask.shape), reversed(x.shape), strict=False)
    fits = mask.dim() <= x.dim() and all(m in (1, n) for m, n in pairs)
    if not fits:
        raise ValueError(
            f"feature_mask{which} of shape {tuple(mask.shape)} fits neither the spectral dims "
            f"{spectral} nor, by broadcasting, the input of shape {tuple(x.shape)}"
        )
    mask = mask.reshape([1] * (x.dim() - mask.dim()) + list(mask.shape))
    return mask.expand([x.shape[d] if d in dims else mask.shape[d] for d in range(x.dim())])


def _check_symmetry(mask: Tensor, dims: tuple[int, ...], which: str) -> None:
    mirror = mask.flip(dims).roll([1] * len(dims), dims)
    wrong = (mask != mirror).nonzero()
    if len(wrong) == 0:
        return
    index = wrong[0].tolist()

    def signed(k: int, n: int) -> int:
        return k if 2 * k < n else k - n

    k = tuple(signed(index[d], mask.shape[d]) for d in dims)
    raise ValueError(
        f"feature_mask{which} must give a frequency and its negative the same band, or the bands "
        f"of a real signal are complex: frequency {k} has band {int(mask[tuple(index)])}, "
        f"{tuple(-f for f in k)} has band {int(mirror[tuple(index)])}"
    )
