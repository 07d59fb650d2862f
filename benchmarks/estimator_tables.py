"""All values of real games, once and for all: what ``estimators.py`` replays estimators on.

    python benchmarks/estimator_tables.py --cache tables --threads 1

EfficientNet-Lite0 with its ImageNet weights, four photographs of 224 px, 12 players, all 4096
coalitions; the baseline is zero after normalisation, a grey image. Players are 12 nested bands of
equal width, or 4 radial by 3 angular sectors of the Fourier plane. The values are the logit and the
log-probability of the class that the network predicts: 8 games of each kind. An estimator that asks
for a coalition then gets what the network would say, for nothing, and its error is known.

Each game is a file ``M12-KIND-PHOTOGRAPH.npz`` in the folder ``--cache`` with

    values      (4096, 2), logit and log-probability; bit i of the row is player i
    energies    (12,), e_i = sum of squares of x_i - b_i over channels and positions
    target      the class

and with ``--rows N`` also ``M32-sectors-PHOTOGRAPH.npz``: 8 radial by 4 angular sectors, whose
2^32 values nobody has, so N distinct random coalition pairs with their values instead (half of the
rows are the complements of the other half; every size 1..31 has as many pairs as any other), which
``estimators.py`` uses as a pool and for a reference. Takes 16 minutes on one thread of 2.5 GHz
without the option. What exists already is not made again. ``--pixels 112`` makes other games, of the
same photographs at half the size, in a quarter of the time; give them a folder of their own.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, report, seconds, start
from torch import Tensor, nn

from captum_spectral.coalitions import all_coalitions
from captum_spectral.features import FourierBands
from captum_spectral.features.band_mask import band_mask
from captum_spectral.features.fourier import split_bands
from captum_spectral.game import Game
from captum_spectral.sources.images import photographs
from captum_spectral.sources.models import load_model

PHOTOGRAPHS = ("chelsea", "coffee", "motorcycle", "rocket")
KINDS = ("bands", "sectors")


def sectors(shape: tuple[int, int], radial: int, angular: int) -> Tensor:
    """``(H, W)`` ids: equal-width rings of the max-norm by equal angles, a bin with its negative.

    Angles are those of the frequency, from 0 along the last dim up to pi; id = ring * angular +
    angle.
    """
    ky, kx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in shape)
    angle = torch.atan2(ky[:, None], kx[None]).remainder(torch.pi)
    which = (angle / (torch.pi / angular)).floor().long().clamp(max=angular - 1)
    # Of an even size -n/2 has no partner of the other sign: symmetric by taking the lower id.
    negative = which.roll((-1, -1), (0, 1)).flip(0, 1)
    return band_mask(shape, radial) * angular + torch.minimum(which, negative)


def mask_of(kind: str, players: int, shape: tuple[int, int]) -> Tensor:
    """The mask of one kind of players."""
    if kind == "bands":
        return band_mask(shape, players)
    radial, angular = {12: (4, 3), 32: (8, 4)}[players]
    return sectors(shape, radial, angular)


def frozen(model: nn.Module, images: Tensor) -> Any:
    """The same network with its batch norms folded into the convolutions: nearly twice as fast.

    Its outputs differ from the network's in the sixth digit.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # newer PyTorch would rather compile, which takes minutes
        traced = torch.jit.trace(model, images)
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced))


def logit_and_log_probability(model: Any, target: int) -> Any:
    """Both outputs of a row from one forward pass."""

    def of(images: Tensor) -> Tensor:
        logits = model(images)
        return torch.stack((logits[:, target], logits.log_softmax(1)[:, target]), 1)

    return of


def energies(image: Tensor, mask: Tensor) -> Tensor:
    """``(M,)`` sums of squares of the parts of one example."""
    return split_bands(image, mask).double().square().flatten(2).sum(2)[0]


def pairs(players: int, count: int, seed: int = 0) -> Tensor:
    """``(count, M)``, distinct coalitions, no two complements: as many of every pair of sizes."""
    draw = np.random.default_rng(seed)
    found: dict[bytes, np.ndarray[Any, Any]] = {}
    size = 0
    while len(found) < count:
        size = size % (players - 1) + 1
        member = np.zeros(players, bool)
        member[draw.choice(players, size, replace=False)] = True
        member ^= not member[0]  # the one of the two that holds player 0
        found.setdefault(member.tobytes(), member)
    return torch.from_numpy(np.stack(list(found.values())))


def make(model: Any, image: Tensor, kind: str, coalitions: Tensor, part: Path) -> dict[str, Any]:
    """The arrays of one file; what was interrupted goes on from ``part``."""
    with torch.no_grad():
        target = int(model(image).argmax())
    mask = mask_of(kind, coalitions.shape[1], (image.shape[-2], image.shape[-1]))
    game = Game(
        logit_and_log_probability(model, target), image, features=FourierBands(feature_mask=mask)
    )
    at_once = round(4 * (224 / image.shape[-1]) ** 2)
    done = [np.load(part)] if part.exists() else []
    start = sum(map(len, done))
    for some in coalitions[start:].split(256):
        values = game.evaluate(some, perturbations_per_eval=at_once)[0]
        done.append(values.double().numpy())
        np.save(part, np.concatenate(done))
        print(f"{part.name}: {sum(map(len, done))} of {len(coalitions)} rows", flush=True)
    return {
        "values": np.concatenate(done),
        "energies": energies(image, mask).numpy(),
        "target": np.array(target),
    }


def main() -> None:
    """Whatever is not in the cache."""
    parser = arguments(__doc__ or "", rounds=1)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the tables")
    parser.add_argument(
        "--rows", type=int, default=0, help="of each game of 32 players; default: 0"
    )
    parser.add_argument("--pixels", type=int, default=224, help="default: %(default)s")
    parser.add_argument("--photographs", nargs="+", default=PHOTOGRAPHS, choices=PHOTOGRAPHS)
    args = start(parser)
    args.cache.mkdir(parents=True, exist_ok=True)
    loaded, pictures, table = load_model("efficientnet-lite0"), photographs(), []

    def prepared(name: str) -> Tensor:
        image, size = loaded.prepare(pictures[name]), (args.pixels, args.pixels)
        if image.shape[-2:] == size:
            return image
        return nn.functional.interpolate(image, size, mode="bilinear", antialias=True)

    model = frozen(loaded.module, prepared(PHOTOGRAPHS[0]).expand(4, -1, -1, -1))

    def one(kind: str, name: str, coalitions: Tensor) -> None:
        players = coalitions.shape[1]
        file = args.cache / f"M{players}-{kind}-{name}.npz"
        image = prepared(name)
        took = ""
        if not file.exists():
            made: dict[str, Any] = {}
            part = file.with_suffix(".part.npy")
            took = str(
                round(seconds(lambda: made.update(make(model, image, kind, coalitions, part))))
            )
            if players > 12:
                made["coalitions"] = coalitions.numpy()
            np.savez(file, **made)
            part.unlink()
        with np.load(file) as arrays:
            gap = arrays["values"][-1] - arrays["values"][0]
            category = loaded.category(int(arrays["target"]))
        table.append(
            {
                **{"M": players, "players": kind, "photograph": name, "class": category},
                **{"rows": len(coalitions), "seconds": took},
                **{
                    "v(all) - v(none), logit": round(gap[0], 3),
                    "log-probability": round(gap[1], 3),
                },
            }
        )

    for name in args.photographs:
        for kind in KINDS:
            one(kind, name, all_coalitions(12))
    if args.rows:
        half = pairs(32, args.rows // 2 - 1)
        ends = torch.zeros(1, 32, dtype=torch.bool)
        # The empty coalition first and the grand one last, and complements as far from the ends.
        one("sectors", PHOTOGRAPHS[0], torch.cat((ends, half, ~half.flip(0), ~ends)))
    report(args, "Tables of all values", table)


if __name__ == "__main__":
    main()
