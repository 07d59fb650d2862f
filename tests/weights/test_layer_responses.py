"""The responses of all layers of a model: which layers, at which sizes, in which frequencies."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate, max_pool2d
from torch.nn.utils import fuse_conv_bn_eval

from captum_spectral import band_frequencies, band_mask
from captum_spectral.weights import frequency_response, layer_responses

IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def conv(*args, **options):
    options.setdefault("padding", 1)
    return nn.Conv2d(*args, **options)


class Network(nn.Module):
    """Strides of all kinds: of a convolution, a pooling, a transposed convolution, a resizing."""

    def __init__(self):
        super().__init__()
        self.rows = []
        self.unused = conv(3, 3, 3)
        self.stem = conv(3, 4, 3, stride=2)
        self.after_pooling = conv(4, 4, 3)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.after_up = conv(4, 4, 3, stride=(1, 2))
        self.after_resize = conv(4, 4, 1, padding=0)
        self.across_channels = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        self.rows.append(len(x))
        x = self.stem(x)
        x = self.after_pooling(max_pool2d(x, 2))
        x = self.after_up(self.up(x))
        x = self.after_resize(interpolate(x, scale_factor=4.0))
        return self.across_channels(x.mean((2, 3))[:, None])[:, 0]


def test_sizes_and_steps_follow_strides_pooling_and_resizing():
    model = Network().eval()
    layers = layer_responses(model, IMAGE)
    assert [(r.name, r.size, r.step, r.nyquist) for r in layers] == [
        ("stem", (32, 32), (1.0, 1.0), 0.25),
        ("after_pooling", (8, 8), (4.0, 4.0), 0.125),
        ("up", (8, 8), (4.0, 4.0), 0.25),
        ("after_up", (16, 16), (2.0, 2.0), 0.25),
        ("after_resize", (64, 32), (0.5, 1.0), 1.0),
    ]
    assert model.rows == [1]


def test_without_padding_steps_are_still_whole():
    pooling = nn.MaxPool2d(2), nn.AvgPool2d(3, (2, 2))
    model = nn.Sequential(
        nn.Conv2d(1, 2, 5), pooling[0], nn.Conv2d(2, 2, 5), pooling[1], nn.Conv2d(2, 2, 1)
    ).eval()  # fmt: skip
    layers = layer_responses(model, torch.rand(1, 1, 28, 28))
    assert [(r.size, r.step) for r in layers] == [
        ((28, 28), (1.0, 1.0)), ((12, 12), (2.0, 2.0)), ((3, 3), (4.0, 4.0)),
    ]  # fmt: skip


def test_frequencies_are_in_cycles_per_image_pixel():
    first, second, *_ = layer_responses(Network().eval(), IMAGE, num_bands=4)
    expected = band_frequencies(band_mask(first.response.size, 4))
    torch.testing.assert_close(first.frequencies, expected)
    assert float(second.frequencies.max()) == 0.5 / 4
    assert first.max_gain.shape == first.rms_gain.shape == (4,)


def test_numbers_are_those_of_each_layer():
    model = Network().eval()
    for found in layer_responses(model, IMAGE, num_bands=4):
        response = frequency_response(model.get_submodule(found.name), found.response.size)
        with torch.no_grad():
            torch.testing.assert_close(found.max_gain, response.band_gain(num_bands=4))
            torch.testing.assert_close(found.rms_gain, response.band_gain(num_bands=4, kind="rms"))
            assert found.norm == pytest.approx(float(response.norm()), rel=1e-5)
            assert found.norm_bound == pytest.approx(float(response.norm_bound()), rel=1e-5)
            assert found.aliasing == pytest.approx(float(response.aliasing()))
        assert found.batch_norm is None
        assert not found.max_gain.requires_grad
        assert found.response.norm().requires_grad


def with_batch_norm(layer, channels):
    norm = nn.BatchNorm2d(channels)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.uniform_(norm.running_var, 0.1, 4)
    return nn.Sequential(layer, norm).eval()


@pytest.mark.parametrize(
    "layer", [conv(4, 6, 3, groups=2, stride=2), nn.ConvTranspose2d(4, 6, 3, stride=2)]
)
def test_the_scale_of_a_batch_norm_is_that_of_the_fused_layer(layer):
    model = with_batch_norm(layer, 6)
    (found,) = layer_responses(model, torch.rand(1, 4, 16, 16))
    assert found.batch_norm == "1"
    fused = fuse_conv_bn_eval(*model, transpose=isinstance(layer, nn.ConvTranspose2d))
    with torch.no_grad():
        expected = frequency_response(fused, found.response.size).gain()
        torch.testing.assert_close(found.response.gain(), expected)
    (bare,) = layer_responses(model, torch.rand(1, 4, 16, 16), fuse_batch_norm=False)
    assert bare.batch_norm is None
    with torch.no_grad():
        assert bare.norm == pytest.approx(float(frequency_response(layer).norm()), rel=1e-5)


def test_the_scale_of_a_batch_norm_reaches_the_groups_of_a_transposed_layer():
    # PyTorch cannot fuse these. Windows that do not overlap: the norm is that of any size.
    model = with_batch_norm(nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), 6)
    basis = torch.eye(4 * 9).reshape(-1, 4, 3, 3)
    with torch.no_grad():
        matrix = (model(basis) - model(0 * basis)).flatten(1)
    (found,) = layer_responses(model, basis)
    assert found.norm == pytest.approx(float(torch.linalg.matrix_norm(matrix, 2)), rel=1e-5)


def test_a_batch_norm_of_anything_else_is_not_fused():
    _, norm = with_batch_norm(nn.Identity(), 4)
    model = nn.Sequential(conv(3, 4, 3), nn.ReLU(), norm).eval()
    assert layer_responses(model, IMAGE)[0].batch_norm is None
    batch_statistics = nn.BatchNorm2d(4, track_running_stats=False).eval()
    model = nn.Sequential(conv(3, 4, 3), batch_statistics).eval()
    assert layer_responses(model, IMAGE)[0].batch_norm is None


def test_padding_without_a_bound_has_none():
    (found,) = layer_responses(nn.Sequential(conv(3, 4, 3, padding_mode="reflect")).eval(), IMAGE)
    assert found.norm_bound is None
    assert found.norm > 0


def test_a_patch_embedding_is_quick_and_folds_like_its_filters():
    model = nn.Sequential(nn.Conv2d(1, 2, 8, stride=8)).eval()
    (found,) = layer_responses(model, IMAGE[:, :1])
    expected = torch.linalg.matrix_norm(model[0].weight.detach().flatten(1), 2)
    assert found.norm == pytest.approx(float(expected), rel=1e-5)
    assert 0.9 < found.aliasing < 1  # random filters


class Failing(nn.Module):
    def forward(self, x):
        raise RuntimeError("no")


def hooks_of(model):
    kinds = [name for name in vars(model) if name.endswith("_hooks")]
    return [m for m in model.modules() for kind in kinds if getattr(m, kind)]


def test_nothing_is_left_behind():
    model = Network().eval()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    layer_responses(model, IMAGE)
    assert not hooks_of(model)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    failing = nn.Sequential(conv(3, 4, 3), Failing()).eval()
    with pytest.raises(RuntimeError, match="no"):
        layer_responses(failing, IMAGE)
    assert not hooks_of(failing)


def test_a_layer_that_is_called_twice_and_by_name_is_there_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = conv(3, 3, 3)

        def forward(self, x, scale):
            return self.layer(input=self.layer(input=x)) * scale

    (found,) = layer_responses(Twice().eval(), IMAGE, additional_forward_args=(torch.rand(2),))
    assert found.size == (32, 32)


def test_progress_counts_layers(capfd):
    model = nn.Sequential(conv(3, 4, 3), conv(4, 4, 3)).eval()
    layer_responses(model, IMAGE)
    assert "Frequency responses" not in capfd.readouterr().err
    layer_responses(model, IMAGE, show_progress=True)
    shown = capfd.readouterr().err
    assert "Frequency responses" in shown
    assert "2/2" in shown or "100%" in shown


def test_training_mode_warns():
    with pytest.warns(UserWarning, match="training mode"):
        layer_responses(nn.Sequential(conv(3, 4, 3), nn.Dropout()), IMAGE)


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are deprecated
        return nn.Sequential(torch.ao.nn.quantized.Conv2d(3, 1, 3)).eval()


def not_finite():
    model = nn.Sequential(conv(3, 4, 3)).eval()
    nn.init.constant_(model[0].weight, torch.nan)
    return model


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (lambda: len, {}, TypeError, "model must be an nn.Module, got builtin_function_or_method"),
        (Network, {"num_bands": 17}, ValueError, "num_bands must be at most 16, got 17"),
        (Network, {"num_bands": 1.5}, TypeError, "num_bands must be an integer"),
        (quantised, {}, TypeError, "the layer '0' of model is a quantised Conv2d; dequantise"),
        (not_finite, {}, ValueError, "the layer '0' of model.weight must be finite, got 108"),
        (
            lambda: nn.Sequential(nn.LazyConv2d(4, 3)),
            {},
            ValueError,
            "'0' of model is a LazyConv2d",
        ),
        (lambda: nn.Flatten(), {}, ValueError, r"model calls no convolution along .*\(32, 32\)"),
    ],
)
def test_wrong_models_are_refused_before_they_run(make, options, error, message):
    model = make()
    with pytest.raises(error, match=message):
        layer_responses(model.eval() if isinstance(model, nn.Module) else model, IMAGE, **options)
    assert getattr(model, "rows", []) == []
