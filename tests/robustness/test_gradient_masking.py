"""Checks of an attack: models that hide their gradients in known ways, and one that hides none."""

import math

import pytest
import torch
from attacked import TwoClasses, digits
from classifiers import decided, images
from helpers import Counting

from captum_spectral.robustness.attacks import robust_accuracy
from captum_spectral.robustness.masking import gradient_masking, random_noise_accuracy


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_ordinary_network_passes(norm):
    model, x, y = digits(60)
    checks = gradient_masking(model, x, y, {"linf": 0.1, "l2": 0.6}[norm], norm)
    assert checks.passed, str(checks)
    assert str(checks) == "no sign of masked gradients"
    assert checks.large.accuracy == 0
    assert checks.large.epsilon == {"linf": 1, "l2": 8}[norm]  # from corner to corner of 8 x 8
    assert checks.beaten_by_noise == checks.without_gradient == 0
    assert checks.attacked.accuracy + 0.1 < checks.noise.accuracy
    assert 0 <= checks.gain <= 1 / 60 + 1e-9


def test_a_network_with_pixels_that_are_rounded_first_has_no_gradients():
    model, x, y = digits(40)

    def rounded(z):
        return model((z * 8).round() / 8 + 0 * z)

    checks = gradient_masking(rounded, x, y, 0.1)
    right = int(checks.attacked.correct.sum())
    assert checks.without_gradient == right > 30
    assert f"0 in every pixel of {right} of {right} images" in checks.failed[0]
    assert checks.large.accuracy > 0.02
    assert any("at epsilon = 1, where any image can become any other" in s for s in checks.failed)
    assert robust_accuracy(model, x, y, 0.1).accuracy < checks.attacked.accuracy  # it was hidden


def test_a_network_whose_gradients_mislead_is_beaten_by_noise():
    model = TwoClasses()
    x = 0.5 + (images(60) - 0.5) * 0.05  # grey, next to the boundary
    y = decided(model, x)

    def reversed_(z):  # the values of the model, the gradients of its mirror image
        return model(2 * z.detach() - z)

    checks = gradient_masking(reversed_, x, y, 0.1, restarts=1)
    assert checks.beaten_by_noise > 3
    assert f"flips {checks.beaten_by_noise} of 60 images that the attack" in checks.failed[0]
    assert math.isnan(checks.gain)
    assert gradient_masking(model, x, y, 0.1).beaten_by_noise == 0


def test_searches_that_still_help_are_told():
    def narrow(x):  # class 1 in a small square, no slope elsewhere
        valley = 0.06 - (x.flatten(1)[:, :2] - 0.5).abs().amax(1)
        return torch.stack([0 * valley, valley.clamp(min=-0.05)], 1)

    x = torch.full((80, 1, 1, 2), 0.4) + 0.02 * torch.rand(80, 1, 1, 2)
    x[:, 0, 0, 0] = 0.3
    checks = gradient_masking(narrow, x, torch.zeros(80, dtype=torch.long), 0.3, restarts=3)
    assert checks.gain > 0.01
    assert any(
        f"the last of 3 searches still lowered robust accuracy by {checks.gain:.3f}" in s
        for s in checks.failed
    )


def test_a_weak_attack_of_the_users_is_shown_to_be_weak():
    model = TwoClasses()
    x = 0.5 + (images(60) - 0.5) * 0.05
    y = decided(model, x)
    checks = gradient_masking(model, x, y, 0.1, attack=lambda x, y: x, restarts=2)
    assert checks.attacked.accuracy == 1
    assert checks.beaten_by_noise > 0
    assert not checks.passed


class TestNoise:
    def test_without_noise_it_is_the_accuracy(self):
        model, x, y = digits(60)
        result = random_noise_accuracy(model, x, y, 0.0)
        assert torch.equal(result.bits, decided(model, x) == y)
        assert torch.equal(result.bits, result.correct)

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_is_uniform_in_the_ball(self, norm):
        seen = []

        def spy(z):
            seen.append(z)
            return torch.stack([z.flatten(1).sum(1), 0 * z.flatten(1).sum(1)], 1)

        x = images(400)[:, :, :2, :2] * 0.1 + 0.4
        random_noise_accuracy(spy, x, torch.zeros(400, dtype=torch.long), 0.2, norm)
        noise = ((seen[1] - x) / 0.2).flatten(1)  # four pixels
        if norm == "linf":
            assert noise.abs().max() <= 1 + 1e-6
            assert abs(noise.mean()) < 0.06
            assert abs(noise.square().mean() - 1 / 3) < 0.03
        else:
            length = noise.norm(dim=1)
            assert length.max() <= 1 + 1e-6
            volume = length**4  # uniform from 0 to 1
            assert abs(volume.mean() - 0.5) < 0.06
            assert abs(volume.var() - 1 / 12) < 0.02

    def test_stays_inside_the_box(self):
        seen = []
        model = TwoClasses()

        def spy(z):
            seen.append(z)
            return model(z)

        x = images(5)
        random_noise_accuracy(spy, x, decided(model, x), [0.2, 0.9])
        assert all(z.min() >= 0 and z.max() <= 1 for z in seen)

    def test_of_a_linear_model_it_is_the_normal_distribution(self):
        """<w, u> of 120 independent pixels with variance 1/3."""
        model, x = TwoClasses(), images(400)
        y = decided(model, x)
        lead = model.lead(x, y)
        spread = model.weight.detach().norm() / math.sqrt(3)
        epsilon = float(lead.median() / spread)
        expected = torch.special.ndtr(lead / (epsilon * spread)).mean()
        result = random_noise_accuracy(model, x, y, epsilon, clip=None)
        assert abs(result.accuracy - expected) < 4 * result.standard_error
        assert expected < 0.95

    def test_costs_a_row_per_image_and_radius(self):
        model, x = Counting(TwoClasses()), images(6)
        random_noise_accuracy(model, x, decided(model.model, x), [0.1, 0.2, 0.3])
        assert model.rows == 6 * 4
