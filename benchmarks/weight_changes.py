"""Which method says which layers made the difference: all of them beside exact Shapley values.

A CNN of six layers learns Fashion-MNIST; its weights are rounded to a few bits, each output channel
to its own grid. The game is WeightGame: the layers are players, v(none) is the float network and
v(all) the rounded one. Its output is the cross entropy of an image, or the logit of its label.

    Shapley values              exact, 2^6 rows per image
    IntegratedGradients         over the gates of the layers, 16 steps
    leave one in                v(i) - v(none)
    leave one out               v(all) - v(all but i)
    gradient, float             of the gates at 0: the first order at the float weights
    half Hessian, float         with half of the second order: g_i + sum_j H_ij / 2
    gradient, rounded           of the gates at 1
    relative change             |Delta| / |W| of each layer

Three numbers for each: the correlation with Shapley values over the layers, both in the mean over
images; the correlation over layers and images, each image for itself, where the method has that;
and the sum over layers over the change of the output, 1 for a method that is complete. At 2 bits
the network is broken; the table shows what becomes of the methods there.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import torch
from captum.attr import IntegratedGradients
from common import arguments, report, start
from data import Pool, accuracy, fashion_mnist, fit
from torch import Tensor, nn

from captum_spectral.coalitions import Exact
from captum_spectral.weights import WeightGame
from captum_spectral.weights.changes import LayerChange

STEPS = 16
OUTPUTS = ("cross entropy", "logit")


class Output(nn.Module):
    """One number for each image."""

    def __init__(self, network: nn.Module, kind: str) -> None:
        super().__init__()
        self.network, self.kind = network, kind

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return ``(B,)``."""
        logits = self.network(x)
        if self.kind == "logit":
            return logits.gather(1, labels[:, None])[:, 0]
        return nn.functional.cross_entropy(logits, labels, reduction="none")


def network(pool: Pool, epochs: int, seed: int) -> nn.Module:
    """A CNN of six layers in eval mode, trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10)),
        )
        fit(model, pool, epochs, torch.Generator())
    return model.eval()


@torch.no_grad()
def rounded(model: nn.Module, bits: int) -> nn.Module:
    """The same with every weight on the grid of its output channel; biases stay."""
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            rows = module.weight.flatten(1)
            step = rows.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
            module.weight.copy_(((rows / step).round() * step).reshape(module.weight.shape))
    return other


def answers(game: WeightGame, alone: int) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Of each method: ``(P,)`` in the mean over images, ``(B, P)`` of each or of the first few."""
    count = game.num_players
    one, eye = torch.ones(1, count), torch.eye(count, dtype=torch.bool)
    ends = torch.stack([torch.zeros(count), torch.ones(count)]).bool()
    exact = game.solve(Exact(count)).values
    values = game.evaluate(torch.cat([ends, eye, ~eye])).double()
    none, full, single, without = values.split([1, 1, count, count], 1)
    method = IntegratedGradients(game)
    integrated = method.attribute(one, n_steps=STEPS).detach()[0]
    each = method.attribute(
        one.expand(alone, -1), n_steps=STEPS, additional_forward_args=torch.arange(alone)
    )

    def slope(gates: Tensor) -> Tensor:
        gates = gates.clone().requires_grad_()
        return torch.autograd.grad(game(gates).sum(), gates)[0][0]

    def slope_of_each(place: float) -> Tensor:
        gates = torch.full((alone, count), place, requires_grad=True)
        return torch.autograd.grad(game(gates, torch.arange(alone)).sum(), gates)[0]

    hessian = torch.autograd.functional.hessian(lambda g: game(g[None]).sum(), torch.zeros(count))
    assert isinstance(game.change, LayerChange)
    flat = slope(0 * one)
    found: dict[str, tuple[Tensor, Tensor | None]] = {
        "Shapley values": (exact.mean(0), exact),
        "IntegratedGradients": (integrated, each.detach()),
        "leave one in": ((single - none).mean(0), single - none),
        "leave one out": ((full - without).mean(0), full - without),
        "gradient, float": (flat, slope_of_each(0.0)),
        "half Hessian, float": (flat + hessian.sum(1) / 2, None),
        "gradient, rounded": (slope(one), slope_of_each(1.0)),
        "relative change": (torch.tensor(game.change.relative_changes()), None),
    }
    return found


def correlation(x: Tensor, y: Tensor) -> float:
    """Pearson's, of all entries."""
    pair = torch.stack([x.double().flatten(), y.double().flatten()])
    return float(torch.corrcoef(pair)[0, 1])


def compared(model: nn.Module, pool: Pool, bits: int, kind: str, alone: int) -> dict[str, Any]:
    """The three numbers of every method."""
    both = [Output(each, kind).eval() for each in (rounded(model, bits), model)]
    game = WeightGame(
        both[0], pool.images, baselines=both[1], additional_forward_args=(pool.labels,)
    )
    found = answers(game, alone)
    mean, each = found["Shapley values"]
    assert each is not None
    change = float(mean.sum())
    numbers = {
        name: {
            "layers": correlation(own, mean),
            "images": None if of is None else correlation(of, each[: len(of)]),
            "sum": None if name == "relative change" else float(own.double().sum()) / change,
        }
        for name, (own, of) in found.items()
    }
    return {
        "output": kind,
        "bits": bits,
        "change": change,
        "values": dict(zip(game.names, mean.tolist(), strict=True)),
        "methods": numbers,
    }


def main() -> None:
    """Train, round, compare; a table for each output."""
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--epochs", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the network; default: %(default)s")
    parser.add_argument("--images", type=int, default=500, help="default: %(default)s")
    parser.add_argument(
        "--alone", type=int, default=50, help="images that are also looked at alone"
    )
    parser.add_argument("--bits", type=int, nargs="+", default=[6, 4, 3, 2])
    args = start(parser)
    test = fashion_mnist(args.root)
    begin = time.perf_counter()
    model = network(fashion_mnist(args.root, train=True), args.epochs, args.seed)
    print(f"trained in {time.perf_counter() - begin:.0f} s")
    accuracies = {"float": accuracy(model, test)}
    accuracies |= {f"{bits} bits": accuracy(rounded(model, bits), test) for bits in args.bits}
    print("accuracy: " + ", ".join(f"{name} {share:.3f}" for name, share in accuracies.items()))
    pool = test.take(torch.arange(args.images))
    found = []
    for kind in OUTPUTS:
        for bits in args.bits:
            found.append(compared(model, pool, bits, kind, min(args.alone, args.images)))
            print(found[-1]["output"], bits, found[-1]["values"], flush=True)
    rows = []
    for kind in OUTPUTS:
        own = [one for one in found if one["output"] == kind]
        for name in own[0]["methods"]:
            row = {"output": kind, "method": name}
            for one in own:
                numbers = one["methods"][name]
                row[f"{one['bits']} bits ({one['change']:+.3f})"] = ", ".join(
                    "–" if number is None else f"{number:.{digits}f}"
                    for number, digits in zip(numbers.values(), (3, 3, 2), strict=True)
                )
            rows.append(row)
    title = f"Methods beside exact Shapley values of layers, {args.images} images, seed {args.seed}"
    # The change of the output differs between outputs, and with it the heads of columns.
    for kind in OUTPUTS:
        part = [row for row in rows if row["output"] == kind]
        report(args, f"{title}: {kind}", part, accuracies=accuracies, comparisons=found)


if __name__ == "__main__":
    main()
