"""Parts that text, JSON and figures of all reports share."""

from __future__ import annotations

import io
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version

import torch
from matplotlib.figure import Figure

from captum_spectral.studies.identity import versions
from captum_spectral.visualization import visualize_named_attr

__all__ = ["aligned", "all_versions", "as_file", "decimals_of", "figure_of_values", "told_error"]

_DIGITS = 5  # of the largest number in a column
_MOST_SHOWN = 24  # layers in a figure


def all_versions() -> dict[str, str]:
    """Return the releases that made a document."""
    return {**versions(), "captum": version("captum"), "python": platform.python_version()}


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows as lines: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in rows
    ]


def decimals_of(numbers: Sequence[float]) -> int:
    """Return the decimals with which the largest number has five digits."""
    largest = max(abs(number) for number in numbers) or 1.0
    return min(max(_DIGITS - 1 - math.floor(math.log10(largest)), 0), 12)


def as_file(figure: Figure, file_format: str, dpi: int) -> bytes:
    """Return the content of the file that shows a figure."""
    file = io.BytesIO()
    figure.savefig(file, format=file_format, dpi=dpi)
    return file.getvalue()


def told_error(error: float, form: str = ".4f") -> str:
    """Write a standard error, which one picture does not have."""
    return "-" if math.isnan(error) else format(error, form)


def figure_of_values(
    values: dict[str, tuple[float, float]], unit: str, title: str, file_format: str
) -> bytes:
    """Draw what the changes of layers did, of many layers those that did most.

    Args:
        values: Name of the layer to its value and standard error, in the order of the model.
        unit: Of the values.
        title: Title of the figure.
        file_format: One that Matplotlib writes.
    """
    most = sorted(values, key=lambda name: -abs(values[name][0]))[:_MOST_SHOWN]
    shown = {name: value for name, value in values.items() if name in most}
    more = len(values) - len(shown)
    note = f" ({more} layers that did less are not shown)" if more else ""
    numbers, errors = torch.tensor(list(shown.values())).T
    drawn, _ = visualize_named_attr(
        numbers, list(shown), errors, unit=unit, title=title + note, use_pyplot=False
    )
    return as_file(drawn, file_format, 150)
