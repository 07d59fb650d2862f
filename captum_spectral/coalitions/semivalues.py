"""Shapley and Banzhaf values, as averages of what a player adds to random coalitions."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Semivalue", "banzhaf", "check_index", "semivalue_of", "shapley"]


class Semivalue(NamedTuple):
    r"""An average of what a player adds to the coalitions of the others.

    Every other player is present with the probability :math:`t`, and :math:`t` is averaged, over
    [0, 1] for Shapley values, or stands at 1/2 for Banzhaf values:

    .. math::
        \phi_i = \mathbb{E}_t\, \mathbb{E}_{S \sim t}\big[v(S \cup i) - v(S \setminus i)\big]

    Args:
        nodes: ``(Q,)`` float64 values of :math:`t`, symmetric about 1/2.
        node_weights: ``(Q,)``, which sum to 1. Exact for polynomials of degree ``M - 1``.
        by_size: ``(M + 1,)`` the weight of :math:`v(S)` in :math:`\phi_i` for a coalition of so
            many players with ``i``; entry 0 is 0.
        by_size_of_two: ``(M - 1,)`` the weight, in the interaction of two players, of a coalition
            with so many of the *other* players.
    """

    nodes: Tensor
    node_weights: Tensor
    by_size: Tensor
    by_size_of_two: Tensor

    def of_pairs(self, members: Tensor) -> Tensor:
        r"""Return the weights ``(n, M)`` of d in the values: :math:`\phi = \sum_{pairs} w\, d`.

        A coalition without ``i`` has the weight of its complement, with the other sign, so the two
        members of a pair make twice the weight of one.
        """
        size = members.sum(1)
        num_players = members.shape[1]
        with_it, without = self.by_size[size], self.by_size[num_players - size]
        return 2 * torch.where(members, with_it[:, None], -without[:, None])


@lru_cache(maxsize=64)
def shapley(num_players: int) -> Semivalue:
    """Return the Shapley value of ``M`` players."""
    nodes, weights = np.polynomial.legendre.leggauss(max(1, math.ceil(num_players / 2)))
    return Semivalue(
        torch.from_numpy((nodes + 1) / 2),
        torch.from_numpy(weights / 2),
        _float(
            [0.0, *(1 / (num_players * math.comb(num_players - 1, s)) for s in range(num_players))]
        ),
        _float(
            1 / ((num_players - 1) * math.comb(num_players - 2, s)) for s in range(num_players - 1)
        ),
    )


@lru_cache(maxsize=64)
def banzhaf(num_players: int) -> Semivalue:
    """Return the Banzhaf value of ``M`` players."""
    weight = 2.0 ** (1 - num_players)
    return Semivalue(
        _float([0.5]),
        _float([1.0]),
        _float([0.0, *[weight] * num_players]),
        _float([2 * weight] * (num_players - 1)),
    )


def semivalue_of(index: str, num_players: int) -> Semivalue:
    """Return the semivalue of a name, ``"shapley"`` or ``"banzhaf"``."""
    check_index(index)
    return shapley(num_players) if index == "shapley" else banzhaf(num_players)


def check_index(index: object) -> None:
    """Raise a ValueError for what is no name of a value of single players."""
    if index not in ("shapley", "banzhaf"):
        raise ValueError(f"index must be 'shapley' or 'banzhaf', got {index!r}")


def _float(values: object) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64, device="cpu")  # type: ignore[call-overload]
