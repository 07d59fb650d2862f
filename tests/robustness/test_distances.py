"""Distances to the nearest mistake, and the means of numbers some of which are infinite."""

import math

import pytest
import torch
from attacked import TwoClasses, digits
from classifiers import Linear, OnlySome, decided, images

from captum_spectral.boundary import BoundarySearch, find_boundary
from captum_spectral.robustness.attacks import robust_accuracy
from captum_spectral.robustness.distances import (
    BoundaryDistances,
    boundary_distances,
    restricted_mean,
)


@pytest.fixture(scope="module")
def linear():
    """A linear model, images of which every fifth is wrong, and their exact distances."""
    model, x = Linear(), images(40)
    y = decided(model, x)
    y[::5] = (y[::5] + 1) % 4
    w, f = model.weight.detach(), model(x).detach()
    distances = (f.gather(1, y[:, None]) - f) / (w[y][:, None] - w).norm(dim=2)
    distances[torch.arange(40), y] = torch.inf
    return model, x, y, distances.amin(1).clamp(min=0)


def test_the_distance_is_that_of_the_nearest_hyperplane(linear):
    model, x, y, distances = linear
    found = boundary_distances(model, x, y, clip=None)
    assert torch.equal(found.distances == 0, torch.arange(40) % 5 == 0)  # wrong images
    torch.testing.assert_close(found.distances, distances, rtol=2**-12, atol=0)
    torch.testing.assert_close(found.norms, x.flatten(1).norm(dim=1))


def test_robust_accuracy_follows_from_it_at_every_radius(linear):
    model, x, y, distances = linear
    found = boundary_distances(model, x, y, clip=None)
    positive = distances[distances > 0]
    epsilon = torch.cat([torch.zeros(1), positive * 0.999, positive * 1.001])
    result = found.robust_accuracy(epsilon)
    assert torch.equal(result.bits, distances > epsilon[:, None])
    assert torch.equal(result.accuracy, (distances > epsilon[:, None]).double().mean(1))
    assert result.norm == "l2"
    assert torch.equal(result.correct, distances > 0)


def test_the_attack_at_one_radius_finds_about_as_much():
    model, x, y = digits(100)
    found = boundary_distances(model, x, y)
    epsilon = [0.3, 0.6, 0.9]
    by_distance, by_attack = (
        found.robust_accuracy(epsilon).accuracy,
        robust_accuracy(model, x, y, epsilon, "l2").accuracy,
    )
    assert ((by_distance - by_attack).abs() <= 0.03).all()
    assert (by_distance > 0.05).all()
    assert (by_distance < 0.97).all()


def test_rightly_classified_images_have_the_distances_of_find_boundary():
    model, x, y = digits(40)
    right = decided(model, x) == y
    found = boundary_distances(model, x, y)
    expected = find_boundary(model, x[right], y[right], clip=(0, 1)).distances
    torch.testing.assert_close(found.distances[right], expected.double(), rtol=1e-3, atol=0)


def test_what_is_not_found_is_infinitely_far():
    model, x = OnlySome(), torch.rand(4, 1, 3, 3) + 0.1
    x[:2, 0, 0, 0] = -1  # these have no boundary
    found = boundary_distances(model, x, [0, 0, 0, 1], clip=None)
    assert found.distances.isinf().tolist() == [True, True, False, False]
    assert found.distances[3] == 0  # labelled wrongly
    assert found.num_missing == 2
    assert found.median() == math.inf
    assert found.robust_accuracy(1e9).accuracy == 0.5


def test_a_search_holds_its_own_options():
    model, x, y = digits(20)
    search = BoundarySearch("pgd", clip=(0, 1), radii=(0.2, 0.5, 1, 2, 4))
    found = boundary_distances(model, x, y, search=search).distances
    nearest = boundary_distances(model, x, y).distances
    assert (found >= 0.8 * nearest).all()
    torch.testing.assert_close(found.mean(), nearest.mean(), rtol=0.1, atol=0)
    free = boundary_distances(model, x, y, search=BoundarySearch()).distances
    assert (free <= nearest * 1.001).double().mean() > 0.9  # without a box it is less far
    assert free.sum() < nearest.sum()


def test_restarts_of_a_seed_can_be_repeated_and_come_no_less_near():
    model, x, y = digits(20)
    once, more, again = (
        boundary_distances(model, x, y, num_restarts=n).distances for n in (0, 2, 2)
    )
    assert torch.equal(more, again)
    assert (more <= once).all()


class TestMeans:
    FOUND = BoundaryDistances(
        torch.tensor([0.0, 1.0, 2.0, 4.0, torch.inf]), torch.tensor([1.0, 0.0, 4.0, 4.0, 2.0])
    )

    def test_the_restricted_mean_is_that_of_the_smaller_of_distance_and_cap(self):
        mean = self.FOUND.restricted_mean(3)
        assert mean.value == pytest.approx((0 + 1 + 2 + 3 + 3) / 5)
        spread = torch.tensor([0.0, 1, 2, 3, 3]).std() / math.sqrt(5)
        assert mean.standard_error == pytest.approx(float(spread))

    def test_it_is_the_area_under_the_curve_of_robust_accuracy(self):
        epsilon = (torch.arange(3000) + 0.5) / 1000
        area = float(self.FOUND.robust_accuracy(epsilon).accuracy.sum()) / 1000
        assert self.FOUND.restricted_mean(3).value == pytest.approx(area, abs=2e-3)

    def test_without_a_cap_it_is_infinite_and_never_that_of_the_found_ones(self):
        mean = self.FOUND.restricted_mean(math.inf)
        assert mean.value == math.inf
        assert math.isnan(mean.standard_error)
        assert restricted_mean(torch.tensor([1.0, 2.0]), math.inf).value == 1.5

    def test_the_relative_mean_is_that_of_distance_over_norm(self):
        # wrong: 0; a black image that is right: the cap
        assert self.FOUND.relative_mean().value == pytest.approx((0 + 1 + 0.5 + 1 + 1) / 5)
        assert self.FOUND.relative_mean(0.25).value == pytest.approx((0 + 4 * 0.25) / 5)

    def test_the_median_counts_what_was_not_found(self):
        assert self.FOUND.median() == 2
        two = BoundaryDistances(torch.tensor([1.0, 3.0]), torch.ones(2))
        assert two.median() == 2
        half = BoundaryDistances(torch.tensor([1.0, torch.inf]), torch.ones(2))
        assert half.median() == math.inf

    def test_one_image_has_no_standard_error(self):
        assert math.isnan(restricted_mean(torch.ones(1), 2).standard_error)
        one = BoundaryDistances(torch.ones(1), torch.ones(1)).robust_accuracy(0.5)
        assert math.isnan(one.standard_error)

    @pytest.mark.parametrize(
        ("distances", "cap", "error", "message"),
        [
            (torch.tensor([-1.0]), 1, ValueError, "distances must be .* not negative"),
            (torch.tensor([torch.nan]), 1, ValueError, "distances must be"),
            (torch.ones(2, 2), 1, ValueError, r"got shape \(2, 2\)"),
            (torch.ones(0), 1, ValueError, "at least one image"),
            (torch.ones(2), 0, ValueError, "cap must be positive, got 0"),
            ([1.0], 1, TypeError, "distances must be a real tensor"),
        ],
    )
    def test_wrong_distances_are_refused(self, distances, cap, error, message):
        with pytest.raises(error, match=message):
            restricted_mean(distances, cap)


def test_the_standard_error_of_an_accuracy_is_that_of_a_share():
    model, x = TwoClasses(), images(50)
    result = robust_accuracy(model, x, decided(model, x), 0.02)
    a = float(result.accuracy)
    assert 0 < a < 1
    assert float(result.standard_error) == pytest.approx(math.sqrt(a * (1 - a) / 49))
