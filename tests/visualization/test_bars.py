"""Bars of bands and lines of their cumulative shares."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from drawings import FREQUENCIES, VALUES, heights, legend_texts, tick_labels
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from captum_spectral.visualization import (
    visualize_band_attr,
    visualize_bands,
    visualize_cumulative_shares,
)

LAYERS = torch.full((4, 1, 8, 8), 0.2)

# --------------------------------------------------------------------------- bars


def test_bars_have_the_heights_of_the_values_and_stand_over_band_numbers():
    _, axes = visualize_band_attr(VALUES, use_pyplot=False)
    assert heights(axes) == pytest.approx(VALUES.tolist())
    assert [bar.get_center()[0] for bar in axes.patches] == pytest.approx([0, 1, 2, 3])
    assert tick_labels(axes) == ["0", "1", "2", "3"]
    assert axes.get_xlabel() == "band"
    assert axes.get_ylabel() == "attribution (model output)"
    assert axes.get_legend() is None


@pytest.mark.parametrize("place", [lambda axes: axes, lambda axes: (axes, axes.figure)])
def test_a_place_is_a_figure_with_its_axes(place):
    axes = Figure().add_subplot()
    for draw in (
        lambda **place: visualize_band_attr(VALUES, **place),
        lambda **place: visualize_bands(LAYERS.sum(0), LAYERS, VALUES, **place),
    ):
        with pytest.raises(
            TypeError, match=r"a figure and its axes, such as \(axes.figure, axes\)"
        ):
            draw(plt_fig_axis=place(axes), use_pyplot=False)
    assert (
        visualize_band_attr(VALUES, plt_fig_axis=[axes.figure, axes], use_pyplot=False)[1] is axes
    )


def test_a_line_marks_zero():
    _, axes = visualize_band_attr(VALUES, use_pyplot=False)
    assert [list(line.get_ydata()) for line in axes.lines] == [[0, 0]]


def test_units():
    _, axes = visualize_band_attr(
        VALUES, FREQUENCIES, unit="nats", frequency_unit="cycles/degree", use_pyplot=False
    )
    assert axes.get_ylabel() == "attribution (nats)"
    assert axes.get_xlabel() == "band and its frequencies (cycles/degree)"
    for scale, label in ((1, " (cycles/pixel)"), (2**0.5, " (cycles/pixel)"), (8000, "")):
        _, axes = visualize_band_attr(VALUES, scale * FREQUENCIES, use_pyplot=False)
        assert axes.get_xlabel() == "band and its frequencies" + label
    _, axes = visualize_band_attr(VALUES, unit="", use_pyplot=False)
    assert axes.get_ylabel() == "attribution"


def test_tick_labels_carry_the_frequencies():
    _, axes = visualize_band_attr(VALUES, FREQUENCIES, use_pyplot=False)
    assert tick_labels(axes) == ["0\n0.00–0.12", "1\n0.12–0.24", "2\n0.25–0.37", "3\n0.38–0.50"]


def test_narrow_bands_get_the_decimals_that_tell_them_apart():
    frequencies = torch.tensor([[0, 0.003], [0.004, 0.009], [0.009, 0.5]])
    _, axes = visualize_band_attr(VALUES[:3], frequencies, use_pyplot=False)
    assert tick_labels(axes) == ["0\n0.000–0.003", "1\n0.004–0.009", "2\n0.009–0.500"]


def test_a_band_without_frequencies_is_called_empty():
    frequencies = FREQUENCIES.clone()
    frequencies[1] = torch.nan
    _, axes = visualize_band_attr(VALUES, frequencies, use_pyplot=False)
    assert tick_labels(axes)[1] == "1\nempty"


@pytest.mark.parametrize(("num_bands", "width"), [(4, 4.8), (8, 6), (16, 9), (8, 3.5), (16, 6)])
def test_tick_labels_never_overlap(num_bands, width):
    edges = torch.linspace(0, 0.5, num_bands + 1)
    frequencies = torch.stack([edges[:-1], edges[1:]], 1)
    figure, axes = visualize_band_attr(
        torch.ones(num_bands), frequencies, fig_size=(width, 4), use_pyplot=False
    )
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    for left, right in pairwise(boxes):
        assert left.x1 < right.x0


def test_rows_stand_side_by_side_with_their_labels():
    values = torch.stack([VALUES, 2 * VALUES, -VALUES])
    _, axes = visualize_band_attr(values, labels=["a", "b", "c"], use_pyplot=False)
    assert heights(axes) == pytest.approx(values.flatten().tolist())
    assert legend_texts(axes) == ["a", "b", "c"]
    bars = sorted(axes.patches, key=lambda bar: bar.get_x())
    for left, right in pairwise(bars):
        assert left.get_x() + left.get_width() <= right.get_x() + 1e-9
    assert len({to_hex(bar.get_facecolor()) for bar in bars}) == 3


def test_rows_without_labels_are_numbered():
    _, axes = visualize_band_attr(torch.stack([VALUES, VALUES]), use_pyplot=False)
    assert legend_texts(axes) == ["example 0", "example 1"]
    _, axes = visualize_band_attr(VALUES[None], use_pyplot=False)
    assert axes.get_legend() is None
    _, axes = visualize_band_attr(VALUES, labels=["a"], use_pyplot=False)
    assert legend_texts(axes) == ["a"]


@pytest.mark.parametrize(
    ("factor", "said"), [(1.0, "±1 standard error"), (1.96, "±1.96 standard errors")]
)
def test_whiskers_reach_as_far_as_the_legend_says(factor, said):
    values = torch.stack([VALUES, -VALUES])
    errors = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    _, axes = visualize_band_attr(
        values, standard_error=errors, num_standard_errors=factor, use_pyplot=False
    )
    whiskers = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    assert len(whiskers) == 2
    for container, row, error in zip(whiskers, values, errors, strict=True):
        (segments,) = container.lines[2]
        ends = np.array([segment[:, 1] for segment in segments.get_segments()])
        np.testing.assert_allclose(ends[:, 0], row - factor * error, rtol=1e-6)
        np.testing.assert_allclose(ends[:, 1], row + factor * error, rtol=1e-6)
    assert legend_texts(axes) == ["example 0", "example 1", said]


def test_the_legend_covers_neither_bars_nor_title():
    names = ["ResNet-50", "ResNet-50, adversarially trained (ε = 4/255)", "ViT-B/16"]
    figure, axes = visualize_band_attr(
        VALUES.expand(3, 4), None, VALUES.abs().expand(3, 4), names, title="t", use_pyplot=False
    )
    figure.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    assert legend.y0 >= axes.get_window_extent().y1
    assert legend.y1 <= axes.title.get_window_extent().y0
    assert axes.title.get_window_extent().y1 <= figure.bbox.y1


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"attributions": [1.0, 2.0]}, TypeError, "attributions must be a torch.Tensor.*got list"),
        (
            {"attributions": VALUES.to(torch.complex64)},
            TypeError,
            "attributions must hold real numbers, got dtype torch.complex64",
        ),
        (
            {"attributions": np.array(["a"])},
            TypeError,
            "attributions must hold real numbers, got dtype <U1",
        ),
        (
            {"attributions": torch.ones(1, 2, 3)},
            ValueError,
            r"attributions must be \(M,\) or \(N, M\), got shape \(1, 2, 3\)",
        ),
        ({"attributions": torch.ones(0)}, ValueError, r"attributions is empty \(shape \(0,\)\)"),
        (
            {"attributions": torch.tensor([1, torch.nan])},
            ValueError,
            "attributions must be finite, got 1 NaN or infinite",
        ),
        ({"attributions": torch.ones(8, 4)}, ValueError, "attributions has 8 rows and at most 7"),
        (
            {"frequencies": FREQUENCIES[:3]},
            ValueError,
            r"frequencies must be \(M, 2\).*here \(4, 2\), got shape \(3, 2\)",
        ),
        (
            {"standard_error": VALUES[:3].abs()},
            ValueError,
            r"standard_error must have the shape of attributions, \(4,\), got \(3,\)",
        ),
        (
            {"standard_error": VALUES},
            ValueError,
            r"standard_error must not be negative, got -0\.6",
        ),
        (
            {"standard_error": VALUES * torch.nan},
            ValueError,
            "standard_error must be finite, got 4",
        ),
        ({"num_standard_errors": 0}, ValueError, "num_standard_errors must be positive, got 0"),
        ({"labels": ["a", "b"]}, ValueError, "one name for each of the 1 rows.*got 2"),
        ({"labels": "a"}, TypeError, "labels must be a sequence of 1 strings, got 'a'"),
        ({"labels": [1]}, TypeError, r"labels must be a sequence of 1 strings, got \[1\]"),
    ],
)
def test_bad_bars_are_explained(kwargs, error, message):
    with pytest.raises(error, match=message):
        visualize_band_attr(**{"attributions": VALUES, **kwargs}, use_pyplot=False)


# --------------------------------------------------------------------------- cumulative shares


def test_lines_rise_from_nothing_to_everything_at_the_ends_of_the_bands():
    shares = torch.tensor([[0.5, 0.3, 0.2, 0.0], [0.25] * 4])
    figure, axes = visualize_cumulative_shares(
        shares, FREQUENCIES, ["low", "even"], title="two", use_pyplot=False
    )
    even, low, flat = axes.get_lines()
    assert low.get_xdata().tolist() == pytest.approx([0, 0.12, 0.24, 0.37, 0.5])
    assert low.get_ydata().tolist() == pytest.approx([0, 0.5, 0.8, 1, 1])
    assert flat.get_ydata().tolist() == even.get_ydata().tolist()
    assert len({line.get_marker() for line in (low, flat)}) == 2  # not by colour alone
    assert legend_texts(axes) == ["even spread", "low", "even"]
    assert axes.get_xlabel() == "frequency (cycles/pixel)"
    assert axes.get_title() == "two"
    assert isinstance(figure, Figure)


def test_without_frequencies_the_axis_counts_bands():
    _, axes = visualize_cumulative_shares(torch.tensor([0.5, 0.5]), use_pyplot=False)
    assert axes.get_xlabel() == "bands"
    assert axes.get_lines()[1].get_xdata().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("shares", "options", "message"),
    [
        (torch.tensor([0.5, 0.4]), {}, "sum to 1 in every row"),
        (torch.tensor([1.5, -0.5]), {}, "must not be negative"),
        (torch.full((8, 2), 0.5), {}, "at most 7 can be told apart"),
        (torch.full((2, 2), 0.5), {"labels": ["one"]}, "each of the 2 rows of shares, got 1"),
        (torch.tensor([0.5, float("nan")]), {}, "shares must be finite"),
        (torch.tensor([0.5, 0.5]), {"frequencies": FREQUENCIES}, r"here \(2, 2\)"),
    ],
)
def test_bad_shares_are_explained(shares, options, message):
    with pytest.raises(ValueError, match=message):
        visualize_cumulative_shares(shares, use_pyplot=False, **options)
