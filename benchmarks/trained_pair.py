"""Whether saliency and boundary saliency are closer to each other on a robust network.

So claim Wang, Fredrikson and Datta (ICML 2022). Two CNNs of one architecture learn Fashion-MNIST
with the same seed, epochs, schedule and batches: an ordinary one, and a robust one that is shown
the images under an l2 attack instead (Madry et al., ICLR 2018; ``L2Attack`` in ``data.py``). On
test images that all networks classify correctly, with S the gradient at the image x and B that at
x', the nearest boundary point that was found,

    gap                     |S - B|
    relative gap            |S - B| / |S|
    1 - cosine              of the angle between S and B
    ..., same distance      with B from the way to x', as far from x as the nearer of both x'
    distance                |x' - x|
    gap / distance          |S - B| / |x' - x|
    norm of the saliency    |S|

Robust training changes more than the curvature. Its gradients are smaller, and any gap with them;
the relative gap and the cosine do not depend on that. Its boundaries are farther away, which lets
gaps grow; "same distance" does not depend on that either. If the gradient were L-Lipschitz,
``gap / distance`` would be at most L; in a network of ReLUs gradients are constant but for jumps,
and it only says how much they change on the average along the way, at the scale of the network.
Distances, slopes and the radius of the attack are in pixels from 0 to 1, which are 1 / 0.353 as
many units of the normalised inputs.

Differences are paired, ordinary less robust for the same image: the claim holds where they are
positive. ``d_z`` is their mean over their standard deviation, found for each pair of networks and
averaged over the pairs, as everything is. Intervals resample the images; they know nothing of the
spread between trainings, for which the last columns have every pair.

Fashion-MNIST is looked for below ``--root``; networks are kept there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from captum.attr import Saliency
from common import arguments, report, start
from data import (
    FASHION_RANGE,
    FASHION_STD,
    L2Attack,
    Pool,
    accuracy,
    fashion_mnist,
    is_right,
    train_fashion_cnn,
)
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchvision.datasets import FashionMNIST

from captum_spectral import BoundarySaliency, BoundarySearch, find_boundary

KINDS = ("ordinary", "robust")
ATTACKED = 1000  # images whose class is to survive an attack of this many steps
TEST_STEPS = 20
RESAMPLED = 5000


class Maps(NamedTuple):
    """Of every image: its gradient, its boundary point ``x'``, and the gradient there."""

    saliency: Tensor
    boundary: Tensor
    points: Tensor
    distances: Tensor
    classes: Tensor


def slopes(model: nn.Module, points: Tensor, labels: Tensor, others: Tensor | None) -> Tensor:
    """Gradients of the output of ``labels``, or of its lead over that of ``others``."""
    leaf = points.clone().requires_grad_()  # Captum warns of others
    found = Saliency(model).attribute(leaf, labels, abs=False)
    if others is not None:
        found = found - Saliency(model).attribute(leaf, others.clamp(min=0), abs=False)
    return found.detach()


def maps(model: nn.Module, pool: Pool, score: str, restarts: int, inside: bool) -> Maps:
    """Of all images, ``score`` and boundaries as ``BoundarySaliency`` has them."""
    parts = []
    generator = torch.Generator().manual_seed(0)
    clip = FASHION_RANGE if inside else None
    for x, c in zip(pool.images.split(100), pool.labels.split(100), strict=True):
        search = BoundarySearch(
            clip=clip, num_restarts=restarts, generator=generator, on_missing="nan"
        )
        found = find_boundary(model, x, c, method=search)
        here = slopes(model, x, c, found.classes if score == "margin" else None)
        there = BoundarySaliency(model).attribute(
            x, c, baselines=found.points, score=score, search=search
        )
        parts.append(Maps(here, there, found.points, found.distances, found.classes))
    return Maps(*(torch.cat(part) for part in zip(*parts, strict=True)))


def gaps(here: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Absolute, relative, and one minus the cosine, ``(N,)`` each."""
    here, there = here.flatten(1), there.flatten(1)
    gap = (here - there).norm(dim=1)
    return gap, gap / here.norm(dim=1), 1 - nn.functional.cosine_similarity(here, there)


def measures(
    pool: Pool, models: list[nn.Module], pair: list[Maps], score: str
) -> dict[str, Tensor]:
    """``(2, N)`` of the ordinary and the robust network."""
    nearer = torch.minimum(*(found.distances for found in pair))
    columns = []
    for model, found in zip(models, pair, strict=True):
        others = found.classes if score == "margin" else None
        way = (nearer / found.distances).reshape(-1, 1, 1, 1)
        on_the_way = slopes(model, pool.images.lerp(found.points, way), pool.labels, others)
        # From units of the network's inputs to pixels from 0 to 1.
        here, there, on_the_way = (
            part.double() / FASHION_STD for part in (found.saliency, found.boundary, on_the_way)
        )
        distances = found.distances.double() * FASHION_STD
        gap, relative, angle = gaps(here, there)
        _, relative_there, angle_there = gaps(here, on_the_way)
        columns.append(
            {
                "gap": gap,
                "relative gap": relative,
                "1 - cosine": angle,
                "relative gap, same distance": relative_there,
                "1 - cosine, same distance": angle_there,
                "distance": distances,
                "gap / distance": gap / distances,
                "norm of the saliency": here.flatten(1).norm(dim=1),
            }
        )
    return {name: torch.stack([column[name] for column in columns]) for name in columns[0]}


def with_interval(value: Tensor, draws: Tensor) -> dict[str, Any]:
    """A number and where 95 % of the resampled ones lie."""
    low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=draws.dtype)).tolist()
    return {"value": float(value), "95 %": [low, high]}


def comparison(values: Tensor) -> dict[str, Any]:
    """Of one measure, ``(pairs, 2, N)``: means over pairs and images, with intervals."""
    difference = values[:, 0] - values[:, 1]
    n = difference.shape[1]
    drawn = torch.randint(n, (RESAMPLED, n), generator=torch.Generator().manual_seed(0))
    again = difference[:, drawn]
    effect, effects = (x.mean(-1) / x.std(-1) for x in (difference, again))
    return {
        **{kind: float(values[:, k].mean()) for k, kind in enumerate(KINDS)},
        "medians": [float(values[:, k].median()) for k in range(2)],
        "difference": with_interval(difference.mean(), again.mean((0, 2))),
        "d_z": with_interval(effect.mean(), effects.mean(0)),
        "larger on the ordinary": float((difference > 0).double().mean()),
    }


def as_row(measure: str, over_all: dict[str, Any], each: list[dict[str, Any]]) -> dict[str, str]:
    """A line of the table."""

    def cell(name: str, form: str) -> str:
        value, (low, high) = over_all[name]["value"], over_all[name]["95 %"]
        return f"{value:{form}} [{low:{form}}, {high:{form}}]"

    return {
        "measure": measure,
        **{kind: f"{over_all[kind]:.3f}" for kind in KINDS},
        "medians": "{:.3f}, {:.3f}".format(*over_all["medians"]),
        "ordinary - robust [95 %]": cell("difference", "+.3f"),
        "d_z [95 %]": cell("d_z", "+.2f"),
        "larger on the ordinary": f"{over_all['larger on the ordinary']:.1%}",
        "ordinary - robust, each pair": ", ".join(f"{x['difference']['value']:+.3f}" for x in each),
        "d_z, each pair": ", ".join(f"{x['d_z']['value']:+.2f}" for x in each),
    }


def under(attack: L2Attack, model: nn.Module, pool: Pool) -> Pool:
    """The images as the attack leaves them."""
    generator = torch.Generator().manual_seed(0)
    return pool._replace(images=attack(model, pool.images, pool.labels, generator))


def draw(path: Path, pool: Pool, pair: list[Maps], count: int = 6) -> None:
    """A row for the first image of each of ``count`` classes; every map has a scale of its own."""
    chosen = [int((pool.labels == c).nonzero()[0]) for c in pool.labels.unique()][:count]
    figure = Figure(figsize=(9, 1.75 * len(chosen) + 0.9), layout="constrained")
    axes = figure.subplots(len(chosen), 5, squeeze=False)
    names = ("saliency", "boundary saliency")
    titles = ["image", *(f"{kind}:\n{name}" for kind in KINDS for name in names)]
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=10)
    for row, i in zip(axes, chosen, strict=True):
        row[0].imshow(pool.images[i, 0].numpy(), cmap="gray")
        row[0].set_ylabel(FashionMNIST.classes[int(pool.labels[i])], fontsize=10)
        for k, found in enumerate(pair):
            both = (found.saliency[i], found.boundary[i])
            for ax, one in zip(row[1 + 2 * k :], both, strict=False):
                scaled = (one[0] / one.abs().max()).numpy()
                drawn = ax.imshow(scaled, cmap="RdBu_r", vmin=-1, vmax=1)
            cosine = nn.functional.cosine_similarity(*(one.flatten() for one in both), dim=0)
            distance = found.distances[i] * FASHION_STD
            label = f"cosine {float(cosine):.2f}, distance {float(distance):.2f}"
            row[2 + 2 * k].set_xlabel(label, fontsize=8)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    bar = figure.colorbar(
        drawn, ax=axes, location="bottom", shrink=0.4, aspect=40, pad=0.01, ticks=[-1, 0, 1]
    )
    bar.set_label("gradient / largest absolute value of its map", fontsize=9)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train or read the pairs, compare, report."""
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where Fashion-MNIST is")
    parser.add_argument("--download", action="store_true", help="fetch it if it is not there")
    parser.add_argument("--epochs", type=int, default=4, help="of training each network")
    parser.add_argument("--seeds", type=int, default=3, help="pairs; default: %(default)s")
    parser.add_argument("--radius", type=float, default=1.0, help="of the attack, pixels 0 to 1")
    parser.add_argument("--steps", type=int, default=3, help="of the attack in training")
    parser.add_argument("--images", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--score", choices=("logit", "margin"), default="logit")
    parser.add_argument("--restarts", type=int, default=0, help="of the search for boundaries")
    parser.add_argument("--clip", action="store_true", help="boundaries in the range of pixels")
    parser.add_argument("--figure", type=Path, help="draw some maps of the first pair")
    args = start(parser)

    test = fashion_mnist(args.root, download=args.download)
    test = test.take(torch.randperm(len(test.labels), generator=torch.Generator().manual_seed(0)))
    attacked = test.take(torch.arange(min(ATTACKED, len(test.labels))))
    networks, pairs = [], []
    for seed in range(args.seeds):
        pairs.append([])
        for kind, attack in zip(KINDS, (None, L2Attack(args.radius, args.steps)), strict=True):
            begin = time.perf_counter()
            model = train_fashion_cnn(args.root, args.epochs, seed, args.download, attack)
            took = time.perf_counter() - begin
            stronger = L2Attack(args.radius, TEST_STEPS)
            facts = {
                "pair": f"seed {seed}",
                "network": kind,
                "seconds to train or read": round(took, 1),
                "accuracy": accuracy(model, test),
                "accuracy under attack": accuracy(model, under(stronger, model, attacked)),
            }
            print(*(f"{key}: {value}" for key, value in facts.items()), sep=", ", flush=True)
            networks.append(facts)
            pairs[-1].append(model)

    right = torch.stack([is_right(model, test) for pair in pairs for model in pair]).all(0)
    pool = test.take(right.nonzero()[: args.images, 0])
    if len(pool.labels) < 2:
        raise SystemExit("fewer than two images are classified correctly by all networks")
    found = [
        [maps(model, pool, args.score, args.restarts, args.clip) for model in pair]
        for pair in pairs
    ]
    for facts, one in zip(networks, (one for pair in found for one in pair), strict=True):
        facts["without boundary"] = int(one.distances.isinf().sum())
    left = torch.stack([one.distances.isfinite() for pair in found for one in pair]).all(0)
    if left.sum() < 2:
        raise SystemExit("fewer than two images have a boundary in all networks")

    measured = [
        measures(pool, models, pair, args.score) for models, pair in zip(pairs, found, strict=True)
    ]
    table, comparisons = [], {}
    for name in measured[0]:
        values = torch.stack([of[name][:, left] for of in measured])
        over_all, each = comparison(values), [comparison(value[None]) for value in values]
        table.append(as_row(name, over_all, each))
        comparisons[name] = {"mean of the pairs": over_all, "each pair": each}
    count = int(left.sum())
    title = (
        f"Saliency and boundary saliency ({args.score}) of {args.seeds} pairs of CNNs on {count} "
        f"images, l2 attack of {args.radius:g}"
    )
    report(args, title, table, images=count, networks=networks, comparisons=comparisons)
    print(f"\nLeft out, without a boundary in one of the networks: {len(left) - count}.")
    if args.figure:
        first = [Maps(*(part[left] for part in one)) for one in found[0]]
        draw(args.figure, pool.take(left), first)


if __name__ == "__main__":
    main()
