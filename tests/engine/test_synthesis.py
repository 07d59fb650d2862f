"""Coalition signals: by matrix product and by the kernel, at full precision."""

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral._engine import synthesis
from captum_spectral._engine.synthesis import synthesize, synthesize_rows

try:
    from captum_spectral._engine import synthesis_kernel as kernel
except ImportError:
    kernel = None
needs_triton = pytest.mark.skipif(kernel is None, reason="Triton is not part of this PyTorch")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # else Triton's interpreter, see conftest
# A rounded bfloat16 is off by half a unit in the last place, a truncated one (interpreter) by one.
ROUNDING = {torch.float32: 1e-6, torch.float16: 2**-10, torch.bfloat16: 2**-7}


def by_definition(signals, weights):
    """out[b, k] = s[b, 0] + sum_i w[b, k, i] s[b, 1 + i] in float64, one at a time."""
    num_examples, num_signals, size = signals.shape
    if weights.dim() == 2:
        weights = weights.expand(num_examples, *weights.shape)
    out = torch.zeros(num_examples, weights.shape[1], size, dtype=torch.float64)
    for b in range(num_examples):
        for k in range(weights.shape[1]):
            out[b, k] = signals[b, 0]
            for i in range(num_signals - 1):
                out[b, k] += weights[b, k, i].double() * signals[b, 1 + i]
    return out


def room(b, k, size, dtype, coalitions_first):
    """Uninitialised rows, in the order of either walk."""
    shape = (k, b, size) if coalitions_first else (b, k, size)
    rows = torch.full(shape, torch.nan, dtype=dtype)
    return rows.transpose(0, 1) if coalitions_first else rows


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("own_coalitions", [True, False])
@pytest.mark.parametrize("coalitions_first", [True, False])
def test_signals_by_definition(dtype, own_coalitions, coalitions_first):
    signals = torch.randn(3, 5, 60, dtype=torch.promote_types(dtype, torch.float32))
    coalitions = torch.rand((3, 7, 4) if own_coalitions else (7, 4)) < 0.5
    out = room(3, 7, 60, dtype, coalitions_first)
    synthesize(signals, coalitions, out)
    tolerance = 1e-12 if dtype is torch.float64 else ROUNDING[dtype]
    expected = by_definition(signals, coalitions)
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=3 * tolerance)


@needs_triton
@given(data=st.data())
def test_the_kernel_gives_the_numbers_of_the_matrix_product(data):
    def draw(low, high):
        return data.draw(st.integers(low, high))

    b, k, p = draw(1, 3), draw(1, 20), draw(1, 10)
    size = data.draw(st.sampled_from([1, 7, 255, 256, 257, 700]))
    dtype = data.draw(st.sampled_from(list(ROUNDING)))
    coalitions_first, own = (data.draw(st.booleans()) for _ in range(2))
    generator = torch.Generator().manual_seed(draw(0, 9))
    signals = torch.randn(b, 1 + p, size, generator=generator)
    coalitions = torch.rand((b, k, p) if own else (k, p), generator=generator) < 0.5
    product = room(b, k, size, torch.float32, coalitions_first)
    synthesize(signals, coalitions, product)
    out = room(b, k, size, dtype, coalitions_first).to(DEVICE)  # NaN: every row must be written
    kernel.synthesize(signals.to(DEVICE), coalitions.to(DEVICE), out)
    scale = float(product.abs().max())
    torch.testing.assert_close(
        out.cpu().float(), product, rtol=ROUNDING[dtype], atol=ROUNDING[dtype] * scale
    )


@needs_triton
def test_a_coalition_of_63_bands_is_a_bit_mask():
    coalitions = torch.rand(5, 63) < 0.5
    coalitions[0] = True
    signals = torch.randn(1, 64, 40)
    out = torch.empty(1, 5, 40, device=DEVICE)
    kernel.synthesize(signals.to(DEVICE), coalitions.to(DEVICE), out)
    expected = by_definition(signals, coalitions).float()
    torch.testing.assert_close(out.cpu(), expected, rtol=1e-5, atol=1e-5)


class OnCuda:
    """What is looked at to decide whether the kernel takes a tensor."""

    is_cuda = True

    def __init__(self, dtype):
        self.dtype = dtype


def test_the_kernel_leaves_to_the_product_what_it_does_not_do():
    signals = torch.empty(1, 64, 4)
    assert all(synthesis._kernel_can_do(signals, OnCuda(dtype)) for dtype in ROUNDING)
    assert not synthesis._kernel_can_do(signals, torch.empty(1))
    assert not synthesis._kernel_can_do(signals.double(), OnCuda(torch.float64))
    assert not synthesis._kernel_can_do(torch.empty(1, 65, 4), OnCuda(torch.float32))


@pytest.fixture
def _kernel_everywhere(monkeypatch):
    monkeypatch.setattr(synthesis, "_kernel_can_do", lambda signals, out: True)
    monkeypatch.setattr(synthesis, "_kernel", None)
    monkeypatch.setattr(synthesis, "_kernel_fails", False)


@pytest.fixture
def signals():
    return torch.randn(2, 4, 50).to(DEVICE)


def made(signals):
    out = torch.full((2, 6, 50), torch.nan, device=DEVICE)
    synthesize(signals, torch.arange(18).view(6, 3).to(DEVICE) % 4 < 2, out)
    return out


@needs_triton
@pytest.mark.usefixtures("_kernel_everywhere")
def test_the_kernel_takes_over_where_it_can(monkeypatch, signals):
    by_kernel = made(signals)
    assert synthesis._kernel is kernel.synthesize
    monkeypatch.setattr(synthesis, "_kernel_can_do", lambda signals, out: False)
    torch.testing.assert_close(by_kernel, made(signals), rtol=1e-6, atol=3e-6)


@pytest.mark.usefixtures("_kernel_everywhere")
def test_a_kernel_that_cannot_be_compiled_is_replaced_by_the_product(monkeypatch, signals):
    calls = []

    def no_compiler(*tensors):
        calls.append(tensors)
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(synthesis, "_kernel", no_compiler)
    with pytest.warns(UserWarning, match=r"cannot be used here \(RuntimeError: Failed to find C"):
        first = made(signals)
    again = made(signals)  # without a second try, and without a second warning
    assert len(calls) == 1
    monkeypatch.setattr(synthesis, "_kernel_can_do", lambda signals, out: False)
    assert torch.equal(first, made(signals))
    assert torch.equal(again, first)


@pytest.mark.usefixtures("_kernel_everywhere")
def test_a_build_without_triton_needs_no_words(monkeypatch, signals):
    monkeypatch.setitem(
        sys.modules, "captum_spectral._engine.synthesis_kernel", None
    )  # ImportError
    assert made(signals).isfinite().all()


@pytest.mark.usefixtures("_kernel_everywhere")
def test_a_kernel_that_finds_no_memory_is_no_reason_to_give_it_up(monkeypatch, signals):
    def full(*tensors):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(synthesis, "_kernel", full)
    with pytest.raises(torch.OutOfMemoryError):
        made(signals)
    assert not synthesis._kernel_fails


def test_rows_that_belong_to_examples_in_any_order():
    signals = torch.randn(3, 5, 10, dtype=torch.float64)
    weights = torch.rand(6, 4, dtype=torch.float64, requires_grad=True)
    examples = torch.tensor([2, 0, 2, 2, 0, 2])  # example 1 has no row
    rows = synthesize_rows(signals, weights, examples)
    for r, e in enumerate(examples.tolist()):
        expected = by_definition(signals[e : e + 1], weights[r : r + 1].detach())
        torch.testing.assert_close(rows[r], expected[0, 0])
    (gradient,) = torch.autograd.grad(rows.sum(), weights)
    torch.testing.assert_close(gradient, signals[:, 1:].sum(2)[examples])


@pytest.fixture
def _medium_precision():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("_medium_precision")
def test_reduced_precision_for_the_network_does_not_reach_the_signals():
    signals, coalitions = torch.randn(1, 9, 4096), torch.ones(16, 8, dtype=torch.bool)
    out = torch.empty(1, 16, 4096)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        synthesize(signals, coalitions, out)
        rows = synthesize_rows(signals, coalitions.float(), torch.zeros(16, dtype=torch.long))
    exact = signals[0].double().sum(0)
    assert (out[0] - exact).abs().max() < 1e-5
    assert (rows - exact).abs().max() < 1e-5


def test_autocast_for_the_network_does_not_reach_the_signals():
    signals, coalitions = torch.randn(1, 9, 4096), torch.ones(16, 8, dtype=torch.bool)
    out = torch.empty(1, 16, 4096)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        synthesize(signals, coalitions, out)
    assert (out[0] - signals[0].double().sum(0)).abs().max() < 1e-5


def test_asking_for_the_precision_may_fail_and_then_the_worst_is_assumed(monkeypatch):
    def mixed_switches():
        raise RuntimeError("set through the newer switches")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed_switches)
    signals, out = torch.randn(1, 4, 9), torch.empty(1, 2, 9)
    synthesize(signals, torch.ones(2, 3, dtype=torch.bool), out)
    torch.testing.assert_close(out[0], signals[0].sum(0).expand(2, 9))
