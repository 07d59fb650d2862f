"""What a change of weights did: the game of its parts, against models made by hand."""

import copy
from functools import cache

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn
from weights.changed import by_definition, inputs, network, rounded, with_layers

from captum_spectral import WeightShapley
from captum_spectral.coalitions import Exact, all_coalitions
from captum_spectral.features import FourierBands
from captum_spectral.weights import WeightGame

LAYERS = ("0", "1", "3", "7")


@cache
def pair():
    model = network()
    return model, rounded(model)


def close(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def test_layers_are_worth_what_brute_force_says():
    model, other = pair()
    x = inputs()

    @cache
    def value(members):
        with torch.no_grad():
            return with_layers(model, other, [LAYERS[i] for i in members])(x)[:, 1]

    game = WeightGame(model, x, 1, baselines=other)
    assert game.names == LAYERS
    values, delta = WeightShapley(model).attribute(
        x, 1, baselines=other, return_convergence_delta=True
    )
    close(values, by_definition(value, 4), 1e-10)
    assert delta.abs().max() < 1e-12


@pytest.mark.parametrize("players", ["layer", "band", "singular"])
def test_the_ends_are_the_two_models_to_the_last_bit(players):
    model, other = pair()
    layer = None if players == "layer" else "3"
    game = WeightGame(model, inputs(), baselines=other, players=players, layer=layer)
    ends = game.evaluate(torch.tensor([[False] * game.num_players, [True] * game.num_players]))
    baseline = other if layer is None else with_layers(other, model, ["3"])
    with torch.no_grad():
        assert torch.equal(ends[:, 0], baseline(inputs()))
        assert torch.equal(ends[:, 1], model(inputs()))


def test_integrated_gradients_over_gates_agree_with_exact_values():
    """Running statistics have gradients here, too."""
    model, other = pair()
    x = inputs()
    game = WeightGame(model, x, 1, baselines=other)
    exact = game.solve(Exact(4)).values
    for examples, expected in ((torch.arange(3), exact), (None, exact.mean(0, keepdim=True))):
        gates = torch.ones(len(expected), 4).double()
        found, delta = IntegratedGradients(game).attribute(
            gates, additional_forward_args=examples, n_steps=32, return_convergence_delta=True
        )
        assert delta.abs().max() < 2e-3
        assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.97


def test_gates_between_are_weights_between():
    model, other = pair()
    half = copy.deepcopy(model)
    for name, tensor in (*half.named_parameters(), *half.named_buffers()):
        if tensor.dtype.is_floating_point:
            tensor.data = (tensor.data + other.state_dict()[name]) / 2
    game = WeightGame(model, inputs(), baselines=other)
    gates = torch.full((3, 4), 0.5).double().requires_grad_()
    found = game(gates, torch.arange(3))
    close(found, half(inputs()))
    slope = torch.autograd.grad(found[1, 2], gates)[0]
    step = torch.zeros(3, 4).double()
    step[1, 1] = 1e-6
    numeric = (game(gates + step, torch.arange(3)) - found)[1, 2] / 1e-6
    assert abs(float(slope[1, 1] - numeric.detach())) < 1e-6
    assert not slope[[0, 2]].any()


@pytest.mark.parametrize("layer", ["0", "3"])
def test_bands_of_a_layers_input_see_the_change_and_the_others_do_not(layer):
    """By hand: the layer on the bands that are on, with the new weights, and on the rest."""
    model, other = pair()
    x = inputs()
    game = WeightGame(
        model, x, baselines=other, players="band", layer=layer, features=FourierBands(num_bands=3)
    )
    assert game.names == ("band 0", "band 1", "band 2")
    index = int(layer)
    new, old = model[index], other[index]
    with torch.no_grad():
        seen = model[:index](x)
        mask = FourierBands(num_bands=3).ids(seen)
        for coalition in all_coalitions(3):
            spectrum = torch.fft.fft2(seen)
            part = torch.fft.ifft2(spectrum * coalition[mask]).real
            bare = copy.deepcopy(new)
            bare.weight.data = new.weight - old.weight
            bare.bias.data = (new.bias - old.bias) * coalition[0]
            expected = model[index + 1 :](old(seen) + bare(part))
            close(game.evaluate(coalition[None])[:, 0], expected)
    assert not model[index]._forward_hooks
    assert not model[index]._forward_pre_hooks


def test_singular_components_sum_to_the_change():
    model, other = pair()
    game = WeightGame(model, inputs(), baselines=other, players="singular", layer="3", num_groups=3)
    assert game.names == ("component 0", "components 1-2", "component 3", "bias")
    change = model[3].weight - other[3].weight
    close(game.change._parts.sum(0), change.detach())
    assert [int(torch.linalg.matrix_rank(p.flatten(1))) for p in game.change._parts] == [1, 2, 1]


def test_a_linear_model_splits_by_hand():
    model, other = nn.Linear(4, 1).double(), nn.Linear(4, 1).double()
    model.eval(), other.eval()
    x = inputs()[:, 0, 0, :4]
    values = WeightShapley(model).attribute(
        x, 0, baselines=other.state_dict(), players={"weight": 0, "bias": 1}
    )
    with torch.no_grad():
        by_weight = (x @ (model.weight - other.weight).T)[:, 0]
        by_bias = (model.bias - other.bias).expand(3)
    close(values, torch.stack([by_weight, by_bias], 1))


def test_layers_that_do_not_differ_do_not_play_and_tied_weights_are_one():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.last = nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.second(torch.tanh(self.first(x))))

    model = Tied().double().eval()
    other = copy.deepcopy(model)
    other.first.weight.data += 0.1
    x = inputs()[:, 0, 0, :4]
    for baselines in (other, other.state_dict()):
        game = WeightGame(model, x, baselines=baselines)
        assert game.names == ("first",)
        close(game.evaluate(torch.tensor([[False]]))[:, 0], other(x).detach())


def test_a_budget_costs_no_more_rows_and_gives_errors():
    model, other = pair()
    rows = []
    handle = model.register_forward_hook(lambda m, x, y: rows.append(len(y)))
    generator = torch.Generator().manual_seed(0)
    values, error = WeightShapley(model).attribute(
        inputs(), 1, baselines=other, budget=10, return_standard_error=True, generator=generator
    )
    handle.remove()
    assert sum(rows) == 3 * 10
    exact = WeightShapley(model).attribute(inputs(), 1, baselines=other)
    assert ((values - exact).abs() < 5 * error + 1e-9).all()


@pytest.mark.parametrize("internal_batch_size", [1, 2, 5])
def test_batches_change_nothing(internal_batch_size):
    model, other = pair()
    game = WeightGame(model, inputs(), baselines=other)
    rows = all_coalitions(4)
    close(game.evaluate(rows, internal_batch_size), game.evaluate(rows))


def test_an_interrupted_evaluation_goes_on():
    model, other = pair()
    failing = {"in": 7}
    seen = []

    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = copy.deepcopy(model)

        def forward(self, x):
            seen.append(len(x))
            failing["in"] -= 1
            if failing["in"] == 0:
                raise KeyboardInterrupt
            return self.inner(x)

    fragile = Fragile().eval()
    baselines = copy.deepcopy(fragile)
    baselines.inner.load_state_dict(other.state_dict())
    game = WeightGame(fragile, inputs(), baselines=baselines)
    rows = all_coalitions(4)
    with pytest.raises(KeyboardInterrupt):
        game.evaluate(rows)
    values = game.evaluate(rows)
    assert len(seen) == 17
    close(values, WeightGame(model, inputs(), baselines=other).evaluate(rows))


def test_the_model_is_never_changed():
    model, other = pair()
    before = copy.deepcopy(model.state_dict())
    for players in ("layer", "band", "singular"):
        layer = None if players == "layer" else "0"
        WeightShapley(model).attribute(
            inputs(), 1, baselines=other, players=players, layer=layer, budget=6
        )
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


MODEL, OTHER = network(), rounded(network())
SHORT = {name: t for name, t in OTHER.state_dict().items() if name != "7.bias"}
LARGER = dict(OTHER.state_dict(), **{"7.bias": torch.zeros(5)})
BROKEN = dict(OTHER.state_dict(), **{"7.bias": torch.full((3,), torch.nan)})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"baselines": SHORT}, ValueError, "missing 7.bias; unknown none"),
        ({"baselines": dict(OTHER.state_dict(), more=torch.ones(1))}, ValueError, "unknown more"),
        ({"baselines": LARGER}, ValueError, r"7.bias is \(5,\) and not \(3,\)"),
        ({"baselines": BROKEN}, ValueError, "7.bias holds NaN or infinities"),
        ({"baselines": MODEL}, ValueError, "must differ from the model"),
        (
            {"baselines": 3},
            TypeError,
            "a torch.nn.Module, a state dict or what quantize_weights returns, got int",
        ),
        ({"baselines": {"7.bias": 3.0}}, TypeError, "must hold tensors, got float for '7.bias'"),
        ({"players": "channel"}, ValueError, "'layer', 'band', 'singular' or a dict"),
        ({"players": {"0.weight": 0}}, ValueError, r"'0.bias' is missing, and \d more"),
        ({"players": "band"}, ValueError, "layer must name one module that differs, got None"),
        ({"players": "band", "layer": "2"}, ValueError, "got '2'; these do: 0, 1, 3, 7"),
        ({"players": "band", "layer": "7"}, ValueError, "must be a convolution.*got Linear"),
        ({"players": "singular", "layer": "1"}, ValueError, "a weight of two or more dims"),
        (
            {"players": "singular", "layer": "3", "num_groups": 5},
            ValueError,
            "num_groups must be at most 4 for 3, got 5",
        ),
        ({"budget": 3}, ValueError, "budget must be at least 4"),
    ],
)
def test_bad_input_is_named_before_any_forward_pass(arguments, error, message):
    calls = []
    handle = MODEL.register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(error, match=message):
        WeightShapley(MODEL).attribute(inputs(), 1, **{"baselines": OTHER, **arguments})
    handle.remove()
    assert not calls


def test_models_whose_weights_cannot_be_exchanged_are_refused():
    x = inputs()
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(ValueError, match=r"1 \(LazyLinear\) is lazy; run the model once"):
        WeightGame(lazy, x, baselines=lazy)
    spectral = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.orthogonal(nn.Linear(288, 2)))
    with pytest.raises(ValueError, match=r"is parametrised; use .*remove_parametrizations"):
        WeightGame(spectral, x.float(), baselines=spectral)
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got function"):
        WeightGame(lambda x: x, x, baselines=OTHER)


def test_gates_and_coalitions_of_another_shape_are_refused():
    game = WeightGame(MODEL, inputs(), baselines=OTHER)
    with pytest.raises(ValueError, match=r"gates must be \(R, 4\)"):
        game(torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"shared by all examples, \(K, P\)"):
        game.evaluate(torch.ones(3, 2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="the estimator is for 3 players, and this game has 4"):
        game.solve(Exact(3))


def test_the_size_of_a_change_is_that_of_all_its_tensors():
    model, other = nn.Linear(4, 3).eval(), nn.Linear(4, 3).eval()
    game = WeightGame(model, torch.rand(2, 4), baselines=other)
    assert game.names == ("(the model itself)",)
    old, new = (torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (other, model))
    assert game.change.relative_changes() == pytest.approx([float((new - old).norm() / old.norm())])


def test_energies_are_of_inputs_and_not_of_weights():
    with pytest.raises(ValueError, match=r"prior='energy' is of parts of an input"):
        WeightShapley(MODEL).attribute(inputs(), 1, baselines=OTHER, budget=6, prior="energy")
