"""Draw an image and its bands, framed in the colour of their attributions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from captum_spectral.visualization._drawing import (
    Array,
    Floats,
    centred,
    check_display_range,
    draw_picture,
    range_labels,
    show,
    signed,
    to_array,
    to_frequencies,
    with_unit,
)
from captum_spectral.visualization._layout import (
    add_colour_bar,
    given_place,
    new_figure,
    room,
    settle,
)
from captum_spectral.visualization._style import faded, outside
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_bands"]

_VISIBLE = 1e-2  # differences below this share of the display range are not an error
_HAS_MEAN = 1e-4  # of the display range; the mean of a band without DC is a rounding error
_ROUNDING = 1e-6  # of the display range; a band below it is a rounding error
_FRAME = 4.5  # points
# Inches of a new figure: panel, room to its right, for a line of text, under it; figure edge, bar.
_PANEL, _GAP, _LINE, _BELOW, _MARGIN, _BAR = 1.7, 0.2, 0.15, 0.3, 0.15, 1.3


def visualize_bands(
    image: Array,
    bands: Array,
    attributions: Array,
    frequencies: Array | None = None,
    *,
    unit: str = "model output",
    frequency_unit: str = "cycles/pixel",
    cmap: str | Colormap = "coolwarm",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, npt.NDArray[np.object_]] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, npt.NDArray[np.object_]]:
    r"""Show an image next to its bands, each framed in the colour of its attribution.

    The band that holds the mean of the image is shown as it is. A band :math:`x_i` without the mean
    is signed and mostly faint; it is shown around mid-grey, stretched to fill the range:

    .. math:: \tfrac12 + g_i\, x_i, \qquad
        g_i = \frac{1/2}{\text{99.5th percentile of } |x_i|}

    The gain :math:`g_i` is written under its panel. Frames and values say what matters to the
    model, panels say what a band looks like. Nothing says how strong a band is: because of the
    gain, a panel full of contrast may be a band that is invisible in the image. A frame belongs
    to the whole band, so no place inside a panel is more important than another. Save the figure
    at 300 dpi or more: with fewer dots than pixels the highest bands fade to grey.

    Args:
        image: ``(C, H, W)`` with C = 1 or 3, in display range [0, 1].
        bands: ``(M, C, H, W)``, the bands of ``image`` as ``split_bands(image[None])[0]`` gives;
            they sum to ``image``.
        attributions: ``(M,)`` band values in the unit of the output.
        frequencies: ``(M, 2)`` lowest and highest frequency of every band, as
            :func:`captum_spectral.band_frequencies` gives, NaN for an empty band. Default: None
        unit: Unit of the attributions, e.g. ``"logits"`` or ``"nats"``; ``""`` for a pure number.
            Default: "model output"
        frequency_unit: Unit of ``frequencies``. Default: "cycles/pixel"
        cmap: Diverging colour map; 0 gets its middle. Default: "coolwarm" (red raises the output,
            blue lowers it; safe for colour-blind readers)
        title: Title of the figure, or of the image if ``plt_fig_axis`` is given. Default: None
        plt_fig_axis: Figure and array of at least M + 1 axes to draw in: the first for the image,
            the next for the bands. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. None: to fit M and the image.
            Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and ``(M + 1,)`` array of axes, the image's first.

    Raises:
        TypeError: Values that are not a real tensor or array.
        ValueError: Shapes that do not fit each other, NaN or infinite values, an image outside
            [0, 1], bands that do not sum to it, too few axes.

    Example::

        >>> import torch
        >>> image = torch.rand(3, 32, 32)
        >>> low = image.mean((1, 2), keepdim=True).expand(3, 32, 32)
        >>> figure, axes = visualize_bands(
        ...     image, torch.stack([low, image - low]), torch.tensor([2.0, -0.5]), use_pyplot=False
        ... )
        >>> [ax.get_title() for ax in axes]
        ['image', 'band 0: +2', 'band 1: −0.5']
        >>> axes[1].get_xlabel()
        'shown as is'
    """
    picture, layers, values = _check(image, bands, attributions)
    ranges = to_frequencies(frequencies, len(values))
    if plt_fig_axis is None:
        lines = (3 if title else 0, 1 if ranges is None else 2)
        figure, axes, bar = _new_grid(len(values), picture.shape[-2:], lines, fig_size, use_pyplot)
        if title:
            across, down = figure.get_size_inches()
            place = {"y": 1 - 0.08 / down, "va": "top", "fontsize": 11}
            set_title(figure, title, across - 0.2, **place)
    else:
        figure, given = given_place(plt_fig_axis)
        axes = np.asarray(given, dtype=object).ravel()
        if len(axes) <= len(values):
            raise ValueError(
                f"plt_fig_axis must have {len(values) + 1} axes, for the image and for each of the "
                f"{len(values)} bands, got {len(axes)}"
            )
        axes = axes[: len(values) + 1]

    colours = ScalarMappable(centred(values), cmap)
    draw_picture(axes[0], picture)
    own = plt_fig_axis is None
    displayed = [_displayable(band) for band in layers]
    for ax, (shown, _), value in zip(axes[1:], displayed, values, strict=True):
        draw_picture(ax, shown)
        _frame(ax, colours.to_rgba(value))
    label = with_unit("attribution", unit)
    if own:
        upright = _rows(len(values)) == 1
        length = room(bar)[1 if upright else 0]
        add_colour_bar(figure, colours, inches=length, horizontal=not upright, cax=bar)
        bar.tick_params(labelsize=8.5)
        named = bar.set_ylabel(label, fontsize=9) if upright else bar.set_xlabel(label, fontsize=9)
    else:
        length = room(axes[0])[1]
        # matplotlib would push narrow panels, and the texts around them, to the side of the bar.
        bar = add_colour_bar(
            figure, colours, inches=length, ax=list(axes), fraction=0.04, pad=0.02, panchor=False
        )
        length = room(bar)[1]
        named = bar.set_ylabel(label)
    write(named, length)
    if not own:
        settle(axes[0])
    # A layout leaves no room for the widths of titles: they follow it.
    texts = [[title if title and not own else "image"]]
    texts += [[f"band {i}: {signed(value)}"] for i, value in enumerate(values)]
    if ranges is not None:
        for i, name in enumerate(range_labels(ranges)):
            texts[1 + i].append(name if np.isnan(ranges[i]).any() else f"{name} {frequency_unit}")
    for i, (ax, parts) in enumerate(zip(axes, texts, strict=True)):
        _write_around(ax, parts, displayed[i - 1][1] if i else "", alone=own)
    if not own:
        settle(axes[0])
    show(use_pyplot)
    return figure, axes


def _check(image: Array, bands: Array, attributions: Array) -> tuple[Floats, Floats, Floats]:
    """Return the three arrays; raise unless their shapes and values fit each other."""
    picture = to_array(image, "image", ("(C, H, W)",), hint=_one_at_a_time("image", image))
    layers = to_array(bands, "bands", ("(M, C, H, W)",), hint=_one_at_a_time("bands", bands))
    values = to_array(attributions, "attributions", ("(M,)",), hint="; one row of (B, M) at a time")
    if len(picture) not in (1, 3):
        raise ValueError(
            f"image must have 1 or 3 channels, (C, H, W), got shape {picture.shape}"
            + ("; use image.permute(2, 0, 1)" if picture.shape[-1] in (1, 3) else "")
        )
    if layers.shape[1:] != picture.shape:
        raise ValueError(
            f"bands must be (M, C, H, W) with the (C, H, W) of image, {picture.shape}, got shape "
            f"{layers.shape}"
        )
    if len(values) != len(layers):
        raise ValueError(
            f"attributions must have one value for each of the {len(layers)} bands, got "
            f"{len(values)}"
        )
    check_display_range(picture, "image")
    missing = float(np.abs(layers.sum(0) - picture).max())
    if missing > _VISIBLE:
        raise ValueError(
            f"bands must sum to image, got a difference of up to {missing:.3g}; split the image "
            "that is shown, not the normalised input of the model: split_bands(image[None])[0]"
        )
    return picture, layers, values


def _one_at_a_time(name: str, x: Array) -> str:
    return f"; one example at a time: {name}[0]" if getattr(x, "ndim", 0) > 3 else ""


def _displayable(band: Floats) -> tuple[Floats, str]:
    """Return the band in display range, and a note on how it was scaled."""
    if np.abs(band.mean(axis=(-2, -1))).max() > _HAS_MEAN:
        return band, "shown as is"
    strengths = np.quantile(np.abs(band), [0.995, 1.0])  # some pixels may be clipped
    if strengths[1] < _ROUNDING:
        return np.full_like(band, 0.5), "zero in this image"
    gain = 0.5 / strengths[strengths >= _ROUNDING][0]  # the largest if nearly all pixels are 0
    return 0.5 + gain * band, f"contrast × {gain:.0f}" if gain >= 9.95 else f"contrast × {gain:.1f}"


def _write_around(ax: Axes, above: list[str], below: str, *, alone: bool) -> None:
    """Write lines of text over a panel and one under it, as wide as the panel.

    In a figure of its own every panel has room for just these lines, elsewhere there may be more.
    """
    across, most = room(ax)[0] + (_GAP if alone else 0.0), 1 if alone else 3
    fitted = [set_title(ax, part, across, most, fontsize=9).get_text() for part in above]
    ax.set_title("\n".join(fitted), fontsize=9, pad=8)
    note = faded(outside(ax.figure), 7.0)
    write(ax.set_xlabel(below, fontsize=8, color=note, labelpad=7), across, most)


def _frame(ax: Axes, colour: npt.ArrayLike) -> None:
    """Draw a thick frame with a thin edge, so that a colour like the background's is still seen."""
    frame = Rectangle(
        (0, 0),
        1,
        1,
        transform=ax.transAxes,
        fill=False,
        edgecolor=tuple(np.asarray(colour, dtype=float)),
        linewidth=2 * _FRAME,  # the inner half is under the picture
        clip_on=False,
        zorder=-1,
    )
    edge = faded(outside(ax.figure), 9.0)
    frame.set_path_effects([Stroke(linewidth=2 * _FRAME + 1.2, foreground=edge), Normal()])
    ax.add_patch(frame)


def _rows(num_bands: int) -> int:
    """Return the number of rows, of 4 or 5 bands, whichever leaves fewer gaps; longer beyond 25."""
    # -n % k panels stay empty in the last row of k.
    columns = 5 if -num_bands % 5 < -num_bands % 4 else 4
    return math.ceil(num_bands / max(columns, math.ceil(math.sqrt(num_bands))))


def _new_grid(
    num_bands: int,
    size: tuple[int, ...],
    lines: tuple[int, int],
    fig_size: tuple[float, float] | None,
    use_pyplot: bool,
) -> tuple[Figure, npt.NDArray[np.object_], Axes]:
    """Make axes for the image, the bands and the colour bar, placed in inches.

    The image is on the left, as large as four panels if the bands have two rows or more, with the
    colour bar under it; next to a single row the colour bar is on the right. ``lines`` are the
    numbers of lines of text over the figure and over each panel.
    """
    rows = _rows(num_bands)
    columns = math.ceil(num_bands / rows)
    span = min(rows, 2)  # the image is as wide and as high as so many panels
    head, above = lines[0] * _LINE, 0.15 + lines[1] * _LINE
    # Along each side: so many panels of one size, and what does not grow with them.
    across, gaps = columns + span, columns * _GAP + 2 * _MARGIN + (_BAR if rows == 1 else 0)
    texts = rows * (above + _BELOW) + head
    if fig_size is None:
        aspect = size[1] / size[0]
        width = _PANEL * min(max(aspect, 1.0), 2.0)  # wide enough for the text over it
        height = min(width / aspect, 2 * _PANEL)
        fig_size = (across * width + gaps, rows * height + texts)
    # Solved for the size of a panel, which is another one in a figure of the caller's size.
    total_width, total_height = fig_size
    width, height = (total_width - gaps) / across, (total_height - texts) / rows
    if min(width, height) <= 0:
        raise ValueError(
            f"fig_size={fig_size} has no room for {num_bands} bands: their labels alone take "
            f"{gaps:.1f} by {texts:.1f} inches"
        )
    figure = new_figure(fig_size, use_pyplot)
    figure.set_layout_engine("none")

    def place(x: float, y: float, w: float, h: float) -> Axes:
        """Add axes whose upper left corner is ``x``, ``y`` inches from that of the figure."""
        bottom = 1 - (y + h) / total_height  # matplotlib counts shares of the figure from below
        return figure.add_axes((x / total_width, bottom, w / total_width, h / total_height))

    left, top = _MARGIN + span * width + _GAP, head + above
    axes = [place(_MARGIN, top, span * width, span * height)]
    for i in range(num_bands):
        row, column = divmod(i, columns)
        x, y = left + column * (width + _GAP), top + row * (height + above + _BELOW)
        axes.append(place(x, y, width, height))
    if rows == 1:
        bar = place(left + columns * (width + _GAP), top, 0.1, height)
    else:
        bar = place(2 * _MARGIN, top + span * height + 0.12, span * width - 2 * _MARGIN, 0.1)
    return figure, np.array(axes, dtype=object), bar
