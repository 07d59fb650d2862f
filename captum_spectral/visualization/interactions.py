"""Draw which players act together: as a table, or the strongest as a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from captum_spectral.visualization._cells import diverging
from captum_spectral.visualization._drawing import (
    Array,
    Floats,
    centred,
    check_labels,
    show,
    to_array,
    with_unit,
)
from captum_spectral.visualization._layout import add_colour_bar, place_for, room, settle
from captum_spectral.visualization._style import COLOURS, Colour, faded, ink, inside, visible
from captum_spectral.visualization._text import set_title, width, write

__all__ = ["visualize_interaction_network", "visualize_interactions"]

_CELL = 0.5  # inches
_NAME = 1.3  # inches of a name, at most
_BARS = 0.28  # of the width: the bars beside the table
_NUMBER, _SMALLEST = 8.0, 5.0  # points of the numbers of single players
_WITHIN_ERROR = 1.96  # standard errors
_PALE = 0.3  # of the colour of a pair that may as well be none
_POSITIVE, _NEGATIVE = COLOURS[0], COLOURS[3]


def visualize_interactions(
    matrix: Array,
    standard_error: Array | None = None,
    names: Sequence[str] | None = None,
    *,
    unit: str = "model output",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw interactions of two players as a table, and beside each row what it sums to.

    Cells beside the diagonal have a colour: blue where players need each other, orange where each
    does what the other does, too. Single players, which can be many times larger, stand as numbers
    in cells without colour. With k-SII of order 2 the bars are Shapley values. Pairs within 1.96
    standard errors of zero are pale; NaN is a dash.

    Args:
        matrix: ``(M, M)``, symmetric, players in the order of their frequency, such as
            :meth:`captum_spectral.coalitions.InteractionResult.matrix`: single players on the
            diagonal, half of the interaction of two on both sides of it.
        standard_error: ``(M, M)`` of ``matrix``. Default: None, no cell is pale
        names: M names. Default: None, ``"0"`` and so on
        unit: What the model gives. Default: "model output"
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. None: to fit M. Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, names that are not strings.
        ValueError: A matrix that is not square and symmetric, or holds infinite values; errors of
            another shape.

    Example::

        >>> import torch
        >>> matrix = torch.tensor([[2.0, 0.5], [0.5, -1.0]])
        >>> figure, axes = visualize_interactions(matrix, use_pyplot=False)
        >>> [text.get_text() for text in axes.texts][:2]
        ['+2.00', '−1.00']
        >>> [bool(bar.get_width() > 0) for bar in axes.patches]
        [True, False]
    """
    values, errors = _check(matrix, standard_error)
    num_players = len(values)
    labels = check_labels(names, num_players, False) if names is not None else _numbers(num_players)
    side = max(2.6, _CELL * num_players)
    fitting = (min(12.0, _NAME + side / (1 - _BARS) + 1.1), min(9.0, side + (1.5 if title else 1)))
    figure, axes = place_for(plt_fig_axis, fig_size or fitting, use_pyplot)
    across, high = room(axes)
    ground = inside(axes)
    name_room = min(_NAME, 0.25 * across)
    # The row of each player is followed by a gap and its bar, in units of cells.
    wide = num_players / (1 - _BARS)
    scale = centred(_beside_diagonal(values))
    colours = _colours(values, errors, scale, ground)
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    axes.set_xlim(-0.5, wide - 0.5)
    cell = (0.8 * (across - name_room) / wide, 0.72 * high / num_players)
    _write_singles(axes, values, cell, ground)
    _draw_bars(axes, values, wide, ground)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    shown = _some(labels, cell[1], 9 / 72)
    for i in shown:
        options: dict[str, Any] = {"transform": axes.get_yaxis_transform()}
        options |= {"ha": "right", "va": "center", "fontsize": 9}
        write(axes.text(-0.015, i, labels[i], **options), name_room, 1)
    below: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "va": "top", "fontsize": 8}
    half = (num_players - 1) / 2
    heads = (half, "half of the interaction"), ((num_players + wide) / 2 - 0.5, "sum of the row")
    for (x, text), share in zip(heads, (1 - _BARS, _BARS), strict=True):
        room_of_it = 0.76 * share * (across - name_room)
        write(axes.text(x, -0.02, text, ha="center", **below), room_of_it, 2)
    beside = axes.inset_axes((1.02, 0.0, 0.03, 1.0))
    mapped = ScalarMappable(scale, diverging(ground, (_NEGATIVE, _POSITIVE), numbered=False))
    add_colour_bar(figure, mapped, inches=0.75 * high, cax=beside)
    write(beside.set_ylabel(with_unit("half of the interaction", unit)), 0.75 * high)
    if title:
        set_title(axes, title, across - name_room)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def visualize_interaction_network(
    matrix: Array,
    positions: Array | None = None,
    names: Sequence[str] | None = None,
    *,
    standard_error: Array | None = None,
    most: int = 12,
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] = (5.2, 4.4),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw the strongest interactions of two players as lines between them.

    Lines are blue where players need each other, orange and dashed where each does what the other
    does, too, and the wider the stronger. The area of a player is that of the sum of its row, with
    k-SII of order 2 a Shapley value; it is blue, or orange if negative. From about 12 players on
    all pairs make a tangle, so only the strongest are drawn.

    Args:
        matrix: ``(M, M)``, as in :func:`visualize_interactions`.
        positions: ``(M, 2)`` where players stand, horizontal and vertical, such as sectors at their
            places in the Fourier plane. Default: None, on a circle
        names: M names. Default: None, ``"0"`` and so on
        standard_error: ``(M, M)``: pairs within 1.96 standard errors of zero are left out.
            Default: None
        most: At most so many lines. Default: 12
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. Default: (5.2, 4.4)
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, names that are not strings.
        ValueError: A matrix that is not square and symmetric, positions or errors of another shape,
            ``most`` below 1.

    Example::

        >>> import torch
        >>> matrix = torch.tensor([[2.0, 0.5, 0.0], [0.5, -1.0, -0.1], [0.0, -0.1, 1.0]])
        >>> figure, axes = visualize_interaction_network(matrix, most=1, use_pyplot=False)
        >>> len(axes.collections[0].get_segments())
        1
    """
    values, errors = _check(matrix, standard_error)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"most must be a number of lines, at least 1, got {most!r}")
    num_players = len(values)
    labels = check_labels(names, num_players, False) if names is not None else _numbers(num_players)
    places = _places(positions, num_players)
    figure, axes = place_for(plt_fig_axis, fig_size, use_pyplot)
    across, high = room(axes)
    ground = inside(axes)
    ends = [visible(colour, ground) for colour in (_POSITIVE, _NEGATIVE)]
    lines = _strongest(values, errors, most)
    largest = max((abs(values[i, j]) for i, j in lines), default=1.0)
    colours = [ends[int(values[i, j] < 0)] for i, j in lines]
    axes.add_collection(
        LineCollection(
            [places[[i, j]] for i, j in lines],
            colors=colours,
            linewidths=[0.8 + 4.2 * abs(values[i, j]) / largest for i, j in lines],
            linestyles=["solid" if values[i, j] > 0 else (0, (2, 1)) for i, j in lines],
            zorder=1,
        )
    )
    sums = np.nan_to_num(values).sum(1)
    area = np.abs(sums) / (np.abs(sums).max() or 1.0)
    axes.scatter(
        places[:, 0],
        places[:, 1],
        s=30 + 420 * area,
        c=[ends[int(value < 0)] for value in sums],
        edgecolors=[ink(ground)],
        linewidths=0.8,
        zorder=2,
    )
    axes.set_aspect("auto")
    axes.margins(0.2)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    _write_names(axes, places, labels, (across, high), ground)
    if title:
        set_title(axes, title, across)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _check(matrix: Array, standard_error: Array | None) -> tuple[Floats, Floats | None]:
    values = to_array(matrix, "matrix", ("(M, M)",), finite=False)
    if values.shape[0] != values.shape[1]:
        raise ValueError(f"matrix must be (M, M), got shape {values.shape}")
    if np.isinf(values).any():
        raise ValueError("matrix must hold finite values, or NaN where there is none")
    if not np.allclose(values, values.T, rtol=1e-3, atol=0, equal_nan=True):
        raise ValueError("matrix must be symmetric: half of an interaction on each side")
    if standard_error is None:
        return values, None
    errors = to_array(standard_error, "standard_error", ("(M, M)",), finite=False)
    if errors.shape != values.shape:
        raise ValueError(f"standard_error must be {values.shape} as matrix, got {errors.shape}")
    return values, errors


def _numbers(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def _beside_diagonal(values: Floats) -> Floats:
    beside: Floats = values.copy()
    np.fill_diagonal(beside, 0.0)
    return beside


def _colours(values: Floats, errors: Floats | None, scale: Normalize, ground: Colour) -> Floats:
    """Mix the colours of the cells ``(M, M, 3)``."""
    shares = scale(np.nan_to_num(_beside_diagonal(values)))
    mapped: Floats = np.asarray(
        diverging(ground, (_NEGATIVE, _POSITIVE), numbered=False)(shares), dtype=float
    )[..., :3].copy()
    if errors is not None:
        pale = np.abs(values) <= _WITHIN_ERROR * errors
        mapped[pale] = _PALE * mapped[pale] + (1 - _PALE) * np.array(ground)
    neutral = 0.9 * np.array(ground) + 0.1 * np.array(ink(ground))
    mapped[np.eye(len(values), dtype=bool) | np.isnan(values)] = neutral
    return mapped


def _write_singles(axes: Axes, values: Floats, cell: tuple[float, float], ground: Colour) -> None:
    """Write single players into their cells, all in letters of one size, if there is room."""
    texts = _short(values.diagonal())
    drawn = [
        axes.text(i, i, text, ha="center", va="center", fontsize=_NUMBER, color=ink(ground))
        for i, text in enumerate(texts)
    ]
    widest = max(width(text, text.get_text()) for text in drawn)
    size = min(_NUMBER, _NUMBER * 0.9 * cell[0] / widest, 0.75 * cell[1] * 72)
    for text in drawn:
        write(text)
        text.set_fontsize(size)
        # Never shortened: a number without its end is another one.
        text.set_visible(size >= _SMALLEST)
    for i, j in zip(*np.nonzero(np.isnan(values)), strict=True):
        if i != j and size >= _SMALLEST:
            options: dict[str, Any] = {"ha": "center", "va": "center", "color": ink(ground)}
            write(axes.text(j, i, "\N{EN DASH}", fontsize=size, **options))


def _short(values: Floats) -> list[str]:
    """Write numbers with as many decimals as the largest needs for three digits."""
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    plain = 1e-2 <= largest < 1e4
    decimals = max(0, 2 - int(np.floor(np.log10(largest)))) if plain else 2
    kind = f"+.{decimals}f" if plain else "+.2g"
    written = [f"{value:{kind}}".replace("-", "\N{MINUS SIGN}") for value in values]
    pairs = zip(values, written, strict=True)
    return ["\N{EN DASH}" if np.isnan(v) else "0" if v == 0 else text for v, text in pairs]


def _draw_bars(axes: Axes, values: Floats, wide: float, ground: Colour) -> None:
    """Draw the sum of each row beside it, around a line at zero."""
    num_players = len(values)
    sums = np.nan_to_num(values).sum(1)
    # Bars use the place between the table and the right edge, with a gap of half a cell.
    start, end = num_players - 0.5 + 0.06 * num_players, wide - 0.5
    low, high = min(0.0, sums.min()), max(0.0, sums.max())
    span = high - low
    unit = (end - start) / span if span > 0 else 0.0
    zero = start - low * unit if span > 0 else start
    colour = faded(ground, 4.5)
    axes.barh(np.arange(num_players), sums * unit, 0.7, left=zero, color=colour, linewidth=0)
    axes.plot([zero, zero], [-0.5, num_players - 0.5], color=colour, linewidth=0.8)
    axes.set_ylim(num_players - 0.5, -0.5)
    axes.set_xlim(-0.5, wide - 0.5)


def _some(labels: Sequence[str], inches: float, needed: float) -> range:
    """Return which rows have a name: all, or every so many where they would touch."""
    return range(0, len(labels), max(1, int(np.ceil(1.4 * needed / inches))))


def _places(positions: Array | None, num_players: int) -> Floats:
    """Return where players stand, in a square from -1 to 1."""
    if positions is None:
        angle = 2 * np.pi * np.arange(num_players) / num_players
        return np.stack([np.sin(angle), np.cos(angle)], 1)
    places = to_array(positions, "positions", ("(M, 2)",))
    if places.shape != (num_players, 2):
        raise ValueError(f"positions must be {(num_players, 2)}, got shape {places.shape}")
    # In the middle of the axes, at one scale in both directions.
    places = places - (places.max(0) + places.min(0)) / 2
    scaled: Floats = places / (np.abs(places).max() or 1.0)
    return scaled


def _strongest(values: Floats, errors: Floats | None, most: int) -> list[tuple[int, int]]:
    """Return the pairs to draw, the strongest last, on top."""
    beside = np.abs(np.nan_to_num(values))
    if errors is not None:
        beside[np.abs(values) <= _WITHIN_ERROR * np.nan_to_num(errors)] = 0.0
    pairs = [(i, j) for i in range(len(values)) for j in range(i) if beside[i, j] > 0]
    return sorted(pairs, key=lambda pair: float(beside[pair]))[-most:]


def _write_names(
    axes: Axes, places: Floats, labels: Sequence[str], size: tuple[float, float], ground: Colour
) -> None:
    """Write names beside the players, away from the middle, where they do not touch each other."""
    wide, tall = 1.95, 1.35
    axes.set_xlim(-wide, wide)
    axes.set_ylim(-tall, tall)
    inch = np.array(size) * 0.9 / (2 * np.array([wide, tall]))  # per unit
    gap = 0.17  # inches from the middle of a player, which can be as large
    taken: list[tuple[float, float, float, float]] = []
    for place, label in zip(places, labels, strict=True):
        x, y = place * inch
        upright = abs(place[0]) < 0.4 * abs(place[1])  # name above or below
        side = 1.0 if (place[1] if upright else place[0]) >= 0 else -1.0
        at = (x, y + side * gap) if upright else (x + side * gap, y)
        across = "center" if upright else "left" if side > 0 else "right"
        down = "center" if not upright else "bottom" if side > 0 else "top"
        free = 2 * (wide * inch[0] - abs(x)) if upright else wide * inch[0] - side * x - gap
        px, py = at[0] / inch[0], at[1] / inch[1]
        text = axes.text(px, py, label, ha=across, va=down, fontsize=8.5, color=ink(ground))
        write(text, max(0.3, float(free)), 1)
        long, high = width(text, text.get_text()), 0.17
        left = at[0] - {"left": 0.0, "center": 0.5, "right": 1.0}[across] * long
        low = at[1] - {"bottom": 0.0, "center": 0.5, "top": 1.0}[down] * high
        box = (left, low, left + long, low + high)
        clear = all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in taken)
        text.set_visible(clear)
        if clear:
            taken.append(box)
