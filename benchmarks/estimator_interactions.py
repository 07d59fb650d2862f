"""How wrong interactions from few model rows are, replayed on tables of all values of real games.

    python benchmarks/estimator_tables.py --cache tables
    peers/bin/python benchmarks/estimator_peers.py --cache tables      # shapiq, see there
    python benchmarks/estimator_interactions.py --cache tables

Shapley interactions of all 66 pairs of 12 players (SII of order 2, without the single players).
Errors and coverage as in ``estimators.py``: relative root mean square over seeds, geometric mean
over the games of a kind, in percent, nested bands / sectors.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import torch
from common import arguments, markdown, report, start
from estimators import KINDS, Replay, peers, row
from games import OUTPUTS, Games, Tables, read_tables

from captum_spectral.coalitions import (
    Estimator,
    PairInteractions,
    PlayerEstimate,
    interactions_from_table,
)


class OfPairs(Estimator):
    """The pairs of players alone."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator, self.coalitions = estimator, estimator.coalitions

    def estimate(self, values: torch.Tensor) -> PlayerEstimate:
        """What follows the single players."""
        found = self.estimator.estimate(values)
        singles = self.coalitions.shape[1]
        return found._replace(
            values=found.values[..., singles:], standard_error=found.standard_error[..., singles:]
        )


def from_energies(budget: int, games: Games, seed: int) -> Estimator:
    """The default of the package."""
    relevance, players = games.energies.sqrt(), games.energies.shape[1]
    return OfPairs(PairInteractions(players, budget // 2 - 1, relevance, "SII", seed))


def flat(budget: int, games: Games, seed: int) -> Estimator:
    """All players alike."""
    players = games.energies.shape[1]
    return OfPairs(PairInteractions(players, budget // 2 - 1, None, "SII", seed))


def of_pairs(games: Tables) -> Tables:
    """The same games, the exact interactions in the place of the values of players."""
    players = games.energies.shape[1]
    exact = interactions_from_table(games.values, "SII", 2)[..., players:]
    return games._replace(exact=exact)


def main() -> None:
    """Errors and coverage."""
    parser = arguments(__doc__ or "", rounds=1)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--budgets", nargs="+", type=int, default=[128, 256, 512, 1024])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="of players")
    parser.add_argument("--seeds", type=int, default=20, help="default: %(default)s")
    args = start(parser)
    errors: dict[str, dict[str, list[float]]] = defaultdict(dict)
    coverage: dict[str, dict[str, list[float]]] = defaultdict(dict)
    seeds_of: dict[str, int] = {}
    for kind in args.kinds:
        games = of_pairs(read_tables(args.cache, kind))
        for name, make in {"gaussian_process": from_energies, "flat prior": flat}.items():
            runs = [Replay(make, games, budget, args.seeds) for budget in args.budgets]
            errors[name][kind] = [math.exp(float(run.relative(games).log().mean())) for run in runs]
            coverage[name][kind] = [run.coverage() for run in runs]
        names = [f"{game}, {output}" for game in games.names for output in OUTPUTS]
        for name, found in peers(args.cache, names, order=2).items():
            errors[name][kind] = [found.get(b, (math.nan, 0))[0] for b in args.budgets]
            seeds_of[name] = min(count for _, count in found.values())
    table = [
        row(name, args.budgets, e) | {"seeds": seeds_of.get(name, args.seeds)}
        for name, e in errors.items()
        if len(e) == len(args.kinds)
    ]
    held = [row(name, args.budgets, c) for name, c in coverage.items()]
    for line in (*table, *held):
        del line["rows to 10 %"]
    title = "Relative error of interactions of two of 12 players, %: " + " / ".join(args.kinds)
    report(args, title, table, coverage=held)
    print("\nCoverage of 95 % intervals, %:\n\n" + markdown(held))


if __name__ == "__main__":
    main()
