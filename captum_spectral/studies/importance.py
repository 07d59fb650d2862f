"""Importance over a data set: rounds of batches, saved now and then, shared by processes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_counts
from captum_spectral._captum import progress_bar
from captum_spectral._engine.chunk_size import first_guess
from captum_spectral.importance import ImportanceResult, Records, SpectralImportance
from captum_spectral.importance.groups import combine
from captum_spectral.importance.moments import Tolerance, num_examples
from captum_spectral.sources.checkpoints import Checkpoint, read_checkpoint, to_bytes
from captum_spectral.sources.digests import digest_of
from captum_spectral.sources.models import LoadedModel
from captum_spectral.sources.pictures import Pictures
from captum_spectral.studies.files import write
from captum_spectral.studies.identity import check_same, check_seen, fingerprint_of, versions
from captum_spectral.studies.interrupts import undisturbed
from captum_spectral.studies.loading import Batch, Plan, batches
from captum_spectral.studies.logits import are_usable, fast_format, logits_of
from captum_spectral.studies.outputs import outputs_of
from captum_spectral.studies.processes import Processes

__all__ = ["ImportanceSettings", "ImportanceStudy", "StudiedModel"]

_PROBED = 20  # pictures that a model or its transform fails on before it is taken for broken


@dataclass(frozen=True)
class ImportanceSettings:
    """Settings of a study: all that goes into the numbers.

    Args:
        num_bands: Equal-width bands. Default: 8
        n_samples: Random orderings per picture, each with its reverse; None: exact. Default: None
        baseline: What an absent band holds, as ``baselines`` of ``SpectralImportance``. Default: 0
        max_examples: Look at so many pictures at most. Default: None
        tolerance: Stop when every band's confidence interval is within so many times the largest
            attribution. Default: None
        confidence: Level of that interval. Default: 0.95
        batch_size: Pictures per batch. None: by the size of the input. Default: None
        perturbations_per_eval: Coalitions of a batch per forward pass. None: by the size of the
            input; never by the clock, or the last bits would differ. Default: None
        seed: Of the order of the pictures and of all that is drawn. Default: 0
        per_class: Keep the classes apart as well. Default: False

    Raises:
        TypeError, ValueError: As ``SpectralImportance``, whose arguments these become.
    """

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

    def __post_init__(self) -> None:
        """Check them all, before any picture is read."""
        optional = ("max_examples", "batch_size", "perturbations_per_eval")
        check_counts(self, {"num_bands": 1}, optional)
        if isinstance(self.baseline, bool) or not isinstance(self.baseline, str | Real):
            raise TypeError(
                f"baseline must be a number, 'noise' or 'donor', got {type(self.baseline).__name__}"
            )
        if isinstance(self.baseline, Real) and not math.isfinite(self.baseline):
            raise ValueError(f"baseline must be finite, got {self.baseline!r}")
        Tolerance(1.0 if self.tolerance is None else self.tolerance, self.confidence)
        self.metric(lambda images: images)

    def metric(
        self,
        forward_func: Callable[[Tensor], Tensor],
        perturbations_per_eval: int | None = None,
        num_classes: int | None = None,
    ) -> SpectralImportance:
        """Return the metric that measures a model with these settings.

        Args:
            forward_func: The model.
            perturbations_per_eval: The number that was chosen where the settings leave it open.
                Default: None
            num_classes: Keep so many classes apart. Default: None

        Raises:
            TypeError, ValueError: As ``SpectralImportance``.
        """
        return SpectralImportance(
            forward_func,
            num_bands=self.num_bands,
            baselines=self.baseline,
            n_samples=self.n_samples,
            perturbations_per_eval=perturbations_per_eval,
            num_classes=num_classes,
            tolerance=self.tolerance,
            confidence=self.confidence,
            seed=self.seed,
        )


@dataclass(frozen=True)
class StudiedModel:
    """Holds what came out for a model.

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


class ImportanceStudy:
    """The importance of frequency bands to one model over one data set.

    :class:`~captum_spectral.SpectralImportance` measures; the study reads the pictures, keeps
    going, saves, resumes, and shares the work with other processes. Nothing is read or run before
    :meth:`run`. Where pictures are views of others (``Pictures.group``), errors are clustered.

    Args:
        model: The classifier, on ``device``; see :func:`captum_spectral.sources.models.load_model`.
        pictures: The data set; see :mod:`captum_spectral.sources.datasets`.
        settings: How. Default: exact, 8 bands
        checkpoint: The file that the state is saved in once a minute, at the end, and when an
            exception or a signal ends the run. None: it is not saved. Default: None
        device: Where the inputs go. Default: "cpu"
        label_map: Name of a class to the output of the model, see
            :func:`captum_spectral.sources.labels.read_label_map`. Default: None
        workers: How many processes read ahead. Default: 0
        save_every: Seconds between two saves. Default: 60
        strict: End the run with an error at the first picture that cannot be used, instead of
            skipping it: one that cannot be read or prepared, has no label, or that the model gives
            NaN or infinity for. Default: False

    Cost in model rows: those of ``SpectralImportance`` for each picture, and 2.

    Example::

        >>> import torch
        >>> from captum_spectral.sources.datasets import shipped_photographs
        >>> from captum_spectral.sources.models import load_model
        >>> from captum_spectral.studies import ImportanceSettings, ImportanceStudy
        >>> settings = ImportanceSettings(n_samples=1, num_bands=2, max_examples=2)
        >>> model = load_model("efficientnet-lite0")
        >>> ImportanceStudy(model, shipped_photographs(), settings).run().result.num_examples
        2
    """

    def __init__(
        self,
        model: LoadedModel,
        pictures: Pictures,
        settings: ImportanceSettings | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        device: torch.device | str = "cpu",
        label_map: dict[str, int] | None = None,
        workers: int = 0,
        save_every: float = 60.0,
        strict: bool = False,
    ) -> None:
        self.model, self.pictures = model, pictures
        self.settings = ImportanceSettings() if settings is None else settings
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.device = torch.device(device)
        self.label_map, self.workers, self.save_every = label_map, workers, save_every
        self.strict = strict
        self._run: _Run | None = None

    @property
    def num_done(self) -> int:
        """Pictures that are done, read or skipped."""
        return 0 if self._run is None else self._run.num_done

    @property
    def num_examples(self) -> int:
        """Pictures that are to be done, as far as is known."""
        return len(self.pictures) if self._run is None else self._run.plan.num_examples

    def run(
        self,
        processes: Processes | None = None,
        *,
        resume: bool = False,
        show_progress: bool = False,
    ) -> StudiedModel:
        """Look at the pictures.

        Every process takes the batches of its turn and all add up all, in the order of the batches,
        so that every number of processes gives the same.

        Args:
            processes: Who takes part. None: this process alone. Default: None
            resume: Go on where ``checkpoint`` is, if it is there; a finished one gives its result
                again. Default: False
            show_progress: Show a progress bar, in pictures. Default: False

        Returns:
            A :class:`StudiedModel`.

        Raises:
            FileExistsError: There is a state of an earlier run, and ``resume`` is False.
            OSError: The state cannot be saved or opened.
            ValueError: No picture can be used, labels that do not fit the model, a model that
                fails, a state that is damaged or of another run (the message says what differs) or
                of a model of which not everything can be compared; a picture that cannot be used,
                where the study is strict.
        """
        processes = Processes.alone() if processes is None else processes
        path = self.checkpoint
        if processes.from_first(not resume and path is not None and path.exists()):
            raise FileExistsError(
                f"{path} is the state of an earlier run; resume=True goes on with it, or remove it "
                "to start from the beginning"
            )
        self._run = _Run(self, processes)
        if resume:
            self._run.resume()
        return self._run.to_the_end(show_progress)


class _State(NamedTuple):
    """The state of a run; replaced as a whole, so that no exception leaves a part of it."""

    moments: Tensor
    grouped: list[Tensor]  # see SpectralImportance
    skipped: list[tuple[str, str]]
    done: int  # batches


class _Part(NamedTuple):
    """The finds of one process in one batch: records, and pictures that were not used."""

    records: Records | None
    skipped: list[tuple[str, str]]
    unusable: int = 0  # of the skipped, those that the model gives no number for


class _Run:
    """One run of a study: looks at the first picture, meets the other processes, does the rest."""

    def __init__(self, study: ImportanceStudy, processes: Processes) -> None:
        self._study, self._processes = study, processes
        self._model, self._pictures, self._settings = study.model, study.pictures, study.settings
        settings = study.settings
        x, logits = self._first_input()
        self._output_of = outputs_of(self._pictures, self._model, logits.shape[1], study.label_map)
        self._format = fast_format(self._model, x, logits)
        rows = first_guess((x,))
        self.batch_size = settings.batch_size or max(2, min(rows, 32))
        self.per_eval = settings.perturbations_per_eval or max(1, rows // self.batch_size)
        self.plan = Plan(len(self._pictures), settings.max_examples, self.batch_size, settings.seed)
        by_class = settings.per_class and self._output_of is not None
        num_classes = logits.shape[1] if by_class else None
        self._metric = settings.metric(self._model.module, self.per_eval, num_classes)
        self._state = _State(self._metric.moments, self._metric.grouped, [], 0)
        self._unusable = 0  # pictures before the first that the model gives a number for
        self._fingerprint = {
            **fingerprint_of(self._model, x, logits),
            "data": f"{self._pictures.name}, {self._pictures.fingerprint()[:16]}",
            "labels": digest_of([torch.tensor(list((self._output_of or {}).values()))]),
            "moments": "centred, with groups",
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
        return self.plan.ends[self._state.done - 1] if self._state.done else 0

    def to_the_end(self, show_progress: bool) -> StudiedModel:
        """Do what remains, and save whatever ends it."""
        self._refuse_if_strict([*self._pictures.skipped, *self._state.skipped])
        try:
            self._loop(show_progress)
        except BaseException:
            with undisturbed():
                self._save()
            raise
        with undisturbed():
            self._save()
        self._metric.moments, self._metric.grouped, skipped, done = self._state
        try:
            result = self._metric.result()
        except ValueError:
            raise ValueError(_nothing_readable(self._pictures, skipped)) from None
        return StudiedModel(
            model=self._model.name,
            result=result,
            labels="predictions" if self._output_of is None else "data",
            skipped=skipped,
            batch_size=self.batch_size,
            perturbations_per_eval=self.per_eval,
            stopped_early=self._metric.is_precise and done < len(self.plan.batches),
        )

    def _loop(self, show_progress: bool) -> None:
        rank, count = self._processes.rank, self._processes.count
        mine = self.plan.batches[self._state.done + rank :: count]
        labelled = self._output_of is not None
        coming = batches(self._pictures, self._model, mine, labelled, self._study.workers)
        shown = show_progress and self._processes.is_first
        self._metric.moments, self._metric.grouped = self._state[:2]
        with progress_bar(shown, self._model.name, self.plan.num_examples) as bar:
            bar.update(self.num_done)
            while not self._metric.is_precise and self._state.done < len(self.plan.batches):
                batch = next(coming, None)
                parts = self._processes.gather(None if batch is None else self._measure(batch))
                before = self.num_done
                self._add([part for part in parts if part is not None])
                bar.update(self.num_done - before)
                if time.monotonic() - self._saved >= self._study.save_every:
                    self._save()

    def _measure(self, batch: Batch) -> _Part:
        """Find the records of a batch, and what was skipped."""
        if batch.images is None:
            return _Part(None, batch.skipped)
        if len(batch.images) == 1 and self._settings.baseline == "donor":
            reason = "no other picture of its batch could be read to be its donor"
            name = self._pictures.name_of(batch.indices[0])
            return _Part(None, [*batch.skipped, (name, reason)])
        labels = None if self._output_of is None else self._outputs_of(batch, self._output_of)
        images = batch.images.to(self._study.device, memory_format=self._format)
        groups = [self._pictures.group(i) for i in batch.indices]
        known = None if groups[0] is None else torch.tensor(groups)
        records = self._metric.measure(images, labels, known, keep_not_finite=True)
        broken = [
            (self._pictures.name_of(batch.indices[i]), self._why_unusable(records, i))
            for i in (~records.usable).nonzero().flatten().tolist()
        ]
        if broken:
            records = records.of(records.usable)
        return _Part(records, batch.skipped + broken, len(broken))

    def _why_unusable(self, records: Records, i: int) -> str:
        when = " when bands of it are absent" if records.whole_is_finite[i] else ""
        return f"{self._model.name} gives NaN or infinity for it{when}"

    def _refuse_if_strict(self, skipped: Sequence[tuple[str, str]]) -> None:
        if self._study.strict and skipped:
            name, reason = skipped[0]
            raise ValueError(f"{name} cannot be used: {reason}")

    def _outputs_of(self, batch: Batch, output_of: dict[int, int]) -> Tensor:
        """Return the outputs of the model that the labels of a batch stand for."""
        if unknown := [label for label in batch.labels if label not in output_of]:
            raise ValueError(
                f"{self._pictures.name} has the label {unknown[0]}, which is none of its "
                f"{len(output_of)} classes"
            )
        return torch.tensor([output_of[label] for label in batch.labels])

    def _add(self, parts: list[_Part]) -> None:
        """Take in a round, batch by batch, up to where one process alone would have stopped."""
        for part in parts:
            self._metric.moments, self._metric.grouped, skipped, done = self._state
            self._refuse_if_strict(part.skipped)
            if part.records is not None and len(part.records.values):
                self._metric.add(part.records)
            self._unusable += part.unusable
            if self._unusable >= _PROBED and not num_examples(self._metric.moments):
                _, reason = part.skipped[-1]
                raise ValueError(
                    f"each of the first {self._unusable} pictures was of no use, and so would be "
                    f"the others: {reason}; does the model accept its baseline?"
                )
            sums = self._metric.moments, self._metric.grouped
            self._state = _State(*sums, skipped + part.skipped, done + 1)
            if self._metric.is_precise:
                return

    # ------------------------------------------------------------------ the saved state

    def _save(self) -> None:
        """Write the state; the file on disk is the old or the new one at every moment."""
        moments, grouped, skipped, done = self._state
        if self._study.checkpoint is not None and self._processes.is_first and done:
            progress = {"done": done, "skipped": skipped}
            tensors = {"moments": moments, "grouped": combine(grouped)}
            checkpoint = Checkpoint(self._fingerprint, progress, tensors)
            write(self._study.checkpoint, to_bytes(checkpoint))
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Go on where the file is, if there is one."""
        path, found = self._study.checkpoint, None
        if path is not None and self._processes.is_first and path.exists():
            found = self._read(path)
        found = self._processes.from_first(found)
        if isinstance(found, Exception):
            raise found
        if found is not None:
            skipped = [(name, reason) for name, reason in found.progress["skipped"]]
            moments, grouped = found.tensors["moments"], [found.tensors["grouped"]]
            self._state = _State(moments, grouped, skipped, found.progress["done"])

    def _read(self, path: Path) -> Checkpoint | Exception:
        """Read the state, or return why not, for all processes to raise."""
        try:
            checkpoint = read_checkpoint(path)
            check_same(checkpoint.fingerprint, self._fingerprint, str(path))
            check_seen(self._fingerprint, str(path))
        except (OSError, ValueError) as error:
            return error
        return checkpoint

    # ------------------------------------------------------------------ before the run

    def _first_input(self) -> tuple[Tensor, Tensor]:
        """Return the first picture that can be used, as an input, and the logits for it."""
        failed: list[tuple[str, str]] = []
        name, unusable = self._model.name, 0
        for i in range(len(self._pictures)):
            try:
                picture = self._pictures.load(i)
            except (OSError, ValueError) as error:
                failed.append((self._pictures.name_of(i), str(error)))
                continue
            try:
                x = self._model.prepare(picture).to(self._study.device)
            except ValueError as error:
                reason = str(error)
            else:
                reason = f"the transform of {name} gives NaN or infinity"
                if x.isfinite().all():
                    logits = logits_of(self._model, x)
                    if are_usable(logits):
                        return x, logits
                    reason = f"{name} gives NaN or infinity for it"
            failed.append((self._pictures.name_of(i), reason))
            unusable += 1  # is it this picture, or the transform or the model?
            if unusable == _PROBED:
                raise ValueError(f"{reason}, as for each of the first {_PROBED} pictures")
        raise ValueError(_nothing_readable(self._pictures, failed))


def _nothing_readable(pictures: Pictures, skipped: list[tuple[str, str]]) -> str:
    reasons = "; ".join(reason for _, reason in skipped[:3])
    return (
        f"none of the {len(skipped)} pictures of {pictures.name} that were tried can be used: "
        f"{reasons}"
    )
