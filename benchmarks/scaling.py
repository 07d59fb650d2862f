"""How ``captum-spectral score`` scales with processes, one thread each.

The command runs under ``torchrun`` on a folder of views of the photographs, with few and with many
pictures: the difference of the two times is what the additional pictures take, without starting
Python and loading the network. A process more is worth it as long as the rate grows.

What it means for a large data set is arithmetic: N pictures at R model rows each take
``N R / (G r)`` seconds on G devices that do r rows per second, plus one exchange of some kilobytes
per batch and process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import arguments, report, start
from data import crops


def run(folder: Path, pictures: int, processes: int, model: str, samples: int) -> float:
    """Seconds of one run of the command."""
    torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    torchrun += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    command = ["-m", "captum_spectral", "score", "--model", model, "--samples", str(samples)]
    command += ["--data", str(folder), "--max-examples", str(pictures)]
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, *torchrun, *command, "--out", out],
            check=True,
            capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return time.perf_counter() - begin


def main() -> None:
    """Run the benchmark."""
    parser = arguments(__doc__, rounds=2)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--few", type=int, default=16, help="pictures (default: %(default)s)")
    parser.add_argument("--many", type=int, default=80, help="pictures (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    args = start(parser)
    seconds: dict[int, list[float]] = {count: [] for count in args.processes}
    whole: dict[int, list[float]] = {count: [] for count in args.processes}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, crop in enumerate(crops(args.many)):
            crop.save(folder / f"{i}.png")
        for r in range(args.rounds):
            for count in args.processes if r % 2 == 0 else reversed(args.processes):
                few, many = (
                    run(folder, pictures, count, args.model, args.samples)
                    for pictures in (args.few, args.many)
                )
                seconds[count].append(many - few)
                whole[count].append(many)
    reference = min(seconds[args.processes[0]])
    rows = [
        {
            "processes": count,
            "pictures/s": round((args.many - args.few) / min(seconds[count]), 2),
            f"seconds for {args.many} with start-up": round(min(whole[count]), 1),
            "speed-up": round(reference / min(seconds[count]), 2),
        }
        for count in args.processes
    ]
    report(args, f"Processes of one thread each, {args.model}", rows)


if __name__ == "__main__":
    main()
