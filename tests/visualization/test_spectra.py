"""Figures of the Fourier plane."""

import numpy as np
import pytest
import torch

from captum_spectral.visualization import visualize_spectrum


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
