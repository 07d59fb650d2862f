"""Effects of a change of weights, as study, report and command."""

import json
import math

import pytest
import torch
from test_comparison import Plain, loaded
from torch import nn
from weights.changed import by_definition, with_layers
from weights.rounded import images, same_state, small_cnn, state

from captum_spectral import SpectralShapley
from captum_spectral.features import split_bands
from captum_spectral.features.band_mask import band_mask
from captum_spectral.report import weight_change as report
from captum_spectral.studies import RoundingSettings, round_and_repair, weight_change
from captum_spectral.weights import quantize_weights, recalibrate_batch_norm

MODEL = small_cnn()
OTHER = quantize_weights(MODEL, 2).model
X = images(5)


def log_likelihoods(model, x, classes):
    with torch.no_grad():
        return model(x).double().log_softmax(1).gather(1, classes[:, None])[:, 0]


def test_layers_share_the_change_of_the_log_likelihood_by_definition():
    before = state(MODEL), state(OTHER)
    found = weight_change(MODEL, OTHER, X)
    assert same_state(MODEL, before[0])
    assert same_state(OTHER, before[1])
    assert not any(m._forward_hooks for net in (MODEL, OTHER) for m in net.modules())
    classes = MODEL(X).argmax(1)
    old, new = (log_likelihoods(net, X, classes) for net in (MODEL, OTHER))
    names = ["0", "3", "6", "10"]
    assert [layer.name for layer in found.layers] == names

    def value(players):
        mixed = with_layers(OTHER, MODEL, [names[i] for i in players])
        return log_likelihoods(mixed, X, classes)

    phi = by_definition(value, 4)
    for i, layer in enumerate(found.layers):
        assert layer.value.value == pytest.approx(float(phi[:, i].mean()), abs=1e-6)
        error = float(phi[:, i].std() / math.sqrt(5))
        assert layer.value.error == pytest.approx(error, rel=1e-4, abs=1e-7)
    assert found.change.value == pytest.approx(float((new - old).mean()), abs=1e-6)
    total = sum(layer.value.value for layer in found.layers)
    assert total - found.change.value == pytest.approx(found.gap, abs=1e-6)
    assert abs(found.gap) < 1e-6
    same = (OTHER(X).argmax(1) == classes).double().mean()
    assert found.agreement.value == pytest.approx(float(same))
    assert found.accuracy is None
    most = max(found.layers, key=lambda layer: abs(layer.value.value))
    assert repr(found) == (
        f"WeightChange(5 images, the same class for {float(same):.1%}, log-likelihood "
        f"{found.change.value:+.3g} +- {found.change.error:.2g} nats; 4 layers differ, "
        f"{most.name!r} most: {most.value.value:+.3g})"
    )


def test_other_weights_come_as_a_model_as_a_state_dict_or_as_rounded_weights():
    rounded = quantize_weights(MODEL, 2)
    before = state(MODEL)
    want = weight_change(MODEL, rounded.model, X, num_bands=0)
    for other in (rounded, rounded.model.state_dict()):
        assert weight_change(MODEL, other, X, num_bands=0) == want
    assert same_state(MODEL, before)
    new, known = (recalibrate_batch_norm(net, X) for net in (rounded, rounded.model))
    assert same_state(new, state(known))
    other = dict(rounded.model.state_dict(), more=torch.ones(1))
    with pytest.raises(ValueError, match=r"other must have the weights .* unknown more"):
        weight_change(MODEL, other, X)
    with pytest.raises(TypeError, match=r"other must be .* a state dict or what quantize_weights"):
        weight_change(MODEL, 3, X)
    with pytest.raises(TypeError, match=r"model must be .* or what quantize_weights .* got dict"):
        recalibrate_batch_norm({}, X)


def test_bands_are_shapley_values_of_both_models_and_errors_are_paired():
    labels = torch.tensor([0, 1, 2, 3, 0])
    found = weight_change(MODEL, OTHER, [(X[:2], labels[:2]), (X[2:], labels[2:])], num_bands=3)
    both = [
        SpectralShapley(nn.Sequential(net, nn.LogSoftmax(1))).attribute(
            X, labels, num_bands=3, return_input_shape=False
        )
        for net in (MODEL, OTHER)
    ]
    change = (both[1] - both[0]).double()
    for b in range(3):
        assert found.bands.model[b].value == pytest.approx(float(both[0][:, b].mean()), abs=1e-6)
        assert found.bands.change[b].value == pytest.approx(float(change[:, b].mean()), abs=1e-6)
        error = float(change[:, b].std() / math.sqrt(5))
        assert found.bands.change[b].error == pytest.approx(error, rel=1e-4)
    right = (MODEL(X).argmax(1) == labels).double().mean()
    assert found.accuracy[0].value == pytest.approx(float(right))


def test_noise_is_the_energy_of_the_difference_in_each_band():
    found = weight_change(MODEL, OTHER, X, num_bands=3)
    assert [layer.name for layer in found.noise] == ["0", "3", "6"]
    assert [layer.size for layer in found.noise] == [(10, 10), (10, 10), (4, 4)]
    with torch.no_grad():
        y, z = MODEL[:4](X), OTHER[:4](X)
    mask = band_mask((10, 10), 3)
    parts = [split_bands(signal, mask).square().sum((0, 2, 3, 4)) for signal in (z - y, y)]
    torch.testing.assert_close(
        found.noise[1].ratio, (parts[0] / parts[1]).double(), rtol=1e-4, atol=1e-7
    )
    assert len(found.noise[2].ratio) == 3
    many = weight_change(MODEL, OTHER, X, num_bands=5)
    assert len(many.noise[2].ratio) == 3  # a map of 4 x 4 has no more


def test_a_layer_that_rounding_leaves_alone_gets_nothing_and_batches_change_nothing():
    other = quantize_weights(MODEL, 2, skip=["3"]).model
    whole = weight_change(MODEL, other, X, most_exact=0, n_steps=64)
    assert [layer.name for layer in whole.layers] == ["0", "6", "10"]
    assert whole.method == "IntegratedGradients"
    assert abs(whole.gap) < 0.02
    parts = weight_change(MODEL, other, list(X.split(2)), most_exact=0, n_steps=64)
    for a, b in zip(whole.layers, parts.layers, strict=True):
        assert a.value.value == pytest.approx(b.value.value, abs=1e-6)
    few = weight_change(MODEL, other, X, max_examples=1, num_bands=0)
    assert few.num_examples == 1
    assert math.isnan(few.change.error)
    assert few.bands is None
    assert few.noise == []


def test_the_report_tells_all_of_it():
    found = weight_change(MODEL, OTHER, X)
    text = report.to_text(found, "whole", "two bits")
    assert "From whole to two bits, over 5 images" in text
    assert "Shapley values, mean and standard error" in text
    assert "noise after" in text
    document = json.loads(report.to_json(found, seed=3))
    assert document["seed"] == 3
    assert len(document["bands"]["change"]) == 4
    assert [layer["name"] for layer in document["noise"]] == ["0", "3", "6"]
    for figure in (
        report.figure_of_layers(found, "two bits"),
        report.figure_of_bands(found, ("whole", "two bits")),
    ):
        assert figure.startswith(b"\x89PNG")
    alone = weight_change(MODEL, OTHER, X[:1], num_bands=0)
    assert "+- -" not in report.to_text(alone, "a", "b").splitlines()[2]
    with pytest.raises(ValueError, match="computed without bands"):
        report.figure_of_bands(alone, ("a", "b"))


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        ((MODEL, MODEL, X), {}, ValueError, "other must differ from the model"),
        ((MODEL, small_cnn().double()[0], X), {}, ValueError, "must have the weights of the model"),
        ((3, MODEL, X), {}, TypeError, "model must be a torch.nn.Module"),
        ((MODEL, OTHER, X / 0), {}, ValueError, "loader must be finite"),
        ((MODEL, OTHER, []), {}, ValueError, "loader must hold at least one image"),
        ((MODEL, OTHER, [(X, X)]), {}, TypeError, "labels must be integers"),
        ((MODEL, OTHER, X), {"num_bands": -1}, ValueError, "num_bands must be at least 0"),
        ((MODEL, OTHER, X), {"max_examples": 0}, ValueError, "max_examples must be at least 1"),
        ((MODEL, OTHER, [X, (X, [0] * 5)]), {}, ValueError, "labels with every batch or with none"),
        (
            (MODEL, small_cnn(1).train(), X),
            {},
            ValueError,
            "other, or a part of it, is in",
        ),
        ((MODEL[:4], OTHER[:4], X), {}, ValueError, "models must give logits"),
    ],
)
def test_bad_input_is_named(arguments, options, kind, message):
    with pytest.raises(kind, match=message):
        weight_change(*arguments, **options)


def net():
    model = small_cnn()
    return loaded(model.double(), "small")


def test_a_study_of_rounding_tells_what_each_repair_gives_back():
    settings = RoundingSettings(bits=2, budget=0.5, num_calibration=1, num_bands=2)
    found = round_and_repair(net(), Plain(), settings)
    assert [repair.name for repair in found.repairs] == ["rounded", "batch norms", "adapters"]
    rounded, _, adapters = found.repairs
    assert rounded.size == 0
    assert 0 < adapters.size <= 0.5
    assert adapters.bits_per_weight == pytest.approx(rounded.bits_per_weight + 32 * adapters.size)
    assert abs(adapters.change.value) < abs(rounded.change.value)
    assert adapters.change.value == pytest.approx(found.change.change.value)
    assert found.num_calibration == 1
    assert found.change.num_examples == 2  # the fourth cannot be read
    assert found.skipped == [("1.png", "it is broken")]
    text = report.rounding_to_text(found, "small")
    assert "small rounded to 2 bits per channel; 1 pictures to calibrate" in text
    assert "ranks in the metric of weights" in text
    assert "From small to small at 2 bits and adapters" in text
    document = json.loads(report.rounding_to_json(found, model="small"))
    assert [repair["size"] for repair in document["repairs"]] == [0, 0, adapters.size]
    for most, looked, calibrated in ((1, 1, 2), (2, 2, 1), (None, 2, 1)):  # three can be read
        settings = RoundingSettings(max_examples=most, num_bands=0)
        few = round_and_repair(net(), Plain(), settings)
        assert (few.change.num_examples, few.num_calibration) == (looked, calibrated)
    plain = round_and_repair(net(), Plain(), RoundingSettings(num_calibration=2, clip="mse"))
    assert plain.ranks == {}
    assert "clip mse" in report.rounding_to_text(plain, "small")
    with pytest.raises(TypeError, match=r"net must be a torch.nn.Module, to round"):
        round_and_repair(loaded(lambda x: x), Plain())

    class One(Plain):
        def __len__(self):
            return 1

    with pytest.raises(ValueError, match="pictures must be at least two"):
        round_and_repair(net(), One())


class Halves(nn.Module):
    """One logit as those of two classes."""

    def forward(self, z):
        return torch.cat([-z, z], 1) / 2


def test_a_single_logit_is_that_of_two_classes_and_a_small_map_has_fewer_bands():
    layers = *MODEL[:3], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1)
    one = nn.Sequential(*layers).eval()
    two = nn.Sequential(*layers, Halves()).eval()
    found, same = (weight_change(net, quantize_weights(net, 2).model, X) for net in (one, two))
    assert found.change.value != 0
    assert found.change == pytest.approx(same.change)
    for a, b in zip(found.layers, same.layers, strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-9)
    for a, b in zip(found.bands.change, same.bands.change, strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    small = nn.Sequential(nn.Conv2d(2, 6, 3, stride=2), *layers[3:]).eval()
    most = X.shape[-1] // 2 + 1
    fewer = weight_change(small, quantize_weights(small, 2).model, X, num_bands=most)
    assert [len(layer.ratio) for layer in fewer.noise] == [fewer.noise[0].size[-1] // 2 + 1]
