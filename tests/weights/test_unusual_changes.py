"""Batch norms, games and responses of models and numbers that are out of the common."""

import copy

import pytest
import torch
from captum.attr import IntegratedGradients
from rounded import images, same_state, small_cnn, state
from torch import nn

from captum_spectral.weights import (
    SingularValues,
    WeightGame,
    frequency_response,
    layer_responses,
    quantize_weights,
    recalibrate_batch_norm,
)

MODEL, X = small_cnn(), images(40)
ROUNDED = quantize_weights(MODEL, 2)


def moments(x):
    given = MODEL[0](x).detach()
    return given.mean((0, 2, 3)), given.var((0, 2, 3))


@pytest.mark.parametrize("sizes", [[40], [1, 39], [7, 30, 3]])
def test_statistics_are_the_mean_over_images_whatever_the_batches(sizes):
    new = recalibrate_batch_norm(MODEL, X.split(sizes))
    means, variances = zip(*(moments(part) for part in X.split(sizes)), strict=True)
    for own, parts in ((new[1].running_mean, means), (new[1].running_var, variances)):
        weighted = sum(n * part for n, part in zip(sizes, parts, strict=True)) / len(X)
        torch.testing.assert_close(own, weighted)
    assert new[1].momentum == MODEL[1].momentum
    assert not new[1]._forward_pre_hooks


def test_images_that_are_one_more_than_a_batch_are_split_evenly():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    x = torch.randn(33, 3)
    new = recalibrate_batch_norm(model, x)
    torch.testing.assert_close(new[1].running_mean, model[0](x).mean(0).detach())
    with pytest.raises(
        ValueError, match="loader has a batch of one image, of which the batch norm"
    ):
        recalibrate_batch_norm(model, [x[:32], x[32:]])


class Unused(nn.Module):
    def __init__(self, used):
        super().__init__()
        self.used, self.other = used, nn.BatchNorm2d(2)

    def forward(self, x):
        return self.used(self.used(x)).mean((2, 3))


def test_a_batch_norm_that_runs_twice_sees_both_and_one_that_does_not_keeps_its_statistics():
    model = Unused(nn.BatchNorm2d(2, affine=False, momentum=None)).eval()
    model.other.running_mean.fill_(5)
    new = recalibrate_batch_norm(model, X)
    assert torch.equal(new.other.running_mean, model.other.running_mean)
    torch.testing.assert_close(new.used.running_mean, X.mean((0, 2, 3)) / 2, rtol=0, atol=1e-5)
    assert new.used.momentum is None


def test_batch_norms_that_cannot_be_estimated_are_named():
    with pytest.raises(ValueError, match="statistics of the batch norm '1' on loader are not fin"):
        recalibrate_batch_norm(MODEL, 1e30 * X)
    lazy = nn.Sequential(nn.LazyConv2d(2, 1), nn.BatchNorm2d(2)).eval()
    with pytest.raises(ValueError, match="'0' of model has no weights yet"):
        recalibrate_batch_norm(lazy, X)


@pytest.mark.parametrize("players", ["layer", "band", "singular"])
def test_half_precision_plays(players):
    model, other = (copy.deepcopy(m).bfloat16() for m in (MODEL, ROUNDED.model))
    options = {} if players == "layer" else {"layer": "0"}
    games = [
        WeightGame(m, x, 0, baselines=o, players=players, **options)
        for m, o, x in ((MODEL, ROUNDED, X), (model, other, X.bfloat16()))
    ]
    coalitions = torch.eye(games[0].num_players) > 0
    found, half = (game.evaluate(coalitions).float() for game in games)
    torch.testing.assert_close(half, found, rtol=0.05, atol=0.05)


class Complex(nn.Module):
    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.own = nn.Parameter(torch.randn(3, 2, dtype=torch.complex64, generator=generator))

    def forward(self, x):
        return (x.to(self.own.dtype) @ self.own).abs()


def test_complex_weights_play_too():
    model, other, x = Complex(0).eval(), Complex(1).eval(), torch.rand(4, 3)
    game = WeightGame(model, x, 0, baselines=other)
    ends = game.evaluate(torch.tensor([[False], [True]]))
    assert torch.equal(ends[:, 0], other(x)[:, 0])
    assert torch.equal(ends[:, 1], model(x)[:, 0])
    change = IntegratedGradients(game).attribute(torch.ones(1, 1), n_steps=64)
    assert float(change) == pytest.approx(float((ends[:, 1] - ends[:, 0]).mean()), abs=1e-3)
    size = (model.own - other.own).abs().square().sum() / other.own.abs().square().sum()
    assert game.change.relative_changes() == pytest.approx([float(size.detach().sqrt())])
    with pytest.raises(TypeError, match=r"must be real where the model is, but 0.bias is complex"):
        WeightGame(MODEL, X, baselines={**ROUNDED.model.state_dict(), "0.bias": torch.ones(6) + 0j})


def test_a_game_of_inference_mode_has_gradients_outside():
    with torch.inference_mode():
        game = WeightGame(MODEL, X, 0, baselines=ROUNDED)
    gates = torch.ones(1, game.num_players, requires_grad=True)
    game(gates).sum().backward()
    assert gates.grad.any()


@pytest.mark.parametrize(
    ("players", "option"),
    [
        ("layer", {"layer": "0"}),
        ("layer", {"num_groups": 2}),
        ("band", {"layer": "0", "num_groups": 2}),
        ({"0.weight": 0, "3.weight": 1, "6.weight": 1, "10.weight": 1}, {"layer": "0"}),
    ],
)
def test_options_of_other_players_are_refused(players, option):
    with pytest.raises(ValueError, match="means nothing for players="):
        WeightGame(MODEL, X, baselines=ROUNDED, players=players, **option)


@pytest.mark.parametrize(
    ("gates", "error"),
    [
        ([1, 1, 1, 1], TypeError),
        (torch.ones(1, 4) + 0j, TypeError),
        (torch.ones(0, 4), ValueError),
    ],
)
def test_gates_are_real_and_at_least_one_row(gates, error):
    with pytest.raises(error, match="gates must be"):
        WeightGame(MODEL, X, 0, baselines=ROUNDED)(gates)


@pytest.mark.parametrize("exponent", [-40, -30, 0, 30])
@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3, groups=4), nn.ConvTranspose1d(2, 3, 4, 2)],
)
def test_scale_does_not_matter_to_shares_and_multiplies_gains(layer, exponent):
    def numbers(power):
        scaled = copy.deepcopy(layer).requires_grad_(False)
        scaled.weight *= 2.0**power
        found = frequency_response(scaled)
        gains = found.gain("rms"), found.band_gain(num_bands=2, kind="rms"), found.norm()
        return [found.aliasing(), *(2.0 ** (-power / 2) * g * 2.0 ** (-power / 2) for g in gains)]

    for one, other in zip(numbers(0), numbers(3 * exponent), strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_norm_without_a_scale_is_named_and_can_be_left_out():
    model = copy.deepcopy(MODEL)
    model[4].running_var[0] = -1
    before = state(model)
    with pytest.raises(ValueError, match="the batch norm '4' of model must have finite weights"):
        layer_responses(model, X)
    assert len(layer_responses(model, X, fuse_batch_norm=False)) == 3
    assert all(torch.equal(x, before[n]) or x.isnan().any() for n, x in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())
    assert same_state(MODEL, state(MODEL))


def test_tensors_without_values_are_named():
    with pytest.raises(ValueError, match="weight is on the meta device"):
        SingularValues(torch.ones(2, 3, device="meta"))
    with pytest.raises(ValueError, match=r"layer.weight is on the meta device"):
        frequency_response(nn.Conv1d(2, 2, 3, device="meta"))
    with pytest.raises(ValueError, match=r"0.weight of model is on the meta device"):
        WeightGame(copy.deepcopy(MODEL).to("meta"), X, baselines=ROUNDED)
