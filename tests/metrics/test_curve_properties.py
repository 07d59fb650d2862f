"""Properties of insertion and deletion curves, for pixels, groups of pixels and bands."""

import io
import math
from contextlib import redirect_stderr

import pytest
import torch
from curve_cases import BLOCKS, CURVES, MAPS, TARGETS, WAYS, Linear, X, normal, seeds
from helpers import Counting, tiny_cnn
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import deletion_curve, insertion_curve


@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_deletion_is_insertion_with_input_and_baseline_exchanged(attributions, way):
    b, model = X.flip(0) ** 2, tiny_cnn(2)
    inserted = insertion_curve(model, X, attributions, TARGETS, baselines=b, **way)
    deleted = deletion_curve(model, b, attributions, TARGETS, baselines=X, **way)
    torch.testing.assert_close(inserted, deleted)


@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_deletion_is_insertion_in_the_opposite_order_read_from_the_other_end(attributions, way):
    b, model = X.flip(0) ** 2, tiny_cnn(2)
    way = way or {"n_steps": 60}  # whole groups of two pixels
    inserted = insertion_curve(model, X, attributions, TARGETS, baselines=b, **way)
    deleted = deletion_curve(model, X, -attributions, TARGETS, baselines=b, **way)
    torch.testing.assert_close(inserted.values, deleted.values.flip(1))


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("attributions", "way"), WAYS)
def test_a_curve_leads_from_one_to_the_other(attributions, way, curve):
    b, model = X.mean(0, keepdim=True), tiny_cnn(2)
    found = curve(model, X, attributions, TARGETS, baselines=b, **way)
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
        model,
        X,
        attributions,
        torch.tensor(TARGETS),
        baselines=b,
        additional_forward_args=args,
        perturbations_per_eval=2,
        **way,
    )
    for e in range(3):
        own = slice(e, e + 1)
        alone = curve(
            model,
            X[own],
            attributions[own],
            TARGETS[e],
            baselines=b[own],
            additional_forward_args=(scale[own], 0.5),
            **way,
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
    found = insertion_curve(tiny_cnn(2), (X,), (attributions,), 0, baselines=(X.flip(0),), **way)
    plain = insertion_curve(tiny_cnn(2), X, attributions, 0, baselines=X.flip(0), **way)
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
