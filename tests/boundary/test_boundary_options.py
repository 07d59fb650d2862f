"""The box, restarts, refinement, progress, a search of your own."""

import io
from contextlib import redirect_stderr

import pytest
import torch
from captum.robust import PGD
from classifiers import BOTH, OR_NAN, SEARCHES, Linear, OnlySome, decided, images
from helpers import tiny_cnn
from torch import nn

from captum_spectral.attr import BoundaryIntegratedGradients, BoundarySaliency
from captum_spectral.boundary import BoundarySearch, find_boundary


@SEARCHES
def test_points_stay_inside_the_clip(search):
    model, x = tiny_cnn(3), images(3, 3)
    c = decided(model, x)
    low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
    kinds = [(low, high), (low.tolist(), high.tolist()), (low[:, None, None], 1.0), (0, 1)]
    for clip in kinds:
        points = find_boundary(
            model, x, c, method=search, clip=clip, radii=(1.0, 4.0, 16.0), on_missing="nan"
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
    together = find_boundary(model, x, c, method=search, clip=(x - width, x + width), **args)
    assert (together.points - x).abs().amax((1, 2, 3))[together.found].le(5).all()
    for e in range(4):
        alone = find_boundary(
            model,
            x[e : e + 1],
            c[e : e + 1],
            method=search,
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
    boundary = find_boundary(model, x, c, method=search, clip=(low, high), **args)
    assert boundary.found.any()
    assert torch.equal(boundary.points[boundary.found][..., 6:], x[boundary.found][..., 6:])
    assert not find_boundary(model, x, c, method=search, clip=(x, x), **args).found.any()


def test_an_infinite_bound_does_not_loosen_the_other_one():
    with pytest.raises(ValueError, match="inputs must lie inside"):
        find_boundary(tiny_cnn(1), images(3) - 0.1, 0, clip=(0, float("inf")))


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
        method(OnlySome()).attribute(x, 0, search=OR_NAN, show_progress=True)
    assert " attribution: 100%" in out.getvalue().strip().split("\r")[-1]


class TestASearchOfYourOwn:
    def test_candidates_are_bisected(self):
        model, x = Linear(), images(6)
        c = decided(model, x)
        exact = find_boundary(model, x, c)

        def far_beyond(inputs, target):
            assert torch.equal(target, c)
            return inputs + 7 * (exact.points - inputs)

        again = find_boundary(model, x, c, method=far_beyond, bisection_steps=20)
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

        found = find_boundary(model, x, c, method=some, on_missing="nan").found
        assert found.tolist() == [True, False, False, True, True, True]

    def test_it_needs_no_gradient_without_refinement(self):
        model, x = Linear(), images(3)
        c = decided(model, x)

        def no_graph(x):
            return model(x).detach()

        def search(inputs, target):
            return -20 * inputs

        assert find_boundary(
            no_graph, x, c, method=search, refinement_steps=0, on_missing="nan"
        ).found.any()
        with pytest.raises(ValueError, match="must be differentiable"):
            find_boundary(no_graph, x, c, method=search, on_missing="nan")

    @pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
    def test_captums_pgd(self):
        model, x = tiny_cnn(1), 4 * images(3)
        c = decided(model, x)
        attack = PGD(model, nn.CrossEntropyLoss(reduction="none"))

        def search(inputs, target):
            return attack.perturb(inputs, 20.0, 1.0, 20, target, norm="L2")

        boundary = find_boundary(model, x, c, method=search, on_missing="nan")
        assert boundary.found.any()
        with torch.no_grad():
            BoundarySaliency(model).attribute(x, c, search=BoundarySearch(search, on_missing="nan"))


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
        result = method(model).attribute(x, c, baselines=points)
        assert torch.equal(result, method(pure).attribute(x, c, baselines=points))
        assert torch.equal(points, boundary.points)
    assert torch.equal(x, before)
