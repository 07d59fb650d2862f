"""Colour cells by signed values, so that the numbers in them can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from captum_spectral.visualization._drawing import Array, Floats, signed, to_array
from captum_spectral.visualization._style import COLOURS, Colour, contrast, ink
from captum_spectral.visualization._text import width, write

__all__ = [
    "check_cells",
    "diverging",
    "lines_in",
    "side_of",
    "strongest",
    "told",
    "write_value",
]

_READABLE = 6.0  # contrast of a number on its cell
_NUMBER, _SMALL, _SMALLEST = 9.5, 7.5, 5.0  # points of a value, of what stands by it, at least
_LINE = 1.25  # em from line to line


def check_cells(
    values: Array, standard_error: Array | None, form: str
) -> tuple[Floats, Floats | None]:
    """Return values, NaN where there is none, and their standard errors; raise unless they fit."""
    numbers = to_array(values, "values", (form,), finite=False)
    if np.isinf(numbers).any():
        raise ValueError("values must be finite, or NaN where there is none")
    if standard_error is None:
        return numbers, None
    errors = to_array(standard_error, "standard_error", (form,), finite=False)
    if errors.shape != numbers.shape:
        raise ValueError(f"standard_error must be {numbers.shape} as values, got {errors.shape}")
    if (errors < 0).any() or np.isinf(errors).any():
        raise ValueError("standard_error must be at least 0, or NaN where it is not known")
    return numbers, errors


def diverging(
    ground: Colour, ends: tuple[str, str] = (COLOURS[1], COLOURS[0]), numbered: bool = True
) -> LinearSegmentedColormap:
    """Return colours from one end (negative) over the ground (0 and NaN) to the other (positive).

    They are mixed with the ground where numbers are to be read on them.
    """
    plain = [to_rgb(colour) for colour in ends]
    mixed = [strongest(colour, ground) if numbered else np.array(colour) for colour in plain]
    return LinearSegmentedColormap.from_list("signed", [mixed[0], np.array(ground), mixed[1]])


def strongest(colour: Colour, ground: Colour) -> Floats:
    """Return the colour, mixed with as much background as its numbers need to be read."""
    for share in np.linspace(1, 0, 41):
        mixed = share * np.array(colour) + (1 - share) * np.array(ground)
        if contrast(ink(ground), (mixed[0], mixed[1], mixed[2])) >= _READABLE:
            return np.asarray(mixed, dtype=float)
    return np.array(ground)


def lines_in(inches: float, size: float) -> int:
    """Return how many lines of letters of ``size`` points are at most ``inches`` high."""
    return max(1, int(inches / (1.3 * size / 72)))


def side_of(axes: Axes) -> float:
    """Return the side in inches of square axes whose layout is at rest."""
    axes.apply_aspect()
    box = axes.get_window_extent()
    return float(0.97 * min(box.width, box.height) / axes.figure.dpi)


def told(value: float, error: float | None) -> list[str]:
    """Write a value, and its standard error in a line below; a dash where there is none."""
    if np.isnan(value):
        return ["\N{EN DASH}"]
    if error is None or np.isnan(error):
        return [signed(value)]
    return [signed(value), f"± {error:.2g}"]


def write_value(
    axes: Axes,
    place: tuple[float, float],
    lines: Sequence[str],
    inches: tuple[float, float],
    ground: Colour,
    *,
    behind: Any = None,
) -> None:
    """Write lines in the middle of a cell of so many inches: the first ones, as many as fit.

    They are never shortened, which could lose a sign: letters get smaller, and are left out where
    they could not be read. The layout should be at rest. ``behind`` is a colour that hides what is
    drawn under them.
    """
    sizes = [_NUMBER, *[_SMALL] * (len(lines) - 1)]
    while len(lines) > 1 and inches[1] < 1.1 * _LINE * sum(sizes[: len(lines)]) / 72:
        lines = lines[:-1]
    above = sum(sizes[: len(lines)]) * _LINE / 2  # points from the middle of the cell
    options: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center"}
    if behind is not None:
        options["bbox"] = {"facecolor": behind, "edgecolor": "none", "pad": 1.0}
    for line, size in zip(lines, sizes, strict=False):
        middle = above - size * _LINE / 2
        text = write(
            axes.annotate(line, place, (0, middle), fontsize=size, color=ink(ground), **options)
        )
        above -= size * _LINE
        fitting = min(size, 0.9 * size * inches[0] / width(text, line), 72 * inches[1] / _LINE)
        text.set_fontsize(max(fitting, 1.0))
        text.set_visible(fitting >= _SMALLEST)
