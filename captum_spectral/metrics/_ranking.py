"""Rankings of features, and the coalitions in which the most important ones come or go."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Growing", "changed_at_steps", "place_scores", "positions"]


class Growing:
    """Coalitions of each example that grow, or shrink, by its most important players first.

    Indexed like a boolean tensor ``(B, K + 1, P)``, which for single pixels would be large.

    Args:
        places: ``(B, P)`` the place of each player in its example's ranking, from 0.
        counts: ``(K + 1,)`` how many players have changed at each step.
        inserted: Whether these are present, and not absent.
    """

    def __init__(self, places: Tensor, counts: Tensor, inserted: bool) -> None:
        self._places, self._counts, self._inserted = places, counts, inserted
        self.shape = (len(places), len(counts), places.shape[1])

    def __getitem__(self, index: tuple[slice, slice]) -> Tensor:
        examples, steps = index
        changed = self._places[examples, None] < self._counts[steps, None]  # (b, k, P)
        return changed if self._inserted else ~changed


def positions(scores: Tensor) -> Tensor:
    """Return each feature's place in its example's ranking by ``scores (B, G)``, the largest at 0.

    Equal scores keep their order.
    """
    return scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)


def place_scores(attributions: Tensor, ids: Tensor, num_players: int) -> Tensor:
    """Average attributions over the places of each player.

    On the CPU in double precision, so that ties are ties wherever the attributions come from.

    Args:
        attributions: ``(B, ...)``, of the rank of the input and broadcastable to it.
        ids: ``(B or 1, ...)`` players of the places, of the rank of the input, from 0 without
            gaps. Dims that ids do not tell apart (channels) are summed first.
        num_players: ``P``.

    Returns:
        ``(B, P)``; -inf for a player that an example does not have.

    Raises:
        ValueError: Examples have different numbers of players.
    """
    shape = (len(attributions), *ids.shape[1:])
    full = attributions.to("cpu", torch.float64)
    full = full.expand(torch.broadcast_shapes(full.shape, shape))
    summed = full.sum_to_size(shape).flatten(1)
    index = ids.cpu().flatten(1).expand(len(summed), -1)
    zeros = summed.new_zeros(len(summed), num_players)
    sums = zeros.scatter_add(1, index, summed)
    sizes = zeros.scatter_add(1, index, torch.ones_like(summed))
    counts = (sizes > 0).sum(1)
    for e, count in enumerate(counts.tolist()):
        if count != int(counts[0]):
            raise ValueError(
                f"feature_mask has {int(counts[0])} groups in example 0 and {count} in example "
                f"{e}; the examples of a curve share its steps, so give all the same number of "
                "groups, or call once for each example"
            )
    return torch.where(sizes > 0, sums / sizes, -torch.inf)


def changed_at_steps(num_features: int, n_steps: int) -> Tensor:
    """Count the features that each of K steps has changed: ``(K+1,)`` from 0 to all, on the CPU."""
    if n_steps > num_features:
        raise ValueError(
            f"n_steps={n_steps} is more than the {num_features} features that can be changed one "
            f"by one; use n_steps={num_features} or fewer"
        )
    return torch.arange(n_steps + 1, device="cpu") * num_features // n_steps
