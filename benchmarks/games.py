"""Games whose Shapley values are known: tables of all values, and networks and polynomials of many.

With 32 players nobody has all values of a real game. Here are two kinds that are made up and whose
exact values follow from how they are built:

* ``Network``: one hidden layer over who is present, ``v(S) = sum_h u_h tanh((b_h + sum_{i in S}
  W_ih) / g)`` with integers W and b. A hidden unit sees of a coalition nothing but a sum of
  integers, so how many coalitions of each size have each sum says all: counted player by player.
* ``Polynomial``: ``v(S) = sum_T c_T 1[T in S]`` over random T of 1 to 4 players; the players of T
  share c_T.

What is random in them was set by the real games of 12 players: players matter to degrees over a
factor of 25; the square roots of the "energies" are these degrees, off by a factor of 1.5 (one
standard deviation of the logarithm), which makes their correlation with the values about that of
the real games (.6 of logarithms, there .6 to .9); and main effects are 60 to 95 % of the variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from captum_spectral.coalitions import shapley_from_table

OUTPUTS = ("logit", "log-probability")
_GRID = 32  # integers to the unit of a weight


class Games(Protocol):
    """``B`` games of the same players."""

    names: list[str]
    energies: Tensor  # (B, M)
    exact: Tensor  # (B, O, M) Shapley values

    def __call__(self, coalitions: Tensor) -> Tensor:
        """The values ``(B, K, O)`` of ``(K, M)`` coalitions."""
        ...


class Tables(NamedTuple):
    """Real games, all of whose values are known: photographs, with two outputs each."""

    names: list[str]
    energies: Tensor
    exact: Tensor
    values: Tensor  # (B, 2^M, O)

    def __call__(self, coalitions: Tensor) -> Tensor:
        """Look the values up."""
        return self.values[:, (coalitions.long() << torch.arange(coalitions.shape[1])).sum(1)]


def read_tables(cache: Path, kind: str) -> Tables:
    """All games of one kind of players in a folder of ``estimator_tables.py``."""
    files = sorted(cache.glob(f"M12-{kind}-*.npz"))
    if not files:
        raise SystemExit(f"no {kind} in {cache}: run benchmarks/estimator_tables.py first")
    values, energies = [], []
    for file in files:
        with np.load(file) as arrays:
            values.append(torch.from_numpy(arrays["values"]))
            energies.append(torch.from_numpy(arrays["energies"]))
    stacked = torch.stack(values)
    names = [file.stem for file in files]
    return Tables(names, torch.stack(energies), shapley_from_table(stacked), stacked)


class Network:
    """One small network; the value of a coalition is its output on who is present."""

    def __init__(self, num_players: int, seed: int, hidden: int = 16) -> None:
        draw = np.random.default_rng(seed)
        degrees = _degrees(num_players, draw)
        wanted = draw.normal(size=(num_players, hidden)) * degrees[:, None]
        self.weights = np.rint(_GRID * wanted).astype(np.int64)
        self.offsets = np.rint(_GRID * draw.normal(size=hidden)).astype(np.int64)
        self.outward = draw.normal(size=hidden)
        self.width = 0.5 * _GRID * float(np.sqrt((degrees**2).sum()))
        self.energies = _energies(degrees, draw)

    def __call__(self, coalitions: Tensor) -> Tensor:
        """The values ``(K,)``."""
        sums = coalitions.numpy().astype(np.int64) @ self.weights + self.offsets
        return torch.from_numpy(np.tanh(sums / self.width) @ self.outward)

    def exact(self) -> Tensor:
        """Shapley values ``(M,)``, from counts of coalitions by size and sum."""
        total = np.zeros(len(self.weights))
        for h, outward in enumerate(self.outward):
            total += outward * self._of_unit(self.weights[:, h], int(self.offsets[h]))
        return torch.from_numpy(total)

    def _of_unit(self, weights: np.ndarray, offset: int) -> np.ndarray:
        num_players = len(weights)
        low, high = int(weights[weights < 0].sum()), int(weights[weights > 0].sum())
        counts = np.zeros((num_players + 1, high - low + 1), np.int64)  # by size, by sum - low
        counts[0, -low] = 1
        for w in weights:
            counts[1:] += _moved(counts[:-1], int(w))
        out = np.tanh((offset + np.arange(low, high + 1)) / self.width)
        phi = np.zeros(num_players)
        for i, w in enumerate(weights):
            others = counts.copy()  # of the coalitions without i: those of all less those with i
            for size in range(1, num_players + 1):
                others[size] -= _moved(others[size - 1 : size], int(w))[0]
            # The value with i less that without; where the sum leaves the range nobody is.
            gain = _moved(out[None], -int(w))[0] - out
            for size in range(num_players):
                weight = 1 / (num_players * math.comb(num_players - 1, size))
                phi[i] += weight * float(others[size] @ gain)
        return phi


class Polynomial:
    """Products of up to four players."""

    def __init__(self, num_players: int, seed: int, terms: int = 400) -> None:
        draw = np.random.default_rng(seed)
        degrees = _degrees(num_players, draw)
        chance = degrees / degrees.sum()
        self.members = np.zeros((terms + num_players, num_players))
        self.members[:num_players] = np.eye(num_players)
        for row in self.members[num_players:]:
            row[draw.choice(num_players, draw.integers(2, 5), replace=False, p=chance)] = 1
        self.sizes = self.members.sum(1)
        mean = np.exp((self.members @ np.log(degrees / degrees.mean())) / self.sizes)
        self.coefficients = draw.normal(size=len(mean)) * mean / self.sizes
        self.energies = _energies(degrees, draw)

    def __call__(self, coalitions: Tensor) -> Tensor:
        """The values ``(K,)``."""
        together = coalitions.numpy().astype(float) @ self.members.T
        return torch.from_numpy((together > self.sizes - 0.5) @ self.coefficients)

    def exact(self) -> Tensor:
        """Shapley values ``(M,)``: each term is shared by its players."""
        return torch.from_numpy((self.coefficients / self.sizes) @ self.members)


class MadeUp:
    """Several of them as one batch."""

    def __init__(self, games: list[Network] | list[Polynomial], names: list[str]) -> None:
        self.games, self.names = games, names
        self.energies = torch.stack([game.energies for game in games])
        self.exact = torch.stack([game.exact() for game in games])[:, None]

    def __call__(self, coalitions: Tensor) -> Tensor:
        """The values ``(B, K, 1)``."""
        return torch.stack([game(coalitions) for game in self.games])[..., None]


def made_up(num_players: int, count: int = 4) -> Iterator[tuple[str, MadeUp]]:
    """Batches of both kinds."""
    for kind, build in (("networks", Network), ("polynomials", Polynomial)):
        games = [build(num_players, seed) for seed in range(count)]
        yield kind, MadeUp(games, [f"{kind} {seed}" for seed in range(count)])


def _degrees(num_players: int, draw: np.random.Generator) -> np.ndarray:
    """How much each player matters: from 1 down to 0.04."""
    degrees: np.ndarray = 10 ** -draw.uniform(0, 1.4, num_players)
    return degrees


def _energies(degrees: np.ndarray, draw: np.random.Generator) -> Tensor:
    return torch.from_numpy((degrees * np.exp(0.4 * draw.normal(size=len(degrees)))) ** 2)


def _moved(rows: np.ndarray, by: int) -> np.ndarray:
    """Each row moved to the right, zeros coming in."""
    moved = np.zeros_like(rows)
    if by >= 0:
        moved[:, by:] = rows[:, : rows.shape[1] - by]
    else:
        moved[:, :by] = rows[:, -by:]
    return moved
