"""Coverage and errors at 32 players of a real network, whose exact values nobody can know.

    python benchmarks/estimator_at_32.py --threads 1

EfficientNet-Lite0 with its ImageNet weights, photographs of 112 px, 32 nested bands of equal width
or 8 radial by 4 angular sectors, the logit and the log-probability of the class that it predicts.
In the place of exact values stands a reference: the mean of unbiased estimates (``cross_fitted``)
from designs of their own, 2048 rows each. "Reference" is its relative standard error, from the
spread of these; where it is not much smaller than an error, that error says nothing.

A picture and kind takes two to three minutes on one idle thread of 2.5 GHz.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from common import arguments, markdown, report, start
from estimator_errors import coverage_and_errors
from estimator_tables import (
    PHOTOGRAPHS,
    energies,
    logit_and_log_probability,
    of_efficientnet,
)
from estimators import KINDS, of
from games import Games
from torch import Tensor

from captum_spectral.features import FourierBands, sector_mask
from captum_spectral.features.band_mask import band_mask
from captum_spectral.game import Game

PLAYERS = 32


class Played:
    """Two games of each picture; what was asked for once is not computed again."""

    def __init__(self, model: Any, images: dict[str, Tensor], kind: str) -> None:
        self.names = list(images)
        first = next(iter(images.values()))
        shape = first.shape[-2], first.shape[-1]
        mask = band_mask(shape, PLAYERS) if kind == "bands" else sector_mask(shape, 8, 4)
        with torch.no_grad():
            targets = [int(model(image).argmax()) for image in images.values()]
        self._games = [
            Game(
                logit_and_log_probability(model, target),
                image,
                features=FourierBands(feature_mask=mask),
            )
            for target, image in zip(targets, images.values(), strict=True)
        ]
        self.energies = torch.stack([energies(image, mask) for image in images.values()])
        self.exact = torch.full((len(images), 2, PLAYERS), math.nan, dtype=torch.float64)
        self._known: dict[tuple[bool, ...], Tensor] = {}

    def __call__(self, coalitions: Tensor) -> Tensor:
        """The values ``(B, K, 2)`` of ``(K, M)`` coalitions."""
        keys = [tuple(line) for line in coalitions.bool().tolist()]
        new = list(dict.fromkeys(key for key in keys if key not in self._known))
        if new:
            asked = torch.tensor(new)
            values = [game.evaluate(asked, perturbations_per_eval=16)[0] for game in self._games]
            self._known.update(zip(new, torch.stack(values, 1).double(), strict=True))
        return torch.stack([self._known[key] for key in keys], 1)

    def refer(self, seeds: int, rows: int) -> Tensor:
        """Set the reference, and return its relative standard error ``(B, 2)``."""
        make = of("cross_fitted")
        # Seeds far from those of the estimates that are compared with it.
        estimators = [make(rows, self, 1000 + seed) for seed in range(seeds)]
        found = torch.stack([e.estimate(self(e.coalitions)).values for e in estimators])
        self.exact = found.mean(0)
        return (found.std(0) / seeds**0.5).norm(dim=-1) / self.exact.norm(dim=-1)


def main() -> None:
    """Both kinds of players."""
    parser = arguments(__doc__ or "", rounds=1)
    parser.add_argument("--pixels", type=int, default=112, help="default: %(default)s")
    parser.add_argument(
        "--photographs", nargs="+", default=["chelsea", "rocket"], choices=PHOTOGRAPHS
    )
    parser.add_argument("--budgets", nargs="+", type=int, default=[32, 64, 128, 256, 512])
    parser.add_argument("--seeds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--reference", type=int, nargs=2, default=[8, 2048], help="designs, rows")
    args = start(parser)
    pictures = of_efficientnet(args.photographs, args.pixels)
    batches: dict[str, Games] = {}
    for kind in KINDS:
        batches[kind] = games = Played(pictures.model, pictures.images, kind)
        error = float(games.refer(*args.reference).max())
        print(f"{kind}: reference within {100 * error:.2f} %", flush=True)
    coverage, errors = coverage_and_errors(batches, args.budgets, args.seeds)
    report(args, "Coverage of 95 % intervals, 32 players of EfficientNet-Lite0, %", coverage)
    print("\nRelative error of the same, %:\n\n" + markdown(errors))


if __name__ == "__main__":
    main()
