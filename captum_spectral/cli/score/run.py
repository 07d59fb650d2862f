"""One model over one data set: rounds of batches, saved now and then, shared by processes."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral._captum import NullProgress, progress
from captum_spectral._engine.chunk_size import first_guess
from captum_spectral.cli.files import write
from captum_spectral.cli.score.identity import (
    check_same,
    digest_of_module,
    some_of,
    versions,
)
from captum_spectral.cli.score.loading import Batch, Plan, batches
from captum_spectral.cli.score.processes import Processes
from captum_spectral.cli.score.signals import undisturbed
from captum_spectral.importance import ImportanceResult
from captum_spectral.importance.measurement import Measurement
from captum_spectral.importance.moments import add_records, empty_moments
from captum_spectral.importance.tolerance import Tolerance
from captum_spectral.sources.checkpoints import Checkpoint, read_checkpoint, to_bytes
from captum_spectral.sources.digests import digest_of
from captum_spectral.sources.labels import class_ids
from captum_spectral.sources.models import LoadedModel
from captum_spectral.sources.pictures import Pictures

__all__ = ["ScoreSettings", "Scored", "Scoring"]

_PROBED = 20  # failures of a transform before it is taken for broken


@dataclass(frozen=True)
class ScoreSettings:
    """How to score: what goes into the numbers."""

    num_bands: int = 8
    n_samples: int | None = None
    baseline: str | float = 0.0
    max_examples: int | None = None
    tolerance: float | None = None
    confidence: float = 0.95
    batch_size: int | None = None
    perturbations_per_eval: int | None = None
    seed: int = 0
    per_class: bool = False


@dataclass(frozen=True)
class Scored:
    """What came out for a model.

    Attributes:
        model: Its name.
        result: The attributions.
        labels: Where the labels came from: "data" or "predictions".
        skipped: ``(name, reason)`` of the pictures that were not used.
        batch_size: Pictures per batch.
        perturbations_per_eval: Coalitions of a batch per forward pass.
        stopped_early: Whether the tolerance was reached before the end of the data.
    """

    model: str
    result: ImportanceResult
    labels: str
    skipped: list[tuple[str, str]]
    batch_size: int
    perturbations_per_eval: int
    stopped_early: bool


class _State(NamedTuple):
    """How far a run is; replaced as a whole, so that no exception leaves a part of it."""

    moments: Tensor
    skipped: list[tuple[str, str]]
    done: int  # batches


class _Part(NamedTuple):
    """What one process found in one batch: records and their groups, and pictures not used."""

    records: tuple[Tensor, Tensor] | None
    skipped: list[tuple[str, str]]


class Scoring:
    """The run of one model.

    Args:
        model: The classifier, on ``device``.
        pictures: The data set.
        settings: How.
        processes: Who takes part.
        device: Where the inputs go.
        checkpoint: The file that the state is saved in.
        label_map: Name of a class to the output of the model, see ``sources.labels``.
        workers: How many processes read ahead.
        save_every: Seconds between two saves.

    Raises:
        ValueError: No picture can be read, labels that do not fit the model, a model that fails.
    """

    def __init__(
        self,
        model: LoadedModel,
        pictures: Pictures,
        settings: ScoreSettings,
        processes: Processes,
        device: torch.device,
        checkpoint: Path,
        label_map: dict[str, int] | None = None,
        workers: int = 0,
        save_every: float = 60.0,
    ) -> None:
        self._save_every = save_every
        self._model, self._pictures, self._processes = model, pictures, processes
        self._device, self._path, self._workers = device, checkpoint, workers
        self._settings = settings
        x = self._first_input()
        logits = self._logits(x)
        num_classes = logits.shape[1]
        self._class_ids = self._outputs_of_classes(num_classes, label_map)
        rows = first_guess((x,))
        self.batch_size = settings.batch_size or max(2, min(rows, 32))
        self.per_eval = settings.perturbations_per_eval or max(1, rows // self.batch_size)
        self._plan = Plan(len(pictures), settings.max_examples, self.batch_size, settings.seed)
        self._tolerance = (
            None
            if settings.tolerance is None
            else Tolerance(settings.tolerance, settings.confidence)
        )
        self._measurement = Measurement(
            model.module,
            settings.num_bands,
            baselines=settings.baseline,
            n_samples=settings.n_samples,
            # A fixed number of rows per pass: an automatic one would make the last bits differ.
            perturbations_per_eval=self.per_eval,
            seed=settings.seed,
        )
        groups = num_classes if settings.per_class and self._class_ids is not None else 1
        self._state = _State(empty_moments(settings.num_bands, groups), [], 0)
        self._fingerprint = {
            "model": model.name,
            "weights": digest_of_module(model.module),
            "outputs": some_of(logits),
            "prepared picture": digest_of([x]),
            "data": f"{pictures.name}, {pictures.fingerprint()[:16]}",
            "labels": digest_of([torch.tensor(self._class_ids or [])]),
            "device": device.type,
            **asdict(settings),
            "batch_size": self.batch_size,
            "perturbations_per_eval": self.per_eval,
            **versions(),
        }
        for rank, other in enumerate(processes.gather(self._fingerprint)):
            check_same(other, self._fingerprint, f"process {rank}")
        self._saved = time.monotonic()

    # ------------------------------------------------------------------ the run

    @property
    def num_done(self) -> int:
        """Pictures that are done, read or skipped."""
        return self._plan.ends[self._state.done - 1] if self._state.done else 0

    @property
    def num_examples(self) -> int:
        """Pictures that are to be done."""
        return self._plan.num_examples

    def run(self, show_progress: bool) -> Scored:
        """Do what remains.

        The state is saved once a minute, at the end, and when an exception or a signal ends it.
        Every process takes the batches of its turn and all add up all, in the order of the batches,
        so that every number of processes gives the same.

        Raises:
            OSError: The state cannot be saved.
            ValueError: No picture could be read, or the model failed.
        """
        try:
            reached = self._loop(show_progress)
        except BaseException:
            with undisturbed():
                self.save()
            raise
        with undisturbed():
            self.save()
        moments, skipped, done = self._state
        if not float(moments[:, 0, 0].sum()):
            raise ValueError(_nothing_readable(self._pictures, skipped))
        return Scored(
            self._model.name,
            self._measurement.result(moments, by_class=len(moments) > 1),
            "predictions" if self._class_ids is None else "data",
            skipped,
            self.batch_size,
            self.per_eval,
            reached and done < len(self._plan.batches),
        )

    def _loop(self, show_progress: bool) -> bool:
        rank, count = self._processes.rank, self._processes.count
        mine = self._plan.batches[self._state.done + rank :: count]
        coming = batches(
            self._pictures, self._model, mine, self._class_ids is not None, self._workers
        )
        shown = show_progress and self._processes.is_first
        bar = progress(desc=self._model.name, total=self.num_examples) if shown else NullProgress()
        with bar:
            bar.update(self.num_done)
            while not self._is_reached() and self._state.done < len(self._plan.batches):
                batch = next(coming, None)
                parts = self._processes.gather(None if batch is None else self._measure(batch))
                before = self.num_done
                self._add([part for part in parts if part is not None])
                bar.update(self.num_done - before)
                if time.monotonic() - self._saved >= self._save_every:
                    self.save()
        return self._is_reached()

    def _measure(self, batch: Batch) -> _Part:
        """The records of a batch, and what was skipped."""
        if batch.images is None:
            return _Part(None, batch.skipped)
        if len(batch.images) == 1 and self._settings.baseline == "donor":
            reason = "no other picture of its batch could be read to be its donor"
            name = self._pictures.name_of(batch.indices[0])
            return _Part(None, [*batch.skipped, (name, reason)])
        labels = None
        if self._class_ids is not None:
            labels = self._labels_of(batch)
        records, classes = self._measurement.records(batch.images.to(self._device), labels)
        groups = classes if len(self._state.moments) > 1 else torch.zeros_like(classes)
        return _Part((records, groups), batch.skipped)

    def _labels_of(self, batch: Batch) -> Tensor:
        assert self._class_ids is not None
        highest = max(batch.labels)
        if highest >= len(self._class_ids):
            raise ValueError(
                f"{self._pictures.name} has the label {highest}, but {self._model.name} has "
                f"{len(self._class_ids)} outputs"
            )
        return torch.tensor([self._class_ids[label] for label in batch.labels])

    def _add(self, parts: list[_Part]) -> None:
        """Take in a round, batch by batch, up to where one process alone would have stopped."""
        for part in parts:
            moments, skipped, done = self._state
            if part.records is not None:
                moments = add_records(moments, *part.records)
            self._state = _State(moments, skipped + part.skipped, done + 1)
            if self._is_reached():
                return

    def _is_reached(self) -> bool:
        return self._tolerance is not None and self._tolerance.is_reached(
            self._state.moments.sum(0)
        )

    # ------------------------------------------------------------------ the saved state

    def save(self) -> None:
        """Write the state; the file on disk is the old or the new one at every moment.

        Raises:
            OSError: It cannot be written; the message says so, and the old one is as it was.
        """
        moments, skipped, done = self._state
        if self._processes.is_first and done:
            progress = {"done": done, "skipped": skipped}
            checkpoint = Checkpoint(self._fingerprint, progress, {"moments": moments})
            write(self._path, to_bytes(checkpoint))
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Go on where the file is, if there is one.

        Raises:
            OSError: It cannot be opened.
            ValueError: It is damaged, or of another run; the message says what differs.
        """
        found: Checkpoint | Exception | None = None
        if self._processes.is_first and self._path.exists():
            try:
                found = read_checkpoint(self._path)
                check_same(found.fingerprint, self._fingerprint, str(self._path))
            except (OSError, ValueError) as error:
                found = error
        found = self._processes.from_first(found)
        if isinstance(found, Exception):
            raise found
        if found is not None:
            skipped = [(name, reason) for name, reason in found.progress["skipped"]]
            self._state = _State(found.tensors["moments"], skipped, found.progress["done"])

    # ------------------------------------------------------------------ before the run

    def _first_input(self) -> Tensor:
        """The first picture that can be read, as an input."""
        failed: list[tuple[str, str]] = []
        unprepared = 0
        for i in range(len(self._pictures)):
            try:
                picture = self._pictures.load(i)
            except (OSError, ValueError) as error:
                failed.append((self._pictures.name_of(i), str(error)))
                continue
            try:
                return self._model.prepare(picture).to(self._device)
            except ValueError as error:  # of this picture, or of the transform?
                unprepared += 1
                if unprepared == _PROBED:
                    raise
                failed.append((self._pictures.name_of(i), str(error)))
        raise ValueError(_nothing_readable(self._pictures, failed))

    def _outputs_of_classes(
        self, num_classes: int, label_map: dict[str, int] | None
    ) -> list[int] | None:
        """Which output each class of the data is; None for data without labels."""
        if self._pictures.classes is not None:
            categories = self._model.categories
            return class_ids(self._pictures.classes, num_classes, categories, label_map)
        try:
            labelled = self._pictures.label(0) is not None
        except (OSError, ValueError):
            labelled = False
        return list(range(num_classes)) if labelled else None

    def _logits(self, x: Tensor) -> Tensor:
        """What the model makes of an input, ``(1, classes)``."""
        name = self._model.name
        try:
            with torch.no_grad():
                logits = self._model.module(x)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise ValueError(
                f"{name} fails on an input of shape {tuple(x.shape)} with {type(error).__name__}: "
                f"{reason}"
            ) from error
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"{name} must give one logit per class, (B, classes), and gives {got} for one image"
            )
        return logits


def _nothing_readable(pictures: Pictures, skipped: list[tuple[str, str]]) -> str:
    reasons = "; ".join(reason for _, reason in skipped[:3])
    return (
        f"none of the {len(skipped)} pictures of {pictures.name} that were tried can be read: "
        f"{reasons}"
    )
