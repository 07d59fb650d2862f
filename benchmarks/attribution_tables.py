"""The tables and figures of ``attributions.py``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from data import Pool
from matplotlib.figure import Figure
from methods import Cost, Network
from torch import Tensor, nn

from captum_spectral import find_boundary
from captum_spectral.metrics import Curve, concentration, energy_in_box, positive_percentage
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
REFERENCES = {"random": "Random", "SmoothGrad": "SmoothGrad, absolute"}
IN_FIGURE = (
    "Saliency",
    "IntegratedGradients",
    "SmoothGrad",
    "BoundarySaliency",
    "BoundaryIntegratedGradients",
    "FeatureSuppression r=0.7",
)
# In the figure of the curves slopes are without their sign, as Captum's Saliency is by default.
LINES = (
    "Random",
    "Saliency, absolute",
    "IntegratedGradients",
    "SmoothGrad, absolute",
    "BoundarySaliency, absolute",
    "BoundaryIntegratedGradients",
    "FeatureSuppression r=0.7",
)
Maps = dict[str, Tensor]  # (images, C, H, W) by method
Curves = dict[str, Curve]  # by ranking
Table = list[dict[str, Any]]


class Task(NamedTuple):
    """What is explained."""

    network: Network
    pool: Pool
    blocks: tuple[int, ...]
    names: list[str]  # of the photographs that are whole


def over_groups(values: Tensor, groups: Tensor) -> tuple[float, float]:
    """The mean over groups of the means over their images, and its standard error."""
    means = torch.stack([values[groups == g].double().mean() for g in groups.unique()])
    error = float(means.std()) / len(means) ** 0.5 if len(means) > 1 else math.nan
    return float(means.mean()), error


def of_groups(curve: Curve, groups: Tensor) -> Tensor:
    """The mean curves ``(groups, K+1)`` over the images of each."""
    return torch.stack([curve.values[groups == g].mean(0) for g in groups.unique()])


def pm(values: tuple[float, float], decimals: int = 3) -> str:
    """Mean ± error."""
    return f"{values[0]:.{decimals}f} ± {values[1]:.{decimals}f}"


def areas_table(inserted: Curves, deleted: Curves, groups: Tensor) -> Table:
    """A line for each ranking."""
    table = []
    for name in inserted:
        row = {"ranked by": name}
        for kind, which in (("insertion", inserted), ("deletion", deleted)):
            areas = which[name].areas
            row[f"{kind} area"] = pm(over_groups(areas, groups))
            for short, other in REFERENCES.items():
                known = other in which and other != name
                row[f"{kind} − {short}"] = (
                    pm(over_groups(areas - which[other].areas, groups)) if known else ""
                )
        table.append(row)
    return table


def cost_table(costs: dict[str, Tensor]) -> Table:
    """A line for each method."""
    rows = []
    for name, cost in costs.items():
        mean = Cost(*cost.mean(0).tolist())
        rows.append(
            {
                "method": name,
                "rows forward": round(mean.forward_rows, 1),
                "rows backward": round(mean.backward_rows, 1),
                "seconds per image": round(mean.seconds, 3),
            }
        )
    return rows


def boundary_table(task: Task, maps: Maps) -> Table:
    """How near boundaries are, and what that does to the maps; means, smallest and largest."""
    network, (images, labels, _) = task.network, task.pool
    found = [
        find_boundary(network, x[None], int(c), clip=network.limits)
        for x, c in zip(images, labels, strict=True)
    ]
    levels = torch.cat([b.distances for b in found]) / images[0].numel() ** 0.5
    columns = {"distance per pixel, of 255": levels * 255 / network.width}
    if {"Saliency", "BoundarySaliency"} <= maps.keys():
        columns["cosine of the gradients"] = nn.functional.cosine_similarity(
            maps["Saliency"].flatten(1), maps["BoundarySaliency"].flatten(1)
        )
    if "BoundaryIntegratedGradients" in maps:
        integrated = maps["BoundaryIntegratedGradients"].flatten(1)
        negative = (-integrated).clamp(min=0).sum(1) / integrated.abs().sum(1)
        columns["negative share of BoundaryIntegratedGradients"] = negative
    return [
        {
            "measure": name,
            "mean": f"{values.mean():.2f}",
            "median": f"{values.median():.2f}",
            "smallest": f"{values.min():.2f}",
            "largest": f"{values.max():.2f}",
        }
        for name, values in columns.items()
    ]


def box_table(task: Task, maps: Maps) -> Table:
    """A line for each method, over the whole photographs that have a box."""
    chosen = [i for i, name in enumerate(task.names) if name in BOXES]
    if not chosen:
        return []
    boxes = torch.tensor([BOXES[task.names[i]] for i in chosen])
    each = torch.arange(len(chosen))
    share = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 224**2
    even = torch.ones(len(chosen), 1, 224, 224)
    rows = []
    for name, values in {"An even map": even, **{n: v[chosen] for n, v in maps.items()}}.items():
        energy = energy_in_box(values, boxes)
        percentage = pm(over_groups(positive_percentage(values, boxes), each))
        rows.append(
            {
                "method": name,
                "energy in the box": pm(over_groups(energy, each)),
                "/ share of the box": pm(over_groups(energy / share, each), 2),
                "positive percentage": percentage if (values < 0).any() else "",
                "concentration, px": pm(over_groups(concentration(values), each), 1),
            }
        )
    return rows


def maps_figure(task: Task, maps: Maps) -> Figure:
    """The maps of the whole photographs."""
    display = load_model("efficientnet-lite0").display
    count = len(task.names)
    figure, _ = visualize_maps(
        torch.stack([display(x) for x in task.pool.images[:count]]),
        {name: maps[name][:count] for name in IN_FIGURE if name in maps},
        task.names,
        use_pyplot=False,
    )
    return figure


def curves_figure(task: Task, measured: dict[int, tuple[Curves, Curves]]) -> Figure:
    """A row for each size of blocks: insertion on the left, deletion on the right."""
    figure = Figure(figsize=(14, 3.5 * len(measured)), layout="constrained")
    axes = figure.subplots(len(measured), 2, sharey=True, squeeze=False)
    for row, (block, both) in zip(axes, measured.items(), strict=True):
        what = "single pixels" if block == 1 else f"blocks of {block} px"
        for ax, which, done in zip(row, both, ("inserted", "deleted"), strict=True):
            visualize_curves(
                which["Random"].fractions,
                {n: of_groups(which[n], task.pool.groups) for n in LINES if n in which},
                xlabel=f"share of the pixels {done}",
                ylabel="probability of the class",
                title=f"{what} {done}",
                plt_fig_axis=(figure, ax),
                use_pyplot=False,
            )
    return figure
