"""The tidy table of a study: a row for every number, with its error and its cost."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from captum_spectral.sources.documents import from_nulls, to_document, to_nulls

__all__ = ["COLUMNS", "StudyTable"]

COLUMNS = (
    "model",
    "family",
    "seed",
    "measurement",
    "perturbation",
    "severity",
    "value",
    "standard_error",
    "num_images",
    "model_rows",
    "seconds",
    "versions",
    "error",
)


class StudyTable(Sequence[Mapping[str, Any]]):
    """Holds the rows of a study, each a mapping with the keys of :data:`COLUMNS`.

    ``measurement`` names the quantity, ``perturbation`` what was done to the images ("" where
    nothing was), ``severity`` how strongly (None where there is no such thing), ``value`` and
    ``standard_error`` the mean over ``num_images`` images and its error over images.
    ``model_rows`` and ``seconds`` belong to the cell: all rows of it carry the same. ``error`` is
    "" or says why there is no value, which is NaN then.

    Args:
        rows: Mappings; keys that are missing are empty, NaN or None.

    Raises:
        TypeError: A row that is no mapping.
        ValueError: A row with keys that no column has.

    Example::

        >>> table = StudyTable([
        ...     {"model": "a", "measurement": "accuracy", "value": 0.5, "num_images": 10}])
        >>> print(table.to_csv())
        model,family,seed,measurement,perturbation,severity,value,standard_error,num_images,...
        a,,,accuracy,,,0.5,,10,,,,
        >>> StudyTable.from_json(table.to_json()) == table
        True
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = [_row(row) for row in rows]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or a table of a slice of them."""
        if isinstance(index, slice):
            return StudyTable(self._rows[index])
        return dict(self._rows[index])

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Go through the rows."""
        return (dict(row) for row in self._rows)

    def __eq__(self, other: object) -> bool:
        """Compare all cells; NaN equals NaN."""
        return isinstance(other, StudyTable) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Tell the size."""
        models = len({row["model"] for row in self._rows})
        return f"StudyTable of {len(self)} rows, {models} model{'s' * (models != 1)}"

    @property
    def models(self) -> list[str]:
        """The names of the models, in the order of the rows."""
        return list(dict.fromkeys(row["model"] for row in self._rows))

    def without(self, *columns: str) -> StudyTable:
        """Return the table with some columns empty, such as ``"seconds"``, to compare the rest."""
        return StudyTable({k: v for k, v in row.items() if k not in columns} for row in self._rows)

    def to_csv(self) -> str:
        """Write comma-separated values, a line for each row below the names of the columns."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self._rows:
            writer.writerow([_cell(row[column]) for column in COLUMNS])
        return file.getvalue()

    def to_json(self) -> str:
        """Write a JSON document; NaN becomes null."""
        rows = [{k: to_nulls(v) for k, v in row.items()} for row in self._rows]
        return to_document({"columns": list(COLUMNS), "rows": rows})

    @classmethod
    def from_json(cls, document: str) -> StudyTable:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        content = json.loads(document)
        if not isinstance(content, dict) or "rows" not in content:
            raise ValueError('document must be a JSON object with "rows", as to_json writes it')
        return cls(
            {k: from_nulls(v) if k in ("value", "standard_error", "seconds") else v
             for k, v in row.items()}
            for row in content["rows"]
        )  # fmt: skip

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_pandas needs pandas: pip install pandas", name="pandas"
            ) from error
        return pandas.DataFrame(self._rows, columns=list(COLUMNS))


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise TypeError(f"rows must be mappings, got {type(row).__name__}")
    if unknown := sorted(set(row) - set(COLUMNS)):
        raise ValueError(f"rows must have the keys {', '.join(COLUMNS)}; got {unknown[0]!r}, too")
    empty = dict.fromkeys(("model", "family", "measurement", "perturbation"), "")
    missing = {"versions": "", "error": "", "seed": None, "severity": None, "num_images": None}
    numbers = {"value": math.nan, "standard_error": math.nan, "seconds": math.nan}
    whole = {**empty, **missing, **numbers, "model_rows": None, **row}
    return {column: whole[column] for column in COLUMNS}


def _cell(x: Any) -> str:
    if x is None or (isinstance(x, float) and math.isnan(x)):
        return ""
    return repr(x) if isinstance(x, float) else str(x)
