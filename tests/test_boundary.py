"""The nearest decision boundary, and attributions taken there."""

import inspect
import io
import warnings
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from captum.robust import PGD
from helpers import Counting, tiny_cnn
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_spectral.attr import BoundaryIntegratedGradients, BoundarySaliency
from captum_spectral.boundary import Boundary, BoundaryNotFoundError, find_boundary

BOTH = pytest.mark.parametrize("method", [BoundarySaliency, BoundaryIntegratedGradients])
SEARCHES = pytest.mark.parametrize("search", ["deepfool", "pgd"])


def images(n=3, channels=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, 10, 12, generator=generator, dtype=dtype)


def decided(model, x):
    with torch.no_grad():
        return model(x).argmax(1)


class Linear(nn.Module):
    """f = W x + b on images, in float64."""

    def __init__(self, classes=4, size=120, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(
            torch.randn(classes, size, generator=generator, dtype=torch.float64)
        )
        self.bias = nn.Parameter(torch.randn(classes, generator=generator, dtype=torch.float64))
        self.eval()

    def forward(self, x):
        return x.flatten(1) @ self.weight.T + self.bias


class Constant(nn.Module):
    """Class 0, whatever the input."""

    def __init__(self):
        super().__init__()
        self.eval()

    def forward(self, x):
        zero = 0 * x.flatten(1).sum(1)
        return torch.stack([zero + 1, zero], 1)


class OnlySome(nn.Module):
    """Examples whose first pixel is below 0 have no boundary, the others a near one."""

    def __init__(self):
        super().__init__()
        self.eval()

    def forward(self, x):
        rest = x.flatten(1)[:, 1:].sum(1) * (x.flatten(1)[:, 0].detach() > 0)
        return torch.stack([rest, 0 * rest - 1], 1)


# --------------------------------------------------------------------------------- exactness


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
        found = find_boundary(model, x, c, "pgd", radii=(0.1, 0.3, 1.0, 3.0)).distances
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


# --------------------------------------------------------------------------------- any model


@SEARCHES
@given(
    seed=st.integers(0, 1000),
    channels=st.sampled_from([1, 3]),
    clip=st.booleans(),
    restarts=st.sampled_from([0, 1]),
)
def test_every_point_is_taken_for_the_other_class_that_is_named(
    search, seed, channels, clip, restarts
):
    model = tiny_cnn(channels, seed=seed)
    x = images(3, channels, seed)
    c = decided(model, x)
    boundary = find_boundary(
        model,
        x,
        c,
        search,
        clip=(0, 1) if clip else None,
        num_restarts=restarts,
        generator=torch.Generator().manual_seed(seed),
        radii=(0.1, 1.0, 10.0),
        max_steps=10,
        on_missing="nan",
    )
    found = boundary.found
    predicted = decided(model, boundary.points[found])
    assert (predicted != c[found]).all()
    assert torch.equal(predicted, boundary.classes[found])
    way = (boundary.points - x).flatten(1).norm(dim=1)
    torch.testing.assert_close(way[found], boundary.distances[found])
    # A small step back towards x is on the near side: the boundary, not a point behind it.
    back = (x + (1 - 2**-10) * (boundary.points - x))[found]
    assert torch.equal(decided(model, back), c[found])
    assert boundary.points[~found].isnan().all()
    assert boundary.distances[~found].isinf().all()
    assert (boundary.classes[~found] == -1).all()


@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["smooth", "kinked", "steep", "many crossings", "a step"]),
    parts=st.integers(0, 14),
)
def test_the_crossing_is_located_to_a_part_of_the_way_in_few_rows(seed, kind, parts):
    """The part whose far end is across and whose near end is not, as halving would find one."""
    shape = {
        "smooth": torch.tanh,
        "kinked": lambda z: torch.where(z > 0, 100 * z, z),
        "steep": lambda z: torch.atan(1e4 * z) + 1e-3 * z,
        "many crossings": lambda z: z + 3 * torch.sin(20 * z),
        "a step": torch.sign,
    }[kind]

    def forward(x):
        rows.append(len(x))
        value = shape(x.sum(1) - threshold)
        return torch.stack([-value, value], 1)

    rows = []
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    threshold = torch.randn(1, generator=generator).double()
    x = x[decided(forward, x) == 0]
    ends = x + 3 * torch.rand(len(x), 3, generator=generator, dtype=torch.float64)
    across = decided(forward, ends) == 1
    x, ends = x[across], ends[across]
    if not len(x):
        return
    rows.clear()
    points = find_boundary(
        forward, x, 0, lambda x, c: ends, bisection_steps=parts, refinement_steps=0
    ).points
    assert sum(rows) <= len(x) * (1 + 1 + parts + 3)
    way = ends - x
    at = ((points - x) / way)[:, 0] * 2**parts
    torch.testing.assert_close(at, at.round(), rtol=0, atol=1e-6)
    assert (at.round() >= 1).all()
    assert (decided(forward, x + (at.round() - 1)[:, None] / 2**parts * way) == 0).all()
    assert (decided(forward, points) == 1).all()


@SEARCHES
@pytest.mark.parametrize("clip", [None, (0, 1), (images(5) - 0.1, images(5) + 0.3)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_internal_batch_size_bounds_the_rows_and_changes_nothing_else(search, clip, size):
    x, weights = images(5), torch.linspace(1, 2, 5).double()
    counting, body = Counting(tiny_cnn(1, seed=4)), tiny_cnn(1, seed=4)
    c = decided(body, x)
    args = {"num_restarts": 2, "radii": (1.0, 4.0, 16.0), "clip": clip, "on_missing": "nan"}

    def run(model, **more):
        generator = torch.Generator().manual_seed(5)
        result = find_boundary(
            lambda x, w: model(x) * w[:, None],
            x,
            c,
            search,
            generator=generator,
            additional_forward_args=weights,
            **args,
            **more,
        )
        return *result, generator.get_state()

    whole = run(body)
    for a, b in zip(run(counting, internal_batch_size=size), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert max(shape[0] for shape in counting.shapes) == min(size, 5)


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


@SEARCHES
def test_a_batch_equals_one_example_at_a_time(search):
    model, x = tiny_cnn(1), images(4)
    c = decided(model, x)
    args = {"num_restarts": 1, "radii": (1.0, 4.0, 16.0)}

    def run(x, c):
        return find_boundary(
            model, x, c, search, generator=torch.Generator().manual_seed(5), **args
        )

    together = run(x, c)
    for e in range(4):
        alone = run(x[e : e + 1], c[e : e + 1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[e : e + 1], b, rtol=1e-9, atol=1e-12)


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


# --------------------------------------------------------------------------------- missing


@SEARCHES
class TestAMissingBoundaryIsNeverSilent:
    def test_a_constant_model_raises_and_lists_the_examples(self, search):
        with pytest.raises(RuntimeError, match=r"no decision boundary .* examples \[0, 1, 2\]"):
            find_boundary(Constant(), images(3), 0, search, num_restarts=1)

    def test_or_gives_nan(self, search):
        x = images(3)
        x[1, 0, 0, 0] = -1
        boundary = find_boundary(
            OnlySome(), x, 0, search, radii=(1.0, 8.0), on_missing="nan", num_restarts=1
        )
        assert boundary.found.tolist() == [True, False, True]
        assert boundary.points[1].isnan().all()
        assert boundary.points[[0, 2]].isfinite().all()
        assert boundary.distances[1] == torch.inf
        assert boundary.classes.tolist() == [1, -1, 1]
        with pytest.raises(BoundaryNotFoundError, match=r"\[1\].*num_restarts.*radii") as error:
            find_boundary(OnlySome(), x, 0, search, radii=(1.0, 8.0))
        assert error.value.examples == [1]
        assert error.value.boundary.found.tolist() == [True, False, True]  # nothing is lost

    @BOTH
    def test_attributions_of_missing_examples_are_nan(self, search, method):
        x = images(3)
        x[1, 0, 0, 0] = -1
        points = find_boundary(OnlySome(), x, 0, search, radii=(8.0,), on_missing="nan").points
        given = method(OnlySome()).attribute(x, 0, points, on_missing="nan")
        assert given.flatten(1).isnan().all(1).tolist() == [False, True, False]
        assert given[[0, 2]].isfinite().all()
        with pytest.raises(BoundaryNotFoundError, match=r"\[1\]"):
            method(OnlySome()).attribute(x, 0, points)
        if search == "deepfool":
            searched = method(OnlySome()).attribute(x, 0, on_missing="nan")
            torch.testing.assert_close(searched, given, equal_nan=True)
            with pytest.raises(BoundaryNotFoundError, match=r"\[1\]"):
                method(OnlySome()).attribute(x, 0)


@BOTH
def test_when_all_are_missing_all_is_nan(method):
    result = method(Constant()).attribute(images(2), 0, on_missing="nan")
    assert result.isnan().all()


def test_deltas_of_missing_examples_are_nan():
    x = images(3)
    x[1, 0, 0, 0] = -1
    _, delta = BoundaryIntegratedGradients(OnlySome()).attribute(
        x, 0, on_missing="nan", return_convergence_delta=True
    )
    assert delta.isnan().tolist() == [False, True, False]


# --------------------------------------------------------------------------------- options


@SEARCHES
def test_points_stay_inside_the_clip(search):
    model, x = tiny_cnn(3), images(3, 3)
    c = decided(model, x)
    low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
    kinds = [(low, high), (low.tolist(), high.tolist()), (low[:, None, None], 1.0), (0, 1)]
    for clip in kinds:
        points = find_boundary(
            model, x, c, search, clip=clip, radii=(1.0, 4.0, 16.0), on_missing="nan"
        ).points
        lo, hi = (torch.as_tensor(b, dtype=x.dtype).reshape(-1, 1, 1) for b in clip)
        inside = points.isnan() | ((points >= lo) & (points <= hi))
        assert inside.all()
        assert points.isfinite().any()


@SEARCHES
def test_every_example_may_have_its_own_clip(search):
    model, x = tiny_cnn(1, seed=4), images(4)
    c = decided(model, x)
    width = torch.tensor([0.2, 0.4, 5.0, 5.0]).double().reshape(4, 1, 1, 1)
    args = {"radii": (1.0, 4.0, 16.0), "on_missing": "nan"}
    together = find_boundary(model, x, c, search, clip=(x - width, x + width), **args)
    assert (together.points - x).abs().amax((1, 2, 3))[together.found].le(5).all()
    for e in range(4):
        alone = find_boundary(
            model,
            x[e : e + 1],
            c[e : e + 1],
            search,
            clip=tuple(float(w) * s + x[e : e + 1] for w, s in ((width[e], -1), (width[e], 1))),
            **args,
        )
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[e : e + 1], b, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_rounds_to_no_point_outside_the_clip_or_on_the_near_side(dtype):
    model = tiny_cnn(3, dtype=dtype)
    x = images(3, 3).to(dtype)
    c = decided(model, x)
    boundary = find_boundary(model, x, c, clip=(-0.0013, 1.0003), on_missing="nan")
    assert boundary.found.any()
    assert boundary.points.dtype == dtype
    assert boundary.distances.dtype == torch.float32
    points = boundary.points[boundary.found]
    assert (decided(model, points) != c[boundary.found]).all()
    assert points.min() >= torch.tensor(-0.0013).to(dtype)
    assert points.max() <= torch.tensor(1.0003).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_normalised_black_and_white_lie_inside_the_normalised_range(dtype):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    low, high = -mean.double() / std.double(), (1 - mean.double()) / std.double()
    pixels = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 10, 12)
    given = torch.float32 if dtype == torch.float64 else dtype  # in float64 is what was float32
    mean, std = (s.to(given).reshape(3, 1, 1) for s in (mean, std))
    x = ((pixels.to(given) - mean) / std).to(dtype)
    model = tiny_cnn(3, dtype=dtype)
    c = decided(model, x)
    points = find_boundary(model, x, c, clip=(low, high), on_missing="nan").points
    lo, hi = (s.to(dtype).reshape(3, 1, 1) for s in (low, high))
    assert (points.isnan() | ((points >= lo) & (points <= hi))).all()
    with pytest.raises(ValueError, match="inputs must lie inside clip"):
        find_boundary(model, 1.2 * x, c, clip=(low, high))


@SEARCHES
def test_pixels_whose_bounds_are_equal_keep_their_value(search):
    model, x = tiny_cnn(1, seed=4), images(3)
    c = decided(model, x)
    low, high = x.clone(), x.clone()
    low[..., :6], high[..., :6] = -9, 9
    args = {"radii": (1.0, 4.0, 16.0), "on_missing": "nan"}
    boundary = find_boundary(model, x, c, search, clip=(low, high), **args)
    assert boundary.found.any()
    assert torch.equal(boundary.points[boundary.found][..., 6:], x[boundary.found][..., 6:])
    assert not find_boundary(model, x, c, search, clip=(x, x), **args).found.any()


def test_an_infinite_bound_does_not_loosen_the_other_one():
    with pytest.raises(ValueError, match="inputs must lie inside"):
        find_boundary(tiny_cnn(1), X - 0.1, 0, clip=(0, float("inf")))


def test_restarts_never_give_a_larger_distance_and_sometimes_a_smaller_one():
    def crinkled(x):
        value = 2 + torch.sin(5 * x).sum(1) - x.square().sum(1)
        return torch.stack([value, -value], 1)

    x = 0.4 * torch.randn(20, 3, dtype=torch.float64)
    x = x[decided(crinkled, x) == 0]
    before = find_boundary(crinkled, x, 0).distances
    first = before
    for restarts in (1, 2, 4):
        generator = torch.Generator().manual_seed(0)
        now = find_boundary(crinkled, x, 0, num_restarts=restarts, generator=generator).distances
        assert (now <= before).all()
        before = now
    assert (before < first).any()


def test_a_seed_reproduces_and_without_restarts_nothing_is_drawn():
    model, x = tiny_cnn(1), images(3)
    c = decided(model, x)

    def run(seed, restarts):
        generator = torch.Generator().manual_seed(seed)
        result = find_boundary(model, x, c, num_restarts=restarts, generator=generator)
        return result.points, generator.get_state()

    points, state = run(3, 2)
    assert torch.equal(points, run(3, 2)[0])
    assert torch.equal(state, run(3, 2)[1])
    fresh = torch.Generator().manual_seed(3).get_state()
    assert not torch.equal(state, fresh)
    assert torch.equal(run(3, 0)[1], fresh)
    torch.manual_seed(3)
    assert torch.equal(points, find_boundary(model, x, c, num_restarts=2).points)


def test_refinement_only_comes_closer():
    model, x = tiny_cnn(1, seed=2), images(8)
    c = decided(model, x)
    distances = [
        find_boundary(model, x, c, refinement_steps=n, overshoot=0.3).distances for n in (0, 1, 4)
    ]
    assert (distances[1] <= distances[0]).all()
    assert (distances[2] <= distances[1]).all()
    assert distances[1].mean() < distances[0].mean()


@pytest.mark.parametrize("size", [None, 2])
def test_the_progress_bar_counts_stages_of_examples(size, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    model, x = tiny_cnn(1), images(3)
    c = decided(model, x)

    def shown(run):
        with redirect_stderr(io.StringIO()) as out:
            run(internal_batch_size=size, show_progress=True)
        return out.getvalue().strip().split("\r")

    bars = shown(lambda **more: find_boundary(model, x, c, num_restarts=1, **more))
    assert bars[-1].startswith("Boundary search: 100%")
    assert f"{3 * 2 * 3}/{3 * 2 * 3}" in bars[-1]
    bars = shown(lambda **more: BoundarySaliency(model).attribute(x, c, **more))
    assert bars[-1].startswith("Boundary Saliency attribution: 100%")
    assert f"{3 * 4}/{3 * 4}" in bars[-1]
    with redirect_stderr(io.StringIO()) as out:
        find_boundary(model, x, c)
    assert out.getvalue() == ""


@BOTH
def test_the_bar_ends_at_100_percent_without_the_missing_examples(method):
    x = images(3)
    x[1, 0, 0, 0] = -1
    with redirect_stderr(io.StringIO()) as out:
        method(OnlySome()).attribute(x, 0, on_missing="nan", show_progress=True)
    assert " attribution: 100%" in out.getvalue().strip().split("\r")[-1]


class TestASearchOfYourOwn:
    def test_candidates_are_bisected(self):
        model, x = Linear(), images(6)
        c = decided(model, x)
        exact = find_boundary(model, x, c)

        def far_beyond(inputs, target):
            assert torch.equal(target, c)
            return inputs + 7 * (exact.points - inputs)

        again = find_boundary(model, x, c, far_beyond, bisection_steps=20)
        torch.testing.assert_close(again.distances, exact.distances, rtol=1e-3, atol=0)

    def test_candidates_that_did_not_cross_or_are_not_finite_are_missing(self):
        model, x = Linear(), images(6)
        c = decided(model, x)
        points = find_boundary(model, x, c).points

        def some(inputs, target):
            candidates = points.clone()
            candidates[1] = inputs[1]
            candidates[2] = torch.nan
            return candidates

        found = find_boundary(model, x, c, some, on_missing="nan").found
        assert found.tolist() == [True, False, False, True, True, True]

    def test_it_needs_no_gradient_without_refinement(self):
        model, x = Linear(), images(3)
        c = decided(model, x)

        def no_graph(x):
            return model(x).detach()

        def search(inputs, target):
            return -20 * inputs

        assert find_boundary(
            no_graph, x, c, search, refinement_steps=0, on_missing="nan"
        ).found.any()
        with pytest.raises(ValueError, match="must be differentiable"):
            find_boundary(no_graph, x, c, search, on_missing="nan")

    @pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
    def test_captums_pgd(self):
        model, x = tiny_cnn(1), 4 * images(3)
        c = decided(model, x)
        attack = PGD(model, nn.CrossEntropyLoss(reduction="none"))

        def search(inputs, target):
            return attack.perturb(inputs, 20.0, 1.0, 20, target, norm="L2")

        boundary = find_boundary(model, x, c, search, on_missing="nan")
        assert boundary.found.any()
        with torch.no_grad():
            BoundarySaliency(model).attribute(x, c, search=search, on_missing="nan")


class InPlace(nn.Module):
    """Normalises its input in place."""

    def __init__(self):
        super().__init__()
        self.body = tiny_cnn(1)
        self.eval()

    def forward(self, x):
        return self.body(x.sub_(0.5).div_(0.2))


def test_a_model_that_works_in_place_changes_nothing():
    body, model, x = tiny_cnn(1), InPlace(), images(3)
    before = x.clone()

    def pure(x):
        return body((x - 0.5) / 0.2)

    c = decided(pure, x)
    boundary = find_boundary(model, x, c)
    for a, b in zip(boundary, find_boundary(pure, x, c), strict=True):
        assert torch.equal(a, b)
    for method in (BoundarySaliency, BoundaryIntegratedGradients):
        points = boundary.points.clone()
        assert torch.equal(method(model).attribute(x, c), method(pure).attribute(x, c))
        result = method(model).attribute(x, c, points)
        assert torch.equal(result, method(pure).attribute(x, c, points))
        assert torch.equal(points, boundary.points)
    assert torch.equal(x, before)


# --------------------------------------------------------------------------------- cost


class TestCost:
    def test_a_linear_model_costs_what_is_documented(self):
        model, x = Counting(Linear()), images(6)
        c = decided(model.model, x)
        find_boundary(model, x, c, refinement_steps=0)
        assert model.rows == 6 * (1 + (3 + 1) + 1 + 2)
        model.rows = 0
        find_boundary(model, x, c)
        assert 6 * (8 + 2) <= model.rows <= 6 * (8 + 2 + 2)

    @pytest.mark.parametrize("seed", [0, 4])
    def test_by_default_about_eight_rows_beside_the_steps(self, seed):
        model, x = Counting(tiny_cnn(1, seed=seed)), images(20)
        c = decided(model.model, x)
        find_boundary(model, x, c, bisection_steps=0, refinement_steps=0)
        steps = model.rows - 20 * (1 + 1 + 1)  # the decision, the end of the search, the candidate
        model.rows = 0
        find_boundary(model, x, c)
        assert 20 * 6 <= model.rows - steps <= 20 * 9

    def test_examples_that_are_done_cost_no_further_forward_rows(self):
        def model(x, flat):  # DeepFool jumps across the steep boundary of the others at once
            rows.append(len(x))
            value = torch.where(flat, x.sum(1) + 1, 2.5 + torch.atan(20 * x).sum(1))
            return torch.stack([value, -value], 1)

        rows = []
        x = torch.full((3, 2), 0.5, dtype=torch.float64)
        flat = torch.tensor([True, False, False])
        find_boundary(model, x, 0, additional_forward_args=flat, refinement_steps=0)
        assert rows[:6] == [3, *[3, 3, 1, 1], 3]
        trials = rows[6:]
        assert trials == sorted(trials, reverse=True)
        assert trials[0] == 3
        assert min(trials) < 3
        assert len(trials) <= 12 + 3

    def test_a_start_that_the_box_lets_go_nowhere_is_given_up_at_once(self):
        def model(x):
            rows.append(len(x))
            value = 1 + x.sum(1)
            return torch.stack([value, -value, -2 * value], 1)

        rows = []
        boundary = find_boundary(model, torch.zeros(2, 4), 0, clip=(0, 1), on_missing="nan")
        assert not boundary.found.any()
        assert rows == [2, 2, 2]

    def test_the_sweep_leaves_out_those_that_crossed(self):
        model, x = Counting(Linear()), images(6)
        c = decided(model.model, x)
        find_boundary(model, x, c, "pgd", radii=(0.3, 3.0), refinement_steps=0)
        rows = [shape[0] for shape in model.shapes]
        assert min(rows[1:]) < 6
        assert sum(rows) < 6 * (1 + 2 * 41)

    @BOTH
    @pytest.mark.parametrize("num_examples", [1, 3])
    def test_noise_tunnel_does_not_search_again_with_given_points(self, method, num_examples):
        model, x = tiny_cnn(1), images(num_examples)
        c = decided(model, x)
        points = find_boundary(model, x, c).points
        counting = Counting(model)
        result = NoiseTunnel(method(counting)).attribute(
            x, nt_samples=4, stdevs=0.01, target=c, baselines=points
        )
        own = 1 if method is BoundarySaliency else 50
        assert counting.rows == 4 * num_examples * (1 + own)
        assert result.shape == x.shape
        searching = Counting(model)
        torch.manual_seed(1)
        NoiseTunnel(method(searching)).attribute(x, nt_samples=4, stdevs=1e-4, target=c)
        assert searching.rows > counting.rows

    def test_noise_tunnel_with_delta(self):
        model, x = tiny_cnn(1), images(3)
        c = decided(model, x)
        _, delta = NoiseTunnel(BoundaryIntegratedGradients(model)).attribute(
            x,
            nt_samples=2,
            stdevs=0.01,
            target=c,
            baselines=find_boundary(model, x, c).points,
            return_convergence_delta=True,
        )
        assert delta.shape == (6,)
        assert delta.abs().max() < 0.01


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


# --------------------------------------------------------------------------------- bad input


X = images(3)
NAN = X.clone()
NAN[1, 0, 3, 4:6] = float("nan")

BEFORE_ANY_FORWARD = [
    ({"inputs": X.long()}, TypeError, r"inputs must be a real floating .*int64.*\.float\(\)"),
    ({"inputs": NAN}, ValueError, "inputs must be finite: example 1 holds 2 NaN"),
    ({"inputs": (X, X)}, ValueError, "inputs must be one tensor.*got a tuple of 2"),
    ({"inputs": [X]}, TypeError, "inputs must be a torch.Tensor"),
    ({"target": None}, TypeError, r"target must name one class per example.*got None.*argmax\(1\)"),
    ({"target": (0, 1)}, TypeError, r"target must name one class.*got \(0, 1\)"),
    ({"target": torch.rand(3)}, TypeError, r"got torch.float32 \(3,\)"),
    ({"target": [0.0, 1, 2]}, TypeError, "target must name one class"),
    ({"target": torch.zeros(3, 2).long()}, TypeError, r"got torch.int64 \(3, 2\)"),
    ({"target": [0, 1]}, ValueError, "target has 2 entries for 3 examples"),
    ({"target": -1}, ValueError, "count classes from 0, got -1"),
    ({"clip": 1.0}, TypeError, r"clip must be None or a pair \(low, high\), got 1.0"),
    ({"clip": (1, 0)}, ValueError, r"low <= high everywhere, got \(1, 0\)"),
    ({"clip": (0, [1, 1])}, ValueError, r"broadcast to the inputs of shape .*got shape \(2,\)"),
    ({"clip": (0.5, 1)}, ValueError, r"inputs must lie inside clip=\(0.5, 1\).*0 \(.*1 \(.*2 \("),
    ({"clip": (0, float("nan"))}, ValueError, "low <= high everywhere"),
    ({"internal_batch_size": 0}, ValueError, "internal_batch_size must be at least 1, got 0"),
    ({"internal_batch_size": 2.0}, TypeError, "internal_batch_size must be an integer or None"),
    ({"num_restarts": -1}, ValueError, "num_restarts must be at least 0, got -1"),
    ({"num_restarts": 1.5}, TypeError, "num_restarts must be an integer"),
    ({"on_missing": "ignore"}, ValueError, 'on_missing must be "raise" or "nan", got \'ignore\''),
]
OF_THE_SEARCH = [
    ({"method": "fgsm"}, TypeError, 'method must be "deepfool", "pgd" or a function.*fgsm'),
    ({"num_candidates": 0}, ValueError, "num_candidates must be at least 1"),
    ({"max_steps": 0}, ValueError, "max_steps must be at least 1"),
    ({"bisection_steps": -1}, ValueError, "bisection_steps must be at least 0"),
    ({"bisection_steps": 51}, ValueError, "bisection_steps must be at most 50.*got 51"),
    ({"refinement_steps": -1}, ValueError, "refinement_steps must be at least 0"),
    ({"overshoot": 0}, ValueError, "overshoot must be positive, got 0"),
    ({"radii": ()}, ValueError, "radii must be one or more positive numbers"),
    ({"radii": (1, -1)}, ValueError, "radii must be one or more positive numbers"),
]
OF_THE_ATTRIBUTION = [
    ({"score": "probability"}, ValueError, 'score must be "logit" or "margin", got \'prob'),
    ({"baselines": 0}, TypeError, "baselines must be boundary points.*got int"),
    ({"baselines": X[:2]}, ValueError, r"baselines of shape \(2, 1, 10, 12\) must have the shape"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BEFORE_ANY_FORWARD + OF_THE_SEARCH)
def test_bad_input_of_the_search_before_any_forward_pass(arguments, error, message):
    model = Counting(tiny_cnn(1))
    with pytest.raises(error, match=message):
        find_boundary(model, **{"inputs": X, "target": 0, **arguments})
    assert model.calls == 0


@BOTH
@pytest.mark.parametrize(("arguments", "error", "message"), BEFORE_ANY_FORWARD + OF_THE_ATTRIBUTION)
def test_bad_input_of_the_methods_before_any_forward_pass(method, arguments, error, message):
    model = Counting(tiny_cnn(1))
    with pytest.raises(error, match=message):
        method(model).attribute(**{"inputs": X, "target": 0, **arguments})
    assert model.calls == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        ({"n_steps": 2.5}, TypeError, "n_steps must be an integer or None, got 2.5"),
        ({"n_steps": None}, TypeError, "n_steps must be an integer, got None"),
        ({"method": "simpson"}, ValueError, "method must be one of .*gausslegendre.*got 'simpson'"),
    ],
)
def test_bad_input_of_the_quadrature_before_the_search(arguments, error, message):
    model = Counting(tiny_cnn(1))
    with pytest.raises(error, match=message):
        BoundaryIntegratedGradients(model).attribute(X, 0, **arguments)
    assert model.calls == 0


@pytest.mark.parametrize(
    "quadrature",
    ["riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid", "gausslegendre"],
)
def test_every_quadrature_of_captum(quadrature):
    model, x = tiny_cnn(1), images(2)
    _, delta = BoundaryIntegratedGradients(model).attribute(
        x, decided(model, x), method=quadrature, return_convergence_delta=True
    )
    assert delta.abs().max() < 0.01


@BOTH
def test_a_target_that_is_not_predicted_names_the_examples(method):
    model = tiny_cnn(1)
    c = decided(model, X)
    wrong = c.clone()
    wrong[1] = (c[1] + 1) % 5
    listed = rf"examples 1 \(target {int(wrong[1])}, predicted {int(c[1])}\); use.*argmax\(1\)"
    with pytest.raises(ValueError, match=listed):
        method(model).attribute(X, wrong)
    with pytest.raises(ValueError, match=listed):
        find_boundary(model, X, wrong)


@BOTH
def test_points_that_are_not_across_are_refused(method):
    model = tiny_cnn(1)
    c = decided(model, X)
    points = find_boundary(model, X, c).points
    points[2] = X[2]
    with pytest.raises(ValueError, match=r"takes for another class than target.*examples \[2\]"):
        method(model).attribute(X, c, points)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_offset_of_the_outputs_does_not_blur_which_points_are_across(method, dtype):
    body, x = tiny_cnn(1, dtype=dtype), X.to(dtype)
    c = decided(body, x)

    def model(x):
        return body(x) + 1e4

    with pytest.raises(ValueError, match=r"are not for the examples \[0, 1, 2\]"):
        method(model).attribute(x, c, x)
    points = find_boundary(model, x, c).points
    assert method(model).attribute(x, c, points).isfinite().all()


@BOTH
class TestWithGivenPoints:
    def test_the_target_need_not_be_predicted(self, method):
        model = tiny_cnn(1)
        points = find_boundary(model, X, decided(model, X)).points
        other = decided(model, points)  # not the class of X
        assert method(model).attribute(X, other, X.clone()).isfinite().all()

    def test_clip_is_ignored_but_for_its_form(self, method):
        model = tiny_cnn(1)
        c = decided(model, X)
        points = find_boundary(model, X, c).points
        expected = method(model).attribute(X, c, points)
        for clip in ((5, 6), (X, X + 1)):
            assert torch.equal(method(model).attribute(X, c, points, clip=clip), expected)
        NoiseTunnel(method(model)).attribute(
            X, nt_samples=2, target=c, baselines=points, clip=(X, X + 1)
        )
        for clip, error in ((1.0, TypeError), ((1, 0), ValueError), ((0, [1, 1]), ValueError)):
            with pytest.raises(error, match="clip must"):
                method(model).attribute(X, c, points, clip=clip)


@BOTH
@pytest.mark.parametrize("score", ["logit", "margin"])
@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_model_that_detaches_the_graph(method, kind, score):
    body = tiny_cnn(1)

    def model(x):
        return body(x.detach()) if kind == "input" else body(x).detach()

    c = decided(body, X)
    points = find_boundary(body, X, c).points
    message = "forward_func must be differentiable.*no gradient.*detach"
    for baselines in (None, points):
        with pytest.raises(ValueError, match=message):
            method(model).attribute(X, c, baselines, score=score)
    with pytest.raises(ValueError, match=message):
        find_boundary(model, X, c, "pgd")
    assert all(p.grad is None for p in body.parameters())


@pytest.mark.parametrize(
    ("forward", "target", "error", "message"),
    [
        (lambda x: x.sum(), 0, ValueError, r"return \(B, classes\).*got shape \(\) for 3"),
        (lambda x: x.flatten(1)[:, 0], 0, ValueError, r"got shape \(3,\) for 3 examples"),
        (lambda x: x.flatten(1)[:, :1], 0, ValueError, r"at least two classes.*shape \(3, 1\)"),
        (lambda x: x.flatten(1)[:2], 0, ValueError, r"one row per example, got shape \(2, 120\)"),
        (lambda x: x, 0, ValueError, r"got shape \(3, 1, 10, 12\)"),
        (lambda x: 1.0, 0, TypeError, r"floating tensor \(B, classes\), got float"),
        (lambda x: x.flatten(1).long(), 0, TypeError, "got torch.int64"),
        (lambda x: x.flatten(1), 500, ValueError, r"target 500 does not exist.*0\.\.119"),
        (lambda x: x.flatten(1) / 0, 0, ValueError, r"not finite .* examples \[0, 1, 2\]"),
    ],
)
def test_outputs_that_are_no_classes(forward, target, error, message):
    with pytest.raises(error, match=message):
        find_boundary(forward, X, target)
    for method in (BoundarySaliency, BoundaryIntegratedGradients):
        with pytest.raises(error, match=message):
            method(forward).attribute(X, target)


@pytest.mark.parametrize(
    ("search", "error", "message"),
    [
        (lambda x, c: None, TypeError, "method must return a torch.Tensor, got NoneType"),
        (lambda x, c: x[:1], ValueError, r"one point per example, \(3, 1, 10, 12\), got shape"),
    ],
)
def test_a_search_that_returns_no_points(search, error, message):
    model = tiny_cnn(1)
    with pytest.raises(error, match=message):
        find_boundary(model, X, decided(model, X), search)


def test_a_model_that_overflows_on_the_way_is_missing_not_nan():
    def fragile(x):
        value = x.flatten(1).sum(1)
        value = torch.where(value < 10, torch.nan, value)
        return torch.stack([value, 0 * value], 1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boundary = find_boundary(fragile, X, 0, on_missing="nan")
    assert not boundary.found.any()


# --------------------------------------------------------------------------------- oracle


def test_as_near_as_the_attacks_of_foolbox(monkeypatch):
    """On 16 digits and a trained network; theirs is the better of DeepFool and DDN on average."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        foolbox = pytest.importorskip("foolbox", exc_type=ImportError)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
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
