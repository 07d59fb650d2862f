"""Coalition signals: one matrix product, at full precision."""

import pytest
import torch

from captum_spectral.synthesis import synthesize, synthesize_rows


def by_definition(baseline, differences, weights):
    """x[k, b] = baseline[b] + sum_i w[k, b, i] d[i, b], one at a time."""
    num_bands, num_examples = differences.shape[:2]
    if weights.dim() == 2:
        weights = weights.expand(num_examples, *weights.shape)
    rows = []
    for k in range(weights.shape[1]):
        for b in range(num_examples):
            x = baseline[b if len(baseline) > 1 else 0].clone()
            for i in range(num_bands):
                x += weights[b, k, i] * differences[i, b]
            rows.append(x)
    return torch.stack(rows).reshape(weights.shape[1], num_examples, *differences.shape[2:])


@pytest.mark.parametrize("shared_baseline", [True, False])
@pytest.mark.parametrize("own_coalitions", [True, False])
def test_signals_by_definition(shared_baseline, own_coalitions):
    differences = torch.randn(4, 3, 2, 5, 6, dtype=torch.float64)
    baseline = torch.randn(1 if shared_baseline else 3, 2, 5, 6, dtype=torch.float64)
    weights = torch.rand((3, 7, 4) if own_coalitions else (7, 4), dtype=torch.float64)
    result = synthesize(baseline, differences, weights)
    torch.testing.assert_close(result, by_definition(baseline, differences, weights))
    if not own_coalitions:
        assert result.is_contiguous()  # rows go to the model without another copy


def test_rows_that_belong_to_examples_in_any_order():
    differences = torch.randn(4, 3, 2, 5, dtype=torch.float64)
    baseline = torch.randn(3, 2, 5, dtype=torch.float64)
    weights = torch.rand(6, 4, dtype=torch.float64, requires_grad=True)
    examples = torch.tensor([2, 0, 2, 2, 0, 2])  # example 1 has no row
    rows = synthesize_rows(baseline, differences, weights, examples)
    for r, e in enumerate(examples.tolist()):
        expected = by_definition(
            baseline[e : e + 1], differences[:, e : e + 1], weights[r : r + 1].detach()
        )
        torch.testing.assert_close(rows[r], expected[0, 0])
    (gradient,) = torch.autograd.grad(rows.sum(), weights)
    torch.testing.assert_close(gradient, differences.flatten(2).sum(2).T[examples])


@pytest.fixture
def _medium_precision():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("_medium_precision")
def test_reduced_precision_for_the_network_does_not_reach_the_signals():
    differences, weights = torch.randn(8, 1, 4096), torch.ones(16, 8)
    exact = differences.double().sum(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        signals = synthesize(torch.zeros(1, 4096), differences, weights)
    assert signals.dtype is torch.float32
    assert (signals[0] - exact).abs().max() < 1e-5


def test_asking_for_the_precision_may_fail_and_then_the_worst_is_assumed(monkeypatch):
    def mixed_switches():
        raise RuntimeError("set through the newer switches")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed_switches)
    signals = synthesize(torch.zeros(1, 9), torch.randn(3, 1, 9), torch.ones(2, 3))
    assert signals.dtype is torch.float32
