"""Interactions of players, read off the table of all coalitions.

Every index here is linear in the values. All but the Moebius coefficients average over many
coalitions and are computed from the Walsh transform, which is orthogonal up to a factor: rounding
of the values is not made larger. A Moebius coefficient of ``k`` players is a sum of ``2^k`` values.
"""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

__all__ = [
    "INDICES",
    "MAX_ORDER",
    "interactions_from_table",
    "k_sii_from_sii",
    "moebius_transform",
    "places_of",
    "subsets_of",
    "walsh_transform",
]

INDICES = ("k-SII", "SII", "STII", "BII", "Moebius")
MAX_ORDER = 3
_BERNOULLI = (1.0, -1 / 2, 1 / 6)


def subsets_of(num_players: int, order: int) -> list[tuple[int, ...]]:
    """List the sets of 1 to ``order`` players, by size, then in lexicographic order.

    Example::

        >>> from captum_spectral.coalitions import subsets_of
        >>> subsets_of(3, 2)
        [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    """
    return [s for k in range(1, order + 1) for s in combinations(range(num_players), k)]


def places_of(players: Tensor, num_players: int, order: int) -> Tensor:
    """Return the places of the sets of ``players (p,)``, sorted, among those of all, ``(s,)``."""
    place = {s: i for i, s in enumerate(subsets_of(num_players, order))}
    ids = players.tolist()
    some = [place[tuple(ids[i] for i in s)] for s in subsets_of(len(ids), order)]
    return torch.tensor(some, dtype=torch.int64)


def walsh_transform(values: Tensor) -> Tensor:
    r"""Return the Walsh coefficients of a game, by a butterfly in float64.

    .. math:: c(T) = 2^{-M} \sum_S (-1)^{|S \cap T|}\, v(S)

    Args:
        values: ``(B, 2^M, *outputs)`` in the order of
            :func:`~captum_spectral.coalitions.all_coalitions`.

    Returns:
        ``(B, 2^M, *outputs)`` float64 on the CPU, sets in the same order.

    Cost: ``M 2^M`` additions, and twice the memory of the table.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import walsh_transform
        >>> walsh_transform(torch.tensor([[0.0, 1.0, 2.0, 4.0]]))
        tensor([[ 1.7500, -0.7500, -1.2500,  0.2500]], dtype=torch.float64)
    """
    table = _own_table(values)
    for absent, present in _by_player(table):
        absent += present  # in place, so that no third table is needed
        present.mul_(-2).add_(absent)
    return table.div_(table.shape[1])


def moebius_transform(values: Tensor) -> Tensor:
    r"""Return the Moebius coefficients (Harsanyi dividends) of a game, by a butterfly in float64.

    .. math:: m(S) = \sum_{T \subseteq S} (-1)^{|S| - |T|}\, v(T)

    Args:
        values: ``(B, 2^M, *outputs)`` in the order of
            :func:`~captum_spectral.coalitions.all_coalitions`.

    Returns:
        ``(B, 2^M, *outputs)`` float64 on the CPU, sets in the same order.

    Cost: ``M 2^(M - 1)`` subtractions, and the memory of one more table. A coefficient of many
    players sums as many values: those of float32 leave noise there.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import moebius_transform
        >>> moebius_transform(torch.tensor([[0.0, 1.0, 2.0, 4.0]]))
        tensor([[0., 1., 2., 1.]], dtype=torch.float64)
    """
    table = _own_table(values)
    for absent, present in _by_player(table):
        present -= absent
    return table


def interactions_from_table(values: Tensor, index: str = "k-SII", order: int = 2) -> Tensor:
    r"""Compute the interactions of up to ``order`` players from the values of all coalitions.

    With the Walsh coefficients c and the Moebius coefficients m of the game,

    .. math::
        \mathrm{SII}(T) &= \sum_{S \supseteq T} \frac{m(S)}{|S| - |T| + 1}
            = (-2)^{|T|} \sum_{\substack{S \supseteq T \\ |S| - |T|\ \text{even}}}
              \frac{c(S)}{|S| - |T| + 1} \\
        \mathrm{BII}(T) &= \sum_{S \supseteq T} 2^{|T| - |S|}\, m(S) = (-2)^{|T|} c(T) \\
        \mathrm{STII}(T) &= m(T)\ (|T| < k), \qquad
            \sum_{S \supseteq T} m(S) \Big/ \binom{|S|}{k}\ (|T| = k) \\
        k\text{-SII}(T) &= \sum_{j=0}^{k - |T|} B_j
            \sum_{|K| = j,\, K \cap T = \emptyset} \mathrm{SII}(T \cup K),
            \qquad B = 1, -\tfrac12, \tfrac16

    with k the ``order``. Single players have Shapley values in SII, Banzhaf values in BII.

    Args:
        values: ``(B, 2^M, *outputs)`` in the order of
            :func:`~captum_spectral.coalitions.all_coalitions`.
        index: ``"k-SII"``, ``"SII"``, ``"STII"``, ``"BII"`` or ``"Moebius"``. Default: "k-SII"
        order: 1 to 3. Default: 2

    Returns:
        ``(B, *outputs, S)`` float64 on the CPU, sets in the order of :func:`subsets_of`.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import interactions_from_table
        >>> product = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
        >>> interactions_from_table(product, "SII")
        tensor([[0.5000, 0.5000, 1.0000]], dtype=torch.float64)
        >>> interactions_from_table(product, "k-SII")
        tensor([[0., 0., 1.]], dtype=torch.float64)

    References:
        M. Grabisch, M. Roubens, *An axiomatic approach to the concept of interaction among players
        in cooperative games*, 1999. M. Sundararajan, K. Dhamdhere, A. Agarwal, *The Shapley Taylor
        Interaction Index*, ICML 2020. S. Bordt, U. von Luxburg, *From Shapley Values to Generalized
        Additive Models and back*, AISTATS 2023.
    """
    num_players = values.shape[1].bit_length() - 1
    sets = subsets_of(num_players, order)
    # One dim per player, the last player first, as bits stand in a number.
    cube = [len(values), *[2] * num_players, *values.shape[2:]]
    lower = order if index == "Moebius" else order - 1 if index == "STII" else 0
    found = []
    if lower:
        table = values.to("cpu", torch.float64).reshape(cube)
        found += [_moebius(table, s, num_players) for s in sets if len(s) <= lower]
    if lower < order:
        table = walsh_transform(values).reshape(cube)
        for s in sets[len(found) :]:
            weights = _walsh_weights(num_players - len(s), index, len(s))
            above = _where(table, dict.fromkeys(s, 1), num_players)
            above = above.reshape(len(values), len(weights), *values.shape[2:])
            found.append((-2.0) ** len(s) * torch.tensordot(above, weights, dims=([1], [0])))
    if not found:
        return torch.zeros(len(values), *values.shape[2:], 0, dtype=torch.float64)
    interactions = torch.stack(found, -1)
    return k_sii_from_sii(interactions, num_players, order) if index == "k-SII" else interactions


def k_sii_from_sii(sii: Tensor, num_players: int, order: int) -> Tensor:
    """Aggregate SII ``(..., S)`` of all sets of up to ``order`` players into k-SII.

    They sum to v(grand) - v(empty), and the shares ``1/|T|`` of a player in its sets to its Shapley
    value.
    """
    sets = subsets_of(num_players, order)
    place = {s: i for i, s in enumerate(sets)}
    aggregated = sii.clone()
    for larger in sets:
        for size in range(1, len(larger)):
            weight = _BERNOULLI[len(larger) - size]
            for s in combinations(larger, size):
                aggregated[..., place[s]] += weight * sii[..., place[larger]]
    return aggregated


def _own_table(values: Tensor) -> Tensor:
    """Copy the values into a table ``(B, 2^M, *outputs)`` that may be written to."""
    return values.detach().to("cpu", torch.float64, copy=True).contiguous()


def _by_player(table: Tensor) -> list[tuple[Tensor, Tensor]]:
    """View the table as the coalitions without and with each player."""
    views = []
    for i in range(table.shape[1].bit_length() - 1):
        halves = table.view(len(table), -1, 2, 2**i, *table.shape[2:])
        views.append((halves[:, :, 0], halves[:, :, 1]))
    return views


def _where(table: Tensor, present: dict[int, int], num_players: int) -> Tensor:
    """View the part of a table ``(B, 2, ..., 2, *outputs)`` where some players are in, or out."""
    # From the back, so that the dims before stay where they are.
    for player in sorted(present):
        table = table.select(num_players - player, present[player])
    return table


def _moebius(table: Tensor, players: tuple[int, ...], num_players: int) -> Tensor:
    """Return m of a few players, ``(B, *outputs)``, from the values of their own coalitions."""
    total = torch.zeros((), dtype=torch.float64)
    others = dict.fromkeys(set(range(num_players)) - set(players), 0)
    for size in range(len(players) + 1):
        for inside in combinations(players, size):
            chosen = {**others, **{i: int(i in inside) for i in players}}
            total = total + (-1) ** (len(players) - size) * _where(table, chosen, num_players)
    return total


def _walsh_weights(num_others: int, index: str, size: int) -> Tensor:
    r"""Return the weights of c(S) in an index of ``size`` players, for S within the others.

    An index is an average over t of the interaction among others who are present with probability
    t. There a Walsh function of r others is :math:`(1 - 2t)^r`. SII takes t uniform, STII of the
    top order the density :math:`k (1 - t)^{k - 1}`, BII t = 1/2.
    """
    degree = size if index == "STII" else 1

    def moment(r: int) -> float:
        """Integrate ``(1 - 2t)^r`` with the density, whose powers of ``1 - 2t`` are binomial."""
        if index == "BII":
            return float(r == 0)
        even = [j for j in range(degree) if (r + j) % 2 == 0]
        total = sum(math.comb(degree - 1, j) * 2 / (r + j + 1) for j in even)
        return degree * total / 2.0**degree

    by_size = torch.tensor([moment(r) for r in range(num_others + 1)], dtype=torch.float64)
    sizes = torch.zeros(1, dtype=torch.int64)
    for _ in range(num_others):
        sizes = torch.cat([sizes, sizes + 1])
    return by_size[sizes]
