"""Draw which frequencies the layers of a model amplify, suppress and fold back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from captum_spectral.visualization._drawing import Array, Floats, check_labels, show, to_array
from captum_spectral.visualization._layout import (
    add_colour_bar,
    add_legend,
    place_for,
    room,
    settle,
)
from captum_spectral.visualization._rows import AROUND, ROW, letters, write_names
from captum_spectral.visualization._style import COLOURS, faded, grid_style, inside, visible
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_responses"]

_NAMES, _NOTES = 2.2, 0.65  # inches beside the layers, at most
_BAR, _GAP = 0.13, 0.15  # inches of the colour bar's width, and between it and the notes
_HALF = 0.42  # of a row that its cells fill, up and down
_HATCH = COLOURS[3]


def visualize_responses(
    gains: Array,
    frequencies: Array,
    labels: Sequence[str] | None = None,
    strides: Sequence[float] | None = None,
    aliasing: Sequence[float] | None = None,
    *,
    relative: bool = True,
    dynamic_range: float = 30.0,
    cmap: str | Colormap = "viridis",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw the gain of layers (rows, the first on top) over the frequency of the image.

    Gains are in decibels, :math:`20 \log_{10}` of amplitudes. The frequency axis is logarithmic,
    because each stride halves what a layer sees; the lowest band, which holds the mean, reaches to
    its left end. Frequencies that the stride of a layer folds back, those above the Nyquist
    frequency of its output, are hatched.

    Args:
        gains: ``(N, M)`` gains of bands, amplitudes that are not negative; NaN where there is none.
        frequencies: ``(N, M, 2)`` lowest and highest frequency of each band in cycles per image
            pixel, NaN for a band without any.
        labels: N names of layers. None: ``"layer 0"`` and so on. Default: None
        strides: N strides; 1 where nothing is folded. None: none are marked. Default: None
        aliasing: N shares of energy from 0 to 1 that are folded, written beside the layers with a
            stride. Default: None
        relative: Let the largest gain of each layer be 0 dB; False compares layers, 0 dB being a
            gain of 1. Default: True
        dynamic_range: Decibels from the brightest to the darkest colour. Default: 30.0
        cmap: Sequential colour map. Default: "viridis"
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. None: to fit N. Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, names that are not strings.
        ValueError: Shapes that do not fit each other, gains that are negative or infinite, strides
            below 1, shares outside of [0, 1], no frequency above 0, a range that is not positive.

    Example::

        >>> import torch
        >>> gains = torch.tensor([[1.0, 0.5], [2.0, 2.0]])
        >>> ends = torch.tensor([[0.0, 0.25], [0.25, 0.5]])
        >>> figure, axes = visualize_responses(
        ...     gains, torch.stack([ends, ends / 2]), ["stem", "next"], [2, 1], use_pyplot=False)
        >>> [text.get_text() for text in axes.texts]
        ['stem', 'next', '÷ 2']
    """
    values = to_array(gains, "gains", ("(N, M)",), finite=False)
    if np.isinf(values).any() or (values < 0).any():
        raise ValueError("gains must be amplitudes: finite and not negative, or NaN for none")
    ends = to_array(frequencies, "frequencies", ("(N, M, 2)",), finite=False)
    if ends.shape != (*values.shape, 2):
        raise ValueError(
            f"frequencies must be (N, M, 2) with the ends of each band, here {(*values.shape, 2)}, "
            f"got shape {ends.shape}"
        )
    if not (ends > 0).any():
        raise ValueError("frequencies must hold one above 0")
    if not dynamic_range > 0:
        raise ValueError(f"dynamic_range must be positive decibels, got {dynamic_range}")
    names = check_labels(labels, len(values), False, "gains")
    if labels is None:
        names = [f"layer {i}" for i in range(len(values))]
    steps = _per_layer(strides, "strides", len(values), (1.0, math.inf))
    shares = _per_layer(aliasing, "aliasing", len(values), (0.0, 1.0))
    size = fig_size or (8.5, max(2.6, 1.2 * AROUND + ROW * (len(values) + 2 * bool(title))))
    figure, axes = place_for(plt_fig_axis, size, use_pyplot)
    across, high = room(axes)
    sides = min(_NAMES, 0.25 * across), min(_NOTES, 0.12 * across)  # inches of names and notes
    wide = max(0.3 * across, across - sum(sides) - 0.8)
    decibels = _decibels(values, relative, dynamic_range)
    scale = Normalize(decibels.max() - dynamic_range, decibels.max())
    cells, of_cells = _cells(ends, decibels)
    left = min(cell[1] for cell in cells) / 2
    colours = colormaps[cmap] if isinstance(cmap, str) else cmap
    axes.add_collection(
        PolyCollection(
            [_box(i, max(low, left), end) for i, low, end in _numbered(cells, of_cells)],
            facecolors=[
                colours(scale(decibels[i, j])) if np.isfinite(values[i, j]) else "0.6"
                for i, j in of_cells
            ],
            linewidths=0,
        )
    )
    folded = _draw_folded(axes, ends, steps, left)
    _label_axes(axes, left, max(cell[1] for cell in cells), wide, len(values))
    write_names(axes, names, sides[0], high)
    _write_notes(axes, steps, shares, sides[1], high)
    bar = axes.inset_axes((1 + (sides[1] + _GAP) / wide, 0, _BAR / wide, 1))
    tall = max(0.4 * high, high - AROUND)
    add_colour_bar(figure, ScalarMappable(scale, colours), inches=0.7 * tall, cax=bar)
    write(bar.set_ylabel("gain (dB, each layer's largest = 0)" if relative else "gain (dB)"), tall)
    rows = 0
    if folded is not None:
        name = "above the Nyquist frequency of the output: folded back"
        rows = add_legend(axes, [folded], [name], size=8.0)
    if title:
        set_title(axes, title, wide, pad=8 + 14 * rows)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _decibels(gains: Floats, relative: bool, dynamic_range: float) -> Floats:
    """Return gains in decibels, at least ``dynamic_range`` below the largest; 0 where none is."""
    known = np.nan_to_num(gains)
    largest = known.max(1, keepdims=True) if relative else known.max(keepdims=True)
    ratio = known / np.where(largest > 0, largest, 1.0)
    found = 20 * np.log10(ratio.clip(10 ** (-dynamic_range / 20)))
    if not relative and largest.max() > 0:
        found = found + 20 * np.log10(largest)
    return np.asarray(found)


def _cells(ends: Floats, decibels: Floats) -> tuple[list[tuple[float, float]], list[Any]]:
    """Return where each band begins and ends, without gaps to the next, and its row and band."""
    cells, places = [], []
    for i, bands in enumerate(ends):
        there = [j for j in np.argsort(bands[:, 0]) if np.isfinite(bands[j]).all()]
        for j, after in zip(there, [*there[1:], None], strict=True):
            low, end = bands[j]
            if after is not None:
                end = max(end, bands[after, 0])
            if end > 0:
                cells.append((float(low), float(end)))
                places.append((i, int(j)))
    return cells, places


def _numbered(cells: Any, places: Any) -> list[tuple[int, float, float]]:
    return [(i, low, end) for (i, _), (low, end) in zip(places, cells, strict=True)]


def _box(row: int, low: float, end: float) -> list[tuple[float, float]]:
    return [(low, row - _HALF), (end, row - _HALF), (end, row + _HALF), (low, row + _HALF)]


def _draw_folded(axes: Axes, ends: Floats, strides: Floats | None, left: float) -> Patch | None:
    """Hatch what strides fold back; return what the legend shows, or None."""
    if strides is None:
        return None
    highest = [np.nanmax(bands, initial=0.0) for bands in ends]
    boxes = [
        _box(i, max(end / stride, left), end)
        for i, (end, stride) in enumerate(zip(highest, strides, strict=True))
        if stride > 1 and end > left
    ]
    if not boxes:
        return None
    look: dict[str, Any] = {"hatch": "/////", "facecolor": "none", "linewidth": 0.8}
    axes.add_collection(PolyCollection(boxes, edgecolor=_HATCH, **look))
    return Patch(edgecolor=visible(_HATCH, inside(axes)), **look)


def _label_axes(axes: Axes, left: float, right: float, wide: float, rows: int) -> None:
    """Give the frequency axis ticks an octave or more apart, as many as there is room for."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(left, right)
    axes.set_ylim(rows - 0.4, -0.6)
    octaves = math.floor(math.log2(right / left) + 1e-9)
    apart = math.ceil((octaves + 1) / max(2, int(wide / 0.6)))
    ticks = [right / 2**k for k in range(0, octaves + 1, apart)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda f, _: f"{f:.3g}"))
    axes.set_yticks([])
    axes.grid(False)
    axes.grid(axis="x", **grid_style(axes))
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    write(axes.set_xlabel("frequency (cycles per image pixel)"), wide)


def _write_notes(
    axes: Axes, strides: Floats | None, shares: Floats | None, inches: float, high: float
) -> None:
    """Write the strides, and what they fold, beside the layers that have one."""
    if strides is None:
        return
    size, apart = letters(len(strides), high)
    look: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    colour, last = faded(inside(axes), 7.0), -math.inf
    for i in np.flatnonzero(strides > 1).tolist():
        if i - last < apart:
            continue
        note = f"÷ {strides[i]:g}"
        if shares is not None and np.isfinite(shares[i]):
            note += f", {100 * shares[i]:.0f} %"
        text = axes.text(1.015, i, note, fontsize=size, ha="left", color=colour, **look)
        write(text, inches, lines=1)
        last = i


def _per_layer(
    given: Sequence[float] | None, name: str, rows: int, limits: tuple[float, float]
) -> Floats | None:
    """Return one number for each layer, NaN where it has none; None where none are given."""
    if given is None:
        return None
    values = np.asarray([float(x) for x in given], dtype=np.float64)
    if len(values) != rows:
        raise ValueError(
            f"{name} must have one number for each of {rows} layers, got {len(values)}"
        )
    outside = (values < limits[0]) | (values > limits[1])
    if outside.any():
        raise ValueError(
            f"{name} must lie from {limits[0]:g} to {limits[1]:g}, got {values[outside][0]:g}"
        )
    return values
