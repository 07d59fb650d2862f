"""Band filters: what they keep, and Captum's search for the weakest one that fools a model."""

import pytest
import torch
from captum.robust import MinParamPerturbation, Perturbation
from helpers import Quadratic

from captum_spectral.robustness.filters import BandStop, HighPass, LowPass

SIZES = pytest.mark.parametrize("size", [(16, 16), (15, 21), (12, 9), (1, 8)])
STRENGTHS = pytest.mark.parametrize("removed", [0.0, 0.1, 0.25, 1 / 3, 0.5, 0.75, 1.0])
CALLS = {
    "low": (LowPass, {"removed": 0.5}),
    "high": (HighPass, {"removed": 0.25}),
    "stop": (BandStop, {"low": 0.25, "high": 0.5}),
}
EVERY = pytest.mark.parametrize(("kind", "edges"), CALLS.values(), ids=list(CALLS))


def signals(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slowly(x, keeps, keep_mean=True):
    """Every frequency asked one by one, with fractions of whole numbers; complex transforms."""
    height, width = x.shape[-2:]
    spectrum = torch.fft.fft2(x)
    for row in range(height):
        for column in range(width):
            ky, kx = min(row, height - row), min(column, width - column)
            numerator, denominator = max((2 * ky * width, 2 * kx * height)), height * width
            is_mean = ky == kx == 0
            if not (keep_mean and is_mean) and not keeps(numerator / denominator):
                spectrum[..., row, column] = 0
    result = torch.fft.ifft2(spectrum)
    assert result.imag.abs().max() < 1e-12
    return result.real


@SIZES
@STRENGTHS
@pytest.mark.parametrize("keep_mean", [True, False])
def test_filters_keep_what_they_say(size, removed, keep_mean):
    x = signals(2, 3, *size)
    low = LowPass(keep_mean).perturb(x, removed)
    high = HighPass(keep_mean).perturb(x, removed)
    stop = BandStop(keep_mean).perturb(x, removed / 2, removed)
    e = 1e-12  # of 1 - 1/3 and the like
    by_hand = slowly(x, lambda r: r <= 1 - removed + e, keep_mean)
    torch.testing.assert_close(low, by_hand)
    torch.testing.assert_close(high, slowly(x, lambda r: r >= removed - e, keep_mean))
    by_hand = slowly(x, lambda r: not removed / 2 - e <= r <= removed + e, keep_mean)
    torch.testing.assert_close(stop, by_hand)


@SIZES
def test_nothing_removed_changes_nothing(size):
    x = signals(2, 3, *size)
    for kind in (LowPass, HighPass):
        for keep_mean in (True, False):
            same = kind(keep_mean).perturb(x, removed=0)
            assert torch.equal(same, x)
            assert same.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("removed", [1, 1.1, 2])
def test_all_but_the_mean_is_removed_in_the_end(removed):
    x = signals(2, 3, 15, 9)
    mean = x.mean((2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(LowPass().perturb(x, removed), mean)
    torch.testing.assert_close(HighPass().perturb(x, removed), mean)
    left = LowPass(keep_mean=False).perturb(x, removed)
    torch.testing.assert_close(left, mean if removed == 1 else torch.zeros_like(x))


@EVERY
@pytest.mark.parametrize("keep_mean", [True, False])
def test_filters_are_linear_and_idempotent(kind, edges, keep_mean):
    x, y = signals(2, 3, 14, 17, seed=1), signals(2, 3, 14, 17, seed=2)
    apply = kind(keep_mean)
    once = apply.perturb(x, **edges)
    torch.testing.assert_close(apply.perturb(once, **edges), once)
    mixed = apply.perturb(2 * x - 3 * y, **edges)
    torch.testing.assert_close(mixed, 2 * once - 3 * apply.perturb(y, **edges))


def test_filters_do_not_clip():
    step = torch.zeros(1, 1, 1, 32)
    step[..., 16:] = 1
    filtered = LowPass().perturb(step, removed=0.5)
    assert float(filtered.max()) > 1
    assert float(filtered.min()) < 0


def test_more_removed_is_stronger():
    x = signals(1, 3, 16, 16)
    for kind in (LowPass, HighPass):
        left = [float(kind().perturb(x, i / 16).norm()) for i in range(18)]
        assert left == sorted(left, reverse=True)
        assert left[-1] < left[0] / 2


def test_sums_of_steps_reach_their_edges():
    x = signals(1, 1, 20, 20)
    removed = 0.0
    for i in range(11):  # Captum's own sums: .30000000000000004, .7999999999999999, ...
        for kind in (LowPass, HighPass):
            summed, exact = kind().perturb(x, removed), kind().perturb(x, i / 10)
            assert torch.equal(summed, exact)
        removed += 0.1


@EVERY
def test_tuples_stay_tuples_and_each_has_its_own_radii(kind, edges):
    x, y = signals(2, 3, 16, 16), signals(2, 1, 7, 9)
    assert isinstance(kind(), Perturbation)
    filtered = kind()((x, y), **edges)  # called, as Captum does
    assert isinstance(filtered, tuple)
    for made, each in zip(filtered, (x, y), strict=True):
        assert torch.equal(made, kind().perturb(each, **edges))
    (alone,) = kind().perturb((x,), **edges)
    assert torch.equal(alone, kind().perturb(x, **edges))


@EVERY
def test_other_dims(kind, edges):
    x = signals(2, 3, 16, 12)
    last = kind(spectral_dims=(2, 1)).perturb(x.permute(0, 2, 3, 1), **edges).permute(0, 3, 1, 2)
    torch.testing.assert_close(last, kind().perturb(x, **edges))
    rows = kind(spectral_dims=-1).perturb(x, **edges)
    torch.testing.assert_close(
        rows[:, :, 5], kind(spectral_dims=-1).perturb(x[:, :, 5].contiguous(), **edges)
    )


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes_stay(kind, edges, dtype):
    x = signals(2, 3, 16, 16).to(dtype)
    filtered = kind().perturb(x, **edges)
    assert filtered.dtype == dtype
    exact = kind().perturb(x.double(), **edges)
    torch.testing.assert_close(filtered.double(), exact, rtol=0, atol=4 * torch.finfo(dtype).eps)


@EVERY
def test_gradients_go_through(kind, edges):
    x = signals(1, 1, 6, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: kind().perturb(x, **edges), x)


def test_captums_search_finds_the_weakest_filter_that_fools():
    model = Quadratic((3, 16, 16), num_classes=5)
    x = signals(6, 3, 16, 16)
    with torch.no_grad():
        target = model(x).argmax(1)
        by_hand = []
        for image, label in zip(x.split(1), target, strict=True):
            fooled = [
                i / 8 for i in range(9) if model(LowPass().perturb(image, i / 8)).argmax(1) != label
            ]
            by_hand.append(fooled[0] if fooled else None)
    search = MinParamPerturbation(
        model, LowPass(), arg_name="removed", arg_min=0, arg_max=1.125, arg_step=0.125
    )
    found = [search.evaluate(x[i : i + 1], target=target[i : i + 1]) for i in range(6)]
    assert [removed for _, removed in found] == by_hand
    assert any(removed is not None for removed in by_hand)
    # Of a batch, it stops at the first image that is fooled.
    assert search.evaluate(x, target=target)[1] == min(r for r in by_hand if r is not None)
    for (image, removed), original in zip(found, x.split(1), strict=True):
        if image is not None:
            assert torch.equal(image, LowPass().perturb(original, removed))


def test_captums_search_runs_over_an_edge_of_a_band():
    model = Quadratic((3, 16, 16), num_classes=5)
    x = signals(1, 3, 16, 16)
    target = model(x).argmax(1)
    search = MinParamPerturbation(
        model, BandStop(), arg_name="high", arg_min=0.125, arg_max=1.125, arg_step=0.125
    )
    image, high = search.evaluate(x, target=target, attack_kwargs={"low": 0.125})
    narrower = [BandStop().perturb(x, 0.125, i / 8) for i in range(1, 9) if i / 8 < high]
    assert all(model(each).argmax(1) == target for each in narrower)
    assert high is not None
    assert model(image).argmax(1) != target


WRONG = {
    "bytes": (lambda x: LowPass().perturb(x.byte(), 0.5), TypeError, "inputs must be a real fl"),
    "number": (
        lambda x: LowPass().perturb(x, "half"),
        TypeError,
        "removed must be a number .* 'ha",
    ),
    "bool": (lambda x: HighPass().perturb(x, True), TypeError, "removed must be a number from 0"),
    "negative": (lambda x: HighPass().perturb(x, -0.5), ValueError, "removed must be .* got -0.5"),
    "nan": (
        lambda x: BandStop().perturb(x, 0, float("nan")),
        ValueError,
        "high must be a number",
    ),
    "order": (
        lambda x: BandStop().perturb(x, 0.5, 0.25),
        ValueError,
        "high must be at least low=",
    ),
    "dims": (lambda x: LowPass(spectral_dims=4).perturb(x, 1), ValueError, "out of range"),
}


@pytest.mark.parametrize(("call", "kind", "message"), WRONG.values(), ids=list(WRONG))
def test_wrong_arguments_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call(signals(1, 3, 8, 8))
