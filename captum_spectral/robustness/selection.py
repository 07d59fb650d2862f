"""Pick one quantity of every model out of the tidy table of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Column", "Row", "families_of", "select"]

Row = Mapping[str, Any]
Floats = npt.NDArray[np.float64]

_NEEDED = ("measurement", "value")  # the other keys may be absent


class Column(NamedTuple):
    """One quantity of every model.

    Args:
        names: Of the models, in the order of the table.
        values: ``(N,)`` float64.
        errors: ``(N,)`` standard errors over images; 0 where the table has none.
        left_out: Model to the reason why it has no value.
    """

    names: list[str]
    values: Floats
    errors: Floats
    left_out: dict[str, str]


class _Cell(NamedTuple):
    """The place of a number within a model."""

    measurement: str
    perturbation: str
    severity: float | None

    def __str__(self) -> str:
        parts = [self.measurement, self.perturbation]
        parts += [] if self.severity is None else [f"{self.severity:g}"]
        return "/".join(parts).rstrip("/")


def select(table: Iterable[Row], selector: str, *, by: str = "model") -> Column:
    r"""Pick one quantity of every model out of a table with a row per model and measurement.

    The value is the mean over the :math:`n` rows of a model that match, its error is
    :math:`\sqrt{\sum_j s_j^2} / n`, that of a mean of independent numbers. Corruptions of the same
    images are not independent, so the error of a mean over them is a little too small.

    Means over different rows cannot be compared: a model that lacks one of the rows that others
    have, or whose row failed, is left out and named.

    Args:
        table: Rows with the keys ``measurement`` and ``value``, the key ``by``, and where they are
            needed ``perturbation``, ``severity``, ``standard_error``, ``seed`` and ``error``.
        selector: ``"measurement"`` for all rows of it, ``"measurement/perturbation"`` or
            ``"measurement/perturbation/severity"`` for some of them: ``"accuracy"``,
            ``"corruption accuracy/gaussian_noise/3"``.
        by: Key whose values tell the models apart; ``"family"`` for means over the seeds of each
            family. Default: "model"

    Returns:
        A :class:`Column`.

    Raises:
        TypeError: A selector that is no string, rows that are no mappings.
        ValueError: An empty table, rows without a key, a selector that no row matches, two rows
            for the same number.

    Example::

        >>> from captum_spectral.robustness.selection import select
        >>> rows = [{"model": m, "measurement": "robust accuracy", "perturbation": "linf",
        ...          "severity": e, "value": v, "standard_error": 0.02}
        ...         for m, e, v in [("a", 1, 0.75), ("a", 2, 0.25), ("b", 1, 0.5), ("b", 2, 0.25)]]
        >>> column = select(rows, "robust accuracy")
        >>> dict(zip(column.names, column.values.tolist()))
        {'a': 0.5, 'b': 0.375}
        >>> select(rows, "robust accuracy/linf/2").values.tolist()
        [0.25, 0.25]
    """
    rows = check_table(table, by)
    wanted = _parse(selector)
    names = list(dict.fromkeys(str(row[by]) for row in rows))
    found: dict[str, dict[tuple[object, ...], Row]] = {name: {} for name in names}
    cells: dict[_Cell, None] = {}
    seeds: dict[str, dict[tuple[object, ...], None]] = {name: {} for name in names}
    for row in rows:
        cell = _cell_of(row)
        if not _matches(cell, wanted):
            continue
        cells[cell] = None
        # Under by="family" several models have the same cell; so have seeds under one name.
        replicate = (row.get("model"), row.get("seed"))
        model = str(row[by])
        seeds[model][replicate] = None
        place = (*replicate, cell)
        if place in found[model]:
            raise ValueError(
                f"table has two rows for {cell} of {by} {model!r}, seed {replicate[1]!r}"
            )
        found[model][place] = row
    if not cells:
        known = ", ".join(sorted({str(row["measurement"]) for row in rows}))
        raise ValueError(
            f"selector {selector!r} matches no row; the measurements of the table are {known}"
        )
    values, errors, left_out = [], [], {}
    for name in names:
        of_model = [
            (cell, found[name].get((*replicate, cell)))
            for replicate in seeds[name] or {(None, None): None}
            for cell in cells
        ]
        reasons = [reason for cell, row in of_model if (reason := _problem(cell, row))]
        if reasons:
            more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
            left_out[name] = reasons[0] + more
            continue
        there = [row for _, row in of_model if row is not None]
        values.append(float(np.mean([float(row["value"]) for row in there])))
        errors.append(math.sqrt(math.fsum(_error_of(row) ** 2 for row in there)) / len(there))
    kept = [name for name in names if name not in left_out]
    return Column(kept, np.array(values, dtype=float), np.array(errors, dtype=float), left_out)


def families_of(
    table: Iterable[Row], *, by: str = "model", families: str = "family"
) -> dict[str, str]:
    """Return the family of every model; a model without one is a family of its own.

    Args:
        table: As in :func:`select`.
        by: As in :func:`select`. Default: "model"
        families: Key of the family. Default: "family"

    Returns:
        Model to family.

    Raises:
        ValueError: A model of two families.
    """
    found: dict[str, str] = {}
    for row in check_table(table, by):
        name = str(row[by])
        family = str(row.get(families) or name)
        if found.setdefault(name, family) != family:
            raise ValueError(
                f"{by} {name!r} is of the families {found[name]!r} and {family!r}; give "
                "families= a key that each model has once"
            )
    return found


def check_table(table: Iterable[Row], by: str) -> list[Row]:
    """Return the rows of a table as a list; raise unless each has the keys that all need."""
    if isinstance(table, (str, Mapping)) or not isinstance(table, Iterable):
        raise TypeError(
            f"table must be a sequence of rows, each a mapping, got {type(table).__name__}"
        )
    rows = table if isinstance(table, list) else list(table)
    if not rows:
        raise ValueError("table is empty; give one row per model and measurement")
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TypeError(f"table must hold mappings, row {i} is a {type(row).__name__}")
        for key in (by, *_NEEDED):
            if key not in row:
                raise ValueError(
                    f"table must have the key {key!r} in every row; row {i} has {sorted(row)}"
                )
    return rows


def _parse(selector: str) -> tuple[str, str | None, float | None]:
    """Return measurement, perturbation and severity; None for any."""
    if not isinstance(selector, str):
        raise TypeError(
            f"a selector must be a string such as 'accuracy/gaussian_noise/3', got {selector!r}"
        )
    measurement, *rest = selector.split("/", 2)
    severity = None
    if len(rest) == 2:
        try:
            severity = float(rest[1])
        except ValueError:
            raise ValueError(
                f"selector {selector!r} must end in a number, the severity, got {rest[1]!r}"
            ) from None
    return measurement, rest[0] if rest else None, severity


def _matches(cell: _Cell, wanted: tuple[str, str | None, float | None]) -> bool:
    measurement, perturbation, severity = wanted
    return (
        cell.measurement == measurement
        and perturbation in (None, cell.perturbation)
        and severity in (None, cell.severity)
    )


def _cell_of(row: Row) -> _Cell:
    severity = row.get("severity")
    severity = None if severity is None or severity == "" else float(severity)
    return _Cell(str(row["measurement"]), str(row.get("perturbation") or ""), severity)


def _problem(cell: _Cell, row: Row | None) -> str:
    """Say why a row has no number; an empty text if it has one."""
    if row is None:
        return f"has no {cell}"
    if row.get("error"):
        return f"{cell} failed: {row['error']}"
    value = row["value"]
    if value is None or value == "" or not math.isfinite(float(value)):
        return f"{cell} is {value}"
    return ""


def _error_of(row: Row) -> float:
    """Return the standard error of a row; 0 if it has none."""
    error = row.get("standard_error")
    error = 0.0 if error is None or error == "" else float(error)
    if error < 0:
        raise ValueError(f"standard_error must not be negative, got {error} for {_cell_of(row)}")
    return error if math.isfinite(error) else 0.0
