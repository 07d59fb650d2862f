"""Captum's methods on single frequencies and on bands."""

import pytest
import torch
from captum.attr import IntegratedGradients, KernelShap, Saliency, ShapleyValues
from helpers import tiny_cnn
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import BandGame, SpectralForward, SpectralShapley, band_attribution, band_sums

SIZES = [(12, 12), (11, 13), (12, 9), (9, 12)]
shapes = st.sampled_from(SIZES)


def images(size, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *size, generator=generator, dtype=torch.float64)


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
