"""Captum's methods that put hooks on layers, on bands: their own rule, or why there is none."""

import pytest
import torch
from captum.attr import (
    LRP,
    Deconvolution,
    DeepLift,
    DeepLiftShap,
    FeatureAblation,
    FeaturePermutation,
    GradientShap,
    GuidedBackprop,
    IntegratedGradients,
    LayerActivation,
    NoiseTunnel,
    Saliency,
)
from torch import nn

from captum_spectral import BandGame, band_attribution, band_mask, split_bands

pytestmark = [
    pytest.mark.filterwarnings("ignore:(?s).*Setting.*hooks"),
    pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients"),
]

X = torch.rand(3, 1, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MASK = band_mask((10, 12), 3)
PARTS = split_bands(X, MASK)
TARGET = torch.tensor([0, 3, 1])
BANDS = {"num_bands": 3}


def network(bias=True):
    """Layers that every one of these methods knows."""
    torch.manual_seed(0)
    return (
        nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=bias),
            nn.ReLU(),
            nn.AvgPool2d(2),  # the rule of DeepLift for maxima does not keep sums
            nn.Conv2d(4, 4, (4, 5), bias=bias),
            nn.ReLU(),
            Squeezed(4, 5, bias),
        )
        .double()
        .eval()
    )


class Squeezed(nn.Module):
    """A linear layer on maps of one pixel; LRP has no rule for ``nn.Flatten``."""

    def __init__(self, width, classes, bias):
        super().__init__()
        self.linear = nn.Linear(width, classes, bias=bias)

    def forward(self, x):
        return self.linear(x[:, :, 0, 0])


def gain(model):
    return (model(X) - model(0 * X)).gather(1, TARGET[:, None])[:, 0].detach()


def test_deep_lift_is_complete_on_bands():
    model = network()
    found = band_attribution(DeepLift, model, X, TARGET, **BANDS)
    torch.testing.assert_close(found.sum(1), gain(model), rtol=0, atol=1e-12)


def test_deep_lift_on_bands_is_that_on_pixels_added_up():
    """Its multipliers of the pixels do not depend on how they are grouped."""
    model = network()
    multipliers = DeepLift(model, multiply_by_inputs=False).attribute(X, target=TARGET)
    want = (PARTS * multipliers[:, None]).flatten(2).sum(2)
    found = band_attribution(DeepLift, model, X, TARGET, **BANDS)
    torch.testing.assert_close(found, want.detach(), rtol=1e-9, atol=1e-12)


def test_deep_lift_shap_from_the_empty_coalition_is_deep_lift():
    model = network()
    found = band_attribution(DeepLiftShap, model, X, TARGET, **BANDS)
    torch.testing.assert_close(found, band_attribution(DeepLift, model, X, TARGET, **BANDS))
    starts = torch.rand(4, 3, dtype=torch.float64)
    given = band_attribution(DeepLiftShap, model, X, TARGET, method_baselines=starts, **BANDS)
    game = BandGame(model, X, num_bands=3)
    there = torch.stack([game(start.expand(3, 3)) for start in starts]).mean(0)
    want = (model(X) - there).gather(1, TARGET[:, None])[:, 0]
    torch.testing.assert_close(given.sum(1), want.detach())


@pytest.mark.parametrize("method", [GuidedBackprop, Deconvolution])
def test_changed_gradients_on_bands_are_those_on_pixels_added_up(method):
    model = network()
    slopes = method(model).attribute(X, target=TARGET)
    want = (PARTS * slopes[:, None]).flatten(2).sum(2)
    found = band_attribution(method, model, X, TARGET, **BANDS)
    torch.testing.assert_close(found, want.detach())
    assert not torch.allclose(found, band_attribution(Saliency, model, X, TARGET, **BANDS))


def test_the_relevance_of_a_pixel_goes_to_the_bands_in_proportion_to_their_parts():
    model = network(bias=False)
    relevance = LRP(model).attribute(X, target=TARGET)
    want = (PARTS * (relevance / X)[:, None]).flatten(2).sum(2)
    for _ in range(2):  # LRP takes the rules of all layers away when it is done
        found = band_attribution(LRP, model, X, TARGET, **BANDS)
        torch.testing.assert_close(found, want.detach(), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found.sum(1), gain(model), rtol=1e-4, atol=1e-6)


def test_methods_start_where_they_are_told():
    model = network()
    start = torch.full((3, 3), 0.5, dtype=torch.float64)
    found, half = (
        band_attribution(
            IntegratedGradients, model, X, TARGET, method_baselines=b, n_steps=200, **BANDS
        )
        for b in (0.5, start)
    )
    torch.testing.assert_close(found, half)
    want = (model(X) - model(X / 2)).gather(1, TARGET[:, None])[:, 0]
    torch.testing.assert_close(found.sum(1), want.detach(), rtol=0, atol=1e-3)
    sampled = band_attribution(GradientShap, model, X, TARGET, n_samples=2, **BANDS)
    assert sampled.shape == (3, 3)
    with pytest.raises(TypeError, match=r"Saliency\.attribute has no argument baselines"):
        band_attribution(Saliency, model, X, TARGET, method_baselines=0.0, **BANDS)


@pytest.mark.parametrize("method", [DeepLift, DeepLiftShap, GuidedBackprop, Deconvolution, LRP])
def test_a_function_has_no_layers_to_put_hooks_on(method):
    model = network()
    with pytest.raises(TypeError, match=r"forward_func is a function, whose layers cannot be seen"):
        band_attribution(method, lambda x: model(x), X, TARGET, **BANDS)


def test_layers_of_the_model_are_those_of_the_game():
    model = network()
    game = BandGame(model, X, num_bands=3)
    assert game.model is model
    assert list(game.parameters()) == list(model.parameters())
    assert set(game.state_dict()) == {f"model.{name}" for name in model.state_dict()}
    maps = LayerActivation(game, game.model[0]).attribute(
        torch.ones(3, 3, dtype=torch.float64), additional_forward_args=torch.arange(3)
    )
    torch.testing.assert_close(maps, model[0](X).detach())


def test_no_hook_and_no_rule_is_left_behind():
    model = network()
    for method in (DeepLift, GuidedBackprop, LRP):
        band_attribution(method, model, X, TARGET, **BANDS)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert not hasattr(module, "rule")


def test_a_game_of_a_function_is_a_module_without_parameters():
    game = BandGame(lambda x: x.sum((1, 2, 3)), X, num_bands=3)
    assert not list(game.parameters())
    assert not game.training
    torch.testing.assert_close(game(torch.ones(3, 3).double()), X.sum((1, 2, 3)))


def permuting(game):
    return FeaturePermutation(game)


@pytest.mark.parametrize("method", [FeaturePermutation, permuting])
def test_to_permute_weights_that_are_all_1_is_refused_and_ablation_works(method):
    with pytest.raises(ValueError, match=r"all of them are 1 .* FeatureAblation"):
        band_attribution(method, never, X, TARGET, **BANDS)
    assert band_attribution(FeatureAblation, network(), X, TARGET, **BANDS).abs().min() > 0


def never(x):
    raise AssertionError("the model ran")


def tunnel(game):
    return NoiseTunnel(IntegratedGradients(game))


STARTS = {"method_baselines": torch.zeros(3)}


@pytest.mark.parametrize(
    ("method", "options", "kind", "message"),
    [
        (
            IntegratedGradients(never),
            {},
            TypeError,
            r"call band_attribution\(IntegratedGradients, ",
        ),
        (
            "IntegratedGradients",
            {},
            TypeError,
            "class of captum.attr, .* got 'IntegratedGradients'",
        ),
        (network(), {}, TypeError, "got Sequential; call band_attribution"),
        (lambda game: 3, {}, TypeError, r"an object that has attribute\(...\), got int"),
        (NoiseTunnel, {}, TypeError, r"NoiseTunnel\(SpectralShapley\(model\)\)"),
        (NoiseTunnel(Saliency(never)), {}, TypeError, r"lambda game: NoiseTunnel\(Integ"),
        (Saliency, {"return_convergence_delta": True}, TypeError, "Saliency.attribute has no such"),
        (
            GradientShap,
            {"baselines": X[:2]},
            ValueError,
            r"GradientShap draws .* method_baselines=",
        ),
        (DeepLiftShap, {"baselines": "no"}, TypeError, r"DeepLiftShap draws .* method_baselines="),
        (
            GradientShap,
            {"method_baselines": 0.0},
            TypeError,
            r"method_baselines .* \(n, 3\), got fl",
        ),
        (GradientShap, STARTS, ValueError, r"\(n, 3\) with n >= 1, got shape \(3,\)"),
        (
            IntegratedGradients,
            STARTS,
            ValueError,
            r"method_baselines .* \(3, 3\), got shape \(3,\)",
        ),
        (
            IntegratedGradients,
            {"method_baselines": "no"},
            TypeError,
            "must be a number or a tensor",
        ),
    ],
)
def test_what_is_no_method_is_refused_before_the_model_runs(method, options, kind, message):
    with pytest.raises(kind, match=message):
        band_attribution(method, never, X, TARGET, **BANDS, **options)


def test_noise_around_a_method_inside_of_a_function_works():
    found = band_attribution(tunnel, network(), X, TARGET, stdevs=0.0, nt_samples=2, **BANDS)
    want = band_attribution(IntegratedGradients, network(), X, TARGET, **BANDS)
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize(
    "model", [lambda x: network()(x).detach(), lambda x: torch.ones(len(x), 4)]
)
@pytest.mark.parametrize("method", [IntegratedGradients, Saliency])
def test_a_model_without_gradients_is_told_what_to_look_for(method, model):
    with pytest.raises(ValueError, match=r"look for .detach.* KernelShap, .* do not"):
        band_attribution(method, model, X, TARGET, **BANDS)


@pytest.mark.parametrize("method", [IntegratedGradients, DeepLift])
def test_a_convergence_delta_is_the_sum_less_the_gain(method):
    model = network()
    found, delta = band_attribution(
        method, model, X, TARGET, return_convergence_delta=True, **BANDS
    )
    torch.testing.assert_close(delta, found.sum(1) - gain(model), rtol=0, atol=1e-12)
    assert not found.requires_grad
    assert not delta.requires_grad
