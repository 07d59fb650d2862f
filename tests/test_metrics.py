"""Curves of insertion and deletion, where a map lies and how it is spread: exact cases, claims."""

import io
import math
import warnings
from contextlib import redirect_stderr
from itertools import permutations

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation
from helpers import Counting, tiny_cnn
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_spectral import (
    Curve,
    SpectralShapley,
    band_mask,
    concentration,
    deletion_curve,
    energy_in_box,
    insertion_curve,
    normalized_entropy,
    positive_percentage,
    split_bands,
)

seeds = st.integers(0, 2**31 - 1)
CURVES = [insertion_curve, deletion_curve]
TARGETS = [0, 3, 1]
BLOCKS = (torch.arange(10)[:, None] // 5) * 3 + torch.arange(12) // 4  # (10, 12), 6 groups
MASK = band_mask((10, 12), 3)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


X = normal(3, 2, 10, 12)
MAPS = normal(3, 2, 10, 12, seed=1)
BAND_VALUES = normal(3, 3, seed=2)
WAYS = [
    pytest.param(MAPS, {}, id="pixels"),
    pytest.param(MAPS, {"feature_mask": BLOCKS}, id="blocks"),
    pytest.param(BAND_VALUES, {"domain": "frequency", "num_bands": 3}, id="bands"),
]


class Linear(nn.Module):
    """``<w, x>`` of inputs of any shape."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.eval()

    def forward(self, x):
        return (x * self.weight).flatten(1).sum(1)


# ------------------------------------------------------------------------------- linear models


@given(seeds, st.integers(1, 9))
def test_a_linear_model_gives_the_partial_sums_of_the_sorted_contributions(seed, size):
    weight, x, b = normal(3, size, seed=seed).unbind()
    contributions = weight * (x - b)
    ordered = contributions.sort(descending=True).values
    gained = torch.cat([torch.zeros(1).double(), ordered.cumsum(0)])
    arguments = Linear(weight), x[None], contributions[None], None, b[None]
    inserted, deleted = (curve(*arguments) for curve in CURVES)
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
    found = curve(model, x, a, TARGETS, b)
    torch.testing.assert_close(found.values, expected)
    summed = curve(model, x, a.sum(1, keepdim=True), TARGETS, b)
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
    found = curve(model, X, BAND_VALUES, TARGETS, b, **arguments)
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


# ------------------------------------------------------------------------------- properties


@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_deletion_is_insertion_with_input_and_baseline_exchanged(attributions, way):
    b, model = X.flip(0) ** 2, tiny_cnn(2)
    inserted = insertion_curve(model, X, attributions, TARGETS, b, **way)
    deleted = deletion_curve(model, b, attributions, TARGETS, X, **way)
    torch.testing.assert_close(inserted, deleted)


@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_deletion_is_insertion_in_the_opposite_order_read_from_the_other_end(attributions, way):
    b, model = X.flip(0) ** 2, tiny_cnn(2)
    way = way or {"n_steps": 60}  # whole groups of two pixels
    inserted = insertion_curve(model, X, attributions, TARGETS, b, **way)
    deleted = deletion_curve(model, X, -attributions, TARGETS, b, **way)
    torch.testing.assert_close(inserted.values, deleted.values.flip(1))


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_a_curve_leads_from_one_to_the_other(attributions, way, curve):
    b, model = X.mean(0, keepdim=True), tiny_cnn(2)
    found = curve(model, X, attributions, TARGETS, b, **way)
    with torch.no_grad():
        of_x, of_b = model(X)[range(3), TARGETS], model(b)[0, TARGETS]
    ends = (of_b, of_x) if curve is insertion_curve else (of_x, of_b)
    torch.testing.assert_close(found.values[:, [0, -1]], torch.stack(ends, 1))
    assert found.fractions[0] == 0
    assert found.fractions[-1] == 1


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_a_batch_equals_its_examples(attributions, way, curve):
    net, scale = tiny_cnn(2), torch.tensor([1.0, 2.0, -1.0])

    def model(x, scale, offset):
        return net(x) * scale[:, None] + offset

    b = X.flip(0) ** 2
    args = (scale, 0.5)
    together = curve(
        model, X, attributions, torch.tensor(TARGETS), b, args, perturbations_per_eval=2, **way
    )
    for e in range(3):
        own = slice(e, e + 1)
        alone = curve(
            model, X[own], attributions[own], TARGETS[e], b[own], (scale[own], 0.5), **way
        )
        torch.testing.assert_close(together.values[own], alone.values)
        torch.testing.assert_close(together.areas[own], alone.areas)


@pytest.mark.parametrize(("attributions", "way"), WAYS)
@pytest.mark.parametrize("perturbations_per_eval", [1, 2, 5, 1000])
def test_steps_share_forward_passes_as_asked(attributions, way, perturbations_per_eval):
    model = Counting(tiny_cnn(2))
    options = {**way, "perturbations_per_eval": perturbations_per_eval}
    curve = insertion_curve(model, X, attributions, TARGETS, **options)
    steps = len(curve.fractions)
    assert model.rows == 3 * steps
    assert model.calls == math.ceil(steps / perturbations_per_eval)
    reference = insertion_curve(tiny_cnn(2), X, attributions, TARGETS, **way)
    torch.testing.assert_close(curve, reference)


@given(seeds, st.sampled_from(CURVES))
def test_only_the_order_counts(seed, curve):
    x, a = normal(2, 2, 6, seed=seed)
    model = Linear(normal(6, seed=seed + 1))
    torch.testing.assert_close(curve(model, x, a), curve(model, x, 3 * a.exp() - 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_attributions_keep_the_order_of_position(dtype):
    x = torch.arange(1.0, 101.0)[None]
    curve = insertion_curve(Linear(torch.ones(100)), x, torch.zeros(1, 100, dtype=dtype), n_steps=4)
    assert curve.values.tolist() == [[0, 325, 1275, 2850, 5050]]


def test_steps_are_as_even_as_whole_features_can_be():
    x = torch.ones(1, 7)
    curve = insertion_curve(Linear(torch.ones(7)), x, x, n_steps=3)
    assert curve.values.tolist() == [[0, 2, 4, 7]]
    torch.testing.assert_close(curve.fractions, torch.tensor([0, 2, 4, 7]) / 7)


def test_pixels_take_at_most_50_steps_and_bands_one_each():
    assert insertion_curve(tiny_cnn(2), X, MAPS, 0).values.shape == (3, 51)
    assert insertion_curve(tiny_cnn(2), X, MAPS, 0, feature_mask=BLOCKS).values.shape == (3, 7)
    x = torch.randn(1, 1, 256)
    arguments = {"domain": "frequency", "num_bands": 64, "spectral_dims": -1}
    curve = insertion_curve(Linear(torch.ones(256)), x, torch.randn(1, 64), **arguments)
    assert curve.values.shape == (1, 65)


@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_a_tuple_of_one_is_the_tensor(attributions, way):
    way = {k: (v,) if k == "feature_mask" else v for k, v in way.items()}
    found = insertion_curve(tiny_cnn(2), (X,), (attributions,), 0, (X.flip(0),), **way)
    plain = insertion_curve(tiny_cnn(2), X, attributions, 0, X.flip(0), **way)
    torch.testing.assert_close(found, plain)


@pytest.mark.parametrize("target", [2, torch.tensor(2), [2, 2, 2], torch.tensor([2, 2, 2])])
@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_targets_in_the_forms_of_captum(attributions, way, target):
    found = deletion_curve(tiny_cnn(2), X, attributions, target, **way)
    expected = deletion_curve(lambda x: tiny_cnn(2)(x)[:, 2], X, attributions, **way)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_targets_of_outputs_with_more_dims(attributions, way):
    def model(x):
        return tiny_cnn(2)(x)[:, :4].reshape(-1, 2, 2)

    own = deletion_curve(model, X, attributions, [(0, 1), (1, 0), (1, 1)], **way)
    flat = deletion_curve(tiny_cnn(2), X, attributions, [1, 2, 3], **way)
    torch.testing.assert_close(own, flat)
    one = deletion_curve(model, X, attributions, (1, 0), **way)
    torch.testing.assert_close(one, deletion_curve(tiny_cnn(2), X, attributions, 2, **way))


@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_half_precision_reaches_the_model_and_values_are_single(attributions, way):
    seen = set()

    def model(x):
        seen.add(x.dtype)
        return x.flatten(1).mean(1)

    curve = insertion_curve(model, X.bfloat16(), attributions.bfloat16(), **way)
    assert seen == {torch.bfloat16}
    assert {part.dtype for part in curve} == {torch.float32}


@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_no_gradient_is_made_and_nothing_is_changed(attributions, way):
    net = tiny_cnn(2)
    state = {name: p.clone() for name, p in net.state_dict().items()}
    x, a = X.clone().requires_grad_(), attributions.clone().requires_grad_()
    graphs = []

    def model(x):
        graphs.append(net(x).requires_grad)
        return net(x)

    curve = insertion_curve(model, x, a, 0, **way)
    assert not any(graphs)
    assert not any(part.requires_grad for part in curve)
    assert torch.equal(x, X)
    assert torch.equal(a, attributions)
    assert all(torch.equal(p, state[name]) for name, p in net.state_dict().items())


@pytest.mark.parametrize(("attributions", "way"), WAYS)
@pytest.mark.parametrize(
    ("curve", "title"), [(insertion_curve, "Insertion"), (deletion_curve, "Deletion")]
)
def test_the_progress_bar_counts_rows_to_the_end(attributions, way, curve, title):
    err = io.StringIO()
    with redirect_stderr(err):
        curve(tiny_cnn(2), X, attributions, 0, show_progress=True, **way)
    assert f"{title} curve: 100%" in err.getvalue()


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


# ------------------------------------------------------------------------------- bad input


def nan_at(tensor, *index):
    tensor = tensor.clone()
    tensor[index] = math.nan
    return tensor


def not_finite_at(x):
    return torch.where(x.sum(1) > 1.5, math.nan, 1.0)


PIXELS = {"inputs": X, "attributions": MAPS, "target": 0}
BANDS = {"inputs": X, "attributions": BAND_VALUES, "target": 0, "domain": "frequency"}
BANDS |= {"num_bands": 3}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (PIXELS | {"inputs": X.long()}, TypeError, "inputs must be a real floating tensor"),
        (PIXELS | {"inputs": nan_at(X, 1)}, ValueError, "inputs must be finite: example 1"),
        (
            PIXELS | {"inputs": (X, X)},
            ValueError,
            "inputs must be one tensor or a tuple of one, got a tuple of 2: .* additional_forward",
        ),
        (
            PIXELS | {"attributions": (MAPS, MAPS)},
            ValueError,
            "attributions must be one tensor or a tuple of one",
        ),
        (
            PIXELS | {"attributions": [1.0]},
            TypeError,
            "attributions must be a torch.Tensor, .* got list",
        ),
        (
            PIXELS | {"attributions": nan_at(MAPS, 2)},
            ValueError,
            "attributions must be finite: example 2 holds 240 NaN",
        ),
        (
            BANDS | {"attributions": nan_at(BAND_VALUES, 1, 2)},
            ValueError,
            "attributions must be finite: example 1 holds 1 NaN",
        ),
        (
            PIXELS | {"attributions": MAPS.sum(1)},
            ValueError,
            r"shape of the input, \(3, 2, 10, 12\), or size 1 .* \(B, 1, H, W\); got shape \(3, 10",
        ),
        (PIXELS | {"attributions": MAPS[:1]}, ValueError, r"got shape \(1, 2, 10, 12\)"),
        (PIXELS | {"attributions": MAPS[..., :4]}, ValueError, r"got shape \(3, 2, 10, 4\)"),
        (
            BANDS | {"attributions": MAPS},
            ValueError,
            r"attributions must be \(3, 3\) in the frequency domain, .* return_input_shape=False",
        ),
        (PIXELS | {"domain": "wavelet"}, ValueError, "'pixel' or 'frequency', got 'wavelet'"),
        (PIXELS | {"num_bands": 4}, ValueError, "num_bands=4 is for .* add domain='frequency'"),
        (PIXELS | {"spectral_dims": -1}, ValueError, "spectral_dims=-1 is for frequency bands"),
        (PIXELS | {"baselines": "black"}, TypeError, "baselines must be None, a number or a"),
        (PIXELS | {"baselines": X[:2]}, ValueError, r"baselines of shape \(2, 2, 10, 12\)"),
        (PIXELS | {"target": [0, 1]}, ValueError, "target has 2 entries for 3 examples"),
        (PIXELS | {"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        (PIXELS | {"n_steps": 2.0}, TypeError, "n_steps must be an integer or None, got 2.0"),
        (PIXELS | {"n_steps": 121}, ValueError, "n_steps=121 is more than the 120 features"),
        (BANDS | {"n_steps": 4}, ValueError, "n_steps=4 is more than the 3 features .* n_steps=3"),
        (PIXELS | {"perturbations_per_eval": 0}, ValueError, "perturbations_per_eval must be at"),
        (BANDS | {"perturbations_per_eval": None}, TypeError, "must be an integer, got None"),
        (PIXELS | {"feature_mask": BLOCKS.double()}, TypeError, "integer ids of pixel groups"),
        (PIXELS | {"feature_mask": BLOCKS[:5]}, ValueError, "does not broadcast to the input"),
        (
            PIXELS | {"feature_mask": BLOCKS - 1},
            ValueError,
            "holds the negative id -1",
        ),
        (
            PIXELS | {"feature_mask": BLOCKS // torch.tensor([1, 1, 2]).reshape(3, 1, 1, 1)},
            ValueError,
            "has 6 groups in example 0 and 3 in example 2; .* call once for each example",
        ),
        (BANDS | {"feature_mask": torch.eye(10, 12).long()}, ValueError, "and its negative"),
    ],
)
@pytest.mark.parametrize("curve", CURVES)
def test_bad_input_is_named_before_any_forward_pass(curve, arguments, error, message):
    model = Counting(tiny_cnn(2))
    with pytest.raises(error, match=message):
        curve(model, **arguments)
    assert model.calls == 0


@pytest.mark.parametrize("arguments", [PIXELS, BANDS], ids=["pixel", "frequency"])
def test_a_class_that_does_not_exist_is_named(arguments):
    with pytest.raises(ValueError, match=r"target 9 does not exist: .* 5 outputs"):
        insertion_curve(tiny_cnn(2), **{**arguments, "target": 9})


@pytest.mark.parametrize("arguments", [PIXELS, BANDS], ids=["pixel", "frequency"])
@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (tiny_cnn(2), ValueError, r"gives shape \(3, 5\) for 3 rows at target=None; a curve needs"),
        (lambda x: x.sum(), ValueError, r"gives shape \(1,\) for 3 rows"),
        (lambda x: float(x.sum()), ValueError, r"gives shape \(1,\) for 3 rows"),
        (lambda x: "cat", TypeError, "must return a tensor of real numbers or a number, got str"),
        (lambda x: x.flatten(1).sum(1) * math.inf, ValueError, "not finite .* for example 0 with"),
    ],
)
def test_bad_outputs_are_named(arguments, model, error, message):
    with pytest.raises(error, match=message):
        insertion_curve(model, **{**arguments, "target": None})


def test_the_step_of_an_output_that_is_not_finite_is_named():
    x = torch.tensor([[0.1, 0.1, 0.1], [1.0, 1.0, 1.0]])
    message = "for example 1 with 2 of 3 features replaced, .* does the model accept its baseline"
    with pytest.raises(ValueError, match=message):
        insertion_curve(not_finite_at, x, x)


@pytest.mark.parametrize("arguments", [PIXELS, BANDS], ids=["pixel", "frequency"])
def test_one_number_is_enough_for_one_example(arguments):
    alone = {**arguments, "inputs": X[:1], "attributions": arguments["attributions"][:1]}
    curve = insertion_curve(lambda x: x.sum(), **{**alone, "target": None})
    torch.testing.assert_close(curve.values[0, -1], X[0].sum())
    shared = {**alone, "target": None, "perturbations_per_eval": 2}
    with pytest.raises(ValueError, match=r"for 2 rows|perturbations_per_eval=2 needs"):
        insertion_curve(lambda x: x.sum(), **shared)


@pytest.mark.parametrize("arguments", [PIXELS, BANDS], ids=["pixel", "frequency"])
def test_training_mode_is_warned_about(arguments):
    with pytest.warns(UserWarning, match="is in training mode"):
        insertion_curve(tiny_cnn(2).train(), **arguments)


# ------------------------------------------------------------------------------- localisation


def test_the_share_of_the_positive_attribution_in_a_box():
    a = torch.tensor([[[[4.0, -1.0, 0.0], [1.0, 2.0, -5.0]]]]).double()
    assert energy_in_box(a, torch.tensor([0, 0, 1, 2])).tolist() == [5 / 7]
    assert energy_in_box(a, torch.tensor([[1, 1, 3, 2]])).tolist() == [2 / 7]
    assert positive_percentage(a, torch.tensor([0, 0, 2, 2])).tolist() == [7 / 8]
    assert positive_percentage(a, torch.tensor([1, 1, 3, 2])).tolist() == [2 / 7]


def test_channels_are_summed_first():
    a = normal(2, 3, 5, 6)
    region = torch.tensor([1, 1, 4, 5])
    for metric in (energy_in_box, positive_percentage):
        torch.testing.assert_close(metric(a, region), metric(a.sum(1), region))
        torch.testing.assert_close(metric((a,), region), metric(a.sum(1), region))
    for metric in (concentration, normalized_entropy):
        torch.testing.assert_close(metric(a), metric(a.sum(1)))
        torch.testing.assert_close(metric((a,)), metric(a.sum(1)))


@given(seeds, st.data())
def test_a_box_is_the_mask_of_its_pixels(seed, data):
    a = normal(3, 5, 7, seed=seed)
    boxes, masks = [], torch.zeros(3, 5, 7, dtype=torch.bool)
    for e in range(3):
        x1, y1 = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 4))
        x2, y2 = data.draw(st.integers(x1 + 1, 7)), data.draw(st.integers(y1 + 1, 5))
        boxes.append((x1, y1, x2, y2))
        masks[e, y1:y2, x1:x2] = True
    for metric in (energy_in_box, positive_percentage):
        torch.testing.assert_close(metric(a, torch.tensor(boxes)), metric(a, masks))
        one = metric(a, torch.tensor(boxes[0]))
        torch.testing.assert_close(one, metric(a, masks[0]))


@given(seeds)
def test_a_region_and_the_rest_share_the_energy(seed):
    a = normal(2, 1, 6, 6, seed=seed)
    region = normal(6, 6, seed=seed + 1) > 0
    region[0, 0], region[5, 5] = True, False
    whole = energy_in_box(a, region) + energy_in_box(a, ~region)
    torch.testing.assert_close(whole, torch.ones(2, dtype=torch.float64))
    assert torch.equal(energy_in_box(a, region | True), torch.ones(2, dtype=torch.float64))


@given(seeds, st.floats(1e-6, 1e6))
def test_the_scale_of_a_map_does_not_matter(seed, scale):
    a, region = normal(2, 1, 6, 6, seed=seed), torch.tensor([1, 2, 4, 6])
    for metric in (energy_in_box, positive_percentage):
        torch.testing.assert_close(metric(scale * a, region), metric(a, region))
    for metric in (concentration, normalized_entropy):
        torch.testing.assert_close(metric(scale * a), metric(a))


@given(seeds, st.integers(0, 5), st.integers(0, 7))
def test_the_spread_does_not_depend_on_the_place(seed, down, right):
    patch = normal(1, 3, 4, seed=seed)
    a, moved = torch.zeros(2, 1, 8, 11, dtype=torch.float64)
    a[:, :3, :4] = patch
    moved[:, down : down + 3, right : right + 4] = patch
    torch.testing.assert_close(concentration(moved), concentration(a))
    torch.testing.assert_close(normalized_entropy(moved), normalized_entropy(a))


def test_a_single_pixel_has_no_spread():
    a = torch.zeros(1, 3, 9, 7)
    a[0, :, 4, 5] = 2.0
    assert concentration(a).tolist() == [0]
    assert normalized_entropy(a).tolist() == [0]
    assert normalized_entropy(-a).tolist() == [0]


def test_two_equal_pixels_are_half_their_distance_from_the_centre():
    a = torch.zeros(1, 9, 9)
    a[0, 1, 2] = a[0, 4, 6] = 3.0  # 5 apart
    a[0, 8, 8] = -100.0
    torch.testing.assert_close(concentration(a), torch.tensor([2.5]))


def test_an_even_square_is_0_38_of_its_side_wide():
    expected = (math.sqrt(2) + math.log(1 + math.sqrt(2))) / 6  # the mean over a unit square
    assert expected == pytest.approx(0.3826, abs=1e-4)
    assert float(concentration(torch.ones(1, 224, 224))) == pytest.approx(224 * expected, rel=1e-4)


@given(seeds, st.integers(2, 8), st.integers(1, 8))
def test_entropy_is_that_of_the_shares(seed, height, width):
    a = normal(2, height, width, seed=seed)
    shares = a.abs().flatten(1).numpy() / a.abs().sum((1, 2)).numpy()[:, None]
    expected = -(shares * np.log(shares)).sum(1) / np.log(height * width)
    np.testing.assert_allclose(normalized_entropy(a).numpy(), expected, atol=1e-12)
    even = normalized_entropy(a.sign())
    torch.testing.assert_close(even, torch.ones(2, dtype=torch.float64))


def test_where_there_is_nothing_to_divide_by_it_is_nan():
    a = torch.zeros(3, 4, 4)
    a[1], a[2, 0, 0] = -1.0, 1.0  # nothing; nothing positive; nothing in the box
    box = torch.tensor([2, 2, 4, 4])
    nan = math.nan
    for found, expected in (
        (energy_in_box(a, box), [nan, nan, 0.0]),
        (positive_percentage(a, box), [nan, 0.0, nan]),
        (concentration(a), [nan, nan, 0.0]),
        (normalized_entropy(a), [nan, 1.0, 0.0]),
    ):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert normalized_entropy(torch.ones(1, 1, 1)).isnan().all()


def test_maps_in_half_precision_are_measured_in_single():
    a, box = torch.rand(2, 3, 8, 8).bfloat16(), torch.tensor([2, 2, 4, 4])
    for metric in (energy_in_box, positive_percentage):
        torch.testing.assert_close(metric(a, box), metric(a.float(), box))
    for metric in (concentration, normalized_entropy):
        torch.testing.assert_close(metric(a), metric(a.float()))


@pytest.mark.parametrize(
    ("region", "error", "message"),
    [
        ((0, 0, 2, 2), TypeError, "region must be a torch.Tensor, got tuple"),
        (
            torch.rand(4),
            TypeError,
            "mask, or boxes .* of integers, got dtype torch.float32",
        ),
        (torch.ones(10, 12).long(), ValueError, r"box \(4,\) or boxes \(3, 4\) .* mask.bool\(\)"),
        (torch.ones(2, 4).long(), ValueError, r"got shape \(2, 4\)"),
        (torch.ones(2, 10, 12).bool(), ValueError, r"a mask \(10, 12\) or \(3, 10, 12\)"),
        (torch.zeros(10, 12).bool(), ValueError, "the mask of example 0 is empty"),
        (torch.tensor([0, 0, 13, 4]), ValueError, r"x2 <= 12 .* y2 <= 10, got .*\(0, 0, 13, 4\)"),
        (torch.tensor([0, 0, 4, 11]), ValueError, "must lie in the map and hold a pixel"),
        (torch.tensor([-1, 0, 4, 4]), ValueError, "must lie in the map and hold a pixel"),
        (torch.tensor([0, -1, 4, 4]), ValueError, "must lie in the map and hold a pixel"),
        (torch.tensor([3, 0, 3, 4]), ValueError, "must lie in the map and hold a pixel"),
        (torch.tensor([[0, 0, 1, 1], [0, 4, 2, 2], [0, 0, 1, 1]]), ValueError, "of example 1"),
    ],
)
def test_bad_regions_are_named(region, error, message):
    for metric in (energy_in_box, positive_percentage):
        with pytest.raises(error, match=message):
            metric(MAPS, region)


@pytest.mark.parametrize(
    ("attributions", "error", "message"),
    [
        (MAPS.long(), TypeError, "attributions must be a real floating tensor"),
        (nan_at(MAPS, 1), ValueError, "attributions must be finite: example 1"),
        (MAPS[0, 0], ValueError, r"\(B, C, H, W\) or \(B, H, W\), .* got \(10, 12\)"),
        ((MAPS, MAPS), ValueError, "got a tuple of 2"),
    ],
)
def test_bad_maps_are_named(attributions, error, message):
    box = torch.tensor([0, 0, 1, 1])
    for metric in (concentration, normalized_entropy, lambda a: energy_in_box(a, box)):
        with pytest.raises(error, match=message):
            metric(attributions)
    with pytest.raises(error, match=message):
        positive_percentage(attributions, box)


# ------------------------------------------------------------------------------- Quantus


@pytest.fixture(scope="module")
def quantus():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        return pytest.importorskip("quantus", exc_type=ImportError)  # opencv without libGL


def of_quantus(metric, **batch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array(metric(channel_first=True, **batch))


QUIET = {"normalise": False, "disable_warnings": True, "return_aggregate": False}


@pytest.mark.parametrize("features_in_step", [1, 4])
@pytest.mark.parametrize("baseline", [0.0, 0.25])
def test_deletion_is_the_pixel_flipping_of_quantus(quantus, features_in_step, baseline):
    x, a = normal(2, 3, 1, 6, 8).float()
    model = tiny_cnn(1, dtype=torch.float32)
    metric = quantus.PixelFlipping(
        features_in_step=features_in_step, perturb_baseline=baseline, abs=False, **QUIET
    )
    for softmax in (False, True):
        theirs = of_quantus(
            metric,
            model=model,
            x_batch=x.numpy(),
            y_batch=np.array(TARGETS),
            a_batch=a.numpy().copy(),
            softmax=softmax,
        )
        outputs = nn.Sequential(model, nn.Softmax(1)).eval() if softmax else model
        ours = deletion_curve(outputs, x, a, TARGETS, baseline, n_steps=48 // features_in_step)
        np.testing.assert_allclose(ours.values[:, 1:].numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize("name", ["AttributionLocalisation", "RelevanceMassAccuracy"])
def test_energy_in_a_box_is_the_localisation_of_quantus(quantus, name):
    a, box = normal(3, 1, 6, 8).float(), torch.tensor([2, 1, 7, 4])
    mask = np.zeros((3, 1, 6, 8), dtype=int)
    mask[..., 1:4, 2:7] = 1
    theirs = of_quantus(
        getattr(quantus, name)(abs=False, **QUIET),
        model=tiny_cnn(1, dtype=torch.float32),
        x_batch=np.zeros((3, 1, 6, 8), dtype=np.float32),
        y_batch=np.array(TARGETS),
        a_batch=a.clamp(min=0).numpy(),
        s_batch=mask,
    )
    np.testing.assert_allclose(energy_in_box(a, box).numpy(), theirs, rtol=1e-5)


def test_the_entropy_is_the_complexity_of_quantus(quantus):
    a = normal(3, 1, 6, 8).float()
    theirs = of_quantus(
        quantus.Complexity(abs=True, **QUIET),
        model=tiny_cnn(1, dtype=torch.float32),
        x_batch=np.zeros((3, 1, 6, 8), dtype=np.float32),
        y_batch=np.array(TARGETS),
        a_batch=a.numpy().copy(),
    )
    np.testing.assert_allclose(normalized_entropy(a).numpy(), theirs / math.log(48), rtol=1e-5)
