"""Curves of insertion and deletion: linear models, brute force, areas."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation
from curve_cases import BAND_VALUES, BLOCKS, CURVES, MASK, TARGETS, Linear, X, normal, seeds
from helpers import tiny_cnn
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import Curve, SpectralShapley, deletion_curve, insertion_curve, split_bands

# ------------------------------------------------------------------------------- linear models


@given(seeds, st.integers(1, 9))
def test_a_linear_model_gives_the_partial_sums_of_the_sorted_contributions(seed, size):
    weight, x, b = normal(3, size, seed=seed).unbind()
    contributions = weight * (x - b)
    ordered = contributions.sort(descending=True).values
    gained = torch.cat([torch.zeros(1).double(), ordered.cumsum(0)])
    inserted, deleted = (
        curve(Linear(weight), x[None], contributions[None], baselines=b[None]) for curve in CURVES
    )
    torch.testing.assert_close(inserted.values[0], weight @ b + gained)
    torch.testing.assert_close(deleted.values[0], weight @ x - gained)
    torch.testing.assert_close(
        inserted.fractions, torch.linspace(0, 1, size + 1, dtype=torch.float64)
    )


@given(seeds)
def test_no_order_is_better_than_that_of_the_contributions_to_a_linear_model(seed):
    weight, x = normal(2, 5, seed=seed)
    orders = torch.tensor(list(permutations(range(5)))).double()
    copies = x.expand(len(orders), -1)
    for curve, best in ((insertion_curve, torch.max), (deletion_curve, torch.min)):
        areas = curve(Linear(weight), copies, orders).areas
        own = curve(Linear(weight), x[None], (weight * x)[None]).areas[0]
        torch.testing.assert_close(own, best(areas))


def test_the_order_of_shapley_values_of_bands_is_the_best_for_a_linear_model():
    model = Linear(normal(2, 10, 12, seed=5))
    values = SpectralShapley(model).attribute(X, num_bands=3, return_input_shape=False)
    arguments = {"domain": "frequency", "num_bands": 3}
    own = insertion_curve(model, X, values, **arguments).areas
    for order in permutations((0.0, 1.0, 2.0)):
        other = torch.tensor(order, dtype=torch.float64).expand(3, 3)
        assert (insertion_curve(model, X, other, **arguments).areas <= own + 1e-9).all()


# ------------------------------------------------------------------------------- brute force


def one_by_one(x, b, attributions, model, target, inserted):
    """One forward pass per pixel and example, the ranking by a sort of Python."""
    values = []
    for e in range(len(x)):
        ranking = sorted(
            (-float(attributions[e, :, i, j].sum()), i, j) for i in range(3) for j in range(4)
        )
        image = (b if inserted else x)[e].clone()
        row = [float(model(image[None])[0, target[e]])]
        for _, i, j in ranking:
            image[:, i, j] = (x if inserted else b)[e, :, i, j]
            row.append(float(model(image[None])[0, target[e]]))
        values.append(row)
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("curve", CURVES)
def test_pixels_go_one_by_one_with_all_their_channels(curve):
    x, b, a = normal(3, 3, 2, 3, 4)
    model = tiny_cnn(2)
    with torch.no_grad():
        expected = one_by_one(x, b, a, model, TARGETS, curve is insertion_curve)
    found = curve(model, x, a, TARGETS, baselines=b)
    torch.testing.assert_close(found.values, expected)
    summed = curve(model, x, a.sum(1, keepdim=True), TARGETS, baselines=b)
    torch.testing.assert_close(summed.values, expected)


@pytest.mark.parametrize("curve", CURVES)
def test_groups_go_together_in_the_order_of_their_means(curve):
    sizes = torch.tensor([0, 0, 0, 0, 1, 1, 2])  # the sum would put group 0 first
    a = torch.tensor([[3.0, 3, 3, 3, 4, 4, 5]])
    x = torch.tensor([[1.0, 2, 3, 4, 10, 20, 100]])
    inserted = [0.0, 100, 130, 140]
    expected = inserted if curve is insertion_curve else [140 - value for value in inserted]
    found = curve(lambda x: x.sum(1), x, a, feature_mask=sizes)
    assert found.values.tolist() == [expected]


def test_the_mean_of_a_group_is_what_captum_gives_the_group():
    model = tiny_cnn(2)
    a = FeatureAblation(model).attribute(X, target=2, feature_mask=BLOCKS[None, None])
    first = torch.stack([BLOCKS.flatten()[m[0].flatten().argmax()] for m in a])
    curve = deletion_curve(model, X, a, 2, feature_mask=BLOCKS)
    for e in range(3):
        without = X[e] * (first[e] != BLOCKS)
        with torch.no_grad():
            expected = model(without[None])[0, 2]
        torch.testing.assert_close(curve.values[e, 1], expected)


@given(seeds)
def test_groups_can_divide_channels_and_differ_between_examples(seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.stack([torch.randperm(24, generator=generator) % 5 for _ in range(2)])
    ids = 7 * ids.reshape(2, 2, 3, 4) + torch.arange(2).reshape(2, 1, 1, 1)  # gaps, own ids
    x, a = normal(2, 2, 2, 3, 4, seed=seed)
    curve = insertion_curve(Linear(torch.ones(())), x, a, feature_mask=ids)
    for e in range(2):
        means = {i: float(a[e][ids[e] == i].mean()) for i in ids[e].unique().tolist()}
        value, expected = 0.0, [0.0]
        for i in sorted(means, key=means.get, reverse=True):
            value += float(x[e][ids[e] == i].sum())
            expected.append(value)
        torch.testing.assert_close(curve.values[e], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("curve", CURVES)
def test_bands_go_one_by_one(curve):
    b, model = X.flip(0) ** 2, tiny_cnn(2)
    of_x, of_b = split_bands(X, MASK), split_bands(b, MASK)
    expected = []
    for e in range(3):
        ranking = sorted(range(3), key=lambda i, e=e: -float(BAND_VALUES[e, i]))
        row = []
        for count in range(4):
            changed = ranking[:count]
            present = [(i in changed) == (curve is insertion_curve) for i in range(3)]
            image = sum((of_x if there else of_b)[e, i] for i, there in enumerate(present))
            with torch.no_grad():
                row.append(float(model(image[None])[0, TARGETS[e]]))
        expected.append(row)
    arguments = {"domain": "frequency", "feature_mask": MASK}
    found = curve(model, X, BAND_VALUES, TARGETS, baselines=b, **arguments)
    torch.testing.assert_close(found.values, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.filterwarnings("ignore:feature_mask is missing")
def test_bands_without_a_frequency_are_no_features():
    gap = torch.where(MASK == 2, 4, MASK)  # ids 0, 1, 4
    a = torch.zeros(3, 5, dtype=torch.float64)
    a[:, [0, 1, 4]], a[:, 2] = BAND_VALUES, 99.0
    for curve in CURVES:
        wide = curve(tiny_cnn(2), X, a, 1, feature_mask=gap, domain="frequency")
        narrow = curve(tiny_cnn(2), X, BAND_VALUES, 1, feature_mask=MASK, domain="frequency")
        torch.testing.assert_close(wide, narrow)


def test_signals_of_one_dim_have_bands():
    x = normal(2, 3, 16)
    arguments = {"domain": "frequency", "num_bands": 4, "spectral_dims": -1}
    curve = insertion_curve(Linear(normal(3, 16)), x, normal(2, 4), **arguments)
    torch.testing.assert_close(curve.values[:, -1], Linear(normal(3, 16))(x))


# ------------------------------------------------------------------------------- areas


@given(seeds, st.integers(1, 12), st.integers(1, 4))
def test_areas_are_those_of_numpy(seed, size, count):
    x, a = normal(2, count, size, seed=seed)
    curve = insertion_curve(Linear(normal(size, seed=seed + 1)), x, a, n_steps=1 + seed % size)
    trapezoid = getattr(np, "trapezoid", None) or np.trapz  # noqa: NPY201 - of numpy 1
    expected = trapezoid(curve.values.numpy(), curve.fractions.numpy(), axis=1)
    np.testing.assert_allclose(curve.areas.numpy(), expected, atol=1e-12)


def test_a_constant_output_is_its_own_area():
    curve = insertion_curve(lambda x: 0 * x.sum(1) + 7, torch.ones(2, 11), torch.rand(2, 11))
    torch.testing.assert_close(curve.areas, torch.full((2,), 7.0))


def test_the_mean_area_has_the_standard_error_over_images():
    areas = np.array([1.0, 4.0, 2.0, 7.0])
    curve = Curve(torch.tensor([0.0, 1.0]), torch.zeros(4, 2), torch.tensor(areas).float())
    mean, error = curve.mean_area()
    assert mean == areas.mean()
    assert error == pytest.approx(areas.std(ddof=1) / 2)
    mean, error = Curve(curve.fractions, curve.values[:1], curve.areas[:1]).mean_area()
    assert mean == 1
    assert math.isnan(error)
