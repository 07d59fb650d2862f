"""Pixels, and groups of them, as players."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral.features.feature_mask import check_ids, place_ids, single_masks
from captum_spectral.features.features import Features

__all__ = ["Pixels", "pixel_groups"]


class Pixels(Features):
    """Pixels of an input, one by one with all their channels or in groups.

    Args:
        feature_mask: Integer ids of groups, broadcastable to the input, as everywhere in Captum.
            None: every pixel by itself, shared by the channels (dim 1 of inputs with three dims or
            more). Default: None

    Raises:
        TypeError: A mask that is not of integers, when the features meet an input.
        ValueError: A mask that does not broadcast to the input, when the features meet it.

    Example::

        >>> import torch
        >>> from captum_spectral.features import Pixels
        >>> Pixels().ids(torch.rand(5, 3, 2, 4))[0, 0]
        tensor([[0, 1, 2, 3],
                [4, 5, 6, 7]])
    """

    pixelwise = True

    def __init__(self, feature_mask: Tensor | None = None, *, name: str = "feature_mask") -> None:
        self.feature_mask = feature_mask
        self._name = name

    def ids(self, inputs: Tensor) -> Tensor:
        """Return the group of each pixel."""
        mask = self.feature_mask
        if mask is None:
            sizes = [1, 1, *inputs.shape[2:]] if inputs.dim() > 2 else [1, inputs.shape[1]]
            count = torch.Size(sizes).numel()
            return torch.arange(count, device=inputs.device).reshape(sizes)
        check_ids(mask, self._name, what="ids of pixel groups")
        placed = place_ids(mask, inputs)
        if placed is None:
            raise ValueError(
                f"{self._name} of shape {tuple(mask.shape)} does not broadcast to the input of "
                f"shape {tuple(inputs.shape)}"
            )
        return placed

    def transform(self, x: Tensor) -> Tensor:
        """Return the pixels themselves."""
        return x

    def inverse(self, coefficients: Tensor, shape: torch.Size) -> Tensor:
        """Return the pixels themselves."""
        return coefficients


def pixel_groups(
    feature_mask: Tensor | tuple[Tensor, ...], inputs: tuple[Tensor, ...]
) -> tuple[Pixels, ...]:
    """Return the groups of each input's mask, counted anew from 0 without gaps.

    Captum's masks may hold any ids: only which places share one matters.
    """
    masks = single_masks(feature_mask, len(inputs))
    for mask, name in masks:
        check_ids(mask, name, what="ids of pixel groups")
    known = torch.cat([mask.long().flatten().cpu() for mask, _ in masks]).unique()
    return tuple(
        Pixels(torch.searchsorted(known, mask.long().cpu()), name=name) for mask, name in masks
    )
