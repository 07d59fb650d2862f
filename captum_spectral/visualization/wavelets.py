"""Draw attributions of wavelet coefficients: levels by orientations, in nested squares."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from captum_spectral.visualization._cells import (
    check_cells,
    diverging,
    side_of,
    told,
    write_value,
)
from captum_spectral.visualization._drawing import Array, centred, show, with_unit
from captum_spectral.visualization._layout import add_colour_bar, place_for, room, settle
from captum_spectral.visualization._style import faded, inside
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_wavelets"]

_KINDS = ("horizontal", "vertical", "diagonal")


def visualize_wavelets(
    values: Array,
    standard_error: Array | None = None,
    *,
    unit: str = "model output",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] = (5.2, 4.6),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw values of wavelet players where their coefficients lie: in nested squares.

    The approximation is in the upper left corner. Around it lie, from the coarsest level to the
    finest one (1), details of vertical edges (right), horizontal edges (below) and diagonal ones.
    Blue raises the output, orange lowers it, with 0 in the middle of the colours. Areas are those
    of the coefficients: a large square is a fine level, not an important one.

    Args:
        values: ``(1 + 3 L,)`` in the order of :class:`~captum_spectral.features.Wavelets`; NaN
            where there is none.
        standard_error: ``(1 + 3 L,)`` of ``values``, written below them where squares have room.
            Default: None
        unit: Unit of the values, e.g. ``"logits"``; ``""`` for a pure number. Default: "model
            output"
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. Default: (5.2, 4.6)
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array.
        ValueError: A number of values that is not 1 + 3 L, infinite values, standard errors that
            do not fit or are negative.

    Example::

        >>> import torch
        >>> figure, axes = visualize_wavelets(torch.arange(7.0) / 10, use_pyplot=False)
        >>> [text.get_text() for text in axes.texts][-2:]
        ['+0.6', 'diagonal 1']
    """
    numbers, errors = check_cells(values, standard_error, "(M,)")
    levels, left = divmod(len(numbers) - 1, 3)
    if left:
        raise ValueError(
            f"values must be (1 + 3 L,), the approximation and three orientations of L levels, got "
            f"shape {numbers.shape}; draw levels alone with visualize_band_attr"
        )
    figure, axes = place_for(plt_fig_axis, fig_size, use_pyplot)
    across, high = room(axes)
    ground = inside(axes)
    colours = ScalarMappable(centred(numbers), diverging(ground))
    side = 0.72 * min(across, high)  # inches
    edge = faded(ground)
    squares = _squares(levels)
    for value, (x, y, size) in zip(numbers.tolist(), squares, strict=True):
        colour = ground if np.isnan(value) else colours.to_rgba(value)
        square = Rectangle((x, y), size, size, facecolor=colour, edgecolor=edge, linewidth=0.8)
        axes.add_patch(square)
    axes.set(xlim=(0, 1), ylim=(1, 0), aspect="equal")
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    beside = axes.inset_axes((1.04, 0, 0.05, 1))
    add_colour_bar(figure, colours, inches=side, cax=beside)
    write(beside.set_ylabel(with_unit("attribution", unit)), side)
    if title:
        set_title(axes, title, across)
    settle(axes)
    side = side_of(axes)
    for player, (x, y, size) in enumerate(squares):
        error = None if errors is None else float(errors[player])
        lines = [*told(float(numbers[player]), error), _name(player, levels)]
        middle = (x + size / 2, y + size / 2)
        write_value(axes, middle, lines, (0.92 * size * side, 0.92 * size * side), ground)
    show(use_pyplot)
    return figure, axes


def _squares(levels: int) -> list[tuple[float, float, float]]:
    """Return left edge, upper edge and side of the square of every player."""
    details: list[list[tuple[float, float, float]]] = []
    size = 1.0
    for _ in range(levels):  # the finest level first
        size /= 2
        details.append([(0.0, size, size), (size, 0.0, size), (size, size, size)])
    return [(0.0, 0.0, size), *(square for level in reversed(details) for square in level)]


def _name(player: int, levels: int) -> str:
    """Name a player; level 1 is the finest."""
    if player == 0:
        return "approximation"
    level, kind = divmod(player - 1, 3)
    return f"{_KINDS[kind]} {levels - level}"
