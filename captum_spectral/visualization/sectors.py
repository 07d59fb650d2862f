"""Draw attributions of sectors at their places in the Fourier plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from captum_spectral.visualization._cells import (
    check_cells,
    diverging,
    side_of,
    told,
    write_value,
)
from captum_spectral.visualization._drawing import Array, Floats, centred, show, to_array, with_unit
from captum_spectral.visualization._layout import add_colour_bar, place_for, room, settle
from captum_spectral.visualization._style import faded, inside, outside
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_sectors"]

_NYQUIST = 0.5  # cycles/pixel, the edge of the plane along an axis
_EDGE = 0.52
_STEP = 2.0  # degrees from point to point of an arc, at most
_FIVE_TICKS = 2.6  # inches that five tick labels need
_ORDERS = {"l2": 2.0, "linf": np.inf, "l1": 1.0}
_TINY = 1e-6
_WIDE = 1.7  # width of the place of a number over its height


def visualize_sectors(
    values: Array,
    geometry: Array,
    standard_error: Array | None = None,
    *,
    norm: str = "l2",
    unit: str = "model output",
    num_standard_errors: float = 1.96,
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] = (5.4, 4.6),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw values of sectors on the Fourier plane: wedges of rings, coloured by their value.

    Zero frequency is in the centre. A sector holds frequencies and their negatives, so it is drawn
    on both sides of the centre, and its value is written on one. Blue raises the output, orange
    lowers it, with 0 in the middle of the colours. Directions are those of the photograph: the
    horizontal axis is that of vertical stripes. Large areas are many frequencies, not important
    ones: most of a photograph's energy is in the centre.

    Args:
        values: ``(M,)`` values of sectors, NaN where there is none.
        geometry: ``(M, 4)``: lowest and highest radius in cycles/pixel, beginning and end of the
            orientations in degrees, as :meth:`captum_spectral.features.Sectors.geometry` gives.
        standard_error: ``(M,)`` of ``values``, written below them where wedges have room. Sectors
            whose value is less than ``num_standard_errors`` of them from 0 are hatched. Default:
            None
        norm: That of the radii: ``"l2"`` (rings), ``"linf"`` (squares) or ``"l1"`` (diamonds).
            Default: "l2"
        unit: Unit of the values, e.g. ``"logits"``; ``""`` for a pure number. Default: "model
            output"
        num_standard_errors: See ``standard_error``; 1.96 is a 95 % interval of one sector where
            errors are normal and well known. Default: 1.96
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. Default: (5.4, 4.6)
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes; axes are in cycles/pixel, vertical frequency downwards.

    Raises:
        TypeError: Values that are not a real tensor or array.
        ValueError: Shapes that do not fit each other, infinite values, negative standard errors, a
            geometry that is none, an unknown ``norm``.

    Example::

        >>> import torch
        >>> from captum_spectral.features import Sectors
        >>> sectors, phi = Sectors(2, 4), torch.linspace(1, -0.4, 8)
        >>> figure, axes = visualize_sectors(
        ...     phi, sectors.geometry((224, 224)), unit="logits", use_pyplot=False)
        >>> len(axes.patches), axes.get_xlabel()  # a wedge for k, and one for -k
        (16, 'horizontal frequency (cycles/pixel)')
    """
    numbers, errors = check_cells(values, standard_error, "(M,)")
    places = _check_geometry(geometry, len(numbers))
    if norm not in _ORDERS:
        raise ValueError(f"norm must be 'linf', 'l2' or 'l1', got {norm!r}")
    if not num_standard_errors > 0:
        raise ValueError(f"num_standard_errors must be positive, got {num_standard_errors!r}")
    figure, axes = place_for(plt_fig_axis, fig_size, use_pyplot)
    across, high = room(axes)
    side = 0.7 * min(across, high)  # inches
    ground = inside(axes)
    colours = ScalarMappable(centred(numbers), diverging(ground))
    look: dict[str, Any] = {"edgecolor": faded(ground), "linewidth": 0.7}
    unsure = np.zeros(len(numbers), bool)
    if errors is not None:
        unsure = np.abs(numbers) < num_standard_errors * errors  # never where one is NaN
    filled = [ground if np.isnan(value) else colours.to_rgba(value) for value in numbers.tolist()]
    for sector, (low, outer, begin, end) in enumerate(places.tolist()):
        hatch = "////" if unsure[sector] else None
        whole = end - begin == 180  # k and -k together go all the way round
        for turn in (0,) if whole else (0, 180):
            angles = (begin + turn, begin + 360 if whole else end + turn)
            outline = _outline((low, outer), angles, norm)
            axes.add_patch(Polygon(outline, facecolor=filled[sector], hatch=hatch, **look))
    # A margin parts the labels of both axes at their corner.
    axes.set(xlim=(-_EDGE, _EDGE), ylim=(_EDGE, -_EDGE), aspect="equal")
    axes.spines[:].set_visible(False)
    ticks = [-0.5, -0.25, 0, 0.25, 0.5] if side > _FIVE_TICKS else [-0.5, 0, 0.5]
    axes.grid(False)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    write(axes.set_xlabel("horizontal frequency (cycles/pixel)"), side)
    write(axes.set_ylabel("vertical frequency (cycles/pixel)"), side)
    beside = axes.inset_axes((1.04, 0, 0.05, 1))
    add_colour_bar(figure, colours, inches=side, cax=beside)
    write(beside.set_ylabel(with_unit("attribution", unit)), side)
    above = 0.0  # points of a note between axes and title
    if unsure.any():
        note = f"hatched: within {num_standard_errors:.3g} standard errors of 0"
        colour = faded(outside(axes.figure), 7.0)
        text = axes.text(0, 1.015, note, transform=axes.transAxes, fontsize=8, color=colour)
        above = 12.0 + 10 * write(text, side).get_text().count("\n")
    if title:
        set_title(axes, title, across, pad=10 + above)
    settle(axes)
    side = side_of(axes) / (2 * _EDGE)
    for sector, (low, outer, begin, end) in enumerate(places.tolist()):
        lines = told(float(numbers[sector]), None if errors is None else float(errors[sector]))
        place, inches = _label_place((low, outer), (begin, end), norm, side)
        behind = filled[sector] if unsure[sector] else None
        write_value(axes, place, lines, inches, ground, behind=behind)
    show(use_pyplot)
    return figure, axes


def _outline(radii: tuple[float, float], angles: tuple[float, float], norm: str) -> Floats:
    """Return the corners ``(n, 2)`` of a wedge, cut at the edge of the plane; y is downwards."""
    begin, end = angles
    steps = max(2, int(np.ceil((end - begin) / _STEP)) + 1)
    # Squares and diamonds have corners at multiples of 45 degrees, and so has the plane.
    bends = 45 * np.arange(np.ceil(begin / 45), np.floor(end / 45) + 1)
    degrees = np.unique(np.concatenate([np.linspace(begin, end, steps), bends]))
    ways = np.stack([np.cos(np.radians(degrees)), -np.sin(np.radians(degrees))], 1)
    sizes = np.linalg.norm(ways, ord=_ORDERS[norm], axis=1)
    rim = _NYQUIST / np.abs(ways).max(1)  # where each way leaves the plane
    inner, outer = (np.minimum(radius / sizes, rim)[:, None] * ways for radius in radii)
    if end - begin == 360 and radii[0] == 0:
        inner = inner[:0]  # a disc has no seam
    corners: Floats = np.concatenate([outer, inner[::-1]])
    return corners


def _label_place(
    radii: tuple[float, float], angles: tuple[float, float], norm: str, side: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where the value of a wedge is written, and the inches that it may take."""
    begin, end = angles
    if end - begin == 180 and radii[0] == 0:  # a disc
        return (0.0, 0.0), (1.5 * min(radii[1], _NYQUIST) * side, min(radii[1], _NYQUIST) * side)
    middle = (begin + end) / 2
    line = _outline(radii, (middle, middle + _TINY), norm)
    outer, inner = line[0], line[-1]
    # Nearer to the arc, where a wedge from the centre is wider.
    place = 0.5 * (outer + inner) if radii[0] else 0.66 * outer
    # The largest box there, wider than high, whose rim is within the wedge.
    rim = np.array([(x, y) for x in (-1, -0.5, 0, 0.5, 1) for y in (-1, 1)]) * (_WIDE / 2, 0.5)
    high = 0.0
    for candidate in np.linspace(0.01, 0.5, 99):
        points = place + candidate * rim
        radius = np.linalg.norm(points, ord=_ORDERS[norm], axis=1)
        angle = np.degrees(np.arctan2(-points[:, 1], points[:, 0]))
        off = np.abs((angle - middle + 180) % 360 - 180)
        within = (radius >= radii[0]) & (radius <= radii[1]) & (off <= (end - begin) / 2)
        if not (within & (np.abs(points).max(1) <= _NYQUIST)).all():
            break
        high = float(candidate)
    return (float(place[0]), float(place[1])), (_WIDE * high * side, high * side)


def _check_geometry(geometry: Array, count: int) -> Floats:
    """Return radii and angles ``(M, 4)``; raise unless they are such."""
    places = to_array(geometry, "geometry", ("(M, 4)",), finite=False)
    if places.shape != (count, 4):
        raise ValueError(
            f"geometry must be (M, 4) with radii and angles of each of the {count} sectors, got "
            f"shape {places.shape}"
        )
    low, outer, begin, end = places.T
    if not ((low >= 0) & (outer >= low) & (end > begin) & (end - begin <= 180)).all():
        raise ValueError(
            "geometry must hold a lowest radius of at least 0, a highest one not below it, and two "
            "angles up to 180 degrees apart, as Sectors(...).geometry((H, W)) gives"
        )
    return places
