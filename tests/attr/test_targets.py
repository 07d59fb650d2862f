"""Targets in every form that Captum takes, from wherever they come, and the near misses."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from helpers import Counting, tiny_cnn

from captum_spectral import (
    FeatureSuppression,
    SpectralShapley,
    band_attribution,
    band_mask,
    deletion_curve,
)

X = torch.rand(3, 1, 10, 12, dtype=torch.float64)
CLASSES = [2, 0, 4]
CALLS = {
    "SpectralShapley": lambda m, t: SpectralShapley(m).attribute(X, t, num_bands=2),
    "FeatureSuppression": lambda m, t: FeatureSuppression(m).attribute(
        X, t, n_samples=2, generator=torch.Generator().manual_seed(0)
    ),
    "deletion_curve": lambda m, t: deletion_curve(m, X, X, t).values,
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@calls
@pytest.mark.parametrize(
    "target",
    [
        np.array(CLASSES),
        np.array(CLASSES, dtype=np.uint16),
        torch.tensor(CLASSES, dtype=torch.uint8),
        torch.tensor(CLASSES, dtype=torch.uint16),
        torch.tensor(CLASSES, dtype=torch.int16),
        [np.int64(2), np.uint8(0), 4],
        list(torch.tensor(CLASSES)),
        [(2,), (0,), (4,)],
    ],
    ids=repr,
)
def test_integers_per_example_from_anywhere(call, target):
    torch.testing.assert_close(call(tiny_cnn(1), target), call(tiny_cnn(1), CLASSES))


@calls
@pytest.mark.parametrize(
    "target",
    [np.int64(2), np.uint8(2), np.array(2), torch.tensor(2), torch.tensor([2]), (2,)],
    ids=repr,
)
def test_one_integer_for_all_from_anywhere(call, target):
    torch.testing.assert_close(call(tiny_cnn(1), target), call(tiny_cnn(1), 2))


@calls
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (torch.tensor([0.0, 1.0, 2.0]), TypeError, r"got torch.float32 \(3,\)"),
        (np.array([0.0, 1.0, 2.0]), TypeError, r"got torch.float64 \(3,\)"),
        (1.0, TypeError, "got 1.0"),
        ([0.0, 1.0, 2.0], TypeError, "a list that holds 0.0"),
        (True, TypeError, "got True"),
        (torch.tensor([True, False, True]), TypeError, "got torch.bool"),
        (torch.zeros(3, 1).long(), ValueError, r"shape \(3, 1\); use target.squeeze\(1\)"),
        (torch.eye(3, 5).long(), ValueError, r"got shape \(3, 5\)"),
        (torch.arange(15.0).view(3, 5).max(1), TypeError, "a tuple that holds"),
        ("cat", TypeError, "got 'cat'"),
        (-1, ValueError, "count classes from 0, got -1"),
        ([-1, 0, 1], ValueError, "count classes from 0, got -1"),
        (torch.tensor([0, 1]), ValueError, "2 entries for 3 examples"),
        ([0, 1], ValueError, "2 entries for 3 examples"),
    ],
    ids=repr,
)
def test_near_misses_are_refused_before_any_forward_pass(call, target, error, message):
    model = Counting(tiny_cnn(1))
    with pytest.raises(error, match=message):
        call(model, target)
    assert model.calls == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32])
def test_masks_of_any_integers(dtype):
    explainer, mask = SpectralShapley(tiny_cnn(1)), band_mask((10, 12), 3)
    assert torch.equal(
        explainer.attribute(X, 1, feature_mask=mask.to(dtype)),
        explainer.attribute(X, 1, feature_mask=mask),
    )


def test_counts_of_numpy():
    explainer = SpectralShapley(tiny_cnn(1))
    options = {"num_bands": np.int64(3), "n_samples": np.uint8(2)}
    options["perturbations_per_eval"] = np.int32(4)
    torch.manual_seed(0)
    found = explainer.attribute(X, 1, spectral_dims=(np.int64(-2), np.int64(-1)), **options)
    torch.manual_seed(0)
    known = explainer.attribute(X, 1, num_bands=3, n_samples=2, perturbations_per_eval=4)
    assert torch.equal(found, known)


def test_errors_of_the_method_itself_pass_through():
    class Broken(IntegratedGradients):
        def attribute(self, *args, **kwargs):
            return self.missing

    with pytest.raises(AttributeError, match="missing"):
        band_attribution(Broken, tiny_cnn(1), X, 1, num_bands=2)


@pytest.mark.parametrize("size", [(16, 16), (8, 8), (5, 3), (1, 2), (1, 1)])
def test_the_default_fits_images_of_any_size(size):
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    bands = SpectralShapley(tiny_cnn()).attribute(x, 1, return_input_shape=False)
    assert bands.shape == (2, int(band_mask(size).max()) + 1)
    assert SpectralShapley(tiny_cnn()).attribute(x, 1).shape == x.shape
