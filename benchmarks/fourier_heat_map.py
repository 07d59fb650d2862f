"""What a Fourier heat map costs beyond running the model, and what one looks like.

The time of ``fourier_heat_map`` over that of the bare model on as many rows, ready in memory and in
batches of the size that is best for it, taken in turns, by the clock and by the processor's time,
which a busy machine blurs less; and the part of it that is spent outside of the model. "In such
batches" is the heat map in batches of that size, in place of one that it finds by the clock. One
thread (``--threads 1``) makes both clocks comparable. Without Fashion-MNIST the images are noise
and the CNN has random weights, which changes no time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import (
    BATCHES,
    arguments,
    cpu_seconds,
    in_turns,
    ratio,
    report,
    run_in_batches,
    seconds,
    start,
)
from data import fashion_mnist, train_fashion_cnn
from torch import Tensor, nn

from captum_spectral.robustness.sensitivity import band_sensitivity, fourier_heat_map
from captum_spectral.visualization import visualize_heat_maps

NORM = 2.0


class Timed(nn.Module):
    """A model that adds up the time spent in it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seconds = model, 0.0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        begin = time.perf_counter()
        output = self.model(x)
        self.seconds += time.perf_counter() - begin
        return output


def cnn() -> nn.Module:
    """The CNN with about 105,000 parameters."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(3136, 27), nn.ReLU(), nn.Linear(27, 10)),
    ).eval()


def both_clocks(task: Callable[[], Any], device: torch.device | None) -> tuple[float, float]:
    """What one call takes by the clock, and of the processor."""
    cpu: list[float] = []
    wall = seconds(lambda: cpu.append(cpu_seconds(task)), device)
    return wall, cpu[0]


def beside(unit: str, found: dict[str, list[float]]) -> dict[str, float]:
    """Columns of one clock: the medians, and the median of the ratios of the rounds."""
    bare = found["bare model"]
    columns = {f"{name}, {unit}": round(statistics.median(t), 2) for name, t in found.items()}
    ratios = {f"ratio, {unit}": ratio(found["heat map"], bare)}
    ratios[f"ratio in such batches, {unit}"] = ratio(found["in such batches"], bare)
    return {**columns, **{name: round(r, 3) for name, r in ratios.items()}}


def main() -> None:
    """One network, one heat map."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=28, help="pixels (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST; trains the CNN")
    parser.add_argument("--figure", type=Path, help="draw the heat map to this file")
    args = start(parser)
    if args.data:
        model = train_fashion_cnn(args.data)
        images, labels, _ = fashion_mnist(args.data).take(torch.arange(args.images))
    else:
        model, images = cnn(), torch.rand(args.images, 1, args.size, args.size)
        labels = torch.zeros(args.images, dtype=torch.int64)
    heat = fourier_heat_map(model, images, labels, NORM)  # finds the size of a chunk
    rows = images.repeat_interleave(heat.num_rows // len(images), 0)
    some = rows[:512]
    tasks = {b: lambda b=b: run_in_batches(model, some, b) for b in (*BATCHES[3:], 128, 256)}
    in_turns(tasks, 1)  # warm-up
    times = in_turns(tasks, 3, measure=cpu_seconds)
    batch = min(times, key=lambda b: statistics.median(times[b]))
    found = in_turns(
        {
            "bare model": lambda: run_in_batches(model, rows, batch),
            "heat map": lambda: fourier_heat_map(model, images, labels, NORM),
            "in such batches": lambda: [
                fourier_heat_map(
                    *(model, part, of, NORM), perturbations_per_eval=max(batch // len(part), 1)
                )
                for part, of in zip(images.split(batch), labels.split(batch), strict=True)
            ],
        },
        args.rounds,
        measure=both_clocks,
    )
    wall, cpu = ({name: [t[i] for t in times] for name, times in found.items()} for i in (0, 1))
    timed = Timed(model)
    fourier_heat_map(timed, images, labels, NORM)  # finds the size of a chunk of this one
    timed.seconds = 0.0
    total = seconds(lambda: fourier_heat_map(timed, images, labels, NORM))
    bands = band_sensitivity(model, images, labels, NORM)
    table = [
        {
            "images": len(images),
            "rows": heat.num_rows,
            "rows per image": heat.num_rows // len(images),
            "rows per image, bands": bands.num_rows // len(images),
            "best batch": batch,
            **beside("s", wall),
            **beside("CPU s", cpu),
            "outside the model": f"{1 - timed.seconds / total:.1%}",
        }
    ]
    report(args, f"Fourier heat map, median of {args.rounds} rounds", table)
    if args.figure:
        figure, _ = visualize_heat_maps({"CNN": heat.value}, unit=heat.unit, use_pyplot=False)
        figure.savefig(args.figure, dpi=150)


if __name__ == "__main__":
    main()
