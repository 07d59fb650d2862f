"""Captum's figures, attacks and summaries on the values of bands, and models of other kinds."""

import warnings

import pytest
import torch
from captum.attr import DeepLift, DeepLiftShap
from captum.attr import visualization as captum_viz
from captum.attr._utils.stat import CommonStats
from captum.attr._utils.summarizer import Summarizer
from captum.robust import AttackComparator, MinParamPerturbation
from configurations import X
from helpers import tiny_cnn

from captum_spectral import BandGame, SpectralShapley, band_mask, split_bands


def test_summarizer_takes_painted_attributions():
    summary = Summarizer(CommonStats())
    for image in X.split(1):
        summary.update(SpectralShapley(tiny_cnn(1)).attribute(image, 0, num_bands=3))
    assert summary.summary["mean"].shape == X[:1].shape


def test_captums_figure_takes_an_fftshifted_painted_map():
    painted = SpectralShapley(tiny_cnn(1)).attribute(X[:1], 0, num_bands=3)
    shifted = torch.fft.fftshift(painted, dim=(-2, -1))[0].permute(1, 2, 0).numpy()
    figure, _ = captum_viz.visualize_image_attr(
        shifted, sign="all", show_colorbar=True, use_pyplot=False
    )
    assert figure.axes


def low_pass(x, keep):
    return split_bands(x, band_mask(x.shape[-2:], 4))[:, :keep].sum(1)


def test_the_lowest_cut_off_that_changes_the_prediction_by_min_param_perturbation():
    images = torch.rand(1, 1, 10, 12).double()
    search = MinParamPerturbation(
        forward_func=lambda x: torch.stack([x.amax((1, 2, 3)), 0.5 + 0 * x.amax((1, 2, 3))], 1),
        attack=lambda x, dropped: low_pass(x, 4 - dropped),
        arg_name="dropped",
        arg_min=0,
        arg_max=5,
        arg_step=1,
        mode="linear",
    )
    _, dropped = search.evaluate(images, target=0)
    expected = next(d for d in range(5) if low_pass(images, 4 - d).amax() < 0.5)
    assert dropped == expected


def test_attack_comparator_takes_a_band_filter():
    model = tiny_cnn(1)
    comparator = AttackComparator(forward_func=model, metric=lambda out: out.argmax(1).double())
    comparator.add_attack(low_pass, "low pass", attack_kwargs={"keep": 1})
    result = comparator.evaluate(X)
    assert "low pass" in result


def test_a_compiled_model_equals_eager():
    model = tiny_cnn(1).float()
    x = X.float()
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(
        SpectralShapley(compiled).attribute(x, 1, num_bands=3),
        SpectralShapley(model).attribute(x, 1, num_bands=3),
    )


def test_autocast_inside_the_forward_is_the_callers_choice():
    model = tiny_cnn(1).float()

    def forward(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x)

    phi = SpectralShapley(forward).attribute(X.float(), 1, num_bands=3, return_input_shape=False)
    exact = SpectralShapley(tiny_cnn(1)).attribute(X, 1, num_bands=3, return_input_shape=False)
    assert phi.dtype is torch.float32
    torch.testing.assert_close(phi.double(), exact, rtol=0.2, atol=0.02)


def test_examples_that_captum_takes_apart_are_to_be_in_a_tuple():
    game = BandGame(tiny_cnn(dtype=torch.float32), torch.rand(3, 3, 12, 10), num_bands=3)
    ones, starts, target = torch.ones(3, 3), torch.zeros(2, 3), torch.tensor([0, 4, 2])
    options = {"baselines": starts, "target": target}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum's, of hooks
        with pytest.raises(TypeError, match=r"examples must be one tensor, got 3 arg.*DeepLiftSh"):
            DeepLiftShap(game).attribute(ones, **options, additional_forward_args=torch.arange(3))
        found = DeepLiftShap(game).attribute(
            ones, **options, additional_forward_args=(torch.arange(3),)
        )
        known = DeepLift(game).attribute(
            ones, target=target, additional_forward_args=torch.arange(3)
        )
    torch.testing.assert_close(found, known)
