"""Studies written down: a readable TOML file to a study of robustness."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from captum_spectral._arguments import check_count
from captum_spectral.robustness.corruptions import builtin_corruptions
from captum_spectral.sources.contents import contents_of
from captum_spectral.sources.datasets import open_data
from captum_spectral.sources.labels import read_label_map
from captum_spectral.sources.models import LoadedModel, in_pixels, load_model
from captum_spectral.sources.pictures import Pictures
from captum_spectral.studies.loading import Plan, batches
from captum_spectral.studies.logits import logits_of
from captum_spectral.studies.measurements import CorruptionAccuracy, Measurement, Model
from captum_spectral.studies.outputs import outputs_of
from captum_spectral.studies.robustness import (
    RobustnessStudy,
    StudyModel,
    standard_measurements,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["ConfiguredStudy", "read_config", "study_of"]

_READ_TOGETHER = 32


@dataclass(frozen=True)
class ConfiguredStudy:
    """A study as it is written down; paths are relative to the file.

    Attributes:
        models: Name to the entries of its ``[[model]]`` table: ``model`` (as ``--model`` of the
            command ``score``, the name itself by default), ``weights``, ``family``, ``seed``.
        data: A folder of pictures, or a data set of torchvision below ``root``. None: the shipped
            photographs.
        root: Folder of the torchvision data set.
        label_map: A file, as ``--label-map`` of the command ``score``.
        max_images: Look at so many pictures at most.
        reference: The model that corruption errors are relative to; None: the first.
        seed: Of everything random.
        batch_size: Pictures per batch.
        measure: What to measure: entries of ``[measure]``, see :func:`read_config`.
    """

    models: dict[str, dict[str, Any]]
    data: str | None = None
    root: Path | None = None
    label_map: Path | None = None
    max_images: int = 1000
    reference: str | None = None
    seed: int = 0
    batch_size: int | None = None
    measure: dict[str, Any] | None = None


_STUDY = {
    "data": str,
    "root": str,
    "label_map": str,
    "max_images": int,
    "reference": str,
    "seed": int,
    "batch_size": int,
}
_MODEL = {"name": str, "model": str, "weights": str, "family": str, "seed": int}
_NUMBERS = (int, float)
_MEASURE: dict[str, Any] = {
    "only": [str],
    "corruptions": [str],
    "severities": [int],
    "linf": [_NUMBERS],
    "l2": [_NUMBERS],
    "attacked": int,
    "cap": _NUMBERS,
    "bands": int,
    "samples": int,
    "sensitivity": _NUMBERS,
}


def read_config(path: Path) -> ConfiguredStudy:
    """Read a study from a TOML file.

    ::

        data = "photos"          # a folder; left out: the shipped photographs
        max_images = 500
        reference = "resnet50"

        [[model]]
        name = "resnet50"
        model = "torchvision:resnet50"
        family = "resnet"

        [[model]]
        name = "mine"
        model = "nets:make"
        weights = "mine.safetensors"

        [measure]                # all of it may be left out
        only = ["accuracy", "corruption accuracy", "importance"]  # kinds of measurements
        corruptions = ["gaussian_noise", "jpeg"]
        severities = [1, 3, 5]
        linf = [0.0157]          # radii, pixels from 0 to 1
        l2 = [0.5]
        attacked = 200           # so many images at most
        cap = 5.0                # distances to the boundary count up to here
        bands = 8
        samples = 1              # orderings per image; 0: exact
        sensitivity = 15.7       # length of a direction inside a band

    Args:
        path: The file.

    Returns:
        A :class:`ConfiguredStudy`.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no TOML, or has entries that are not known, missing or of a wrong kind;
            the message names them.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
    _known(content, {*_STUDY, "measure", "model"}, str(path))
    listed = content.pop("model", [])
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path} must have a [[model]] table for each model")
    models: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(listed, 1):
        where = f"[[model]] {number} of {path}"
        _typed(entry, _MODEL, where)
        name = entry.get("name", entry.get("model"))
        if name is None or name in models:
            raise ValueError(f"{where} must have a name of its own")
        weights = entry.get("weights")
        models[name] = {
            "model": entry.get("model", name),
            "weights": None if weights is None else path.parent / weights,
            "family": entry.get("family", ""),
            "seed": entry.get("seed", 0),
        }
    measure = content.pop("measure", {})
    _typed(measure, _MEASURE, f"[measure] of {path}")
    _typed(content, _STUDY, str(path))
    for key in ("root", "label_map"):
        if key in content:
            content[key] = path.parent / content[key]
    if "data" in content and "root" not in content:
        content["data"] = str(path.parent / content["data"])
    check_count("max_images", content.get("max_images", 1))
    if (reference := content.get("reference")) is not None and reference not in models:
        raise ValueError(f"reference {reference!r} of {path} is none of {', '.join(models)}")
    return ConfiguredStudy(models, measure=measure, **content)


def study_of(config: ConfiguredStudy, device: torch.device | str = "cpu") -> RobustnessStudy:
    """Read the pictures and make the study.

    Every model is loaded once here, to see its transform and to count its outputs, and again when
    its turn comes, so that one of them is in memory at a time. Pictures are read once for each
    transform, and those that cannot be read are in ``skipped``.

    Args:
        config: As :func:`read_config` gives it.
        device: Where models and images go. Default: "cpu"

    Returns:
        The :class:`RobustnessStudy`.

    Raises:
        OSError, ImportError, ValueError: Data or a model that cannot be opened; data and labels
            that do not fit a model.

    Cost in model rows: 2 for each model where the data has labels.
    """
    pictures = open_data(config.data, config.root)
    label_map = None if config.label_map is None else read_label_map(config.label_map)
    read: dict[object, _Read] = {}
    models: dict[str, StudyModel] = {}
    first: tuple[_Read, Tensor | None] | None = None
    for name, entry in config.models.items():
        loaded = _load(entry, device)
        transform = contents_of(loaded.transform)
        key = name if transform.unseen else transform
        if key not in read:
            read[key] = _read(loaded, pictures, config)
        own = read[key]
        labels = _labels_of(own, loaded, pictures, label_map, device)
        first = first or (own, labels)
        if own.indices != first[0].indices or not _same(labels, first[1]):
            raise ValueError(
                f"{name} has other pictures or labels than {next(iter(config.models))}: all models "
                "of a study must be able to use the same"
            )
        images = None if own is first[0] else own.images
        models[name] = StudyModel(_loader(entry, device), entry["family"], entry["seed"], images)
    assert first is not None
    images, labels = first[0].images, first[1]
    return RobustnessStudy(
        models,
        images,
        labels,
        measurements=_measurements(config.measure or {}, tuple(images.shape[-2:])),
        reference=config.reference,
        seed=config.seed,
        batch_size=config.batch_size,
        device=device,
        skipped=first[0].skipped,
    )


def _load(entry: Mapping[str, Any], device: torch.device | str) -> LoadedModel:
    loaded = in_pixels(load_model(entry["model"], entry["weights"]))
    if isinstance(loaded.module, nn.Module):
        loaded.module.to(device)
    return loaded


def _loader(entry: Mapping[str, Any], device: torch.device | str) -> Callable[[], Model]:
    return lambda: _load(entry, device).module


class _Read(NamedTuple):
    """The pictures that can be read, as the pixels that a transform makes of them.

    Attributes:
        images: ``(N, C, H, W)``.
        indices: Which pictures they are.
        labels: Their labels in the data set, empty without.
        skipped: ``(name, reason)`` of the others.
    """

    images: Tensor
    indices: list[int]
    labels: list[int]
    skipped: list[tuple[str, str]]


def _read(model: LoadedModel, pictures: Pictures, config: ConfiguredStudy) -> _Read:
    order = Plan(len(pictures), config.max_images, _READ_TOGETHER, config.seed).batches
    has_labels = pictures.label(order[0][0]) is not None
    found = list(batches(pictures, model, order, has_labels, workers=0))
    images = [batch.images for batch in found if batch.images is not None]
    skipped = [*pictures.skipped, *(pair for batch in found for pair in batch.skipped)]
    if not images:
        reasons = "; ".join(reason for _, reason in skipped[:3])
        raise ValueError(f"none of the pictures of {pictures.name} can be read: {reasons}")
    return _Read(
        torch.cat(images),
        [index for batch in found for index in batch.indices],
        [label for batch in found for label in batch.labels],
        skipped,
    )


def _labels_of(
    read: _Read,
    model: LoadedModel,
    pictures: Pictures,
    label_map: dict[str, int] | None,
    device: torch.device | str,
) -> Tensor | None:
    """Return the outputs of a model that the labels stand for; None without labels."""
    if not read.labels:
        return None
    num_classes = logits_of(model, read.images[:1].to(device)).shape[1]
    output_of = outputs_of(pictures, model, num_classes, label_map) or {}
    return torch.tensor([output_of[label] for label in read.labels])


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def _measurements(measure: Mapping[str, Any], size: tuple[int, ...]) -> list[Measurement]:
    """Return those of ``[measure]``; what is left out stays as it is."""
    height, width = size
    epsilons: Any = {norm: measure[norm] for norm in ("linf", "l2") if norm in measure}
    given = {
        "severities": measure.get("severities"),
        "epsilons": epsilons or None,
        "cap": measure.get("cap"),
        "num_bands": measure.get("bands"),
        "sensitivity": measure.get("sensitivity"),
        "most_attacked": measure.get("attacked"),
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if "samples" in measure:
        options["n_samples"] = measure["samples"] or None
    made = standard_measurements((height, width), **options)
    if "corruptions" in measure:
        wanted = measure["corruptions"]
        _known(wanted, {c.name for c in builtin_corruptions((height, width))}, "corruptions")
        made = [
            m for m in made if not isinstance(m, CorruptionAccuracy) or m.corruption.name in wanted
        ]
    if "only" in measure:
        kinds = [m.name.partition("/")[0] for m in made]
        _known(measure["only"], set(kinds), "only")
        made = [m for m, kind in zip(made, kinds, strict=True) if kind in measure["only"]]
    return made


def _known(keys: Collection[str], known: Collection[str], where: str) -> None:
    for key in keys:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
            )
            raise ValueError(f"{where} has an entry {key!r}; {hint}")


def _typed(entries: Any, kinds: Mapping[str, Any], where: str) -> None:
    """Refuse entries that are not known or of another kind; ``[kind]`` is a list of them."""
    if not isinstance(entries, Mapping):
        raise ValueError(f"{where} must be a table, got {entries!r}")
    _known(entries, kinds, where)
    for key, value in entries.items():
        kind = kinds[key]
        values = value if isinstance(kind, list) and isinstance(value, list) else [value]
        one = kind[0] if isinstance(kind, list) else kind
        wrong = isinstance(kind, list) != isinstance(value, list)
        if wrong or not all(isinstance(v, one) and not isinstance(v, bool) for v in values):
            names = {str: "text", int: "an integer", _NUMBERS: "a number"}
            what = f"a list, each {names[one]}" if isinstance(kind, list) else names[one]
            raise ValueError(f"{key} in {where} must be {what}, got {value!r}")
