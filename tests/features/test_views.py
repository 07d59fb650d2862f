"""Maps over pixels as spectra, band values as maps."""

import pytest
import torch
from helpers import tiny_cnn
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import (
    SpectralForward,
    SpectralShapley,
    band_mask,
    band_profile,
    band_sums,
    pixel_map,
    split_bands,
)

SIZES = [(12, 12), (11, 13), (12, 9), (9, 12)]
shapes = st.sampled_from(SIZES)


def images(size, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *size, generator=generator, dtype=torch.float64)


# -------------------------------------------------------------------- profiles


@given(shapes, st.integers(0, 100), st.integers(2, 4))
def test_a_profile_is_the_energy_of_the_spectrum(size, seed, num_bands):
    maps = images(size, seed=seed)
    profile = band_profile(maps, num_bands=num_bands)
    energy = torch.fft.fft2(maps).abs().square()
    mask = band_mask(size, num_bands)
    expected = torch.stack([energy[..., mask == i].flatten(1).sum(1) for i in range(num_bands)], 1)
    torch.testing.assert_close(profile, expected / expected.sum(1, keepdim=True))
    torch.testing.assert_close(profile.sum(1), torch.ones(2, dtype=torch.float64))


def test_a_map_of_one_frequency_is_in_its_band_and_one_of_zeros_nowhere():
    wave = torch.cos(2 * torch.pi * 5 * torch.arange(16) / 16).expand(1, 1, 16, 16)
    profile = band_profile(wave, num_bands=4)
    torch.testing.assert_close(profile, torch.tensor([[0.0, 0.0, 1.0, 0.0]]), atol=1e-6, rtol=0)
    assert band_profile(0 * wave, num_bands=4).isnan().all()


def test_bands_sum_to_the_plane_of_a_painting():
    x = images((12, 9))
    mask = band_mask((12, 9), 3)
    plane = torch.fft.fft2(x).abs().square() / (12 * 9)
    energies = split_bands(x, mask).square().flatten(2).sum(2)
    torch.testing.assert_close(band_sums(plane, mask), energies)


# -------------------------------------------------------------------- maps


@given(shapes, st.integers(0, 100))
def test_a_pixel_map_sums_to_the_band_values(size, seed):
    x = images(size, seed=seed)
    values = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shown = pixel_map(values, x, num_bands=3)
    assert shown.shape == x.shape
    torch.testing.assert_close(shown.flatten(1).sum(1), values.sum(1))
    for i in range(3):
        alone = torch.zeros_like(values)
        alone[:, i] = 1
        assert pixel_map(alone, x, num_bands=3).min() >= 0


def test_a_pixel_map_is_where_the_band_is():
    x = torch.zeros(1, 1, 64, 64)
    x[..., 40:56, 8:24] = (-1.0) ** torch.arange(16)  # a patch of fine stripes
    shown = pixel_map(torch.tensor([[0.0, 0.0, 0.0, 1.0]]), x, num_bands=4)[0, 0]
    assert shown[38:58, 6:26].sum() > 0.9
    assert abs(float(shown[44:52, 12:20].std() / shown[44:52, 12:20].mean())) < 0.2  # no speckle


def test_the_value_of_a_band_that_an_input_lacks_is_spread_evenly():
    shown = pixel_map(torch.tensor([[0.0, 0.0, 6.0]]), torch.zeros(1, 1, 8, 8), num_bands=3)
    torch.testing.assert_close(shown, torch.full((1, 1, 8, 8), 6 / 64))


def test_it_sums_to_what_the_shapley_values_sum_to():
    model, x = tiny_cnn(), images((12, 12))
    values = SpectralShapley(model).attribute(x, 1, num_bands=3, return_input_shape=False)
    with torch.no_grad():
        gain = (model(x) - model(0 * x))[:, 1]
    torch.testing.assert_close(pixel_map(values, x, num_bands=3).flatten(1).sum(1), gain)


# -------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SpectralForward("net", (8, 8)), TypeError, "forward_func must be callable"),
        (lambda: SpectralForward(len, (8, 8.5)), TypeError, r"integers such as \(224, 224\)"),
        (lambda: SpectralForward(len, ()), TypeError, "shape must hold integers"),
        (lambda: SpectralForward(len, (0, 8)), ValueError, "at least 1, got"),
        (
            lambda: SpectralForward(len, (8, 8)).coefficients(torch.rand(1, 3, 8, 9)),
            ValueError,
            r"must end in \(8, 8\), the shape that was given",
        ),
        (
            lambda: SpectralForward(len, (8, 8))(torch.rand(1, 3, 8, 8)),
            ValueError,
            r"must end in \(8, 5, 2\), .* use .coefficients",
        ),
        (lambda: band_profile(torch.zeros(2, 8, 8).long()), TypeError, "real floating"),
        (
            lambda: pixel_map(torch.rand(2, 4), torch.rand(2, 1, 32, 32)),
            ValueError,
            r"band_values must be \(2, 8\)",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
