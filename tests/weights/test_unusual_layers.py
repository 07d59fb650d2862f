"""Rounding and adapters of models that share, hide, hook or look at their layers."""

import copy
import warnings

import numpy as np
import pytest
import torch
from rounded import LAYERS, StandardisesItself, layer_and_input, same_state, state
from torch import nn
from torch.nn.utils import prune

from captum_spectral.weights import ResidualAdapters, WeightGame, quantize_weights


def full_rank(model, skip=()):
    """Adapters that give all back."""
    adapters = ResidualAdapters(model, quantize_weights(model, 2, skip=skip), "plain")
    adapters.ranks = {name: len(adapters.components(name).values) for name in adapters.ranks}
    return adapters


def close(one, other):
    torch.testing.assert_close(one.detach(), other.detach(), rtol=0, atol=1e-5)


def twice():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), nn.Sequential(layer, layer), nn.Linear(4, 3)).eval()


def test_a_layer_that_stands_in_several_places_gets_its_pair_in_all():
    model, x = twice(), torch.randn(5, 4)
    close(full_rank(model).attach()(x), model(x))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.inner, self.out.weight = nn.Linear(4, 4), self.words.weight

    def forward(self, x):
        return self.out(self.inner(self.words(x)).mean(1))


def test_a_weight_that_an_embedding_shares_is_refused_or_skipped():
    model = Tied().eval()
    for call in (
        lambda: quantize_weights(model),
        lambda: ResidualAdapters(model, Tied().eval(), "plain"),
    ):
        with pytest.raises(ValueError, match=r"'words.weight' and 'out.weight', .* skip=\['out'\]"):
            call()
    rounded = quantize_weights(model, 2, skip=["out"])
    assert torch.equal(rounded.model.words.weight, model.words.weight)
    assert list(ResidualAdapters(model, rounded, "plain").ranks) == ["inner"]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "compute",
    [
        nn.utils.spectral_norm,
        nn.utils.weight_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
    ],
)
def test_a_weight_that_hooks_compute_is_refused(compute):
    model = nn.Sequential(nn.Linear(3, 3), compute(nn.Linear(3, 3)))
    with pytest.raises(ValueError, match="the layer '1' of model computes its weight in every"):
        quantize_weights(model)


def test_values_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"'0' of model.weight is on the meta device"):
        quantize_weights(nn.Sequential(nn.Linear(3, 3, device="meta")))
    with pytest.warns(UserWarning, match="zero-element"):
        empty = nn.Sequential(nn.Linear(3, 0))
    with pytest.raises(ValueError, match=r"must not be empty, got shape \(0, 3\)"):
        quantize_weights(empty)
    with warnings.catch_warnings():  # of newer releases of PyTorch
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(nn.Sequential(nn.Linear(3, 3)), torch.ones(1, 3))
    with pytest.raises(ValueError, match="of a scripted or traced model give the one it was made"):
        quantize_weights(scripted)


def test_inference_tensors_can_be_rounded_and_given_back():
    x = torch.randn(5, 4)
    with torch.inference_mode():
        model = twice()
    rounded = quantize_weights(model, 2)
    with torch.no_grad():
        close(full_rank(model).fold()(x), model(x))
    assert WeightGame(model, x, 0, baselines=rounded).evaluate(torch.ones(1, 2) > 0).shape == (5, 1)


@pytest.mark.parametrize("grad", [True, False])
def test_a_transformer_that_looks_at_its_layers_sees_both_ways(grad):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        model, x = nn.Sequential(layer, nn.Linear(8, 3)).eval(), torch.randn(40, 5, 8)
    adapters = ResidualAdapters(model, quantize_weights(model, 2), calibration=x)
    adapters.allocate(0.5)
    with torch.set_grad_enabled(grad):
        close(adapters.attach()(x), adapters.fold()(x))


@pytest.mark.parametrize("name", list(LAYERS))
def test_the_pair_says_the_weight_of_both_ways_and_what_its_layer_is(name):
    layer, _ = layer_and_input(name)
    adapters = full_rank(nn.Sequential(layer))
    pair = adapters.attach()[0]
    torch.testing.assert_close(pair.weight, layer.weight, rtol=0, atol=1e-12)
    assert pair.bias is pair.layer.bias
    pair.weight.sum().backward()
    assert pair.first.weight.grad.any()
    with pytest.raises(AttributeError, match="colour"):
        _ = pair.colour


def test_hooks_of_a_layer_are_those_of_the_whole():
    model, calls = nn.Sequential(nn.Linear(4, 3)), []
    model[0].register_forward_pre_hook(lambda module, given: (2 * given[0],))
    model[0].register_forward_hook(lambda module, given, output: output**2)
    model[0].register_full_backward_hook(lambda *given: calls.append(given))
    x = torch.randn(5, 4, requires_grad=True)
    attached = full_rank(model).attach()
    close(attached(x), model(x))
    calls.clear()
    attached(x).sum().backward()
    assert len(calls) == 1


def test_attaching_draws_no_random_numbers():
    adapters = full_rank(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 3)))
    before = torch.get_rng_state()
    adapters.attach()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_layer_that_is_not_linear_in_its_weight_has_no_pair_and_no_bands():
    model = nn.Sequential(StandardisesItself(3, 4, 3), nn.Conv2d(4, 4, 1)).eval()
    rounded = quantize_weights(model, 2)
    with pytest.raises(
        ValueError, match=r"'0' of model \(StandardisesItself\) does not act linear"
    ):
        ResidualAdapters(model, rounded, "plain")
    assert list(ResidualAdapters(model, rounded, "plain", skip=["0"]).ranks) == ["1"]
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="does not act linearly"):
        WeightGame(model, x, (0, 0, 0), baselines=rounded, players="band", layer="0")


def test_ranks_patterns_and_budgets_of_a_wrong_kind_are_named():
    model = nn.Sequential(nn.Linear(8, 8))
    before, adapters = state(model), full_rank(model)
    for ranks in (3, None, [("0", 1)]):
        with pytest.raises(TypeError, match="ranks must be a dict from names of layers"):
            adapters.ranks = ranks
    with pytest.raises(TypeError, match="skip must be a sequence of patterns, got None"):
        quantize_weights(model, skip=None)
    assert adapters.allocate(np.float32(0.5)) == adapters.allocate(0.5)
    assert same_state(
        quantize_weights(model, clip=np.float32(2)).model,
        state(quantize_weights(model, clip=2).model),
    )
    assert same_state(model, before)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("clip", [None, 2.0, "mse"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_huge_weights_are_rounded_like_small_ones_or_refused(per_channel, clip, dtype):
    model = nn.Sequential(nn.Linear(6, 5)).to(dtype)
    large = copy.deepcopy(model)
    with torch.no_grad():
        model[0].weight /= model[0].weight.abs().max()
        large[0].weight.copy_(model[0].weight * 2.0**127)  # the range is beyond float32
    small, huge = (
        quantize_weights(m, 3, per_channel=per_channel, clip=clip) for m in (model, large)
    )
    assert huge.model[0].weight.isfinite().all()
    assert huge.layers["0"].error == pytest.approx(small.layers["0"].error, rel=1e-3)
    if dtype is torch.float64:
        large[0].weight.data *= 1e60
        with pytest.raises(ValueError, match=r"'0' of model has weights up to .*, whose step"):
            quantize_weights(large, 3, per_channel=per_channel, clip=clip)
