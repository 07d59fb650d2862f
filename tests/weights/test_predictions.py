"""Predictions never err by more than their radius; forecasts are moments; functions at ties."""

import math

import pytest
import torch
from captum.attr import IntegratedGradients
from weights_oracles import DTYPES, SHAPES, inner, matrix_with, units

from captum_spectral.weights import (
    SingularValues,
    log_volume,
    nuclear_norm,
    schatten_norm,
    spectral_entropy,
)


def true_change(weight, direction):
    return torch.linalg.svdvals(weight + direction) - torch.linalg.svdvals(weight)


def test_a_prediction_is_the_taylor_polynomial():
    weight, direction = torch.randn(2, 2, 4, 3, dtype=torch.float64)
    spectrum = SingularValues(weight)
    terms = [spectrum.derivative(direction, n) / math.factorial(n) for n in (1, 2, 3)]
    for order in (1, 2, 3):
        found = spectrum.predict(direction, order).change
        assert torch.allclose(found, sum(terms[:order]), rtol=1e-12)


def test_the_radius_is_that_of_the_remainder_or_of_weyl():
    spectrum = SingularValues(torch.diag(torch.tensor([2.0, 1.0, 1.0])).double())
    direction = torch.diag(torch.tensor([0.0, 0.1, -0.1])).double()
    found = spectrum.predict(direction)
    # Alone: d = 1, r = 0.2. Tied: the mean does not change, |E| = 0.1.
    truth = torch.tensor([0.5 * 0.2**3 / 0.8, 0.1, 0.1]).double()
    assert torch.allclose(found.error, truth, rtol=1e-6)
    far = spectrum.predict(10 * direction + torch.eye(3)).error  # r > 1 for all
    assert torch.allclose(far, torch.tensor([1.0, 1, 1]).double() + 2, rtol=1e-6)


def some_pairs(dtype, count=50):
    """Matrices of a few shapes, some with ties, zeros or small gaps, and steps of any size."""
    for m, n in [(1, 1), (3, 3), (4, 3), (2, 5)]:
        weight = torch.randn(count, m, n, dtype=dtype)
        weight[::5] = weight[::5] - 0.999 * weight[::5].mean(-1, keepdim=True)
        weight[1::5] = torch.linalg.qr(weight[1::5])[0] if m >= n else 0
        sizes = 10.0 ** torch.linspace(-9, 1, count, dtype=torch.float64)
        yield weight, torch.randn(count, m, n, dtype=dtype) * sizes[:, None, None]


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_change_is_never_outside_of_the_radius(dtype, order):
    for weight, direction in some_pairs(dtype):
        change, error = SingularValues(weight).predict(direction, order)
        truth = true_change(weight, direction)
        assert bool(((truth - change).abs() <= error).all())


def test_radii_become_small_with_the_step():
    weight, direction = torch.randn(2, 4, 3, dtype=torch.float64)
    change, error = SingularValues(weight).predict(1e-4 * direction)
    assert (error < 1e-7).all()
    assert (change.abs() > 1e-6).all()


def test_a_zero_is_predicted_to_stay_within_the_size_of_the_step():
    direction = torch.randn(3, 3, dtype=torch.float64)
    change, error = SingularValues(torch.zeros(3, 3).double()).predict(direction)
    assert change.tolist() == [0, 0, 0]
    assert torch.allclose(error, torch.linalg.matrix_norm(direction, 2).expand(3))


def test_predictions_that_overflow_say_no_change_and_what_weyl_says():
    weight = torch.diag(torch.tensor([1.0, 1 - 1e-5]))
    direction = 1e9 * torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    change, error = SingularValues(weight, rtol=0).predict(direction, order=9)
    assert change.isfinite().all()
    assert ((true_change(weight, direction) - change).abs() <= error).all()


def second_moment(spectrum, tau, factors=(1,)):
    """Mean change and deviation from derivatives along every entry, in the mean over clusters."""
    m, n = tau.shape
    mean = variance = 0
    for factor in factors:
        along = (units(m, n) * factor).reshape(m * n, m, n)
        share = tau.reshape(-1, 1) ** 2 / len(factors)
        first = spectrum.derivative(along, 1, degenerate="mean")
        mean = mean + (share * spectrum.derivative(along, 2, degenerate="mean")).sum(0) / 2
        variance = variance + (share * first**2).sum(0)
    return mean, variance.sqrt()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("values", [[3, 2, 1], [2, 2, 1]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_forecast_is_the_sum_over_entries(shape, values, dtype):
    spectrum = SingularValues(matrix_with(values, *shape, dtype))
    factors = (1, 1j) if dtype.is_complex else (1,)
    for sizes in [(), (shape[0], 1), (1, shape[1]), shape]:
        std = torch.rand(sizes, dtype=torch.float64) / 10
        mean, deviation = second_moment(spectrum, std.expand(shape), factors)
        found = spectrum.forecast(std)
        assert torch.allclose(found.mean, mean, rtol=1e-11, atol=1e-14, equal_nan=True)
        assert torch.allclose(found.std, deviation, rtol=1e-11, equal_nan=True)


def test_forecasts_of_a_batch_are_those_of_each_matrix():
    weights = torch.stack([matrix_with(v, 4, 3) for v in ([3, 2, 1], [2, 2, 1])])
    std = torch.rand(2, 4, 3, dtype=torch.float64)
    found = SingularValues(weights).forecast(std)
    for i in range(2):
        alone = SingularValues(weights[i]).forecast(std[i])
        assert torch.allclose(found.mean[i], alone.mean)
        assert torch.allclose(found.std[i], alone.std)


def test_zeros_have_no_forecast():
    found = SingularValues(matrix_with([2, 1], 4, 3)).forecast(0.1)
    assert found.mean.isnan().tolist() == found.std.isnan().tolist() == [False, False, True]


def test_a_forecast_meets_what_rounding_does():
    weights = torch.randn(200, 12, 7, dtype=torch.float64)
    step = 0.1
    truth = torch.linalg.svdvals((weights / step).round() * step) - torch.linalg.svdvals(weights)
    found = SingularValues(weights).forecast(step / 12**0.5)
    inside = ((truth - found.mean).abs() <= 2 * found.std)[:, 0].double().mean()
    assert inside > 0.9
    assert truth[:, 0].mean() > 0.5 * found.mean[:, 0].mean() > 0  # noise raises the largest


FUNCTIONS = {
    "nuclear_norm": nuclear_norm,
    "log_volume": log_volume,
    "schatten_norm 1.5": lambda a: schatten_norm(a, 1.5),
    "schatten_norm 3": lambda a: schatten_norm(a, 3),
    "spectral_entropy": spectral_entropy,
}
OF_VALUES = {
    "nuclear_norm": lambda s: s.sum(-1),
    "log_volume": lambda s: s.log().sum(-1),
    "schatten_norm 1.5": lambda s: (s**1.5).sum(-1) ** (1 / 1.5),
    "schatten_norm 3": lambda s: (s**3).sum(-1) ** (1 / 3),
    "spectral_entropy": lambda s: torch.special.entr(s / s.sum(-1, keepdim=True)).sum(-1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_their_hessians_are_those_of_autograd_without_ties(name):
    for shape in SHAPES:
        weight = torch.randn(shape, dtype=torch.float64)
        truth = lambda a: OF_VALUES[name](torch.linalg.svdvals(a))  # noqa: E731
        assert torch.allclose(FUNCTIONS[name](weight), truth(weight))
        hessians = (torch.autograd.functional.hessian(f, weight) for f in (FUNCTIONS[name], truth))
        assert torch.allclose(*hessians, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_both_derivatives_at_ties(name, dtype):
    weight = torch.stack([matrix_with(v, 3, 2, dtype) for v in ([2, 2], [1, 1 - 1e-9])])
    weight.requires_grad_()
    assert torch.autograd.gradcheck(FUNCTIONS[name], weight)
    assert torch.autograd.gradgradcheck(FUNCTIONS[name], weight, fast_mode=dtype.is_complex)
    assert torch.autograd.gradcheck(FUNCTIONS[name], weight[:1].detach().mH.requires_grad_())


def test_the_hessian_of_the_nuclear_norm_at_twice_the_identity():
    hessian = torch.autograd.functional.hessian(nuclear_norm, 2 * torch.eye(2).double())
    skew = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).double()
    assert torch.allclose(hessian, torch.einsum("ab,cd->abcd", skew, skew) / 4)


@pytest.mark.parametrize("shape", SHAPES)
def test_schatten_2_is_frobenius_also_at_zeros(shape):
    weight = matrix_with([2, 1], *shape)
    size = weight.norm()
    eye = units(*shape)
    truth = eye / size - torch.einsum("ab,cd->abcd", weight, weight) / size**3
    found = torch.autograd.functional.hessian(lambda a: schatten_norm(a, 2), weight)
    assert torch.allclose(found, truth, atol=1e-12)


def test_at_zeros_the_nuclear_norm_has_the_shortest_subgradient():
    weight = matrix_with([2, 1], 4, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(nuclear_norm(weight), weight, create_graph=True)
    values = torch.linalg.svdvals(gradient.detach())
    assert torch.allclose(values, torch.tensor([1.0, 1.0, 0.0]).double())
    assert torch.autograd.grad(gradient.sum(), weight)[0].isfinite().all()


def test_functions_at_a_matrix_of_zeros():
    weight = torch.zeros(2, 2, requires_grad=True)
    for function in (nuclear_norm, lambda a: schatten_norm(a, 3)):
        value = function(weight)
        assert value == 0
        assert torch.autograd.grad(value, weight)[0].tolist() == [[0, 0], [0, 0]]
    assert spectral_entropy(weight).isnan()
    assert log_volume(weight) == -math.inf


def test_scale_does_not_matter_to_the_entropy_and_none_overflows():
    weight = torch.randn(3, 4)
    assert spectral_entropy(1e19 * weight) == pytest.approx(float(spectral_entropy(weight)))
    large = 1e19 * weight
    found = schatten_norm(large, 4)
    assert found / 1e19 == pytest.approx(float(schatten_norm(weight, 4)))


def test_integrated_gradients_in_weight_space_are_complete():
    weight, baseline = torch.randn(2, 3, 4, 3, dtype=torch.float64)
    values = IntegratedGradients(nuclear_norm).attribute(weight, baselines=baseline, n_steps=64)
    change = nuclear_norm(weight) - nuclear_norm(baseline)
    assert torch.allclose(values.sum((1, 2)), change, atol=1e-3)


def test_the_gradient_is_the_first_derivative():
    weight, direction = torch.randn(2, 4, 3, dtype=torch.complex128)
    weight.requires_grad_()
    (gradient,) = torch.autograd.grad(nuclear_norm(weight), weight)
    assert torch.allclose(
        inner(gradient, direction), SingularValues(weight).derivative(direction).sum()
    )
