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

That takes 16 minutes on one idle thread of 2.5 GHz; what was interrupted goes on. Two other sets
of games, each for a folder of its own: ``--pixels 112``, the same photographs at half the size, in
a quarter of the time, and ``--fashion DATA``, a small CNN on four pictures of Fashion-MNIST, in a
minute.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import arguments, report, seconds, start
from data import fashion_mnist, is_right, train_fashion_cnn
from torch import Tensor, nn

from captum_spectral.coalitions import all_coalitions
from captum_spectral.features import FourierBands, sector_mask
from captum_spectral.features.band_mask import band_mask
from captum_spectral.features.fourier import split_bands
from captum_spectral.game import Game
from captum_spectral.sources.images import photographs
from captum_spectral.sources.models import load_model

PHOTOGRAPHS = ("chelsea", "coffee", "motorcycle", "rocket")
KINDS = ("bands", "sectors")


def mask_of(kind: str, shape: tuple[int, int]) -> Tensor:
    """The 12 players of one kind."""
    return band_mask(shape, 12) if kind == "bands" else sector_mask(shape, 4, 3)


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


def make(model: Any, image: Tensor, kind: str, part: Path) -> dict[str, Any]:
    """The arrays of one file; what was interrupted goes on from ``part``."""
    with torch.no_grad():
        target = int(model(image).argmax())
    mask = mask_of(kind, (image.shape[-2], image.shape[-1]))
    game = Game(
        logit_and_log_probability(model, target), image, features=FourierBands(feature_mask=mask)
    )
    at_once = round(4 * (224 / image.shape[-1]) ** 2)
    coalitions = all_coalitions(12)
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


class Pictures(NamedTuple):
    """A network, and pictures by name as it wants them."""

    model: Any
    images: dict[str, Tensor]


def of_efficientnet(names: list[str], pixels: int) -> Pictures:
    """The photographs that scikit-image ships."""
    loaded, shipped = load_model("efficientnet-lite0"), photographs()
    images = {name: loaded.prepare(shipped[name]) for name in names}
    if pixels != 224:
        images = {
            name: nn.functional.interpolate(x, (pixels, pixels), mode="bilinear", antialias=True)
            for name, x in images.items()
        }
    first = images[names[0]]
    return Pictures(frozen(loaded.module, first.expand(4, -1, -1, -1)), images)


def of_fashion(root: Path, download: bool) -> Pictures:
    """The first picture of four classes each that a small CNN gets right."""
    model = train_fashion_cnn(root, epochs=1, download=download)
    pool = fashion_mnist(root, download=download)
    pool = pool.take(is_right(model, pool))
    images = {}
    for label in range(4):
        images[f"fashion-{label}"] = pool.images[pool.labels == label][:1]
    return Pictures(model, images)


def main() -> None:
    """Whatever is not in the cache."""
    parser = arguments(__doc__ or "", rounds=1)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--pixels", type=int, default=224, help="default: %(default)s")
    parser.add_argument("--photographs", nargs="+", default=PHOTOGRAPHS, choices=PHOTOGRAPHS)
    parser.add_argument("--fashion", type=Path, help="Fashion-MNIST in this folder instead")
    parser.add_argument("--download", action="store_true", help="get Fashion-MNIST")
    args = start(parser)
    args.cache.mkdir(parents=True, exist_ok=True)
    pictures = (
        of_fashion(args.fashion, args.download)
        if args.fashion
        else of_efficientnet(list(args.photographs), args.pixels)
    )
    table: list[dict[str, Any]] = []

    def one(kind: str, name: str) -> None:
        file = args.cache / f"M12-{kind}-{name}.npz"
        took = ""
        if not file.exists():
            made: dict[str, Any] = {}
            part = file.with_suffix(".part.npy")
            image = pictures.images[name]
            took = str(round(seconds(lambda: made.update(make(pictures.model, image, kind, part)))))
            np.savez(file, **made)
            part.unlink()
        with np.load(file) as arrays:
            gap = arrays["values"][-1] - arrays["values"][0]
            table.append(
                {
                    **{"players": kind, "picture": name, "class": int(arrays["target"])},
                    **{"rows": len(arrays["values"]), "seconds": took},
                    "v(all) - v(none), logit": round(float(gap[0]), 3),
                    "log-probability": round(float(gap[1]), 3),
                }
            )

    for name in pictures.images:
        for kind in KINDS:
            one(kind, name)
    report(args, "Tables of all values", table)


if __name__ == "__main__":
    main()
