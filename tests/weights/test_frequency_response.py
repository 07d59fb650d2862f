"""The frequency response of a layer: bounds, gradients, aliasing, precision."""

import math
import warnings

import pytest
import torch
from dense import convolution
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d

from captum_spectral import band_mask
from captum_spectral.sources.models import load_model
from captum_spectral.weights import frequency_response


def fixed(weight, kind=nn.Conv1d, **options):
    """A layer with this weight and without gradients."""
    weight = torch.as_tensor(weight, dtype=torch.float64)
    layer = kind(weight.shape[1], weight.shape[0], weight.shape[2:], bias=False, **options)
    layer.double().requires_grad_(False).weight.copy_(weight)
    return layer


def largest_by_power_iteration(layer, size, padding, steps=100):
    """The norm of a 2-D layer on zero-padded images of one size, from below."""
    w, s, d = layer.weight.detach(), layer.stride, layer.dilation
    x = torch.randn(1, w.shape[1] * layer.groups, *size, dtype=w.dtype)
    for _ in range(steps):
        y = conv2d(x / x.norm(), w, None, s, padding, d, layer.groups)
        norm = y.norm()
        back = conv_transpose2d(y, w, None, s, padding, 0, layer.groups, d)
        x = torch.zeros_like(x)
        h, v = (min(a, b) for a, b in zip(back.shape[2:], size, strict=True))
        x[..., :h, :v] = back[..., :h, :v]
    return float(norm)


# --------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_bound_is_above_zero_padded_layers_of_every_size_and_close(stride, padding):
    layer = convolution((2, 3), (3, 3), seed=stride, stride=stride).requires_grad_(False)
    bound = float(frequency_response(layer).norm_bound())
    norms = [largest_by_power_iteration(layer, (n, n + 3), padding) for n in (5, 32)]
    assert max(norms) <= bound
    assert bound <= 1.04 * norms[-1]


@pytest.mark.parametrize(
    "name", ["_conv_stem", "_blocks.3._depthwise_conv", "_blocks.6._expand_conv"]
)
def test_the_bound_is_above_real_layers_that_pad_on_their_own(name):
    layer = load_model("efficientnet-lite0").module.get_submodule(name).double()
    layer.requires_grad_(False)
    bound = float(frequency_response(layer).norm_bound())
    x = torch.randn(1, layer.in_channels, 32, 32, dtype=torch.float64)
    for _ in range(60):  # each channel of a depthwise layer on its own
        dims = (2, 3) if layer.groups > 1 else (1, 2, 3)
        norms = torch.linalg.vector_norm(x, dim=dims, keepdim=True)
        x = (x / norms.clamp(min=1e-300)).requires_grad_()  # some channels are dead
        y = layer(x)
        norm = float(torch.linalg.vector_norm(y.detach(), dim=dims).max())
        (x,) = torch.autograd.grad(y, x, y)
    assert 0.9 * bound < norm <= bound


def test_the_bound_is_above_the_supremum_on_every_grid():
    for seed in range(8):
        layer = convolution((2, 2), (4, 3), seed=seed, dilation=(1, 2)).requires_grad_(False)
        supremum = float(frequency_response(layer, 72).norm())
        for size in (9, 12, 18, 24):  # each grid is a part of that of 72
            response = frequency_response(layer, size)
            assert float(response.norm()) <= supremum * (1 + 1e-12) <= float(response.norm_bound())


def test_a_stride_as_long_as_the_kernel_needs_one_matrix_and_no_margin():
    layer = convolution((2, 5), (4, 4), stride=4).requires_grad_(False)
    response = frequency_response(layer)
    assert response.size == (4, 4)
    expected = float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2))
    assert float(response.norm()) == pytest.approx(expected, abs=1e-12)
    assert float(response.norm_bound()) == pytest.approx(expected, abs=1e-11)
    assert frequency_response(layer, 32).singular_values().shape == (8, 8, 1, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": 1, "padding_mode": "reflect"}, "padding_mode='reflect', which adds energy"),
        ({"padding": 1, "padding_mode": "replicate"}, "padding_mode='replicate', which adds"),
        ({"padding": 2, "padding_mode": "circular"}, r"circular padding of \(2, 2\), which repeat"),
    ],
)
def test_where_no_bound_holds_none_is_given(options, message):
    response = frequency_response(nn.Conv2d(1, 1, 3, **options))
    with pytest.raises(ValueError, match=f"norm_bound does not hold for a layer with .*{message}"):
        response.norm_bound()
    assert response.norm().isfinite()


def test_replicated_borders_do_exceed_the_bound_of_the_infinite_plane():
    layer = fixed([[[1.0, 0.0, 0.0]]], padding=1, padding_mode="replicate")
    basis = torch.eye(4, dtype=torch.float64)[:, None]
    norm = float(torch.linalg.matrix_norm(layer(basis)[:, 0], 2))
    assert float(frequency_response(layer).norm()) == pytest.approx(1)
    assert norm == pytest.approx(math.sqrt(2))  # the first sample counts twice


@pytest.mark.parametrize("options", [{}, {"padding": 1, "padding_mode": "circular"},
                                     {"padding": "same", "padding_mode": "circular"}])  # fmt: skip
def test_circular_padding_of_half_a_kernel_is_bounded(options):
    assert frequency_response(nn.Conv2d(1, 1, 3, **options)).norm_bound() > 0


def test_a_grid_too_small_for_the_bound_says_so():
    response = frequency_response(nn.Conv1d(1, 1, 9), 16)
    with pytest.raises(ValueError, match=r"size=\(16,\) has 16 points .* at least 17 for a bound"):
        response.norm_bound()
    assert frequency_response(nn.Conv1d(1, 1, 41)).norm_bound() > 0  # the default is larger


# --------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "of",
    [
        lambda r: r.norm(),
        lambda r: r.norm_bound(),
        lambda r: r.gain("max"),
        lambda r: r.gain("rms"),
        lambda r: r.band_gain(num_bands=2),
        lambda r: r.band_gain(num_bands=2, kind="rms", power=1.0),
        lambda r: r.aliasing(),
        lambda r: r.singular_values(),
    ],
)
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"stride": 2, "transposed": True}])
def test_gradients_are_those_of_differences(of, options):
    layer = convolution((2, 3), (3,), **options)
    start, step = layer.weight.detach().clone(), torch.randn(layer.weight.shape).double()
    value = of(frequency_response(layer, 8))
    weights = torch.rand_like(value)
    if value.requires_grad:  # aliasing without a stride is 0
        (gradient,) = torch.autograd.grad((value * weights).sum(), layer.weight)
    else:
        gradient = torch.zeros_like(start)
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            layer.weight.copy_(start + sign * 1e-6 * step)
            ends.append((of(frequency_response(layer, 8)) * weights).sum())
    assert float((gradient * step).sum()) == pytest.approx(
        float(ends[0] - ends[1]) / 2e-6, abs=1e-6
    )


def test_gradients_of_weights_that_are_all_zero_are_finite():
    layer = convolution((2, 3), (3,), stride=2)
    nn.init.zeros_(layer.weight)
    response = frequency_response(layer, 8)
    for value in (response.norm(), response.gain().sum(), response.gain("rms").sum(),
                  response.band_gain(kind="rms").sum(), response.band_gain().sum()):  # fmt: skip
        (gradient,) = torch.autograd.grad(value, layer.weight, retain_graph=True)
        assert gradient.isfinite().all()
    assert response.aliasing().isnan()


# --------------------------------------------------------------------------- aliasing and bands


def test_aliasing_of_a_flat_filter_is_three_quarters_and_of_an_ideal_one_nothing():
    flat = fixed([[[[1.0]]]], nn.Conv2d, stride=2)
    for size in (6, 8):
        assert float(frequency_response(flat, size).aliasing()) == pytest.approx(3 / 4)
    # On a ring of 12 samples a kernel as long as the ring can be any filter.
    k = torch.fft.fftfreq(12).abs()
    ideal = torch.fft.ifft((k < 0.25).double()).real
    layer = fixed(ideal[None, None], stride=2)
    assert float(frequency_response(layer, 12).aliasing()) == pytest.approx(0, abs=1e-12)
    high = fixed(torch.fft.ifft((k > 0.25).double()).real[None, None], stride=2)
    assert float(frequency_response(high, 12).aliasing()) == pytest.approx(1)


def test_the_edge_counts_half_and_without_stride_nothing_aliases():
    k = torch.fft.fftfreq(12).abs()
    edge = fixed(torch.fft.ifft((k == 0.25).double()).real[None, None], stride=2)
    assert float(frequency_response(edge, 12).aliasing()) == pytest.approx(0.5)
    assert float(frequency_response(fixed(edge.weight), 12).aliasing()) == 0


def test_power_weighs_what_is_passed():
    layer = fixed([[[1.0]]], stride=2)
    power = torch.zeros(8)
    power[[1, 7]], power[[3, 5]] = 3.0, 1.0
    assert float(frequency_response(layer, 8).aliasing(power)) == pytest.approx(1 / 4)
    response = frequency_response(layer, 8)
    weights = torch.tensor([0, 1, 1 / 4, 1 / 9, 1 / 16, 1 / 9, 1 / 4, 1])
    assert float(response.aliasing(2.0)) == pytest.approx(
        float((1 / 4 + 2 / 9 + 1 / 16) / weights.sum())
    )


def test_a_transposed_layer_leaves_copies_where_it_does_not_interpolate():
    copies = fixed([[[1.0]]], nn.ConvTranspose1d, stride=2)
    assert float(frequency_response(copies).aliasing()) == pytest.approx(1 / 2)
    linear = fixed([[[0.5, 1.0, 0.5]]], nn.ConvTranspose1d, stride=2)
    assert float(frequency_response(linear).aliasing(2.0)) < 0.05


def test_bands_are_those_of_any_mask_and_an_empty_one_is_nan():
    layer = convolution((1, 1), (3, 3)).requires_grad_(False)
    response = frequency_response(layer, (8, 6))
    mask = 2 * band_mask((8, 6), 2)
    found = response.band_gain(mask)
    assert found.shape == (3,)
    assert found[1].isnan()
    torch.testing.assert_close(found[[0, 2]], response.band_gain(num_bands=2))
    assert response.band_gain(mask, kind="rms")[1].isnan()
    assert len(response.band_gain()) == 1 + band_mask((8, 6)).max()  # as many as fit
    strided = frequency_response(convolution((1, 1), (3, 3), stride=2).requires_grad_(False), 8)
    assert strided.band_gain(2 * band_mask((8, 8), 2))[1].isnan()


def test_the_largest_gain_of_all_bands_is_the_norm():
    for options in ({}, {"stride": 2}, {"stride": 3, "groups": 2}):
        layer = convolution((4, 6), (3, 3), **options).requires_grad_(False)
        response = frequency_response(layer, 12)
        whole = response.band_gain(torch.zeros(12, 12, dtype=torch.long))
        assert float(whole) == pytest.approx(float(response.norm()), abs=1e-12)
        assert float(response.band_gain(num_bands=3).max()) <= float(whole) + 1e-12


# --------------------------------------------------------------------------- precision, memory


def test_scale_and_precision():
    layer = convolution((3, 4), (3, 3), stride=2).requires_grad_(False)
    expected = frequency_response(layer).norm()
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        low = nn.Conv2d(3, 4, 3, stride=2, bias=False).to(kind).requires_grad_(False)
        low.weight.copy_(layer.weight)
        found = frequency_response(low).norm()
        assert found.dtype is torch.float32
        assert float(found) == pytest.approx(
            float(expected), rel=1e-5 if kind is torch.float32 else 1e-2
        )
    large = nn.Conv2d(3, 4, 3, stride=2, bias=False).requires_grad_(False)
    large.weight.copy_(layer.weight * 1e30)
    assert float(frequency_response(large).norm()) == pytest.approx(
        float(expected) * 1e30, rel=1e-5
    )


def test_in_pieces_it_is_the_same(monkeypatch):
    layer = convolution((4, 6), (3, 3), stride=2, groups=2).requires_grad_(False)
    response = frequency_response(layer, (8, 12))
    whole = response.gain(), response.singular_values(), response.band_gain(num_bands=3)
    monkeypatch.setattr("captum_spectral.weights._plane._ENTRIES", 100)
    again = response.gain(), response.singular_values(), response.band_gain(num_bands=3)
    for a, b in zip(whole, again, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_the_layer_stays_as_it_was_and_its_padding_plays_no_part():
    layer = convolution((2, 2), (3, 3), padding=1)
    before = layer.weight.detach().clone()
    gain = frequency_response(layer, 8).gain()
    assert layer.weight.grad is None
    assert torch.equal(layer.weight.detach(), before)
    for mode in ("zeros", "reflect", "replicate", "circular"):
        other = convolution((2, 2), (3, 3), padding=1, padding_mode=mode)
        assert torch.equal(frequency_response(other, 8).gain(), gain)


def test_its_text_says_what_it_is():
    layer = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)
    assert repr(frequency_response(layer)) == (
        "FrequencyResponse(size=(32, 32), groups=2, in=4, out=6, stride=(2, 2))"
    )


# --------------------------------------------------------------------------- bad input


class _Offset(nn.Module):
    def forward(self, w):
        return w + 1


def parametrised():
    layer = nn.Conv2d(1, 1, 3)
    nn.utils.parametrize.register_parametrization(layer, "weight", _Offset())
    return layer


def with_weight(value):
    layer = nn.Conv1d(1, 1, 3)
    layer.weight = nn.Parameter(value, requires_grad=False)
    return layer


@pytest.mark.parametrize(
    ("layer", "size", "error", "message"),
    [
        (nn.ReLU(), None, TypeError, r"layer must be an nn.Conv1d.*nn.Linear, got ReLU$"),
        (nn.BatchNorm2d(3), None, TypeError, r"got BatchNorm2d; fuse it .*\.fuse_conv_bn_eval"),
        (torch.ones(1, 1, 3), None, TypeError, "got Tensor"),
        (nn.LazyConv2d(4, 3), None, ValueError, "LazyConv2d without weights yet; run one batch"),
        (parametrised(), None, ValueError, "whose weight is computed by a parametrisation; use"),
        (with_weight(torch.ones(1, 1, 3, dtype=torch.int64)), None, TypeError,
         "layer.weight must be real and floating, got dtype torch.int64"),
        (with_weight(torch.ones(1, 1, 3, dtype=torch.complex64)), None, TypeError, "complex64"),
        (with_weight(torch.tensor([[[1.0, math.nan, math.inf]]])), None, ValueError,
         "layer.weight must be finite, got 2 NaN or infinite values"),
        (nn.Conv2d(1, 1, 3), (8,), ValueError, r"each of the 2 spatial dims of Conv2d, got \(8,\)"),
        (nn.Conv2d(1, 1, 3), (8, 0), ValueError, "size must be at least 1, got 0"),
        (nn.Conv2d(1, 1, 3), 8.0, TypeError, "size must be an integer or None, got 8.0"),
        (nn.Conv2d(1, 1, 3, stride=(1, 2)), (7, 9), ValueError,
         r"size=\(7, 9\) must be a multiple of the stride \(1, 2\).*instead of 9 use 8 or 10"),
        (nn.Conv1d(1, 1, 3, stride=4), 3, ValueError, "instead of 3 use 4"),
    ],
)  # fmt: skip
def test_wrong_layers_and_sizes_are_refused(layer, size, error, message):
    with pytest.raises(error, match=message):
        frequency_response(layer, size)


def test_quantised_layers_are_to_be_dequantised_first():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are deprecated
        layer = torch.ao.nn.quantized.Conv2d(1, 1, 3)
    with pytest.raises(TypeError, match="layer is a quantised Conv2d; dequantise it first"):
        frequency_response(layer)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: r.gain("mean"), ValueError, "kind must be 'max' or 'rms', got 'mean'"),
        (lambda r: r.band_gain(kind="l2"), ValueError, "kind must be 'max' or 'rms'"),
        (lambda r: r.band_gain(power=2.0), ValueError, "power weighs .* kind='rms'; leave it out"),
        (lambda r: r.band_gain(num_bands=9), ValueError, "num_bands=9 is more than"),
        (lambda r: r.band_gain(torch.zeros(8, 8)), TypeError, "feature_mask must hold integer"),
        (lambda r: r.band_gain(torch.zeros(4, 4, dtype=torch.long)), ValueError, "feature_mask"),
        (lambda r: r.band_gain(torch.arange(64).reshape(8, 8)), ValueError, "negative the same"),
        (lambda r: r.aliasing(torch.ones(8)), ValueError,
         r"power must be real and of the shape of size, \(8, 8\), got torch.float32 of shape \(8,"),
        (lambda r: r.aliasing(-torch.ones(8, 8)), ValueError, "power must be .*nowhere negative"),
        (lambda r: r.aliasing("white"), TypeError, "power must be None, a tensor or .*got str"),
        (lambda r: r.aliasing(math.nan), ValueError, "power must be a finite exponent, got nan"),
    ],
)  # fmt: skip
def test_wrong_questions_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(frequency_response(nn.Conv2d(1, 1, 3), 8))
