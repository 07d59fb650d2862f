"""What bands survive, curves and gradients survive: memory that runs out at any call."""

import gc

import pytest
import torch
from faulty import Faulty, cuda_allocation_failure, real_allocation_failure
from helpers import Counting, tiny_cnn

from captum_spectral import FeatureSuppression, deletion_curve, insertion_curve
from captum_spectral._engine import chunk_size

X = torch.rand(3, 2, 12, 10, dtype=torch.float64)
TARGET = [0, 3, 1]
FAULTS = pytest.mark.parametrize("fault", [real_allocation_failure, cuda_allocation_failure])
EVERY = pytest.mark.parametrize("k", [2, 3, 5, 7])
WAYS = {
    "pixels": {},
    "blocks": {"feature_mask": (torch.arange(120).reshape(1, 1, 12, 10) // 9)},
    "bands": {"domain": "frequency", "num_bands": 3},
}
way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(gc, "collect", int)  # takes long in the heap of a test run


def suppressed(model, **arguments):
    return FeatureSuppression(model).attribute(
        X,
        TARGET,
        n_samples=7,
        generator=torch.Generator().manual_seed(0),
        return_standard_error=True,
        return_confidence=True,
        **arguments,
    )


def curve(function, model, attributions, **arguments):
    return function(model, X, attributions, TARGET, baselines=0.1, **arguments).values


def scores(way):
    return torch.randn(3, 3) if "num_bands" in way else torch.randn(X.shape)


def same(result, expected):
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-13)


@way
@FAULTS
@EVERY
@pytest.mark.parametrize("size", [None, 2, 6])
def test_gradients_survive_allocation_failures_at_every_kth_call(k, fault, way, size):
    model = tiny_cnn(2)
    faulty = Faulty(model, lambda call, rows: call % k == 0, fault)
    result = suppressed(faulty, internal_batch_size=size, **way)
    same(result, suppressed(model, **way))
    assert faulty.rows == 3 * 7  # nothing that was computed is computed again


@way
@FAULTS
@EVERY
@pytest.mark.parametrize("function", [insertion_curve, deletion_curve])
@pytest.mark.parametrize("per_eval", [None, 1, 4])
def test_curves_survive_allocation_failures_at_every_kth_call(k, fault, way, function, per_eval):
    model, attributions = tiny_cnn(2), scores(way)
    faulty = Faulty(model, lambda call, rows: call % k == 0, fault)
    result = curve(function, faulty, attributions, perturbations_per_eval=per_eval, **way)
    same(result, curve(function, model, attributions, **way))
    assert faulty.rows == result.numel()


@way
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_rows_that_do_not_fit_are_halved_until_they_do(limit, way):
    model, attributions = tiny_cnn(2), scores(way)
    faulty = Faulty(model, lambda call, rows: rows > limit, cuda_allocation_failure)
    same(suppressed(faulty, **way), suppressed(model, **way))
    same(
        curve(deletion_curve, faulty, attributions, **way),
        curve(deletion_curve, model, attributions, **way),
    )


def test_a_gradient_of_one_row_that_does_not_fit_says_how_much():
    faulty = Faulty(tiny_cnn(2), lambda call, rows: True, cuda_allocation_failure)
    with pytest.raises(torch.OutOfMemoryError, match=r"not even one row .* shape \(1, 2, 12, 10\)"):
        suppressed(faulty)


def test_chunks_are_found_by_the_clock_for_gradients_and_curves(monkeypatch):
    # A model whose time does not depend on the rows is fastest with as many as there are.
    monkeypatch.setattr(chunk_size, "first_guess", lambda inputs: 2)
    seconds = iter(range(10**6))
    monkeypatch.setattr(chunk_size.time, "perf_counter", lambda: float(next(seconds)))
    for run in (
        lambda model: FeatureSuppression(model).attribute(X, TARGET, n_samples=60),
        lambda model: deletion_curve(model, X, torch.randn(X.shape), TARGET),
    ):
        model = Counting(tiny_cnn(2))
        run(model)
        assert max(shape[0] for shape in model.shapes) >= 16


def test_a_first_layer_may_work_in_place():
    net = tiny_cnn(2)

    def in_place(x):
        return net(x.sub_(0.5).mul_(2))

    same(
        FeatureSuppression(in_place).attribute(X, 1, n_samples=3, suppress=0.0),
        2 * FeatureSuppression(net).attribute((X - 0.5) * 2, 1, n_samples=3, suppress=0.0),
    )


def test_one_number_per_batch_is_differentiated_as_a_whole_whatever_was_tried_first():
    net = tiny_cnn(2)
    for model in (lambda x: net(x)[:, 1].sum(), lambda x: net(x)[:, 1].sum().reshape(1)):
        result = FeatureSuppression(model).attribute(
            X, n_samples=3, generator=torch.Generator().manual_seed(0)
        )
        expected = FeatureSuppression(net).attribute(
            X, 1, n_samples=3, generator=torch.Generator().manual_seed(0)
        )
        same(result, expected)
