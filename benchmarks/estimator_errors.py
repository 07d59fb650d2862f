"""Are the standard errors of estimates from few rows true, and which estimates are unbiased?

    python benchmarks/estimator_tables.py --cache tables
    python benchmarks/estimator_errors.py --cache tables

Three tables.

1. Coverage at 32 players, where the exact values are known of made-up games only (``games.py``):
   the share of 95 % intervals, over players, seeds and 4 games of each kind, that hold the exact
   value. That of 12 players and real games comes from ``estimators.py``.
2. The relative error of the same estimates.
3. ``cross_fitted`` on the tables of real games, over 200 seeds, with the prior of the energies, a
   flat one, and a wrong one (energies turned upside down), and beside it the default, which is not
   unbiased. "Off by": the largest distance of the mean estimate from the exact value, over all
   players and games, in standard errors of that mean, beside what the largest of so many normal
   numbers is expected to be. "Error / SE": the root mean square, over all seeds and then the
   smallest and largest over players and games; and for all. "Bias / SD": the root mean square over
   players of the mean error, less what its own noise adds, over that of the spread between seeds;
   the median over games.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from common import arguments, markdown, report, start
from estimators import KINDS, OURS, of, replay, row
from games import Games, made_up, read_tables

PLAYERS = 32
WITH_ERRORS = (
    "gaussian_process",
    "gaussian_process, flat prior",
    "gaussian_process, wrong prior",
    "cross_fitted",
    "orderings",
)


def coverage_and_errors(
    batches: dict[str, Games], budgets: list[int], seeds: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A line of each table for every estimator, kinds of games side by side."""
    errors, coverage = [], []
    for name in ("regression", *WITH_ERRORS):
        of_kind: dict[str, list[float]] = {}
        held: dict[str, list[float]] = {}
        for kind, games in batches.items():
            runs = [replay(OURS[name], games, budget, seeds) for budget in budgets]
            of_kind[kind] = [
                math.exp(float(run.relative(games).log().mean())) if run else math.nan
                for run in runs
            ]
            held[kind] = [run.coverage() if run else math.nan for run in runs]
        errors.append(row(name, budgets, of_kind))
        if name != "regression":
            line = row(name, budgets, held)
            del line["rows to 10 %"]
            coverage.append(line)
    return coverage, errors


def unbiased(cache: Path, budgets: list[int], seeds: int) -> list[dict[str, Any]]:
    """A line for each prior and budget."""
    lines = []
    asked = [("cross_fitted", prior) for prior in ("energy", "flat", "wrong")]
    for name, prior in [*asked, ("gaussian_process", "energy")]:
        for budget in budgets:
            off, ratios, squares, biases = [], [], [], []
            for kind in KINDS:
                games = read_tables(cache, kind)
                run = replay(of(name, prior), games, budget, seeds)
                if run is None:
                    raise SystemExit(f"{name} refuses {budget} rows")
                misses, errors = torch.stack(run.misses), torch.stack(run.errors)
                spread = misses.var(0)
                bias = (misses.mean(0).square() - spread / seeds).mean(-1).clamp(min=0)
                biases.append((bias / spread.mean(-1)).sqrt().flatten())
                off.append((misses.mean(0).abs() / (misses.std(0) / seeds**0.5)).flatten())
                scaled = (misses / errors).square()
                ratios.append(scaled.mean(0).sqrt().flatten())
                squares.append(scaled.flatten())
            all_off, all_ratios = torch.cat(off), torch.cat(ratios)
            share = torch.tensor(1 - 0.5 / len(all_off), dtype=torch.float64)
            lines.append(
                {
                    **{"estimator": name, "prior": prior, "rows": budget, "seeds": seeds},
                    "off by at most (SE of the mean)": f"{float(all_off.max()):.1f}",
                    f"normal, of {len(all_off)}": f"{2**0.5 * float(torch.erfinv(share)):.1f}",
                    "root mean square off": f"{float(all_off.square().mean().sqrt()):.2f}",
                    "error / SE": f"{float(torch.cat(squares).mean().sqrt()):.2f}",
                    "of single players": f"{float(all_ratios.min()):.2f} to "
                    f"{float(all_ratios.max()):.2f}",
                    "bias / SD": f"{float(torch.cat(biases).median()):.2f}",
                }
            )
    return lines


def main() -> None:
    """All three."""
    parser = arguments(__doc__ or "", rounds=1)
    parser.add_argument("--cache", type=Path, help="folder of the tables")
    parser.add_argument("--budgets", nargs="+", type=int, default=[32, 64, 128, 256, 512, 1024])
    parser.add_argument("--seeds", type=int, default=20, help="at 32 players; default: %(default)s")
    parser.add_argument("--unbiased-budgets", nargs="+", type=int, default=[64, 128, 256])
    parser.add_argument("--unbiased-seeds", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--only", choices=("made-up", "unbiased"), help="default: both")
    args = start(parser)
    if args.only != "unbiased":
        batches = dict(made_up(PLAYERS))
        coverage, errors = coverage_and_errors(batches, args.budgets, args.seeds)
        title = "Coverage of 95 % intervals, 32 players, %: networks / polynomials"
        report(args, title, coverage, errors=errors)
        print("\nRelative error of the same, %:\n\n" + markdown(errors))
    if args.only != "made-up":
        if args.cache is None:
            parser.error("--cache is needed for cross_fitted on real games")
        right = unbiased(args.cache, args.unbiased_budgets, args.unbiased_seeds)
        print("\nOver many seeds, real games of 12 players:\n\n" + markdown(right))


if __name__ == "__main__":
    main()
