"""Gradients over samples that lack random features: exact cases, Captum's forms."""

import io
from contextlib import redirect_stderr

import pytest
import torch
from captum.attr import GradientAttribution, Saliency
from configurations import of_one_tensor
from contract import AttributionContract, OfGradients
from helpers import Quadratic, tiny_cnn
from hypothesis import given, settings
from hypothesis import strategies as st
from suppression import (
    BANDS,
    BLOCKS,
    FULL_PRECISION,
    TARGETS,
    WAYS,
    Recording,
    X,
    run,
    samples_of,
    seeded,
)

from captum_spectral import FeatureSuppression


class TestPixels(OfGradients, AttributionContract):
    method, kind = FeatureSuppression, GradientAttribution
    arguments = {"n_samples": 3}
    draws = True
    rows = 3


class TestBands(TestPixels):
    arguments = {**TestPixels.arguments, **BANDS, "absolute": False}


class TestGroupsOfPixels(TestPixels):
    arguments = {**TestPixels.arguments, "feature_mask": BLOCKS[None, None]}

    def configs(self):
        return of_one_tensor(super().configs())


# ------------------------------------------------------------------------------- exact cases


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_without_suppression_it_is_saliency(way, absolute):
    model = tiny_cnn(2)
    expected = Saliency(model).attribute(X.clone().requires_grad_(), TARGETS, abs=absolute)
    ours, error = run(model, suppress=0, absolute=absolute, return_standard_error=True, **way)
    torch.testing.assert_close(ours, expected, **FULL_PRECISION)
    assert error.max() < 1e-15


def test_when_all_is_suppressed_it_is_saliency_of_the_baseline():
    model, b = tiny_cnn(2), X.flip(0) ** 2
    expected = Saliency(model).attribute(b.clone().requires_grad_(), TARGETS)
    torch.testing.assert_close(run(model, suppress=1, baselines=b), expected, **FULL_PRECISION)


@given(
    st.integers(0, 2**31 - 1),
    st.floats(0, 1),
    st.sampled_from([way.values[0] for way in WAYS]),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_a_linear_model_has_its_weights_whatever_is_suppressed(seed, r, way, absolute):
    weight = torch.randn(2, 10, 12, generator=seeded(seed), dtype=torch.float64)
    z, error = run(
        lambda x: (x * weight).flatten(1).sum(1),
        target=None,
        seed=seed,
        suppress=r,
        absolute=absolute,
        return_standard_error=True,
        **way,
    )
    assert torch.equal(z, (weight.abs() if absolute else weight).expand_as(X))
    assert torch.equal(error, torch.zeros_like(X))


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_mean_and_the_error_of_gradients_at_the_samples(way, absolute):
    model = tiny_cnn(2)
    b = X.mean(0, keepdim=True)
    arguments = {"baselines": b, "absolute": absolute, "suppress": (0.2, 0.9), **way}
    gradients = []
    for sample in samples_of(model, **arguments):
        sample.requires_grad_()
        output = model(sample)[torch.arange(3), TARGETS].sum()
        gradients.append(torch.autograd.grad(output, sample)[0])
    gradients = torch.stack(gradients)
    gradients = gradients.abs() if absolute else gradients
    z, error = run(model, return_standard_error=True, **arguments)
    torch.testing.assert_close(z, gradients.mean(0), **FULL_PRECISION)
    torch.testing.assert_close(error, gradients.std(0) / 6**0.5, **FULL_PRECISION)


# ------------------------------------------------------------------------------- Captum's forms


@pytest.mark.parametrize("way", [{}, BANDS])
@pytest.mark.parametrize("size", [None, 4])
def test_tuples_of_inputs(way, size):
    inputs = (X, torch.rand(3, 9, generator=seeded(), dtype=torch.float64) + 1)
    model = Quadratic((2, 10, 12), (9,))
    if way:
        inputs, model = (X, X[..., :9]), Quadratic((2, 10, 12), (2, 10, 9))
    recording = Recording(model)
    z, error = run(
        recording,
        inputs,
        [2, 0, 1],
        baselines=(X.flip(0), 0.1),
        internal_batch_size=size,
        return_standard_error=True,
        absolute=False,
        **way,
    )
    assert isinstance(z, tuple)
    assert isinstance(error, tuple)
    samples = [torch.cat(rows).requires_grad_() for rows in zip(*recording.seen, strict=True)]
    classes = torch.tensor([2, 0, 1]).repeat_interleave(6)  # rows go example by example
    output = model(*samples)[torch.arange(18), classes].sum()
    for ours, gradients in zip(z, torch.autograd.grad(output, samples), strict=True):
        mean = gradients.unflatten(0, (3, 6)).mean(1)
        torch.testing.assert_close(ours, mean, **FULL_PRECISION)


def test_one_id_in_two_tensors_is_one_feature():
    inputs = (X[..., 0], X[..., 1])
    recording = Recording(Quadratic((2, 10), (2, 10)))
    rows = torch.arange(10)
    run(recording, inputs, 0, feature_mask=(rows, rows), suppress=0.5)
    for one, other in recording.seen:
        assert torch.equal(one == 0, other == 0)
    recording.seen.clear()
    run(recording, inputs, 0, suppress=0.5)
    assert any(not torch.equal(one == 0, other == 0) for one, other in recording.seen)


def test_a_tuple_of_one_may_have_a_tuple_of_masks():
    (z,) = run(tiny_cnn(2), (X,), feature_mask=(BLOCKS,))
    assert torch.equal(z, run(tiny_cnn(2), feature_mask=BLOCKS))


@pytest.mark.parametrize("size", [None, 2])
def test_targets_and_additional_arguments_follow_their_example(size):
    body = tiny_cnn(2, 20)

    def model(x, scale, table, power=1):
        assert table.shape == (7,)
        return (body(x) * scale[:, None] ** power + table.sum()).reshape(-1, 4, 5)

    args = (torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), torch.arange(7.0), 2)
    tuples = [(0, 1), (3, 4), (2, 0)]
    arguments = {"additional_forward_args": args, "internal_batch_size": size, "absolute": False}
    z = run(model, target=tuples, **arguments)
    for e, (i, j) in enumerate(tuples):
        plain = run(body, X[e : e + 1], 5 * i + j, absolute=False)
        torch.testing.assert_close(z[e : e + 1], (e + 1) ** 2 * plain, **FULL_PRECISION)
    for target in (2, torch.tensor([2]), [2, 2, 2]):
        assert torch.equal(run(body, target=target), run(body, target=torch.tensor([2, 2, 2])))


def test_one_number_per_batch_is_differentiated_as_a_whole():
    model = tiny_cnn(2)
    z = run(lambda x: model(x)[:, 1].sum(), target=None)
    torch.testing.assert_close(z, run(model, target=1), **FULL_PRECISION)


def test_signals_without_a_second_spatial_dim():
    x = X[:, 0].reshape(3, 120)
    model = Quadratic((120,))
    assert run(model, x, 0).shape == x.shape
    z = run(model, x[:, None], 0, domain="frequency", spectral_dims=-1, num_bands=5)
    assert z.shape == (3, 1, 120)


def test_the_progress_bar_counts_rows_and_ends_at_100_percent():
    with redirect_stderr(io.StringIO()) as shown:
        run(tiny_cnn(2), internal_batch_size=4, show_progress=True)
    last = shown.getvalue().strip().split("\r")[-1]
    assert last.startswith("Feature Suppression attribution: 100%")
    assert "18/18" in last
