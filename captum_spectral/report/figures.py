"""Figures of explanations, as the contents of files; no display is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_spectral.coalitions import half_width
from captum_spectral.features import paint, split_bands
from captum_spectral.report.layout import as_file
from captum_spectral.studies import Explanation
from captum_spectral.visualization import (
    visualize_band_attr,
    visualize_bands,
    visualize_spectrum,
)
from captum_spectral.visualization.text import set_title

__all__ = ["FORMATS", "figure_of_explanation", "figure_of_summary"]

FORMATS = ("png", "pdf", "svg", "jpg", "jpeg")
_DPI = 120
_CELL = 6.0  # inches; width of a photograph's cell in a summary


def figure_of_explanation(
    explained: Explanation,
    title: str,
    file_format: str = "png",
    others: Mapping[str, Tensor] | None = None,
) -> bytes:
    """Draw the photograph, its bands, their values as bars and as colours on its spectrum.

    Args:
        explained: The explanation.
        title: Title of the figure.
        file_format: One of ``FORMATS``. Default: "png"
        others: Name to further ``(M,)`` attributions, as bars beside, without whiskers.
            Default: None

    Returns:
        The content of the file.
    """
    picture, note = _as_picture(explained.picture)
    title += note
    num_bands = len(explained.values)
    rows = math.ceil(num_bands / max(4, math.ceil(math.sqrt(num_bands))))
    columns = math.ceil(num_bands / rows)
    span = min(rows, 2)  # of the photograph, in cells of the bands
    width = max(9, 1 + 2 * (columns + span))
    figure = Figure(figsize=(width, 4.2 + 2.5 * rows), layout="constrained")
    set_title(figure, title, width - 0.2)
    halves = figure.subfigures(2, 1, squeeze=False, height_ratios=[3.8, 2.5 * rows], hspace=0.02)
    above, beneath = halves[:, 0]
    bars, spectrum = above.subplots(1, 2, width_ratios=[1.6, 1])
    values, labels = explained.values, None
    if others:
        values, labels = torch.stack([values, *others.values()]), ["Shapley value", *others]
    _bars(
        values,
        None if others else explained.errors,
        explained.frequencies,
        (figure, bars),
        labels,
        degrees_of_freedom=explained.degrees_of_freedom,
    )
    visualize_spectrum(
        paint(explained.values[None], explained.mask, picture[None])[0],
        picture,
        unit="logits",
        plt_fig_axis=(figure, spectrum),
        use_pyplot=False,
    )
    grid = beneath.add_gridspec(rows, columns + span, wspace=0.08)
    cells = [grid[i // columns, span + i % columns] for i in range(num_bands)]
    visualize_bands(
        picture,
        split_bands(picture[None], explained.mask)[0],
        explained.values,
        frequencies=explained.frequencies,
        unit="logits",
        plt_fig_axis=(
            figure,
            np.array([beneath.add_subplot(c) for c in (grid[:span, :span], *cells)]),
        ),
        use_pyplot=False,
    )
    return as_file(figure, file_format, _DPI)


def figure_of_summary(explanations: Mapping[str, Explanation], file_format: str = "png") -> bytes:
    """Draw the values of several photographs on one scale, and their mean.

    Args:
        explanations: Name of a photograph to its explanation, all with the same bands.
        file_format: One of ``FORMATS``. Default: "png"

    Returns:
        The content of the file.
    """
    values = torch.stack([explained.values for explained in explanations.values()])
    with_mean = len(values) > 1
    rows = math.ceil((len(values) + with_mean) / 2)
    figure = Figure(figsize=(2 * _CELL, 0.8 + 2.5 * rows), layout="constrained")
    figure.suptitle("What each frequency band adds to the logit of the predicted class")
    cells = figure.subfigures(rows, 2, wspace=0.04, hspace=0.04, squeeze=False).ravel()
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    margin = 0.08 * (high - low)
    charts = []
    for cell, (name, explained) in zip(cells, explanations.items(), strict=False):
        thumbnail, chart = cell.subplots(1, 2, width_ratios=[1, 2.2])
        picture, note = _as_picture(explained.picture)
        thumbnail.imshow(picture.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray")
        thumbnail.set_axis_off()
        title = f"{name}: {explained.class_name}, probability {explained.probability:.2f}{note}"
        _bars(explained.values, None, None, (figure, chart))
        charts.append((chart, title))
    if with_mean:
        note, chart = cells[len(values)].subplots(1, 2, width_ratios=[1, 2.2])
        note.set_axis_off()
        note.text(0.5, 0.5, _legend(next(iter(explanations.values()))), ha="center", va="center")
        error = values.std(0) / math.sqrt(len(values))
        _bars(values.mean(0), error, None, (figure, chart))
        charts.append((chart, f"mean of the {len(values)} photographs"))
    for chart, title in charts:
        chart.set_ylim(low - margin, high + margin)
        set_title(chart, title, _CELL - 0.5, fontsize=10, loc="right")
    return as_file(figure, file_format, _DPI)


def _as_picture(x: Tensor) -> tuple[Tensor, str]:
    """Return an input ``(C, H, W)`` as 1 or 3 channels to look at, and a remark if it has others.

    Two channels are shown as their mean, more than three by the first three: the colours, beside
    which infrared, depth or a mask comes last.
    """
    if len(x) in (1, 3):
        return x, ""
    if len(x) == 2:
        return x.mean(0, keepdim=True), " (shown: the mean of its 2 channels)"
    return x[:3], f" (shown: the first 3 of its {len(x)} channels)"


def _legend(explained: Explanation) -> str:
    first, last = explained.frequencies[0].tolist(), explained.frequencies[-1].tolist()
    return (
        "frequencies\n(cycles/pixel)\n\n"
        f"band 0\n{first[0]:.2f} to {first[1]:.2f}\n...\n"
        f"band {len(explained.frequencies) - 1}\n{last[0]:.2f} to {last[1]:.2f}"
    )


def _bars(
    values: Tensor,
    errors: Tensor | None,
    frequencies: Tensor | None,
    place: tuple[Figure, Axes],
    labels: list[str] | None = None,
    degrees_of_freedom: float | None = None,
) -> None:
    reach, whisker_label = 1.0, None
    if degrees_of_freedom is not None and errors is not None:
        law = "" if math.isinf(degrees_of_freedom) else ", Student's t"
        reach, whisker_label = half_width(degrees_of_freedom), f"95% interval{law}"
    visualize_band_attr(
        values,
        frequencies,
        errors,
        labels,
        unit="logits",
        frequency_unit="cycles/pixel",
        num_standard_errors=reach,
        whisker_label=whisker_label,
        plt_fig_axis=place,
        use_pyplot=False,
    )
