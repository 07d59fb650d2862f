"""Changes of weights that cannot be played with: the message says which module and what to do."""

import copy
import warnings

import pytest
import torch
from torch import nn
from weights.changed import inputs, network, rounded

from captum_spectral import WeightShapley
from captum_spectral.weights import WeightGame

MODEL, OTHER = network(), rounded(network())
BOTH = torch.tensor([[False], [True]])


def test_a_model_in_training_mode_warns():
    model = network().train()
    with pytest.warns(UserWarning, match="training mode"):
        WeightShapley(model).attribute(inputs(), 1, baselines=rounded(network()))


def test_quantised_modules_are_to_be_dequantised_first():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are deprecated
        packed = nn.Sequential(nn.Flatten(), torch.ao.nn.quantized.Linear(288, 2)).eval()
    plain = nn.Sequential(nn.Flatten(), nn.Linear(288, 2)).eval()
    message = r"{}: 1 \(Linear\) holds packed integers; dequantise it first"
    with pytest.raises(ValueError, match=message.format("model")):
        WeightGame(packed, inputs().float(), baselines=plain)
    with pytest.raises(ValueError, match=message.format("baselines")):
        WeightGame(plain, inputs().float(), baselines=packed)


@pytest.mark.parametrize("player", [-1, True, 0.5, "0"])
def test_ids_of_players_are_integers_from_0(player):
    players = dict.fromkeys(MODEL.state_dict(), 0) | {"0.weight": player}
    with pytest.raises(TypeError, match=r"players\['0.weight'\] must be an integer from 0 on, got"):
        WeightGame(MODEL, inputs(), baselines=OTHER, players=players)


def test_statistics_without_a_weight_have_no_gradients_but_coalitions():
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2)).double().eval()
    other = copy.deepcopy(model)
    other[0].running_mean += 1
    game = WeightGame(model, torch.rand(2, 3).double(), baselines=other)
    assert game.evaluate(BOTH).isfinite().all()
    message = r"0 \(BatchNorm1d\) has other statistics and no weight: .*use its coalitions"
    with pytest.raises(ValueError, match=message):
        game(torch.ones(1, 1).double().requires_grad_())


def test_a_layer_with_bands_runs_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x):
            return self.layer(self.layer(x)).mean((2, 3))

    model = Twice().double().eval()
    other = copy.deepcopy(model)
    other.layer.weight.data += 0.1
    message = "layer 'layer' must run once in a forward pass, and runs 2 times"
    with pytest.raises(ValueError, match=message):
        WeightGame(model, inputs(), baselines=other, players="band")


def test_a_value_that_is_not_finite_names_the_example_and_the_changes():
    model = nn.Linear(2, 1).double().eval()
    other = copy.deepcopy(model)
    other.weight.data.fill_(1e308)
    game = WeightGame(model, torch.full((2, 2), 1e3).double(), baselines=other)
    with pytest.raises(ValueError, match=r"not finite .* for example 0 with the changes of \[\]"):
        game.evaluate(BOTH)


def test_outputs_that_have_lost_their_rows_are_refused():
    class Mean(nn.Linear):
        def forward(self, x):
            return super().forward(x).mean(0, keepdim=True)

    model, other = Mean(2, 1).eval(), Mean(2, 1).eval()
    with pytest.raises(ValueError, match="dim 0 of its output must be that of its inputs"):
        WeightGame(model, torch.rand(3, 2), baselines=other).evaluate(BOTH)


def test_examples_of_gates_are_integers_that_exist():
    game = WeightGame(MODEL, inputs(), baselines=OTHER)
    with pytest.raises(TypeError, match="examples"):
        game(torch.ones(1, 4), torch.ones(1))
    with pytest.raises(ValueError, match="examples"):
        game(torch.ones(1, 4), torch.tensor([3]))
