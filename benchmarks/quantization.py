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

``--restore`` asks which layers to restore: layers of the rounded network get their float weights
back in the order of an attribution or a habit, as long as they fit in a share of all weights, or
of the CNN the first one to three, and the table has how often the network then agrees with the
float one, in brackets the share of the weights that were restored.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
from captum.attr import IntegratedGradients
from common import arguments, report, start
from data import accuracy, fashion_mnist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from captum_spectral import WeightShapley
from captum_spectral.sources.models import load_model
from captum_spectral.sources.pictures import shipped_photographs
from captum_spectral.weights import (
    ResidualAdapters,
    WeightGame,
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
NUMBERS = (1, 2, 3)  # of layers of the CNN to restore
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


def worth(
    model: nn.Module, rounded: nn.Module, images: Tensor, args: argparse.Namespace
) -> tuple[WeightGame, dict[str, Tensor]]:
    """What each way of asking says that restoring each layer is worth, ``(P,)``."""
    classes = classes_of(model, images)
    game = WeightGame(
        nn.Sequential(model, nn.LogSoftmax(1)),
        images,
        classes,
        baselines=nn.Sequential(rounded, nn.LogSoftmax(1)),
    )
    count = game.num_players
    shapley = WeightShapley(game.model).attribute(
        images,
        classes,
        baselines=nn.Sequential(rounded, nn.LogSoftmax(1)),
        budget=None if count <= 12 else args.rows,
    )
    found = {"Shapley": shapley.mean(0)}
    gates = torch.ones(1, count)
    found["IG over gates"] = IntegratedGradients(game).attribute(
        gates, n_steps=args.ig_steps, internal_batch_size=1
    )[0]
    for name, where in (("gradient at rounded", 0.0), ("gradient at float", 1.0)):
        at = torch.full((1, count), where, requires_grad=True)
        found[name] = torch.autograd.grad(game(at).sum(), at)[0][0]
    eye = torch.eye(count, dtype=torch.bool)
    ends = game.evaluate(torch.stack([torch.zeros(count), torch.ones(count)]).bool()).mean(0)
    found["leave one out"] = ends[1] - game.evaluate(~eye).mean(0)
    found["leave one in"] = game.evaluate(eye).mean(0) - ends[0]
    ratios = torch.tensor(game.change.relative_changes())
    sizes = torch.tensor(
        [float(sum((a - b).square().sum() for a, b in pairs)) for pairs in by_player(game)]
    ).sqrt()
    found["|D|"], found["|D| / |W|"] = sizes, ratios
    return game, {name: x.detach().double() for name, x in found.items()}


def asked_again(game: WeightGame, counts: Tensor) -> Tensor:
    """Layers by the gradient per weight, which is asked again after each that is restored."""
    gates, order = torch.zeros(1, len(counts)), []
    for _ in range(len(counts)):
        at = gates.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(game(at).sum(), at)
        per_weight = (slopes[0].double() / counts).masked_fill(gates[0] > 0, -math.inf)
        order.append(int(per_weight.argmax()))
        gates[0, order[-1]] = 1
    return torch.tensor(order)


def orders(
    model: nn.Module, rounded: nn.Module, images: Tensor, counts: Tensor, args: argparse.Namespace
) -> dict[tuple[str, str], Tensor]:
    """The layers in the order of every way of asking, and of taking what it says."""
    game, values = worth(model, rounded, images, args)
    found = {}
    for name, x in values.items():
        found[name, "value"] = x.argsort(descending=True)
        found[name, "value per weight"] = (x / counts).argsort(descending=True)
    found["gradient, asked again", "value per weight"] = asked_again(game, counts)
    return found


def by_player(game: WeightGame) -> list[list[tuple[Tensor, Tensor]]]:
    """The tensors of every layer before and after."""
    pairs: list[list[tuple[Tensor, Tensor]]] = [[] for _ in game.names]
    for name, pair in game.change._changed.items():
        pairs[game.change._player[name]].append(pair)
    return pairs


def first_layers(order: Tensor, number: int) -> Tensor:
    """The first layers of an order."""
    gates = torch.zeros(len(order), dtype=torch.bool)
    gates[order[:number]] = True
    return gates


def gates_within(order: Tensor, counts: Tensor, share: float) -> Tensor:
    """Which layers get their float weights back: in this order, those that fit in the share."""
    gates, left = torch.zeros(len(order), dtype=torch.bool), share * float(counts.sum())
    for player in order.tolist():
        if float(counts[player]) <= left:
            gates[player] = True
            left -= float(counts[player])
    return gates


def restore(args: argparse.Namespace) -> None:
    """How often the network agrees with the float one with some layers restored, by the order."""
    shares = tuple(args.shares)
    if args.photographs:
        model, folds = lite_folds()
        cases = [(model, {"bits": 4}, images, tested) for images, tested in folds]
        columns = [f"{share:.0%} of weights" for share in shares]
    else:
        test, train = fashion_mnist(args.root), fashion_mnist(args.root, train=True)
        cases = [
            (
                trained(args.root, args.networks, seed, args.epochs, args.train),
                {"bits": args.bits, "per_channel": False},
                train.images[200 * seed : 200 * seed + args.asked],
                test.images[: args.images],
            )
            for seed in range(args.seeds)
        ]
        columns = [f"first {number} layers" for number in NUMBERS]
    table: dict[tuple[str, str], list[Tensor]] = {}
    restored: dict[tuple[str, str], list[list[float]]] = {}
    before: list[Tensor] = []
    for model, options, images, tested in cases:
        rounded = quantize_weights(model, **options).model
        classes = classes_of(model, tested)
        game = WeightGame(model, tested, baselines=rounded)
        counts = torch.tensor([sum(a.numel() for a, _ in pairs) for pairs in by_player(game)])

        def hits(gates: Tensor, game: Any = game, classes: Tensor = classes) -> Tensor:
            outputs = game.evaluate(gates[None], internal_batch_size=50)[:, 0]
            return outputs.argmax(1) == classes

        before.append(hits(torch.zeros(len(counts), dtype=torch.bool)))
        for (name, how), order in orders(model, rounded, images, counts, args).items():
            # Of few layers of very different sizes a share lets in the same ones in any order.
            chosen = [gates_within(order, counts, share) for share in shares]
            if not args.photographs:
                chosen = [first_layers(order, number) for number in NUMBERS]
            found = torch.stack([hits(gates) for gates in chosen])
            weights = [float((counts * gates).sum() / counts.sum()) for gates in chosen]
            restored.setdefault((name, how), []).append(weights)
            table.setdefault((name, how), []).append(found)
            print(name, how, [f"{x:.3f}" for x in found.double().mean(1)], flush=True)
    if args.photographs:
        title = f"EfficientNet-Lite0, 4 bits ({share_of(torch.cat(before))} with none)"
        rows = rows_of_photographs(table, columns)
    else:
        nothing = interval([float(one.double().mean()) for one in before])
        title = f"Fashion-MNIST, {args.bits} bits ({nothing} with none)"
        rows = []
        for (name, how), found in table.items():
            row = {"order by": name, "taken": how}
            for i, column in enumerate(columns):
                weight = sum(w[i] for w in restored[name, how]) / len(found)
                agreed = interval([float(one[i].double().mean()) for one in found])
                row[column] = f"{agreed} ({weight:.1%})"
            rows.append(row)
    report(args, f"Agreement with some layers restored, {title}", rows)


def rows_of_photographs(
    table: dict[tuple[str, str], list[Tensor]], columns: list[str]
) -> list[dict[str, str]]:
    """Agreement at every share, its mean over shares, and that less what the sizes alone give."""
    pooled = {key: torch.cat(found, 1).double() for key, found in table.items()}
    habit = pooled["|D|", "value per weight"].mean(0)
    return [
        {
            "order by": name,
            "taken": how,
            **{column: f"{float(x):.2f}" for column, x in zip(columns, hits.mean(1), strict=True)},
            "mean": share_of(hits.mean(0)),
            "less |D| per weight": share_of(hits.mean(0) - habit),
        }
        for (name, how), hits in pooled.items()
    ]


def main() -> None:
    """One of three tables."""
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where Fashion-MNIST is")
    parser.add_argument("--networks", type=Path, default=Path("data"), help="where to keep CNNs")
    parser.add_argument("--photographs", action="store_true", help="EfficientNet-Lite0")
    parser.add_argument("--restore", action="store_true", help="which layers to restore")
    parser.add_argument("--epochs", type=int, default=3, help="of training")
    parser.add_argument("--train", type=int, default=60_000, help="images to train on")
    parser.add_argument("--seeds", type=int, default=3, choices=tuple(T), help="networks")
    parser.add_argument("--images", type=int, default=5000, help="to test on")
    parser.add_argument("--calibration", type=int, default=1600, help="images")
    parser.add_argument("--steps", type=int, default=100, help="of the search, of 32 images")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.1])
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS))
    parser.add_argument("--lite-steps", type=int, default=20, help="of 32 photographs")
    parser.add_argument("--bits", type=int, default=3, help="of --restore on Fashion-MNIST")
    parser.add_argument("--asked", type=int, default=100, help="images that orders are made on")
    parser.add_argument("--ig-steps", type=int, default=8)
    parser.add_argument("--rows", type=int, default=256, help="per photograph, of Shapley values")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[0.01, 0.02, 0.05, 0.1, 0.2, 0.4]
    )
    args = start(parser)
    if args.restore:
        restore(args)
    elif args.photographs:
        photographs(args)
    else:
        fashion(args)


if __name__ == "__main__":
    main()
