"""On a GPU: the synthesis kernel against a copy, and explanations against the bare model.

Without one it says so, and what to run where there is one. With one image there are 256 rows, too
few to find out whether 256 at once would be faster than 128.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from common import NETWORKS, arguments, in_turns, photographs, report, run_in_batches, start
from torch import Tensor

from captum_spectral import SpectralShapley
from captum_spectral._engine.synthesis import synthesize
from captum_spectral.coalitions import all_coalitions

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
BATCHES = (32, 64, 128, 256, 512, 1024)


def milliseconds(task: Callable[[], Any], repeats: int = 50) -> float:
    """The median of a task that keeps the device busy, by events on the device."""
    for _ in range(5):
        task()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        task()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def bandwidth(num_bands: int = 8, examples: int = 4) -> list[dict[str, Any]]:
    """All coalitions of a few photographs; bytes are bands read once and rows written once."""
    coalitions = all_coalitions(num_bands).cuda()
    size = 3 * 224 * 224
    signals = torch.randn(examples, 1 + num_bands, size, device="cuda")
    table = []
    for name, dtype in DTYPES.items():
        out = torch.empty(examples, len(coalitions), size, dtype=dtype, device="cuda")
        num_bytes = signals.numel() * 4 + out.numel() * out.element_size()
        # A copy that moves the same bytes: half of them read, half written.
        source = torch.empty(num_bytes // 2, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        ours = milliseconds(lambda o=out: synthesize(signals, coalitions, o))
        copy = milliseconds(lambda s=source, t=target: t.copy_(s))
        table.append(
            {
                "dtype": name,
                "rows": examples * len(coalitions),
                "kernel, GB/s": round(num_bytes / ours / 1e6),
                "copy, GB/s": round(num_bytes / copy / 1e6),
                "ratio": round(copy / ours, 3),
            }
        )
    return table


def throughput(network: str, count: int, autocast: bool, rounds: int) -> dict[str, Any]:
    """Rows per second of the explanation and of the bare model at its best batch size."""
    device = torch.device("cuda")
    model = NETWORKS[network]().to(device)
    images = photographs(count).to(device)
    rows = torch.randn(2048, 3, 224, 224, device=device)

    def precision() -> Any:
        return torch.autocast("cuda", dtype=torch.bfloat16) if autocast else nullcontext()

    def bare(batch: int) -> None:
        with precision():
            run_in_batches(model, rows, batch)

    def attribute() -> Tensor:
        with precision():
            return SpectralShapley(model).attribute(images, 0, return_input_shape=False)

    tasks: dict[Any, Callable[[], Any]] = {b: lambda b=b: bare(b) for b in BATCHES}
    tasks["attribute"] = attribute
    for _ in range(3):  # the chunk grows from call to call while they are short
        in_turns(tasks, 1, device)
    times = in_turns(tasks, rounds, device)
    bare_rate = {b: len(rows) / statistics.median(times[b]) for b in BATCHES}
    best = max(bare_rate, key=bare_rate.__getitem__)
    ours = 256 * count / statistics.median(times["attribute"])
    return {
        "network": network,
        "images": count,
        "precision": "bf16 autocast" if autocast else "float32",
        "best batch": best,
        "bare model, rows/s": round(bare_rate[best]),
        "attribute, rows/s": round(ours),
        "ratio": round(ours / bare_rate[best], 3),
    }


def main() -> None:
    """Both tables, or how to get them."""
    parser = arguments(__doc__)
    parser.add_argument("--networks", nargs="+", default=["ResNet-50", "ViT-B/16"])
    args = start(parser)
    if not torch.cuda.is_available():
        print("Not measured: no CUDA device. Where there is one: python benchmarks/gpu.py")
        return
    report(args, "Synthesis kernel against a device-to-device copy", kernel := bandwidth())
    table = []
    for network in args.networks:
        for autocast in (False, True):
            for count in (1, 16, 64):
                table.append(throughput(network, count, autocast, args.rounds))
                print(table[-1], flush=True)
    report(args, "Throughput, M = 8", table, kernel=kernel)


if __name__ == "__main__":
    main()
