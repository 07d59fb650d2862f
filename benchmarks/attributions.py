"""Pixel attributions side by side: what they cost, and what deleting and inserting pixels says.

EfficientNet-Lite0 on views of photographs, one at a time; explained is the logit of the class that
the network predicts for the view.

Deletion replaces pixels by mid-grey, those of the highest attribution first, insertion puts them
into the blurred view; drawn is the probability of the class, and its area over the share of the
pixels. A good ranking has a small deletion and a large insertion area. Maps are ranked by the sum
over the channels; "absolute" by the sum of absolute values. "Random" is a random order. Once single
pixels go, and once blocks of 16 by 16: grey specks are high frequencies of their own, which a
network may mind more than what is missing.

Box: for the six photographs that show one object, boxes drawn by hand: the share of the positive
attribution that is inside (energy), what part of the attribution inside is positive (percentage,
signed maps only), the mean distance of the positive attribution from its centre in pixels
(concentration), and the share of the image that the box is.

Views of one photograph resemble each other, so means are taken over the photographs' means, and
"±" is the standard error over photographs. "− random" compares each photograph with itself.

Rows and seconds are means over all views. Nothing else should run meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from common import arguments, markdown, report, start
from data import Pool, views
from matplotlib.figure import Figure
from methods import METHODS, Cost, costed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from captum_spectral.metrics import (
    Curve,
    concentration,
    deletion_curve,
    energy_in_box,
    insertion_curve,
    positive_percentage,
)
from captum_spectral.sources.images import photographs
from captum_spectral.sources.models import load_model
from captum_spectral.visualization import visualize_curves, visualize_maps

# x1, y1, x2, y2 in the 224 px that the network sees; the cat fills its photograph.
BOXES = {
    "coffee": (30, 0, 182, 118),
    "motorcycle": (0, 22, 224, 212),
    "rocket": (102, 56, 134, 224),
    "camera": (106, 48, 184, 224),
    "china": (0, 0, 140, 216),
    "flower": (20, 34, 190, 200),
}
ABSOLUTE = ("Saliency", "IntegratedGradients", "SmoothGrad", "BoundarySaliency")
IN_FIGURE = (
    "Saliency",
    "IntegratedGradients",
    "SmoothGrad",
    "BoundarySaliency",
    "BoundaryIntegratedGradients",
    "FeatureSuppression r=0.7",
)
Maps = dict[str, Tensor]  # (images, 3, H, W) by method


def over_photographs(values: Tensor, groups: Tensor) -> tuple[float, float]:
    """The mean over photographs of the means over their views, and its standard error."""
    means = torch.stack([values[groups == g].double().mean() for g in groups.unique()])
    error = float(means.std()) / len(means) ** 0.5 if len(means) > 1 else math.nan
    return float(means.mean()), error


def of_photographs(curve: Curve, groups: Tensor) -> Tensor:
    """The mean curves ``(photographs, K+1)`` over the views of each."""
    return torch.stack([curve.values[groups == g].mean(0) for g in groups.unique()])


def explain(model: nn.Module, pool: Pool, names: Iterable[str]) -> tuple[Maps, dict[str, Tensor]]:
    """The maps of all methods and their costs ``(images, 3)``."""
    maps: Maps = {}
    costs: dict[str, Tensor] = {}
    for name in names:
        method = METHODS[name]
        results = [
            costed(method, model, x[None], int(c))
            for x, c in zip(pool.images, pool.labels, strict=True)
        ]
        maps[name] = torch.cat([attributions for attributions, _ in results])
        costs[name] = torch.tensor([cost for _, cost in results], dtype=torch.float64)
        print(f"{name}: {costs[name].mean(0).tolist()}", flush=True)
    return maps, costs


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
        if name in ABSOLUTE:
            ranked[f"{name}, absolute"] = values.abs()
    return ranked


def blocks(size: int, block: int) -> Tensor:
    """Captum's feature mask of square blocks of pixels."""
    place = torch.arange(size) // block
    return (place[:, None] * (int(place.max()) + 1) + place)[None, None]


def curves(
    model: nn.Module, pool: Pool, ranked: Maps, n_steps: int, block: int
) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Insertion and deletion curves of the probability, block by block."""
    probability = nn.Sequential(model, nn.Softmax(1)).eval()
    blurred = gaussian_blur(pool.images, [45, 45], [10.0, 10.0])
    mask = None if block == 1 else blocks(pool.images.shape[-1], block)

    def all_images(measure: Callable[..., Curve], values: Tensor, baselines: Tensor) -> Curve:
        parts = [
            measure(
                probability,
                pool.images[e : e + 1],
                values[e : e + 1],
                int(pool.labels[e]),
                baselines=baselines[e : e + 1],
                feature_mask=mask,
                n_steps=n_steps,
                perturbations_per_eval=4,
            )
            for e in range(len(pool.images))
        ]
        return Curve(
            parts[0].fractions,
            torch.cat([p.values for p in parts]),
            torch.cat([p.areas for p in parts]),
        )

    inserted, deleted = {}, {}
    for name, values in ranked.items():
        inserted[name] = all_images(insertion_curve, values, blurred)
        deleted[name] = all_images(deletion_curve, values, torch.zeros_like(pool.images))
        print(f"{name}: {float(inserted[name].areas.mean()):.3f}", flush=True)
    return inserted, deleted


def pm(values: tuple[float, float], decimals: int = 3) -> str:
    """Mean ± error."""
    return f"{values[0]:.{decimals}f} ± {values[1]:.{decimals}f}"


def areas_table(
    inserted: dict[str, Curve], deleted: dict[str, Curve], groups: Tensor
) -> list[dict[str, Any]]:
    """A line for each ranking."""

    def columns(which: dict[str, Curve], name: str, kind: str) -> dict[str, str]:
        own, reference = which[name].areas, which["Random"].areas
        return {
            f"{kind} area": pm(over_photographs(own, groups)),
            f"{kind} − random": pm(over_photographs(own - reference, groups)),
        }

    return [
        {
            "ranked by": name,
            **columns(inserted, name, "insertion"),
            **columns(deleted, name, "deletion"),
        }
        for name in inserted
    ]


def cost_table(costs: dict[str, Tensor]) -> list[dict[str, Any]]:
    """A line for each method."""
    rows = []
    for name, cost in costs.items():
        mean = Cost(*cost.mean(0).tolist())
        rows.append(
            {
                "method": name,
                "rows forward": round(mean.forward_rows, 1),
                "rows backward": round(mean.backward_rows, 1),
                "seconds per image": round(mean.seconds, 2),
            }
        )
    return rows


def box_table(maps: Maps, names: list[str]) -> list[dict[str, Any]]:
    """A line for each method, over the whole photographs that have a box."""
    chosen = [i for i, name in enumerate(names) if name in BOXES]
    boxes = torch.tensor([BOXES[names[i]] for i in chosen])
    each = torch.arange(len(chosen))
    share = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 224**2
    even = torch.ones(len(chosen), 1, 224, 224)
    rows = []
    for name, values in {"An even map": even, **{n: v[chosen] for n, v in maps.items()}}.items():
        signed = bool((values < 0).any())
        percentage = positive_percentage(values, boxes)
        rows.append(
            {
                "method": name,
                "energy in the box": pm(over_photographs(energy_in_box(values, boxes), each)),
                "/ share of the box": pm(
                    over_photographs(energy_in_box(values, boxes) / share, each), 2
                ),
                "positive percentage": pm(over_photographs(percentage, each)) if signed else "",
                "concentration, px": pm(over_photographs(concentration(values), each), 1),
            }
        )
    return rows


Areas = dict[int, tuple[dict[str, Curve], dict[str, Curve]]]  # inserted and deleted, by block


def figures(folder: Path, pool: Pool, maps: Maps, measured: Areas) -> None:
    """The maps of the whole photographs, and the curves."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(photographs())[: len(pool.images)]
    display = load_model("efficientnet-lite0").display
    shown = [name for name in IN_FIGURE if name in maps]
    figure, _ = visualize_maps(
        torch.stack([display(x) for x in pool.images[: len(names)]]),
        {name: maps[name][: len(names)] for name in shown},
        names,
        use_pyplot=False,
    )
    figure.savefig(folder / "pixel_maps.png", dpi=130)
    figure = Figure(figsize=(14, 3.5 * len(measured)), layout="constrained")
    axes = figure.subplots(len(measured), 2, sharey=True, squeeze=False)
    for row, (block, both) in zip(axes, measured.items(), strict=True):
        what = "single pixels" if block == 1 else f"blocks of {block} px"
        for ax, which, done in zip(row, both, ("inserted", "deleted"), strict=True):
            lines = ["Random", *(f"{n}, absolute" if n == "Saliency" else n for n in shown)]
            visualize_curves(
                which["Random"].fractions,
                {name: of_photographs(which[name], pool.groups) for name in lines},
                xlabel=f"share of the pixels {done}",
                ylabel="probability of the class",
                title=f"{what} {done}",
                plt_fig_axis=(figure, ax),
                use_pyplot=False,
            )
    figure.savefig(folder / "pixel_curves.png", dpi=130)


def main() -> None:
    """Three tables, and figures where a folder for them is named."""
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=14, help="views of seven photographs")
    parser.add_argument("--steps", type=int, default=28, help="of the curves")
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 16], help="sides in pixels")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--maps", type=Path, help="file that keeps the maps for the next run")
    parser.add_argument("--figures", type=Path, help="folder for the figures")
    args = start(parser)

    if args.images < 2:
        parser.error("--images must be at least 2: the first photograph has no box")

    model = load_model("efficientnet-lite0").module
    pool = views(args.images)
    with torch.no_grad():
        predicted = torch.cat([model(x[None]) for x in pool.images]).argmax(1)
    pool = pool._replace(labels=predicted)
    maps, costs = kept(args.maps, lambda: explain(model, pool, args.methods))
    ranked = rankings(maps)
    measured = {block: curves(model, pool, ranked, args.steps, block) for block in args.blocks}
    names = list(photographs())
    whole = {name: values[: len(names)] for name, values in maps.items()}
    tables = {
        "Boxes": box_table(whole, names[: args.images]),
        **{
            f"Insertion and deletion, {block} x {block} pixels": areas_table(*both, pool.groups)
            for block, both in measured.items()
        },
    }
    title = f"Cost per image, {args.images} views"
    report(args, title, cost_table(costs), **tables)
    for name, table in tables.items():
        print(f"\n### {name}\n\n{markdown(table)}")
    if args.figures:
        figures(args.figures, pool, maps, measured)


if __name__ == "__main__":
    main()
