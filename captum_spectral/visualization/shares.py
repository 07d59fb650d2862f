"""Draw, as a line, the share of a model's power that lies below each frequency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spectral.visualization._drawing import (
    LINE_COLOURS,
    Array,
    check_labels,
    new_figure,
    show,
    to_array,
    to_frequencies,
    with_unit,
)

__all__ = ["visualize_cumulative_shares"]

_MARKERS = "osD^vPX"  # a second sign beside the colour
_ROUNDING = 1e-6
_NAMES_INSIDE = 4  # lines; they leave a corner free


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

    The line of a model goes through :math:`\sum_{j \le i} p_j` at the upper end of band :math:`i`.
    A model whose line rises at once rests on low frequencies, one whose line stays below the grey
    one leans on high frequencies. The grey line is an even spread over the bands, whose signed
    score is 0.

    The lines do not show how much there is to share (draw the attributions with
    :func:`visualize_band_attr` for that), nor bands that lower the output, which have no share.

    Args:
        shares: ``(M,)`` shares that sum to 1, as
            :meth:`captum_spectral.ImportanceResult.normalized` gives, or ``(N, M)`` for N models
            (at most 7).
        frequencies: ``(M, 2)`` lowest and highest frequency of every band. None: the axis counts
            bands. Default: None
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
            more than 7 rows.

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
    if rows > len(LINE_COLOURS):
        raise ValueError(
            f"shares has {rows} rows and at most {len(LINE_COLOURS)} can be told apart"
        )
    if values.min() < -_ROUNDING or np.abs(values.sum(1) - 1).max() > _ROUNDING:
        raise ValueError(
            "shares must not be negative and sum to 1 in every row, got a smallest share of "
            f"{values.min():.3g} and sums from {values.sum(1).min():.3g} to "
            f"{values.sum(1).max():.3g}; use result.normalized('positive')"
        )
    ranges = to_frequencies(frequencies, num_bands)
    names = check_labels(labels, rows, one_row, "shares")
    # (M + 1,): a line starts at 0 and has one point at the upper end of every band.
    ends = np.arange(num_bands + 1.0)
    if ranges is not None:
        ends = np.concatenate([[0.0], ranges[:, 1]])
    if plt_fig_axis is None:
        figure = new_figure(fig_size, use_pyplot)
        axes = figure.add_subplot()
    else:
        figure, axes = plt_fig_axis
    even = np.arange(num_bands + 1) / num_bands
    axes.plot(ends, even, color="0.55", linestyle="--", linewidth=1.0, label="even spread")
    for row in range(rows):
        axes.plot(
            ends,
            np.concatenate([[0.0], values[row].cumsum()]),
            color=LINE_COLOURS[row],
            marker=_MARKERS[row],
            markersize=4.5,
            linewidth=1.6,
            label=names[row] if names else None,
            clip_on=False,
            zorder=3,
        )
    axes.set_xlim(0, ends[-1])
    axes.set_ylim(0, 1)
    axes.set_yticks(np.linspace(0, 1, 5), [f"{y:.0%}" for y in np.linspace(0, 1, 5)])
    axes.set_ylabel("share of the bands below")
    axes.set_xlabel("bands" if ranges is None else with_unit("frequency", frequency_unit))
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}  # where many names would hide lines
    axes.legend(
        **(beside if rows > _NAMES_INSIDE else {"loc": "lower right"}), frameon=False, fontsize=9
    )
    if title:
        axes.set_title(title)
    show(use_pyplot)
    return figure, axes
