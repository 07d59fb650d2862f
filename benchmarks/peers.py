"""The same Shapley values with what people use today, side by side in one run.

One photograph, one network, one set of bands, the log-probability of one class; all see the same
game. Each peer runs at its defaults and at the batch size that is best for it, the way its users
write it: band weights as features, and one pair of Fourier transforms per coalition. The reference
is our exact result, which the test suite checks against brute force.

Needs ``pip install -e ".[benchmarks]"``.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import shap
import shapiq
import torch
from captum.attr import KernelShap, ShapleyValues, ShapleyValueSampling
from common import NETWORKS, arguments, in_turns, photographs, ratio, report, start
from overhead import best_batch, coalition_rows
from torch import Tensor, nn

from captum_spectral import SpectralShapley, band_mask
from captum_spectral.coalitions import all_coalitions, shapley_from_table

OURS = "captum_spectral"


class Counted(nn.Module):
    """Log-probabilities, and how many rows went through the network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.rows = network, 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return self.network(x).log_softmax(-1)


class Transforms:
    """The forward function over band weights that a user of another package writes."""

    def __init__(self, model: nn.Module, image: Tensor, mask: Tensor, target: int) -> None:
        self.model, self.target = model, target
        self.spectrum = torch.fft.fft2(image)
        self.masks = torch.stack([mask == i for i in range(int(mask.max()) + 1)]).float()

    def rows(self, weights: Tensor) -> Tensor:
        """The model on weighted bands, one inverse transform per row."""
        kept = torch.einsum("km,mhw->khw", weights.float(), self.masks)[:, None]
        with torch.no_grad():
            return self.model(torch.fft.ifft2(self.spectrum * kept).real)[:, self.target]

    def numpy(self, weights: np.ndarray, batch: int) -> np.ndarray:
        """For packages that work on arrays and leave batches to the user."""
        parts = torch.from_numpy(np.asarray(weights, dtype=np.float32)).split(batch)
        return torch.cat([self.rows(part) for part in parts]).double().numpy()


def captum_method(method: Any, game: Transforms, **options: Any) -> Tensor:
    """A Captum method over band weights."""
    ones = torch.ones(1, len(game.masks))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return method(game.rows).attribute(ones, baselines=0.0, **options)[0]


class ShapiqGame(shapiq.Game):
    """A shapiq game; how many coalitions go through the model at once is up to its author."""

    def __init__(self, game: Transforms, batch: int) -> None:
        self.game, self.batch = game, batch
        empty = float(self.value_function(np.zeros((1, len(game.masks)), dtype=bool))[0])
        super().__init__(n_players=len(game.masks), normalize=True, normalization_value=empty)

    def value_function(self, coalitions: np.ndarray) -> np.ndarray:
        return self.game.numpy(coalitions, self.batch)


def shapiq_exact(game: Transforms, batch: int) -> Tensor:
    """All coalitions with shapiq."""
    computer = shapiq.ExactComputer(ShapiqGame(game, batch), n_players=len(game.masks))
    values = computer("SV", order=1)
    return torch.tensor([values[(i,)] for i in range(len(game.masks))])


def shapiq_kernel(game: Transforms, budget: int, batch: int) -> Tensor:
    """Weighted regression with shapiq."""
    method = shapiq.KernelSHAP(n=len(game.masks), random_state=0)
    values = method.approximate(budget=budget, game=ShapiqGame(game, batch))
    return torch.tensor([values[(i,)] for i in range(len(game.masks))])


def shap_exact(game: Transforms, batch: int) -> Tensor:
    """SHAP's exact explainer; an independent masker with one background row of zeros."""
    masker = shap.maskers.Independent(np.zeros((1, len(game.masks))), max_samples=1)
    explainer = shap.explainers.ExactExplainer(lambda weights: game.numpy(weights, batch), masker)
    result = explainer(np.ones((1, len(game.masks))), silent=True)
    return torch.from_numpy(result.values[0])


def research_recipe(game: Transforms, image: Tensor, batch: int) -> Tensor:
    """Filter each coalition by itself with a complex transform there and back."""
    coalitions = all_coalitions(len(game.masks))
    values = []
    for part in coalitions.split(batch):
        rows = []
        for members in part:
            kept = game.masks[members].sum(0)
            rows.append(torch.fft.ifft2(torch.fft.fft2(image) * kept).real)
        with torch.no_grad():
            values.append(game.model(torch.cat(rows))[:, game.target])
    return shapley_from_table(torch.cat(values)[None])[0]


def compare(
    model: Counted, image: Tensor, target: int, peers: dict[tuple[str, str], Peer], rounds: int
) -> list[dict[str, Any]]:
    """All methods in turns, with their rows and errors."""
    num_bands = len(next(iter(peers.values())).game.masks)

    def ours() -> Tensor:
        return SpectralShapley(model).attribute(
            image, target, num_bands=num_bands, return_input_shape=False
        )[0]

    exact = ours().double()
    rows, errors = {}, {}

    def measured(name: tuple[str, str], task: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            model.rows = 0
            errors[name] = float((task().double() - exact).abs().max())
            rows[name] = model.rows

        return run

    us = (OURS, "defaults")
    tasks = {us: measured(us, ours)}
    tasks |= {name: measured(name, peer.run) for name, peer in peers.items()}
    times = in_turns(tasks, rounds)
    return [
        {
            "M": num_bands,
            "method": name[0],
            "setting": name[1],
            "model rows": rows[name],
            "seconds": round(statistics.median(times[name]), 2),
            "ratio to ours": round(ratio(times[name], times[us]), 2),
            "largest error": f"{errors[name]:.1e}",
        }
        for name in tasks
    ]


class Peer(NamedTuple):
    """A game and what solves it."""

    game: Transforms
    run: Callable[[], Tensor]


def main() -> None:
    """All peers at M bands, and Captum's exact method at few."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--network", default="EfficientNet-Lite0", choices=NETWORKS)
    parser.add_argument("--bands", type=int, default=8)
    parser.add_argument("--few-bands", nargs="+", type=int, default=[4, 5])
    args = start(parser)
    model, image = Counted(NETWORKS[args.network]()), photographs(1)
    with torch.no_grad():
        target = int(model(image).argmax())
    b = best_batch(model, coalition_rows(image, args.bands))

    def game(num_bands: int) -> Transforms:
        return Transforms(model, image, band_mask(image.shape[-2:], num_bands), target)

    table: list[dict[str, Any]] = []
    for m in args.few_bands:
        few = game(m)
        captum = {
            ("Captum ShapleyValues", setting): Peer(
                few, lambda g=few, o=options: captum_method(ShapleyValues, g, **o)
            )
            for setting, options in {
                "defaults": {},
                f"perturbations_per_eval={b}": {"perturbations_per_eval": b},
            }.items()
        }
        table += compare(model, image, target, captum, args.rounds)
    per_row = min(r["seconds"] / r["model rows"] for r in table if r["method"] != OURS)

    m = args.bands
    g, every, half = game(m), 2**m, 2**m // 2
    best = {"perturbations_per_eval": b}
    solvers: dict[tuple[str, str], Callable[[], Tensor]] = {
        ("Captum ShapleyValueSampling", "defaults: 25 permutations, one row at a time"): lambda: (
            captum_method(ShapleyValueSampling, g)
        ),
        ("Captum ShapleyValueSampling", f"25 permutations, batches of {b}"): lambda: captum_method(
            ShapleyValueSampling, g, **best
        ),
        ("Captum KernelShap", "defaults: 25 samples, one row at a time"): lambda: captum_method(
            KernelShap, g
        ),
        ("Captum KernelShap", f"{every} samples, batches of {b}"): lambda: captum_method(
            KernelShap, g, n_samples=every, **best
        ),
        ("shapiq ExactComputer", "all rows at once"): lambda: shapiq_exact(g, every),
        ("shapiq ExactComputer", f"batches of {b}"): lambda: shapiq_exact(g, b),
        ("shapiq KernelSHAP", f"budget {half}, batches of {b}"): lambda: shapiq_kernel(g, half, b),
        ("SHAP ExactExplainer", "all rows it asks for at once"): lambda: shap_exact(g, every),
        ("SHAP ExactExplainer", f"batches of {b}"): lambda: shap_exact(g, b),
        ("a Fourier pair per coalition", "batches of 32"): lambda: research_recipe(g, image, 32),
        ("a Fourier pair per coalition", f"batches of {b}"): lambda: research_recipe(g, image, b),
    }
    peers = {name: Peer(g, solver) for name, solver in solvers.items()}
    at_m = compare(model, image, target, peers, args.rounds)
    rows = m * math.factorial(m)
    table += at_m
    table.append(
        {
            "M": m,
            "method": "Captum ShapleyValues",
            "setting": "not run: extrapolated from rows",
            "model rows": rows,
            "seconds": round(rows * per_row),
            "ratio to ours": round(rows * per_row / at_m[0]["seconds"]),
            "largest error": "",
        }
    )
    report(args, f"Peers, {args.network}, one photograph, median of {args.rounds} rounds", table)


if __name__ == "__main__":
    main()
