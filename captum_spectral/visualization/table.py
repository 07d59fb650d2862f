"""Draw a table of attributions: channels by bands, coefficients of a block, classes by features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spectral.visualization._cells import (
    check_cells,
    diverging,
    lines_in,
    told,
    write_value,
)
from captum_spectral.visualization._drawing import Array, centred, check_labels, show, with_unit
from captum_spectral.visualization._layout import place_for, room, settle
from captum_spectral.visualization._style import faded, inside, outside
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_table"]

_CELL = (0.82, 0.5)  # inches
_NAME, _NUMBER = 1.6, 0.3  # inches of the names of rows, at most; of their numbers
_NOTE = 8.0  # points


def visualize_table(
    values: Array,
    standard_error: Array | None = None,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    unit: str = "model output",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw attributions of players that form a table, as numbers on cells coloured by them.

    For channels by bands (values of :func:`~captum_spectral.features.channel_bands`, reshaped to
    ``(C, M)``), for the 64 coefficients of JPEG's blocks (``reshape(8, 8)``: vertical frequency
    runs downwards), for classes by features. A cell is blue for what raises the output, orange for
    what lowers it, on one scale with 0 in its middle.

    Args:
        values: ``(R, C)``, NaN where there is none; such a cell holds a dash.
        standard_error: ``(R, C)`` of ``values``, written below them where cells have room; NaN
            where it is not known. Default: None
        rows: R names. None: numbers from 0. Default: None
        columns: C names. None: numbers from 0. Default: None
        unit: Unit of the values, e.g. ``"logits"``; ``""`` for a pure number. Default: "model
            output"
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. None: to fit R and C. Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, names that are not strings.
        ValueError: Shapes that do not fit each other, infinite values, negative standard errors.

    Example::

        >>> import torch
        >>> phi = torch.tensor([[0.5, 0.25], [0.125, 0.0]])
        >>> figure, axes = visualize_table(phi, rows=["luma", "chroma"], use_pyplot=False)
        >>> [text.get_text() for text in axes.texts][:4]
        ['+0.5', '+0.25', '+0.125', '0']
    """
    numbers, errors = check_cells(values, standard_error, "(R, C)")
    height, width = numbers.shape
    names = _names(rows, height, "rows of values")
    heads = _names(columns, width, "columns of values")
    widest = _NUMBER if rows is None else _NAME
    fitting = (
        max(0.6 + widest + _CELL[0] * width, 3.4),
        max(1.1 + _CELL[1] * height + (0.4 if title else 0.0), 2.2),
    )
    figure, axes = place_for(plt_fig_axis, fig_size or fitting, use_pyplot)
    across, high = room(axes)
    name_room = min(widest, 0.3 * across)
    cell = (0.95 * (across - name_room) / width, 0.7 * high / height)
    ground = inside(axes)
    cells = np.ma.masked_invalid(numbers)
    axes.imshow(cells, aspect="auto", cmap=diverging(ground), norm=centred(numbers))
    for (i, j), value in np.ndenumerate(numbers):
        error = None if errors is None else float(errors[i, j])
        write_value(axes, (j, i), told(float(value), error), cell, ground)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=faded(ground), linewidth=0.6)
    # Texts, not tick labels, whose content matplotlib sets anew: names are shown as they are.
    for i, name in enumerate(names):
        options: dict[str, Any] = {"transform": axes.get_yaxis_transform()}
        options |= {"ha": "right", "va": "center"}
        write(axes.text(-0.02, i, name, fontsize=9, **options), name_room, lines_in(cell[1], 9))
    for j, name in enumerate(heads):
        options = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top"}
        write(axes.text(j, -0.03, name, fontsize=9, **options), 0.94 * cell[0], 3)
    note = with_unit("attribution", unit) + ("" if errors is None else " ± standard error")
    colour = faded(outside(axes.figure), 7.0)
    above = axes.text(0, 1.02, note, transform=axes.transAxes, fontsize=_NOTE, color=colour)
    extra = write(above, 0.95 * (across - name_room)).get_text().count("\n")
    if title:
        set_title(axes, title, across - name_room, pad=18 + 11 * extra)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _names(given: Sequence[str] | None, count: int, what: str) -> list[str]:
    if given is None:
        return [str(i) for i in range(count)]
    return check_labels(given, count, False, what)
