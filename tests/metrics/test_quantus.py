"""Curves and measures of maps against Quantus."""

import math
import warnings

import numpy as np
import pytest
import torch
from curve_cases import TARGETS, normal
from helpers import tiny_cnn
from torch import nn

from captum_spectral import deletion_curve, energy_in_box, normalized_entropy


@pytest.fixture(scope="module")
def quantus():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        return pytest.importorskip("quantus", exc_type=ImportError)  # opencv without libGL


def of_quantus(metric, **batch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array(metric(channel_first=True, **batch))


QUIET = {"normalise": False, "disable_warnings": True, "return_aggregate": False}


@pytest.mark.parametrize("features_in_step", [1, 4])
@pytest.mark.parametrize("baseline", [0.0, 0.25])
def test_deletion_is_the_pixel_flipping_of_quantus(quantus, features_in_step, baseline):
    x, a = normal(2, 3, 1, 6, 8).float()
    model = tiny_cnn(1, dtype=torch.float32)
    metric = quantus.PixelFlipping(
        features_in_step=features_in_step, perturb_baseline=baseline, abs=False, **QUIET
    )
    for softmax in (False, True):
        theirs = of_quantus(
            metric,
            model=model,
            x_batch=x.numpy(),
            y_batch=np.array(TARGETS),
            a_batch=a.numpy().copy(),
            softmax=softmax,
        )
        outputs = nn.Sequential(model, nn.Softmax(1)).eval() if softmax else model
        ours = deletion_curve(
            outputs, x, a, TARGETS, baselines=baseline, n_steps=48 // features_in_step
        )
        np.testing.assert_allclose(ours.values[:, 1:].numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize("name", ["AttributionLocalisation", "RelevanceMassAccuracy"])
def test_energy_in_a_box_is_the_localisation_of_quantus(quantus, name):
    a, box = normal(3, 1, 6, 8).float(), torch.tensor([2, 1, 7, 4])
    mask = np.zeros((3, 1, 6, 8), dtype=int)
    mask[..., 1:4, 2:7] = 1
    theirs = of_quantus(
        getattr(quantus, name)(abs=False, **QUIET),
        model=tiny_cnn(1, dtype=torch.float32),
        x_batch=np.zeros((3, 1, 6, 8), dtype=np.float32),
        y_batch=np.array(TARGETS),
        a_batch=a.clamp(min=0).numpy(),
        s_batch=mask,
    )
    np.testing.assert_allclose(energy_in_box(a, box).numpy(), theirs, rtol=1e-5)


def test_the_entropy_is_the_complexity_of_quantus(quantus):
    a = normal(3, 1, 6, 8).float()
    theirs = of_quantus(
        quantus.Complexity(abs=True, **QUIET),
        model=tiny_cnn(1, dtype=torch.float32),
        x_batch=np.zeros((3, 1, 6, 8), dtype=np.float32),
        y_batch=np.array(TARGETS),
        a_batch=a.numpy().copy(),
    )
    np.testing.assert_allclose(normalized_entropy(a).numpy(), theirs / math.log(48), rtol=1e-5)
