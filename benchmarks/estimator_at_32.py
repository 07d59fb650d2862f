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
from estimator_tables import (
    PHOTOGRAPHS,
    energies,
    logit_and_log_probability,
    of_efficientnet,
)
from estimators import KINDS, OURS, of, replay, row
from torch import Tensor

from captum_spectral.features import FourierBands, sector_mask
from captum_spectral.features.band_mask import band_mask
from captum_spectral.game import Game

PLAYERS = 32


class Played:
    """The two games of one picture; what was asked for once is not computed again."""

    def __init__(self, model: Any, image: Tensor, kind: str) -> None:
        shape = image.shape[-2], image.shape[-1]
        mask = band_mask(shape, PLAYERS) if kind == "bands" else sector_mask(shape, 8, 4)
        with torch.no_grad():
            target = int(model(image).argmax())
        forward = logit_and_log_probability(model, target)
        self.game = Game(forward, image, features=FourierBands(feature_mask=mask))
        self.energies = energies(image, mask)[None]  # (1, M)
        self.exact = torch.full((1, 2, PLAYERS), math.nan, dtype=torch.float64)
        self.names = [kind]
        self._known: dict[tuple[bool, ...], Tensor] = {}

    def __call__(self, coalitions: Tensor) -> Tensor:
        """The values ``(1, K, 2)`` of ``(K, M)`` coalitions."""
        keys = [tuple(line) for line in coalitions.bool().tolist()]
        new = list(dict.fromkeys(key for key in keys if key not in self._known))
        if new:
            values = self.game.evaluate(torch.tensor(new), perturbations_per_eval=16)[0].double()
            self._known.update(zip(new, values, strict=True))
        return torch.stack([self._known[key] for key in keys])[None]

    def refer(self, seeds: int, rows: int) -> float:
        """Set the reference, and return its relative standard error, the larger of both games."""
        make = of("cross_fitted")
        # Seeds far from those of the estimates that are compared with it.
        estimators = [make(rows, self, 1000 + seed) for seed in range(seeds)]
        found = torch.stack([e.estimate(self(e.coalitions)).values for e in estimators])
        self.exact = found.mean(0)
        errors = found.std(0) / seeds**0.5
        return float((errors.norm(dim=-1) / self.exact.norm(dim=-1)).max())


def main() -> None:
    """Both kinds of players."""
    parser = arguments(__doc__ or "", rounds=1)
    parser.add_argument("--pixels", type=int, default=112, help="default: %(default)s")
    parser.add_argument("--photographs", nargs="+", default=["chelsea", "rocket"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[32, 64, 128, 256, 512])
    parser.add_argument("--seeds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--reference", type=int, nargs=2, default=[8, 2048], help="designs, rows")
    args = start(parser)
    if not set(args.photographs) <= set(PHOTOGRAPHS):
        parser.error(f"--photographs must be of {', '.join(PHOTOGRAPHS)}")
    pictures = of_efficientnet(list(args.photographs), args.pixels)
    names = [name for name in OURS if name != "regression"]
    runs: dict[str, dict[str, list[list[Any]]]] = {name: {k: [] for k in KINDS} for name in names}
    for kind in KINDS:
        for photograph, image in pictures.images.items():
            games = Played(pictures.model, image, kind)
            error = games.refer(*args.reference)
            print(f"{kind}, {photograph}: reference within {100 * error:.2f} %", flush=True)
            for name in names:
                found = [replay(OURS[name], games, b, args.seeds) for b in args.budgets]
                runs[name][kind].append([(r, games) for r in found])
    errors, coverage = [], []
    for name, of_kind in runs.items():
        wrong: dict[str, list[float]] = {}
        held: dict[str, list[float]] = {}
        for kind, pairs in of_kind.items():
            at = list(zip(*pairs, strict=True))  # budget, picture
            wrong[kind] = [
                math.exp(torch.cat([r.relative(g).flatten() for r, g in some]).log().mean())
                if all(r for r, _ in some)
                else math.nan
                for some in at
            ]
            held[kind] = [
                sum(r.coverage() for r, _ in some) / len(some)
                if all(r for r, _ in some)
                else math.nan
                for some in at
            ]
        errors.append(row(name, args.budgets, wrong))
        line = row(name, args.budgets, held)
        del line["rows to 10 %"]
        coverage.append(line)
    report(args, "Coverage of 95 % intervals, 32 players of EfficientNet-Lite0, %", coverage)
    print("\nRelative error of the same, %:\n\n" + markdown(errors))


if __name__ == "__main__":
    main()
