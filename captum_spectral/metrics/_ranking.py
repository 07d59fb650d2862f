"""Which features are the most important ones, and how many of them each step changes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["changed_at_steps", "pixel_positions", "positions"]


def positions(scores: Tensor) -> Tensor:
    """The place of every feature in its example's ranking by ``scores (B, G)``, the largest at 0.

    Equal scores keep their order.
    """
    return scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)


def pixel_positions(attributions: Tensor, ids: Tensor) -> tuple[Tensor, int]:
    """The place in the ranking of the feature at each pixel, and how many features there are.

    Features are ranked on the CPU in double precision, so that ties are ties wherever the
    attributions come from.

    Args:
        attributions: ``(B, ...)``, of the rank of the input and broadcastable to it.
        ids: ``(B or 1, ...)`` features of the pixels, of the rank of the input, on the CPU.

    Returns:
        ``(B, ...)`` with the sizes of ``ids`` beyond dim 0.
    """
    ids, num_features = _numbered(ids)
    shape = (len(attributions), *ids.shape[1:])
    full = attributions.to("cpu", torch.float64)
    full = full.expand(torch.broadcast_shapes(full.shape, shape))
    summed = full.sum_to_size(shape).flatten(1)
    index = ids.flatten(1).expand(len(summed), -1)
    zeros = summed.new_zeros(len(summed), num_features)
    sums = zeros.scatter_add(1, index, summed)
    sizes = zeros.scatter_add(1, index, torch.ones_like(summed))
    return positions(sums / sizes).gather(1, index).reshape(shape), num_features


def _numbered(ids: Tensor) -> tuple[Tensor, int]:
    """The ids of every example counted from 0 without gaps, and how many there are."""
    numbered = [row.unique(return_inverse=True) for row in ids]
    sizes = [len(present) for present, _ in numbered]
    for e, size in enumerate(sizes):
        if size != sizes[0]:
            raise ValueError(
                f"feature_mask has {sizes[0]} groups in example 0 and {size} in example {e}; the "
                "examples of a curve share its steps, so give all the same number of groups, or "
                "call once for each example"
            )
    return torch.stack([inverse for _, inverse in numbered]), sizes[0]


def changed_at_steps(num_features: int, n_steps: int) -> Tensor:
    """How many features each of K steps has changed: ``(K+1,)`` from 0 to all, on the CPU."""
    if n_steps > num_features:
        raise ValueError(
            f"n_steps={n_steps} is more than the {num_features} features that can be changed one "
            f"by one; use n_steps={num_features} or fewer"
        )
    return torch.arange(n_steps + 1, device="cpu") * num_features // n_steps
