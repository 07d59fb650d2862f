"""What explaining costs beyond running the model.

The time of ``attribute`` over that of the bare model on the same rows, ready in memory, at the
batch size that is best for it: as it is, and without the shortcuts of the engine (memory format,
affine first layers). The bare model on rows that are channels_last is beside them, because most of
what shortcuts save is in the format. The ratios also hold what the rows of one do to the caches and
the allocator of the other, which on a shared machine is a few per cent in either direction.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable

import torch
from common import (
    BATCHES,
    NETWORKS,
    arguments,
    cpu_seconds,
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


class Counted(nn.Module):
    """A model that counts the batch sizes it meets."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.chunks = model, Counter()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.chunks[len(x)] += 1
        return self.model(x)


def coalition_rows(images: Tensor, num_bands: int) -> Tensor:
    """All rows that the explanation shows the model, as one tensor."""
    seen = []
    game = BandGame(lambda x: seen.append(x) or x[:, 0, 0, :1], images, num_bands=num_bands)
    game.evaluate(all_coalitions(num_bands))
    return torch.cat(seen)


def best_batch(model: nn.Module, rows: Tensor, measure: Callable[..., float] = seconds) -> int:
    """The batch size at which the bare model is fastest."""
    some = rows[:64]
    tasks = {b: lambda b=b: run_in_batches(model, some, b) for b in BATCHES}
    in_turns(tasks, 1)  # warm-up
    times = in_turns(tasks, 3, measure=measure)
    return min(times, key=lambda b: statistics.median(times[b]))


def main() -> None:
    """Three networks, one image and four."""
    parser = arguments(__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS)[:3], choices=NETWORKS)
    parser.add_argument("--images", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--bands", type=int, default=8)
    parser.add_argument(
        "--cpu-time", action="store_true", help="that of the processor, on a busy machine"
    )
    args = start(parser)
    measure = cpu_seconds if args.cpu_time else seconds
    table = []
    for name in args.networks:
        model = Counted(NETWORKS[name]())
        batch = best_batch(model, coalition_rows(photographs(1), args.bands), measure)
        for count in args.images:
            images = photographs(count)
            rows = coalition_rows(images, args.bands)
            last = rows.contiguous(memory_format=torch.channels_last)

            def attribute(model=model, images=images, shortcuts=True) -> None:
                model.chunks = Counter()
                SpectralShapley(model).attribute(
                    images, 0, num_bands=args.bands, shortcuts=shortcuts
                )

            def plain(attribute=attribute) -> None:
                attribute(shortcuts=False)

            first = measure(attribute)
            tasks = {
                "bare": lambda m=model, r=rows, b=batch: run_in_batches(m, r, b),
                "channels_last": lambda m=model, r=last, b=batch: run_in_batches(m, r, b),
                "plain": plain,
                "attribute": attribute,
            }
            times = in_turns(tasks, args.rounds, measure=measure)
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
                    "without shortcuts": round(ratio(times["plain"], times["bare"]), 3),
                    "bare, channels_last": round(ratio(times["channels_last"], times["bare"]), 3),
                    "first call, s": round(first, 2) if count == args.images[0] else "",
                }
            )
            print(table[-1], flush=True)
    report(args, f"Overhead, M = {args.bands}, median of {args.rounds} rounds", table)


if __name__ == "__main__":
    main()
