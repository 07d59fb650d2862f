"""Figures of the Fourier plane."""

import numpy as np
import pytest
import torch
from helpers import tiny_cnn

from captum_spectral.robustness.sensitivity import fourier_heat_map
from captum_spectral.visualization import visualize_heat_maps, visualize_spectrum


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
            torch.rand(8),
            r"image must be \(C, H, W\) or .*, got shape \(8,\); one image at a time, with",
        ),
        (torch.ones(8, 8), torch.rand(3, 8), r"painted must have the \(T,\) or \(C, T\) of image"),
        (
            torch.ones(8, 8),
            torch.rand(3, 4, 8, 8),
            r"painted must be \(D, H, W\) or \(C, D, ",
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


def spectrum_of(painted, image, **options):
    return visualize_spectrum(painted, image, use_pyplot=False, **options)[1]


@pytest.mark.parametrize("length", [16, 15])
def test_a_signal_is_a_line_in_decibels_over_its_coloured_hertz(length):
    seconds = torch.arange(length, dtype=torch.float64) / 8000
    signal = torch.cos(2 * torch.pi * 8000 * 3 / length * seconds) + 0.01
    painted = torch.arange(length, dtype=torch.float64)
    axes = spectrum_of(painted, signal.expand(2, length), sample_rate=8000, unit="nats")
    (line,) = axes.get_lines()
    hertz, decibels = line.get_xdata(), line.get_ydata()
    np.testing.assert_allclose(hertz, np.arange(length // 2 + 1) * 8000 / length)
    assert decibels.argmax() == 3
    assert decibels[3] == pytest.approx(0)
    # The mean is 0.01 of T samples, the wave half of them.
    assert decibels[0] == pytest.approx(20 * np.log10(0.02), abs=0.1)
    (colours,) = axes.get_images()
    assert np.asarray(colours.get_array()).tolist() == [list(range(length // 2 + 1))]
    left, right = colours.get_extent()[:2]
    assert (left, right) == (-4000 / length, hertz[-1] + 4000 / length)
    assert axes.get_xlabel() == "frequency (Hz)"
    assert axes.get_ylabel() == "magnitude (dB)"
    (bar,) = axes.child_axes
    assert bar.get_ylabel() == "attribution (nats)"
    assert spectrum_of(painted, signal[None]).get_xlabel() == "frequency (cycles/sample)"


def test_a_silent_signal_is_drawn():
    figure, _ = visualize_spectrum(torch.zeros(2, 9), torch.zeros(2, 9), use_pyplot=False)
    figure.draw_without_rendering()


def test_a_volume_is_the_plane_through_its_zero_frequency_in_its_units():
    painted = torch.arange(4 * 5 * 7, dtype=torch.float64).reshape(4, 5, 7)
    volume = torch.rand(2, 4, 5, 7)
    axes = spectrum_of(
        painted, volume, sample_rate=(0.5, 2, 1), frequency_unit="cycles/mm", unit="logits"
    )
    grey, colour = axes.get_images()
    plane = np.fft.fftshift(painted[0].numpy())
    np.testing.assert_array_equal(np.asarray(colour.get_array()), plane)
    magnitude = np.sqrt((np.abs(np.fft.fft2(volume.sum(1).numpy())) ** 2).sum(0))
    drawn = np.asarray(grey.get_array())
    np.testing.assert_allclose(drawn, np.log10(np.fft.fftshift(magnitude)), rtol=1e-5)
    assert colour.get_extent() == [-0.5, 0.5, 1.0, -1.0]
    assert axes.get_xlabel() == "horizontal frequency (cycles/mm)"
    unnamed = spectrum_of(painted, volume, sample_rate=(0.5, 2, 1)).get_xlabel()
    assert " ".join(unnamed.split()) == "horizontal frequency (cycles per unit of length)"


@pytest.mark.parametrize("rate", [0, -1, (1, 2, 3)])
def test_sample_rates_are_positive_and_one_for_each_dim(rate):
    with pytest.raises(ValueError, match="sample_rate must be positive, one number or one for eac"):
        spectrum_of(torch.ones(8, 8), torch.rand(3, 8, 8), sample_rate=rate)


def test_heat_maps_have_the_unit_of_their_results_and_zero_in_the_middle_of_signed_ones():
    model = tiny_cnn(dtype=torch.float32)
    images = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = model(images).argmax(1)
    nats = fourier_heat_map(model, images, labels, 3.0, value="log_likelihood")
    assert nats.value.min() < 0 < nats.value.max()
    rates = fourier_heat_map(model, images, labels, 3.0)
    _, axes = visualize_heat_maps({"a": nats}, use_pyplot=False)
    (drawn,) = axes[0].get_images()
    assert axes[1].get_ylabel() == "nats"
    assert drawn.get_cmap().name == "coolwarm"
    assert drawn.get_clim() == pytest.approx(np.array([-1, 1]) * float(nats.value.abs().max()))
    np.testing.assert_array_equal(drawn.get_array(), np.fft.fftshift(nats.value))
    for given in (rates, rates.value):
        _, axes = visualize_heat_maps({"a": given}, use_pyplot=False)
        assert axes[1].get_ylabel() == "error rate"
        assert axes[0].get_images()[0].get_cmap().name == "viridis"
    with pytest.raises(ValueError, match="of one unit to share a colour scale, got error rate, na"):
        visualize_heat_maps({"a": nats, "b": rates}, use_pyplot=False)
