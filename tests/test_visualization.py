from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from captum_spectral.visualization import (
    visualize_band_attr,
    visualize_bands,
    visualize_cumulative_shares,
    visualize_spectrum,
)

VALUES = torch.tensor([3.1, 0.8, -0.1, -0.6])
FREQUENCIES = torch.tensor([[0, 0.12], [0.125, 0.24], [0.25, 0.37], [0.375, 0.5]])


def heights(axes):
    return [bar.get_height() for bar in axes.patches]


def tick_labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def legend_texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def waves(num_bands, shape=(3, 24, 24), mean_band=0):
    """Bands by construction: one holds the mean, every other one a wave without mean."""
    _, h, w = shape
    phase = 2 * torch.pi * torch.arange(w, dtype=torch.float64) / w
    bands = torch.stack([0.2 / num_bands * torch.cos((i + 1) * phase) for i in range(num_bands)])
    bands = bands[:, None, None, :].expand(num_bands, shape[0], h, w).clone()
    bands[mean_band] += 0.5
    return bands.sum(0), bands


def draw_bands(num_bands=4, values=None, **kwargs):
    image, bands = waves(num_bands)
    values = torch.linspace(3, -1, num_bands) if values is None else values
    return visualize_bands(image, bands, values, use_pyplot=False, **kwargs)


def all_three(**kwargs):
    yield lambda **more: visualize_band_attr(VALUES, **kwargs, **more)
    yield lambda **more: visualize_bands(*waves(4), VALUES, **kwargs, **more)
    yield lambda **more: visualize_spectrum(torch.ones(8, 8), torch.rand(3, 8, 8), **kwargs, **more)


# --------------------------------------------------------------------------- conventions


def test_without_pyplot_its_figures_are_left_alone(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("shown"))
    before = plt.get_fignums()
    for draw in all_three(use_pyplot=False):
        figure, _ = draw()
        assert isinstance(figure, Figure)
    assert plt.get_fignums() == before


def test_with_pyplot_the_figure_is_pyplots_and_is_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    for i, draw in enumerate(all_three()):
        figure, _ = draw()
        try:
            assert shown[i] is figure
            assert plt.fignum_exists(figure.number)
        finally:
            plt.close(figure)


def test_given_axes_are_drawn_in_and_returned():
    figure = Figure(figsize=(12, 4), layout="constrained")
    given = figure.subplots(1, 7)
    got = visualize_band_attr(VALUES, plt_fig_axis=(figure, given[0]), use_pyplot=False)
    assert got == (figure, given[0])
    got = visualize_spectrum(
        torch.ones(8, 8), torch.rand(1, 8, 8), plt_fig_axis=(figure, given[1]), use_pyplot=False
    )
    assert got == (figure, given[1])
    got_figure, axes = draw_bands(plt_fig_axis=(figure, given[2:]), title="mine")
    assert got_figure is figure
    assert list(axes) == list(given[2:])
    assert axes[0].get_title() == "mine"
    assert figure.get_suptitle() == ""
    assert all(len(ax.images) == 1 for ax in axes)
    figure.draw_without_rendering()


def test_titles():
    (_, bars), (figure, _), (_, plane) = (
        draw(title="a title") for draw in all_three(use_pyplot=False)
    )
    assert bars.get_title() == plane.get_title() == figure.get_suptitle() == "a title"


def test_figure_size_is_respected():
    for draw in all_three(use_pyplot=False):
        figure, _ = draw(fig_size=(11.0, 5.0))
        assert tuple(figure.get_size_inches()) == (11, 5)


@pytest.mark.parametrize(
    "kind", [torch.float64, torch.float16, torch.bfloat16, torch.int64, np.float32]
)
def test_tensors_and_arrays_of_every_real_kind(kind):
    is_array = kind is np.float32
    values = np.array([2, -1], kind) if is_array else torch.tensor([2, -1]).to(kind)
    _, axes = visualize_band_attr(values, use_pyplot=False)
    assert heights(axes) == [2, -1]


def test_a_tensor_with_a_gradient_is_drawn():
    _, axes = visualize_band_attr(VALUES.clone().requires_grad_(), use_pyplot=False)
    assert heights(axes) == pytest.approx(VALUES.tolist())


# --------------------------------------------------------------------------- bars


def test_bars_have_the_heights_of_the_values_and_stand_over_band_numbers():
    _, axes = visualize_band_attr(VALUES, use_pyplot=False)
    assert heights(axes) == pytest.approx(VALUES.tolist())
    assert [bar.get_center()[0] for bar in axes.patches] == pytest.approx([0, 1, 2, 3])
    assert tick_labels(axes) == ["0", "1", "2", "3"]
    assert axes.get_xlabel() == "band"
    assert axes.get_ylabel() == "attribution (model output)"
    assert axes.get_legend() is None


def test_a_line_marks_zero():
    _, axes = visualize_band_attr(VALUES, use_pyplot=False)
    assert [list(line.get_ydata()) for line in axes.lines] == [[0, 0]]


def test_units():
    _, axes = visualize_band_attr(
        VALUES, FREQUENCIES, unit="nats", frequency_unit="cycles/degree", use_pyplot=False
    )
    assert axes.get_ylabel() == "attribution (nats)"
    assert axes.get_xlabel() == "band and its frequencies (cycles/degree)"
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


# --------------------------------------------------------------------------- bands


def test_panels_name_band_value_and_frequencies():
    _, axes = draw_bands(values=VALUES, frequencies=FREQUENCIES)
    assert axes.shape == (5,)
    assert [ax.get_title() for ax in axes[:3]] == [
        "image",
        "band 0: +3.1\n0.00–0.12 cycles/pixel",
        "band 1: +0.8\n0.12–0.24 cycles/pixel",
    ]
    _, axes = draw_bands(values=VALUES)
    assert axes[4].get_title() == "band 3: −0.6"


def test_frames_have_the_colour_of_the_attribution():
    _, axes = draw_bands(5, torch.tensor([4.0, 1.0, 0.0, -1.0, -4.0]))
    cmap = matplotlib.colormaps["coolwarm"]
    frames = [ax.patches[0].get_edgecolor() for ax in axes[1:]]
    expected = [cmap(value) for value in (1.0, 5 / 8, 0.5, 3 / 8, 0.0)]
    np.testing.assert_allclose(frames, expected, atol=0.01)
    red, blue = np.array(frames)[:, 0], np.array(frames)[:, 2]
    np.testing.assert_array_equal(np.sign((red - blue).round(1)), [1, 1, 0, -1, -1])
    assert not axes[0].patches


def test_attributions_that_are_all_zero_get_the_middle_colour():
    figure, axes = draw_bands(values=torch.zeros(4))
    middle = matplotlib.colormaps["coolwarm"](0.5)
    assert all(ax.patches[0].get_edgecolor() == middle for ax in axes[1:])
    figure.draw_without_rendering()


@pytest.mark.parametrize("num_bands", [4, 8])
def test_the_colour_bar_is_centred_at_zero_and_has_the_unit(num_bands):
    figure, axes = draw_bands(num_bands, unit="logits")
    (bar,) = set(figure.axes) - set(axes)
    lying = num_bands == 8
    assert (bar.get_xlim() if lying else bar.get_ylim()) == (-3, 3)
    assert (bar.get_xlabel() if lying else bar.get_ylabel()).split() == ["attribution", "(logits)"]


@pytest.mark.parametrize("mean_band", [0, 2])
def test_the_band_with_the_mean_is_shown_as_it_is(mean_band):
    image, bands = waves(4, mean_band=mean_band)
    _, axes = visualize_bands(image, bands, VALUES, use_pyplot=False)
    shown = axes[1 + mean_band].images[0].get_array()
    np.testing.assert_allclose(shown, bands[mean_band].permute(1, 2, 0))
    captions = [ax.get_xlabel() for ax in axes[1:]]
    assert captions.pop(mean_band) == "shown as is"
    assert captions == ["contrast × 10"] * 3


def test_other_bands_are_stretched_around_grey_by_the_gain_that_is_written():
    _, bands = waves(4)
    bands[1] /= 4
    _, axes = visualize_bands(bands.sum(0), bands, VALUES, use_pyplot=False)
    shown = axes[2].images[0].get_array()
    assert axes[2].get_xlabel() == "contrast × 40"
    np.testing.assert_allclose(shown, (0.5 + 40 * bands[1]).clip(0, 1).permute(1, 2, 0), atol=1e-9)
    assert (shown.min(), shown.max()) == pytest.approx((0, 1))


def test_an_empty_band_is_grey_and_says_so():
    _, bands = waves(3)
    bands[2] = 1e-9
    _, axes = visualize_bands(bands.sum(0), bands, VALUES[:3], use_pyplot=False)
    assert axes[3].get_xlabel() == "zero in this image"
    np.testing.assert_array_equal(axes[3].images[0].get_array(), 0.5)


def test_a_band_of_few_pixels_is_stretched_to_its_largest():
    bands = torch.zeros(2, 1, 32, 32)
    bands[0] = 0.5
    bands[1, 0, 3, 3], bands[1, 0, 3, 4] = 0.05, -0.05
    _, axes = visualize_bands(bands.sum(0), bands, VALUES[:2], use_pyplot=False)
    assert axes[2].get_xlabel() == "contrast × 10"


def test_an_empty_band_has_no_frequencies_in_its_title():
    frequencies = FREQUENCIES.clone()
    frequencies[3] = torch.nan
    _, axes = draw_bands(values=torch.tensor([3.1, 0.8, -0.1, 0.0]), frequencies=frequencies)
    assert axes[4].get_title() == "band 3: 0\nempty"


def test_a_grey_image_of_any_shape():
    image, bands = waves(3, (1, 20, 30))
    figure, axes = visualize_bands(image, bands, VALUES[:3], use_pyplot=False)
    assert all(ax.images[0].get_array().shape == (20, 30) for ax in axes)
    assert all(ax.images[0].get_clim() == (0, 1) for ax in axes)
    for ax in axes:
        box = ax.get_position()
        width, height = figure.get_size_inches() * (box.width, box.height)
        assert width / height == pytest.approx(1.5)


@pytest.mark.parametrize("num_bands", [1, 2, 4, 5, 8, 10, 16])
@pytest.mark.parametrize("shape", [(3, 24, 24), (1, 8, 32), (1, 32, 8)])
def test_nothing_overlaps_or_is_cut_off(num_bands, shape):
    image, bands = waves(num_bands, shape)
    edges = torch.linspace(0, 0.5, num_bands + 1)
    figure, _ = visualize_bands(
        image,
        bands,
        torch.linspace(-1, 1, num_bands),
        torch.stack([edges[:-1], edges[1:]], 1),
        title="a title",
        use_pyplot=False,
    )
    figure.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    boxes.append(figure.texts[0].get_window_extent())
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        for other in boxes[:i]:
            assert not box.overlaps(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda image, bands, v: (image[None], bands, v),
            r"image must be \(C, H, W\), got shape \(1, 3, 24, 24\); one example.*image\[0\]",
        ),
        (
            lambda image, bands, v: (image, bands[None], v),
            r"bands must be \(M, C, H, W\), got shape \(1, 4, .*bands\[0\]",
        ),
        (
            lambda image, bands, v: (image, bands, v[None]),
            r"attributions must be \(M,\), got shape \(1, 4\); one row",
        ),
        (
            lambda image, bands, v: (image.permute(1, 2, 0), bands, v),
            r"1 or 3 channels, \(C, H, W\), got shape \(24, 24, 3\); use image.permute\(2, 0, 1\)",
        ),
        (
            lambda image, bands, v: (image, bands[:, :1], v),
            r"\(C, H, W\) of image, \(3, 24, 24\), got shape \(4, 1, 24, 24\)",
        ),
        (lambda image, bands, v: (image, bands, v[:3]), "each of the 4 bands, got 3"),
        (
            lambda image, bands, v: (255 * image, 255 * bands, v),
            r"image must be in display range \[0, 1\], got values from .*divide by 255",
        ),
        (
            lambda image, bands, v: (image, 4 * bands - 1, v),
            r"bands must sum to image, got a difference of up to .*split_bands\(image\[None\]\)",
        ),
        (lambda image, bands, v: (image, bands, v / 0), "attributions must be finite, got 4"),
    ],
)
def test_bad_bands_are_explained(change, message):
    with pytest.raises(ValueError, match=message):
        visualize_bands(*change(*waves(4), VALUES), use_pyplot=False)


def test_too_few_axes_and_too_little_room_are_explained():
    figure = Figure()
    with pytest.raises(ValueError, match=r"plt_fig_axis must have 5 axes.*4 bands, got 4"):
        draw_bands(plt_fig_axis=(figure, figure.subplots(2, 2)))
    with pytest.raises(ValueError, match=r"fig_size=\(1, 1\) has no room for 4 bands"):
        draw_bands(fig_size=(1, 1))


# --------------------------------------------------------------------------- spectrum


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (8, 7), (9, 12), (1, 6)])
def test_every_bin_is_drawn_at_its_frequency(shape):
    painted = torch.arange(shape[0] * shape[1], dtype=torch.float64).reshape(shape)
    _, axes = visualize_spectrum(painted, torch.rand(3, *shape), use_pyplot=False)
    _, colour = axes.get_images()
    drawn = np.asarray(colour.get_array())
    assert all(n % 2 for n in drawn.shape)  # symmetric: the middle element is the middle
    assert drawn[drawn.shape[0] // 2, drawn.shape[1] // 2] == painted[0, 0]
    left, right, bottom, top = colour.get_extent()
    rows, columns = drawn.shape
    y = top + (np.arange(rows) + 0.5) * (bottom - top) / rows
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    for i in range(rows):
        for j in range(columns):
            k = (round(y[i] * shape[0]), round(x[j] * shape[1]))
            assert k == pytest.approx((y[i] * shape[0], x[j] * shape[1]))
            assert drawn[i, j] == painted[k[0] % shape[0], k[1] % shape[1]]


def test_both_layers_lie_on_each_other_in_cycles_per_pixel():
    _, axes = visualize_spectrum(
        torch.ones(9, 12), torch.rand(1, 9, 12), unit="nats", use_pyplot=False
    )
    grey, colour = axes.get_images()
    assert grey.get_extent() == colour.get_extent() == [-13 / 24, 13 / 24, 0.5, -0.5]
    assert axes.get_xlim() == (-13 / 24, 13 / 24)
    assert axes.get_ylim() == (0.5, -0.5)
    assert list(axes.get_xticks()) == [-0.5, -0.25, 0, 0.25, 0.5]
    assert axes.get_xlabel() == "horizontal frequency (cycles/pixel)"
    assert axes.get_ylabel() == "vertical frequency (cycles/pixel)"
    (bar,) = axes.child_axes
    assert bar.get_ylabel() == "attribution (nats)"


def test_grey_is_brightest_where_the_image_has_energy():
    columns = torch.arange(16) / 16
    image = (0.5 + 0.4 * torch.cos(2 * torch.pi * 3 * columns)).expand(1, 16, 16)
    _, axes = visualize_spectrum(torch.ones(16, 16), image, use_pyplot=False)
    grey = np.asarray(axes.get_images()[0].get_array())
    assert grey.shape == (17, 17)
    bright = {tuple(index) for index in np.argwhere(grey > grey.max() - 1).tolist()}
    assert bright == {(8, 5), (8, 8), (8, 11)}


def test_the_colour_layer_is_transparent_and_centred_at_zero():
    painted = torch.zeros(8, 8)
    painted[0, 0] = -2
    _, axes = visualize_spectrum(painted, torch.rand(3, 8, 8), alpha_overlay=0.3, use_pyplot=False)
    colour = axes.get_images()[1]
    assert colour.get_clim() == (-2, 2)
    assert colour.get_alpha() == 0.3


def test_channels_are_averaged():
    painted = torch.rand(3, 8, 8)
    _, axes = visualize_spectrum(painted, torch.rand(3, 8, 8), use_pyplot=False)
    drawn = np.asarray(axes.get_images()[1].get_array())
    np.testing.assert_allclose(drawn[4, 4], painted[:, 0, 0].mean())


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_constant_images_and_zero_attributions_are_drawn(level):
    figure, _ = visualize_spectrum(
        torch.zeros(8, 8), torch.full((1, 8, 8), level), use_pyplot=False
    )
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("painted", "image", "message"),
    [
        (
            torch.ones(1, 3, 8, 8),
            torch.rand(3, 8, 8),
            r"painted must be \(H, W\) or \(C, H, W\), got shape \(1, 3, 8, 8\).*painted\[0\]",
        ),
        (
            torch.ones(8, 8),
            torch.rand(8, 8),
            r"image must be \(C, H, W\), got shape \(8, 8\); one image at a time, with channels",
        ),
        (
            torch.ones(8, 5),
            torch.rand(3, 8, 8),
            r"painted must have the .* of image, \(3, 8, 8\), got shape \(8, 5\)",
        ),
        (torch.ones(2, 8, 8), torch.rand(3, 8, 8), r"got shape \(2, 8, 8\)"),
        (torch.ones(8, 8) / 0, torch.rand(3, 8, 8), "painted must be finite, got 64"),
        (torch.ones(8, 8), torch.full((3, 8, 8), torch.nan), "image must be finite, got 192"),
    ],
)
def test_bad_spectra_are_explained(painted, image, message):
    with pytest.raises(ValueError, match=message):
        visualize_spectrum(painted, image, use_pyplot=False)


def test_a_bad_opacity_is_explained():
    with pytest.raises(ValueError, match="alpha_overlay must be between 0 and 1, got 2"):
        visualize_spectrum(torch.ones(8, 8), torch.rand(3, 8, 8), alpha_overlay=2, use_pyplot=False)


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
