"""Names beside rows that lie closely above each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from captum_spectral.visualization._text import write

__all__ = ["AROUND", "ROW", "letters", "write_names"]

ROW = 0.19  # inches of a row
AROUND = 1.0  # inches above and below all rows
_LETTERS = (9.0, 5.0)  # points of names, at most and at least


def letters(rows: int, high: float) -> tuple[float, int]:
    """Return the size of names in points, and at which distance rows have one.

    Args:
        rows: How many there are.
        high: Inches of the figure.
    """
    row = max(0.4 * high, high - AROUND) / rows * 72
    size = min(_LETTERS[0], max(_LETTERS[1], 0.75 * row))
    return size, max(1, math.ceil(1.25 * size / row))


def write_names(axes: Axes, names: Sequence[str], inches: float, high: float) -> None:
    """Write the names of rows, of every few where they would lie on each other."""
    size, apart = letters(len(names), high)
    look: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    for i, name in list(enumerate(names))[::apart]:
        text = axes.text(-0.015, i, name, fontsize=size, ha="right", **look)
        write(text, inches, lines=1)
