"""How wrong estimates from few model rows are, replayed on tables of all values of real games.

    python benchmarks/estimator_tables.py --cache tables
    peers/bin/python benchmarks/estimator_peers.py --cache tables      # shapiq, see there
    python benchmarks/estimators.py --cache tables

Every estimator gets the same number of model rows, empty and grand coalition included. The error is
the root mean square over seeds of the distance from the exact Shapley values, over the length of
these; the geometric mean over the games of a kind, in percent, nested bands / sectors. The last
column is where the line through the errors, logarithms of both, crosses 10 %. Coverage is the share
of 95 % intervals, players and seeds and games alike, that hold the exact value, in percent.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import arguments, markdown, report, start
from games import OUTPUTS, Games, read_tables
from torch import Tensor

from captum_spectral.coalitions import Estimator, estimator_of, half_width

KINDS = ("bands", "sectors")
Maker = Callable[[int, Games, int], Estimator]  # budget, games, seed


def of(name: str, relevance: str = "energy") -> Maker:
    """An estimator of the package, with a prior from the energies, flat, or turned upside down."""

    def make(budget: int, games: Games, seed: int) -> Estimator:
        weights = {
            "energy": games.energies.sqrt(),
            "flat": None,
            "wrong": 1 / games.energies.clamp(min=1e-9 * float(games.energies.max())).sqrt(),
        }[relevance]
        playing = torch.ones_like(games.energies, dtype=torch.bool)
        return estimator_of(budget, name, playing, weights, "shapley", seed)

    return make


OURS: dict[str, Maker] = {
    "orderings": of("orderings"),
    "regression": of("regression"),
    "gaussian_process, flat prior": of("gaussian_process", "flat"),
    "gaussian_process, wrong prior": of("gaussian_process", "wrong"),
    "gaussian_process": of("gaussian_process"),
    "cross_fitted": of("cross_fitted"),
}


DEFAULT = "gaussian_process"


class Replay:
    """What an estimator said of some games from one budget, seed after seed."""

    def __init__(self, make: Maker, games: Games, budget: int, seeds: int) -> None:
        self.misses: list[Tensor] = []  # (B, O, M) each
        self.errors: list[Tensor] = []  # standard errors
        self.reach = math.nan
        for seed in range(seeds):
            estimator = make(budget, games, seed)
            if len(estimator.coalitions) > budget:
                raise RuntimeError(f"{len(estimator.coalitions)} rows of a budget of {budget}")
            found = estimator.estimate(games(estimator.coalitions))
            self.misses.append(found.values - games.exact)
            self.errors.append(found.standard_error)
            degrees = found.degrees_of_freedom
            self.reach = half_width(degrees) if degrees >= 1 else math.nan

    def relative(self, games: Games) -> Tensor:
        """The relative root mean square error of every game, ``(B, O)``."""
        squares = torch.stack(self.misses).square().sum(-1).mean(0)
        return squares.sqrt() / games.exact.norm(dim=-1)

    def coverage(self) -> float:
        """The share of intervals that hold the exact value; NaN without standard errors."""
        errors, misses = torch.stack(self.errors), torch.stack(self.misses)
        if not errors.isfinite().all() or math.isnan(self.reach):
            return math.nan
        tiny = 1e-9 * misses.abs().max()  # where both are 0 but for rounding
        return float((misses.abs() <= self.reach * errors + tiny).double().mean())


def replay(make: Maker, games: Games, budget: int, seeds: int) -> Replay | None:
    """None: the estimator refuses the budget."""
    try:
        return Replay(make, games, budget, seeds)
    except ValueError:
        return None


def rows_to(target: float, budgets: list[int], errors: list[float]) -> str:
    """Where the broken line through the errors, in logarithms, first crosses the target."""
    known = [(b, e) for b, e in zip(budgets, errors, strict=True) if not math.isnan(e)]
    for (b0, e0), (b1, e1) in itertools.pairwise(known):
        if e0 >= target >= e1:
            share = math.log(e0 / target) / math.log(e0 / e1) if e0 > e1 else 0.0
            return str(round(b0 * (b1 / b0) ** share))
    return "-" if not known else f"< {known[0][0]}" if known[0][1] < target else f"> {known[-1][0]}"


def peers(cache: Path, names: list[str], order: int) -> dict[str, dict[int, tuple[float, int]]]:
    """Method, budget: geometric mean of the errors of these games, and the number of seeds."""
    squares: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(cache.glob("peers-*.jsonl")):
        version = file.stem.removeprefix("peers-")
        for line in file.read_text().splitlines():
            r = json.loads(line)
            if r["order"] == order and r["game"] in names:
                key = f"{r['method']} (shapiq {version})", r["budget"]
                squares[key][r["game"]].append(r["error"] ** 2)
    found: dict[str, dict[int, tuple[float, int]]] = defaultdict(dict)
    for (method, budget), games in squares.items():
        if len(games) == len(names):
            logs = [math.log(sum(s) / len(s)) / 2 for s in games.values()]
            found[method][budget] = math.exp(sum(logs) / len(logs)), min(map(len, games.values()))
    return found


def row(name: str, budgets: list[int], errors: dict[str, list[float]]) -> dict[str, Any]:
    """A line of the table, nested bands / sectors."""

    def percent(e: float) -> str:
        return "-" if math.isnan(e) else f"{100 * e:.1f}" if e < 0.1 else f"{100 * e:.0f}"

    line: dict[str, Any] = {"estimator": name}
    for i, budget in enumerate(budgets):
        line[str(budget)] = "/".join(percent(e[i]) for e in errors.values())
    line["rows to 10 %"] = "/".join(rows_to(0.1, budgets, e) for e in errors.values())
    return line


def by_picture(
    all_games: dict[str, Games], budgets: list[int], errors: dict[str, list[Tensor]]
) -> list[dict[str, Any]]:
    """A line for each picture, which all kinds have in the same order."""
    names = [name.split("-", 2)[2] for name in next(iter(all_games.values())).names]
    return [
        row(name, budgets, {kind: [float(e[i]) for e in found] for kind, found in errors.items()})
        for i, name in enumerate(names)
    ]


def main() -> None:
    """Errors and coverage of all."""
    parser = arguments(__doc__ or "", rounds=1)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--budgets", nargs="+", type=int, default=[32, 64, 128, 256, 512, 1024])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="of players")
    parser.add_argument("--seeds", type=int, default=20, help="default: %(default)s")
    args = start(parser)
    budgets, nothing = args.budgets, math.nan
    all_games = {kind: read_tables(args.cache, kind) for kind in args.kinds}
    errors: dict[str, dict[str, list[float]]] = defaultdict(dict)
    coverage: dict[str, dict[str, list[float]]] = defaultdict(dict)
    seeds_of: dict[str, int] = {}
    of_default: dict[str, list[Tensor]] = {}  # kind: errors (B,) by budget
    for kind, games in all_games.items():
        for name, make in OURS.items():
            runs = [replay(make, games, budget, args.seeds) for budget in budgets]
            print(f"{kind}, {name}: done", file=sys.stderr, flush=True)
            errors[name][kind] = [
                math.exp(float(run.relative(games).log().mean())) if run else nothing
                for run in runs
            ]
            coverage[name][kind] = [run.coverage() if run else nothing for run in runs]
            if name == DEFAULT:
                of_default[kind] = [run.relative(games).log().mean(1).exp() for run in runs if run]
        names = [f"{game}, {output}" for game in games.names for output in OUTPUTS]
        for name, found in peers(args.cache, names, order=1).items():
            errors[name][kind] = [found.get(b, (nothing, 0))[0] for b in budgets]
            seeds_of[name] = min(count for _, count in found.values())
    report(
        args,
        "Relative error of Shapley values of 12 players, %: "
        + " / ".join(f"{kind} ({2 * len(g.names)} games)" for kind, g in all_games.items()),
        [
            row(name, budgets, e) | {"seeds": seeds_of.get(name, args.seeds)}
            for name, e in errors.items()
            if len(e) == len(args.kinds)
        ],
    )
    print("\nThe default, picture by picture, %:\n")
    print(markdown(by_picture(all_games, budgets, of_default)))
    print("\nCoverage of 95 % intervals, %:\n")
    lines = [
        row(name, budgets, c)
        for name, c in coverage.items()
        if any(not math.isnan(x) for x in next(iter(c.values())))
    ]
    print(markdown([{k: v for k, v in line.items() if k != "rows to 10 %"} for line in lines]))


if __name__ == "__main__":
    main()
