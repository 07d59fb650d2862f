"""Draw the sensitivity of models to every frequency: planes, and their radial profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from captum_spectral.visualization._drawing import (
    Array,
    Floats,
    centred,
    check_named,
    show,
    to_array,
)
from captum_spectral.visualization._layout import (
    add_colour_bar,
    add_legend,
    new_figure,
    plain_numbers,
    room,
)
from captum_spectral.visualization._style import COLOURS, faded, grid_style, line_colours, outside
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_heat_maps"]

_PANEL, _GAP = 1.7, 0.14  # inches
_LINE = 0.2
_LEFT, _RIGHT = 0.85, 0.95  # for the labels of the profile, and for the colour bar
_PROFILE, _BELOW = 1.4, 0.65
_SHARE = 0.45  # of the height of both, where there is little: the profiles
_LEAST = 0.6  # inches of a panel
_WIDEST = 3.2  # inches of all panels, at least


class _Measured(Protocol):
    """A result with a map and its unit, such as FourierHeatMap."""

    @property
    def value(self) -> Tensor: ...

    @property
    def unit(self) -> str: ...


def visualize_heat_maps(
    maps: Mapping[str, Array | _Measured],
    *,
    unit: str | None = None,
    cmap: str | Colormap | None = None,
    title: str | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, npt.NDArray[np.object_]]:
    r"""Draw Fourier heat maps side by side on one colour scale, and their radial profiles below.

    Zero frequency is in the centre, vertical frequency runs downwards, and the edges are 0.5
    cycles/pixel. The profile is the mean over all frequencies of a ring around it; beyond 0.5 only
    diagonal ones are left. Frequencies that were not asked for (NaN) are grey.

    Waves of all frequencies have the same norm, so a map says what disturbs a model, not what
    images or perturbations hold there.

    Args:
        maps: What :func:`captum_spectral.robustness.fourier_heat_map` returns, by the name of its
            model; or ``(H, W)`` maps in the order of ``torch.fft.fft2``. At most 7, of any sizes.
        unit: What the maps hold. None: that of the results, and of plain maps "error rate".
            Default: None
        cmap: Colour map. None: "viridis", and for values of both signs that are no rates
            "coolwarm" with 0 in its middle. Default: None
        title: Title of the figure. Default: None
        fig_size: Width and height in inches. None: to fit the maps. Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and ``(N + 1,)`` axes: those of the maps, then of the profiles.

    Raises:
        TypeError: Maps that are not a real tensor or array, or without names.
        ValueError: Infinite values, a map without any value, no maps or more than 7, results of
            different units, a ``fig_size`` without room.

    Example::

        >>> import torch
        >>> maps = {"first": torch.rand(8, 8), "second": torch.rand(8, 8)}
        >>> figure, axes = visualize_heat_maps(maps, use_pyplot=False)
        >>> [ax.get_title() for ax in axes[:2]], axes[2].get_ylabel()
        (['first', 'second'], 'error rate')
    """
    planes = _planes(maps)
    known = np.concatenate([plane[np.isfinite(plane)] for plane in planes.values()])
    unit = _unit_of(maps) if unit is None else unit
    is_signed = known.min() < 0 < known.max() and not unit.endswith("rate")
    if cmap is None and is_signed:
        cmap, scale = "coolwarm", centred(known)
    else:
        end = known.max() if known.max() > known.min() else known.min() + 1
        cmap, scale = cmap or "viridis", Normalize(known.min(), end)
    figure, axes, bar = _new_grid(planes, title, fig_size, use_pyplot)
    ground = outside(figure)
    for ax, (name, plane) in zip(axes, planes.items(), strict=False):
        ax.imshow(
            np.fft.fftshift(plane), cmap=cmap, norm=scale, interpolation="nearest", aspect="auto"
        )
        ax.set_facecolor("0.6")
        ax.grid(False)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set(color=faded(ground), linewidth=0.6)
        set_title(ax, name, room(ax)[0], fontsize=9, pad=4)
    add_colour_bar(figure, ScalarMappable(scale, cmap), inches=room(bar)[1], cax=bar)
    _draw_profiles(axes[-1], planes, unit)
    show(use_pyplot)
    return figure, axes


def _draw_profiles(ax: Axes, planes: Mapping[str, Floats], unit: str) -> None:
    """Draw the mean of every ring, one line for each map."""
    across, high = room(ax)
    handles: list[Artist] = []
    largest, end = 0.0, 0.5
    for colour, plane in zip(line_colours(ax), planes.values(), strict=False):
        f, means = _profile(plane)
        handles += ax.plot(f, means, color=colour, lw=1.5)
        largest, end = max(largest, float(np.abs(means).max())), max(end, float(f[-1]))
    ax.set_xlim(0, end)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(plain_numbers(largest))
    write(ax.set_xlabel("frequency (cycles/pixel)"), across)
    write(ax.set_ylabel(unit), high)
    ax.grid(**grid_style(ax))
    ax.spines[["top", "right"]].set_visible(False)
    if len(planes) > 1:
        add_legend(ax, handles, list(planes), size=8.0)


def _profile(plane: Floats) -> tuple[Floats, Floats]:
    """Return the frequencies of rings, and the mean of a map on each."""
    down, across = (np.fft.fftfreq(n) for n in plane.shape)
    side = min(plane.shape)
    ring = np.floor(np.hypot(down[:, None], across) * side + 0.5 + 1e-9).astype(int)
    there = np.isfinite(plane)
    counts = np.bincount(ring[there])
    means = np.bincount(ring[there], plane[there]) / counts.clip(1)
    kept = counts > 0
    return np.flatnonzero(kept) / side, means[kept]


def _unit_of(maps: Mapping[str, Array | _Measured]) -> str:
    """Return the unit of results; plain maps have none of their own."""
    units = {
        str(given.unit) for given in maps.values() if not isinstance(given, Tensor | np.ndarray)
    }
    if len(units) > 1:
        raise ValueError(
            f"maps must be of one unit to share a colour scale, got {', '.join(sorted(units))}; "
            "draw a figure for each"
        )
    return units.pop() if units else "error rate"


def _planes(maps: Mapping[str, Array | _Measured]) -> dict[str, Floats]:
    check_named(maps, "maps", '{"a model": heat}')
    if not 1 <= len(maps) <= len(COLOURS):
        raise ValueError(f"maps must hold 1 to {len(COLOURS)} models, got {len(maps)}")
    planes = {}
    for name, given in maps.items():
        is_result = hasattr(given, "value") and hasattr(given, "unit")
        values = cast(_Measured, given).value if is_result else cast(Array, given)
        plane = to_array(values, f"maps[{name!r}]", ("(H, W)",), finite=False)
        if np.isinf(plane).any() or np.isnan(plane).all():
            raise ValueError(f"maps[{name!r}] must hold finite values, NaN where there is none")
        planes[name] = plane
    return planes


def _new_grid(
    planes: Mapping[str, Floats],
    title: str | None,
    fig_size: tuple[float, float] | None,
    use_pyplot: bool,
) -> tuple[Figure, npt.NDArray[np.object_], Axes]:
    """Make axes for the maps, the profiles and the colour bar, placed in inches."""
    count = len(planes)
    head = (2.5 * _LINE if title else 0.06) + 2 * _LINE
    # Names too long to share a row stand one below the other.
    legend = 0.1 + (_LINE * count if count > 1 else 0.0)
    if fig_size is None:
        side = max(_PANEL, _WIDEST / count)
        fig_size = (
            _LEFT + count * side + (count - 1) * _GAP + _RIGHT,
            head + side + legend + _PROFILE + _BELOW,
        )
    width = (fig_size[0] - _LEFT - _RIGHT + _GAP) / count - _GAP
    free = fig_size[1] - head - legend - _BELOW
    profile = min(_PROFILE, _SHARE * free)
    height = free - profile
    if min(width, height) < _LEAST or width * count < 2 * _LEAST:
        least = (
            _LEFT + _RIGHT + max(count * (_LEAST + _GAP) - _GAP, 2 * _LEAST),
            head + _LEAST / (1 - _SHARE) + legend + _BELOW,
        )
        raise ValueError(
            f"fig_size={tuple(fig_size)} has no room for {count} maps and their profiles; use at "
            f"least ({least[0]:.1f}, {least[1]:.1f}), in inches"
        )
    figure = new_figure(fig_size, use_pyplot)
    figure.set_layout_engine("none")
    if title:
        above = 1 - 0.06 / fig_size[1]
        set_title(figure, title, fig_size[0] - 0.2, y=above, va="top", fontsize=11)

    def place(x: float, y: float, w: float, h: float) -> Axes:
        """Add axes whose upper left corner is ``x``, ``y`` inches from that of the figure."""
        across, down = fig_size
        # matplotlib counts shares of the figure from below.
        return figure.add_axes((x / across, 1 - (y + h) / down, w / across, h / down))

    axes = np.empty(count + 1, dtype=object)
    for i in range(count):
        axes[i] = place(_LEFT + i * (width + _GAP), head, width, height)
    whole = fig_size[0] - _LEFT - _RIGHT
    axes[count] = place(_LEFT, head + height + legend, whole, profile)
    return figure, axes, place(_LEFT + whole + 0.12, head, 0.12, height)
