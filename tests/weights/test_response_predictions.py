"""Predicted singular values of layers against the layers with the other weights."""

import copy
import math

import mpmath
import pytest
import torch
from dense import convolution
from torch import nn

from captum_spectral.sources.models import load_model
from captum_spectral.weights import SingularValues, frequency_response, layer_responses

CASES = [
    pytest.param(channels, kernel, size, options, id=name)
    for name, channels, kernel, size, options in [
        ("plain", (3, 4), (3, 3), 8, {}),
        ("stride", (3, 4), (3, 3), (8, 4), {"stride": 2}),
        ("strides and dilation", (2, 5), (5,), 12, {"stride": 3, "dilation": 2}),
        ("groups", (4, 6), (3, 3), 6, {"groups": 2}),
        ("depthwise with stride", (6, 6), (3, 3), 8, {"groups": 6, "stride": 2}),
        ("stride spans the kernel", (2, 6), (2, 2), 8, {"stride": 2}),
        ("larger than the grid", (2, 2), (7,), 4, {"dilation": 2}),
        ("3-d", (2, 3), (2, 3, 2), 4, {"groups": 1}),
        ("transposed", (4, 2), (4,), 6, {"transposed": True, "stride": 2, "groups": 2}),
    ]
]


def changed(layer, size, seed=1):
    """The layer with noise of this size in its weight."""
    other = copy.deepcopy(layer)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
    other.weight = nn.Parameter(layer.weight.detach() + size * noise.to(layer.weight))
    return other


def true_change(layer, other, size):
    layer, other = (copy.deepcopy(x).double() for x in (layer, other))
    values = [frequency_response(x, size).singular_values().detach() for x in (layer, other)]
    return values[1] - values[0]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("channels", "kernel", "size", "options"), CASES)
def test_no_value_leaves_its_radius(channels, kernel, size, options, order):
    layer = convolution(channels, kernel, **options)
    for step in (1e-12, 1e-6, 1e-3, 0.03, 1.0):
        other = changed(layer, step)
        change, error = frequency_response(layer, size).predict(other.weight, order)
        truth = true_change(layer, other, size)
        assert change.shape == error.shape == truth.shape
        assert ((truth - change).abs() <= error).all()


@pytest.mark.parametrize(("channels", "kernel", "size", "options"), CASES)
def test_the_error_of_order_n_falls_with_the_power_n_plus_1_of_the_step(
    channels, kernel, size, options
):
    layer = convolution(channels, kernel, **options)
    response = frequency_response(layer, size)
    # Where the real frequencies leave ties, or gaps are small, the series of a value is short.
    usable = response.predict(changed(layer, 3e-4).weight).error < 1e-6
    assert usable.any()
    for order in (1, 2):
        errors = []
        for step in (1e-3, 5e-4):
            other = changed(layer, step)
            found = response.predict(other.weight, order).change
            errors.append((true_change(layer, other, size) - found)[usable].abs().max())
        assert errors[0] < 1e-3
        assert errors[0] / errors[1] == pytest.approx(2 ** (order + 1), rel=0.2)


def test_each_frequency_is_predicted_from_its_own_matrix():
    layer = convolution((3, 4), (3, 3))
    other = changed(layer, 0.01)
    found = frequency_response(layer, (6, 4)).predict(other.weight)
    here, there = (frequency_response(x, (6, 4)).matrices.detach() for x in (layer, other))
    expected = SingularValues(here).predict(there - here)
    torch.testing.assert_close(found.change, expected.change, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.error, expected.error, rtol=1e-6, atol=1e-12)
    assert found.change.shape == (6, 4, 1, 3)


@pytest.mark.parametrize("name", ["_conv_stem", "_blocks.1._depthwise_conv"])
def test_rounding_of_real_layers_is_predicted_within_the_radius(name):
    layer = load_model("efficientnet-lite0").module.get_submodule(name)
    for bits in (8, 4):
        step = layer.weight.abs().amax((1, 2, 3), keepdim=True) / (2 ** (bits - 1) - 1)
        other = copy.deepcopy(layer)
        other.weight = nn.Parameter((layer.weight / step).round() * step)
        change, error = frequency_response(layer).predict(other.weight)
        truth = true_change(layer, other, None)
        assert ((truth - change).abs() <= error).all()
        if bits == 8:  # the largest values have gaps: the prediction is one, not only a radius
            top = frequency_response(layer).singular_values().detach()[..., 0]
            best = top == top.max()
            assert (truth - change)[..., 0][best].abs().max() < 0.02 * truth[..., 0][
                best
            ].abs().max()


def test_radii_know_that_taps_which_cancel_are_rounded():
    """At a zero of the filter, its computed matrix is nothing but the rounding of its taps."""
    missed = [miss_and_radius_at_a_zero(k) for k in range(1, 8)]
    assert any(miss > 1e6 * bare for miss, bare, _ in missed)  # some processors round some to 0
    assert all(miss <= radius for miss, _, radius in missed)


def miss_and_radius_at_a_zero(k, n=16):
    """The error of a prediction, the radius of the matrix as it is, and the one that is given."""
    layer, step = (nn.Conv1d(1, 1, 4, bias=False).double().requires_grad_(False) for _ in range(2))
    taps = [1e8, -2e8 * math.cos(2 * math.pi * k / n), 1e8, 0], [0, 0, 0, 1e-12]
    layer.weight[0, 0], step.weight[0, 0] = torch.tensor(taps, dtype=torch.float64)
    other = layer.weight + step.weight
    found = frequency_response(layer, n).predict(other)
    own, along = (frequency_response(x, n).matrices[k] for x in (layer, step))
    with mpmath.workdps(60):

        def gain(weight):
            taps = enumerate(weight.flatten().tolist())
            return abs(mpmath.fsum(w * mpmath.expj(2 * mpmath.pi * k * a / n) for a, w in taps))

        missed = abs(float(gain(other) - gain(layer.weight)) - float(found.change[k]))
    return missed, float(SingularValues(own).predict(along).error), float(found.error[k])


def test_no_change_is_predicted_for_the_same_weight():
    layer = convolution((3, 4), (3, 3), stride=2)
    change, error = frequency_response(layer, 8).predict(layer.weight)
    assert not change.any()
    assert (error < 1e-12).all()


def test_a_linear_layer_is_predicted_like_its_matrix():
    layer = nn.Linear(5, 3).double()
    other = changed(layer, 0.01)
    found = frequency_response(layer, (2, 2)).predict(other.weight)
    expected = SingularValues(layer.weight).predict(other.weight - layer.weight)
    torch.testing.assert_close(found.change, expected.change.expand(2, 2, 1, 3))


def test_float32_weights_are_predicted_in_float64_and_half_ones_exactly():
    layer = convolution((3, 4), (3, 3)).float()
    other = changed(layer, 1e-4)
    change, error = frequency_response(layer, 8).predict(other.weight)
    assert change.dtype is error.dtype is torch.float64
    assert ((true_change(layer, other, 8) - change).abs() <= error).all()
    half = frequency_response(layer.half(), 8).predict(layer.weight)
    assert not half.change.any()


def test_a_fused_batch_norm_scales_the_other_weight_too():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)).double().eval()
    model[1].running_var.uniform_(0.5, 2)
    nn.init.uniform_(model[1].weight)
    other = copy.deepcopy(model)
    other[0] = changed(model[0], 1e-3)
    (fused,) = layer_responses(model, torch.zeros(1, 3, 8, 8).double())
    (truth,) = layer_responses(other, torch.zeros(1, 3, 8, 8).double())
    change, error = fused.response.predict(other[0].weight)
    expected = truth.response.singular_values() - fused.response.singular_values()
    assert ((expected.detach() - change).abs() <= error).all()
    assert expected.abs().max() > 100 * (expected.detach() - change).abs().max()


def test_in_pieces_it_is_the_same_and_nothing_is_left_behind(monkeypatch):
    layer = convolution((4, 6), (3, 3), stride=2, groups=2)
    response, other = frequency_response(layer, (8, 12)), changed(layer, 0.01).weight
    whole = response.predict(other)
    before = response.norm().detach()
    monkeypatch.setattr("captum_spectral.weights._plane._ENTRIES", 100)
    again = response.predict(other)
    torch.testing.assert_close(again.change, whole.change, rtol=0, atol=1e-13)
    assert float(response.norm().detach()) == pytest.approx(float(before), abs=1e-13)
    assert layer.weight.grad is None
    assert not whole.change.requires_grad


OTHER = torch.ones(4, 3, 3, 3)


@pytest.mark.parametrize(
    ("weight", "order", "error", "message"),
    [
        (nn.Conv2d(3, 4, 3), 2, TypeError, "other_weight must be a torch.Tensor, its weight, got"),
        (OTHER.tolist(), 2, TypeError, "other_weight must be a torch.Tensor, got list"),
        (OTHER.long(), 2, TypeError, "other_weight must be real and floating, got dtype torch.int"),
        (OTHER + 0j, 2, TypeError, "real and floating, got dtype torch.complex64"),
        (OTHER[..., :2], 2, ValueError,
         r"the shape of the layer's weight, \(4, 3, 3, 3\), got \(4, 3, 3, 2\)"),
        (OTHER * math.nan, 2, ValueError, "other_weight must be finite, got 108 NaN or infinite"),
        (OTHER, 0, ValueError, "order must be at least 1, got 0"),
        (OTHER, 1.5, TypeError, "order must be an integer"),
    ],
)  # fmt: skip
def test_wrong_weights_and_orders_are_refused(weight, order, error, message):
    with pytest.raises(error, match=message):
        frequency_response(nn.Conv2d(3, 4, 3), 8).predict(weight, order)
