"""What explaining costs beyond running the model: time of attribute over time of the bare model.

The bare model gets the same number of rows, ready in memory, at the batch size that is best for it.
"""

from __future__ import annotations

import statistics

import torch
from common import (
    BATCHES,
    NETWORKS,
    arguments,
    in_turns,
    photographs,
    ratio,
    report,
    run_in_batches,
    seconds,
    start,
)
from torch import Tensor, nn

from captum_spectral import BandGame, SpectralShapley
from captum_spectral.coalitions import all_coalitions


def coalition_rows(images: Tensor, num_bands: int) -> Tensor:
    """All rows that the explanation shows the model, as one tensor."""
    seen = []
    game = BandGame(lambda x: seen.append(x) or x[:, 0, 0, :1], images, num_bands=num_bands)
    game.evaluate(all_coalitions(num_bands))
    return torch.cat(seen)


def best_batch(model: nn.Module, rows: Tensor) -> int:
    """The batch size at which the bare model is fastest."""
    some = rows[:128]
    tasks = {b: lambda b=b: run_in_batches(model, some, b) for b in BATCHES}
    in_turns(tasks, 1)  # warm-up
    times = in_turns(tasks, 3)
    return min(times, key=lambda b: statistics.median(times[b]))


def main() -> None:
    """Three networks, one image and four."""
    parser = arguments(__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS)[:3], choices=NETWORKS)
    parser.add_argument("--images", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--bands", type=int, default=8)
    args = start(parser)
    table = []
    for name in args.networks:
        model = NETWORKS[name]()
        for count in args.images:
            images = photographs(count)
            rows = coalition_rows(images, args.bands)
            batch = best_batch(model, rows)

            def attribute(model=model, images=images) -> Tensor:
                return SpectralShapley(model).attribute(images, 0, num_bands=args.bands)

            first = seconds(attribute)
            times = in_turns(
                {
                    "bare": lambda m=model, r=rows, b=batch: run_in_batches(m, r, b),
                    "attribute": attribute,
                },
                args.rounds,
            )
            table.append(
                {
                    "network": name,
                    "images": count,
                    "rows": len(rows),
                    "best batch": batch,
                    "bare model, s": round(statistics.median(times["bare"]), 2),
                    "attribute, s": round(statistics.median(times["attribute"]), 2),
                    "ratio": round(ratio(times["attribute"], times["bare"]), 3),
                    "first call, s": round(first, 2),
                }
            )
            print(table[-1], flush=True)
    report(args, f"Overhead, M = {args.bands}, median of {args.rounds} rounds", table)


if __name__ == "__main__":
    main()
