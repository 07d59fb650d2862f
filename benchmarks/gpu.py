"""On a GPU: the synthesis kernel against a copy, and explanations against the bare model.

Without one it says so, and what to run where there is one; ``--dry`` runs all of it on the CPU with
few rows, so that the script itself is known to work, and its numbers mean nothing. With one image
there are 256 rows, too few to find out whether 256 at once would be faster than 128.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from common import (
    NETWORKS,
    arguments,
    in_turns,
    photographs,
    report,
    run_in_batches,
    seconds,
    start,
)
from torch import Tensor

from captum_spectral import SpectralShapley
from captum_spectral._engine.synthesis import synthesize
from captum_spectral.coalitions import all_coalitions

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
BATCHES = (32, 64, 128, 256, 512, 1024)


def milliseconds(task: Callable[[], Any], device: torch.device, repeats: int = 50) -> float:
    """The median of a task that keeps the device busy, by events on the device."""
    if device.type != "cuda":
        return statistics.median(1000 * seconds(task) for _ in range(3))
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


def bandwidth(device: torch.device, num_bands: int, examples: int) -> list[dict[str, Any]]:
    """All coalitions of a few photographs; bytes are bands read once and rows written once."""
    coalitions = all_coalitions(num_bands).to(device)
    size = 3 * 224 * 224
    signals = torch.randn(examples, 1 + num_bands, size, device=device)
    table = []
    for name, dtype in DTYPES.items():
        out = torch.empty(examples, len(coalitions), size, dtype=dtype, device=device)
        num_bytes = signals.numel() * 4 + out.numel() * out.element_size()
        # A copy that moves the same bytes: half of them read, half written.
        source = torch.empty(num_bytes // 2, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        ours = milliseconds(lambda o=out: synthesize(signals, coalitions, o), device)
        copy = milliseconds(lambda s=source, t=target: t.copy_(s), device)
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


class Setting(NamedTuple):
    """How much is measured, and where."""

    device: torch.device
    batches: tuple[int, ...]
    rows: int
    bands: int
    rounds: int


def throughput(network: str, count: int, autocast: bool, setting: Setting) -> dict[str, Any]:
    """Rows per second of the explanation and of the bare model at its best batch size.

    The bare model runs on rows as they come and on rows that are channels_last; with the shortcuts
    of the engine and without them.
    """
    device, batches, num_rows, bands, rounds = setting
    model = NETWORKS[network]().to(device)
    images = photographs(count).to(device)
    rows = torch.randn(num_rows, 3, 224, 224, device=device)
    formats = {"": rows, " cl": rows.contiguous(memory_format=torch.channels_last)}

    def precision() -> Any:
        return torch.autocast(device.type, dtype=torch.bfloat16) if autocast else nullcontext()

    def bare(form: str, batch: int) -> None:
        with precision():
            run_in_batches(model, formats[form], batch)

    def attribute(shortcuts: bool = True) -> Tensor:
        with precision():
            return SpectralShapley(model).attribute(
                images, 0, num_bands=bands, return_input_shape=False, shortcuts=shortcuts
            )

    tasks: dict[Any, Callable[[], Any]] = {
        (form, b): lambda form=form, b=b: bare(form, b) for form in formats for b in batches
    }
    tasks["attribute"], tasks["plain"] = attribute, lambda: attribute(shortcuts=False)
    for _ in range(3):  # the chunk grows from call to call while they are short
        in_turns(tasks, 1, device)
    times = in_turns(tasks, rounds, device)
    bare_rate = {
        form: max((len(rows) / statistics.median(times[form, b]), b) for b in batches)
        for form in formats
    }
    ours, plain = (
        2**bands * count / statistics.median(times[name]) for name in ("attribute", "plain")
    )
    return {
        "network": network,
        "images": count,
        "precision": "bf16 autocast" if autocast else "float32",
        "best batch": bare_rate[""][1],
        "bare model, rows/s": round(bare_rate[""][0], 1),
        "channels_last, rows/s": round(bare_rate[" cl"][0], 1),
        "attribute, rows/s": round(ours, 1),
        "without shortcuts, rows/s": round(plain, 1),
        "ratio": round(ours / bare_rate[""][0], 3),
        "ratio without shortcuts": round(plain / bare_rate[""][0], 3),
    }


def main() -> None:
    """Both tables, or how to get them."""
    parser = arguments(__doc__)
    parser.add_argument("--networks", nargs="+", default=["ResNet-50", "ViT-B/16"])
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 16, 64], help="images")
    parser.add_argument("--dry", action="store_true", help="on the CPU, to see that it runs")
    args = start(parser)
    setting = Setting(torch.device("cuda"), BATCHES, 2048, 8, args.rounds)
    if args.dry:
        setting = Setting(torch.device("cpu"), (2, 4), 4, 2, 1)
    elif not torch.cuda.is_available():
        print("Not measured: no CUDA device. Where there is one: python benchmarks/gpu.py")
        return
    kernel = bandwidth(setting.device, setting.bands, 1 if args.dry else 4)
    report(args, "Synthesis kernel against a device-to-device copy", kernel)
    table = []
    for network in args.networks:
        for autocast in (False, True):
            for count in args.counts:
                table.append(throughput(network, count, autocast, setting))
                print(table[-1], flush=True)
    report(args, f"Throughput, M = {setting.bands}", table, kernel=kernel)


if __name__ == "__main__":
    main()
