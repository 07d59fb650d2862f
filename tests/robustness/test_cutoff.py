"""The lowest cut-off that keeps a prediction, for a batch in one evaluation."""

import pytest
import torch
from helpers import Counting, Quadratic
from torch import nn

from captum_spectral.robustness.cutoff import lowest_cutoff
from captum_spectral.robustness.filters import LowPass


def signals(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def restless(*size):
    """A model whose decisions hang on all frequencies."""
    return Quadratic((3, *size), num_classes=5)


def assert_same(found, expected):
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=found.dtype), equal_nan=True, rtol=0, atol=1e-12
    )


class Votes(nn.Module):
    """Classes by the share of energy that is left: what is kept at each cut-off is laid down."""

    def __init__(self, kept, steps):
        super().__init__()
        self.kept, self.steps = torch.tensor(kept), steps
        self.eval()

    def forward(self, x):
        # The waves of ``one_wave_per_ring``, so the energy counts the rings that are left.
        rings = (x.flatten(1).var(1, unbiased=False) * 2).round().long()
        right = self.kept[rings].double()
        return torch.stack([1 - right, right], 1)


def one_wave_per_ring(steps, side=32):
    """A wave of amplitude 1 in every ring above the mean, all along the width."""
    place = torch.arange(side, dtype=torch.float64) / side
    half = side // 2
    waves = [torch.cos(2 * torch.pi * (half * j // steps) * place) for j in range(1, steps)]
    waves.append(torch.cos(2 * torch.pi * (half - 1) * place))  # inside of the last ring
    return sum(waves).expand(1, 1, side, side)


LAID_DOWN = {  # kept at cut-offs 0, 1/4, ..., 1: stable, first
    "always": ([1, 1, 1, 1, 1], 0.0, 0.0),
    "from a half": ([0, 0, 1, 1, 1], 0.5, 0.5),
    "comes, goes and comes": ([0, 1, 0, 1, 1], 0.75, 0.25),
    "only whole": ([0, 0, 0, 0, 1], 1.0, 1.0),
    "not when whole": ([0, 1, 1, 1, 0], float("nan"), 0.25),
    "never": ([0, 0, 0, 0, 0], float("nan"), float("nan")),
}


@pytest.mark.parametrize(("kept", "stable", "first"), LAID_DOWN.values(), ids=list(LAID_DOWN))
def test_stable_is_kept_from_there_on_and_first_once(kept, stable, first):
    found = lowest_cutoff(Votes(kept, 4), one_wave_per_ring(4), target=1, steps=4)
    assert found.kept.tolist() == [[bool(k) for k in kept]]
    assert_same(found.stable, [stable])
    assert_same(found.first, [first])


@pytest.mark.parametrize(("size", "steps"), [((16, 16), 8), ((15, 21), 5), ((12, 30), 6)])
def test_it_agrees_with_the_filter_at_every_cut_off(size, steps):
    model = restless(*size)
    x = signals(5, 3, *size)
    target = torch.tensor([0, 1, 2, 3, 4])
    found = lowest_cutoff(model, x, target, steps=steps)
    with torch.no_grad():
        passed = [LowPass().perturb(x, 1 - j / steps) for j in range(steps + 1)]
        kept = torch.stack([model(each).argmax(1) == target for each in passed], 1)
    assert torch.equal(found.kept, kept)
    assert kept.any()
    assert not kept.all()


def test_it_costs_one_row_per_cut_off():
    model = Counting(restless(16, 16))
    found = lowest_cutoff(model, signals(7, 3, 16, 16), torch.zeros(7, dtype=torch.long), steps=8)
    assert model.rows == 7 * 9
    assert found.kept.shape == (7, 9)
    model = Counting(restless(16, 16))
    lowest_cutoff(model, signals(7, 3, 16, 16), steps=4)
    assert model.rows == 7 * 5  # the prediction of the whole input is one of them


def test_a_model_behind_a_low_pass_filter_needs_no_more_than_it_lets_through():
    inner = restless(16, 16)

    class Filtered(nn.Module):
        def forward(self, x):
            return inner(LowPass().perturb(x, removed=0.5))

    model = Filtered().eval()
    x = signals(12, 3, 16, 16)
    stable = lowest_cutoff(model, x, steps=8).stable
    assert (stable <= 0.5).all()
    # From the cut on it is the model itself on what is let through.
    through = LowPass().perturb(x, removed=0.5)
    at_cut = lowest_cutoff(inner, through, steps=8).stable
    assert torch.equal(stable, at_cut)


def test_without_a_target_it_is_the_prediction_of_the_whole_input():
    model = restless(16, 16)
    x = signals(6, 3, 16, 16)
    predicted = model(x).argmax(1)
    for given in (predicted, predicted.tolist()):
        for ours, theirs in zip(
            lowest_cutoff(model, x), lowest_cutoff(model, x, given), strict=True
        ):
            assert torch.equal(ours, theirs)
    assert not lowest_cutoff(model, x).stable.isnan().any()


def test_the_baseline_takes_the_place_of_what_is_removed():
    model = restless(16, 16)
    x, b = signals(4, 3, 16, 16), signals(1, 3, 16, 16, seed=1)
    found = lowest_cutoff(model, x, 1, steps=8, baselines=b)
    for j in range(9):
        made = b + LowPass().perturb(x - b, 1 - j / 8)
        assert torch.equal(found.kept[:, j], model(made).argmax(1) == 1)
    assert not torch.equal(found.kept, lowest_cutoff(model, x, 1, steps=8).kept)


def test_a_tuple_of_one_additional_arguments_and_rows_per_pass_are_as_elsewhere():
    model = restless(16, 16)
    x, shift = signals(4, 3, 16, 16), signals(4, 5, seed=3)

    def shifted(x, shift):
        return model(x) + shift

    found = lowest_cutoff(shifted, (x,), 1, steps=4, additional_forward_args=shift)
    chunked = lowest_cutoff(
        shifted, x, 1, steps=4, additional_forward_args=(shift,), perturbations_per_eval=1
    )
    for i in range(4):
        alone = lowest_cutoff(
            shifted, x[i : i + 1], 1, steps=4, additional_forward_args=shift[i : i + 1]
        )
        assert torch.equal(found.kept[i], alone.kept[0])
    assert torch.equal(found.kept, chunked.kept)


@pytest.mark.parametrize(
    ("size", "steps"), [((64, 64), 16), ((28, 28), 14), ((16, 16), 8), ((9, 7), 4), ((1, 4), 2)]
)
def test_by_default_there_are_sixteen_or_as_many_as_fit(size, steps):
    model = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()
    assert lowest_cutoff(model, torch.rand(1, 1, *size)).kept.shape == (1, steps + 1)


WRONG = {
    "two": (
        lambda m, x: lowest_cutoff(m, (x, x)),
        ValueError,
        "inputs must be one tensor, or a tuple of one, got 2",
    ),
    "flat": (lambda m, x: lowest_cutoff(m, x[:, 0, 0]), ValueError, r"\(B, ..., H, W\), got shape"),
    "steps": (lambda m, x: lowest_cutoff(m, x, steps=0), ValueError, "steps must be at least 1"),
    "many": (
        lambda m, x: lowest_cutoff(m, x, steps=9),
        ValueError,
        r"steps=9 is more than the frequencies of sides of \(16, 16\) .* at most steps=8 fits",
    ),
    "point": (lambda m, x: lowest_cutoff(m, x[..., :1, :1]), ValueError, "other frequencies than"),
    "targets": (lambda m, x: lowest_cutoff(m, x, [0]), ValueError, "target has 1 entries for 2"),
    "tuple": (
        lambda m, x: lowest_cutoff(m, x, (0, 1)),
        TypeError,
        "must be the class of",
    ),
}


@pytest.mark.parametrize(("call", "kind", "message"), WRONG.values(), ids=list(WRONG))
def test_wrong_arguments_are_named_before_the_model_runs(call, kind, message):
    model = Counting(restless(16, 16))
    with pytest.raises(kind, match=message):
        call(model, signals(2, 3, 16, 16))
    assert model.calls == 0


def test_outputs_must_be_classes():
    x = signals(2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"target 5 does not exist: .* 5 outputs"):
        lowest_cutoff(restless(16, 16), x, 5)
    for model in (
        lambda x: x.flatten(1).sum(1),
        lambda x: x.sum(),
        lambda x: x.mean((2, 3))[:, :1],
    ):
        with pytest.raises(ValueError, match=r"must return \(B, classes\) with at least two"):
            lowest_cutoff(model, x)
