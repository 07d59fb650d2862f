"""Integer ids as users give them, checked; the players of several inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral._arguments import warn
from captum_spectral.features.features import Features

__all__ = ["assign", "check_ids", "paint_ids", "place_ids", "single_masks"]


def assign(
    features: Features | tuple[Features, ...], inputs: tuple[Tensor, ...]
) -> tuple[tuple[Features, ...], tuple[Tensor, ...]]:
    """Say which features each input has, and which player each of their places is.

    Args:
        features: One for all inputs, whose players are then each input's own; or a tuple with one
            for each, where the same id in two inputs is one player.
        inputs: ``(B, *signal)`` each.

    Returns:
        For each input its features, and int64 ids ``(B or 1, ...)``.

    Warns:
        UserWarning: Ids are missing between 0 and the largest one.
    """
    each = features if isinstance(features, tuple) else (features,) * len(inputs)
    if len(each) != len(inputs):
        raise ValueError(
            f"features must be one for all inputs or one per input: got {len(each)} for "
            f"{len(inputs)} inputs"
        )
    ids: list[Tensor] = []
    first = 0
    for i, (member, x) in enumerate(zip(each, inputs, strict=True)):
        if not isinstance(member, Features):
            raise TypeError(
                "features must be a captum_spectral.features.Features, such as FourierBands() or "
                f"Pixels(), or a tuple of them, got {type(member).__name__}"
            )
        own = member.ids(x)
        check_ids(own, f"the ids of features[{i}]")
        ids.append(own.to(x.device, torch.int64) + first)
        if not isinstance(features, tuple):
            first = int(ids[-1].max()) + 1
    present = torch.cat([own.unique().cpu() for own in ids]).unique()
    missing = int(present[-1]) + 1 - len(present)
    if missing:
        warn(
            f"feature_mask is missing {missing} of the integers between 0 and {int(present[-1])}; "
            "bands that hold no frequency get the attribution 0"
        )
    return each, tuple(ids)


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


def check_ids(mask: Tensor, name: str, of: str = "features") -> None:
    """Check that a mask holds integer ids from 0 on.

    Raises:
        TypeError: It is no tensor, or not of integers.
        ValueError: It is empty, or an id is negative.
    """
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(mask).__name__}")
    if mask.dtype.is_floating_point or mask.dtype.is_complex or mask.dtype is torch.bool:
        raise TypeError(
            f"{name} must hold integer ids of {of}, got dtype {mask.dtype}; "
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


def paint_ids(values: Tensor, ids: Tensor, shape: torch.Size) -> Tensor:
    """Give every place the value of its player.

    Args:
        values: ``(B or 1, *outputs, M)``.
        ids: ``(B or 1, ...)``, broadcastable to ``shape``.
        shape: ``(B, *signal)``.

    Returns:
        ``(B, *outputs, *signal)`` contiguous; first dim 1 where values and ids have it.
    """
    examples = max(len(values), len(ids))
    outputs = values.shape[1:-1]
    flat = values.expand(examples, *values.shape[1:]).reshape(examples, -1, values.shape[-1])
    index = ids.to(values.device).expand(examples, *shape[1:]).reshape(examples, 1, -1)
    painted = flat.gather(2, index.expand(-1, flat.shape[1], -1))  # (B, outputs, places)
    return painted.reshape(examples, *outputs, *shape[1:])
