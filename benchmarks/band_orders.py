"""Insertion and deletion of frequency bands: which method's ranking of eight bands is best.

EfficientNet-Lite0 on views of photographs; explained is the logit of the class that the network
predicts for the view, measured is its probability while bands are inserted into, or deleted to,
mid-grey, the highest attribution first.

With eight bands all orders can be had from the 256 coalitions, so "best" and "worst" are exact
bounds of the areas (dynamic programming over the coalitions), one order for each view.

Views of one photograph resemble each other: "±" is the standard error over photographs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from attribution_tables import over_groups, pm
from captum.attr import FeatureAblation, IntegratedGradients, Saliency
from common import arguments, report, start
from data import views
from methods import costed, efficientnet_lite0
from torch import Tensor, nn

from captum_spectral import BandGame, SpectralShapley, band_attribution, band_profile
from captum_spectral.coalitions import all_coalitions
from captum_spectral.metrics import deletion_curve, insertion_curve

Values = Callable[[nn.Module, Tensor, int, int], Tensor]  # model, x, target, number of bands


def random_order(model: nn.Module, x: Tensor, target: int, num_bands: int) -> Tensor:
    """Another order for every view."""
    return torch.rand(1, num_bands, generator=torch.Generator().manual_seed(int(x.abs().sum())))


def low_to_high(model: nn.Module, x: Tensor, target: int, num_bands: int) -> Tensor:
    """The band of the mean first."""
    return -torch.arange(float(num_bands))[None]


def energy(model: nn.Module, x: Tensor, target: int, num_bands: int) -> Tensor:
    """The strongest band first."""
    return band_profile(x, num_bands=num_bands)


def on_bands(attribution: type, **options: object) -> Values:
    """A method of Captum with the bands as its features."""

    def method(model: nn.Module, x: Tensor, target: int, num_bands: int) -> Tensor:
        return band_attribution(attribution, model, x, target, num_bands=num_bands, **options)

    return method


def shapley(n_samples: int | None) -> Values:
    """Exact, or sampled."""

    def method(model: nn.Module, x: Tensor, target: int, num_bands: int) -> Tensor:
        return SpectralShapley(model).attribute(
            x,
            target,
            num_bands=num_bands,
            n_samples=n_samples,
            generator=torch.Generator().manual_seed(0),
            return_input_shape=False,
        )

    return method


METHODS: dict[str, Values] = {
    "Random": random_order,
    "low to high": low_to_high,
    "energy of the band": energy,
    "Saliency on bands": on_bands(Saliency, abs=False),
    "IntegratedGradients on bands": on_bands(
        IntegratedGradients, n_steps=50, internal_batch_size=4
    ),
    "FeatureAblation on bands": on_bands(FeatureAblation),
    "SpectralShapley, n_samples=1": shapley(1),
    "SpectralShapley, exact": shapley(None),
}


def extremes(values: Tensor, members: Tensor) -> tuple[float, float]:
    """The least and the largest area under an insertion curve, over all orders of the bands.

    Args:
        values: ``(2^M,)`` of all coalitions.
        members: ``(2^M, M)`` boolean, which bands they hold.
    """
    num_bands = members.shape[1]
    codes = members.long() @ 2 ** torch.arange(num_bands)
    value = torch.empty_like(values)
    value[codes] = values
    least, most = value.clone(), value.clone()
    for code in range(1, 2**num_bands):
        before = torch.tensor([code ^ (1 << i) for i in range(num_bands) if code >> i & 1])
        least[code] = value[code] + least[before].min()
        most[code] = value[code] + most[before].max()
    ends = (value[0] + value[-1]) / 2
    return float((least[-1] - ends) / num_bands), float((most[-1] - ends) / num_bands)


def main() -> None:
    """A line for each way to rank the bands."""
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=14, help="views of seven photographs")
    parser.add_argument("--bands", type=int, default=8)
    args = start(parser)

    model = efficientnet_lite0()
    probability = nn.Sequential(model, nn.Softmax(1)).eval()
    pool = views(args.images)
    coalitions = all_coalitions(args.bands)
    inserted: dict[str, list[float]] = {name: [] for name in [*METHODS, "best", "worst"]}
    deleted: dict[str, list[float]] = {name: [] for name in inserted}
    costs: dict[str, list[tuple[float, int]]] = {name: [] for name in METHODS}
    for x in pool.images.split(1):
        with torch.no_grad():
            target = int(model(x).argmax())
        for name, method in METHODS.items():
            values, cost = costed(partial(method, num_bands=args.bands), model, x, target)
            costs[name].append((cost.seconds, cost.forward_rows))
            for areas, curve in ((inserted, insertion_curve), (deleted, deletion_curve)):
                found = curve(
                    *(probability, x, values, target), domain="frequency", num_bands=args.bands
                )
                areas[name].append(float(found.areas))
        game = BandGame(probability, x, target=target, num_bands=args.bands)
        worst, best = extremes(game.evaluate(coalitions)[0].double(), coalitions)
        # Deleting in one order is inserting in the other, read backwards.
        for area, name in ((best, "best"), (worst, "worst")):
            inserted[name].append(area)
        for area, name in ((worst, "best"), (best, "worst")):
            deleted[name].append(area)
        print(".", end="", flush=True)

    def column(areas: dict[str, list[float]], name: str) -> str:
        return pm(over_groups(torch.tensor(areas[name]), pool.groups))

    table = []
    for name in inserted:
        seconds, rows = torch.tensor(costs.get(name, [(0.0, 0)])).mean(0).tolist()
        table.append(
            {
                "ranked by": name,
                "insertion area": column(inserted, name),
                "deletion area": column(deleted, name),
                "rows forward": round(rows) if name in costs else "",
                "seconds per image": round(seconds, 2) if name in costs else "",
            }
        )
    report(args, f"Insertion and deletion of {args.bands} bands, {args.images} views", table)


if __name__ == "__main__":
    main()
