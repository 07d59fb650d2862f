"""Pixels as frequencies, bands as pixels, Captum methods on single frequencies."""

import pytest
import torch
from captum.attr import IntegratedGradients, KernelShap, Saliency, ShapleyValues
from helpers import tiny_cnn
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import (
    BandGame,
    SpectralForward,
    SpectralShapley,
    band_attribution,
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


# -------------------------------------------------------------------- single frequencies


@given(shapes, st.integers(0, 50))
def test_coefficients_hold_the_whole_signal(size, seed):
    x = images(size, seed=seed)
    spectral = SpectralForward(tiny_cnn(), size)
    torch.testing.assert_close(spectral.signals(spectral.coefficients(x)), x)
    torch.testing.assert_close(spectral(spectral.coefficients(x)), tiny_cnn()(x))


@pytest.mark.parametrize("size", SIZES)
def test_integrated_gradients_on_frequencies_are_complete_and_sum_to_those_of_bands(size):
    model, x = tiny_cnn(), images(size)
    spectral = SpectralForward(model, size)
    options = {"target": 2, "n_steps": 32, "method": "riemann_middle"}
    attributions, delta = IntegratedGradients(spectral).attribute(
        spectral.coefficients(x), return_convergence_delta=True, **options
    )
    plane = spectral.on_plane(attributions)
    assert plane.shape == x.shape
    with torch.no_grad():
        gain = (model(x) - model(0 * x))[:, 2]
    torch.testing.assert_close(plane.flatten(1).sum(1), gain + delta)
    assert delta.abs().max() < 0.05 * gain.abs().max()
    of_bands = band_attribution(IntegratedGradients, model, x, num_bands=3, **options)
    torch.testing.assert_close(band_sums(plane, num_bands=3), of_bands)


@pytest.mark.parametrize("size", SIZES)
def test_on_the_plane_a_frequency_and_its_negative_share(size):
    x = images(size)
    weight = images(size, count=1, seed=3)

    def model(signals):
        return (signals * weight).flatten(1).sum(1, keepdim=True)

    spectral = SpectralForward(model, size)
    plane = spectral.on_plane(
        IntegratedGradients(spectral).attribute(spectral.coefficients(x), target=0, n_steps=2)
    )
    product = torch.fft.fft2(weight).conj() * torch.fft.fft2(x) / (size[0] * size[1])
    torch.testing.assert_close(plane, product.real)  # Parseval, frequency by frequency
    mirror = plane.flip((-2, -1)).roll((1, 1), (-2, -1))
    torch.testing.assert_close(plane, mirror)


def test_signals_of_one_dim_and_further_arguments():
    x = torch.randn(3, 2, 10)
    spectral = SpectralForward(lambda signals, scale: scale * signals.sum((1, 2)), (10,))
    out = spectral(spectral.coefficients(x), 2.0)
    torch.testing.assert_close(out, 2 * x.sum((1, 2)))
    assert spectral.on_plane(spectral.coefficients(x)).shape == x.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_of_half_precision_the_model_gets_its_own_dtype(dtype):
    x = images((10, 12))
    model = tiny_cnn(dtype=dtype)
    spectral = SpectralForward(model, (10, 12))
    coefficients = spectral.coefficients(x.to(dtype))
    assert coefficients.dtype == spectral.signals(coefficients).dtype == torch.float32
    assert spectral.signals(coefficients.to(dtype)).dtype == torch.float32
    assert spectral(coefficients).dtype == dtype
    result = IntegratedGradients(spectral).attribute(coefficients, target=1, n_steps=8)
    assert result.dtype == torch.float32
    exact = SpectralForward(model.double(), (10, 12))
    exact = IntegratedGradients(exact).attribute(coefficients.double(), target=1, n_steps=8)
    assert (result - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", [IntegratedGradients, Saliency, ShapleyValues])
def test_on_bands_gradients_are_taken_where_the_caller_has_switched_them_off(mode, method):
    def forward(x, table):
        return model(x) * table

    model, x, table = tiny_cnn(), images((12, 12)), torch.arange(1.0, 6.0)
    args = {"target": 3, "num_bands": 3}
    expected = band_attribution(method, forward, x, additional_forward_args=table, **args)
    with mode():
        result = band_attribution(
            method, forward, x.clone(), additional_forward_args=table.clone(), **args
        )
    assert torch.equal(result, expected)


# -------------------------------------------------------------------- methods on bands


@pytest.mark.parametrize(
    ("method", "options", "tolerance"),
    [
        (ShapleyValues, {}, 1e-7),
        (KernelShap, {"n_samples": 500}, 2e-3),
    ],
)
def test_shapley_values_of_captum_on_bands_are_ours(method, options, tolerance):
    model, x = tiny_cnn(), images((12, 12), count=1)  # KernelShap wants one at a time
    ours = SpectralShapley(model).attribute(x, 3, num_bands=3, return_input_shape=False)
    theirs = band_attribution(method, model, x, 3, num_bands=3, **options)
    torch.testing.assert_close(theirs.to(ours), ours, atol=tolerance, rtol=0)


def test_a_function_that_makes_the_method():
    model, x = tiny_cnn(), images((12, 12))
    signed = band_attribution(Saliency, model, x, 1, num_bands=3, abs=False)
    game = BandGame(model, x, num_bands=3)
    weights = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(game(weights)[:, 1].sum(), weights)
    torch.testing.assert_close(signed, gradient)
    same = band_attribution(lambda game: Saliency(game), model, x, 1, num_bands=3, abs=False)
    torch.testing.assert_close(same, signed)


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


def test_bands_sum_to_the_plane_of_a_painting():
    x = images((12, 9))
    mask = band_mask((12, 9), 3)
    plane = torch.fft.fft2(x).abs().square() / (12 * 9)
    energies = split_bands(x, mask).square().flatten(2).sum(2)
    torch.testing.assert_close(band_sums(plane, mask), energies)
