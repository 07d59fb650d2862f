"""Coalitions to ask for: pairs of one and its complement.

Shapley and Banzhaf values rest on the odd part of a game alone, d(S) = (v(S) - v(S^c)) / 2, and the
interactions of two players on its even part, e(S) = (v(S) + v(S^c)) / 2. So coalitions are drawn
with their complements, and the member of a pair that holds player 0 stands for it.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.coalitions.prior import GamePrior
from captum_spectral.coalitions.semivalues import shapley

__all__ = [
    "Pairs",
    "designed_pairs",
    "even_part",
    "fewest_leverage_pairs",
    "leverage_pairs",
    "odd_part",
    "with_ends",
]

_CANDIDATES_PER_PAIR = 4
# Beyond so many pairs a design takes longer than it saves: the rest is drawn.
_MOST_DESIGNED = 1024


class Pairs(NamedTuple):
    """Pairs of coalitions, without the grand and the empty one.

    Args:
        members: Boolean ``(n, M)``, distinct, each with player 0.
        stratum: ``(n,)`` the size of the smaller coalition of each pair, 1 to ``M // 2``.
        drawn: ``(M // 2 + 1,)`` how many pairs of each stratum there are in ``members``.
        existing: ``(M // 2 + 1,)`` how many the game has, as float64, for they can be many.
    """

    members: Tensor
    stratum: Tensor
    drawn: Tensor
    existing: Tensor

    @property
    def enumerated(self) -> Tensor:
        """Say which pairs are of a stratum that is complete, ``(n,)``."""
        complete: Tensor = (self.drawn == self.existing)[self.stratum]
        return complete


def with_ends(members: Tensor) -> Tensor:
    """List coalitions, each before its complement: grand and empty first, ``(2 n + 2, M)``."""
    pairs = torch.cat([torch.ones(1, members.shape[1], dtype=torch.bool), members])
    return torch.stack([pairs, ~pairs], 1).flatten(0, 1)


def odd_part(values: Tensor) -> Tensor:
    """Return ``(v(S) - v(S^c)) / 2``, ``(n + 1, B, *outputs)`` in float64, of ``with_ends``."""
    table = values.to("cpu", torch.float64).movedim(1, 0)
    return (table[::2] - table[1::2]) / 2


def even_part(values: Tensor) -> Tensor:
    """Return ``(v(S) + v(S^c)) / 2``, ``(n + 1, B, *outputs)`` in float64, of ``with_ends``."""
    table = values.to("cpu", torch.float64).movedim(1, 0)
    return (table[::2] + table[1::2]) / 2


def leverage_pairs(num_players: int, num_pairs: int, seed: int) -> Pairs:
    """Draw pairs of coalitions, as many of every size.

    Within a size they are uniform and distinct; a size that is asked for as many as there are is
    complete, and the rest goes to the others. (Coalitions drawn like this have the leverage scores
    of Kernel SHAP's regression as their probabilities.)

    Args:
        num_players: ``M``, at least 2.
        num_pairs: ``n``; all pairs if there are fewer.
        seed: Any integer.

    Example::

        >>> from captum_spectral.coalitions import leverage_pairs
        >>> pairs = leverage_pairs(4, 5, seed=0)
        >>> pairs.drawn.tolist()             # of the 4 with one player alone, the 3 of two and two
        [0, 3, 2]

    References:
        C. Musco, R. T. Witter, *Provably Accurate Shapley Value Estimation via Leverage Score
        Sampling*, ICLR 2025.
    """
    generator = torch.Generator("cpu").manual_seed(seed % 2**63)
    existing = _existing(num_players)
    drawn = _shares(num_pairs, existing, num_players % 2 == 0)
    groups = [
        _distinct(num_players, h, drawn[h], existing[h], generator)
        for h in range(1, len(drawn))
        if drawn[h]
    ]
    members = torch.cat(groups)
    members = torch.where(members[:, :1], members, ~members)
    size = members.sum(1)
    return Pairs(
        members,
        torch.minimum(size, num_players - size),
        torch.tensor(drawn),
        torch.tensor([float(count) for count in existing], dtype=torch.float64),
    )


def fewest_leverage_pairs(num_players: int, of_each: int = 2) -> int:
    """Return the fewest leverage pairs that hold so many of every size, or all there are."""
    existing = _existing(num_players)
    wanted = [min(of_each, count) for count in existing]
    for num_pairs in range(1, sum(existing)):
        drawn = _shares(num_pairs, existing, num_players % 2 == 0)
        if all(got >= want for got, want in zip(drawn, wanted, strict=True)):
            return num_pairs
    return sum(existing)


@lru_cache(maxsize=32)
def designed_pairs(num_players: int, num_pairs: int, seed: int) -> Tensor:
    r"""Choose pairs of coalitions that leave the least doubt about the Shapley values.

    Of four times as many :func:`leverage_pairs`, one after the other the pair that most lowers
    :math:`\sum_i \mathrm{Var}(\phi_i \mid \text{chosen})` under the prior in which all players are
    alike (:math:`\lambda_i = 1.6 / M`, :math:`\tau = 0.03`). It takes the single players first, and
    then mostly middle sizes.

    Args:
        num_players: ``M``, at least 2.
        num_pairs: ``n``; all pairs if there are fewer. Beyond 1024 the rest is drawn.
        seed: Any integer, of the candidates.

    Returns:
        Boolean ``(n, M)``, distinct, each with player 0. Do not write to it: it is kept.

    References:
        K. Chaloner, I. Verdinelli, *Bayesian Experimental Design: A Review*, 1995.
    """
    candidates = leverage_pairs(num_players, _CANDIDATES_PER_PAIR * num_pairs, seed).members
    if num_pairs >= len(candidates):
        return candidates
    lambdas = torch.full((num_players,), 1.6 / num_players, dtype=torch.float64)
    prior = GamePrior(lambdas, scale=1.6, noise=0.03)
    members = torch.cat([torch.ones(1, num_players, dtype=torch.bool), candidates])
    semivalue = shapley(num_players)
    variance = torch.full((len(members),), float(prior.odd_kernel(members[:1], members[:1])))
    variance = variance.to(torch.float64)  # of d, given what is chosen, without the noise
    covariance = prior.odd_covariance(members, semivalue).T.contiguous()  # (M, 1 + m), phi with d
    most = min(num_pairs, _MOST_DESIGNED) + 1
    factors = torch.empty(most, len(members), dtype=torch.float64)
    noise = torch.full((len(members),), prior.noise, dtype=torch.float64)
    noise[0] = 0.0
    chosen: list[int] = []
    taken = torch.zeros(len(members), dtype=torch.bool)
    for step in range(most):
        gain = covariance.square().sum(0) / (variance + noise)
        # Grand and empty coalition first.
        best = 0 if step == 0 else int(gain.masked_fill(taken, -math.inf).argmax())
        taken[best] = True
        chosen.append(best)
        column = prior.odd_kernel(members, members[best : best + 1])[:, 0]
        column -= factors[:step, best] @ factors[:step]
        column /= (variance[best] + noise[best]).sqrt()
        factors[step] = column
        own = covariance[:, best] / (variance[best] + noise[best]).sqrt()
        covariance.addr_(own, column, alpha=-1)
        variance = (variance - column.square()).clamp(min=0)
    generator = torch.Generator("cpu").manual_seed(seed % 2**63)
    order = torch.randperm(len(members), generator=generator)
    rest = order[~taken[order]][: num_pairs + 1 - most]
    return members[torch.cat([torch.tensor(chosen[1:], dtype=torch.int64), rest])]


def _existing(num_players: int) -> list[int]:
    """Count the pairs whose smaller coalition has 0, 1, ..., M // 2 players; of size 0 none."""
    counts = [math.comb(num_players, h) for h in range(num_players // 2 + 1)]
    if num_players % 2 == 0:
        counts[-1] //= 2
    return [0, *counts[1:]]


def _shares(num_pairs: int, existing: list[int], halves: bool) -> list[int]:
    """Divide pairs among the strata: alike for every size of coalition, none beyond what exists.

    With ``halves`` the pairs of the last stratum are two coalitions of the same size.
    """
    weights = [1.0] * len(existing)
    if halves:
        weights[-1] = 0.5
    drawn = [0] * len(existing)
    open_strata = list(range(1, len(existing)))
    left = min(num_pairs, sum(existing))
    while open_strata:
        total = sum(weights[h] for h in open_strata)
        full = [h for h in open_strata if existing[h] <= left * weights[h] / total]
        if not full:
            break
        for h in full:
            drawn[h] = existing[h]
        left -= sum(existing[h] for h in full)
        open_strata = [h for h in open_strata if h not in full]
    if open_strata:
        total = sum(weights[h] for h in open_strata)
        exact = {h: left * weights[h] / total for h in open_strata}
        for h in open_strata:
            drawn[h] = int(exact[h])
        remainders = sorted(open_strata, key=lambda h: (drawn[h] - exact[h], h))
        for h in remainders[: left - sum(drawn[h] for h in open_strata)]:
            drawn[h] += 1
    return drawn


def _distinct(
    num_players: int, size: int, count: int, existing: int, generator: torch.Generator
) -> Tensor:
    """Draw ``count`` different coalitions of ``size`` players, one of each pair: ``(count, M)``."""
    half = 2 * size == num_players
    # Of two halves the one with player 0.
    free, picked = (num_players - 1, size - 1) if half else (num_players, size)
    if existing <= 2 * count:
        rows = torch.zeros(existing, free, dtype=torch.bool)
        places = torch.tensor(list(itertools.combinations(range(free), picked))).long()
        rows.scatter_(1, places.reshape(existing, picked), True)
        rows = rows[torch.randperm(existing, generator=generator)[:count]]
    else:
        found: dict[bytes, Tensor] = {}
        while len(found) < count:  # less than half are taken: two rounds or three
            noise = torch.rand(2 * count, free, generator=generator, dtype=torch.float64)
            for row in noise.argsort(1).argsort(1) < picked:
                if len(found) < count:
                    found.setdefault(row.numpy().tobytes(), row)
        rows = torch.stack(list(found.values()))
    return torch.cat([torch.ones(len(rows), 1, dtype=torch.bool), rows], 1) if half else rows
