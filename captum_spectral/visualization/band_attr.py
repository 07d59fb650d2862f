"""Draw a bar chart of how much each band adds to the output."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spectral.visualization._drawing import (
    Array,
    Floats,
    check_labels,
    range_labels,
    show,
    to_array,
    to_frequencies,
    with_unit,
)
from captum_spectral.visualization._layout import add_legend, place_for, plain_numbers, room, settle
from captum_spectral.visualization._style import COLOURS, faded, grid_style, ink, inside
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_band_attr"]

_GROUP_WIDTH = 0.8
_LEGEND_SIZE = 9.0  # points
_TICK_SIZE = 8.5
_LINE = 0.2  # inches of a row of the legend or of the title
_MOST_PER_PIXEL = math.sqrt(0.5) + 1e-6  # the corner of the Fourier plane; beyond are other units
_WIDEST = 14.4  # inches of a new figure; beyond 30 bands the bars become narrower
_EDGED = 0.06  # inches; the edges of narrower bars would hide their colours


def visualize_band_attr(
    attributions: Array,
    frequencies: Array | None = None,
    standard_error: Array | None = None,
    labels: Sequence[str] | None = None,
    *,
    unit: str = "model output",
    frequency_unit: str | None = None,
    num_standard_errors: float = 1.0,
    whisker_label: str | None = None,
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw the attribution of every band as a bar over frequency.

    A bar above zero is a band that raises the output, a bar below zero one that lowers it. With
    ``standard_error`` :math:`s_i`, whiskers reach from :math:`\phi_i - k s_i` to
    :math:`\phi_i + k s_i` with :math:`k` = ``num_standard_errors``, which the legend repeats.

    The chart does not show how much energy a band holds, nor how bands work together: two bands
    that only help jointly share the credit. Bars are as wide for a narrow band as for a wide one;
    read the width of a band off its tick label. Whiskers are the error of sampling coalitions
    or examples, whichever ``standard_error`` was computed from, and of nothing else.

    Args:
        attributions: ``(M,)`` band values, or ``(N, M)`` for N examples or models side by side (at
            most 7), in the unit of the output.
        frequencies: ``(M, 2)`` lowest and highest frequency of every band, as
            :func:`captum_spectral.band_frequencies` gives, NaN for an empty band. None: tick labels
            are band numbers alone. Default: None
        standard_error: Standard errors of the shape and in the unit of ``attributions``.
            Default: None
        labels: N names for the legend. None: ``"example 0"`` and so on where N > 1. Default: None
        unit: Unit of the attributions, e.g. ``"logits"`` or ``"nats"``; ``""`` for a pure number.
            Default: "model output"
        frequency_unit: Unit of ``frequencies``, e.g. ``"Hz"``. None: "cycles/pixel", and none if a
            frequency is higher than pixels can hold (:math:`\sqrt{1/2}`). Default: None
        num_standard_errors: Half length of a whisker in standard errors. For 95% intervals 1.96
            where there are many draws, and more where there are few: 12.7 for two, 2.8 for five,
            see :func:`captum_spectral.coalitions.half_width`. Default: 1.0
        whisker_label: What the legend calls them. None: ``"±1 standard error"``, with their number.
            Default: None
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. None: to fit M bands. Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, labels that are not strings.
        ValueError: Shapes that do not fit each other, NaN or infinite values, negative standard
            errors, more than 7 rows.

    Example::

        >>> import torch
        >>> values = torch.tensor([3.1, 0.8, -0.1])
        >>> figure, axes = visualize_band_attr(values, unit="logits", use_pyplot=False)
        >>> [f"{bar.get_height():.1f}" for bar in axes.patches]
        ['3.1', '0.8', '-0.1']
        >>> axes.get_ylabel()
        'attribution (logits)'

    References:
        M. Okabe, K. Ito, *Color Universal Design*, 2008 (the colours).
    """
    values = to_array(attributions, "attributions", ("(M,)", "(N, M)"))
    errors = _check_errors(standard_error, values, num_standard_errors)
    one_row = values.ndim == 1
    values = np.atleast_2d(values)
    rows, num_bands = values.shape
    ranges = to_frequencies(frequencies, num_bands)
    if rows > len(COLOURS):
        raise ValueError(
            f"attributions has {rows} rows and at most {len(COLOURS)} can be told apart as bars; "
            "draw their mean with its standard error, or several figures"
        )
    names = check_labels(labels, rows, one_row)

    # Inches per band: room for its tick label, and for a bar of each row.
    per_band = max(0.7 if num_bands <= 8 else 0.48, 0.13 * rows + 0.25)
    fitting = (min(max(4.8, 1.1 + num_bands * per_band), _WIDEST), 3.4)
    figure, axes = place_for(plt_fig_axis, fig_size or fitting, use_pyplot)
    across, high = room(axes)
    ground = inside(axes)
    width = _GROUP_WIDTH / rows  # bars of one band stand side by side, centred on its tick
    edge = 0.5 if width * across / num_bands > _EDGED else 0.0
    handles: list[Artist] = []
    for row in range(rows):
        x = np.arange(num_bands) - _GROUP_WIDTH / 2 + width * (row + 0.5)
        bars = axes.bar(
            x,
            values[row],
            width,
            color=COLOURS[row],
            edgecolor=faded(ground, 9.0),
            linewidth=edge,
            zorder=2,
        )
        handles += [bars] if names else []  # type: ignore[list-item]
    whiskers = None
    for row in range(rows if errors is not None else 0):
        x = np.arange(num_bands) - _GROUP_WIDTH / 2 + width * (row + 0.5)
        whiskers = axes.errorbar(
            x,
            values[row],
            num_standard_errors * errors[row],  # type: ignore[index]
            fmt="none",
            ecolor=ink(ground),
            elinewidth=1.0,
            capsize=min(3.0, 9.0 * width),
            zorder=3,
        )
    axes.axhline(0, color=ink(ground), linewidth=0.8, zorder=2.5)
    if frequency_unit is None:
        highest = 0.0 if ranges is None else float(np.nan_to_num(ranges).max())
        frequency_unit = "cycles/pixel" if highest <= _MOST_PER_PIXEL else ""
    _label_bands(axes, num_bands, ranges, frequency_unit)
    write(axes.set_ylabel(with_unit("attribution", unit)), high)
    axes.yaxis.set_major_formatter(plain_numbers(np.abs(values).max()))
    axes.grid(False)  # that of the style, on both axes
    axes.grid(axis="y", **grid_style(axes))
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    if whiskers is not None:
        handles.append(whiskers)  # type: ignore[arg-type]
        names = [*names, whisker_label or _whisker_label(num_standard_errors)]
    rows_of_legend = add_legend(axes, handles, names, size=_LEGEND_SIZE) if handles else 0
    if title:
        # The legend stands between axes and title.
        title = set_title(
            axes, title, across, pad=8 + 1.7 * _LEGEND_SIZE * rows_of_legend
        ).get_text()
    if plt_fig_axis is None and fig_size is None:
        lines_of_title = title.count("\n") if title else 0
        figure.set_figheight(fitting[1] + _LINE * (max(0, rows_of_legend - 1) + lines_of_title))
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _label_bands(axes: Axes, num_bands: int, ranges: Floats | None, frequency_unit: str) -> None:
    """Label bands by number and range, or every kth band if there is no room for all of them."""
    per_band = room(axes)[0] / num_bands  # inches
    ticks, label, upright = [str(i) for i in range(num_bands)], "band", True
    letter = 0.6 * _TICK_SIZE / 72  # inches, at 0.6 em
    if ranges is not None:
        label = with_unit("band and its frequencies", frequency_unit)
        ends = range_labels(ranges)
        widest = (max(map(len, ends)) + 1) * letter  # and a gap
        # As they are, else broken after the dash, else turned by 90 degrees.
        upright = per_band > 0.65 * widest
        if widest > per_band > 0.65 * widest:
            ends = [end.replace("–", "–\n") for end in ends]
        separator = "\n" if upright else ":  "
        ticks = [f"{tick}{separator}{end}" for tick, end in zip(ticks, ends, strict=True)]
    # A turned label takes a line; one number needs a gap to the next.
    needed = 1.4 * _TICK_SIZE / 72 if not upright else letter * (len(str(num_bands - 1)) + 1)
    step = 1 if upright and ranges is not None else max(1, math.ceil(needed / per_band))
    axes.set_xticks(np.arange(0, num_bands, step), ticks[::step], rotation=0 if upright else 90)
    axes.set_xlim(-0.6, num_bands - 0.4)
    axes.tick_params(axis="x", length=0, labelsize=_TICK_SIZE)
    write(axes.set_xlabel(label), room(axes)[0])


def _whisker_label(num_standard_errors: float) -> str:
    """Name the whiskers in the legend."""
    plural = "" if num_standard_errors == 1 else "s"
    return f"±{num_standard_errors:g} standard error{plural}"


def _check_errors(
    standard_error: Array | None, values: Floats, num_standard_errors: float
) -> Floats | None:
    """Return the standard errors as ``(N, M)``; raise if they do not fit the values."""
    if not 0 < num_standard_errors < np.inf:
        raise ValueError(f"num_standard_errors must be positive, got {num_standard_errors!r}")
    if standard_error is None:
        return None
    errors = to_array(standard_error, "standard_error", ("(M,)", "(N, M)"))
    if errors.shape != values.shape:
        raise ValueError(
            f"standard_error must have the shape of attributions, {values.shape}, got "
            f"{errors.shape}"
        )
    if errors.min() < 0:
        raise ValueError(f"standard_error must not be negative, got {errors.min():g}")
    return np.atleast_2d(errors)
