"""SpectralShapley against brute force, other libraries, and cases known by hand."""

import pytest
import shapiq
import torch
from captum.attr import IntegratedGradients, ShapleyValues
from configurations import MASK, SCALE_TABLE_POWER, WithArgs, X
from helpers import Quadratic, brute_force, linear_oracle, tiny_cnn

from captum_spectral import BandGame, SpectralShapley, band_mask


def relative_error(got, want):
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("num_bands", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_brute_force_on_odd_and_non_square_images(num_bands, norm):
    model, x = tiny_cnn(), torch.rand(2, 3, 15, 22, dtype=torch.float64)
    mask = band_mask((15, 22), num_bands, norm)
    got = SpectralShapley(model).attribute(x, [1, 4], feature_mask=mask, return_input_shape=False)
    want = brute_force(model, (x,), (mask,), (torch.zeros_like(x),), [1, 4])
    assert relative_error(got, want) < 1e-9


@pytest.mark.parametrize(
    ("shape", "dims"), [((2, 2, 23), (-1,)), ((2, 1, 7, 6, 8), (-3, -2, -1)), ((2, 8, 9), (-2, -1))]
)
def test_brute_force_on_signals_images_and_volumes(shape, dims):
    model, x = Quadratic(shape[1:]), torch.randn(shape, dtype=torch.float64)
    mask = band_mask([shape[d] for d in dims], 3)
    got = SpectralShapley(model).attribute(
        x, 2, feature_mask=mask, spectral_dims=dims, return_input_shape=False
    )
    want = brute_force(model, (x,), (mask,), (torch.zeros_like(x),), [2, 2], dims)
    assert relative_error(got, want) < 1e-9


@pytest.mark.parametrize("form", ["number", "one image", "image each", "int", "zero"])
def test_brute_force_with_every_form_of_baseline(form):
    x = torch.rand(2, 3, 9, 10, dtype=torch.float64)
    given = {
        "number": 0.3,
        "one image": torch.rand(1, 3, 9, 10),
        "image each": torch.rand(2, 3, 9, 10, dtype=torch.float64),
        "int": 1,
        "zero": None,
    }[form]
    tensor = torch.zeros_like(x) if given is None else torch.zeros_like(x) + given
    model, mask = tiny_cnn(), band_mask((9, 10), 4)
    got = SpectralShapley(model).attribute(
        x, 0, baselines=given, feature_mask=mask, return_input_shape=False
    )
    assert relative_error(got, brute_force(model, (x,), (mask,), (tensor,), [0, 0])) < 1e-9


@pytest.mark.parametrize("shared_player", [True, False])
def test_brute_force_with_two_inputs(shared_player):
    x = (torch.randn(2, 1, 8, 9).double(), torch.randn(2, 3, 12, 7).double())
    baselines = (torch.randn(1, 1, 8, 9).double(), 0.5)
    masks = (band_mask((8, 9), 2), band_mask((12, 7), 3) + (1 if shared_player else 2))
    model = Quadratic((1, 8, 9), (3, 12, 7))
    tensors = (baselines[0], torch.full_like(x[1], 0.5))
    want = brute_force(model, x, masks, tensors, [0, 2])
    got = SpectralShapley(model).attribute(
        x, [0, 2], baselines=baselines, feature_mask=masks, return_input_shape=False
    )
    assert got.shape == (2, 4 if shared_player else 5)
    assert relative_error(got, want) < 1e-9


@pytest.mark.parametrize("kind", ["per channel", "per example", "checkerboard of bands"])
def test_brute_force_with_custom_masks(kind):
    x = torch.rand(2, 3, 9, 8, dtype=torch.float64)
    base = band_mask((9, 8), 2)
    mask = {
        "per channel": torch.stack([base, base + 1, base + 2]),
        "per example": torch.stack([base, 1 - base])[:, None],
        "checkerboard of bands": band_mask((9, 8), edges=[0.2, 0.4, 0.6, 0.8]) % 2,
    }[kind]
    model = tiny_cnn()
    got = SpectralShapley(model).attribute(x, [3, 1], feature_mask=mask, return_input_shape=False)
    want = brute_force(model, (x,), (mask,), (torch.zeros_like(x),), [3, 1])
    assert relative_error(got, want) < 1e-9


def test_per_example_targets_and_arguments_by_brute_force():
    args = SCALE_TABLE_POWER
    want = brute_force(
        WithArgs(), (X,), (MASK,), (torch.zeros_like(X),), [0, 3, 1], additional_forward_args=args
    )
    for per_eval in (None, 1, 3):
        got = SpectralShapley(WithArgs()).attribute(
            X,
            [0, 3, 1],
            additional_forward_args=args,
            feature_mask=MASK,
            perturbations_per_eval=per_eval,
            return_input_shape=False,
        )
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("num_bands", [2, 4])
def test_captums_shapley_values_over_band_weights_agree(num_bands):
    model, x = tiny_cnn(), torch.rand(3, 3, 16, 18, dtype=torch.float64)
    target = torch.tensor([0, 4, 2])
    game = BandGame(model, x, num_bands=num_bands)
    captum = ShapleyValues(game).attribute(
        torch.ones(3, num_bands).double(),
        target=target,
        additional_forward_args=torch.arange(3),
        perturbations_per_eval=2,
    )
    ours = SpectralShapley(model).attribute(
        x, target, num_bands=num_bands, return_input_shape=False
    )
    assert relative_error(ours, captum.double()) < 1e-5  # Captum sums in float32


def test_shapiqs_exact_computer_agrees():
    model, x = tiny_cnn(), torch.rand(1, 3, 16, 18, dtype=torch.float64)
    game = BandGame(model, x, num_bands=5, target=3)

    class Game(shapiq.Game):
        def value_function(self, coalitions):
            return game.evaluate(torch.from_numpy(coalitions).bool())[0].numpy()

    computer = shapiq.ExactComputer(Game(n_players=5, normalize=False), n_players=5)
    theirs = computer("SV", order=1)
    want = torch.tensor([[theirs[(i,)] for i in range(5)]], dtype=torch.float64)
    ours = SpectralShapley(model).attribute(x, 3, num_bands=5, return_input_shape=False)
    assert relative_error(ours, want) < 1e-9


def test_a_linear_model_pays_each_band_its_own_part():
    x, mask = torch.randn(2, 3, 12, 13, dtype=torch.float64), band_mask((12, 13), 5)
    weight = torch.randn(3, 12, 13, dtype=torch.float64)
    got = SpectralShapley(lambda x: (x * weight).flatten(1).sum(1)).attribute(
        x, feature_mask=mask, return_input_shape=False
    )
    torch.testing.assert_close(got, linear_oracle(weight, x, mask))


def test_a_low_pass_model_pays_nothing_above_its_cut():
    x, mask = torch.randn(2, 1, 16, 16, dtype=torch.float64), band_mask((16, 16), 7)
    model = Quadratic((1, 16, 16))

    def low_pass(x):
        return model(torch.fft.ifft2(torch.fft.fft2(x) * (mask < 3)).real)

    phi = SpectralShapley(low_pass).attribute(x, 0, feature_mask=mask, return_input_shape=False)
    assert phi[:, 3:].abs().max() < 1e-12
    assert phi[:, :3].abs().min() > 1e-3


@pytest.mark.parametrize("frequency", [(0, 3), (5, 1), (-4, 7), (8, 8)])
def test_a_cosine_pays_the_band_of_its_frequency_alone(frequency):
    n = 16
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    phase = 2 * torch.pi * (frequency[0] * y + frequency[1] * x).double() / n
    image = torch.cos(phase + 0.3)[None, None]
    mask = band_mask((n, n), 5)
    phi = SpectralShapley(Quadratic((1, n, n))).attribute(
        image, 1, feature_mask=mask, return_input_shape=False
    )[0]
    band = int(mask[frequency])
    others = torch.cat([phi[:band], phi[band + 1 :]])
    assert phi[band].abs() > 1e-3
    assert others.abs().max() < 1e-12


def test_integrated_gradients_on_the_game_agree_where_theory_says_so():
    # For a function of degree two without mixed terms of higher order both split equally.
    x = torch.randn(2, 1, 9, 9, dtype=torch.float64)
    weight = torch.randn(81, dtype=torch.float64)

    def quadratic(x):
        s = x.flatten(1) @ weight
        return s + s**2

    game = BandGame(quadratic, x, num_bands=3)
    ig = IntegratedGradients(game).attribute(
        torch.ones(2, 3, dtype=torch.float64), additional_forward_args=torch.arange(2)
    )
    phi = SpectralShapley(quadratic).attribute(x, num_bands=3, return_input_shape=False)
    torch.testing.assert_close(ig, phi)


def test_sampling_approaches_the_exact_values_within_its_standard_error():
    model, x = tiny_cnn(), torch.rand(2, 3, 20, 20, dtype=torch.float64)
    explainer = SpectralShapley(model)
    exact = explainer.attribute(x, 1, return_input_shape=False)
    phi, error = explainer.attribute(
        x,
        1,
        n_samples=12,
        return_input_shape=False,
        return_standard_error=True,
        generator=torch.Generator().manual_seed(2),
    )
    assert error.shape == phi.shape
    assert (error > 0).all()
    assert ((phi - exact).abs() < 5 * error).all()
