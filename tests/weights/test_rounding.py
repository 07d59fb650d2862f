"""Rounding of weights, against loops and torchao."""

import copy

import pytest
import torch
from rounded import LAYERS, by_loop, layer_and_input, same_state, small_cnn, state
from torch import nn

from captum_spectral.weights import ResidualAdapters, quantize_weights
from captum_spectral.weights.rounding import codes_of, weight_of


def channels(layer):
    """The weights of each output channel, by slicing."""
    weight = layer.weight.detach()
    if not isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return list(weight)
    each = weight.shape[1]
    groups = weight.chunk(layer.groups)
    return [groups[g][:, o] for g in range(layer.groups) for o in range(each)]


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("name", LAYERS)
def test_every_output_channel_is_rounded_as_a_loop_rounds_it(name, bits):
    layer, _ = layer_and_input(name)
    rounded = quantize_weights(nn.Sequential(layer), bits)
    for before, after in zip(channels(layer), channels(rounded.model[0]), strict=True):
        expected = torch.tensor(by_loop(before.flatten().tolist(), bits)).double()
        torch.testing.assert_close(after.flatten(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_one_grid_per_tensor_is_a_loop_over_all_weights(bits):
    layer, _ = layer_and_input("transposed, groups")
    rounded = quantize_weights(nn.Sequential(layer), bits, per_channel=False)
    expected = torch.tensor(by_loop(layer.weight.flatten().tolist(), bits)).double()
    torch.testing.assert_close(rounded.model[0].weight.flatten(), expected, rtol=1e-6, atol=1e-7)
    assert rounded.layers["0"].scale.shape == (1,)
    change = (layer.weight - rounded.model[0].weight).norm() / layer.weight.norm()
    assert rounded.layers["0"].error == pytest.approx(float(change.detach()))


@pytest.mark.filterwarnings("ignore")  # torchao's own
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bits", range(2, 9))
def test_torchao_rounds_to_the_same_numbers(bits, dtype):
    ao = pytest.importorskip("torchao.quantization.quant_primitives")
    layer = copy.deepcopy(layer_and_input("plain")[0]).to(dtype)
    rounded = quantize_weights(nn.Sequential(layer), bits)
    grid = rounded.layers["0"]
    weight, block, top = layer.weight.detach(), (1, 4, 3, 3), 2**bits - 1
    limits = {"quant_min": 0, "quant_max": top}
    codes = ao.quantize_affine(weight, block, grid.scale, grid.zero_point, torch.uint8, **limits)
    back = ao.dequantize_affine(
        codes, block, grid.scale, grid.zero_point, torch.uint8, output_dtype=dtype, **limits
    )
    torch.testing.assert_close(rounded.model[0].weight.detach(), back, rtol=1e-6, atol=1e-7)
    assert torch.equal(codes_of(rounded.model[0], grid), codes.flatten(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", ["plain", "transposed, groups", "linear"])
def test_codes_give_back_the_weight_to_the_last_bit(name, per_channel, dtype):
    layer = layer_and_input(name)[0].to(dtype)
    rounded = quantize_weights(nn.Sequential(layer), 3, per_channel=per_channel)
    new, grid = rounded.model[0], rounded.layers["0"]
    codes = codes_of(new, grid)
    assert int(codes.max()) <= 7
    assert torch.equal(weight_of(new, codes, grid), new.weight)


def test_least_squares_never_errs_more_than_min_and_max_and_k_cuts_the_range():
    model = small_cnn()
    plain = quantize_weights(model, 2, per_channel=False)
    best = quantize_weights(model, 2, per_channel=False, clip="mse")
    for name, layer in plain.layers.items():
        assert best.layers[name].error <= layer.error
    assert any(best.layers[n].error < 0.9 * plain.layers[n].error for n in plain.layers)
    weight = model[0].weight.detach()
    cut = quantize_weights(model, 8, per_channel=False, clip=1)
    new, step = cut.model[0].weight.detach(), float(cut.layers["0"].scale)
    assert abs(float(new.max() - new.min()) - 2 * float(weight.std(unbiased=False))) <= step
    wide = quantize_weights(model, 2, per_channel=False, clip=100.0)
    assert torch.equal(wide.model[0].weight, plain.model[0].weight)


def test_more_bits_err_less_and_overrides_and_skips_are_kept():
    model = small_cnn()
    errors = [quantize_weights(model, bits).layers["10"].error for bits in range(1, 9)]
    assert errors == sorted(errors, reverse=True)
    before = state(model)
    rounded = quantize_weights(model, 3, skip=["0"], overrides={"*": 4, "1*": 8})
    assert same_state(model, before)
    assert {name: layer.bits for name, layer in rounded.layers.items()} == {"3": 4, "6": 4, "10": 8}
    assert torch.equal(rounded.model[0].weight, model[0].weight)
    assert torch.equal(rounded.model[3].bias, model[3].bias)
    counts = {n: layer.num_weights for n, layer in rounded.layers.items()}
    grids = {"3": 6, "6": 8, "10": 4}
    bits = sum(counts[n] * {"10": 8}.get(n, 4) + 40 * grids[n] for n in counts)
    assert rounded.bits_per_weight == pytest.approx(bits / sum(counts.values()))


def test_weights_on_the_grid_and_weights_of_zero_stay():
    layer = nn.Linear(4, 2, bias=False)
    layer.weight.data = torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    rounded = quantize_weights(nn.Sequential(layer), 2)
    assert torch.equal(rounded.model[0].weight, layer.weight)
    layer.weight.data.zero_()
    assert torch.isnan(torch.tensor(quantize_weights(nn.Sequential(layer)).layers["0"].error))


def test_the_projection_that_attention_never_calls_stays():
    attention = nn.MultiheadAttention(8, 2)
    model = nn.ModuleList([attention, nn.Linear(8, 8)])
    rounded = quantize_weights(model, 2)
    assert list(rounded.layers) == ["1"]
    assert torch.equal(rounded.model[0].out_proj.weight, attention.out_proj.weight)


def tied():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight = a.weight
    return nn.Sequential(a, b)


def with_nan():
    model = nn.Sequential(nn.Linear(3, 3))
    model[0].weight.data[0, 0] = float("nan")
    return model


def parametrised():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)))


LINEAR = nn.Sequential(nn.Linear(3, 3))


@pytest.mark.parametrize(
    ("model", "options", "kind", "message"),
    [
        (LINEAR, {"bits": 0}, ValueError, "bits must be at least 1, got 0"),
        (LINEAR, {"bits": 9}, ValueError, "bits must be 1 to 8, got 9"),
        (LINEAR, {"bits": 2.5}, TypeError, "bits must be an integer"),
        (LINEAR, {"clip": 0}, ValueError, "clip must be a positive number"),
        (LINEAR, {"clip": -1.0}, ValueError, "clip must be a positive number"),
        (LINEAR, {"clip": "max"}, ValueError, "clip must be None, 'mse' or a positive number"),
        (LINEAR, {"skip": ["stem"]}, ValueError, "skip: 'stem' matches no layer; there are '0'"),
        (LINEAR, {"skip": "0"}, TypeError, "skip must be a sequence of patterns"),
        (LINEAR, {"skip": ["*"]}, ValueError, "leaves nothing to round"),
        (LINEAR, {"overrides": {"a": 3}}, ValueError, "overrides: 'a' matches no layer"),
        (LINEAR, {"overrides": {"0": 12}}, ValueError, r"overrides\['0'\] must be 1 to 8"),
        (LINEAR, {"overrides": [4]}, TypeError, "overrides must be a dict"),
        (nn.Sequential(nn.ReLU()), {}, ValueError, "must hold a convolution or a linear layer"),
        (lambda x: x, {}, TypeError, r"model must be a torch.nn.Module, got function"),
        (nn.Sequential(nn.LazyLinear(3)), {}, ValueError, "without weights yet"),
        (tied(), {}, ValueError, "one tensor for '0.weight' and '1.weight'"),
        (with_nan(), {}, ValueError, "must be finite, got 1 NaN"),
        (parametrised(), {}, ValueError, "computed by a parametrisation"),
        (nn.Sequential(nn.Linear(3, 3)).half(), {}, ValueError, "float16, which a CPU cannot"),
    ],
)
def test_bad_input_is_named(model, options, kind, message):
    with pytest.raises(kind, match=message):
        quantize_weights(model, **options)


@pytest.mark.filterwarnings("ignore")  # PyTorch means to leave these modules behind
def test_quantised_modules_are_refused():
    quantised = torch.ao.nn.quantized.Linear(3, 3)
    with pytest.raises(TypeError, match="is a quantised Linear; dequantise it first"):
        quantize_weights(nn.Sequential(quantised))


def test_rounded_weights_and_adapters_are_printed_on_one_line():
    model = small_cnn()
    rounded = quantize_weights(model, 3, overrides={"10": 5})
    errors = [layer.error for layer in rounded.layers.values()]
    assert repr(rounded) == (
        f"RoundedWeights(Sequential, 4 layers at 3 to 5 bits, {rounded.bits_per_weight:.2f} per "
        f"weight with grids, relative errors {min(errors):.3g} to {max(errors):.3g})"
    )
    assert "4 layers at 2 bits, " in repr(quantize_weights(model, 2))
    zeros = nn.Sequential(nn.Linear(2, 2))
    nn.init.zeros_(zeros[0].weight)
    assert "relative errors none)" in repr(quantize_weights(zeros))
    adapters = ResidualAdapters(model, rounded, "plain")
    start = "ResidualAdapters(Sequential, metric='plain', "
    assert repr(adapters) == start + "rank 0 in all 4 layers, 0.0000 numbers per rounded weight)"
    adapters.ranks = {"0": 2, "10": 3}
    assert repr(adapters) == (
        f"{start}ranks 2 to 3 in 2 of 4 layers, {adapters.size:.4f} numbers per rounded weight)"
    )
