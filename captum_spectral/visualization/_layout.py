"""Place what a figure shows: room for axes, legends beside the data, a layout that is final."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.ticker import Formatter, FuncFormatter, MaxNLocator, ScalarFormatter
from matplotlib.transforms import Bbox

from captum_spectral.visualization._style import ink, outside
from captum_spectral.visualization._text import width, write

__all__ = [
    "add_colour_bar",
    "add_legend",
    "given_place",
    "new_figure",
    "place_for",
    "plain_numbers",
    "room",
    "settle",
]

_LEAST = (2.4, 2.0)  # inches; the labels of an axis leave no room for data in less
_HANDLE = 3.0  # em of a legend's line or patch and the gap behind it
_BETWEEN = 1.4  # em between columns of a legend
_TICK = 0.75  # inches from tick to tick of a lying colour bar; half of it of a standing one
_PASSES = 16  # at most, of the layout: axes of a fixed shape move in each of them, ever less
_AT_REST = 0.03  # inches; the next pass would move the axes by a quarter of it
_MARGIN = 0.04  # inches that a figure without a layout keeps free at its edges


def new_figure(fig_size: tuple[float, float], use_pyplot: bool) -> Figure:
    """Make an empty figure that leaves room for its labels; pyplot knows it only if asked to."""
    # Compressed: the constrained layout, which comes to rest sooner with axes of a fixed shape.
    if not use_pyplot:
        return Figure(figsize=fig_size, layout="compressed")
    from matplotlib import pyplot as plt

    return plt.figure(figsize=fig_size, layout="compressed")


def place_for(
    plt_fig_axis: tuple[Figure | SubFigure, Axes] | None,
    fig_size: tuple[float, float],
    use_pyplot: bool,
) -> tuple[Figure, Axes]:
    """Return the figure and axes that were given, or new ones of so many inches."""
    if plt_fig_axis is not None:
        return given_place(plt_fig_axis)
    if min(a - b for a, b in zip(fig_size, _LEAST, strict=True)) < 0:
        raise ValueError(
            f"fig_size={tuple(fig_size)} has no room for axes and their labels; use at least "
            f"{_LEAST}, in inches"
        )
    figure = new_figure(fig_size, use_pyplot)
    return figure, figure.add_subplot()


def given_place(plt_fig_axis: Any) -> tuple[Any, Any]:
    """Return the figure and the axes, one or several, that were given; raise unless both were."""
    fits = isinstance(plt_fig_axis, tuple | list) and len(plt_fig_axis) == 2
    if not fits or not isinstance(plt_fig_axis[0], Figure | SubFigure):
        raise TypeError(
            "plt_fig_axis must be a figure and its axes, such as (axes.figure, axes), got "
            f"{type(plt_fig_axis).__name__}"
        )
    return plt_fig_axis[0], plt_fig_axis[1]


def room(axes: Axes) -> tuple[float, float]:
    """Return width and height of the place of ``axes`` in inches.

    It is an estimate in figures with a layout, which is computed only when they are drawn.
    """
    box = axes.get_position(original=True).transformed(axes.figure.transSubfigure)
    return box.width / axes.figure.dpi, box.height / axes.figure.dpi


def add_legend(
    axes: Axes,
    handles: Sequence[Artist],
    names: Sequence[str],
    *,
    title: str | None = None,
    beside: bool = False,
    size: float = 9.0,
) -> int:
    """Add a legend beside or above the axes, where no data can be.

    Args:
        axes: Where the data is.
        handles: Lines, patches or error bars.
        names: Their names, shown as they are; long ones are shortened in the middle.
        title: Title of a legend beside the axes. Default: None
        beside: Stand to the right of wide axes; else, and where they are narrow, above.
            Default: False
        size: Size of the letters in points. Default: 9.0

    Returns:
        Rows of the legend above the axes.
    """
    across, em = room(axes)[0], size / 72
    beside = beside and across > 4.5
    widest = (0.4 if beside else 0.95) * across - _HANDLE * em
    # matplotlib drops names that begin with "_", so it gets the names after it made the legend.
    legend = axes.legend(handles, ["x"] * len(names), fontsize=size)
    texts = _fill(legend, names, widest)
    longest = max(width(text, text.get_text()) for text in legend.get_texts())
    columns = 1 if beside else int(0.95 * across / (longest + (_HANDLE + _BETWEEN) * em))
    columns = max(1, min(len(names), columns))
    corner = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    legend = axes.legend(
        handles,
        ["x"] * len(names),
        ncols=columns,
        frameon=False,
        fontsize=size,
        columnspacing=_BETWEEN,
        title=title,
        title_fontsize=size,
        alignment="left",
        **(corner if beside else above),
    )
    _fill(legend, texts, None)
    if title:
        write(legend.get_title(), widest)
    heading = legend.get_title().get_text().count("\n") + 1 if title else 0
    return 0 if beside else -(-len(names) // columns) + heading  # rounded up


def add_colour_bar(
    figure: Figure,
    colours: ScalarMappable,
    *,
    inches: float,
    horizontal: bool = False,
    **where: Any,
) -> Axes:
    """Add a colour bar of so many inches, with as many ticks as it has room for.

    Args:
        figure: Figure of the axes.
        colours: What the bar explains.
        inches: Length of the bar.
        horizontal: Lie below, not stand beside. Default: False
        where: ``cax`` or ``ax`` and its options, as in ``Figure.colorbar``.

    Returns:
        Axes of the bar.
    """
    bar = figure.colorbar(
        colours,
        orientation="horizontal" if horizontal else "vertical",
        ticks=MaxNLocator(max(2, int(inches / (_TICK if horizontal else _TICK / 2)))),
        format=plain_numbers(colours.get_clim()[1] or 0.0),
        **where,
    )
    colour = ink(outside(bar.ax.figure))
    bar.ax.tick_params(colors=colour)
    bar.ax.grid(False)
    bar.outline.set_edgecolor(colour)
    return bar.ax


def plain_numbers(largest: float) -> Formatter:
    """Return a formatter that writes no power of 10 beside the axes, where other texts may be."""
    if largest == 0 or 1e-3 <= largest < 1e5:  # matplotlib's has as many decimals at every tick
        return ScalarFormatter(useOffset=False)
    return FuncFormatter(lambda value, _: f"{value:.4g}".replace("-", "\N{MINUS SIGN}"))


def settle(axes: Axes) -> None:
    """Let the layout of the whole figure come to rest, so that its first drawing is its last.

    Axes of a fixed shape are smaller than the place that a layout gives them, by an amount that
    changes with the place: matplotlib's two passes per drawing leave labels cut off. A figure
    without a layout keeps its axes where they are, unless their labels would be cut off.
    """
    figure = axes.figure.figure
    engine = figure.get_layout_engine()
    # The place of insets beside the axes changes with these in the same way.
    moves = axes.get_aspect() != "auto" or bool(axes.child_axes)
    if isinstance(engine, ConstrainedLayoutEngine) and moves:
        before = None
        for _ in range(_PASSES):
            engine.execute(figure)
            after = room(axes)
            if before is not None and np.allclose(before, after, rtol=0, atol=_AT_REST):
                break
            before = after
    elif engine is None:
        for _ in range(_PASSES):
            _shrink(axes)


def _shrink(axes: Axes) -> None:
    """Make the place of ``axes`` smaller by what of them stands outside of the figure."""
    within = axes.figure.bbox.padded(-_MARGIN * axes.figure.dpi)
    box = axes.get_tightbbox()
    if box is None:
        return
    place = axes.get_position(original=True).transformed(axes.figure.transSubfigure)
    left, low = max(0.0, within.x0 - box.x0), max(0.0, within.y0 - box.y0)
    right, high = max(0.0, box.x1 - within.x1), max(0.0, box.y1 - within.y1)
    if left + right < 0.8 * place.width and low + high < 0.8 * place.height:
        smaller = Bbox.from_extents(
            place.x0 + left, place.y0 + low, place.x1 - right, place.y1 - high
        )
        if left + right + low + high:
            axes.set_position(smaller.transformed(axes.figure.transSubfigure.inverted()))


def _fill(legend: Legend, names: Sequence[str], widest: float | None) -> list[str]:
    """Put the names into a legend, in one line each, and return them as they are shown."""
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)
        write(text, widest, lines=1)
    return [text.get_text() for text in legend.get_texts()]
