"""Outputs of every shape and dtype, and the rows they cost."""

import numpy as np
import pytest
import torch
from configurations import X
from helpers import Counting, Quadratic, tiny_cnn

from captum_spectral import SpectralShapley, band_mask


@pytest.mark.parametrize("per_eval", [None, 1])
@pytest.mark.parametrize("kind", ["0-d", "shape (1,)", "python number"])
@pytest.mark.parametrize("num_examples", [1, 3, 8])
def test_one_number_per_batch(kind, per_eval, num_examples):
    model = Quadratic((1, 10, 12))
    x = torch.rand(num_examples, 1, 10, 12, dtype=torch.float64)

    def whole_batch(x):
        total = model(x).sum()
        return {"0-d": total, "shape (1,)": total[None], "python number": float(total)}[kind]

    args = {"num_bands": 3, "perturbations_per_eval": per_eval}
    phi = SpectralShapley(whole_batch).attribute(x, return_input_shape=False, **args)
    per_row = SpectralShapley(model).attribute(x, return_input_shape=False, **args)
    assert phi.shape == (1, 3)
    torch.testing.assert_close(phi[0], per_row.sum((0, 1)))
    assert SpectralShapley(whole_batch).attribute(x, **args).shape == (1, 1, 10, 12)


def test_one_number_per_batch_costs_one_forward_per_coalition():
    counting = Counting(lambda x: x.sum())
    SpectralShapley(counting).attribute(X, num_bands=3, perturbations_per_eval=1)
    assert counting.shapes == [(3, 1, 10, 12)] * 2**3


@pytest.mark.parametrize("per_example", [True, False])
def test_an_output_per_example_or_all_outputs_from_the_same_forwards(per_example):
    model = Counting(tiny_cnn(1))
    if per_example:
        shape = SpectralShapley(lambda x: model(x)[:, 1]).attribute(X, num_bands=3).shape
        assert shape == (3, 1, 10, 12)
    else:
        every = SpectralShapley(model).attribute(X, num_bands=3, return_input_shape=False)
        assert every.shape == (3, 5, 3)
        for k in range(5):
            one = SpectralShapley(model.model).attribute(
                X, k, num_bands=3, return_input_shape=False
            )
            torch.testing.assert_close(every[:, k], one)
        painted, delta = SpectralShapley(model.model).attribute(
            X, num_bands=3, return_convergence_delta=True
        )
        assert painted.shape == (3, 5, 1, 10, 12)
        assert delta.shape == (3, 5)
    assert model.rows == 3 * 2**3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.float32),
    ],
)
def test_values_are_accumulated_in_float32_or_better(given, expected):
    def model(x):
        return (100 * x.double().flatten(1).sum(1)).to(given)

    result = SpectralShapley(model).attribute(X, num_bands=2, return_input_shape=False)
    assert result.dtype is expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_model_sees_the_dtype_of_the_inputs(dtype):
    seen = []

    def model(x):
        seen.append(x.dtype)
        return x.float().flatten(1).square().sum(1)

    x = X.to(dtype)
    phi = SpectralShapley(model).attribute(x, num_bands=3, return_input_shape=False)
    assert set(seen) == {dtype}
    exact = SpectralShapley(lambda x: x.flatten(1).square().sum(1)).attribute(
        x.double(), num_bands=3, return_input_shape=False
    )
    torch.testing.assert_close(phi.double(), exact, rtol=0.02, atol=0.05)


def test_each_coalition_is_one_row_and_sampling_stays_in_its_budget():
    counting = Counting(tiny_cnn(1))
    SpectralShapley(counting).attribute(X, 0, num_bands=4)
    assert counting.rows == 3 * 2**4
    counting = Counting(tiny_cnn(1))
    SpectralShapley(counting).attribute(X, 0, num_bands=4, n_samples=2)
    assert counting.rows <= 3 * (2 * 2 * 3 + 2)


def test_a_band_that_no_bin_has_costs_nothing_and_gets_nothing():
    mask = band_mask((10, 12), 3) * 2  # ids 0, 2, 4
    counting = Counting(tiny_cnn(1))
    with pytest.warns(UserWarning, match="missing 2 of the integers between 0 and 4"):
        phi = SpectralShapley(counting).attribute(X, 0, feature_mask=mask, return_input_shape=False)
    assert counting.rows == 3 * 2**3
    assert phi.shape == (3, 5)
    assert not phi[:, [1, 3]].any()
    dense = SpectralShapley(tiny_cnn(1)).attribute(X, 0, num_bands=3, return_input_shape=False)
    torch.testing.assert_close(phi[:, ::2], dense)


def test_rows_are_stacked_coalition_by_coalition():
    # Captum's ExpansionTypes.repeat: row = k * B + b.
    seen = []

    def model(x, index):
        seen.append(index.tolist())
        return x.flatten(1).sum(1)

    SpectralShapley(model).attribute(
        X, num_bands=2, additional_forward_args=torch.arange(3), perturbations_per_eval=2
    )
    assert seen == [[0, 1, 2, 0, 1, 2]] * 2


def test_standard_error_is_painted_like_the_attributions_and_zero_when_exact():
    for n_samples in (None, 3):
        phi, delta, error = SpectralShapley(tiny_cnn(1)).attribute(
            X,
            0,
            num_bands=5,
            n_samples=n_samples,
            return_convergence_delta=True,
            return_standard_error=True,
        )
        assert error.shape == phi.shape
        assert delta.shape == (3,)
        assert bool(error.any()) == (n_samples is not None)


def test_a_seed_reproduces_the_orderings_whatever_the_batch():
    explainer = SpectralShapley(tiny_cnn(1))

    def draw(x, seed):
        generator = torch.Generator().manual_seed(seed)
        return explainer.attribute(
            x, 0, num_bands=4, n_samples=2, return_input_shape=False, generator=generator
        )

    assert torch.equal(draw(X, 1), draw(X, 1))
    assert not torch.equal(draw(X, 1), draw(X, 2))
    torch.testing.assert_close(draw(X, 1)[:1], draw(X[:1], 1))


@pytest.mark.parametrize(
    "number",
    [
        np.float32(0.5),
        np.float64(0.5),
        np.float16(0.5),
        torch.tensor(0.5),
        torch.tensor(0.5).double(),
    ],
)
def test_a_baseline_is_any_number(number):
    model, x = tiny_cnn(), torch.rand(2, 3, 12, 10, dtype=torch.float64)
    expected = SpectralShapley(model).attribute(x, 1, num_bands=3, baselines=0.5)
    result = SpectralShapley(model).attribute(x, 1, num_bands=3, baselines=number)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize(("count", "kind"), [(0, np.uint8), (1, np.int64)])
def test_a_baseline_is_any_whole_number(count, kind):
    model, x = tiny_cnn(), torch.rand(2, 3, 12, 10, dtype=torch.float64)
    expected = SpectralShapley(model).attribute(x, 1, num_bands=3, baselines=count)
    result = SpectralShapley(model).attribute(x, 1, num_bands=3, baselines=kind(count))
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("layout", [torch.Tensor.to_sparse, lambda x: x.to_sparse(2)])
def test_a_sparse_input_is_refused_by_name(layout):
    with pytest.raises(TypeError, match=r"inputs must be dense, got layout .*use .to_dense\(\)"):
        SpectralShapley(tiny_cnn()).attribute(layout(torch.rand(2, 3, 12, 10)), 1)


def test_a_mask_of_numpy_is_refused_with_the_way_out():
    mask = band_mask((12, 10), 3).numpy()
    with pytest.raises(TypeError, match=r"got ndarray; use torch.from_numpy\(mask\)"):
        SpectralShapley(tiny_cnn()).attribute(torch.rand(2, 3, 12, 10), 1, feature_mask=mask)
