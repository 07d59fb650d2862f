"""Draw the accuracy of models over the size of a perturbation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from captum_spectral.visualization._drawing import (
    Array,
    Floats,
    check_named,
    show,
    to_array,
)
from captum_spectral.visualization._layout import add_legend, place_for, room, settle
from captum_spectral.visualization._style import COLOURS, grid_style, ink, line_colours, outside
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_accuracy"]

_MARKERS = ("o", "s")  # beyond seven models the colours come again, with squares
_TICK = 0.6  # inches from tick to tick of the levels
_BEYOND = 0.02  # of the height of the axes, so that lines at 0 and 1 are seen


def visualize_accuracy(
    levels: Array,
    accuracy: Mapping[str, Array],
    standard_errors: Mapping[str, Array] | None = None,
    controls: Mapping[str, Array] | None = None,
    *,
    control_name: str = "random noise",
    xlabel: str = "epsilon",
    ylabel: str = "accuracy",
    xscale: Literal["linear", "log"] = "linear",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] = (7.2, 3.4),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw the accuracy of models over epsilon or severity, with that under a control, dashed.

    A line is the accuracy of a model, the shade around it one standard error over images. Errors of
    models on the same images are not independent: two shades may overlap although one model is
    ahead beyond doubt; compare them pairwise. The dashed line of a model, in its colour, is its
    accuracy under something that does not look for mistakes, such as random noise of the same norm;
    an attack that does not fall below it is no attack. The vertical axis always shows 0 to 1.

    Args:
        levels: ``(K,)`` sizes of the perturbation, increasing.
        accuracy: ``(K,)`` from 0 to 1 by the name of each model, at most 14.
        standard_errors: ``(K,)`` of some or all of them, NaN where there is none. Default: None
        controls: ``(K,)`` accuracies of some or all of them under the control. Default: None
        control_name: What the control is, for the legend. Default: "random noise"
        xlabel: Label of the horizontal axis, e.g. ``"severity"``. Default: "epsilon"
        ylabel: Label of the vertical axis. Default: "accuracy"
        xscale: ``"linear"`` or ``"log"`` for positive levels. Default: "linear"
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. Default: (7.2, 3.4)
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, or without names.
        ValueError: Shapes that do not fit each other, accuracies that are not from 0 to 1, levels
            that do not increase, or are not positive on a logarithmic axis, no models or more than
            14, errors or controls of models that are not there, an unknown ``xscale``.

    Example::

        >>> import torch
        >>> figure, axes = visualize_accuracy(
        ...     torch.tensor([0.0, 0.01, 0.02, 0.04]),
        ...     {"plain": torch.tensor([0.95, 0.7, 0.3, 0.0])},
        ...     {"plain": torch.tensor([0.01, 0.02, 0.02, 0.0])},
        ...     {"plain": torch.tensor([0.95, 0.95, 0.94, 0.93])}, use_pyplot=False)
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['plain', 'random noise']
    """
    x = _levels(levels, xscale)
    check_named(accuracy, "accuracy", '{"plain": result.accuracy}')
    most = len(COLOURS) * len(_MARKERS)
    if not 1 <= len(accuracy) <= most:
        raise ValueError(f"accuracy must hold 1 to {most} models, got {len(accuracy)}")
    lines = _lines(accuracy, "accuracy", len(x), accuracy)
    errors = _lines(standard_errors, "standard_errors", len(x), accuracy)
    others = _lines(controls, "controls", len(x), accuracy)
    figure, axes = place_for(plt_fig_axis, fig_size, use_pyplot)
    across, high = room(axes)
    colours = line_colours(axes)
    drawn: list[Artist] = []
    for i, (name, y) in enumerate(lines.items()):
        colour, marker = colours[i % len(colours)], _MARKERS[i // len(colours)]
        if name in errors:
            low, top = y - errors[name], y + errors[name]
            axes.fill_between(x, low.clip(0), top.clip(max=1), color=colour, alpha=0.15, lw=0)
        if name in others:
            axes.plot(x, others[name], color=colour, linestyle="--", lw=1.0)
        drawn += axes.plot(x, y, color=colour, marker=marker, markersize=3.5, lw=1.6)
    names = list(lines)
    if others:
        drawn.append(Line2D([], [], color=ink(outside(axes.figure)), linestyle="--", lw=1.0))
        names.append(control_name)
    _scale(axes, x, xscale, across)
    write(axes.set_xlabel(xlabel), across)
    write(axes.set_ylabel(ylabel), high)
    axes.grid(**grid_style(axes))
    axes.spines[["top", "right"]].set_visible(False)
    rows = add_legend(axes, drawn, names, beside=True, size=8.0)
    if title:
        across *= 1.0 if rows else 0.65  # a legend beside the axes takes the rest
        set_title(axes, title, across, pad=8 + 1.7 * 8.0 * rows)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _scale(axes: Axes, x: Floats, xscale: str, across: float) -> None:
    """Set the limits of both axes, and ticks without powers of 10 beside them."""
    axes.set_ylim(-_BEYOND, 1 + _BEYOND)
    ticks = max(2, int(across / _TICK))
    if xscale == "log":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(x[0] / 1.1, x[-1] * 1.1)
    else:
        whole = bool((x == x.round()).all())
        axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=whole))
        beyond = 0.02 * (x[-1] - x[0])
        axes.set_xlim(x[0] - beyond, x[-1] + beyond)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _levels(levels: Array, xscale: str) -> Floats:
    """Return the levels, checked."""
    if xscale not in ("linear", "log"):
        raise ValueError(f'xscale must be "linear" or "log", got {xscale!r}')
    x = to_array(levels, "levels", ("(K,)",))
    if len(x) < 2 or (np.diff(x) <= 0).any():
        raise ValueError("levels must increase and have at least two entries")
    if xscale == "log" and x[0] <= 0:
        raise ValueError(
            f"levels must be positive on a logarithmic axis, got {x[0]:.4g}; leave it out, or use "
            'xscale="linear"'
        )
    return x


def _lines(
    values: Mapping[str, Array] | None, name: str, length: int, models: Mapping[str, Array]
) -> dict[str, Floats]:
    """Return ``(K,)`` for each model of ``values``; raise unless they are shares."""
    if values is None:
        return {}
    check_named(values, name, '{"plain": result.accuracy}')
    unknown = [model for model in values if model not in models]
    if unknown:
        raise ValueError(f"{name} has {unknown}, which accuracy does not have")
    lines = {}
    for model, y in values.items():
        which = f"{name}[{model!r}]"
        line = to_array(y, which, ("(K,)",), finite=name != "standard_errors")
        if len(line) != length:
            raise ValueError(f"{which} must be ({length},), as long as levels, got {line.shape}")
        known = line[~np.isnan(line)]
        if (known < 0).any() or (known > 1).any():
            raise ValueError(
                f"{which} must be from 0 to 1, got {known.min():.4g} to {known.max():.4g}; "
                "percentages must be divided by 100"
            )
        lines[model] = line
    return lines
