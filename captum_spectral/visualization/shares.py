"""Draw, as a line, the share of a model's power that lies below each frequency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spectral.visualization._drawing import (
    Array,
    Floats,
    check_labels,
    rounding,
    show,
    to_array,
    to_frequencies,
    with_unit,
)
from captum_spectral.visualization._layout import add_legend, place_for, room, settle
from captum_spectral.visualization._style import COLOURS, faded, grid_style, inside, line_colours
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_cumulative_shares"]

_MARKERS = "osD^vPX"  # a second sign beside the colour
_LEGEND_SIZE = 9.0  # points


def visualize_cumulative_shares(
    shares: Array,
    frequencies: Array | None = None,
    labels: Sequence[str] | None = None,
    *,
    frequency_unit: str = "cycles/pixel",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] = (5.2, 3.4),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw what share of the attributions lies in the bands up to each frequency.

    The line of a model goes through the sum of the shares :math:`p_j` of all bands :math:`j` that
    end at or below the upper end of band :math:`i`, at that frequency; empty bands have no point.
    A model whose line rises at once rests on low frequencies, one whose line stays below the grey
    one leans on high frequencies. The grey line is an even spread over the bands, whose signed
    score is 0.

    The lines do not show how much there is to share (draw the attributions with
    :func:`visualize_band_attr` for that), nor bands that lower the output, which have no share.

    Args:
        shares: ``(M,)`` shares that sum to 1, as
            :meth:`captum_spectral.ImportanceResult.normalized` gives, or ``(N, M)`` for N models
            (at most 7).
        frequencies: ``(M, 2)`` lowest and highest frequency of every band, in any order, NaN for an
            empty band. None: the axis counts bands. Default: None
        labels: N names for the legend. None: ``"example 0"`` and so on where N > 1. Default: None
        frequency_unit: Unit of ``frequencies``. Default: "cycles/pixel"
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. Default: (5.2, 3.4)
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, labels that are not strings.
        ValueError: Shapes that do not fit each other, shares that are negative or do not sum to 1,
            a share of an empty band, more than 7 rows.

    Example::

        >>> import torch
        >>> shares = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])
        >>> figure, axes = visualize_cumulative_shares(
        ...     shares, labels=["smooth", "sharp"], use_pyplot=False)
        >>> [[round(float(y), 1) for y in line.get_ydata()] for line in axes.get_lines()[1:]]
        [[0.0, 0.7, 0.9, 1.0], [0.0, 0.2, 0.5, 1.0]]
    """
    values = to_array(shares, "shares", ("(M,)", "(N, M)"))
    one_row = values.ndim == 1
    values = np.atleast_2d(values)
    rows, num_bands = values.shape
    if rows > len(COLOURS):
        raise ValueError(f"shares has {rows} rows and at most {len(COLOURS)} can be told apart")
    off = rounding(shares)
    if values.min() < -off or np.abs(values.sum(1) - 1).max() > off:
        raise ValueError(
            "shares must not be negative and sum to 1 in every row, got a smallest share of "
            f"{values.min():.3g} and sums from {values.sum(1).min():.3g} to "
            f"{values.sum(1).max():.3g}; use result.normalized('positive')"
        )
    ranges = to_frequencies(frequencies, num_bands)
    names = check_labels(labels, rows, one_row, "shares")
    order, upper = _from_low_to_high(values, ranges, off)
    ends = np.arange(len(order) + 1.0) if upper is None else np.concatenate([[0.0], upper])
    figure, axes = place_for(plt_fig_axis, fig_size, use_pyplot)
    across, high = room(axes)
    colours = line_colours(axes)
    # (P + 1,): a line starts at 0 and has one point at the upper end of every band.
    even = np.arange(len(order) + 1) / len(order)
    grey = faded(inside(axes))
    handles: list[Artist] = [*axes.plot(ends, even, color=grey, linestyle="--", linewidth=1.0)]
    for row in range(rows):
        handles += axes.plot(
            ends,
            np.concatenate([[0.0], values[row, order].cumsum()]),
            color=colours[row],
            marker=_MARKERS[row],
            markersize=4.5,
            linewidth=1.6,
            clip_on=False,
            zorder=3,
        )
    axes.set_xlim(0, ends[-1])
    axes.set_ylim(0, 1)
    axes.tick_params(axis="x", pad=6)  # both axes have a label at the corner
    axes.set_yticks(np.linspace(0, 1, 5), [f"{y:.0%}" for y in np.linspace(0, 1, 5)])
    write(axes.set_ylabel("share of the bands below"), high)
    label = "bands" if upper is None else with_unit("frequency", frequency_unit)
    write(axes.set_xlabel(label), across)
    axes.grid(**grid_style(axes))
    axes.spines[["top", "right"]].set_visible(False)
    legend = add_legend(axes, handles[: 1 + len(names)], ["even spread", *names], size=_LEGEND_SIZE)
    if title:
        # The legend stands between axes and title.
        set_title(axes, title, across, pad=8 + 1.7 * _LEGEND_SIZE * legend)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _from_low_to_high(
    values: Floats, ranges: Floats | None, off: float
) -> tuple[npt.NDArray[np.intp], Floats | None]:
    """Return the bands of a line in their order, and their upper ends; None if bands are counted.

    A band without coefficients is left out. Bands may be given in any order and lie within each
    other: a band counts from its upper end on.
    """
    bands = np.arange(values.shape[1])
    if ranges is None:
        return bands, None
    there = np.isfinite(ranges).all(axis=1)
    lost = np.flatnonzero(~there & (np.abs(values).max(0) > off))
    if len(lost):
        raise ValueError(
            f"shares must be 0 for a band without frequencies, got {values[:, lost[0]].max():.3g} "
            f"for band {lost[0]}, whose frequencies are {ranges[lost[0]].tolist()}"
        )
    order = bands[there][np.lexsort((ranges[there, 0], ranges[there, 1]))]  # upper ends first
    if ranges[order, 1].max(initial=0.0) <= 0:  # at most the mean of the image: no axis to draw
        return bands, None
    return order, ranges[order, 1]
