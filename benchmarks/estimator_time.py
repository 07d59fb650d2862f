"""What an estimate costs beyond the model: the estimator alone against the rows it asks for.

    python benchmarks/estimator_time.py --threads 2

One photograph, 32 players, 128 rows, all 1000 outputs of a ResNet-18 (random weights: they do not
change its speed) on these rows, in turns with the estimator on a table of that shape. "Design" is
the choice of coalitions, made once for a number of players, budget and seed, and then kept.

On a machine that others use too, look at the times of the CPU, with ``--threads 1``: "of two cores"
is what the estimator takes of one core over half of what the network takes.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import Any

import torch
from common import NETWORKS, arguments, ratio, report, run_in_batches, start
from estimators import of
from games import MadeUp, made_up

from captum_spectral.coalitions import designed_pairs


def main() -> None:
    """A line for each estimator."""
    parser = arguments(__doc__ or "", rounds=7)
    parser.add_argument("--players", type=int, default=32)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--outputs", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8, help="of the network; default: 8")
    args = start(parser)
    kind, games = next(made_up(args.players, count=1))
    assert isinstance(games, MadeUp), kind
    model = NETWORKS["ResNet-18"]()
    rows = torch.randn(args.rows, 3, 224, 224)
    mix = torch.randn(8, args.outputs, dtype=torch.float64)
    tasks: dict[str, Any] = {"model": partial(run_in_batches, model, rows, args.batch)}
    design: dict[str, float] = {}
    for name in ("gaussian_process", "cross_fitted", "regression", "orderings"):
        designed_pairs.cache_clear()
        begin = time.process_time()
        estimator = of(name)(args.rows, games, 0)
        design[name] = time.process_time() - begin
        # Outputs that are all different: games of their own, of single hidden units.
        sums = estimator.coalitions.numpy() @ games.games[0].weights + games.games[0].offsets
        units = torch.tanh(torch.from_numpy(sums / games.games[0].width))[:, :8]
        tasks[name] = partial(estimator.estimate, (units @ mix).float()[None])
    wall: dict[str, list[float]] = {name: [] for name in tasks}
    busy: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(args.rounds):
        for name, task in tasks.items():
            begin = time.perf_counter(), time.process_time()
            task()
            wall[name].append(time.perf_counter() - begin[0])
            busy[name].append(time.process_time() - begin[1])
    table = [
        {
            "estimator": name,
            "design, ms": round(1000 * design[name], 1),
            "estimate, ms": round(1000 * statistics.median(wall[name]), 1),
            "ResNet-18, ms": round(1000 * statistics.median(wall["model"])),
            "estimate / model": f"{100 * ratio(wall[name], wall['model']):.2f}%",
            "estimate, CPU ms": round(1000 * statistics.median(busy[name]), 1),
            "ResNet-18, CPU ms": round(1000 * statistics.median(busy["model"])),
            "of two cores": f"{100 * 2 * ratio(busy[name], busy['model']):.2f}%",
        }
        for name in design
    ]
    title = f"{args.players} players, {args.rows} rows, {args.outputs} outputs"
    report(args, title + f", medians of {args.rounds} rounds", table)


if __name__ == "__main__":
    main()
