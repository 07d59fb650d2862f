"""Derivatives of singular values are those of nested autograd, of 60 digits, of closed forms."""

import pytest
import torch
from weights_oracles import (
    DTYPES,
    SHAPES,
    by_autograd,
    by_differences,
    by_pymablock,
    inner,
    matrix_with,
    units,
)

from captum_spectral.weights import SingularValues


def random_pair(shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)


def close(a, b, tolerance=1e-12):
    """Equal to a share of the largest."""
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_orders_1_to_5_are_those_of_nested_autograd(shape, dtype):
    weight, direction = random_pair(shape, dtype)
    spectrum = SingularValues(weight)
    for order, truth in enumerate(by_autograd(weight, direction, 5), 1):
        assert close(spectrum.derivative(direction, order), truth)


def test_order_6_is_that_of_nested_autograd():
    weight, direction = random_pair((4, 3))
    found = SingularValues(weight).derivative(direction, 6)
    assert close(found, by_autograd(weight, direction, 6)[5])


@pytest.mark.parametrize(
    ("spacing", "dtype"),
    [*((s, torch.float64) for s in (0.1, 1e-4, 1e-8, 1e-13, 0)), (1e-8, torch.complex128)],
)
def test_the_mean_of_a_cluster_is_exact_at_any_spacing(spacing, dtype):
    weight = matrix_with([2, 2 - spacing, 1], 4, 3, dtype)
    direction = torch.randn(4, 3, dtype=dtype)
    spectrum = SingularValues(weight, rtol=0.06)
    assert spectrum.clusters.tolist() == [0, 0, 1]
    truth = by_differences(weight, direction, (0, 1), 6)
    found = [spectrum.derivative(direction, n, degenerate="mean") for n in range(1, 7)]
    for own, true in zip(found, truth, strict=True):
        assert own[0] == own[1]
        assert (own[0] - true).abs() <= 1e-12 * own.abs().max()


def test_a_value_alone_has_the_derivatives_of_60_digits():
    weight, direction = random_pair((4, 3))
    spectrum = SingularValues(weight)
    truth = by_differences(weight, direction, (1,), 6)
    found = torch.stack([spectrum.derivative(direction, n)[1] for n in range(1, 7)])
    assert torch.allclose(found, truth, rtol=1e-12, atol=0)


def test_pymablock_agrees_in_orders_1_to_6():
    pytest.importorskip("pymablock")
    weight, direction = random_pair((3, 2))
    spectrum = SingularValues(weight)
    for order, truth in enumerate(by_pymablock(weight, direction, 6), 1):
        assert close(spectrum.derivative(direction, order), truth)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_is_a_loop_also_where_only_some_matrices_have_ties(dtype):
    weights = torch.stack([matrix_with(v, 5, 3, dtype) for v in ([3, 2, 1], [2, 2, 1], [3, 1, 1])])
    directions = torch.randn(2, 1, 5, 3, dtype=dtype)
    spectrum = SingularValues(weights)
    for order in (1, 2, 3, 4):
        found = spectrum.derivative(directions, order, degenerate="mean")
        assert found.shape == (2, 3, 3)
        for d in range(2):
            for i in range(3):
                alone = SingularValues(weights[i]).derivative(
                    directions[d, 0], order, degenerate="mean"
                )
                assert close(found[d, i], alone)
        for k in (0, 1, 2, -1):
            one = spectrum.derivative(directions, order, k=k, degenerate="mean")
            assert close(one, found[..., k])


def test_unitary_transformations_change_nothing():
    weight, direction = random_pair((4, 3), torch.complex128)
    left, right = (torch.linalg.qr(torch.randn(n, n, dtype=weight.dtype))[0] for n in (4, 3))
    found = SingularValues(left @ weight @ right).derivative(left @ direction @ right, 3)
    assert close(found, SingularValues(weight).derivative(direction, 3))
    of_adjoint = SingularValues(weight.mH).derivative(direction.mH, 3)
    assert close(of_adjoint, SingularValues(weight).derivative(direction, 3))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_scaling_the_weight_scales_the_derivative_by_its_power(order):
    weight, direction = random_pair((4, 3))
    scaled = SingularValues(3 * weight).derivative(direction, order)
    assert close(scaled, SingularValues(weight).derivative(direction, order) * 3.0 ** (1 - order))


def test_along_the_weight_itself_values_are_linear():
    weight, _ = random_pair((4, 3))
    spectrum = SingularValues(weight)
    assert close(spectrum.derivative(weight), spectrum.values)
    assert spectrum.derivative(weight, 2).abs().max() < 1e-13


def test_along_its_own_gradient_a_value_is_linear():
    weight, _ = random_pair((4, 3))
    spectrum = SingularValues(weight)
    own = spectrum.gradient(1)
    assert spectrum.derivative(own, 1, k=1) == pytest.approx(1)
    assert all(abs(float(spectrum.derivative(own, n, k=1))) < 1e-12 for n in (2, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_squares_of_all_values_have_the_curvature_of_frobenius(dtype):
    weight, direction = random_pair((3, 5), dtype)
    spectrum = SingularValues(weight)
    first, second = spectrum.derivative(direction), spectrum.derivative(direction, 2)
    found = (2 * first**2 + 2 * spectrum.values * second).sum()
    assert found == pytest.approx(2 * float(inner(direction, direction)))


def test_a_rank_deficient_matrix_has_derivatives_of_all_but_its_zeros():
    weight = matrix_with([3, 1], 4, 3)
    direction = torch.randn(4, 3, dtype=torch.float64)
    spectrum = SingularValues(weight)
    found = spectrum.derivative(direction, 3, degenerate="nan")
    assert found.isnan().tolist() == [False, False, True]
    truth = torch.stack([by_differences(weight, direction, (k,), 3)[2] for k in (0, 1)])
    assert close(found[:2], truth)
    assert spectrum.gap[2] == 0


def test_gaps_are_distances_to_other_clusters_to_negatives_and_to_zero():
    values = [3, 2, 2, 0.25]
    square = SingularValues(matrix_with(values, 4, 4))
    assert torch.allclose(square.gap, torch.tensor([1, 1, 1, 0.5], dtype=torch.float64))
    tall = SingularValues(matrix_with(values, 5, 4))
    assert torch.allclose(tall.gap, torch.tensor([1, 1, 1, 0.25], dtype=torch.float64))
    assert tall.clusters.tolist() == [0, 1, 1, 2]
    chain = SingularValues(matrix_with([3, 2.9, 2.8, 1], 4, 4), rtol=0.04)
    assert chain.clusters.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("exponent", [19, -19])
def test_float32_is_finite_at_any_scale(exponent):
    weight, direction = (x.float() * 10.0**exponent for x in random_pair((4, 3)))
    spectrum = SingularValues(weight)
    truth = SingularValues(weight.double())
    for order in (1, 2, 3):
        found = spectrum.derivative(direction, order)
        assert found.dtype is torch.float32
        assert close(found.double(), truth.derivative(direction.double(), order), 1e-3)
    assert close(spectrum.hvp(direction, 0).double(), truth.hvp(direction.double(), 0), 1e-3)
    assert spectrum.predict(direction).error.isfinite().all()


def test_half_precision_is_computed_in_float32():
    weight = torch.randn(3, 4).bfloat16()
    spectrum = SingularValues(weight)
    assert spectrum.values.dtype is torch.float32
    assert torch.allclose(spectrum.values, torch.linalg.svdvals(weight.float()))
    assert spectrum.derivative(weight).dtype is torch.float32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 5)])
def test_gradient_and_hessian_vector_product_give_both_derivatives(shape, dtype):
    weight, direction = random_pair(shape, dtype)
    spectrum = SingularValues(weight)
    for k in (0, 1, -1):
        assert close(inner(spectrum.gradient(k), direction), spectrum.derivative(direction, k=k))
        product = spectrum.hvp(direction, k)
        assert close(inner(product, direction), spectrum.derivative(direction, 2, k=k))
        other = torch.randn_like(direction)  # the Hessian is its own adjoint
        assert close(inner(product, other), inner(spectrum.hvp(other, k), direction))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_hessian_is_that_of_autograd(shape):
    weight, direction = random_pair(shape)
    spectrum = SingularValues(weight)
    for k in (0, 2):
        truth = torch.autograd.functional.hessian(lambda a, k=k: torch.linalg.svdvals(a)[k], weight)
        assert close(spectrum.hessian(k), truth)
        assert close(spectrum.hessian_diagonal(k), torch.einsum("abab->ab", truth))
        product = torch.einsum("abcd,cd->ab", truth, direction)
        assert close(spectrum.hvp(direction, k), product)


@pytest.mark.parametrize("spacing", [0, 1e-9, 0.05])
def test_curvature_of_a_cluster_is_that_of_its_mean(spacing):
    weights = torch.stack([matrix_with([2, 2 - spacing, 1], 4, 3), matrix_with([3, 2, 1], 4, 3)])
    spectrum = SingularValues(weights, rtol=0.04)
    along = units(4, 3)[:, :, None]
    for k in (0, 1, 2):
        truth = spectrum.derivative(along, 2, k=k, degenerate="mean").permute(2, 0, 1)
        hessian = spectrum.hessian(k, degenerate="mean")
        assert close(spectrum.hessian_diagonal(k, degenerate="mean"), truth)
        assert close(torch.einsum("zabab->zab", hessian), truth)
        products = spectrum.hvp(along, k, degenerate="mean").permute(2, 3, 4, 0, 1)
        assert close(hessian, products)
    with pytest.raises(ValueError, match="tied"):
        spectrum.hessian(0)
    assert spectrum.gradient(0, degenerate="nan").isnan().flatten(1).all(1).tolist() == [
        True,
        False,
    ]


def test_a_spectrum_prints_sizes():
    spectrum = SingularValues(torch.ones(2, 3, 5))
    assert repr(spectrum) == "SingularValues(weight (2, 3, 5), torch.float32, 3 values)"


def test_a_cluster_that_reaches_zero_has_no_derivative_even_of_its_mean():
    spectrum = SingularValues(torch.diag(torch.tensor([3.0, 0.1, 0.0])), rtol=0.05)
    assert spectrum.clusters.tolist() == [0, 1, 1]
    found = spectrum.derivative(torch.eye(3), degenerate="mean")
    assert found.isnan().tolist() == [False, True, True]


def test_a_complex_weight_takes_a_real_direction():
    weight = torch.randn(3, 4, dtype=torch.complex128)
    direction = torch.randn(3, 4, dtype=torch.float64)
    spectrum = SingularValues(weight)
    for order, truth in enumerate(by_autograd(weight, direction + 0j, 3), 1):
        assert close(spectrum.derivative(direction, order), truth)
