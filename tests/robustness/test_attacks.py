"""Robust accuracy where it is known in closed form, and beside other people's attacks."""

import warnings

import pytest
import torch
from attacked import TwoClasses, digits, foolbox
from captum.robust import PGD
from classifiers import Linear, decided, images
from helpers import Counting
from torch import nn

from captum_spectral.robustness.attacks import robust_accuracy

NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])
DUAL = {"linf": 1, "l2": 2}  # the norm of the weights that a ball of the norm is measured with
REACHED = 1 + 1e-6
CAPTUM_WARNS = pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require grad")


def agree(bits, distances, epsilon, reached):
    """Whether all images fall at their distances, from below those to ``reached`` times them."""
    beyond = distances > epsilon[:, None]
    short = distances * reached > epsilon[:, None]
    return bool((bits | ~beyond).all() and (short | ~bits).all())


def labels_for(model, x, wrong=4):
    """The predicted classes, but for every so many."""
    y = decided(model, x)
    y[::wrong] = 1 - y[::wrong]
    return y


class TestALinearClassifierIsExact:
    @NORMS
    def test_an_image_falls_just_where_its_distance_is_reached(self, norm):
        model, x = TwoClasses(), images(12)
        y = labels_for(model, x)
        distances = model.lead(x, y) / torch.linalg.vector_norm(model.weight.detach(), DUAL[norm])
        right = distances > 0
        assert 0 < right.sum() < 12
        d = distances[right]
        epsilon = torch.cat([torch.zeros(1), d * (1 - 1e-6), d * REACHED])
        result = robust_accuracy(model, x, y, epsilon, norm, clip=None)
        assert agree(result.bits, distances, epsilon, REACHED)
        assert torch.equal(result.correct, right)

    def test_inside_a_box_it_falls_where_the_box_lets_it(self):
        model = TwoClasses()
        x = images(24) * 0.2 + 0.01  # next to black
        w = model.weight.detach().reshape(x[:1].shape)
        with torch.no_grad():
            model.bias.fill_(0.2 * w.abs().sum())
        y = decided(model, x)
        epsilon = torch.linspace(0.05, 0.8, 16)
        worst = torch.stack(
            [(x - e * w.sign() * (2 * y - 1).reshape(-1, 1, 1, 1)) for e in epsilon]
        )
        expected = torch.stack([model.lead(z.clamp(0, 1), y) > 0 for z in worst])
        free = torch.stack([model.lead(z, y) > 0 for z in worst])
        assert (expected != free).sum() > 5  # the box matters
        assert torch.equal(robust_accuracy(model, x, y, epsilon).bits, expected)

    @NORMS
    def test_of_several_other_classes_mostly_the_nearest_is_met(self, norm):
        model, x = Linear(classes=5), images(20)
        y = decided(model, x)
        w, f = model.weight.detach(), model(x).detach()
        weights = torch.linalg.vector_norm(w[y][:, None] - w, DUAL[norm], dim=2)
        distances = (f.gather(1, y[:, None]) - f) / weights
        distances[torch.arange(20), y] = torch.inf
        distances = distances.amin(1)
        epsilon = torch.cat([distances * (1 - 1e-6), distances * 1.05])
        bits = robust_accuracy(model, x, y, epsilon, norm, clip=None).bits
        assert (bits | (distances <= epsilon[:, None])).all()
        # The steepest way may lead to another class than the nearest.
        late = bits & (distances * 1.05 <= epsilon[:, None])
        assert late.double().mean() < 0.03


class TestOtherAttacks:
    """200 digits and a trained network; six standard errors of a share would be 0.2."""

    @pytest.fixture(scope="class")
    @staticmethod
    def data():
        model, x, y = digits()
        assert (decided(model, x) == y).double().mean() > 0.9
        return model, x, y, robust_accuracy(model, x, y, [0.05, 0.1, 0.15])

    @CAPTUM_WARNS
    @pytest.mark.parametrize(("i", "epsilon"), [(0, 0.05), (1, 0.1), (2, 0.15)])
    def test_captums_attack_with_a_loss_for_logits_finds_as_much(self, data, i, epsilon):
        model, x, y, ours = data
        pgd = PGD(model, nn.CrossEntropyLoss(reduction="none"), 0, 1)

        def attack(images, labels):
            return pgd.perturb(images, epsilon, epsilon / 8, 20, labels, random_start=True)

        theirs = robust_accuracy(model, x, y, epsilon, attack=attack)
        assert 0.1 < theirs.accuracy < 0.95
        assert abs(ours.accuracy[i] - theirs.accuracy) <= 0.03

    @CAPTUM_WARNS
    def test_captums_default_loss_overrates_robustness_on_logits(self, data):
        """It is -log(output), for probabilities, and sees no other class than the label."""
        model, x, y, ours = data
        pgd = PGD(model, None, 0, 1)
        theirs = robust_accuracy(
            model, x, y, 0.1, attack=lambda x, y: pgd.perturb(x, 0.1, 0.1 / 8, 20, y)
        )
        assert theirs.accuracy > ours.accuracy[1] + 0.1

    @NORMS
    def test_foolbox_finds_as_much(self, data, norm):
        if foolbox() is None:
            pytest.skip("foolbox is not installed")
        model, x, y, _ = data
        epsilon = {"linf": 0.1, "l2": 0.6}[norm]
        attacks = {"linf": foolbox().attacks.LinfPGD, "l2": foolbox().attacks.L2PGD}
        their_attack = attacks[norm](rel_stepsize=1 / 8, steps=20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adversary = foolbox().PyTorchModel(model, bounds=(0, 1), device="cpu")
            theirs = robust_accuracy(
                *(model, x, y, epsilon, norm),
                attack=lambda x, y: their_attack(adversary, x, y, epsilons=epsilon)[1],
            ).accuracy
        ours = robust_accuracy(model, x, y, epsilon, norm).accuracy
        assert 0.1 < theirs < 0.9
        assert -0.06 <= ours - theirs <= 0.02


class TestAnUpperBound:
    def test_is_never_below_what_is_proved(self):
        """No point nearer than the margin over the largest slope of the network can be wrong."""
        generator = torch.Generator().manual_seed(1)
        weights = [torch.randn(s, generator=generator).double() for s in ((20, 12), (12, 2))]
        model = lambda x: (x.flatten(1) @ weights[0]).relu() @ weights[1]  # noqa: E731
        x = torch.rand(60, 1, 4, 5, generator=generator).double()
        with torch.no_grad():
            y = model(x).argmax(1)
            margin = model(x)[:, 0].sub(model(x)[:, 1]).abs()
        last = weights[1][:, 0] - weights[1][:, 1]
        active = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 12)  # of 12 units
        slope = (active @ (weights[0] * last).T).norm(dim=1).max()
        epsilon = float((margin / slope).median())
        result = robust_accuracy(model, x, y, epsilon, "l2")
        assert result.bits[margin / slope > epsilon].all()
        assert (~result.bits).any()

    def test_more_searches_only_lower_it(self):
        model, x, y = digits(60)
        three = robust_accuracy(model, x, y, [0.08, 0.12], steps=3, restarts=3)
        assert (three.by_restart[:-1] | ~three.by_restart[1:]).all()
        assert torch.equal(three.bits, three.by_restart[-1])
        for n in (1, 2):
            fewer = robust_accuracy(model, x, y, [0.08, 0.12], steps=3, restarts=n)
            assert torch.equal(fewer.by_restart, three.by_restart[:n])

    def test_a_restart_finds_what_the_first_search_missed(self):
        def narrow(x):  # class 1 within small circles, flat elsewhere
            first = x.flatten(1)[:, :2]
            valley = 0.05 - (first - 0.5).abs().amax(1)
            return torch.stack([0 * valley, valley.clamp(min=-0.01)], 1)

        x = torch.full((50, 1, 1, 2), 0.35) + 0.1 * torch.rand(50, 1, 1, 2)
        x[:, 0, 0, 0] = 0.3
        result = robust_accuracy(narrow, x, torch.zeros(50, dtype=torch.long), 0.3, restarts=8)
        accuracy = result.restart_accuracy
        assert accuracy[0] == 1  # there is no slope where the images lie
        assert accuracy[-1] < 0.9

    def test_larger_radii_only_lower_it(self):
        model, x, y = digits(60)
        bits = robust_accuracy(model, x, y, torch.linspace(0, 0.3, 7), steps=5).bits
        assert (bits[:-1] | ~bits[1:]).all()
        assert bits[0].sum() > bits[-1].sum()

    def test_radii_come_back_in_their_order(self):
        model, x, y = digits(60)
        epsilon = [0.2, 0.0, 0.1]
        result = robust_accuracy(model, x, y, epsilon, steps=5, restarts=2)
        ordered = robust_accuracy(model, x, y, sorted(epsilon), steps=5, restarts=2)
        assert torch.equal(result.by_restart, ordered.by_restart[:, [2, 0, 1]])
        assert result.epsilon.tolist() == epsilon
        assert torch.equal(result.bits[1], decided(model, x) == y)


class TestWhatIsShownToTheModel:
    @NORMS
    def test_every_point_is_in_the_ball_and_in_the_box(self, norm):
        model, x, y = digits(40)
        x = x * 0.5 + 0.1
        seen = []

        def spy(z):
            seen.append(z.detach().clone())
            return model(z)

        epsilon = 0.03 if norm == "linf" else 0.2
        robust_accuracy(spy, x, y, epsilon, norm, clip=(0.05, 0.7), restarts=2)
        points = torch.cat(seen[1:])
        assert len(points) > 100
        assert points.min() >= 0.05
        assert points.max() <= 0.7
        order = 2 if norm == "l2" else torch.inf
        apart = torch.cdist(points.flatten(1), x.flatten(1), p=order).amin(1)
        assert apart.max() <= epsilon * (1 + 1e-3)
        assert apart.max() > 0.9 * epsilon  # the ball is used

    def test_wrong_images_are_not_attacked(self):
        model, x = TwoClasses(), images(10)
        counting = Counting(model)
        wrong = 1 - decided(model, x)
        result = robust_accuracy(counting, x, wrong, 0.01, restarts=3)
        assert counting.rows == 10
        assert result.accuracy == 0
        assert not result.correct.any()

    def test_what_has_fallen_is_not_attacked_again(self):
        model, x = TwoClasses(), images(10)
        y = decided(model, x)
        counting = Counting(model)
        robust_accuracy(counting, x, y, [0.9, 0.95], restarts=3)  # every image falls at once
        assert counting.rows <= 10 + 3 * 10

    def test_the_cost_is_as_promised(self):
        model, x, y = digits(30)
        counting = Counting(model)
        result = robust_accuracy(counting, x, y, 1e-4, steps=7, restarts=2)
        right = int(result.bits.sum())
        assert right == result.correct.sum()  # nothing falls
        assert counting.rows == 30 + 2 * right * (7 + 1)

    def test_steps_have_the_size_that_is_stated(self):
        model, x = TwoClasses(), images(1)
        seen = []

        def spy(z):
            seen.append(z.detach().clone())
            return model(z)

        robust_accuracy(spy, x, decided(model, x), 1e-6, steps=10, clip=None)
        assert torch.equal(seen[1], x)
        assert (seen[2] - x).abs().max() == pytest.approx(2.5e-6 / 10, rel=1e-6)

    def test_restarts_begin_anywhere_in_the_ball(self):
        model, x = TwoClasses(), images(1)
        seen = []

        def spy(z):
            seen.append(z.detach().clone())
            return model(z)

        robust_accuracy(spy, x, decided(model, x), 1e-6, steps=1, restarts=3, clip=None)
        starts = [seen[i] - x for i in (1, 3, 5)]
        assert starts[0].abs().max() == 0
        assert all(0.9e-6 < s.abs().max() <= 1e-6 * (1 + 1e-6) for s in starts[1:])
        assert all(abs(s.abs().mean() - 0.5e-6) < 0.1e-6 for s in starts[1:])
        assert not torch.equal(starts[1], starts[2])
