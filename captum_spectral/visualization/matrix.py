"""Draw a table of coefficients: scores against measures, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from captum_spectral.visualization._cells import lines_in, strongest
from captum_spectral.visualization._drawing import Array, Floats, check_labels, show, to_array
from captum_spectral.visualization._layout import place_for, room, settle
from captum_spectral.visualization._style import COLOURS, Colour, faded, ink, inside
from captum_spectral.visualization._text import set_title, width, write

__all__ = ["visualize_correlations"]

_CELL = (1.2, 0.55)  # inches
_NAME = 1.7  # inches of the names of rows, at most
_NUMBER, _SMALL, _SMALLEST = 9.5, 7.5, 5.0  # points of a coefficient and of its interval


def visualize_correlations(
    coefficients: Array,
    low: Array | None = None,
    high: Array | None = None,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw coefficients of scores (rows) and measures (columns), each with its interval.

    A cell is blue for a positive coefficient, orange for a negative one, the stronger the larger
    it is. Cells whose interval excludes 0 have a frame; that is no test, and of many cells some
    have one by chance: adjust the p-values. A cell without a coefficient holds a dash.

    Args:
        coefficients: ``(S, R)`` from -1 to 1, NaN where there is none.
        low: ``(S, R)`` lower ends of the intervals. Default: None
        high: ``(S, R)`` upper ends. Default: None
        rows: S names. None: ``"example 0"`` and so on where S > 1. Default: None
        columns: R names. None: as rows. Default: None
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. None: to fit S and R. Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, names that are not strings.
        ValueError: Shapes that do not fit each other, coefficients outside of [-1, 1], one end of
            the intervals without the other.

    Example::

        >>> import torch
        >>> r = torch.tensor([[0.7, -0.2]])
        >>> figure, axes = visualize_correlations(
        ...     r, r - 0.3, r + 0.3, ["score"], ["noise", "blur"], use_pyplot=False)
        >>> [text.get_text() for text in axes.texts][:2]
        ['+0.70', '[+0.40, +1.00]']
    """
    values = to_array(coefficients, "coefficients", ("(S, R)",), finite=False)
    if (np.abs(values) > 1 + 1e-6).any() or np.isinf(values).any():
        raise ValueError("coefficients must lie in [-1, 1], or be NaN where there is none")
    ends = _ends(low, high, values)
    names = check_labels(rows, len(values), False, "coefficients")
    heads = check_labels(columns, values.shape[1], False, "coefficients")
    fitting = (
        _NAME + 0.4 + _CELL[0] * values.shape[1],
        1.1 + _CELL[1] * len(values) + (0.4 if title else 0.0),
    )
    fitting = (max(fitting[0], 3.4), max(fitting[1], 2.2))
    figure, axes = place_for(plt_fig_axis, fig_size or fitting, use_pyplot)
    across, high_room = room(axes)
    name_room = min(_NAME, 0.3 * across) if names else 0.0
    cell = (0.97 * (across - name_room) / values.shape[1], 0.72 * high_room / len(values))
    ground = inside(axes)
    axes.imshow(_colours(values, ground), aspect="auto")
    _write_cells(axes, values, ends, cell, ground)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    # Texts, not tick labels, whose content matplotlib sets anew: names are shown as they are.
    for i, name in enumerate(names):
        options: dict[str, Any] = {"transform": axes.get_yaxis_transform()}
        options |= {"ha": "right", "va": "center"}
        write(axes.text(-0.02, i, name, fontsize=9, **options), name_room, lines_in(cell[1], 9))
    for j, name in enumerate(heads):
        options = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top"}
        write(axes.text(j, -0.03, name, fontsize=9, **options), 0.94 * cell[0], 3)
    if title:
        set_title(axes, title, across - name_room)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _write_cells(
    axes: Axes,
    values: Floats,
    ends: tuple[Floats, Floats] | None,
    cell: tuple[float, float],
    ground: Colour,
) -> None:
    """Write the number, and under it its interval where there is room for both."""
    two = ends is not None and cell[1] > 1.5 * (_NUMBER + _SMALL) / 72
    for (i, j), value in np.ndenumerate(values):
        options: dict[str, Any] = {"ha": "center", "color": ink(ground)}
        if np.isnan(value):
            write(axes.text(j, i, "\N{EN DASH}", fontsize=_NUMBER, va="center", **options))
            continue
        place: dict[str, Any] = {"va": "bottom" if two else "center", "fontsize": _NUMBER}
        write(axes.text(j, i + (0.04 if two else 0), _signed(value), **place, **options), cell[0])
        if ends is None or np.isnan(ends[0][i, j]) or np.isnan(ends[1][i, j]):
            continue
        low, high = ends[0][i, j], ends[1][i, j]
        if two:
            text = f"[{_signed(low)}, {_signed(high)}]"
            small = write(axes.text(j, i + 0.1, text, fontsize=_SMALL, va="top", **options))
            # Never shortened, which could lose a sign: smaller letters, or no interval.
            size = _SMALL * min(1.0, 0.94 * cell[0] / width(small, text))
            small.set_fontsize(size)
            small.set_visible(size >= _SMALLEST)
        if low > 0 or high < 0:
            frame = np.array([[-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1]]) * 0.46
            axes.plot(j + frame[0], i + frame[1], color=faded(ground, 9.0), linewidth=1.1)


def _colours(values: Floats, ground: Colour) -> Floats:
    """Mix the colour of each cell ``(S, R, 3)``, never so strong that numbers cannot be read."""
    ends = [strongest(to_rgb(COLOURS[i]), ground) for i in (1, 0)]  # negative, positive
    size = np.abs(np.nan_to_num(values))[..., None]
    far = np.where(np.nan_to_num(values)[..., None] < 0, ends[0], ends[1])
    mixed: Floats = (1 - size) * np.array(ground) + size * far
    return mixed


def _ends(low: Array | None, high: Array | None, values: Floats) -> tuple[Floats, Floats] | None:
    """Return both ends of the intervals, or None."""
    if (low is None) != (high is None):
        raise ValueError("low and high must be given together")
    if low is None or high is None:
        return None
    found = tuple(
        to_array(x, name, ("(S, R)",), finite=False) for name, x in (("low", low), ("high", high))
    )
    for name, x in zip(("low", "high"), found, strict=True):
        if x.shape != values.shape:
            raise ValueError(f"{name} must be {values.shape} as coefficients, got {x.shape}")
    return found[0], found[1]


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
