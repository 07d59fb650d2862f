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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from figures import figures
from images import middles_of_photographs
from recipes import RECIPES, Data, digits, epochs_of, fashion_mnist, trained
from torch import Tensor

from captum_spectral.report import robustness as report
from captum_spectral.report.robustness_figures import (
    figure_of_association,
    figure_of_correlations,
)
from captum_spectral.robustness import (
    Associations,
    SpectralSNR,
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
PAIRS = (  # of which the page has figures, by what it speaks of
    ("importance signed score/black", "accuracy under noise"),
    ("importance signed score/mean", "accuracy under contrast and brightness"),
    ("importance signed score/mean", "distance"),
)


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
    return own if args.small else {**own, "photographs": middles_of_photographs(224)}


def ratios_of(kinds: Mapping[str, Tensor], bands: int) -> dict[tuple[str, str], SpectralSNR]:
    """The signal-to-noise ratio under every corruption, by the kind of images and its name."""
    return {
        (kind, corruption.name): spectral_snr(images, corruption(images, 3), num_bands=bands)
        for kind, images in kinds.items()
        for corruption in builtin_corruptions((images.shape[-2], images.shape[-1]))
    }


def does_snr_fall(
    ratios: Mapping[tuple[str, str], SpectralSNR], args: argparse.Namespace
) -> dict[str, Any]:
    """Exponents of these ratios, with their intervals."""
    found: dict[str, Any] = {}
    for (kind, name), snr in ratios.items():
        entry: dict[str, Any] = {
            "decibel": to_nulls(snr.decibel),
            "standard_error": to_nulls(snr.standard_error),
        }
        try:
            fit = snr.fit_power_law(max(args.resamples // 10, 20))
            entry |= {k: to_nulls(plain(v)) for k, v in fit._asdict().items()}
        except ValueError as error:
            entry["no fit"] = str(error)
        found[f"{name}, {kind}"] = entry
    return found


def families_of(rows: list[Mapping[str, Any]], errors: Mapping[str, report.Errors]) -> Any:
    """Means over the seeds of every recipe, as in the table of the page."""
    family = {row["model"]: row["family"] for row in rows}
    selectors = {
        "clean": "accuracy",
        **{group: f"accuracy under {group}" for group in groups_of(rows)},
        "linf .05": "robust accuracy/linf/0.05",
        "l2 1": "robust accuracy/l2/1",
        "distance": "distance",
        **{f"score, {b}": f"importance signed score/{b}" for b in BASELINES},
    }
    listed: dict[str, dict[str, list[float]]] = {}
    for title, selector in selectors.items():
        column = select(rows, selector)
        for name, value in zip(column.names, column.values.tolist(), strict=True):
            listed.setdefault(family[name], {}).setdefault(title, []).append(value)
    for name, of in errors.items():
        listed[family[name]].setdefault("mCE", []).append(float(of.mce.value))
    return {
        name: {title: sum(x) / len(x) for title, x in entry.items()}
        for name, entry in listed.items()
    }


def groups_of(rows: list[Mapping[str, Any]]) -> list[str]:
    """The groups that :func:`with_groups` has added."""
    names = dict.fromkeys(row["measurement"] for row in rows)
    return [n.removeprefix("accuracy under ") for n in names if n.startswith("accuracy under ")]


def with_groups(studied: StudiedModels) -> list[Mapping[str, Any]]:
    """The table, and the mean over each group of corruptions as a measure of its own."""
    rows = list(studied.table)
    for group in dict.fromkeys(studied.groups.values()):
        for model in studied.table.models:
            of = [
                row
                for row in studied.table
                if row["model"] == model
                and row["measurement"] == "corruption accuracy"
                and studied.groups[row["perturbation"]] == group
            ]
            column = select(of, "corruption accuracy")
            own = {
                "measurement": f"accuracy under {group}",
                "perturbation": "",
                "severity": None,
                "value": float(column.values[0]),
                "standard_error": float(column.errors[0]),
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
        *(f"accuracy under {group}" for group in groups_of(rows)),
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
    errors = report.corruption_errors(studied, args.resamples // 10)
    yield "table.csv", studied.table.to_csv().encode()
    yield "summary.txt", report.to_text(studied, report.Findings(errors, None)).encode()
    rows = with_groups(studied)
    found = do_scores_predict(rows, args)
    ratios = ratios_of(images_of(args, data), 4 if args.small else 8)
    label_noise = what_label_noise_does(args, data)
    numbers = {
        "settings": {k: str(v) for k, v in vars(args).items()},
        "does SNR fall": does_snr_fall(ratios, args),
        "families": families_of(rows, errors),
        "do scores predict": found and found.to_dict(),
        "do families group": do_families_group(studied, args),
        "label noise": label_noise,
    }
    yield "numbers.json", json.dumps(numbers, indent=1).encode()
    if found is not None:
        yield "associations.txt", str(found).encode()
        yield "correlations.png", figure_of_correlations(found)
        for number, (score, measure) in enumerate(PAIRS, 1):
            row = found.cells[found.scores.index(score)]
            cell = row[found.robustness.index(measure)]
            yield f"association-{number}.png", figure_of_association(cell)
    maps = heat_maps(args, data, models)
    yield from figures(studied, ratios, label_noise, maps)


if __name__ == "__main__":
    main()
