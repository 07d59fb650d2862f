"""The nearest decision boundary of any model: what a found point promises, and what it costs."""

import pytest
import torch
from captum.attr import NoiseTunnel
from classifiers import BOTH, OR_NAN, SEARCHES, Constant, Linear, OnlySome, decided, images
from helpers import Counting, tiny_cnn
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral.attr import BoundaryIntegratedGradients, BoundarySaliency
from captum_spectral.boundary import Boundary, BoundaryNotFoundError, find_boundary


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
        method=search,
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
        forward, x, 0, method=lambda x, c: ends, bisection_steps=parts, refinement_steps=0
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
            method=search,
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


@SEARCHES
def test_a_batch_equals_one_example_at_a_time(search):
    model, x = tiny_cnn(1), images(4)
    c = decided(model, x)
    args = {"num_restarts": 1, "radii": (1.0, 4.0, 16.0)}

    def run(x, c):
        return find_boundary(
            model, x, c, method=search, generator=torch.Generator().manual_seed(5), **args
        )

    together = run(x, c)
    for e in range(4):
        alone = run(x[e : e + 1], c[e : e + 1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[e : e + 1], b, rtol=1e-9, atol=1e-12)


def test_a_tuple_of_one_gives_a_tuple_of_points():
    model, x = tiny_cnn(1), images(3)
    c = decided(model, x)
    alone, boundary = find_boundary(model, x, c), find_boundary(model, (x,), c)
    assert isinstance(boundary, Boundary)
    assert isinstance(boundary.points, tuple)
    assert torch.equal(boundary.points[0], alone.points)
    assert all(map(torch.equal, boundary[1:], alone[1:]))


# --------------------------------------------------------------------------------- missing


@SEARCHES
class TestAMissingBoundaryIsNeverSilent:
    def test_a_constant_model_raises_and_lists_the_examples(self, search):
        with pytest.raises(RuntimeError, match=r"no decision boundary .* examples \[0, 1, 2\]"):
            find_boundary(Constant(), images(3), 0, method=search, num_restarts=1)

    def test_or_gives_nan(self, search):
        x = images(3)
        x[1, 0, 0, 0] = -1
        boundary = find_boundary(
            OnlySome(), x, 0, method=search, radii=(1.0, 8.0), on_missing="nan", num_restarts=1
        )
        assert boundary.found.tolist() == [True, False, True]
        assert boundary.points[1].isnan().all()
        assert boundary.points[[0, 2]].isfinite().all()
        assert boundary.distances[1] == torch.inf
        assert boundary.classes.tolist() == [1, -1, 1]
        with pytest.raises(BoundaryNotFoundError, match=r"\[1\].*num_restarts.*radii") as error:
            find_boundary(OnlySome(), x, 0, method=search, radii=(1.0, 8.0))
        assert error.value.examples == [1]
        assert error.value.boundary.found.tolist() == [True, False, True]  # nothing is lost

    @BOTH
    def test_attributions_of_missing_examples_are_nan(self, search, method):
        x = images(3)
        x[1, 0, 0, 0] = -1
        points = find_boundary(
            OnlySome(), x, 0, method=search, radii=(8.0,), on_missing="nan"
        ).points
        given = method(OnlySome()).attribute(x, 0, baselines=points, search=OR_NAN)
        assert given.flatten(1).isnan().all(1).tolist() == [False, True, False]
        assert given[[0, 2]].isfinite().all()
        with pytest.raises(BoundaryNotFoundError, match=r"\[1\]"):
            method(OnlySome()).attribute(x, 0, baselines=points)
        if search == "deepfool":
            searched = method(OnlySome()).attribute(x, 0, search=OR_NAN)
            torch.testing.assert_close(searched, given, equal_nan=True)
            with pytest.raises(BoundaryNotFoundError, match=r"\[1\]"):
                method(OnlySome()).attribute(x, 0)


@BOTH
def test_when_all_are_missing_all_is_nan(method):
    result = method(Constant()).attribute(images(2), 0, search=OR_NAN)
    assert result.isnan().all()


def test_deltas_of_missing_examples_are_nan():
    x = images(3)
    x[1, 0, 0, 0] = -1
    _, delta = BoundaryIntegratedGradients(OnlySome()).attribute(
        x, 0, search=OR_NAN, return_convergence_delta=True
    )
    assert delta.isnan().tolist() == [False, True, False]


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
        find_boundary(model, x, c, method="pgd", radii=(0.3, 3.0), refinement_steps=0)
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
