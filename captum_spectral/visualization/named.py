"""Draw attributions of players that have names: layers, wavelets, sectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spectral.visualization._cells import check_cells
from captum_spectral.visualization._drawing import Array, check_labels, show, with_unit
from captum_spectral.visualization._layout import place_for, room, settle
from captum_spectral.visualization._rows import AROUND, ROW, write_names
from captum_spectral.visualization._style import COLOURS, grid_style, ink, inside, visible
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_named_attr"]

_NAMES = 2.6  # inches of names, at most


def visualize_named_attr(
    attributions: Array,
    names: Sequence[str],
    standard_error: Array | None = None,
    *,
    unit: str = "model output",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw the attribution of every player as a bar beside its name, from top to bottom.

    For players without an order of frequencies: layers, wavelets, sectors. Blue raises the output,
    orange lowers it; whiskers reach one standard error to both sides.

    Args:
        attributions: ``(P,)``, NaN where there is none.
        names: P names.
        standard_error: ``(P,)`` of ``attributions``, NaN where it is not known. Default: None
        unit: Unit of the attributions, e.g. ``"logits"``; ``""`` for a pure number. Default: "model
            output"
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. None: to fit P. Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, names that are not strings.
        ValueError: Shapes that do not fit each other, infinite values, negative standard errors.

    Example::

        >>> import torch
        >>> phi = torch.tensor([0.5, -0.25])
        >>> figure, axes = visualize_named_attr(phi, ["stem", "head"], use_pyplot=False)
        >>> [text.get_text() for text in axes.texts]
        ['stem', 'head']
        >>> [float(bar.get_width()) for bar in axes.patches]
        [0.5, -0.25]
    """
    values, errors = check_cells(attributions, standard_error, "(P,)")
    labels = check_labels(names, len(values), False, "attributions")
    fitting = (7.5, max(2.4, 1.3 * AROUND + ROW * (len(values) + 2 * bool(title))))
    figure, axes = place_for(plt_fig_axis, fig_size or fitting, use_pyplot)
    across, high = room(axes)
    side = min(_NAMES, 0.4 * across)
    ground = inside(axes)
    rows = np.arange(len(values))
    signs = [visible(COLOURS[int(value < 0)], ground) for value in values]
    axes.barh(rows, np.nan_to_num(values), 0.7, color=signs, linewidth=0, zorder=2)
    if errors is not None:
        known = np.isfinite(values) & np.isfinite(errors)
        look: dict[str, Any] = {"fmt": "none", "ecolor": ink(ground), "zorder": 3}
        axes.errorbar(values[known], rows[known], xerr=errors[known], elinewidth=0.9, **look)
    axes.axvline(0, color=ink(ground), linewidth=0.8, zorder=2.5)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(False)
    axes.grid(axis="x", **grid_style(axes))
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.locator_params(axis="x", nbins=max(2, int((across - side) / 0.8)))
    what = with_unit("attribution", unit) + ("" if errors is None else " ± standard error")
    write(axes.set_xlabel(what), 0.9 * (across - side))
    write_names(axes, labels, side, high)
    if title:
        set_title(axes, title, across - side, lines=3)
    settle(axes)
    show(use_pyplot)
    return figure, axes
