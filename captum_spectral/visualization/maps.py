"""Draw attribution maps of several methods side by side with their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from captum_spectral.visualization._drawing import (
    Array,
    Floats,
    check_display_range,
    check_labels,
    check_named,
    draw_picture,
    show,
    to_array,
)
from captum_spectral.visualization._layout import new_figure, room
from captum_spectral.visualization._style import faded, ink, outside
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_maps"]

# Inches of a new figure: panel, gap, line of text over the panels, names at the left, bar below.
_PANEL, _GAP, _LINE, _NAMES, _BELOW = 1.55, 0.06, 0.19, 0.3, 0.62
_LEAST = 0.3  # inches of a panel
_NOTE = 2.8  # inches of a figure, for the note under it
_SHORT = 10  # characters; longer names may take two lines


def visualize_maps(
    images: Array,
    maps: Mapping[str, Array],
    labels: Sequence[str] | None = None,
    *,
    outlier_perc: float = 2,
    cmap: str | Colormap = "RdBu_r",
    title: str | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, npt.NDArray[np.object_]]:
    r"""Show images and their maps by several methods: a row per image, a column per method.

    A map is summed over its channels, as in ``captum.attr.visualization``, and every panel has its
    own scale: the colours end at the ``100 - outlier_perc`` percentile of the panel's absolute
    values. So compare *where* methods point and with which sign. The figure does not show how
    strong one is beside another, because their units differ. A map of absolute values is red all
    over, which says nothing about the direction.

    Args:
        images: ``(N, C, H, W)`` with C = 1 or 3, in display range [0, 1].
        maps: Attributions ``(N, C', H, W)`` by the name of their method.
        labels: N names for the rows. None: ``"example 0"`` and so on where N > 1. Default: None
        outlier_perc: Per cent of the pixels of a panel that may be beyond the colours, as in
            Captum. Default: 2
        cmap: Diverging colour map; 0 gets its middle. Default: "RdBu_r" (red is positive, blue
            negative; safe for colour-blind readers)
        title: Title of the figure. Default: None
        fig_size: Width and height in inches. None: to fit the panels. Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and ``(N, 1 + methods)`` array of axes, those of the images first.

    Raises:
        TypeError: Values that are not a real tensor or array, labels that are not strings, maps
            without names.
        ValueError: Shapes that do not fit each other, NaN or infinite values, images outside
            [0, 1], no maps, ``outlier_perc`` outside 0..100.

    Example::

        >>> import torch
        >>> images, gradient = torch.rand(2, 3, 32, 32), torch.randn(2, 3, 32, 32)
        >>> figure, axes = visualize_maps(
        ...     images, {"Saliency": gradient, "input x gradient": images * gradient},
        ...     labels=["cat", "dog"], use_pyplot=False)
        >>> axes.shape, [ax.get_title() for ax in axes[0]]
        ((2, 3), ['image', 'Saliency', 'input x gradient'])
    """
    pictures = to_array(images, "images", ("(N, C, H, W)",))
    if pictures.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got shape {pictures.shape}")
    check_display_range(pictures, "images")
    shown = _summed(maps, pictures)
    names = check_labels(labels, len(pictures), False, "images")
    if not 0 <= outlier_perc < 100:
        raise ValueError(f"outlier_perc must be at least 0 and below 100, got {outlier_perc}")

    figure, axes, bar = _new_grid(
        pictures.shape,
        list(shown),
        labelled=bool(names),
        title=title,
        fig_size=fig_size,
        use_pyplot=use_pyplot,
    )
    for row, picture in enumerate(pictures):
        draw_picture(axes[row, 0], picture)
        if names:
            label = axes[row, 0].set_ylabel(names[row], fontsize=9)
            write(label, room(axes[row, 0])[1], lines=1)
        for ax, values in zip(axes[row, 1:], shown.values(), strict=True):
            _draw_map(ax, values[row], outlier_perc, cmap)
    for ax, name in zip(axes[0], ["image", *shown], strict=True):
        set_title(ax, name, room(ax)[0], fontsize=9, pad=4)
    colours = ScalarMappable(Normalize(-1, 1), cmap)
    figure.colorbar(colours, cax=bar, orientation="horizontal", ticks=[-1, 0, 1])
    bar.tick_params(colors=ink(outside(figure)))
    bar.grid(False)
    bar.set_xticklabels(["negative", "0", "positive"], fontsize=8.5)
    note = "attribution, each panel on its own scale"
    colour = faded(outside(figure), 7.0)
    write(bar.set_xlabel(note, fontsize=8.5, color=colour, labelpad=1))
    show(use_pyplot)
    return figure, axes


def _summed(maps: Mapping[str, Array], pictures: Floats) -> dict[str, Floats]:
    """Sum the maps over channels, to ``(N, H, W)`` each; raise unless they fit the images."""
    check_named(maps, "maps", '{"Saliency": attributions}')
    if not maps:
        raise ValueError("maps is empty; give at least one method's attributions")
    count, _, *size = pictures.shape
    summed = {}
    for name, values in maps.items():
        array = to_array(values, f"maps[{name!r}]", ("(N, C, H, W)",))
        if (len(array), *array.shape[2:]) != (count, *size):
            raise ValueError(
                f"maps[{name!r}] must be (N, C, H, W) with the N, H and W of images, "
                f"{pictures.shape}, got shape {array.shape}"
            )
        summed[name] = array.sum(1)
    return summed


def _draw_map(ax: Axes, values: Floats, outlier_perc: float, cmap: str | Colormap) -> None:
    """Draw one map ``(H, W)`` on its own scale, with 0 in the middle of the colours."""
    # If nearly all pixels are 0, so is the percentile: then the largest value, or 1 for zeros.
    largest = float(np.percentile(np.abs(values), 100 - outlier_perc)) or np.abs(values).max()
    scale = Normalize(-1, 1)
    ax.imshow(values / (largest or 1), cmap=cmap, norm=scale, interpolation="nearest")
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set(color=faded(outside(ax.figure)), linewidth=0.6)


def _new_grid(
    shape: tuple[int, ...],
    names: list[str],
    labelled: bool,
    title: str | None,
    fig_size: tuple[float, float] | None,
    use_pyplot: bool,
) -> tuple[Figure, npt.NDArray[np.object_], Axes]:
    """Make axes for the panels and the colour bar, placed in inches."""
    rows, columns = shape[0], 1 + len(names)
    left = _NAMES if labelled else _GAP
    # Over the panels: two lines for the title, and one or two for the names of the methods.
    head = (2.5 * _LINE if title else 0) + _LINE * (1 + any(len(n) > _SHORT for n in names))
    if fig_size is None:
        height = _PANEL * min(max(shape[-2] / shape[-1], 0.5), 2)
        fig_size = (
            left + columns * (_PANEL + _GAP),
            head + rows * (height + _GAP) + _BELOW,
        )
    # Solved for the size of a panel, which is another one in a figure of the caller's size.
    width = (fig_size[0] - left) / columns - _GAP
    height = (fig_size[1] - head - _BELOW) / rows - _GAP
    if min(width, height) < _LEAST or fig_size[0] < _NOTE:
        least = (
            max(_NOTE, left + columns * (_LEAST + _GAP)),
            head + _BELOW + rows * (_LEAST + _GAP),
        )
        raise ValueError(
            f"fig_size={tuple(fig_size)} has no room for {rows} by {columns} panels; use at least "
            f"({least[0]:.1f}, {least[1]:.1f}), in inches"
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

    axes = np.empty((rows, columns), dtype=object)
    for row, column in np.ndindex(rows, columns):
        axes[row, column] = place(
            left + column * (width + _GAP), head + row * (height + _GAP), width, height
        )
    length = min(2.4, fig_size[0] / 2)  # of the colour bar, centred below the panels
    bar = place((fig_size[0] - length) / 2, fig_size[1] - _BELOW + 0.08, length, 0.1)
    return figure, axes, bar
