"""Wrong arguments and outputs of feature suppression are named."""

import pytest
import torch
from helpers import Counting, tiny_cnn
from suppression import BLOCKS, X, run, seeded
from torch import Tensor

from captum_spectral import FeatureSuppression

NAN = X.clone()
NAN[1, 0, 3, 4:6] = float("nan")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inputs": X.long()}, TypeError, r"inputs must be a real floating .*int64.*\.float\(\)"),
        ({"inputs": NAN}, ValueError, "inputs must be finite: example 1 holds 2 NaN"),
        ({"suppress": -0.1}, ValueError, r"suppress is the prob.* must lie in \[0, 1\].*got -0.1"),
        ({"suppress": 1.5}, ValueError, r"must lie in \[0, 1\].* got 1.5"),
        ({"suppress": float("nan")}, ValueError, r"must lie in \[0, 1\].* got nan"),
        ({"suppress": (0.9, 0.1)}, ValueError, r"with lo <= hi; got \(0.9, 0.1\)"),
        ({"suppress": (0.5, 1.1)}, ValueError, r"got \(0.5, 1.1\)"),
        ({"suppress": (0.1, 0.2, 0.3)}, TypeError, r"a number or a pair \(lo, hi\), got \(0.1, 0."),
        ({"suppress": "most"}, TypeError, r"a number or a pair \(lo, hi\), got 'most'"),
        ({"suppress": True}, TypeError, "got True"),
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1, got 0"),
        ({"n_samples": None}, TypeError, "n_samples must be an integer, got None"),
        ({"n_samples": 2.5}, TypeError, "n_samples must be an integer .*got 2.5"),
        ({"n_samples": 1, "return_standard_error": True}, ValueError, "needs n_samples >= 2"),
        ({"internal_batch_size": 0}, ValueError, "internal_batch_size must be at least 1, got 0"),
        ({"internal_batch_size": "8"}, TypeError, "internal_batch_size must be an integer or None"),
        ({"domain": "fourier"}, ValueError, "'pixel' or 'frequency', got 'fourier'"),
        ({"num_bands": 4}, ValueError, "num_bands=4 is for .* add domain='frequency'"),
        ({"spectral_dims": (-1,)}, ValueError, r"spectral_dims=\(-1,\) is for .*frequency bands"),
        ({"feature_mask": BLOCKS.float()}, TypeError, "integer ids of pixel groups, got .*float32"),
        ({"feature_mask": BLOCKS > 2}, TypeError, r"got dtype torch.bool; use mask.long\(\)"),
        ({"feature_mask": [[0]]}, TypeError, "feature_mask must be a torch.Tensor, got list"),
        (
            {"feature_mask": BLOCKS[:5]},
            ValueError,
            r"feature_mask of shape \(5, 12\) does not broadcast to the input of shape \(3, 2, 10",
        ),
        ({"feature_mask": torch.zeros(0).long()}, ValueError, r"feature_mask is empty"),
        ({"feature_mask": BLOCKS - 1}, ValueError, "holds the negative id -1"),
        ({"feature_mask": (BLOCKS,) * 2}, ValueError, "one mask per input: got 2 for 1 inputs"),
        ({"domain": "frequency", "num_bands": 9}, ValueError, "at most num_bands=8 fits"),
        (
            {"domain": "frequency", "feature_mask": BLOCKS},
            ValueError,
            "feature_mask must give a frequency and its negative the same band",
        ),
        ({"baselines": X[:2]}, ValueError, r"baselines of shape \(2, 2, 10, 12\) must have the sh"),
        ({"baselines": float("nan")}, ValueError, "baselines must be finite, baseline 0 holds NaN"),
        ({"baselines": "zero"}, TypeError, "must be None, a number or a tensor, got str"),
        ({"target": [0, 1]}, ValueError, "target has 2 entries for 3 examples"),
    ],
)
def test_before_any_forward_pass(arguments, error, message):
    model = Counting(tiny_cnn(2))
    with pytest.raises(error, match=message):
        FeatureSuppression(model).attribute(**{"inputs": X, "target": 0, **arguments})
    assert model.calls == 0


@pytest.mark.parametrize(
    ("forward", "arguments", "error", "message"),
    [
        (
            lambda x: x.detach().flatten(1),
            {},
            ValueError,
            "no gradient with respect to inputs: .*d",
        ),
        (lambda x: x.flatten(1).argmax(1), {"target": None}, ValueError, "no gradient .*argmax"),
        (lambda x: x.detach().sum().item(), {"target": None}, ValueError, r"no grad.*\.item\(\)"),
        (
            lambda x, w: x.detach().flatten(1) * w,
            {"additional_forward_args": torch.ones(1, requires_grad=True)},
            ValueError,
            "no gradient with respect to inputs",
        ),
        (
            lambda x, y: x.flatten(1) + y.detach().flatten(1),
            {"inputs": (X, X)},
            ValueError,
            r"no gradient with respect to inputs\[1\]",
        ),
        (
            lambda x: x.flatten(1),
            {"target": None},
            ValueError,
            r"gives shape \(9, 240\) at target=None; a gradient needs one number per example",
        ),
        (
            lambda x: x.flatten(1),
            {"target": 500},
            ValueError,
            r"target 500 does not exist.*239",
        ),
        (lambda x: x.sum(), {"target": 0}, ValueError, "target=0 cannot be selected"),
        (
            lambda x: x.sum(),
            {"target": None, "internal_batch_size": 2},
            ValueError,
            r"=2 needs .* returned shape \(1,\) for 2 rows; use internal_batch_size=None",
        ),
        (
            lambda x: x.sum(),
            {"target": None, "internal_batch_size": 1},
            ValueError,
            "internal_batch_size=1 needs a forward_func with one output per row",
        ),
        (
            lambda x: x.flatten(1).sum(1)[:2],
            {"target": None},
            ValueError,
            r"returned shape \(2,\) for 9 rows; dim 0 of its output must grow with the batch",
        ),
        (lambda x: "cat", {"target": None}, TypeError, "a tensor of real numbers or a number, got"),
        (lambda x: x.flatten(1) * 1j, {}, TypeError, "got torch.complex64|got torch.complex128"),
        (
            lambda x: x.flatten(1)[:, :5].sqrt().sum(1),
            {"target": None},
            ValueError,
            "the gradient of forward_func is not finite .* example 0, .*Give other baselines",
        ),
    ],
)
def test_forward_outputs_that_cannot_be_used(forward, arguments, error, message):
    arguments = {"inputs": X, "target": 0, "n_samples": 3, **arguments}
    with pytest.raises(error, match=message):
        FeatureSuppression(forward).attribute(generator=seeded(), **arguments)


def test_an_exception_of_the_model_leaves_nothing_behind():
    model = tiny_cnn(2)
    calls = []

    def fragile(x: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 3:
            raise KeyError("stop")
        return model(x)

    with pytest.raises(KeyError, match="stop"):
        run(fragile, internal_batch_size=2)
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in model.parameters())
