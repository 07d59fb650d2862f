"""Neither batches, order nor memory change what an attack finds; arguments that are refused."""

import gc

import numpy as np
import pytest
import torch
from attacked import TwoClasses
from classifiers import Constant, decided, images
from helpers import tiny_cnn
from torch import nn

from captum_spectral import _captum
from captum_spectral.boundary import BoundarySearch
from captum_spectral.robustness.attacks import robust_accuracy
from captum_spectral.robustness.distances import boundary_distances
from captum_spectral.robustness.masking import gradient_masking, random_noise_accuracy

SIZES = [0.02, 0.05]


def labels_of(x):
    """Some of them are wrong."""
    y = decided(tiny_cnn(1, seed=4), x)
    y[1::4] = (y[1::4] + 1) % 5
    return y


RUNS = {
    "linf": lambda model, x, y, **options: (
        robust_accuracy(model, x, y, SIZES, steps=4, restarts=2, **options).by_restart
    ),
    "l2": lambda model, x, y, **options: (
        robust_accuracy(
            model, x, y, [10 * e for e in SIZES], "l2", steps=4, restarts=2, **options
        ).by_restart
    ),
    "noise": lambda model, x, y, **options: (
        random_noise_accuracy(model, x, y, [0.1, 0.5], **options).by_restart
    ),
    "distances": lambda model, x, y, **options: boundary_distances(
        model, x, y, num_restarts=1, **options
    ).distances[None],
}
EVERY = pytest.mark.parametrize("name", RUNS)


@pytest.fixture(scope="module")
def expected():
    """What comes out of a whole batch."""
    x = images(12)
    found = {name: run(tiny_cnn(1, seed=4), x, labels_of(x)) for name, run in RUNS.items()}
    for name in ("linf", "l2"):
        assert found[name][-1, 0].sum() > found[name][-1, 1].sum() > 0  # some fall, not all
    return found


class Faulty(nn.Module):
    """Has memory for so many rows."""

    def __init__(self, model, rows):
        super().__init__()
        self.model, self.rows, self.refused = model, rows, 0
        self.eval()

    def forward(self, x):
        if len(x) > self.rows:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.model(x)


@EVERY
class TestNothingElseMatters:
    @pytest.mark.parametrize("size", [1, 5])
    def test_the_size_of_batches(self, name, size, expected):
        x = images(12)
        result = RUNS[name](tiny_cnn(1, seed=4), x, labels_of(x), internal_batch_size=size)
        torch.testing.assert_close(result, expected[name])

    def test_the_order_and_the_other_images(self, name, expected):
        x, order = images(12), torch.tensor([7, 3, 11, 0, 4])
        result = RUNS[name](tiny_cnn(1, seed=4), x[order], labels_of(x)[order])
        torch.testing.assert_close(result, expected[name][..., order])

    @pytest.mark.parametrize("rows", [1, 5])
    def test_memory_that_runs_out(self, name, rows, expected, monkeypatch):
        monkeypatch.setattr(gc, "collect", int)  # takes long in the heap of a test run
        x, model = images(12), Faulty(tiny_cnn(1, seed=4), rows)
        result = RUNS[name](model, x, labels_of(x))
        assert model.refused
        torch.testing.assert_close(result, expected[name])

    def test_the_callers_modes_and_random_state(self, name, expected):
        x, y, model = images(12), labels_of(images(12)), tiny_cnn(1, seed=4)
        before = torch.get_rng_state()
        with torch.no_grad():
            torch.testing.assert_close(RUNS[name](model, x, y), expected[name])
        with torch.inference_mode():
            torch.testing.assert_close(RUNS[name](model, x + 0, y), expected[name])
        assert torch.equal(torch.get_rng_state(), before)

    def test_images_and_model_are_left_as_they_were(self, name, expected):
        x, y, model = images(12), labels_of(images(12)), tiny_cnn(1, seed=4)
        kept = x.clone()
        in_place = nn.Sequential(nn.Hardtanh(0, 1, inplace=True), model).eval()
        # The slope at the bounds is another one.
        torch.testing.assert_close(RUNS[name](in_place, x, y), expected[name], rtol=1e-3, atol=0)
        assert torch.equal(x, kept)
        assert all(p.grad is None for p in model.parameters())

    def test_labels_may_be_a_list_or_an_array(self, name, expected):
        x, y, model = images(12), labels_of(images(12)), tiny_cnn(1, seed=4)
        torch.testing.assert_close(RUNS[name](model, x, y.tolist()), expected[name])
        torch.testing.assert_close(RUNS[name](model, x, y.int().numpy()), expected[name])

    def test_the_bar_ends_at_its_total(self, name, expected, monkeypatch):
        told, totals = [], []

        class Bar:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

            def update(self, count=1):
                assert count >= 0
                told.append(count)

        monkeypatch.setattr(_captum, "progress", lambda desc, total: totals.append(total) or Bar())
        x, model = images(12), Faulty(tiny_cnn(1, seed=4), 5)
        RUNS[name](model, x, labels_of(x), show_progress=True)
        assert [sum(told)] == totals


def test_another_seed_gives_other_noise():
    model, x = TwoClasses(), images(30)
    y = decided(model, x)
    first, again, other = (
        random_noise_accuracy(model, x, y, 0.5, seed=seed).bits for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_in_other_precisions(dtype):
    x = images(12, dtype=torch.float32).to(dtype)
    model = TwoClasses()
    y = decided(model, x)
    result = robust_accuracy(model, x, y, 0.05)
    wide = robust_accuracy(model, x.double(), y, 0.05)
    assert (result.bits == wide.bits).double().mean() > 0.9
    assert result.accuracy.dtype == torch.float64


def test_a_model_in_training_mode_is_warned_of():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(120, 2))
    with pytest.warns(UserWarning, match="training mode"):
        robust_accuracy(model, images(2, dtype=torch.float32), [0, 0], 0.1)


# ---------------------------------------------------------------------------- own attacks


def test_an_attack_of_your_own_sees_rightly_classified_images_only():
    model, x = TwoClasses(), images(10)
    y = decided(model, x)
    y[2] = 1 - y[2]
    given = []

    def attack(images, labels):
        given.append((images.clone(), labels))
        images.mul_(0)  # they are its own
        return given[-1][0]

    result = robust_accuracy(model, x, y, 0.1, attack=attack, restarts=2, internal_batch_size=6)
    keep = torch.arange(10) != 2
    assert torch.equal(torch.cat([x for x, _ in given[:2]][:1]), x[keep][:6])
    assert torch.equal(result.bits, keep)
    assert len(given) == 4


def test_points_that_are_not_finite_count_as_not_found():
    model, x = TwoClasses(), images(4)
    result = robust_accuracy(
        model, x, decided(model, x), 0.1, attack=lambda x, y: torch.full_like(x, torch.nan)
    )
    assert result.accuracy == 1


X = images(3)
Y = decided(TwoClasses(), X)
WRONG = [
    ({"epsilon": -0.1}, ValueError, "epsilon must be finite and not negative, got -0.1"),
    ({"epsilon": torch.inf}, ValueError, "epsilon must be finite"),
    ({"epsilon": []}, ValueError, r"epsilon must be a number or a sequence.*shape \(0,\)"),
    ({"epsilon": "8/255"}, TypeError, "epsilon must be a number.*'8/255'"),
    (
        {"epsilon": [0.1, 8]},
        ValueError,
        "at most the width of clip, 1, got 8.* 8/255 .* is 0.03137",
    ),
    ({"epsilon": 8, "clip": (-1, 1.0)}, ValueError, "width of clip, 2, got 8.* is 0.06275"),
    ({"norm": "l1"}, ValueError, 'norm must be "linf" or "l2", got \'l1\''),
    ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
    ({"restarts": 1.5}, TypeError, "restarts must be an integer"),
    ({"images": X.long()}, TypeError, r"images must be a real floating tensor.*int64"),
    ({"images": X * torch.nan}, ValueError, "images must be finite"),
    ({"images": (X, X)}, TypeError, "images must be one tensor.*got tuple"),
    ({"images": X + 1}, ValueError, r"images must lie inside clip=\(0.0, 1.0\).*of the images as"),
    ({"labels": Y.double()}, TypeError, "labels must be integers.*float64"),
    ({"labels": Y[:2]}, ValueError, r"labels must be \(3,\).*got shape \(2,\)"),
    ({"labels": [0, 1, -1]}, ValueError, "labels must count classes from 0, got -1"),
    ({"labels": [0, 1, 7]}, ValueError, "labels 7 does not exist: forward_func returns 2 outputs"),
    ({"clip": 1}, TypeError, r"clip must be None or a pair"),
    ({"clip": (1, 0)}, ValueError, r"clip must be \(low, high\)"),
    ({"internal_batch_size": 0}, ValueError, "internal_batch_size must be at least 1"),
    ({"attack": 3}, TypeError, r"attack must be a function of \(images, labels\).*got int"),
    (
        {"attack": lambda x, y: x, "epsilon": [0.1, 0.2]},
        ValueError,
        "epsilon must be one number beside an attack",
    ),
    ({"attack": lambda x, y: None}, TypeError, "attack must return a torch.Tensor, got NoneType"),
    ({"attack": lambda x, y: x[:1]}, ValueError, r"attack must return one point per example"),
    (
        {"attack": lambda x, y: (x - 0.3).clamp(0, 1)},
        ValueError,
        r"attack must return points within epsilon=0.1 of the images, got one that is 0.3 away",
    ),
    ({"attack": lambda x, y: x + 0.1}, ValueError, "attack must return points inside clip"),
    (
        {"forward_func": lambda x: x.flatten(1).sum(1)},
        ValueError,
        r"forward_func must return \(B, classes\)",
    ),
    (
        {"forward_func": lambda x: TwoClasses()(x) * torch.nan},
        ValueError,
        r"not finite.*examples \[0, 1, 2\]",
    ),
    (
        {"forward_func": lambda x: TwoClasses()(x.detach())},
        ValueError,
        "forward_func must be differentiable",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {"forward_func": TwoClasses(), "images": X, "labels": Y, "epsilon": 0.1} | change
    with pytest.raises(error, match=message):
        robust_accuracy(**arguments)


def test_a_radius_as_wide_as_the_box_and_any_other_without_one_are_taken():
    model = TwoClasses()
    for options in ({"clip": (0, 1)}, {"clip": None, "epsilon": 8}, {"norm": "l2", "epsilon": 8}):
        found = robust_accuracy(model, X, Y, **({"epsilon": 1.0, "steps": 2} | options))
        assert found.bits.shape == (3,)
    narrow = X * 0.8 + 0.1  # 0.9 - 0.1 is a little less than 0.8 in single precision
    robust_accuracy(model, narrow, decided(model, narrow), 0.8, clip=(0.1, 0.9), steps=1)


EARLY = {"images", "labels", "epsilon", "norm", "clip", "steps", "restarts", "internal_batch_size"}


def test_they_are_named_before_the_model_is_called():
    def never(x):
        raise AssertionError("the model was called")

    for change, error, _ in WRONG:
        if set(change) <= EARLY and change.get("labels") != [0, 1, 7]:
            with pytest.raises(error):
                robust_accuracy(
                    **({"forward_func": never, "images": X, "labels": Y, "epsilon": 0.1} | change)
                )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"search": "simba"}, TypeError, 'search must be "deepfool", "pgd" or a function'),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"search": BoundarySearch(), "clip": (0, 1)}, ValueError, "which has its own clip"),
        ({"search": BoundarySearch(), "num_restarts": 1}, ValueError, "has its own num_restarts"),
        ({"num_restarts": -1}, ValueError, "num_restarts must be at least 0"),
    ],
)
def test_wrong_options_of_a_search_are_named(options, error, message):
    with pytest.raises(error, match=message):
        boundary_distances(TwoClasses(), X, Y, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": [0.1, 0.2]}, "epsilon must be one number"),
        ({"epsilon": 8}, "epsilon must be at most the width of clip, 1, got 8"),
        ({"large_epsilon": 0.05}, "large_epsilon must be finite and larger than epsilon=0.1"),
        ({"clip": None}, "large_epsilon must be given where clip leaves pixels unlimited"),
        ({"clip": (0, float("inf"))}, "large_epsilon must be given"),
    ],
)
def test_wrong_options_of_the_checks_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        gradient_masking(TwoClasses(), X, Y, **({"epsilon": 0.1} | options))


def test_a_model_of_one_answer_is_robust_everywhere():
    result = robust_accuracy(Constant(), X, np.zeros(3, dtype=np.int64), [0.1, 1.0])
    assert result.bits.all()
    assert boundary_distances(Constant(), X, [0, 0, 0]).num_missing == 3
