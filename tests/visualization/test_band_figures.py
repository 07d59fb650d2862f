"""Figures of bands: the conventions of all, and panels of the bands themselves."""

import matplotlib
import numpy as np
import pytest
import torch
from drawings import FREQUENCIES, VALUES, all_three, draw_bands, heights, waves
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from captum_spectral.visualization import visualize_band_attr, visualize_bands, visualize_spectrum

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


@pytest.mark.parametrize("num_bands", [5, 16])
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
