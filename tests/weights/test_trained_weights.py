"""On a trained network: what the cheaper answers say about layers beside exact Shapley values."""

import copy
from functools import cache

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

from captum_spectral.coalitions import Exact
from captum_spectral.weights import WeightGame

pytest.importorskip("sklearn")


@cache
def trained():
    """A CNN of five layers that knows scikit-learn's digits, and images that it has not seen."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float()[:, None] / 16
    labels = torch.from_numpy(bunch.target)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        order = torch.randperm(len(labels))
        train, test = order[:1200], order[1200:1400]
        model = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10)),
        )
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(8):
            for some in train[torch.randperm(len(train))].split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[some]), labels[some]).backward()
                optimizer.step()
    return model.double().eval(), images[test].double(), labels[test]


class Loss(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, labels):
        return nn.functional.cross_entropy(self.network(x), labels, reduction="none")


@torch.no_grad()
def rounded(model, bits):
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            rows = module.weight.flatten(1)
            step = rows.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
            module.weight.copy_(((rows / step).round() * step).reshape(module.weight.shape))
    return other


def game_of(bits):
    model, x, y = trained()
    models = [Loss(each).eval() for each in (rounded(model, bits), model)]
    return WeightGame(models[0], x, baselines=models[1], additional_forward_args=(y,))


def correlation(x, y):
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def test_the_network_has_learnt():
    model, x, y = trained()
    assert (model(x).argmax(1) == y).double().mean() > 0.9


@pytest.mark.parametrize("bits", [6, 4, 3])
def test_integrated_gradients_over_gates_say_what_shapley_values_say(bits):
    game = game_of(bits)
    exact = game.solve(Exact(game.num_players))
    method = IntegratedGradients(game)
    gates = torch.ones(1, game.num_players).double()
    found, delta = method.attribute(gates, n_steps=16, return_convergence_delta=True)
    assert correlation(found[0], exact.values.mean(0)) >= 0.98
    change = (exact.full_value - exact.empty_value).mean()
    assert delta.abs() < 0.02 * change.abs()


def test_the_gradient_where_training_ended_misses_most_of_what_a_large_change_did():
    game = game_of(2)
    ends = torch.tensor([[False], [True]]).expand(2, game.num_players)
    change = float(game.evaluate(ends).diff(dim=1).mean())
    gates = torch.zeros(1, game.num_players).double().requires_grad_()
    (slope,) = torch.autograd.grad(game(gates), gates)
    assert abs(float(slope.sum())) < 0.5 * change
