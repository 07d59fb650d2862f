"""Wrong arguments and outputs of the curves are named."""

import math

import pytest
import torch
from curve_cases import BAND_VALUES, BLOCKS, CURVES, MAPS, X, nan_at
from helpers import Counting, tiny_cnn
from torch import nn

from captum_spectral import insertion_curve


def not_finite_at(x):
    return torch.where(x.sum(1) > 1.5, math.nan, 1.0)


PIXELS = {"inputs": X, "attributions": MAPS, "target": 0}
BANDS = {"inputs": X, "attributions": BAND_VALUES, "target": 0, "domain": "frequency"}
BANDS |= {"num_bands": 3}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (PIXELS | {"inputs": X.long()}, TypeError, "inputs must be a real floating tensor"),
        (PIXELS | {"inputs": nan_at(X, 1)}, ValueError, "inputs must be finite: example 1"),
        (
            PIXELS | {"inputs": (X, X)},
            ValueError,
            "inputs must be one tensor or a tuple of one, got a tuple of 2: .* additional_forward",
        ),
        (
            PIXELS | {"attributions": (MAPS, MAPS)},
            ValueError,
            "attributions must be one tensor or a tuple of one",
        ),
        (
            PIXELS | {"attributions": [1.0]},
            TypeError,
            "attributions must be a torch.Tensor, .* got list",
        ),
        (
            PIXELS | {"attributions": nan_at(MAPS, 2)},
            ValueError,
            "attributions must be finite: example 2 holds 240 NaN",
        ),
        (
            BANDS | {"attributions": nan_at(BAND_VALUES, 1, 2)},
            ValueError,
            "attributions must be finite: example 1 holds 1 NaN",
        ),
        (
            PIXELS | {"attributions": MAPS.sum(1)},
            ValueError,
            r"shape of the input, \(3, 2, 10, 12\), or size 1 .* \(B, 1, H, W\); got shape \(3, 10",
        ),
        (PIXELS | {"attributions": MAPS[:1]}, ValueError, r"got shape \(1, 2, 10, 12\)"),
        (PIXELS | {"attributions": MAPS[..., :4]}, ValueError, r"got shape \(3, 2, 10, 4\)"),
        (
            BANDS | {"attributions": MAPS},
            ValueError,
            r"attributions must be \(3, 3\) in the frequency domain, .* return_input_shape=False",
        ),
        (PIXELS | {"domain": "wavelet"}, ValueError, "'pixel' or 'frequency', got 'wavelet'"),
        (PIXELS | {"num_bands": 4}, ValueError, "num_bands=4 is for .* add domain='frequency'"),
        (PIXELS | {"spectral_dims": -1}, ValueError, "spectral_dims=-1 is for frequency bands"),
        (PIXELS | {"baselines": "black"}, TypeError, "baselines must be None, a number or a"),
        (PIXELS | {"baselines": X[:2]}, ValueError, r"baselines of shape \(2, 2, 10, 12\)"),
        (PIXELS | {"target": [0, 1]}, ValueError, "target has 2 entries for 3 examples"),
        (PIXELS | {"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        (PIXELS | {"n_steps": 2.0}, TypeError, "n_steps must be an integer or None, got 2.0"),
        (PIXELS | {"n_steps": 121}, ValueError, "n_steps=121 is more than the 120 features"),
        (BANDS | {"n_steps": 4}, ValueError, "n_steps=4 is more than the 3 features .* n_steps=3"),
        (PIXELS | {"perturbations_per_eval": 0}, ValueError, "perturbations_per_eval must be at"),
        (BANDS | {"perturbations_per_eval": 1.5}, TypeError, "must be an integer or None, got 1.5"),
        (PIXELS | {"feature_mask": BLOCKS.double()}, TypeError, "integer ids of pixel groups"),
        (PIXELS | {"feature_mask": BLOCKS[:5]}, ValueError, "does not broadcast to the input"),
        (
            PIXELS | {"feature_mask": BLOCKS - 1},
            ValueError,
            "holds the negative id -1",
        ),
        (
            PIXELS | {"feature_mask": BLOCKS // torch.tensor([1, 1, 2]).reshape(3, 1, 1, 1)},
            ValueError,
            "has 6 groups in example 0 and 3 in example 2; .* call once for each example",
        ),
        (BANDS | {"feature_mask": torch.eye(10, 12).long()}, ValueError, "and its negative"),
    ],
)
@pytest.mark.parametrize("curve", CURVES)
def test_bad_input_is_named_before_any_forward_pass(curve, arguments, error, message):
    model = Counting(tiny_cnn(2))
    with pytest.raises(error, match=message):
        curve(model, **arguments)
    assert model.calls == 0


@pytest.mark.parametrize("arguments", [PIXELS, BANDS], ids=["pixel", "frequency"])
def test_a_class_that_does_not_exist_is_named(arguments):
    with pytest.raises(ValueError, match=r"target 9 does not exist: .* 5 outputs"):
        insertion_curve(tiny_cnn(2), **{**arguments, "target": 9})


@pytest.mark.parametrize("arguments", [PIXELS, BANDS], ids=["pixel", "frequency"])
@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (tiny_cnn(2), ValueError, r"gives shape \(3, 5\) for 3 rows at target=None; a curve needs"),
        (lambda x: x.sum(), ValueError, r"gives shape \(1,\) for 3 rows"),
        (lambda x: float(x.sum()), ValueError, r"gives shape \(1,\) for 3 rows"),
        (lambda x: "cat", TypeError, "must return a tensor of real numbers or a number, got str"),
        (lambda x: x.flatten(1).sum(1) * math.inf, ValueError, "not finite .* for example 0 with"),
    ],
)
def test_bad_outputs_are_named(arguments, model, error, message):
    with pytest.raises(error, match=message):
        insertion_curve(model, **{**arguments, "target": None})


def test_the_step_of_an_output_that_is_not_finite_is_named():
    x = torch.tensor([[0.1, 0.1, 0.1], [1.0, 1.0, 1.0]])
    message = "for example 1 with 2 of 3 features replaced; .* does the model accept its baseline"
    with pytest.raises(ValueError, match=message):
        insertion_curve(not_finite_at, x, x)


@pytest.mark.parametrize("arguments", [PIXELS, BANDS], ids=["pixel", "frequency"])
def test_one_number_is_enough_for_one_example(arguments):
    alone = {**arguments, "inputs": X[:1], "attributions": arguments["attributions"][:1]}
    curve = insertion_curve(lambda x: x.sum(), **{**alone, "target": None})
    torch.testing.assert_close(curve.values[0, -1], X[0].sum())
    shared = {**alone, "target": None, "perturbations_per_eval": 2}
    with pytest.raises(ValueError, match=r"for 2 rows|perturbations_per_eval=2 needs"):
        insertion_curve(lambda x: x.sum(), **shared)


@pytest.mark.parametrize("arguments", [PIXELS, BANDS], ids=["pixel", "frequency"])
def test_training_mode_is_warned_about(arguments):
    with pytest.warns(UserWarning, match="is in training mode"):
        insertion_curve(nn.Sequential(tiny_cnn(2), nn.Dropout(1e-9)), **arguments)
