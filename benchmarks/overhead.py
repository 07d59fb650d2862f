"""What explaining costs beyond running the model.

Two numbers: the time of ``attribute`` over that of the bare model on the same rows, ready in
memory, at the batch size that is best for it; and the part of the time of ``attribute`` that is
spent outside of the model. The first also holds what the rows of one do to the caches and the
allocator of the other, which on a shared machine is a few per cent in either direction.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter

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


class Timed(nn.Module):
    """A model that adds up the time spent in it and counts the batch sizes it meets."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seconds, self.chunks = model, 0.0, Counter()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        begin = time.perf_counter()
        output = self.model(x)
        self.seconds += time.perf_counter() - begin
        self.chunks[len(x)] += 1
        return output


def coalition_rows(images: Tensor, num_bands: int) -> Tensor:
    """All rows that the explanation shows the model, as one tensor."""
    seen = []
    game = BandGame(lambda x: seen.append(x) or x[:, 0, 0, :1], images, num_bands=num_bands)
    game.evaluate(all_coalitions(num_bands))
    return torch.cat(seen)


def best_batch(model: nn.Module, rows: Tensor) -> int:
    """The batch size at which the bare model is fastest."""
    some = rows[:64]
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
        model = Timed(NETWORKS[name]())
        batch = best_batch(model, coalition_rows(photographs(1), args.bands))
        for count in args.images:
            images = photographs(count)
            rows = coalition_rows(images, args.bands)
            outside = []

            def attribute(model=model, images=images, outside=outside) -> None:
                model.seconds, model.chunks = 0.0, Counter()
                total = seconds(
                    lambda: SpectralShapley(model).attribute(images, 0, num_bands=args.bands)
                )
                outside.append(1 - model.seconds / total)

            first = seconds(attribute)
            tasks = {
                "bare": lambda m=model, r=rows, b=batch: run_in_batches(m, r, b),
                "attribute": attribute,
            }
            times = in_turns(tasks, args.rounds)
            attribute()
            table.append(
                {
                    "network": name,
                    "images": count,
                    "rows": len(rows),
                    "best batch": batch,
                    "automatic chunk": model.chunks.most_common(1)[0][0],
                    "bare model, s": round(statistics.median(times["bare"]), 2),
                    "attribute, s": round(statistics.median(times["attribute"]), 2),
                    "ratio": round(ratio(times["attribute"], times["bare"]), 3),
                    "outside the model": f"{statistics.median(outside[1:]):.1%}",
                    "first call, s": round(first, 2) if count == args.images[0] else "",
                }
            )
            print(table[-1], flush=True)
    report(args, f"Overhead, M = {args.bands}, median of {args.rounds} rounds", table)


if __name__ == "__main__":
    main()
