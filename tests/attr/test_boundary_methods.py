"""Saliency and integrated gradients at the nearest boundary: Captum's, sums, bounds."""

import inspect

import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from classifiers import BOTH, decided, images
from helpers import Counting, tiny_cnn
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_spectral.attr import BoundaryIntegratedGradients, BoundarySaliency
from captum_spectral.boundary import Boundary, find_boundary


@BOTH
@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("given_points", [False, True])
def test_internal_batch_size_of_the_methods_bounds_all_rows(method, size, given_points):
    model, counting, x = tiny_cnn(1, seed=4), Counting(tiny_cnn(1, seed=4)), images(5)
    c = decided(model, x)
    points = find_boundary(model, x, c).points if given_points else None
    bounded = method(counting).attribute(x, c, points, internal_batch_size=size)
    # Captum's sum over steps depends on how they are batched, in float32.
    torch.testing.assert_close(bounded, method(model).attribute(x, c, points), rtol=1e-5, atol=1e-9)
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
    at_boundary = BoundarySaliency(model).attribute(x, c, points)
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


# --------------------------------------------------------------------------------- contract


@BOTH
class TestBothAreCaptumClasses:
    def test_signature(self, method):
        names = list(inspect.signature(method.attribute.__wrapped__).parameters)
        assert names[:5] == ["self", "inputs", "target", "baselines", "additional_forward_args"]
        assert list(inspect.signature(method.__init__).parameters) == ["self", "forward_func"]
        assert "generator" in names

    def test_small_print(self, method):
        explainer = method(tiny_cnn())
        integrates = method is BoundaryIntegratedGradients
        assert explainer.multiplies_by_inputs is integrates
        assert explainer.has_convergence_delta() is integrates
        assert explainer.get_name() == (
            "Boundary Integrated Gradients" if integrates else "Boundary Saliency"
        )
        with pytest.raises(NotImplementedError, match=method.__name__):
            explainer.attribute_future()

    def test_a_tuple_of_one_gives_a_tuple(self, method):
        model, x = tiny_cnn(1), images(3)
        c = decided(model, x)
        alone = method(model).attribute(x, c)
        (of_tuple,) = method(model).attribute((x,), c)
        assert torch.equal(of_tuple, alone)
        boundary = find_boundary(model, (x,), c)
        assert isinstance(boundary, Boundary)
        assert isinstance(boundary.points, tuple)
        (of_points,) = method(model).attribute((x,), c, boundary.points)
        assert torch.equal(of_points, alone)
        assert alone.is_contiguous()

    def test_targets_of_every_kind(self, method):
        model, x = tiny_cnn(1), images(3)
        c = decided(model, x)
        result = method(model).attribute(x, c)
        assert torch.equal(method(model).attribute(x, c.tolist()), result)
        for e in range(3):
            one = method(model).attribute(x[e : e + 1], torch.tensor([int(c[e])]))
            torch.testing.assert_close(one, result[e : e + 1], rtol=1e-6, atol=1e-10)

    @pytest.mark.parametrize("score", ["logit", "margin"])
    def test_additional_arguments_follow_their_examples(self, method, score):
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

    def test_nothing_is_left_changed(self, method):
        model, x = tiny_cnn(1), images(3).requires_grad_()
        before, c = x.detach().clone(), decided(model, x)
        state = torch.get_rng_state()
        method(model).attribute(x, c)
        with torch.no_grad():
            assert not method(model).attribute(x, c).requires_grad
        assert torch.equal(torch.get_rng_state(), state)
        assert x.requires_grad
        assert x.grad is None
        assert torch.equal(x, before)
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert not any(m.training or m._forward_hooks for m in model.modules())

    def test_data_parallel_equals_the_model(self, method):
        model, x = tiny_cnn(1), images(3)
        c = decided(model, x)
        wrapped = nn.DataParallel(model).eval()
        torch.testing.assert_close(method(wrapped).attribute(x, c), method(model).attribute(x, c))

    def test_a_model_in_training_mode_warns_once(self, method):
        model, x = nn.Sequential(tiny_cnn(1), nn.Dropout(0.0)), images(2)
        with pytest.warns(UserWarning, match="training mode") as warned:
            method(model).attribute(x, decided(model, x))
        assert len(warned) == 1
        assert model.training
