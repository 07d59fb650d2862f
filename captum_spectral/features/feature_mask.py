"""Integer ids as users give them: checked, and brought to the rank of their input."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["check_ids", "place_ids", "single_masks"]


def single_masks(
    feature_mask: Tensor | tuple[Tensor, ...], num_inputs: int
) -> tuple[tuple[Tensor, str], ...]:
    """Return the mask of each input, and what to call it in an error."""
    masks = feature_mask if isinstance(feature_mask, tuple) else (feature_mask,)
    if len(masks) != num_inputs:
        raise ValueError(
            f"feature_mask must have one mask per input: got {len(masks)} for {num_inputs} inputs"
        )
    if not isinstance(feature_mask, tuple):
        return ((feature_mask, "feature_mask"),)
    return tuple((mask, f"feature_mask[{i}]") for i, mask in enumerate(masks))


def check_ids(mask: Tensor, name: str, what: str = "ids of features") -> None:
    """Check that a mask holds integer ids from 0 on.

    Raises:
        TypeError: It is no tensor, or not of integers.
        ValueError: It is empty, or an id is negative.
    """
    if not isinstance(mask, Tensor):
        remedy = "; use torch.from_numpy(mask)" if isinstance(mask, np.ndarray) else ""
        raise TypeError(f"{name} must be a torch.Tensor, got {type(mask).__name__}{remedy}")
    if mask.dtype.is_floating_point or mask.dtype.is_complex or mask.dtype is torch.bool:
        raise TypeError(
            f"{name} must hold integer {what}, got dtype {mask.dtype}; "
            "use mask.long() if its values are whole numbers"
        )
    if mask.numel() == 0:
        raise ValueError(f"{name} is empty (shape {tuple(mask.shape)})")
    lowest = int(mask.long().min())  # unsigned ones have no minimum
    if lowest < 0:
        raise ValueError(f"{name} holds the negative id {lowest}; ids must be 0..M-1")


def place_ids(mask: Tensor, x: Tensor) -> Tensor | None:
    """Give a mask that broadcasts to ``x`` the rank of ``x``; None if it does not."""
    pairs = zip(reversed(mask.shape), reversed(x.shape), strict=False)
    if mask.dim() > x.dim() or not all(m in (1, n) for m, n in pairs):
        return None
    rank = [1] * (x.dim() - mask.dim()) + list(mask.shape)
    return mask.detach().to(x.device, torch.int64).reshape(rank)
