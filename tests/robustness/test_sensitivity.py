"""Fourier sensitivity against closed forms, a slow implementation in NumPy, and its rows."""

import math

import numpy as np
import pytest
import torch
from helpers import Counting, tiny_cnn
from torch import nn

from captum_spectral import band_mask
from captum_spectral.features.plane_waves import num_waves
from captum_spectral.robustness.sensitivity import band_sensitivity, fourier_heat_map

SIZES = [(8, 8), (7, 9), (6, 5)]
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def images(count, size, channels=2, dtype=torch.float64):
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(0)).to(dtype)


class Linear(nn.Module):
    """Two logits: the product of an image with weights, and 0; it keeps the rows it is shown."""

    def __init__(self, *shape):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.seen = []
        self.eval()

    def forward(self, x):
        self.seen.append(x.detach().clone())
        first = (x * self.weights.to(x.dtype)).flatten(1).sum(1)
        return torch.stack([first, 0 * first], 1)

    @property
    def rows(self):
        return torch.cat(self.seen)


def first_class(x):
    return torch.zeros(len(x), dtype=torch.int64)


def negative(plane):
    """The plane at the negatives of its frequencies."""
    return plane.flip(-2, -1).roll((1, 1), (-2, -1))


def waves_by_pair(size):
    """The first place of every pair, and whether it is alone, by a walk over the plane."""
    height, width = size
    found = {}
    for y in range(height):
        for x in range(width):
            other = (-y % height, -x % width)
            if other not in found:
                found[y, x] = other == (y, x)
    return found


# ------------------------------------------------------------------------------- the waves


@sizes
@pytest.mark.parametrize("phase", ["random", "fixed"])
def test_every_row_is_the_image_and_one_wave_of_the_norm_in_each_channel(size, phase):
    x, model = images(2, size), Linear(2, *size)
    heat = fourier_heat_map(model, x, first_class(x), 3.0, phase=phase, value="logit")
    pairs = waves_by_pair(size)
    rows = model.rows.unflatten(0, (2, -1))
    assert torch.equal(rows[:, 0], x)  # exactly
    waves = (rows[:, 1:] - x[:, None]).numpy()
    np.testing.assert_allclose(np.sqrt((waves**2).sum((-2, -1))), 3.0, rtol=1e-12)
    height, width = size
    y, z = np.mgrid[:height, :width]
    for p, ((k_y, k_x), alone) in enumerate(pairs.items()):
        spectrum = np.fft.fft2(waves[:, p])
        angle = np.angle(spectrum[..., k_y, k_x])
        amplitude = 3.0 * math.sqrt((1 if alone else 2) / (height * width))
        turn = 2 * np.pi * (k_y * y / height + k_x * z / width)
        expected = amplitude * np.cos(turn + angle[..., None, None])
        np.testing.assert_allclose(waves[:, p], expected, atol=1e-12)
        if phase == "fixed":  # a quarter of pi, with a sign
            turns = 0.0 if alone else math.pi / 4
            np.testing.assert_allclose(np.sin(angle - turns), 0, atol=1e-9)
    changes = (waves * model.weights.numpy()).sum((-3, -2, -1))
    for p, k in enumerate(pairs):
        np.testing.assert_allclose(
            heat.value[k].item(), changes[:, p].mean(), rtol=1e-9, atol=1e-12
        )
        error = changes[:, p].std(ddof=1) / math.sqrt(2)
        np.testing.assert_allclose(heat.standard_error[k].item(), error, rtol=1e-9, atol=1e-12)
        root = math.sqrt((changes[:, p] ** 2).mean())
        np.testing.assert_allclose(heat.root_mean_square[k].item(), root, rtol=1e-9, atol=1e-12)


def test_phases_are_uniform_and_signs_are_fair():
    x, model = images(60, (5, 6), channels=3), Linear(3, 5, 6)
    fourier_heat_map(model, x, first_class(x), 1.0)
    waves = model.rows.unflatten(0, (60, -1)) - x[:, None]
    angles = torch.fft.fft2(waves)[:, 3, :, 0, 3].angle() / (2 * torch.pi)  # its own negative
    assert abs(float((angles.abs() < 0.1).double().mean()) - 0.5) < 4 * 0.5 / math.sqrt(180)
    pair = torch.fft.fft2(waves)[:, 1, :, 0, 1].angle().flatten() / (2 * torch.pi) + 0.5
    steps = (torch.arange(180) + 0.5) / 180
    assert (pair.sort().values - steps).abs().max() < 1.63 / math.sqrt(180)  # Kolmogorov, 1 %


@pytest.mark.parametrize(("size", "count"), [((28, 28), 394), ((32, 32), 514), ((224, 224), 25090)])
def test_as_many_waves_as_half_of_the_plane_and_of_those_alone(size, count):
    assert num_waves(*size) == count


@sizes
@pytest.mark.parametrize(
    ("value", "labelled", "extra"),
    [
        *(("error", True, 0), ("error", False, 1), ("flip", True, 1), ("flip", False, 1)),
        *(("log_likelihood", True, 1), ("log_likelihood", False, 2)),
    ],
)
def test_rows_are_counted_as_documented(size, value, labelled, extra):
    x, model = images(3, size), Counting(tiny_cnn(2))
    labels = first_class(x) if labelled else None
    heat = fourier_heat_map(model, x, labels, 1.0, value=value)
    alone = (2 - size[0] % 2) * (2 - size[1] % 2)
    assert heat.num_rows == model.rows == 3 * ((math.prod(size) + alone) // 2 + extra)
    model.rows = 0
    bands = band_sensitivity(model, x, labels, 1.0, num_bands=3, value=value)
    asked_for_a_prediction = value == "flip" or not labelled
    assert bands.num_rows == model.rows == 3 * (3 + 1 + asked_for_a_prediction)


def test_the_central_63_x_63_frequencies_are_1985_waves():
    x = torch.zeros(1, 1, 64, 66)
    heat = fourier_heat_map(nn.Flatten(), x, first_class(x), 1.0, frequencies=63)
    assert heat.num_rows == 1985
    assert int(heat.value.isfinite().sum()) == 63 * 63


# ------------------------------------------------------------------------------- closed forms


@sizes
def test_a_linear_model_under_a_fixed_phase_has_the_real_parts_of_its_spectrum(size):
    x, model = images(1, size, channels=1), Linear(1, *size)
    heat = fourier_heat_map(model, x, first_class(x), 2.0, value="logit", phase="fixed")
    spectrum = torch.fft.fft2(model.weights[0])
    turn = complex(math.sqrt(0.5), math.sqrt(0.5))
    expected = 2.0 * math.sqrt(2 / math.prod(size)) * (turn * spectrum.conj()).real
    for k, alone in waves_by_pair(size).items():
        size_of = abs(float(expected[k]))
        if alone:
            size_of = 2.0 / math.sqrt(math.prod(size)) * abs(float(spectrum[k].real))
        assert abs(float(heat.value[k])) == pytest.approx(size_of, rel=1e-9)


@sizes
def test_the_gradient_gives_a_linear_model_its_root_mean_square_over_phases(size):
    x, model = images(3, size), Linear(2, *size)
    heat = fourier_heat_map(model, x, first_class(x), 2.0, value="logit", method="gradient", seed=5)
    power = torch.fft.fft2(model.weights).abs().square().sum(0)
    expected = 2.0 * (power / math.prod(size)).sqrt()
    torch.testing.assert_close(heat.value, expected, rtol=1e-9, atol=0)
    assert torch.equal(heat.value, heat.root_mean_square)
    assert heat.standard_error.max() < 1e-9
    total = 4.0 * model.weights.square().sum()
    torch.testing.assert_close(heat.value.square().sum(), total, rtol=1e-12, atol=0)
    assert heat.num_rows == 3


def test_waves_of_random_phases_approach_the_gradient_of_a_linear_model():
    x, model = images(400, (5, 4)), Linear(2, 5, 4)
    waves, gradient = (
        fourier_heat_map(model, x, first_class(x), 2.0, value="logit", method=method)
        for method in ("evaluate", "gradient")
    )
    # A squared cosine has half the variance of its squared mean; two channels add up.
    ratio = (waves.root_mean_square / gradient.value).square()
    assert (ratio - 1).abs().max() < 4 * math.sqrt(1 / 400)
    assert ratio[0, 1] != 1


def test_the_gradient_is_the_limit_of_small_waves_for_any_model():
    x, model = images(2, (6, 6)), tiny_cnn(2)
    small = fourier_heat_map(model, x, None, 1e-4, value="log_likelihood", phase="fixed")
    slope = torch.autograd.functional.jacobian(lambda x: model(x).log_softmax(1).amax(1).sum(), x)
    heat = fourier_heat_map(model, x, None, 1.0, value="log_likelihood", method="gradient")
    expected = (torch.fft.fft2(slope).abs().square().sum(1) / 36).mean(0).sqrt()
    torch.testing.assert_close(heat.value, expected, rtol=1e-9, atol=0)
    # A wave moves the value by no more than both channels together can.
    amplitude = torch.fft.fft2(slope).abs().sum(1).square().mean(0).sqrt() * math.sqrt(2 / 36)
    assert (small.root_mean_square <= 1e-4 * amplitude * (1 + 1e-3)).all()


class LowPassed(nn.Module):
    """A model that sees only frequencies below a cut."""

    def __init__(self, model, kept):
        super().__init__()
        self.model, self.kept = model, kept
        self.eval()

    def forward(self, x):
        return self.model(torch.fft.ifft2(torch.fft.fft2(x) * self.kept).real)


@pytest.mark.parametrize("method", ["evaluate", "gradient"])
def test_above_its_cut_a_model_that_low_passes_its_input_is_insensitive(method):
    kept = band_mask((12, 15), 4) < 2
    x, model = images(3, (12, 15)), LowPassed(tiny_cnn(2), kept)
    heat = fourier_heat_map(model, x, None, 1.0, value="log_likelihood", method=method)
    assert heat.root_mean_square[~kept].max() < 1e-12
    assert heat.root_mean_square[kept].min() > 1e-6
    bands = band_sensitivity(model, x, None, 1.0, num_bands=4, value="log_likelihood")
    assert bands.root_mean_square[2:].max() < 1e-12
    assert bands.root_mean_square[:2].min() > 1e-6


# ------------------------------------------------------------------------------- values


@sizes
def test_rates_are_those_of_a_loop_over_the_rows(size):
    x, model = images(4, size), tiny_cnn(2)
    seen = []
    labels = torch.tensor([0, 1, 2, 3])
    heat = fourier_heat_map(lambda rows: seen.append(rows.clone()) or model(rows), x, labels, 20.0)
    wrong = (model(torch.cat(seen)).argmax(1).unflatten(0, (4, -1)) != labels[:, None]).double()
    for p, k in enumerate(waves_by_pair(size)):
        assert float(heat.value[k]) == float(wrong[:, p].mean())
    assert torch.equal(heat.value, negative(heat.value))
    assert heat.clean is None
    assert heat.unit == "error rate"
    flips = fourier_heat_map(model, x, labels, 20.0, value="flip")
    errors = fourier_heat_map(model, x, model(x).argmax(1), 20.0)
    assert torch.equal(flips.value, errors.value)
    assert torch.equal(flips.value, fourier_heat_map(model, x, None, 20.0).value)


def test_the_change_of_a_value_is_that_of_a_function_of_the_user():
    x, model, labels = images(3, (6, 7)), tiny_cnn(2), torch.tensor([1, 0, 4])

    def likelihood(outputs, labels):
        return outputs.log_softmax(1).gather(1, labels[:, None])[:, 0]

    for method in ("evaluate", "gradient"):
        mine, theirs = (
            fourier_heat_map(model, x, labels, 1.0, value=value, method=method)
            for value in (likelihood, "log_likelihood")
        )
        torch.testing.assert_close(mine.value, theirs.value, rtol=1e-9, atol=1e-12)
    assert (mine.unit, theirs.unit) == ("value", "nats")


def test_a_model_of_probabilities_has_error_rates_but_no_likelihoods():
    x, model = images(3, (6, 6)), nn.Sequential(tiny_cnn(2), nn.Softmax(1)).eval()
    fourier_heat_map(model, x, first_class(x), 1.0)
    with pytest.raises(ValueError, match="takes logits, and forward_func returns probabilities"):
        fourier_heat_map(model, x, first_class(x), 1.0, value="log_likelihood")


# ------------------------------------------------------------------------------- bands


@sizes
def test_every_band_gets_a_direction_of_the_norm_within_it(size):
    x, model = images(2, size), Linear(2, *size)
    found = band_sensitivity(model, x, first_class(x), 3.0, num_bands=3, value="logit")
    rows = model.rows.unflatten(0, (2, 4))
    assert torch.equal(rows[:, 0], x)
    added = rows[:, 1:] - x[:, None]
    norms = added.square().sum((-2, -1)).sqrt()
    torch.testing.assert_close(norms, torch.full_like(norms, 3.0), rtol=1e-12, atol=0)
    mask = band_mask(size, 3)
    for band in range(3):
        assert torch.fft.fft2(added[:, band])[..., mask != band].abs().max() < 1e-11
    changes = (added * model.weights).sum((-3, -2, -1))
    torch.testing.assert_close(found.value, changes.mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.root_mean_square, changes.square().mean(0).sqrt())
    assert found.clean == pytest.approx(float((x * model.weights).sum((1, 2, 3)).mean()))


def test_directions_of_a_band_are_as_likely_in_all_of_its_frequencies():
    x, model = images(500, (5, 4)), Linear(2, 5, 4)
    found = band_sensitivity(model, x, first_class(x), 2.0, num_bands=2, value="logit")
    mask = band_mask((5, 4), 2)
    power = torch.fft.fft2(model.weights).abs().square().sum(0) / 20
    for band in range(2):
        expected = 4 * power[mask == band].mean()
        ratio = float(found.root_mean_square[band].square() / expected)
        assert abs(ratio - 1) < 4 * math.sqrt(2 / 500)


def test_a_band_without_frequencies_has_no_sensitivity():
    x, mask = images(2, (8, 8)), band_mask((8, 8), 2) * 2
    with pytest.warns(UserWarning, match="missing 1 of the integers"):
        found = band_sensitivity(tiny_cnn(2), x, None, 1.0, feature_mask=mask)
    assert found.value.isnan().tolist() == [False, True, False]
    assert found.frequencies.isnan().any(1).tolist() == [False, True, False]


# ------------------------------------------------------------------------------- invariances


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_batches_chunks_order_and_subsets_of_frequencies_change_nothing(dtype):
    x = images(4, (6, 7), dtype=dtype)
    model = tiny_cnn(2, dtype=dtype)
    options = {"value": "log_likelihood", "norm": 1.0, "seed": 3}
    tolerance = {"rtol": 0, "atol": 1e-12 if dtype is torch.float64 else 1e-6}
    whole = fourier_heat_map(model, x, None, **options)
    order = torch.tensor([2, 0, 3, 1])
    other = fourier_heat_map(model, x[order], None, perturbations_per_eval=2, **options)
    torch.testing.assert_close(other.value, whole.value, **tolerance)
    single = [fourier_heat_map(model, one, None, **options).value for one in x.split(1)]
    torch.testing.assert_close(torch.stack(single).mean(0), whole.value, **tolerance)
    some = fourier_heat_map(
        model, x, None, frequencies=torch.tensor([[0, 1], [-1, -2], [1, 2]]), **options
    )
    asked = some.value.isfinite()
    assert asked.nonzero().tolist() == [[0, 1], [0, 6], [1, 2], [5, 5]]
    torch.testing.assert_close(some.value[asked], whole.value[asked], **tolerance)
    seeded = fourier_heat_map(model, x, None, **options | {"seed": 4})
    assert (seeded.value - whole.value).abs().max() > 1e-4
    bands = band_sensitivity(model, x, None, **options)
    shuffled = band_sensitivity(model, x[order], None, perturbations_per_eval=1, **options)
    torch.testing.assert_close(bands.value, shuffled.value, **tolerance)


def test_one_image_has_no_standard_errors():
    x = images(1, (6, 6))
    heat = fourier_heat_map(tiny_cnn(2), x, None, 1.0)
    assert heat.standard_error.isnan().all()
    assert band_sensitivity(tiny_cnn(2), x, None, 1.0).standard_error.isnan().all()


def test_half_precision_images_are_moved_by_what_their_precision_holds():
    x, model = images(2, (8, 8), dtype=torch.bfloat16), Linear(2, 8, 8)
    fourier_heat_map(model, x, first_class(x), 4.0)
    assert model.rows.dtype is torch.bfloat16
    norms = (model.rows.double().unflatten(0, (2, -1)) - x[:, None].double()).square()
    assert (norms.sum((-2, -1)).sqrt() - 4.0).abs().max() < 0.1


# ------------------------------------------------------------------------------- bad input

X = torch.rand(2, 1, 6, 6)
Y = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3, X, Y, 1.0), {}, TypeError, "forward_func must be callable, got int"),
        (((X,), Y, 1.0), {}, TypeError, r"images must be one tensor \(B, C, H, W\), got a tuple"),
        ((X[0], Y, 1.0), {}, ValueError, r"images must be \(B, C, H, W\), got shape \(1, 6, 6\)"),
        ((X, Y[:1], 1.0), {}, ValueError, r"labels must be \(2,\), one class per image"),
        ((X, Y + 9, 1.0), {}, ValueError, "labels reach 9, but forward_func returns 3 outputs"),
        ((X, Y, 0.0), {}, ValueError, "norm must be positive and finite"),
        ((X, Y, "1"), {}, TypeError, "norm must be a number, got '1'"),
        ((X, Y, 1.0), {"value": "loss"}, ValueError, "value must be 'error', 'flip'"),
        ((X, Y, 1.0), {"phase": "zero"}, ValueError, "phase must be 'random' or 'fixed'"),
        ((X, Y, 1.0), {"method": "fast"}, ValueError, "method must be 'evaluate' or 'gradient'"),
        ((X, Y, 1.0), {"method": "gradient"}, ValueError, "value='error' has no gradient"),
        ((X, Y, 1.0), {"frequencies": "some"}, ValueError, "frequencies must be 'all', an odd"),
        ((X, Y, 1.0), {"frequencies": 4}, ValueError, "frequencies=4 must be odd"),
        ((X, Y, 1.0), {"frequencies": 9}, ValueError, "at most 7 for images"),
        ((X, Y, 1.0), {"frequencies": Y}, ValueError, r"frequencies must be \(K, 2\)"),
        ((X, Y, 1.0), {"frequencies": X}, TypeError, "frequencies must be integers"),
        (
            (X, Y, 1.0),
            {"frequencies": torch.tensor([[0, 6]])},
            ValueError,
            r"frequencies must lie in the plane of \(6, 6\).*got \[0, 6\]",
        ),
        ((X, Y, 1.0), {"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_wrong_arguments_are_refused_by_their_names(arguments, options, error, message):
    model = Counting(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)))
    arguments = arguments if len(arguments) == 4 else (model, *arguments)
    with pytest.raises(error, match=message):
        fourier_heat_map(*arguments, **options)
    assert model.rows == 0 or "reach" in message


def test_an_output_that_is_not_finite_is_named_by_its_wave():
    def model(x):
        return torch.where(x.amax((1, 2, 3)) > 1.5, torch.nan, 1.0)[:, None] * torch.ones(1, 3)

    with pytest.raises(ValueError, match="example 0 with the direction of player 0 added to it"):
        fourier_heat_map(model, 0.9 + 0 * X, Y, 40.0, value="logit", frequencies=1)
