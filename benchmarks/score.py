"""Where the time of a whole-model score goes: ``score --samples 1`` on JPEG files, end to end.

Views of the shipped photographs are written as JPEG files of the size of ImageNet's, 500 x 375,
and scored as the command does it. A profile of the same work says what reading, transforms, random
numbers, bands and rows take; the last number is the whole over the bare model on as many rows,
ready in memory, at the batch size that is best for it, as it is usually run and in channels_last,
which a score shows a network on a CPU. The profile counts the processor's time; the ratio is of the
clock's, unless ``--cpu-time`` asks for the other on a busy machine.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import BATCHES, arguments, cpu_seconds, in_turns, report, run_in_batches, seconds, start
from data import crops

from captum_spectral.sources.datasets import open_data
from captum_spectral.sources.models import load_model
from captum_spectral.studies import ImportanceSettings, ImportanceStudy

SIZE = (500, 375)
CLASSES = {"class0": 0, "class1": 1}  # any will do
# Stages, by the functions in which they are spent: file and name.
STAGES = {
    "reading and decoding": [("pictures.py", "load"), ("folders.py", "load")],
    "transforms": [("models.py", "apply_transform")],
    "random numbers": [("draws.py", "__init__"), ("draws.py", "orderings")],
    "bands": [("signals.py", "split")],
    "rows": [("signals.py", "write")],
    "model": [("values.py", "of")],
}


def stages_of(profile: cProfile.Profile, total: float) -> dict[str, float]:
    """The part of the time in each stage, and in all else."""
    spent = dict.fromkeys(STAGES, 0.0)
    for (file, _, function), (*_, cumulative, _) in pstats.Stats(profile).stats.items():
        for stage, places in STAGES.items():
            if any(Path(file).name == f and function == name for f, name in places):
                spent[stage] = spent[stage] + cumulative
    return {**spent, "all else": total - sum(spent.values())}


def main() -> None:
    """EfficientNet-Lite0, 8 bands, 16 rows per picture."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--cpu-time", action="store_true", help="that of the processor")
    args = start(parser)
    measure = cpu_seconds if args.cpu_time else seconds
    model = load_model("efficientnet-lite0")
    settings = ImportanceSettings(n_samples=1)
    with tempfile.TemporaryDirectory() as folder:
        for i, image in enumerate(crops(args.pictures)):
            path = Path(folder) / f"class{i % 2}" / f"{i:04d}.jpg"
            path.parent.mkdir(exist_ok=True)
            image.convert("RGB").resize(SIZE).save(path, quality=90)
        pictures = open_data(folder)

        def score() -> None:
            ImportanceStudy(model, pictures, settings, label_map=CLASSES).run()

        rows = torch.randn(32, *model.prepare(pictures.load(0)).shape[1:])
        batches = {b: lambda b=b: run_in_batches(model.module, rows, b) for b in BATCHES[:5]}
        times = in_turns(batches, 2, measure=measure)
        best = min(batches, key=lambda b: statistics.median(times[b]))
        profile = cProfile.Profile(time.process_time)
        profile.enable()
        score()
        profile.disable()
        total = sum(entry[2] for entry in pstats.Stats(profile).stats.values())
        table = [
            {"stage": stage, "s": round(spent, 2), "part": f"{spent / total:.1%}"}
            for stage, spent in stages_of(profile, total).items()
        ]
        report(args, f"score --samples 1, {args.pictures} JPEG files, by stage", table)
        count = 16 * args.pictures
        lying = rows.to(memory_format=torch.channels_last)
        times = in_turns(
            {
                "score": score,
                "bare": lambda: run_in_batches(model.module, rows, best),
                "channels_last": lambda: run_in_batches(model.module, lying, best),
            },
            args.rounds,
            measure=measure,
        )
    scored = statistics.median(times["score"])
    bare, other = (
        statistics.median(times[name]) * count / len(rows) for name in ("bare", "channels_last")
    )
    table = [
        {
            "pictures": args.pictures,
            "rows": count,
            "best batch": best,
            "score, s": round(scored, 1),
            "bare model, s": round(bare, 1),
            "ratio": round(scored / bare, 3),
            "bare, channels_last": round(other / bare, 3),
        }
    ]
    report(args, "score --samples 1 over the bare model on as many rows", table)


if __name__ == "__main__":
    main()
