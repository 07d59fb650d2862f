"""SpectralShapley, exact and sampled: the contract of all methods, and what is its own."""

import inspect

import pytest
import torch
from captum.attr import PerturbationAttribution
from configurations import tuples
from contract import AttributionContract, Complete, assert_same
from helpers import Counting

from captum_spectral import SpectralBanzhaf, SpectralShapley


class TestSpectralShapley(Complete, AttributionContract):
    method, kind = SpectralShapley, PerturbationAttribution
    arguments = {"num_bands": 3}
    arguments_of_delta = {"num_bands": 3}
    rounding = 0.07

    @pytest.mark.parametrize("per_eval", [1, 2, 5, 100])
    def test_perturbations_per_eval_changes_rows_per_forward_and_nothing_else(
        self, config, per_eval
    ):
        model = Counting(config.model)
        result = self.run(config, model, perturbations_per_eval=per_eval)
        assert_same(result, self.run(config), rtol=1e-9, atol=1e-12)
        assert max(shape[0] for shape in model.shapes) <= per_eval * 3

    def test_band_values_are_what_is_painted(self, config):
        painted = tuples(self.run(config))
        values = self.run(config, return_input_shape=False)
        assert values.shape == (3, 3 * len(painted))
        for t, p in enumerate(painted):
            assert torch.equal(p.flatten(1)[:, 0], values[:, 3 * t])  # DC is in the lowest band


class TestSampledSpectralShapley(TestSpectralShapley):
    arguments = {"num_bands": 3, "n_samples": 2}
    draws = True


class TestSpectralBanzhaf(AttributionContract):
    """From a budget, so that the estimators of one are under the contract, too."""

    method, kind = SpectralBanzhaf, PerturbationAttribution
    arguments = {"num_bands": 3, "budget": 6}
    draws = multiplies = True
    rounding = 0.07


def test_the_signature_is_the_documented_one():
    signature = inspect.signature(SpectralShapley.attribute.__wrapped__)
    defaults = {k: p.default for k, p in list(signature.parameters.items())[2:]}
    assert list(signature.parameters)[:2] == ["self", "inputs"]
    assert list(defaults.items()) == [
        ("target", None),
        ("baselines", None),
        ("additional_forward_args", None),
        ("feature_mask", None),
        ("num_bands", None),
        ("spectral_dims", (-2, -1)),
        ("features", None),
        ("n_samples", None),
        ("budget", None),
        ("estimator", None),
        ("prior", "energy"),
        ("perturbations_per_eval", None),
        ("return_input_shape", True),
        ("return_convergence_delta", False),
        ("return_standard_error", False),
        ("generator", None),
        ("show_progress", False),
        ("shortcuts", True),
    ]
