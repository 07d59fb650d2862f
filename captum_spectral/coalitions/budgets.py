"""Estimators for a budget of model rows, and players that do not play."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.coalitions.cross_fitted import CrossFitted
from captum_spectral.coalitions.estimator import Estimator, PlayerEstimate, among_all
from captum_spectral.coalitions.exact import Exact
from captum_spectral.coalitions.gaussian_process import GaussianProcess
from captum_spectral.coalitions.indices import places_of, subsets_of
from captum_spectral.coalitions.interactions import ExactInteractions, PairInteractions
from captum_spectral.coalitions.orderings import sample_orderings
from captum_spectral.coalitions.regression import Regression

__all__ = [
    "ESTIMATORS",
    "check_few",
    "estimator_of",
    "interactions_of",
    "is_exact",
    "relevance_from",
]

ESTIMATORS = ("gaussian_process", "cross_fitted", "regression", "orderings")


def estimator_of(
    budget: int,
    name: str,
    playing: Tensor,
    relevance: Tensor | None = None,
    index: str = "shapley",
    seed: int = 0,
) -> Estimator:
    """Return the estimator for the players that play, exact where the budget is enough for that.

    Args:
        budget: Rows per example.
        name: One of ``ESTIMATORS``.
        playing: Boolean ``(B, P)``. A player whose feature is the same in input and baseline
            changes nothing: no row is spent on it, and its value is 0.
        relevance: ``(B or 1, P)`` how much players are expected to matter; None: all alike.
        index: ``"shapley"`` or ``"banzhaf"``.
        seed: Of the coalitions.
    """
    make = partial(_estimator, budget, name, index, seed)
    return _of_those_who_play(playing, relevance, make, order=1)


def interactions_of(
    budget: int,
    playing: Tensor,
    relevance: Tensor | None = None,
    index: str = "k-SII",
    order: int = 2,
    seed: int = 0,
) -> Estimator:
    """Return the estimator of interactions, exact where the budget is enough for that.

    Args:
        budget: Rows per example.
        playing: Boolean ``(B, P)``, as in :func:`estimator_of`.
        relevance: ``(B or 1, P)`` how much players are expected to matter; None: all alike.
        index: One of ``INDICES``.
        order: 1 to 3.
        seed: Of the coalitions.

    Raises:
        ValueError: An index or order that takes the values of all coalitions, and more rows.
    """
    make = partial(_interactions, budget, index, order, seed)
    return _of_those_who_play(playing, relevance, make, order)


def is_exact(estimator: Estimator) -> bool:
    """Say whether an estimator knows the values of all coalitions."""
    if isinstance(estimator, _Playing):
        return all(is_exact(part.estimator) for part in estimator.parts)
    return isinstance(estimator, (Exact, ExactInteractions))


def check_few(index: str, order: int, num_players: int, most_rows: int) -> None:
    """Raise if an index takes the values of all coalitions, and these are too many."""
    known_from_few = ("k-SII", "SII", "BII") if order > 1 else ("k-SII", "SII", "STII", "BII")
    if 2**num_players > most_rows and (index not in known_from_few or order > 2):
        raise ValueError(
            f"index={index!r} of order={order} needs the values of all 2^{num_players} = "
            f"{2**num_players} coalitions of {num_players} players, more than {most_rows} model "
            "rows: use index='k-SII', 'SII' or 'BII' with order=2, which are estimated from a "
            "budget, or fewer players"
        )


def relevance_from(prior: object, energies: Tensor, num_examples: int) -> Tensor | None:
    """Return how much players are expected to matter, ``(B or 1, P)``, from a ``prior`` argument.

    Args:
        prior: ``"energy"``, ``"flat"``, or weights ``(P,)`` or ``(B, P)``.
        energies: ``(B, P)`` of the players.
        num_examples: ``B``.

    Raises:
        TypeError, ValueError: What is not one of these.
    """
    if isinstance(prior, str):
        if prior not in ("energy", "flat"):
            raise ValueError(f"prior must be 'energy', 'flat' or weights, got {prior!r}")
        return energies.sqrt() if prior == "energy" else None
    try:
        weights = torch.as_tensor(prior).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"prior must be 'energy', 'flat' or real weights, got {type(prior).__name__}"
        ) from error
    num_players = energies.shape[1]
    allowed = (num_players,), (1, num_players), (num_examples, num_players)
    if weights.shape not in allowed:
        raise ValueError(
            f"prior must have a weight for each player, ({num_players},) or ({num_examples}, "
            f"{num_players}), got shape {tuple(weights.shape)}"
        )
    weights = weights.reshape(-1, num_players)
    if not weights.isfinite().all() or (weights < 0).any() or (weights.sum(1) <= 0).any():
        raise ValueError(
            "prior must hold finite weights, none below 0 and not all 0, got weights between "
            f"{float(weights.min()):g} and {float(weights.max()):g}"
        )
    return weights


class _Part(NamedTuple):
    examples: Tensor  # (b,) that have the same players
    players: Tensor  # (p,)
    places: Tensor  # (s,) of their sets among those of all
    estimator: Estimator


def _of_those_who_play(
    playing: Tensor,
    relevance: Tensor | None,
    make: Callable[[int, Tensor | None], Estimator],
    order: int,
) -> Estimator:
    """Make an estimator for every set of players that examples ``(B, P)`` have."""
    num_players = playing.shape[1]
    patterns, group = playing.unique(dim=0, return_inverse=True)
    parts = []
    for g, pattern in enumerate(patterns):
        examples = (group == g).nonzero()[:, 0]
        players = pattern.nonzero()[:, 0]
        own = relevance
        if own is not None:
            own = own[:, players] if len(own) == 1 else own[examples][:, players]
        places = places_of(players, num_players, order)
        parts.append(_Part(examples, players, places, make(len(players), own)))
    if len(parts) == 1 and len(parts[0].players) == num_players:
        return parts[0].estimator
    return _Playing(parts, num_players, len(subsets_of(num_players, order)))


class _Playing(Estimator):
    """Solves the game of those who play, example by example where they are not the same."""

    def __init__(self, parts: list[_Part], num_players: int, num_sets: int) -> None:
        self.parts, self._num_sets = parts, num_sets
        own = [among_all(p.estimator.coalitions, p.players, num_players) for p in parts]
        self.coalitions = own[0]  # shared by all examples
        if len(parts) > 1:
            # Each example its own; where others go on, the grand coalition is said once more.
            most = max(map(len, own))
            self.coalitions = torch.empty(
                sum(len(p.examples) for p in parts), most, num_players, dtype=torch.bool
            )
            for part, rows in zip(parts, own, strict=True):
                more = rows[:1].expand(most - len(rows), -1)
                self.coalitions[part.examples] = torch.cat([rows, more])

    def estimate(self, values: Tensor) -> PlayerEstimate:
        if len(self.parts) == 1:
            return self._of(self.parts[0], values)
        if len(values) != len(self.coalitions):
            raise ValueError(
                "forward_func gives one number per batch, and some examples have features that are "
                "the same in input and baseline, others not: give examples one by one, or n_samples"
            )
        found = [self._of(p, values[p.examples.to(values.device)]) for p in self.parts]
        order = torch.cat([p.examples for p in self.parts]).argsort()
        merged = [
            torch.cat(x)[order.to(x[0].device)] for x in zip(*(f[:4] for f in found), strict=True)
        ]
        degrees = min(f.degrees_of_freedom for f in found)  # of the least certain one
        return PlayerEstimate(merged[0], merged[1], merged[2], merged[3], degrees)

    def _of(self, part: _Part, values: Tensor) -> PlayerEstimate:
        """Return what the values of the examples of a part say of all players."""
        found = part.estimator.estimate(values[:, : len(part.estimator.coalitions)])
        return found._replace(
            values=among_all(found.values, part.places, self._num_sets),
            standard_error=among_all(found.standard_error, part.places, self._num_sets),
        )


def _interactions(
    budget: int, index: str, order: int, seed: int, num_players: int, relevance: Tensor | None
) -> Estimator:
    check_few(index, order, num_players, budget)
    if 2**num_players <= budget:
        return ExactInteractions(num_players, index, order, most_rows=budget)
    num_pairs = budget // 2 - 1
    if order == 1:
        semivalue = "banzhaf" if index == "BII" else "shapley"
        return GaussianProcess(num_players, num_pairs, relevance, semivalue, seed)
    return PairInteractions(num_players, num_pairs, relevance, index, seed)


def _estimator(
    budget: int, name: str, index: str, seed: int, num_players: int, relevance: Tensor | None
) -> Estimator:
    if 2**num_players <= budget:
        return Exact(num_players, index, most_rows=budget)
    num_pairs = budget // 2 - 1
    if name == "gaussian_process":
        return GaussianProcess(num_players, num_pairs, relevance, index, seed)
    if name == "cross_fitted":
        return CrossFitted(num_players, num_pairs, relevance, index, seed)
    if name == "regression":
        return Regression(num_players, num_pairs, index, seed)
    orderings = (budget - 2) // (2 * (num_players - 1))
    if orderings < 1:
        raise ValueError(
            f"estimator='orderings' of {num_players} players needs budget={2 * num_players} or "
            f"more, got {budget}; estimator='gaussian_process' takes fewer"
        )
    return sample_orderings(num_players, orderings, torch.Generator().manual_seed(seed))
