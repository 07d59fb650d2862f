"""Pairs of layers that give back a part of what rounding took."""

import copy
import itertools

import pytest
import torch
from rounded import (
    LAYERS,
    all_allocations,
    images,
    layer_and_input,
    same_state,
    small_cnn,
    state,
)
from torch import nn

from captum_spectral.weights import ResidualAdapters, quantize_weights, recalibrate_batch_norm
from captum_spectral.weights._components import decomposed
from captum_spectral.weights._pairs import Restored


def adapters_of(model, bits=2, **options):
    options = {"metric": "plain", **options}
    return ResidualAdapters(model, quantize_weights(model, bits), **options)


def truncated(matrix, rank):
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vh[:rank]


@pytest.mark.parametrize("rank", [0, 1, 2, None])
@pytest.mark.parametrize("name", LAYERS)
def test_the_pair_is_the_layer_with_the_truncated_residual(name, rank):
    layer, x = layer_and_input(name)
    model = nn.Sequential(layer)
    adapters = adapters_of(model)
    full = len(adapters.components("0").values)
    rank = full if rank is None else min(rank, full)
    adapters.ranks = {"0": rank}
    rounded = adapters.quantised[0].weight.detach()
    residual = (layer.weight.detach() - rounded).flatten(1)
    dense = copy.deepcopy(layer)
    dense.weight.data = rounded + truncated(residual, rank).reshape(rounded.shape)
    attached = adapters.attach()
    torch.testing.assert_close(attached(x), dense(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(adapters.fold()(x), dense(x), rtol=0, atol=1e-12)
    if rank == full:
        torch.testing.assert_close(attached(x), model(x), rtol=0, atol=1e-12)
    if rank:  # it holds what it says, but for filters that groups share
        pair = attached[0]
        assert isinstance(pair, Restored)
        groups = getattr(layer, "groups", 1)
        shared, own = (
            (pair.second, pair.first) if "transposed" in name else (pair.first, pair.second)
        )
        held = shared.weight.numel() // groups + own.weight.numel()
        assert held == rank * adapters.cost("0")
        assert adapters.size == pytest.approx(held / layer.weight.numel())


def test_a_transposed_layer_is_told_the_size_of_its_output():
    layer, x = layer_and_input("transposed")
    adapters = adapters_of(nn.Sequential(layer))
    adapters.ranks = {"0": 1}
    both = adapters.attach()[0], adapters.fold()[0]
    found = [each(x, output_size=(11, 10)) for each in both]
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)
    assert found[0].shape[2:] == (11, 10)


@pytest.mark.parametrize("name", ["stride and padding", "depthwise", "transposed", "linear"])
def test_what_is_left_is_the_tail_of_the_singular_values(name):
    layer, _ = layer_and_input(name)
    adapters = adapters_of(nn.Sequential(layer))
    values = adapters.components("0").values
    for rank in range(len(values) + 1):
        adapters.ranks = {"0": rank}
        left = (layer.weight - adapters.fold()[0].weight).detach().norm()
        torch.testing.assert_close(left, values[rank:].square().sum().sqrt(), rtol=1e-9, atol=1e-12)


PATCHED = [n for n in LAYERS if n != "linear of places"]


@pytest.mark.parametrize("name", PATCHED)
def test_unit_moments_give_the_plain_metric(name):
    layer, _ = layer_and_input(name)
    groups = getattr(layer, "groups", 1)
    columns = layer.weight[0].numel()
    if "transposed" in name:
        columns = layer.weight.shape[0] // groups
    residual = torch.randn(
        *layer.weight.flatten(1).shape, generator=torch.Generator().manual_seed(0)
    ).double()
    weight = layer.weight.detach().flatten(1).double()
    plain = decomposed(residual, weight, layer, None)
    unit = decomposed(residual, weight, layer, torch.eye(columns).double().expand(groups, -1, -1))
    torch.testing.assert_close(unit.values, plain.values)
    assert unit.energy == pytest.approx(float(weight.square().sum()))
    for rank in (1, 2):
        torch.testing.assert_close(
            unit.up[:, :rank] @ unit.down[:rank], plain.up[:, :rank] @ plain.down[:rank]
        )


@pytest.mark.parametrize(
    "name", ["plain", "stride and padding", "circular", "reflect", "pads itself", "linear"]
)
def test_the_output_metric_gives_the_least_error_of_the_layers_output(name):
    layer, x = layer_and_input(name, examples=60)
    x[:, 0] *= 5  # so that directions differ
    model = nn.Sequential(layer)
    rounded = quantize_weights(model, 2)
    wanted = model(x).detach()
    rank = 2
    errors = {}
    for metric in ("plain", "output"):
        adapters = ResidualAdapters(model, rounded, metric, x)
        adapters.ranks = {"0": rank}
        errors[metric] = float((adapters.attach()(x).detach() - wanted).square().sum())
    # By least squares of the outputs: no change of this rank does better.
    places = wanted.flatten(2).mean(0).shape[-1] if wanted.dim() > 2 else 1
    tail = float(adapters.components("0").values[rank:].square().sum()) * len(x) * places
    assert errors["output"] == pytest.approx(tail, rel=1e-6)
    assert errors["output"] < errors["plain"]


def test_groups_are_weighted_by_their_energy_and_a_transposed_layer_by_its_inputs():
    for name in ("depthwise", "two groups", "transposed, groups"):
        layer, x = layer_and_input(name, examples=60)
        x[:, :2] *= 5
        model = nn.Sequential(layer)
        rounded = quantize_weights(model, 2)
        errors = []
        for metric in ("plain", "output"):
            adapters = ResidualAdapters(model, rounded, metric, x)
            adapters.ranks = {"0": 1}
            errors.append(float((adapters.attach()(x) - model(x)).detach().square().sum()))
            adapters.ranks = {"0": len(adapters.components("0").values)}
            torch.testing.assert_close(adapters.attach()(x), model(x), rtol=0, atol=1e-10)
        assert errors[1] < errors[0], name


def test_order_and_size_of_calibration_batches_change_nothing():
    model = small_cnn().double()
    rounded = quantize_weights(model, 2)
    x = images(40).double()
    found = []
    for calibration in (x, x.flip(0), list(x.split(7)), [(part, 0) for part in x.split(13)]):
        adapters = ResidualAdapters(model, rounded, "output", calibration)
        found.append(adapters.components("6").values)
    for values in found[1:]:
        torch.testing.assert_close(values, found[0], rtol=1e-9, atol=1e-12)


def test_ranks_do_not_depend_on_the_scale_of_a_layer_before_a_batch_norm():
    model = small_cnn().double()
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        convolution, norm = scaled[3], scaled[4]
        for x in (convolution.weight, convolution.bias, norm.running_mean):
            x *= 8
        norm.running_var.copy_(64 * (norm.running_var + norm.eps) - norm.eps)
    x = images(40).double()
    torch.testing.assert_close(scaled(x), model(x))
    first, second = (
        ResidualAdapters(m, quantize_weights(m, 2), "output", x).allocate(0.3)
        for m in (model, scaled)
    )
    assert first == second
    assert 0 < first["3"] < first["0"] + first["6"]


def test_the_budget_is_never_exceeded_and_what_is_left_falls_with_it():
    model = small_cnn()
    before = state(model)
    rounded = quantize_weights(model, 2)
    quantised = state(rounded.model)
    x = images()
    errors = []
    for metric in ("plain", "output"):
        adapters = ResidualAdapters(model, rounded, metric, images(40))
        for budget in (0.05, 0.1, 0.2, 0.4, 0.8):
            for method in ("uniform", "greedy"):
                ranks = adapters.allocate(budget, method)
                assert adapters.size <= budget
                assert ranks == adapters.ranks
            errors.append(float((adapters.fold()(x) - model(x)).detach().norm()))
    assert errors[4] < errors[0]
    assert errors[9] < errors[5]
    assert errors[4] < 0.8 * float((rounded.model(x) - model(x)).detach().norm())
    assert same_state(model, before)
    assert same_state(rounded.model, quantised)


@pytest.mark.parametrize("kind", ["equal costs", "other costs"])
def test_greedy_is_the_best_of_all_allocations_of_two_small_layers(kind):
    other = 5 if kind == "equal costs" else 9
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, other)).double().eval()
    adapters = adapters_of(model, 2)
    values = [adapters.components(name).values for name in ("0", "1")]
    costs = [adapters.cost(name) for name in ("0", "1")]
    full = [len(v) for v in values]
    assert full == [3, 3]
    total = sum(p.weight.numel() for p in model)

    def gained(ranks):
        return sum(float(v[:r].square().sum()) for v, r in zip(values, ranks, strict=True))

    worth = sorted(
        (-(float(s) ** 2) / cost, cost)
        for its, cost in zip(values, costs, strict=True)
        for s in its
    )
    sizes = list(itertools.accumulate(cost for _, cost in worth))
    sizes = [size for size in sizes if size < total]
    assert len(sizes) >= 3
    for size in sizes:
        ranks = tuple(adapters.allocate((size + 0.5) / total).values())
        best = max(map(gained, all_allocations(costs, full, size)))
        assert gained(ranks) == pytest.approx(best, rel=1e-12)


def test_adapters_of_a_layer_that_is_the_model_and_ranks_by_hand():
    layer, x = layer_and_input("linear")
    adapters = adapters_of(layer)
    adapters.ranks = {"": 5}
    torch.testing.assert_close(adapters.attach()(x), layer(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(adapters.fold()(x), layer(x), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"ranks\[''\] must be at most 5, got 6"):
        adapters.ranks = {"": 6}
    with pytest.raises(ValueError, match="ranks names 'stem', which has no adapter"):
        adapters.ranks = {"stem": 1}
    with pytest.raises(TypeError, match=r"ranks\[''\] must be an integer"):
        adapters.ranks = {"": 1.5}


def test_rounded_pairs_cost_their_bits_and_err_less_with_more_of_them():
    model = small_cnn()
    x, errors = images(), []
    for adapter_bits in (3, 8, None):
        adapters = adapters_of(model, 3, adapter_bits=adapter_bits)
        adapters.allocate(0.4)
        expected = adapters.rounding.bits_per_weight + (adapter_bits or 32) * adapters.size
        assert adapters.bits_per_weight == pytest.approx(expected)
        folded = adapters.fold()
        errors.append(float((folded[6].weight - model[6].weight).detach().norm()))
        torch.testing.assert_close(adapters.attach()(x), folded(x), atol=1e-5, rtol=1e-4)
    assert errors[0] > errors[1] > errors[2] > 0.99 * errors[1]


def test_any_other_weights_will_do_and_what_else_differs_stays():
    model = small_cnn()
    pruned = copy.deepcopy(model)
    pruned[6].weight.data[pruned[6].weight.abs() < 0.1] = 0
    pruned[1].running_mean += 1
    adapters = ResidualAdapters(model, pruned, "plain")
    assert list(adapters.ranks) == ["6"]
    adapters.ranks = {"6": 8}
    torch.testing.assert_close(adapters.fold()[6].weight, model[6].weight)
    assert torch.equal(adapters.attach()[1].running_mean, pruned[1].running_mean)
    with pytest.raises(ValueError, match="bits_per_weight needs to know the bits"):
        _ = adapters.bits_per_weight


def test_training_goes_on_through_the_pairs():
    adapters = adapters_of(small_cnn())
    adapters.allocate(0.3)
    attached = adapters.attach()
    attached(images(4)).sum().backward()
    pair = next(m for m in attached.modules() if isinstance(m, Restored))
    assert pair.first.weight.grad.abs().sum() > 0
    assert pair.second.weight.grad.abs().sum() > 0


MODEL = small_cnn()
ROUNDED = quantize_weights(MODEL, 3)


def with_nan():
    model = small_cnn()
    model[6].weight.data[0, 0, 0, 0] = float("inf")
    return model


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((MODEL, ROUNDED), ValueError, "metric='output' needs calibration images"),
        ((MODEL, ROUNDED, "hessian"), ValueError, "metric must be 'output' or 'plain'"),
        ((MODEL, ROUNDED, "output", 3), TypeError, "calibration must be images"),
        ((MODEL, ROUNDED, "output", []), ValueError, "calibration must hold at least one image"),
        ((MODEL, ROUNDED, "output", images(7)), ValueError, "for 1 of 4 layers: with its 7 images"),
        ((MODEL, ROUNDED, "output", images(7)), ValueError, "7 patches, of 32 .* Give 32 images"),
        ((MODEL, ROUNDED, "output", images(7) / 0), ValueError, "calibration must be finite"),
        ((small_cnn().train(), ROUNDED, "output", images(40)), ValueError, "is in training mode"),
        ((MODEL, MODEL, "plain"), ValueError, "quantised must differ from the model"),
        ((with_nan(), ROUNDED, "plain"), ValueError, "must be finite"),
        ((nn.Linear(3, 3), ROUNDED, "plain"), ValueError, "must have the weights of the model"),
        ((3, ROUNDED, "plain"), TypeError, "model must be a torch.nn.Module"),
        ((MODEL, 3, "plain"), TypeError, "quantised must be a torch.nn.Module"),
    ],
)
def test_bad_models_and_calibrations_are_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        ResidualAdapters(*arguments)


def test_all_layers_with_too_few_patches_are_told_and_so_many_images_are_enough():
    layers = [nn.Linear(n, n + 1) for n in range(10, 17)]
    model = nn.Sequential(*layers).eval()
    rounded = quantize_weights(model, 2)
    x = torch.rand(16, 10, generator=torch.Generator().manual_seed(0))
    few = (
        r"for 6 of 7 .* 10 images '1' has 10 .* of 11 .*; '5' .*; and 1 more\. Give 16 .*'layer3\*'"
    )
    with pytest.raises(ValueError, match=few):
        ResidualAdapters(model, rounded, calibration=x[:10])
    with pytest.raises(ValueError, match="for 1 of 7 layers: with its 15 images '6' has 15"):
        ResidualAdapters(model, rounded, calibration=x[:15])
    assert "6" in ResidualAdapters(model, rounded, calibration=x).ranks


def test_bad_options_and_budgets_are_named():
    with pytest.raises(ValueError, match="adapter_bits must be 1 to 8"):
        adapters_of(MODEL, adapter_bits=9)
    with pytest.raises(ValueError, match="skip: 'stem' matches no layer"):
        adapters_of(MODEL, skip=["stem"])
    with pytest.raises(ValueError, match="leaves no layer that differs"):
        adapters_of(MODEL, skip=["*"])
    other = copy.deepcopy(MODEL)
    other[1].running_mean += 1
    with pytest.raises(ValueError, match="in the weight of a convolution or a linear"):
        ResidualAdapters(MODEL, other, "plain")
    adapters = adapters_of(MODEL)
    for budget in (0, 1, -0.1, float("nan")):
        with pytest.raises(ValueError, match="budget must lie between 0 and 1"):
            adapters.allocate(budget)
    with pytest.raises(TypeError, match="budget must be a number"):
        adapters.allocate("all")
    with pytest.raises(ValueError, match="method must be 'greedy' or 'uniform'"):
        adapters.allocate(0.5, "best")
    with pytest.raises(
        ValueError, match="is below one rank of any layer: it allows 5 numbers"
    ) as e:
        adapters.allocate(0.01)
    adapters.allocate(float(str(e.value).rsplit(" ", 1)[1]))
    assert sum(adapters.ranks.values()) == 1
    skipped = adapters_of(MODEL, skip=["3"])
    skipped.allocate(0.3)
    assert "3" not in skipped.ranks


def test_batch_norms_learn_the_statistics_of_the_images_in_a_copy():
    model = small_cnn()
    before = state(model)
    x = images(32)
    new = recalibrate_batch_norm(model, x)
    assert same_state(model, before)
    assert [m.training for m in new.modules()] == [m.training for m in model.modules()]
    assert new[1].momentum == model[1].momentum
    given = model[0](x).detach()
    torch.testing.assert_close(new[1].running_mean, given.mean((0, 2, 3)))
    torch.testing.assert_close(new[1].running_var, given.var((0, 2, 3)))
    with pytest.raises(ValueError, match="must hold a batch norm with running statistics"):
        recalibrate_batch_norm(nn.Sequential(nn.Conv2d(2, 2, 1)), x)
    with pytest.raises(ValueError, match="training mode"):
        recalibrate_batch_norm(small_cnn().train(), x)
    with pytest.raises(TypeError, match="data set of single images"):
        recalibrate_batch_norm(model, torch.utils.data.TensorDataset(x))


@pytest.mark.filterwarnings("ignore")  # peft's own
@pytest.mark.parametrize("name", ["depthwise", "depthwise, two each", "two groups"])
def test_layers_whose_groups_peft_refuses_get_any_rank(name):
    peft = pytest.importorskip("peft")
    layer, x = layer_and_input(name)
    model = nn.Sequential(layer)
    with pytest.raises(ValueError, match="divisible"):
        peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(r=3, target_modules=["0"]))
    adapters = adapters_of(model)
    adapters.ranks = {"0": 3}
    torch.testing.assert_close(adapters.attach()(x), adapters.fold()(x), rtol=0, atol=1e-12)
    assert adapters.size < 1 or name == "depthwise"
