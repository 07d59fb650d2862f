"""The study behind docs/robustness.md: what small classifiers draw on, and what breaks them.

Trains the networks of ``recipes.py`` (or reads them where that was done before), measures all of
them with ``RobustnessStudy``, and asks of each claim about spectra and robustness what the numbers
say. Under ``torchrun`` the processes share networks and cells. Everything that was done is kept
below ``--out`` and not done again::

    python research/study.py --small                 # scikit-learn's digits, minutes
    torchrun --nproc-per-node=2 research/study.py --data /usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from figures import figures
from recipes import RECIPES, Data, digits, epochs_of, fashion_mnist, trained
from torch import Tensor

from captum_spectral.report import robustness as report
from captum_spectral.robustness import (
    Associations,
    associations,
    band_shares,
    builtin_corruptions,
    fourier_heat_map,
    nearest_family,
    pca,
    select,
    spectral_snr,
)
from captum_spectral.robustness.association import LEAST
from captum_spectral.sources.documents import to_nulls
from captum_spectral.sources.pictures import shipped_photographs
from captum_spectral.studies import (
    Processes,
    RobustnessStudy,
    StudiedModels,
    StudyModel,
    standard_measurements,
)
from captum_spectral.studies.dynamics import ImportanceCallback
from captum_spectral.studies.files import write

SMALL_RECIPES = ("ordinary", "noise .1", "l2 1", "low-pass .25", "high-pass .25", "mlp")
SCORES = ("importance score", "importance signed score", "importance share of band 0",
          "importance centroid", "importance high power", "importance total power")  # fmt: skip
BASELINES = ("mean", "black", "noise")
GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur and digital": ("gaussian_blur", "pixelate", "jpeg"),
    "contrast and brightness": ("contrast", "brightness"),
}


def options() -> argparse.Namespace:
    """What to train and measure; the defaults are those of the full study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="digits, six recipes, one seed")
    parser.add_argument("--data", type=Path, help="folder with the files of Fashion-MNIST")
    parser.add_argument("--out", type=Path, default=Path("study"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=20_000, help="images to train with")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=2_000, help="images to measure with")
    parser.add_argument("--attacked", type=int, default=1_000)
    parser.add_argument("--severities", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--resamples", type=int, default=10_000)
    args = parser.parse_args()
    if args.small:
        args.seeds, args.train, args.epochs, args.images, args.attacked = 1, 1_000, 4, 200, 40
        args.severities, args.resamples = [3], 200
    elif args.data is None:
        parser.error("--data must say where Fashion-MNIST is; or take --small")
    return args


# ------------------------------------------------------------------------------- the models


def models_of(args: argparse.Namespace, data: Data, processes: Processes) -> dict[str, StudyModel]:
    """Train what is not there yet, each process its share, and name all."""
    recipes = SMALL_RECIPES if args.small else tuple(RECIPES)
    jobs = [(name, seed) for seed in range(args.seeds) for name in recipes]
    cache = args.out / "networks"
    for name, seed in jobs[processes.rank :: processes.count]:
        trained(name, data, args.epochs, seed, cache)
        print(f"trained {name}, seed {seed}", flush=True)
    processes.gather(None)  # all are there

    def model(name: str, seed: int) -> StudyModel:
        return StudyModel(lambda: trained(name, data, args.epochs, seed, cache), name, seed)

    return {f"{name}, seed {seed}": model(name, seed) for name, seed in jobs}


def study_of(
    args: argparse.Namespace, data: Data, models: dict[str, StudyModel]
) -> RobustnessStudy:
    """All measurements of all networks."""
    size = data.test.shape[-2], data.test.shape[-1]
    measurements = standard_measurements(
        size,
        args.severities,
        epsilons={"linf": (0.02, 0.05, 0.1), "l2": (0.5, 1.0, 2.0)},
        num_bands=4 if args.small else 8,
        most_attacked=args.attacked,
    )
    return RobustnessStudy(
        models, data.test, data.test_labels, measurements=measurements, reference="ordinary, seed 0"
    )


# ------------------------------------------------------------------------------- the questions


def images_of(args: argparse.Namespace, data: Data) -> dict[str, Tensor]:
    """The images whose signal-to-noise ratio is looked at."""
    own = {"study": data.test[:200]}
    return own if args.small else {**own, "photographs": photographs(224)}


def does_snr_fall(kinds: Mapping[str, Tensor], args: argparse.Namespace) -> dict[str, Any]:
    """Exponents of the spectral signal-to-noise ratio under every corruption."""
    found: dict[str, Any] = {}
    for kind, images in kinds.items():
        for corruption in builtin_corruptions((images.shape[-2], images.shape[-1])):
            snr = spectral_snr(images, corruption(images, 3), num_bands=4 if args.small else 8)
            entry: dict[str, Any] = {
                "decibel": to_nulls(snr.decibel),
                "standard_error": to_nulls(snr.standard_error),
            }
            try:
                fit = snr.fit_power_law(max(args.resamples // 10, 20))
                entry |= {k: to_nulls(plain(v)) for k, v in fit._asdict().items()}
            except ValueError as error:
                entry["no fit"] = str(error)
            found[f"{corruption.name}, {kind}"] = entry
    return found


def photographs(size: int) -> Tensor:
    """The middle of every shipped photograph that is large enough, in pixels from 0 to 1."""
    from torchvision.transforms.v2.functional import center_crop, pil_to_tensor

    pictures = shipped_photographs()
    images = [pictures.load(i) for i in range(len(pictures))]
    large = [image for image in images if min(image.size) >= size]
    return torch.stack([center_crop(pil_to_tensor(i), [size, size]) / 255 for i in large])


def families_of(studied: StudiedModels, args: argparse.Namespace) -> dict[str, Any]:
    """Means over the seeds of every recipe, and the spread between them."""
    found: dict[str, Any] = {}
    selectors = {
        "clean": "accuracy",
        "corrupted": "corruption accuracy",
        "linf .05": "robust accuracy/linf/0.05",
        "l2 1": "robust accuracy/l2/1",
        "distance": "distance",
        **{f"score, {b}": f"importance signed score/{b}" for b in BASELINES},
        **{f"share of band 0, {b}": f"importance share of band 0/{b}" for b in BASELINES},
        "cut-off": "lowest cut-off",
    }
    for title, selector in selectors.items():
        column = select(studied.table, selector)
        family = {row["model"]: row["family"] for row in studied.table}
        for name, value in zip(column.names, column.values.tolist(), strict=True):
            found.setdefault(family[name], {}).setdefault(title, []).append(value)
    for entry in found.values():
        for title, values in list(entry.items()):
            x = torch.tensor(values)
            entry[title] = [float(x.mean()), float(x.std()) if len(x) > 1 else None]
    errors = report.corruption_errors(studied, args.resamples // 10)
    for name, of in errors.items():
        entry = found[next(r["family"] for r in studied.table if r["model"] == name)]
        entry.setdefault("mCE", []).append(float(of.mce.value))
        entry.setdefault("relative mCE", []).append(float(of.relative_mce.value))
    return found


def with_groups(studied: StudiedModels) -> list[Mapping[str, Any]]:
    """The table, and the mean over each group of corruptions as a measure of its own."""
    rows = list(studied.table)
    for group, names in GROUPS.items():
        for model in studied.table.models:
            of = [
                r
                for r in rows
                if r["model"] == model
                and r["measurement"] == "corruption accuracy"
                and r["perturbation"] in names
            ]
            own = {
                "measurement": f"accuracy under {group}",
                "perturbation": "",
                "severity": None,
                "value": math.fsum(r["value"] for r in of) / len(of),
                "standard_error": math.sqrt(math.fsum(r["standard_error"] ** 2 for r in of))
                / len(of),
            }
            rows.append({**of[0], **own})
    return rows


def do_scores_predict(
    rows: list[Mapping[str, Any]], args: argparse.Namespace
) -> Associations | None:
    """All scores with all baselines against all measures."""
    if len({row["family"] for row in rows}) < LEAST:
        return None
    measures = [
        *(f"accuracy under {group}" for group in GROUPS),
        "robust accuracy/linf/0.05",
        "robust accuracy/l2/1",
        "distance",
    ]
    scores = [f"{score}/{baseline}" for score in SCORES for baseline in BASELINES]
    return associations(rows, scores, measures, num_resamples=args.resamples)


def do_families_group(studied: StudiedModels, args: argparse.Namespace) -> dict[str, Any]:
    """Whether the bands tell the recipe, and the kind of recipe."""
    spectra = band_shares(studied.table, "mean")
    groups = [RECIPES[family].group for family in spectra.families]
    found: dict[str, Any] = {"explained": to_nulls(pca(spectra.shares).explained[:2])}
    for title, names in (("recipe", list(spectra.families)), ("kind", groups)):
        if len(set(names)) < len(names):
            found[title] = nearest_family(spectra.shares, names, args.resamples)._asdict()
    return found


def what_label_noise_does(args: argparse.Namespace, data: Data) -> list[dict[str, Any]]:
    """Bands after every epoch, for shares of wrong labels."""
    callback = ImportanceCallback(
        data.test[: args.attacked],
        data.test_labels[: args.attacked],
        num_bands=4 if args.small else 8,
    )
    recipes = ("ordinary", "labels .4") if args.small else (
        "ordinary", "labels .2", "labels .4", "labels .8")  # fmt: skip
    for name in recipes:
        for seed in range(args.seeds):
            for epoch, model in enumerate(epochs_of(RECIPES[name], data, args.epochs, seed), 1):
                callback(model, epoch, wrong=RECIPES[name].wrong, seed=seed)
    return callback.rows


def heat_maps(
    args: argparse.Namespace, data: Data, models: dict[str, StudyModel]
) -> dict[str, Any]:
    """Error rates under single waves, for one network of each kind."""
    shown = [f"{name}, seed 0" for name in SMALL_RECIPES[:5] if f"{name}, seed 0" in models]
    few = 20 if args.small else 100
    return {
        name: fourier_heat_map(
            models[name].load(), data.test[:few], data.test_labels[:few], norm=2.0
        ).value
        for name in shown
    }


def plain(x: Any) -> Any:
    """Tensors and tuples as lists."""
    if isinstance(x, Tensor):
        return x.tolist()
    return [plain(y) for y in x] if isinstance(x, (tuple, list)) else x


def main() -> None:
    """Train, measure, tell."""
    args = options()
    torch.set_num_threads(1)
    data = digits(args.train, args.images) if args.small else fashion_mnist(
        args.data, args.train, args.images)  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    processes = Processes(torch.device("cpu"))
    models = models_of(args, data, processes)
    studied = study_of(args, data, models).run(
        args.out / "cells", processes, show_progress=processes.is_first
    )
    if processes.is_first:
        for name, content in tell(args, data, models, studied):
            write(args.out / name, content)
            print(f"written {args.out / name}", flush=True)
    processes.leave()


def tell(
    args: argparse.Namespace, data: Data, models: dict[str, StudyModel], studied: StudiedModels
) -> Iterator[tuple[str, bytes]]:
    """Everything that is written, the numbers before the figures."""
    yield "table.csv", studied.table.to_csv().encode()
    yield "summary.txt", report.to_text(studied, None, args.resamples // 10).encode()
    rows, images = with_groups(studied), images_of(args, data)
    found = do_scores_predict(rows, args)
    label_noise = what_label_noise_does(args, data)
    numbers = {
        "settings": {k: str(v) for k, v in vars(args).items()},
        "does SNR fall": does_snr_fall(images, args),
        "families": families_of(studied, args),
        "do scores predict": found and found.to_dict(),
        "do families group": do_families_group(studied, args),
        "label noise": label_noise,
    }
    yield "numbers.json", json.dumps(numbers, indent=1).encode()
    if found is not None:
        yield "associations.txt", str(found).encode()
    maps = heat_maps(args, data, models)
    yield from figures(images, studied, rows, found, label_noise, maps)


if __name__ == "__main__":
    main()
