"""The estimators of shapiq on the tables of ``estimator_tables.py``, one line for each result.

    python -m venv peers && peers/bin/pip install shapiq lightgbm xgboost
    peers/bin/python benchmarks/estimator_peers.py --cache tables

Needs NumPy and shapiq alone, so that the newest shapiq (1.8 wants Python 3.12) runs in an
environment of its own; ``estimators.py`` reads what this leaves in the cache. Results are appended
to ``peers-SHAPIQ_VERSION.jsonl``: game, method, budget, seed, the coalitions that the game was
asked for, seconds, and the error relative to the exact values (norms over players, or all pairs).
Those that are there already are not computed again. An estimator that this shapiq does not have, or
that refuses a budget, is left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapiq
import shapiq.approximator as peers

Make = Callable[[int, int], Any]
VALUES: dict[str, Make] = {
    "KernelSHAP, paired": lambda m, s: peers.KernelSHAP(n=m, pairing_trick=True, random_state=s),
    "LeverageSHAP": lambda m, s: peers.LeverageSHAP(n=m, random_state=s),
    "OddSHAP": lambda m, s: peers.OddSHAP(n=m, random_state=s),
    "RegressionMSR, xgboost": lambda m, s: peers.RegressionMSR(n=m, index="SV", random_state=s),
    "ProxySHAP, xgboost": lambda m, s: peers.ProxySHAP(
        n=m, max_order=1, index="SV", adjustment=True, random_state=s
    ),
}
INTERACTIONS: dict[str, Make] = {
    "KernelSHAP-IQ, paired": lambda m, s: peers.KernelSHAPIQ(
        n=m, max_order=2, index="SII", pairing_trick=True, random_state=s
    ),
    "ProxySHAP, xgboost": lambda m, s: peers.ProxySHAP(
        n=m, max_order=2, index="SII", random_state=s
    ),
    "ProxySHAP, xgboost, adjusted": lambda m, s: peers.ProxySHAP(
        n=m, max_order=2, index="SII", adjustment=True, random_state=s
    ),
    "SVARM-IQ": lambda m, s: peers.SVARMIQ(
        n=m, max_order=2, index="SII", pairing_trick=True, random_state=s
    ),
}


class Lookup:
    """A game that looks its values up, and counts."""

    def __init__(self, table: np.ndarray[Any, Any]) -> None:
        self.table = table
        self.seen: set[int] = set()

    def __call__(self, coalitions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        rows = np.atleast_2d(np.asarray(coalitions, bool))
        codes = rows @ (1 << np.arange(rows.shape[1]))
        self.seen.update(codes.tolist())
        return self.table[codes]


def interaction_indices(table: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
    """Shapley values ``(M,)`` and Shapley interactions ``(M, M)`` of all values, by definition."""
    m = round(math.log2(len(table)))
    codes = np.arange(len(table))
    member = (codes[:, None] >> np.arange(m)) & 1
    size = member.sum(1)
    one = np.array([1 / (m * math.comb(m - 1, s)) for s in range(m)])
    two = np.array([1 / ((m - 1) * math.comb(m - 2, s)) for s in range(m - 1)])
    values, pairs = np.zeros(m), np.zeros((m, m))
    for i in range(m):
        without = codes[member[:, i] == 0]
        values[i] = (one[size[without]] * (table[without | 1 << i] - table[without])).sum()
        for j in range(i):
            rest = without[member[without, j] == 0]
            both = table[rest | 1 << i | 1 << j] - table[rest | 1 << i] - table[rest | 1 << j]
            pairs[i, j] = pairs[j, i] = (two[size[rest]] * (both + table[rest])).sum()
    return values, pairs


def games(cache: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The name and the values of each."""
    for file in sorted(cache.glob("M12-*.npz")):
        with np.load(file) as arrays:
            for column, output in enumerate(("logit", "log-probability")):
                yield f"{file.stem}, {output}", arrays["values"][:, column]


def one(
    make: Make, table: np.ndarray[Any, Any], exact: Any, order: int, budget: int, seed: int
) -> dict[str, Any]:
    """One result."""
    m = round(math.log2(len(table)))
    game = Lookup(table - table[0])  # of the empty coalition 0, as shapiq's own games have it
    start = time.process_time()
    found = make(m, seed).approximate(budget=budget, game=game)
    took = time.process_time() - start
    which = [(i,) for i in range(m)]
    if order == 2:
        which = [(i, j) for i in range(m) for j in range(i + 1, m)]
    estimate = np.array([float(found[key]) for key in which])
    error = float(np.linalg.norm(estimate - exact) / np.linalg.norm(exact))
    return {"error": error, "coalitions": len(game.seen), "seconds": round(took, 4)}


def main() -> None:
    """All results that are not there yet, seed after seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--budgets", nargs="+", type=int, default=[32, 64, 128, 256, 512, 1024])
    parser.add_argument("--seeds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", help="methods; default: all")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    file = args.cache / f"peers-{shapiq.__version__}.jsonl"
    done = set()
    if file.exists():
        for line in file.read_text().splitlines():
            r = json.loads(line)
            done.add((r["game"], r["method"], r["order"], r["budget"], r["seed"]))
    every = [(name, table, interaction_indices(table)) for name, table in games(args.cache)]
    upper = np.triu_indices(12, 1)
    refused: set[tuple[str, int]] = set()
    with file.open("a") as out:
        for seed in range(args.seeds):
            for order, methods in ((1, VALUES), (2, INTERACTIONS)):
                for method, make in methods.items():
                    if args.only and method not in args.only:
                        continue
                    for budget in args.budgets:
                        if order == 2 and budget < 128:
                            continue
                        for name, table, (values, pairs) in every:
                            key = (name, method, order, budget, seed)
                            if key in done or (method, budget) in refused:
                                continue
                            exact = values if order == 1 else pairs[upper]
                            try:
                                result = one(make, table, exact, order, budget, seed)
                            except (AttributeError, ValueError, ImportError) as error:
                                print(f"{method}, {budget} rows: left out, {error}", flush=True)
                                refused.add((method, budget))
                                continue
                            fields = ("game", "method", "order", "budget", "seed")
                            record = dict(zip(fields, key, strict=True)) | result
                            out.write(json.dumps(record) + "\n")
                            out.flush()


if __name__ == "__main__":
    main()
