"""Pixel attributions side by side: what they cost, and what deleting and inserting pixels says.

``--data photographs``: EfficientNet-Lite0 on views of seven photographs; views of one photograph
resemble each other, so means are taken over the photographs' means, and "±" is the standard error
over photographs. ``--data fashion``: a CNN on images of Fashion-MNIST, which is looked for in
``--root``; "±" is over images. Explained is the output of the class that the network predicts, one
image at a time; AGI explains its probability.

Deletion replaces pixels by what an empty picture holds (mid-grey, or black for Fashion-MNIST),
those of the highest attribution first, insertion puts them into the blurred image; measured is the
probability of the class, and its area over the share of the pixels. A good ranking has a small
deletion and a large insertion area. Maps are ranked by the sum over the channels; "absolute" by the
sum of absolute values. "Random" is a random order. Once single pixels go, and once blocks: specks
are high frequencies of their own, which a network may mind more than what is missing. "− random"
and "− SmoothGrad" (absolute, the strongest of Captum's here) compare each image with itself.

Boundaries: how far the nearest boundary is, per pixel, in 255ths of the range; the cosine between
gradients there and at the image; what share of the attribution of BoundaryIntegratedGradients is
negative, as the output may rise on the way to the boundary.

Boxes, for the six photographs that show one object, drawn by hand: the share of the positive
attribution that is inside (energy), what part of the attribution inside is positive (percentage,
signed maps only), the mean distance of the positive attribution from its centre in pixels
(concentration), and the share of the image that the box is.

Rows and seconds are means over all images, the methods in turns for each. Nothing else should run
meanwhile. With ``--maps`` maps and costs are kept in a file, and taken from it in the next run.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from attribution_tables import (
    Curves,
    Maps,
    Task,
    areas_table,
    boundary_table,
    box_table,
    cost_table,
    curves_figure,
    maps_figure,
)
from common import arguments, markdown, report, start
from data import FASHION_RANGE, fashion_mnist, train_fashion_cnn, views
from methods import METHODS, Cost, Network, costed, efficientnet_lite0, saliency
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from captum_spectral.metrics import Curve, deletion_curve, insertion_curve
from captum_spectral.sources.images import photographs


def photographs_task(args: Namespace) -> Task:
    """EfficientNet-Lite0 on views of the photographs."""
    pool = views(args.images)
    names = list(photographs())[: args.images]
    network = efficientnet_lite0()
    return Task(network, pool, (1, 16), names)


def fashion_task(args: Namespace) -> Task:
    """A CNN on random test images."""
    model = train_fashion_cnn(args.root, args.epochs, download=args.download)
    pool = fashion_mnist(args.root, download=args.download)
    generator = torch.Generator().manual_seed(0)
    pool = pool.take(torch.randperm(len(pool.images), generator=generator)[: args.images])
    return Task(Network(model, FASHION_RANGE, FASHION_RANGE[0]), pool, (1, 4), [])


TASKS = {"photographs": (photographs_task, 14), "fashion": (fashion_task, 300)}


def explain(task: Task, names: Iterable[str]) -> tuple[Maps, dict[str, Tensor]]:
    """The maps of all methods and their costs ``(images, 3)``."""
    maps: dict[str, list[Tensor]] = {name: [] for name in names}
    costs: dict[str, list[Cost]] = {name: [] for name in maps}
    saliency(task.network, task.pool.images[:1], 0)  # warm
    for x, c in zip(task.pool.images, task.pool.labels, strict=True):
        for name in maps:
            attributions, cost = costed(METHODS[name], task.network, x[None], int(c))
            maps[name].append(attributions)
            costs[name].append(cost)
        print(".", end="", flush=True)
    return (
        {name: torch.cat(parts) for name, parts in maps.items()},
        {name: torch.tensor(cost, dtype=torch.float64) for name, cost in costs.items()},
    )


def kept(path: Path | None, make: Callable[[], tuple[Maps, dict[str, Tensor]]]) -> Any:
    """What was made before and lies in a file, or make it and keep it there."""
    if path is not None and path.exists():
        tensors = load_file(path)
        names = [name for name in METHODS if f"map {name}" in tensors]
        return (
            {name: tensors[f"map {name}"] for name in names},
            {name: tensors[f"cost {name}"] for name in names},
        )
    maps, costs = make()
    if path is not None:
        tensors = {f"map {name}": values.contiguous() for name, values in maps.items()}
        save_file({**tensors, **{f"cost {name}": c for name, c in costs.items()}}, path)
    return maps, costs


def rankings(maps: Maps) -> Maps:
    """What pixels are ranked by, with a random order for comparison."""
    first = next(iter(maps.values()))
    generator = torch.Generator().manual_seed(0)
    ranked = {"Random": torch.rand(len(first), 1, *first.shape[2:], generator=generator)}
    for name, values in maps.items():
        ranked[name] = values
        if (values < 0).any():
            ranked[f"{name}, absolute"] = values.abs()
    return ranked


def in_blocks(size: int, block: int) -> Tensor:
    """Captum's feature mask of square blocks of pixels."""
    place = torch.arange(size) // block
    return (place[:, None] * (int(place.max()) + 1) + place)[None, None]


def curves(task: Task, ranked: Maps, n_steps: int, block: int) -> tuple[Curves, Curves]:
    """Insertion and deletion curves of the probability, block by block."""
    images, labels = task.pool.images, task.pool.labels
    probability = nn.Sequential(task.network, nn.Softmax(1)).eval()
    size = images.shape[-1]
    sigma = size / 22.4
    width = int(4.5 * sigma) // 2 * 2 + 1
    blurred = gaussian_blur(images, [width, width], [sigma, sigma])
    empty = torch.full_like(images, task.network.absent)
    mask = None if block == 1 else in_blocks(size, block)

    def of_all(measure: Callable[..., Curve], values: Tensor, baselines: Tensor) -> Curve:
        parts = [
            measure(
                probability,
                images[e : e + 1],
                values[e : e + 1],
                int(labels[e]),
                baselines=baselines[e : e + 1],
                feature_mask=mask,
                n_steps=n_steps,
                perturbations_per_eval=4,
            )
            for e in range(len(images))
        ]
        return Curve(
            parts[0].fractions,
            torch.cat([p.values for p in parts]),
            torch.cat([p.areas for p in parts]),
        )

    inserted, deleted = {}, {}
    for name, values in ranked.items():
        inserted[name] = of_all(insertion_curve, values, blurred)
        deleted[name] = of_all(deletion_curve, values, empty)
        print(".", end="", flush=True)
    return inserted, deleted


def main() -> None:
    """Tables of costs, boundaries, boxes and areas; figures where a folder for them is named."""
    parser = arguments(__doc__)
    parser.add_argument("--data", choices=TASKS, default="photographs")
    parser.add_argument("--images", type=int, help="default: 14 views, or 300 of Fashion-MNIST")
    parser.add_argument("--steps", type=int, default=28, help="of the curves")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--maps", type=Path, help="file that keeps the maps for the next run")
    parser.add_argument("--figures", type=Path, help="folder for the figures")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where Fashion-MNIST is")
    parser.add_argument("--download", action="store_true", help="fetch it if it is not there")
    parser.add_argument("--epochs", type=int, default=4, help="of training its CNN")
    args = start(parser)
    make, usual = TASKS[args.data]
    args.images = args.images or usual

    task = make(args)
    with torch.no_grad():
        predicted = torch.cat([task.network(x[None]) for x in task.pool.images]).argmax(1)
    task = task._replace(pool=task.pool._replace(labels=predicted))
    maps, costs = kept(args.maps, lambda: explain(task, args.methods))
    ranked = rankings(maps)
    measured = {block: curves(task, ranked, args.steps, block) for block in task.blocks}
    tables = {
        "Boundaries": boundary_table(task, maps),
        "Boxes": box_table(task, maps),
        **{
            f"Insertion and deletion, {block} x {block} pixels": areas_table(
                *both, task.pool.groups
            )
            for block, both in measured.items()
        },
    }
    report(args, f"Cost per image, {args.images} of {args.data}", cost_table(costs), **tables)
    for name, table in tables.items():
        if table:
            print(f"\n### {name}\n\n{markdown(table)}")
    if args.figures:
        args.figures.mkdir(parents=True, exist_ok=True)
        curves_figure(task, measured).savefig(args.figures / f"curves_{args.data}.png", dpi=110)
        if task.names:  # maps are like noise, which PNG cannot make small
            maps_figure(task, maps).savefig(
                args.figures / "pixel_maps.jpg", dpi=115, pil_kwargs={"quality": 85}
            )


if __name__ == "__main__":
    main()
