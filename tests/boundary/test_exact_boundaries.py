"""Boundaries that are known in closed form, and those that other attacks find."""

import warnings
from pathlib import Path

import pytest
import torch
from classifiers import Linear, decided, images
from torch import nn

from captum_spectral.attr import BoundaryIntegratedGradients, BoundarySaliency
from captum_spectral.boundary import find_boundary


@pytest.fixture(scope="module")
def linear():
    model, x = Linear(), images(6)
    c = decided(model, x)
    w, f = model.weight.detach(), model(x).detach()
    distances = (f.gather(1, c[:, None]) - f) / (w[c][:, None] - w).norm(dim=2)
    distances[torch.arange(6), c] = torch.inf
    return model, x, c, *distances.min(1)


class TestALinearClassifierIsExact:
    def test_the_distance_is_that_of_the_nearest_hyperplane(self, linear):
        model, x, c, distances, nearest = linear
        boundary = find_boundary(model, x, c)
        assert torch.equal(boundary.classes, nearest)
        torch.testing.assert_close(boundary.distances, distances, rtol=2**-12, atol=0)
        finer = find_boundary(model, x, c, bisection_steps=30)
        torch.testing.assert_close(finer.distances, distances, rtol=1e-8, atol=0)

    def test_the_sweep_comes_as_near_as_its_steps_allow(self, linear):
        model, x, c, distances, _ = linear
        found = find_boundary(model, x, c, method="pgd", radii=(0.1, 0.3, 1.0, 3.0)).distances
        assert (found >= distances * (1 - 1e-9)).all()
        torch.testing.assert_close(found, distances, rtol=0.01, atol=0)

    def test_saliency_is_the_weight_of_the_class(self, linear):
        model, x, c, _, nearest = linear
        w = model.weight.detach()
        result = BoundarySaliency(model).attribute(x, c)
        torch.testing.assert_close(result.flatten(1), w[c])
        margin = BoundarySaliency(model).attribute(x, c, score="margin")
        torch.testing.assert_close(margin.flatten(1), w[c] - w[nearest])

    def test_integrated_gradients_are_weight_times_difference(self, linear):
        model, x, c, _, nearest = linear
        w = model.weight.detach()
        way = (x - find_boundary(model, x, c).points).flatten(1)
        tolerance = {"rtol": 1e-5, "atol": 1e-8}  # Captum's step sizes are float32
        result = BoundaryIntegratedGradients(model).attribute(x, c)
        torch.testing.assert_close(result.flatten(1), way * w[c], **tolerance)
        margin = BoundaryIntegratedGradients(model).attribute(x, c, score="margin")
        torch.testing.assert_close(margin.flatten(1), way * (w[c] - w[nearest]), **tolerance)

    def test_inside_a_box_the_nearest_point_of_the_box_is_found(self, linear):
        """It is x + λ w, clamped, with the smallest λ that crosses."""
        low, high = 0.3, 0.7
        x = linear[1].clamp(low, high)
        model = Linear(classes=2, seed=3)
        with torch.no_grad():
            model.bias[:] = 0
            at_grey = model(torch.full((1, 120), 0.5, dtype=torch.float64))[0]
            model.bias[0] = 12 - (at_grey[0] - at_grey[1])
        c = decided(model, x)
        boundary = find_boundary(model, x, c, clip=(low, high))
        w = (model.weight[1 - c] - model.weight[c]).detach().reshape(x.shape)
        near, far = torch.zeros(6, 1, 1, 1).double(), torch.full((6, 1, 1, 1), 9.0).double()
        for _ in range(50):
            middle = (near + far) / 2
            crossed = (decided(model, (x + middle * w).clamp(low, high)) != c).reshape(-1, 1, 1, 1)
            near, far = torch.where(crossed, near, middle), torch.where(crossed, middle, far)
        nearest = ((x + far * w).clamp(low, high) - x).flatten(1).norm(dim=1)
        unbounded = find_boundary(model, x, c).distances
        assert (nearest > 1.05 * unbounded).any()  # the box matters
        torch.testing.assert_close(boundary.distances, nearest, rtol=2e-3, atol=0)


def test_the_spherical_boundary_is_met_at_the_foot_of_the_perpendicular():
    def ball(x):  # class 0 inside radius 1; smooth
        inside = 1 - x.square().sum(1)
        return torch.stack([inside, -inside], 1)

    x = 0.5 * nn.functional.normalize(torch.randn(4, 5, dtype=torch.float64))
    boundary = find_boundary(ball, x, 0)
    torch.testing.assert_close(
        boundary.distances, torch.full((4,), 0.5).double(), rtol=3e-4, atol=0
    )
    torch.testing.assert_close(boundary.points, 2 * x, rtol=1e-3, atol=1e-3)


# --------------------------------------------------------------------------------- oracle


def test_as_near_as_the_attacks_of_foolbox(monkeypatch):
    """On 16 digits and a trained network; theirs is the better of DeepFool and DDN on average."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        foolbox = pytest.importorskip("foolbox", exc_type=ImportError)
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from nearest_boundary import digits

    model, x, y = digits()
    c = decided(model, x)
    assert (c == y).float().mean() > 0.8
    for clip in ((0.0, 1.0), (-10.0, 11.0)):
        theirs = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adversary = foolbox.PyTorchModel(model, bounds=clip, device="cpu")
            for attack in (foolbox.attacks.L2DeepFoolAttack(), foolbox.attacks.DDNAttack()):
                _, found, crossed = attack(adversary, x, c, epsilons=None)
                assert crossed.all()
                theirs.append(float((found - x).flatten(1).norm(dim=1).mean()))
        ours = float(find_boundary(model, x, c, clip=clip).distances.mean())
        assert ours < 1.03 * min(theirs)
