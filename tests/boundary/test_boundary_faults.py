"""Memory that runs out during a search, and the options that a search holds."""

import gc
import inspect
from dataclasses import FrozenInstanceError

import pytest
import torch
from classifiers import BOTH, OR_NAN, SEARCHES, Linear, decided, images
from helpers import tiny_cnn
from torch import nn

from captum_spectral import _captum
from captum_spectral.attr import BoundaryIntegratedGradients, BoundarySaliency
from captum_spectral.boundary import BoundarySearch, find_boundary

X = images(3)


def seeded(run, model, x, **options):
    """Run with the decisions of the model as target, and the same random numbers every time."""
    torch.manual_seed(3)
    return run(model, x, decided(getattr(model, "model", model), x), **options)


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Faulty(nn.Module):
    """Runs out of memory at some of its calls."""

    def __init__(self, model, fails):
        super().__init__()
        self.model, self.fails, self.calls = model, fails, 0
        self.eval()

    def forward(self, x):
        self.calls += 1
        if self.fails(self.calls, len(x)):
            out_of_memory()
        return self.model(x)


RUNS = {
    "find_boundary": lambda model, x, c, **options: find_boundary(
        model, x, c, num_restarts=1, on_missing="nan", **options
    ),
    "find_boundary, pgd": lambda model, x, c, **options: find_boundary(
        model, x, c, method="pgd", radii=(4.0, 16.0), max_steps=5, on_missing="nan", **options
    ),
    "saliency": lambda model, x, c, **options: (
        BoundarySaliency(model).attribute(x, c, **options),
    ),
    "integrated": lambda model, x, c, **options: BoundaryIntegratedGradients(model).attribute(
        x, c, n_steps=5, return_convergence_delta=True, **options
    ),
}


@pytest.fixture
def _no_garbage_collection(monkeypatch):
    monkeypatch.setattr(gc, "collect", int)  # takes long in the heap of a test run


@pytest.mark.usefixtures("_no_garbage_collection")
class TestMemoryThatRunsOut:
    @pytest.fixture(scope="class")
    @staticmethod
    def expected():
        model, x = tiny_cnn(1, seed=4), images(5)
        results = {name: seeded(run, model, x) for name, run in RUNS.items()}
        assert results["find_boundary, pgd"].found.any()
        return results

    @staticmethod
    def same(name, result, expected):
        for a, b in zip(result, expected[name], strict=True):
            # Captum's sum over steps depends on how they are batched, in float32.
            rtol = 1e-5 if name == "integrated" else 1e-9
            torch.testing.assert_close(a, b, rtol=rtol, atol=1e-9, equal_nan=True)

    @pytest.mark.parametrize("size", [None, 3])
    @pytest.mark.parametrize("name", RUNS)
    def test_a_failure_at_any_one_call_changes_nothing(self, name, size, expected):
        x, k = images(5), 0
        while True:
            k += 1
            model = Faulty(tiny_cnn(1, seed=4), lambda call, rows, k=k: call == k)
            result = seeded(RUNS[name], model, x, internal_batch_size=size)
            self.same(name, result, expected)
            if model.calls < k:
                break
        assert k > 10

    @pytest.mark.parametrize("limit", [1, 2, 4])
    @pytest.mark.parametrize("size", [None, 3])
    @pytest.mark.parametrize("name", RUNS)
    def test_examples_that_do_not_fit_are_halved_until_they_do(self, name, size, limit, expected):
        model = Faulty(tiny_cnn(1, seed=4), lambda call, rows: rows > limit)
        self.same(name, seeded(RUNS[name], model, images(5), internal_batch_size=size), expected)

    @pytest.mark.parametrize("name", RUNS)
    def test_so_are_those_whose_gradients_do_not_fit(self, name, expected):
        class NoRoomBackward(Faulty):
            def forward(self, x):
                output = self.model(x)
                if output.requires_grad:
                    output.register_hook(lambda gradient: out_of_memory() if len(x) > 1 else None)
                return output

        model = NoRoomBackward(tiny_cnn(1, seed=4), None)
        self.same(name, seeded(RUNS[name], model, images(5)), expected)

    @BOTH
    @pytest.mark.parametrize("limit", [1, 2])
    def test_so_are_given_points(self, method, limit):
        model, x = tiny_cnn(1, seed=4), images(5)
        c = decided(model, x)
        points = find_boundary(model, x, c).points
        points[3] = torch.nan
        expected = method(model).attribute(x, c, baselines=points, search=OR_NAN)
        faulty = Faulty(model, lambda call, rows: rows > limit)
        result = method(faulty).attribute(x, c, baselines=points, search=OR_NAN)
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-9, equal_nan=True)

    @pytest.mark.parametrize("name", RUNS)
    def test_a_single_example_that_does_not_fit_is_an_error(self, name):
        model = Faulty(tiny_cnn(1, seed=4), lambda call, rows: call > 1)
        with pytest.raises(
            torch.OutOfMemoryError,
            match=r"not even one row at a time does fit in the memory of cpu: points of shape "
            r"\(1, 1, 10, 12\) \(0.0 MiB\), their gradients.*Tried to allocate 2.00 GiB",
        ):
            seeded(RUNS[name], model, images(5))
        assert model.calls < 10

    @pytest.mark.parametrize("name", RUNS)
    @pytest.mark.parametrize("k", [2, 5, 11])
    def test_the_bar_counts_every_stage_once(self, name, k, monkeypatch):
        told = []

        class Bar:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

            def update(self, count=1):
                assert count >= 0
                told.append(count)

        totals = []
        monkeypatch.setattr(_captum, "progress", lambda desc, total: totals.append(total) or Bar())
        model = Faulty(tiny_cnn(1, seed=4), lambda call, rows: call % k == 0 and rows > 1)
        seeded(RUNS[name], model, images(5), show_progress=True)
        assert [sum(told)] == totals

    def test_a_search_of_your_own_may_run_out_of_memory(self):
        model, x = Linear(), images(6)
        c = decided(model, x)
        rows = []

        def search(inputs, target):
            rows.append(len(inputs))
            if len(inputs) > 2:
                out_of_memory()
            return -20 * inputs

        found = find_boundary(model, x, c, method=search, on_missing="nan").found
        assert rows[:2] == [6, 3]
        assert rows[-6:] == [1] * 6
        assert found.any()

    def test_other_errors_pass(self):
        def broken(inputs, target):
            raise ConnectionError("the model server is gone")

        with pytest.raises(ConnectionError):
            find_boundary(tiny_cnn(1), X, decided(tiny_cnn(1), X), method=broken)


# ------------------------------------------------------------------------------- the search


@SEARCHES
def test_a_search_holds_the_options_of_find_boundary(search):
    model, x = tiny_cnn(1, seed=4), images(3)
    c = decided(model, x)
    options = {"clip": (0, 1), "radii": (4.0, 16.0), "num_restarts": 1, "on_missing": "nan"}
    seeds = [torch.Generator().manual_seed(3) for _ in range(3)]
    expected = find_boundary(model, x, c, method=search, generator=seeds[0], **options)
    again = find_boundary(model, x, c, method=BoundarySearch(search, generator=seeds[1], **options))
    for a, b in zip(again, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    result = BoundarySaliency(model).attribute(
        x, c, search=BoundarySearch(search, generator=seeds[2], **options)
    )
    given = BoundarySaliency(model).attribute(x, c, baselines=expected.points, search=OR_NAN)
    torch.testing.assert_close(result, given, equal_nan=True)


def test_a_search_has_the_defaults_of_find_boundary_and_does_not_change():
    defaults = {
        name: p.default
        for name, p in inspect.signature(find_boundary).parameters.items()
        if name in BoundarySearch.__dataclass_fields__
    }
    assert {name: getattr(BoundarySearch(), name) for name in defaults} == defaults
    assert set(defaults) == set(inspect.signature(BoundarySearch).parameters)
    with pytest.raises(FrozenInstanceError):
        BoundarySearch().num_restarts = 2
    with pytest.raises(TypeError, match="positional"):
        BoundarySearch("pgd", (0, 1))
