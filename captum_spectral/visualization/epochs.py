"""Draw how a number changes over the epochs of several trainings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from captum_spectral.visualization._drawing import Array, Floats, check_named, show, to_array
from captum_spectral.visualization._layout import add_legend, place_for, plain_numbers, room, settle
from captum_spectral.visualization._style import COLOURS, faded, grid_style, inside, line_colours
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_epochs"]

_MARKERS = "os^Dv*P"
_LEGEND_SIZE = 8.5  # points


def visualize_epochs(
    epochs: Array,
    values: Mapping[str, Array],
    standard_error: Mapping[str, Array] | None = None,
    *,
    xlabel: str = "epoch",
    ylabel: str = "share of the lowest band",
    legend_title: str | None = None,
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] = (6.4, 3.4),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw a number over the epochs of several trainings, such as one line per share of noise.

    Draw the band of interest, or several bands in axes of one figure. The shade is one standard
    error over images; trainings with other seeds differ by more, which it does not show. Lines of
    one epoch need not be equally far trained: compare them at equal accuracy, too.

    Args:
        epochs: ``(E,)`` numbers of the epochs, increasing.
        values: ``(E,)`` by the name of the training, at most 7; NaN where it was not measured.
        standard_error: ``(E,)`` by the same names. Default: None
        xlabel: Label of the horizontal axis, for steps of another kind. Default: "epoch"
        ylabel: Label of the vertical axis. Default: "share of the lowest band"
        legend_title: Title of the legend, e.g. ``"noisy labels"``. Default: None
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. Default: (6.4, 3.4)
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, or without names.
        ValueError: Shapes that do not fit each other, epochs that do not increase, infinite values,
            errors of other names or negative ones, no lines or more than 7.

    Example::

        >>> import torch
        >>> shares = {"0 %": torch.tensor([0.6, 0.5]), "40 %": torch.tensor([0.6, 0.4])}
        >>> figure, axes = visualize_epochs(
        ...     torch.arange(1, 3), shares, legend_title="noisy labels", use_pyplot=False)
        >>> [line.get_ydata().tolist() for line in axes.get_lines()[1:]][1][0] > 0.59
        True
    """
    x = to_array(epochs, "epochs", ("(E,)",))
    if (np.diff(x) <= 0).any():
        raise ValueError(f"epochs must increase, got {x.tolist()}")
    lines = _lines(values, "values", len(x))
    if not 1 <= len(lines) <= len(COLOURS):
        raise ValueError(f"values must hold 1 to {len(COLOURS)} trainings, got {len(lines)}")
    errors = {} if standard_error is None else _lines(standard_error, "standard_error", len(x))
    if unknown := [name for name in errors if name not in lines]:
        raise ValueError(f"standard_error has {unknown[0]!r}, which is none of {list(lines)}")
    if any(np.nanmin(error, initial=0.0) < 0 for error in errors.values()):
        raise ValueError("standard_error must not be negative")
    figure, axes = place_for(plt_fig_axis, fig_size, use_pyplot)
    across, high = room(axes)
    colours = line_colours(axes)
    axes.axhline(0, color=faded(inside(axes)), linewidth=0.8, zorder=1)
    handles: list[Artist] = []
    for i, (name, y) in enumerate(lines.items()):
        if name in errors:
            ends = y - errors[name], y + errors[name]
            axes.fill_between(x, *ends, color=colours[i], alpha=0.15, linewidth=0)
        handles += axes.plot(
            x, y, color=colours[i], marker=_MARKERS[i], markersize=4.5, linewidth=1.6, zorder=3
        )
    write(axes.set_xlabel(xlabel), across)
    write(axes.set_ylabel(ylabel), high)
    axes.xaxis.set_major_locator(MaxNLocator(max(2, int(across / 0.6)), integer=True))
    largest = max(float(np.nanmax(np.abs(y), initial=0.0)) for y in lines.values())
    axes.yaxis.set_major_formatter(plain_numbers(largest))
    axes.grid(**grid_style(axes))
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    rows = add_legend(
        axes, handles, list(lines), title=legend_title, beside=True, size=_LEGEND_SIZE
    )
    if title:
        across *= 1.0 if rows else 0.65  # a legend beside the axes takes the rest
        set_title(axes, title, across, pad=8 + 1.7 * _LEGEND_SIZE * rows)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _lines(values: Mapping[str, Array], name: str, length: int) -> dict[str, Floats]:
    """Return lines ``(E,)`` by name; raise unless each is ``length`` long."""
    check_named(values, name, '{"40 %": shares}')
    lines = {}
    for key, y in values.items():
        lines[key] = to_array(y, f"{name}[{key!r}]", ("(E,)",), finite=False)
        if len(lines[key]) != length:
            raise ValueError(
                f"{name}[{key!r}] must be ({length},), one for each epoch, got {lines[key].shape}"
            )
        if np.isinf(lines[key]).any():
            raise ValueError(f"{name}[{key!r}] must not be infinite")
    return lines
