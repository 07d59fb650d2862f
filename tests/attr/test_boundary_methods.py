"""Saliency and integrated gradients at the nearest boundary: Captum's, sums, bounds."""

import pytest
import torch
from captum.attr import GradientAttribution, IntegratedGradients, NoiseTunnel, Saliency
from classifiers import BOTH, decided, images
from configurations import CONFIGS, WithArgs, X, tuples
from contract import NOISE, AttributionContract, Complete, OfGradients
from helpers import Counting, tiny_cnn
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_spectral.attr import BoundaryIntegratedGradients, BoundarySaliency
from captum_spectral.boundary import BoundarySearch, find_boundary

# Only what a classifier predicts has a boundary around it: one class for all, or 4, 1 and 4.
ONE_CLASS, SOME_CLASSES = tiny_cnn(1), tiny_cnn(1, seed=4)
PREDICTED = {
    "int target": (ONE_CLASS, {"target": 2}),
    "list target": (SOME_CLASSES, {"target": [4, 1, 4]}),
    "tensor target": (SOME_CLASSES, {"target": torch.tensor([4, 1, 4])}),
    "one-element tensor target": (ONE_CLASS, {"target": torch.tensor([2])}),
    "additional arguments": (WithArgs(4), {"target": [4, 1, 4]}),
    "a tuple of one": (
        ONE_CLASS,
        {"target": 2, "baselines": find_boundary(ONE_CLASS, (X,), 2).points},
    ),
}
CONFIGS_OF_PREDICTIONS = [
    c._replace(model=PREDICTED[c.name][0], arguments={**c.arguments, **PREDICTED[c.name][1]})
    for c in CONFIGS
    if c.name in PREDICTED
]


class OfBoundaries(OfGradients):
    """Without ``baselines`` these methods search for boundary points."""

    kind = GradientAttribution
    bad_target = TypeError, r"target must name one class per example.*got \(0, 1, 2\)"

    def configs(self):
        return CONFIGS_OF_PREDICTIONS

    def seed(self, generator):
        return {"search": BoundarySearch(generator=generator)}

    def baselines(self, config):
        inputs, target = config.inputs, config.arguments["target"]
        more = config.arguments.get("additional_forward_args")
        points = find_boundary(config.model, inputs, target, additional_forward_args=more).points
        if tuples(points)[0].dtype == torch.float64:
            return points
        return inputs + 1.1 * (points - inputs)  # across in float64, too

    def given(self, config):
        return {"baselines": self.baselines(config), **super().given(config)}


class TestBoundarySaliency(OfBoundaries, AttributionContract):
    method = BoundarySaliency
    arguments = {"score": "margin"}
    rows = 1 + 1  # given points cost a row that checks them
    follows_inputs = False

    @NOISE
    def test_the_noise_does_not_reach_given_points(self, repeated, nt_type):
        (alone,) = tuples(self.run(repeated, **self.given(repeated)))
        result = NoiseTunnel(self.create(repeated.model)).attribute(
            repeated.inputs, nt_type=nt_type, nt_samples=2, stdevs=0.01, **self.given(repeated)
        )
        same = {"smoothgrad": alone, "smoothgrad_sq": alone.square(), "vargrad": 0 * alone}
        torch.testing.assert_close(tuples(result)[0], same[nt_type], rtol=1e-9, atol=1e-12)


class TestBoundaryIntegratedGradients(Complete, OfBoundaries, AttributionContract):
    method = BoundaryIntegratedGradients
    arguments = {"n_steps": 7}
    rows = 1 + 7
    largest_delta = 1e-3


@BOTH
@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("given_points", [False, True])
def test_internal_batch_size_of_the_methods_bounds_all_rows(method, size, given_points):
    model, counting, x = tiny_cnn(1, seed=4), Counting(tiny_cnn(1, seed=4)), images(5)
    c = decided(model, x)
    points = find_boundary(model, x, c).points if given_points else None
    bounded = method(counting).attribute(x, c, baselines=points, internal_batch_size=size)
    # Captum's sum over steps depends on how they are batched, in float32.
    torch.testing.assert_close(
        bounded, method(model).attribute(x, c, baselines=points), rtol=1e-5, atol=1e-9
    )
    assert max(shape[0] for shape in counting.shapes) <= size


@BOTH
@pytest.mark.parametrize("score", ["logit", "margin"])
def test_attributions_of_a_batch_equal_one_example_at_a_time(method, score):
    model, x = tiny_cnn(1), images(4)
    c = decided(model, x)
    together = method(model).attribute(x, c, score=score)
    for e in range(4):
        alone = method(model).attribute(x[e : e + 1], int(c[e]), score=score)
        torch.testing.assert_close(together[e : e + 1], alone, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("score", ["logit", "margin"])
def test_integrated_gradients_sum_to_the_difference_of_the_score(score):
    model, x = tiny_cnn(1), images(4)
    c = decided(model, x)
    boundary = find_boundary(model, x, c)
    result, delta = BoundaryIntegratedGradients(model).attribute(
        x, c, score=score, n_steps=200, return_convergence_delta=True
    )

    def value(z):
        f = model(z).detach()
        f_c = f.gather(1, c[:, None])[:, 0]
        return f_c - (score == "margin") * f.gather(1, boundary.classes[:, None])[:, 0]

    gain = value(x) - value(boundary.points)
    assert delta.shape == (4,)
    torch.testing.assert_close(result.flatten(1).sum(1), gain, rtol=0.01, atol=1e-5)
    torch.testing.assert_close(delta, result.flatten(1).sum(1) - gain, rtol=1e-5, atol=1e-9)
    if score == "logit":
        again = BoundaryIntegratedGradients(model).compute_convergence_delta(
            result, boundary.points, x, c
        )
        torch.testing.assert_close(again, delta)


def test_integrated_gradients_are_captums_with_the_points_as_baseline():
    model, x = tiny_cnn(1), images(3)
    c = decided(model, x)
    points = find_boundary(model, x, c).points
    options = {"n_steps": 7, "method": "riemann_middle", "internal_batch_size": 6}
    ours = BoundaryIntegratedGradients(model).attribute(x, c, **options)
    theirs = IntegratedGradients(model).attribute(x, points, c, **options)
    torch.testing.assert_close(ours, theirs)


def test_saliency_is_captums_at_the_points():
    model, x = tiny_cnn(1), images(3)
    c = decided(model, x)
    points = find_boundary(model, x, c).points.requires_grad_()
    theirs = Saliency(model).attribute(points, c, abs=False)
    torch.testing.assert_close(BoundarySaliency(model).attribute(x, c), theirs)


class Parabolas(nn.Module):
    """f_c = x A_c x + b_c x, whose gradients are L_c-Lipschitz."""

    def __init__(self, seed, curvature, isotropic=False, classes=3, size=6):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.a = torch.randn(classes, size, size, generator=generator, dtype=torch.float64)
        if isotropic:
            self.a = self.a[:, :1, :1] * torch.eye(size, dtype=torch.float64)
        self.a = curvature * self.a
        self.b = torch.randn(classes, size, generator=generator, dtype=torch.float64)
        self.eval()

    def forward(self, x):
        return torch.einsum("ri,cij,rj->rc", x, self.a, x) + x @ self.b.T

    def lipschitz(self, c):
        return torch.linalg.matrix_norm(self.a + self.a.mT, 2)[c]


def gap_and_distance(model, x):
    """How far apart saliency and boundary saliency are, where a boundary was found."""
    c = decided(model, x)
    boundary = find_boundary(model, x, c, on_missing="nan")
    x, c, points = x[boundary.found], c[boundary.found], boundary.points[boundary.found]
    at_x = Saliency(model).attribute(x.clone().requires_grad_(), c, abs=False)
    at_boundary = BoundarySaliency(model).attribute(x, c, baselines=points)
    return (at_x - at_boundary).norm(dim=1), boundary.distances[boundary.found], c


@given(seed=st.integers(0, 10_000), curvature=st.floats(0, 3), isotropic=st.booleans())
def test_the_gap_to_saliency_is_bounded_by_lipschitz_constant_and_distance(
    seed, curvature, isotropic
):
    """The bound of Wang et al.; with isotropic curvature it is met."""
    model = Parabolas(seed, curvature, isotropic)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gap, distance, c = gap_and_distance(model, x)
    bound = model.lipschitz(c) * distance
    assert (gap <= bound * (1 + 1e-9) + 1e-12).all()
    if isotropic:
        torch.testing.assert_close(gap, bound)


def test_a_smaller_lipschitz_constant_gives_a_smaller_gap():
    x = torch.randn(50, 6, dtype=torch.float64)
    means = []
    for curvature in (0, 0.01, 0.03, 0.1, 0.3):
        gap, distance, _ = gap_and_distance(Parabolas(0, curvature), x)
        assert len(distance) > 40
        means.append(float(gap.mean()))
    assert means == sorted(means)
    assert means[0] < 1e-12
    assert means[-1] > 10 * means[1]


@BOTH
@pytest.mark.parametrize("score", ["logit", "margin"])
def test_additional_arguments_follow_their_examples(method, score):
    body = tiny_cnn(1)

    def model(x, scale, table, power=1):
        assert table.shape == (7,)
        return body(x) * scale[:, None] ** power + table.sum()

    x, scale, table = images(3), torch.tensor([1.0, 2.0, 3.0]).double(), torch.arange(7.0)
    c = decided(body, x)
    args = (scale, table, 2)
    result = method(model).attribute(x, c, additional_forward_args=args, score=score)
    for e in range(3):
        own = (scale[e : e + 1], table, 2)
        alone = method(model).attribute(
            x[e : e + 1], int(c[e]), additional_forward_args=own, score=score
        )
        torch.testing.assert_close(result[e : e + 1], alone, rtol=1e-6, atol=1e-10)
