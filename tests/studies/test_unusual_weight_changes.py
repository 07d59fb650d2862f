"""Changes of weights of signals, volumes and rows of numbers, and settings that cannot be."""

import pytest
import torch
from torch import nn
from weights.rounded import images, small_cnn

from captum_spectral import SpectralShapley
from captum_spectral.report import weight_change as report
from captum_spectral.studies import ComparisonSettings, RoundingSettings, weight_change
from captum_spectral.weights import quantize_weights


def of_signals(dims):
    convolution, pooling = {
        1: (nn.Conv1d, nn.AdaptiveAvgPool1d),
        3: (nn.Conv3d, nn.AdaptiveAvgPool3d),
    }[dims]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Flatten(), nn.Linear(4, 3)
        return nn.Sequential(convolution(2, 4, 3), nn.ReLU(), pooling(1), *head).eval()


@pytest.mark.parametrize("dims", [1, 3])
def test_bands_of_signals_and_volumes_are_over_all_their_dims(dims):
    model, x = of_signals(dims), torch.rand(3, 2, *[8] * dims)
    rounded = quantize_weights(model, 2).model
    found = weight_change(model, rounded, x, num_bands=3)
    classes = model(x).argmax(1)
    for net, means in ((model, found.bands.model), (rounded, found.bands.other)):
        values = SpectralShapley(lambda x, net=net: net(x).log_softmax(1)).attribute(
            x,
            classes,
            num_bands=3,
            spectral_dims=tuple(range(-dims, 0)),
            return_input_shape=False,
        )
        expected = values.mean(0).tolist()
        assert [mean.value for mean in means] == pytest.approx(expected, abs=1e-5)
    assert report.figure_of_bands(found, ("a", "b"))


def test_rows_of_numbers_have_no_bands():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    found = weight_change(model, quantize_weights(model, 2), torch.rand(4, 6))
    assert found.bands is None
    assert len(found.layers) == 2


def test_gradients_are_had_in_inference_mode():
    model, x = small_cnn(), images(3)
    rounded = quantize_weights(model, 3)
    outside = weight_change(model, rounded, x, most_exact=1, num_bands=0)
    with torch.inference_mode():
        inside = weight_change(model, rounded, x, most_exact=1, num_bands=0)
    assert outside.method == "IntegratedGradients"
    assert repr(inside) == repr(outside)


@pytest.mark.parametrize(
    ("settings", "wrong", "message"),
    [
        (ComparisonSettings, {"n_steps": 0}, "n_steps must be at least 1"),
        (ComparisonSettings, {"most_exact": -1}, "most_exact must be at least 0"),
        (ComparisonSettings, {"max_examples": 0}, "max_examples must be at least 1"),
        (ComparisonSettings, {"num_bands": 0}, "num_bands must be at least 1"),
        (RoundingSettings, {"num_calibration": 0}, "num_calibration must be at least 1"),
        (RoundingSettings, {"num_bands": -1}, "num_bands must be at least 0"),
        (RoundingSettings, {"max_examples": 0}, "max_examples must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, wrong, message):
    with pytest.raises(ValueError, match=message):
        settings(**wrong)


def test_steps_that_cannot_be_are_named_before_the_model_runs():
    def fails(module, given):
        raise AssertionError

    model = small_cnn()
    rounded = quantize_weights(model, 3)
    model.register_forward_pre_hook(fails)
    with pytest.raises(ValueError, match="n_steps must be at least 1, got 0"):
        weight_change(model, rounded, images(3), n_steps=0)
