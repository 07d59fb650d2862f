"""Robustness of many models: a table of cells, each measured by one process and kept whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from captum_spectral._arguments import check_count
from captum_spectral._captum import progress_bar
from captum_spectral._engine.chunk_size import first_guess
from captum_spectral._engine.outputs import class_logits
from captum_spectral.robustness.corruptions import builtin_corruptions
from captum_spectral.studies.cells import Cell, Cells, Key
from captum_spectral.studies.files import make_folder
from captum_spectral.studies.identity import identity_of, versions
from captum_spectral.studies.interrupts import undisturbed
from captum_spectral.studies.measurements import (
    AttackAccuracy,
    CleanAccuracy,
    CorruptionAccuracy,
    DistanceToBoundary,
    Measurement,
    Model,
    NoiseAccuracy,
    Outcome,
    Subject,
)
from captum_spectral.studies.pixels import Images
from captum_spectral.studies.processes import Processes
from captum_spectral.studies.spectral_measurements import (
    CutoffOfPredictions,
    ImportanceOfBands,
    SensitivityOfBands,
)
from captum_spectral.studies.table import StudyTable

__all__ = ["RobustnessStudy", "StudiedModels", "StudyModel", "standard_measurements"]


@dataclass(frozen=True)
class StudyModel:
    """A model of a study.

    Args:
        load: Called without arguments when the model's turn comes; returns the model, from pixels
            ``(B, C, H, W)`` in [0, 1] to logits ``(B, classes)``, with its normalisation inside, in
            eval mode, on the device of the study.
        family: What it has in common with other models; those of a family differ in their seed
            alone. "": a family of its own. Default: ""
        seed: Which of them it is. Default: 0
        images: ``(N, C, H, W)`` the images as this model is shown them, where models differ in
            size. None: those of the study. Default: None
        digest: What tells its weights from others, where they cannot be seen from outside.
            Default: ""

    Example::

        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
        >>> StudyModel(lambda: model, family="linear").family
        'linear'
    """

    load: Callable[[], Model]
    family: str = ""
    seed: int = 0
    images: Tensor | None = None
    digest: str = ""


def standard_measurements(
    size: tuple[int, int],
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    *,
    epsilons: Mapping[Literal["linf", "l2"], Sequence[float]] | None = None,
    cap: float = 5.0,
    num_bands: int = 8,
    n_samples: int | None = 1,
    sensitivity: float = 4.0,
    most_attacked: int | None = 1000,
) -> list[Measurement]:
    """Return the measurements that a study makes when it is not told which.

    Clean accuracy; the eight built-in corruptions at each severity; robust accuracy and its
    random-noise control at each radius; the distance to the boundary; spectral importance with all
    three baselines; the sensitivity of bands; the lowest cut-off.

    Args:
        size: ``(H, W)`` of the images; small ones get the milder severities of CIFAR-10-C.
        severities: Of the corruptions. Default: (1, 2, 3, 4, 5)
        epsilons: Norm to radii of attacks, in pixels from 0 to 1. None: 8/255 and 16/255 in linf,
            0.5 and 1 in l2. Default: None
        cap: Of distances. Default: 5.0
        num_bands: Of importance and sensitivity. Default: 8
        n_samples: Orderings per image of importance. Default: 1
        sensitivity: Length of the directions inside a band. Default: 4.0
        most_attacked: Attack, and search the boundary of, so many images at most. Default: 1000

    Returns:
        The measurements.

    Example::

        >>> [m.name for m in standard_measurements((28, 28), severities=(3,))][:2]
        ['accuracy', 'corruption accuracy/gaussian_noise/3']
    """
    radii = epsilons or {"linf": (8 / 255, 16 / 255), "l2": (0.5, 1.0)}
    made: list[Measurement] = [CleanAccuracy()]
    made += [CorruptionAccuracy(c, s) for c in builtin_corruptions(size) for s in severities]
    for norm, values in radii.items():
        for epsilon in values:
            made.append(AttackAccuracy(norm, epsilon, max_images=most_attacked))
            made.append(NoiseAccuracy(norm, epsilon, max_images=most_attacked))
    made.append(DistanceToBoundary(cap, max_images=most_attacked))
    baselines: tuple[Literal["mean", "black", "noise"], ...] = ("mean", "black", "noise")
    made += [ImportanceOfBands(b, num_bands, n_samples) for b in baselines]
    return [*made, SensitivityOfBands(sensitivity, num_bands), CutoffOfPredictions(num_bands)]


class StudiedModels(NamedTuple):
    """The results of a study.

    Attributes:
        table: A row for every number.
        per_image: Model and measurement to ``(N,)`` what every image gave, where it is kept: right
            or wrong, or a distance. Ratios get their intervals from it, without the models.
        reference: The model that corruption errors are relative to.
        groups: Corruption to its group.
        recomputed: Cells that were there, and why they were measured again.
        skipped: ``(name, reason)`` of the pictures that were not used.
    """

    table: StudyTable
    per_image: dict[tuple[str, str], Tensor]
    reference: str
    groups: dict[str, str]
    recomputed: dict[tuple[str, str], str]
    skipped: list[tuple[str, str]]


class RobustnessStudy:
    """Measures many models on the same images, cell by cell.

    A cell is a model and a measurement. Cells do not depend on each other: the processes of
    ``torchrun`` share them out without a word, each is written whole, and whatever ends a run loses
    one cell at most. What is there already is not measured again unless the model, the images or
    the settings have changed, which the result names. A model that fails in a cell leaves a row
    with its ``error``; the others go on, and the next run tries again.

    Everything happens in pixels from 0 to 1, so that radii, noise and distances mean the same for
    all models; the images are corrupted alike for all of them. Neither the order of the models, nor
    batches, nor the number of processes change a number, beyond the rounding that the model itself
    has for other batches.

    Args:
        models: Name to :class:`StudyModel`, or to a model, which then is a family of its own.
        images: ``(N, C, H, W)`` floating pixels from 0 to 1.
        labels: ``(N,)`` integer classes. None: what each model predicts for the clean images, so
            that accuracies say how often a prediction is kept. Default: None
        measurements: What to measure. None: :func:`standard_measurements`. Default: None
        reference: The model that corruption errors are relative to. None: the first.
            Default: None
        seed: Of everything random. Default: 0
        batch_size: Images per batch. None: by their size. Default: None
        device: Where the images go. Default: "cpu"
        skipped: ``(name, reason)`` of pictures that are not among the images, for the report.
            Default: none

    Raises:
        TypeError: Models, images or measurements of a wrong kind.
        ValueError: No models, no measurements, two of one name, pixels outside of 0 to 1, a
            reference that is not there.

    Cost in model rows: the sum of those of the measurements, for every model.

    Example::

        >>> import torch
        >>> from captum_spectral.studies import RobustnessStudy
        >>> from captum_spectral.studies.measurements import CleanAccuracy
        >>> from captum_spectral.studies.spectral_measurements import ImportanceOfBands
        >>> models = {
        ...     name: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 3)).eval()
        ...     for name in ("a", "b")}
        >>> study = RobustnessStudy(
        ...     models, torch.rand(6, 1, 16, 16), torch.randint(3, (6,)),
        ...     measurements=[CleanAccuracy(), ImportanceOfBands("mean", num_bands=4)])
        >>> study.run().table
        StudyTable of 22 rows, 2 models
    """

    def __init__(
        self,
        models: Mapping[str, StudyModel | Model],
        images: Tensor,
        labels: Tensor | None = None,
        *,
        measurements: Sequence[Measurement] | None = None,
        reference: str | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        device: torch.device | str = "cpu",
        skipped: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.skipped = list(skipped)
        self.models = {name: _as_study_model(name, model) for name, model in models.items()}
        if not self.models:
            raise ValueError("models must name at least one model")
        self.reference = next(iter(self.models)) if reference is None else reference
        if self.reference not in self.models:
            raise ValueError(
                f"reference must be one of the models {', '.join(self.models)}, got {reference!r}"
            )
        self.seed = check_count("seed", seed, at_least=0)
        self.device = torch.device(device)
        batch_size = batch_size or max(2, min(first_guess((images[:1],)), 256))
        self._has_labels = labels is not None
        self._images = Images(images, labels, batch_size, device)
        self._own = {
            name: Images(model.images, labels, batch_size, device)
            for name, model in self.models.items()
            if model.images is not None
        }
        size = images.shape[-2], images.shape[-1]
        made = standard_measurements(size) if measurements is None else list(measurements)
        names = [m.name for m in made]
        if not names or len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(
                f"measurements must have names of their own, got {', '.join(twice)} twice"
                if twice
                else "measurements must hold at least one"
            )
        self.measurements: dict[str, Measurement] = {m.name: m for m in made}
        self._cells = Cells(None)

    def run(
        self,
        folder: str | os.PathLike[str] | None = None,
        processes: Processes | None = None,
        *,
        show_progress: bool = False,
    ) -> StudiedModels:
        """Measure what has not been measured yet.

        Args:
            folder: Where the cells are kept, the same for all processes; it is made. None: in
                memory, as long as this object lives. Default: None
            processes: Who takes part. None: this process alone. Default: None
            show_progress: Show a progress bar, in estimated model rows. Default: False

        Returns:
            :class:`StudiedModels`; the same for every number of processes, but for the seconds.

        Raises:
            OSError: Cells cannot be written.
            ValueError: Several processes without a folder.
        """
        processes = Processes.alone() if processes is None else processes
        if folder is None and processes.count > 1:
            raise ValueError("folder must be given for several processes, which meet in it")
        if folder is not None:
            make_folder(Path(folder))
            self._cells = Cells(Path(folder))
        mine = self._share(processes)
        recomputed: dict[tuple[str, str], str] = {}
        total = round(sum(self._rows(key) for key in mine))
        with progress_bar(show_progress and processes.is_first, "Robustness study", total) as bar:
            for name in self.models:
                keys = [key for key in mine if key.model == name]
                if keys:
                    self._measure(name, keys, recomputed, bar)
        for others in processes.gather(recomputed):
            recomputed.update(others)
        cells = processes.from_first(self._cells.all(self.keys) if processes.is_first else {})
        measurements = self.measurements.values()
        corruptions = [m.corruption for m in measurements if isinstance(m, CorruptionAccuracy)]
        return StudiedModels(
            table=self._table(cells),
            per_image={
                (key.model, key.measurement): cell.outcome.per_image
                for key, cell in cells.items()
                if cell.outcome.per_image is not None
            },
            reference=self.reference,
            groups={corruption.name: corruption.group for corruption in corruptions},
            recomputed=dict(sorted(recomputed.items())),
            skipped=self.skipped,
        )

    @property
    def keys(self) -> list[Key]:
        """All cells, model by model."""
        return [Key(model, name) for model in self.models for name in self.measurements]

    def _share(self, processes: Processes) -> list[Key]:
        """Return the cells of this process: the longest first, each to who has least to do."""
        loads, whose = [0.0] * processes.count, {}
        for key in sorted(self.keys, key=lambda key: (-self._rows(key), key)):
            whose[key] = loads.index(min(loads))
            loads[whose[key]] += self._rows(key)
        return [key for key in self.keys if whose[key] == processes.rank]

    def _rows(self, key: Key) -> float:
        """Estimate the rows of a cell."""
        measurement = self.measurements[key.measurement]
        images = self._images_of(key.model).first(measurement.max_images)
        return measurement.rows_per_image(images.shape) * len(images)

    def _images_of(self, name: str) -> Images:
        return self._own.get(name, self._images)

    def _measure(
        self, name: str, keys: list[Key], recomputed: dict[tuple[str, str], str], bar: Any
    ) -> None:
        """Measure what is missing of one model."""
        try:
            model = _Counted(self.models[name].load())
            subject = self._subject(name, model)
            identity = self._identity(name, model, subject.images)
        except Exception as error:
            for key in keys:
                self._cells.keep(key, {}, Cell(Outcome([]), 0, 0.0, _reason(error)))
                bar.update(round(self._rows(key)))
            return
        for key in keys:
            measurement = self.measurements[key.measurement]
            fingerprint = {**identity, "measurement": measurement.settings}
            found, different = self._cells.find(key, fingerprint)
            if different:
                recomputed[key.model, key.measurement] = different
            if found is None:
                cell = _cell(measurement, subject, model)
                with undisturbed():
                    self._cells.keep(key, fingerprint, cell)
            bar.update(round(self._rows(key)))

    def _subject(self, name: str, model: _Counted) -> Subject:
        images = self._images_of(name)
        if not self._has_labels:
            with torch.no_grad():
                images = images.labelled(
                    torch.cat([model(x).argmax(1) for x, _ in images.batches()])
                )
        per_eval = max(1, first_guess((images.first(1).all()[0],)) // images.batch_size)
        return Subject(model, images, self.seed, per_eval)

    def _identity(self, name: str, model: _Counted, images: Images) -> dict[str, Any]:
        """Return all that the numbers of a model depend on, but for the measurement."""
        with torch.no_grad():
            logits = model(images.first(2).all()[0])
        return {
            **identity_of(model.model, logits),
            "digest": self.models[name].digest,
            "images": images.digest,
            "seed": self.seed,
            **versions(),
        }

    def _table(self, cells: Mapping[Key, Cell]) -> StudyTable:
        text = ", ".join(f"{name} {version}" for name, version in versions().items())
        rows = []
        for key in self.keys:
            cell, of = cells[key], self.models[key.model]
            shared = {
                "model": key.model,
                "family": of.family or key.model,
                "seed": of.seed,
                "model_rows": cell.model_rows,
                "seconds": round(cell.seconds, 3),
                "versions": text,
                "error": cell.error,
            }
            if cell.error:
                rows.append({**shared, **_place_of(key.measurement)})
            rows += [{**shared, **quantity._asdict()} for quantity in cell.outcome.quantities]
        return StudyTable(rows)


def _place_of(measurement: str) -> dict[str, Any]:
    """Return the columns of a cell that has no numbers, from its name."""
    name, _, perturbation = measurement.partition("/")
    rest, _, last = perturbation.rpartition("/")
    try:
        return {"measurement": name, "perturbation": rest, "severity": float(last)}
    except ValueError:  # a name of another form
        return {"measurement": name, "perturbation": perturbation}


class _Counted(nn.Module):
    """Counts the rows that a model is shown."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model, self.rows = model, 0
        if not isinstance(model, nn.Module):
            self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Run the model, and return the logits of at least two classes."""
        self.rows += len(x)
        return class_logits(self.model(x))


def _cell(measurement: Measurement, subject: Subject, model: _Counted) -> Cell:
    model.rows, begin = 0, time.perf_counter()
    try:
        few = subject._replace(images=subject.images.first(measurement.max_images))
        outcome, error = measurement.of(few), ""
    except Exception as failure:  # of one model in one cell; the others go on
        outcome, error = Outcome([]), _reason(failure)
    return Cell(outcome, model.rows, time.perf_counter() - begin, error)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _as_study_model(name: str, model: StudyModel | Model) -> StudyModel:
    if isinstance(model, StudyModel):
        return model
    if not callable(model):
        raise TypeError(f"models must be callable or StudyModel; {name!r} is {model!r}")
    return StudyModel(lambda: model)
