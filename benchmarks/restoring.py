"""Which layers of a rounded network to restore: attributions against habits.

Layers of the rounded network get their float weights back in the order of an attribution or a
habit, as long as they fit in a share of all weights, or of the CNN the first one to three. The
table has how often the network then agrees with the float one, in brackets the share of the weights
that were restored. The networks are those of ``quantization.py``: the CNN of Fashion-MNIST, with
intervals over seeds, or with ``--photographs`` EfficientNet-Lite0, asked on one half of the shipped
photographs and tested on the other, then the other way round.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from captum.attr import IntegratedGradients
from common import arguments, report, start
from data import fashion_mnist
from quantization import T, classes_of, interval, lite_folds, share_of, trained
from torch import Tensor, nn

from captum_spectral import WeightShapley
from captum_spectral.weights import WeightGame, quantize_weights

NUMBERS = (1, 2, 3)  # of layers of the CNN to restore


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
    """Fashion-MNIST or photographs."""
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where Fashion-MNIST is")
    parser.add_argument("--networks", type=Path, default=Path("data"), help="where to keep CNNs")
    parser.add_argument("--photographs", action="store_true", help="EfficientNet-Lite0")
    parser.add_argument("--epochs", type=int, default=3, help="of training")
    parser.add_argument("--train", type=int, default=60_000, help="images to train on")
    parser.add_argument("--seeds", type=int, default=3, choices=tuple(T), help="networks")
    parser.add_argument("--images", type=int, default=5000, help="to test on")
    parser.add_argument("--bits", type=int, default=3, help="of the weights of the CNN")
    parser.add_argument("--asked", type=int, default=100, help="images that orders are made on")
    parser.add_argument("--ig-steps", type=int, default=8)
    parser.add_argument("--rows", type=int, default=256, help="per photograph, of Shapley values")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[0.01, 0.02, 0.05, 0.1, 0.2, 0.4]
    )
    restore(start(parser))


if __name__ == "__main__":
    main()
