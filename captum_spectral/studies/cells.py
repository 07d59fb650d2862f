"""Cells of a study on disk: each a file of its own, whole or not there at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from captum_spectral.robustness.bootstrap import pack_bits, unpack_bits
from captum_spectral.sources.checkpoints import Checkpoint, read_checkpoint, to_bytes
from captum_spectral.sources.documents import from_nulls, to_nulls
from captum_spectral.studies.files import file_name, write
from captum_spectral.studies.identity import differences
from captum_spectral.studies.measurements import Outcome, Quantity

__all__ = ["Cell", "Cells", "Key"]


class Key(NamedTuple):
    """The place of a cell: a model and one of its measurements."""

    model: str
    measurement: str


class Cell(NamedTuple):
    """A cell that was measured.

    Attributes:
        outcome: Its numbers.
        model_rows: The rows that it took.
        seconds: The time.
        error: Why there are no numbers, or "".
    """

    outcome: Outcome
    model_rows: int
    seconds: float
    error: str = ""


class Cells:
    """The cells of a study, in memory and where there is a folder on disk as well.

    Args:
        folder: One that is there. None: memory alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[Key, tuple[dict[str, Any], Cell]] = {}

    def find(self, key: Key, fingerprint: dict[str, Any]) -> tuple[Cell | None, str]:
        """Return the cell if it is of this fingerprint, else None and what is different.

        A file that is damaged is measured again, and named like one of another fingerprint.
        """
        there = self._held.get(key)
        path = self._path(key)
        if there is None and path is not None and path.exists():
            try:
                there = _read(path)
            except ValueError as error:
                return None, str(error)
        if there is None:
            return None, ""
        known, cell = there
        if path is not None and (unseen := fingerprint.get("unseen")):
            return None, f"the model holds {unseen[0]}, which cannot be compared"
        if different := differences(known, fingerprint):
            return None, different
        return (None, "") if cell.error else (cell, "")

    def keep(self, key: Key, fingerprint: dict[str, Any], cell: Cell) -> None:
        """Keep a cell; its file is the old or the new one at every moment."""
        path = self._path(key)
        if path is None:
            self._held[key] = fingerprint, cell
            return
        progress = {
            "quantities": [[to_nulls(x) for x in q] for q in cell.outcome.quantities],
            "model_rows": cell.model_rows,
            "seconds": cell.seconds,
            "error": cell.error,
        }
        per_image, tensors = cell.outcome.per_image, {}
        if per_image is not None:
            is_bits = per_image.dtype == torch.bool
            tensors["per_image"] = pack_bits(per_image) if is_bits else per_image.cpu()
            progress["bits"] = len(per_image) if is_bits else None
        write(path, to_bytes(Checkpoint(fingerprint, progress, tensors)))

    def all(self, keys: list[Key]) -> dict[Key, Cell]:
        """Return the cells that are kept, of those asked for."""
        found: dict[Key, Cell] = {}
        for key in keys:
            path = self._path(key)
            if path is not None and path.exists():
                found[key] = _read(path)[1]
            elif key in self._held:
                found[key] = self._held[key][1]
        return found

    def _path(self, key: Key) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{file_name(f'{key.model}--{key.measurement}')}.safetensors"


def _read(path: Path) -> tuple[dict[str, Any], Cell]:
    fingerprint, progress, tensors = read_checkpoint(path)
    quantities = []
    for name, value, error, count, perturbation, severity in progress["quantities"]:
        numbers = from_nulls(value), from_nulls(error)
        quantities.append(Quantity(name, *numbers, count, perturbation, severity))
    per_image = tensors.get("per_image")
    if per_image is not None and progress["bits"] is not None:
        per_image = unpack_bits(per_image, progress["bits"])
    outcome = Outcome(quantities, per_image)
    cell = Cell(outcome, progress["model_rows"], progress["seconds"], progress["error"])
    return fingerprint, cell
