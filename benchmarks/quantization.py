"""Accuracy that rounding takes from a CNN, and how much of it adapters of few numbers give back.

A CNN of six layers, one of them depthwise, is trained on Fashion-MNIST. Its weights are rounded to
a few bits and repaired in these ways, all of exactly the same budget, which is a share of the
rounded weights:

    rounded          nothing else
    batch norm       statistics of the batch norms estimated anew on the calibration images: no
                     adapters at all, and what every repair has to be better than
    same fraction    the same fraction of the full rank for every layer, plain metric
    greedy           components of all layers by s_i^2 per number, in the plain metric of the
                     residual or in that of the layers' outputs
    search           cut-offs of a Butterworth filter over components, trained to match the outputs
                     of the float model, their size held at the budget
    soft             the same with the penalty as published; what it takes beyond the budget is cut
                     off again, and the size that it had before stands in brackets

Differences to the float network are paired over test images. Intervals are over seeds, of training
and of the calibration images, by Student's t: three seeds are few.

``--photographs`` is about EfficientNet-Lite0 instead, on the shipped photographs: one half is
calibrated on and the other tested, then the other way round, with the class of the float network as
the label. No ImageNet, and nothing about accuracy on it.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
from common import arguments, report, start
from data import accuracy, fashion_mnist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from captum_spectral.sources.models import load_model
from captum_spectral.sources.pictures import shipped_photographs
from captum_spectral.weights import (
    ResidualAdapters,
    quantize_weights,
    recalibrate_batch_norm,
)

SETTINGS = {
    "W4 tensor": {"bits": 4, "per_channel": False},
    "W4 channel": {"bits": 4},
    "W3 tensor": {"bits": 3, "per_channel": False},
    "W3 channel": {"bits": 3},
    "W2 tensor": {"bits": 2, "per_channel": False},
    "W2 channel": {"bits": 2},
    "W2 channel, mse": {"bits": 2, "clip": "mse"},
}
# Quantiles of Student's t at .975, by the number of seeds.
T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}


def network() -> nn.Module:
    """Six layers with weights, the third of them depthwise."""

    def block(*given: Any, **options: Any) -> list[nn.Module]:
        convolution = nn.Conv2d(*given, padding=1, bias=False, **options)
        return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16, 3, stride=2),
        *block(16, 32, 3),
        *block(32, 32, 3, groups=32),
        *block(32, 64, 3, stride=2),
        *block(64, 64, 3, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def trained(root: Path, folder: Path, seed: int, epochs: int, count: int) -> nn.Module:
    """The network in eval mode, trained once and kept in ``folder``."""
    path = folder / f"fashion-six-layers-{epochs}-of-{count}-seed-{seed}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network()
        if path.exists():
            model.load_state_dict(load_file(path))
            return model.eval()
        images, labels, _ = fashion_mnist(root, train=True)
        images, labels = images[:count], labels[:count]
        steps = epochs * math.ceil(len(images) / 128)
        optimizer = torch.optim.Adam(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
        for _ in range(epochs):
            for some in torch.randperm(len(images)).split(128):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[some]), labels[some]).backward()
                optimizer.step()
                schedule.step()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path)
    return model.eval()


def repaired(
    model: nn.Module,
    options: dict[str, Any],
    images: Tensor,
    budget: float,
    steps: int,
    seed: int,
    skip: tuple[str, ...] = (),
    soft: bool = True,
) -> dict[str, tuple[nn.Module, float, float]]:
    """Name of a repair to the network, the size of its adapters, and that before the cut."""
    rounded = quantize_weights(model, **options)
    found = {
        "rounded": (rounded.model, 0.0, 0.0),
        "batch norm": (recalibrate_batch_norm(rounded.model, images), 0.0, 0.0),
    }
    by = {
        metric: ResidualAdapters(model, rounded, metric, images, skip=skip)
        for metric in ("plain", "output")
    }

    def keep(name: str, metric: str, before: float | None = None) -> None:
        size = by[metric].size
        found[name] = by[metric].fold(), size, size if before is None else before

    by["plain"].allocate(budget, "uniform")
    keep("same fraction", "plain")
    for metric in by:
        by[metric].allocate(budget)
        keep(f"greedy, {metric}", metric)
    found["greedy, output, and batch norm"] = (
        recalibrate_batch_norm(found["greedy, output"][0], images),
        *found["greedy, output"][1:],
    )
    searches = [("plain", "hold"), ("output", "hold")] + [("plain", "soft")] * soft
    if not steps:
        searches = []
    for metric, penalty in searches:
        result = by[metric].search(
            images,
            budget,
            steps,
            penalty=penalty,
            generator=torch.Generator().manual_seed(seed),
        )
        name = "search" if penalty == "hold" else "soft"
        keep(f"{name}, {metric}", metric, result.size_before)
    return found


def interval(values: list[float], digits: int = 3) -> str:
    """Mean and half a 95 % interval over seeds."""
    x = torch.tensor(values, dtype=torch.float64)
    if len(x) < 2:
        return f"{float(x.mean()):.{digits}f}"
    half = T[len(x)] * float(x.std()) / math.sqrt(len(x))
    return f"{float(x.mean()):.{digits}f} ± {half:.{digits}f}"


def fashion(args: argparse.Namespace) -> None:
    """Accuracy on Fashion-MNIST, every setting and repair, over seeds."""
    test = fashion_mnist(args.root)
    test = test.take(torch.arange(min(args.images, len(test.labels))))
    train = fashion_mnist(args.root, train=True)
    models = [
        trained(args.root, args.networks, seed, args.epochs, args.train)
        for seed in range(args.seeds)
    ]
    float_accuracy = [accuracy(model, test) for model in models]
    print(f"float: {interval(float_accuracy)}", flush=True)
    rows, record = [], []
    for budget in args.budgets:
        for setting in args.settings or SETTINGS:
            columns: dict[str, list[float]] = {}
            sizes: dict[str, list[float]] = {}
            begin = time.perf_counter()
            for seed, model in enumerate(models):
                generator = torch.Generator().manual_seed(seed)
                chosen = torch.randperm(len(train.labels), generator=generator)[: args.calibration]
                images = train.images[chosen]
                options = SETTINGS[setting]
                for name, (one, size, before) in repaired(
                    model, options, images, budget, args.steps, seed
                ).items():
                    assert size <= budget
                    columns.setdefault(name, []).append(accuracy(one, test) - float_accuracy[seed])
                    sizes.setdefault(name, []).append(before)
            row = {"setting": setting, "budget": budget}
            for name, differences in columns.items():
                before = sum(sizes[name]) / len(sizes[name])
                more = f" ({before:.3f})" if name.startswith("soft") else ""
                row[name] = interval(differences) + more
            rows.append(row)
            record.append(
                {"setting": setting, "budget": budget, "differences": columns, "before": sizes}
            )
            print(row, f"{time.perf_counter() - begin:.0f} s", flush=True)
    title = (
        f"Accuracy less that of the float network ({interval(float_accuracy)}), Fashion-MNIST, "
        f"{len(test.labels)} test images, {args.seeds} seeds"
    )
    report(args, title, rows, record=record, float_accuracy=float_accuracy)


def lite_folds() -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """EfficientNet-Lite0, and twice one half of the photographs and the other to test on."""
    loaded, pictures = load_model("efficientnet-lite0"), shipped_photographs()
    images = torch.cat([loaded.prepare(pictures.load(i)) for i in range(len(pictures))])
    mixed = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    halves = [images[half] for half in mixed.chunk(2)]
    return loaded.module, [(halves[0], halves[1]), (halves[1], halves[0])]


def classes_of(model: nn.Module, images: Tensor) -> Tensor:
    """What a model takes the images for."""
    with torch.no_grad():
        return torch.cat([model(x).argmax(1) for x in images.split(8)])


def share_of(hits: Tensor) -> str:
    """Mean over photographs and its standard error."""
    values = hits.double()
    return f"{float(values.mean()):.3f} ± {float(values.std()) / math.sqrt(len(values)):.3f}"


def photographs(args: argparse.Namespace) -> None:
    """Agreement of EfficientNet-Lite0 with itself on photographs."""
    model, folds = lite_folds()
    rows, record = [], []
    for budget in args.budgets:
        for setting in args.settings or ("W4 channel",):
            hits: dict[str, list[Tensor]] = {}
            for fold, (images, tested) in enumerate(folds):
                begin = time.perf_counter()
                found = repaired(
                    model,
                    SETTINGS[setting],
                    images,
                    budget,
                    args.lite_steps,
                    fold,
                    skip=("_fc",),
                    soft=False,
                )
                classes = classes_of(model, tested)
                for name, (one, _, _) in found.items():
                    hits.setdefault(name, []).append(classes_of(one, tested) == classes)
                print(f"{setting}, fold {fold}: {time.perf_counter() - begin:.0f} s", flush=True)
            pooled = {name: torch.cat(found) for name, found in hits.items()}
            rows.append(
                {
                    "setting": setting,
                    "budget": budget,
                    **{name: share_of(found) for name, found in pooled.items()},
                }
            )
            record.append(
                {"setting": setting, "budget": budget}
                | {name: found.int().tolist() for name, found in pooled.items()}
            )
            print(rows[-1], flush=True)
    count = sum(len(tested) for _, tested in folds)
    title = (
        f"Agreement with the float EfficientNet-Lite0 on {count} photographs, each half calibrated "
        "on the other; ± is the standard error over photographs"
    )
    report(args, title, rows, record=record)


def main() -> None:
    """One of two tables."""
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where Fashion-MNIST is")
    parser.add_argument("--networks", type=Path, default=Path("data"), help="where to keep CNNs")
    parser.add_argument("--photographs", action="store_true", help="EfficientNet-Lite0")
    parser.add_argument("--epochs", type=int, default=3, help="of training")
    parser.add_argument("--train", type=int, default=60_000, help="images to train on")
    parser.add_argument("--seeds", type=int, default=3, choices=tuple(T), help="networks")
    parser.add_argument("--images", type=int, default=5000, help="to test on")
    parser.add_argument("--calibration", type=int, default=1600, help="images")
    parser.add_argument("--steps", type=int, default=100, help="of the search, of 32 images")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.1])
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS))
    parser.add_argument("--lite-steps", type=int, default=20, help="of 32 photographs")
    args = start(parser)
    if args.photographs:
        photographs(args)
    else:
        fashion(args)


if __name__ == "__main__":
    main()
