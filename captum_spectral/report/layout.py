"""Parts that text, JSON and figures of all reports share."""

from __future__ import annotations

import io
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version

from matplotlib.figure import Figure

from captum_spectral.studies.identity import versions

__all__ = ["aligned", "all_versions", "as_file", "decimals_of"]

_DIGITS = 5  # of the largest number in a column


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
