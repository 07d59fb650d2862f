"""Warnings name the user's own line, however many frames of libraries lie between."""

import inspect
import warnings

import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel
from captum.metrics import sensitivity_max
from helpers import tiny_cnn
from torch import nn

from captum_spectral import (
    BandGame,
    BoundaryIntegratedGradients,
    BoundarySaliency,
    FeatureSuppression,
    Game,
    SpectralImportance,
    SpectralShapley,
    band_attribution,
    band_mask,
    deletion_curve,
    find_boundary,
    insertion_curve,
    paint,
    split_bands,
)
from captum_spectral.features import Pixels

X = torch.rand(2, 1, 10, 12, dtype=torch.float64)
GAPS = band_mask((10, 12), 3) * 2  # ids 0, 2, 4


def in_training():
    return nn.Sequential(tiny_cnn(1), nn.Dropout(1e-9)).train()


def classes(model):
    return model(X).argmax(1)


def importance(model):
    metric = SpectralImportance(model, num_bands=2, n_samples=1)
    metric.update(X, torch.tensor([0, 1]))


def forward_of_a_metric(model):
    metric = SpectralImportance(model, num_bands=2, n_samples=1)
    metric(X, torch.tensor([0, 1]))


def in_a_loop(model):
    metric = SpectralImportance(model, num_bands=2, n_samples=1)
    metric.evaluate([(X, torch.tensor([0, 1]))], show_progress=False)


@torch.no_grad()
def decorated(model):
    BandGame(model, X, num_bands=2)


TRAINING = [
    lambda m: BandGame(m, X, num_bands=2),
    lambda m: Game(m, X, features=Pixels()),
    lambda m: SpectralShapley(m).attribute(X, 1, num_bands=2),
    lambda m: SpectralShapley(m).compute_convergence_delta(X, 0, X, 1, num_bands=2),
    lambda m: FeatureSuppression(m).attribute(X, 1, n_samples=1),
    lambda m: BoundarySaliency(m).attribute(X, classes(m)),
    lambda m: BoundaryIntegratedGradients(m).attribute(X, classes(m), n_steps=2),
    lambda m: find_boundary(m, X, classes(m)),
    lambda m: insertion_curve(m, X, X, 1),
    lambda m: deletion_curve(m, X, X, 1),
    lambda m: band_attribution(IntegratedGradients, m, X, 1, num_bands=2, n_steps=2),
    lambda m: NoiseTunnel(SpectralShapley(m)).attribute(X, target=1, num_bands=2, nt_samples=1),
    lambda m: sensitivity_max(
        SpectralShapley(m).attribute, X, target=1, num_bands=2, n_perturb_samples=1
    ),
    importance,
    forward_of_a_metric,
    in_a_loop,
    decorated,
]
MISSING = [
    lambda m: BandGame(m, X, feature_mask=GAPS),
    lambda m: SpectralShapley(m).attribute(X, 1, feature_mask=GAPS),
    lambda m: split_bands(X, GAPS),
    lambda m: paint(torch.rand(2, 5), GAPS, X),
    lambda m: FeatureSuppression(m).attribute(
        X, 1, domain="frequency", feature_mask=GAPS, n_samples=1
    ),
]


def lines_of(function):
    lines, first = inspect.getsourcelines(function)
    return range(first, first + len(lines))


def warned(call, model):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(model)
    return caught


@pytest.mark.parametrize("call", TRAINING)
def test_a_model_in_training_mode_is_blamed_on_the_line_that_uses_it(call):
    caught = [w for w in warned(call, in_training()) if "training mode" in str(w.message)]
    assert caught
    for warning in caught:
        assert warning.filename == __file__
        assert warning.lineno in lines_of(call)


@pytest.mark.parametrize("call", MISSING)
def test_missing_ids_are_blamed_on_the_line_that_gives_the_mask(call):
    (warning,) = warned(call, tiny_cnn(1))
    assert "feature_mask is missing 2 of the integers" in str(warning.message)
    assert warning.filename == __file__
    assert warning.lineno in lines_of(call)
