"""Every wrong argument is named, with what it was and what would work, before any forward pass."""

import pytest
import torch
from helpers import Counting, tiny_cnn

from captum_spectral import SpectralShapley, band_mask, split_bands

X = torch.rand(2, 1, 10, 12, generator=torch.Generator().manual_seed(0))
NAN = X.clone()
NAN[1, 0, 3, 4:6] = float("nan")
INF = X.clone()
INF[0, 0, 0, 0] = float("inf")
ASYMMETRIC = band_mask((10, 12), 3)
ASYMMETRIC[3, 10] = 0
BEFORE_ANY_FORWARD = [
    # inputs
    (
        {"inputs": X.long()},
        TypeError,
        r"inputs must be a real floating .* torch.int64.*\.float\(\)",
    ),
    ({"inputs": X.byte()}, TypeError, r"uint8; use \.float\(\) / 255, or the scale that the model"),
    ({"inputs": X.to(torch.complex64)}, TypeError, "real floating .*complex64; take its real part"),
    ({"inputs": [X]}, TypeError, "inputs must be a torch.Tensor, or inputs a tuple.* got list"),
    ({"inputs": (X, None)}, TypeError, r"inputs\[1\] must be a torch.Tensor"),
    ({"inputs": ()}, ValueError, "at least one tensor, got an empty tuple"),
    ({"inputs": NAN}, ValueError, "inputs must be finite: example 1 holds 2 NaN or infinite"),
    ({"inputs": INF}, ValueError, "inputs must be finite: example 0 holds 1 NaN or infinite"),
    ({"inputs": (X, X[:1])}, ValueError, r"inputs\[1\] has 1 examples and inputs\[0\] has 2"),
    ({"inputs": X[:0]}, ValueError, r"at least one example, got shape \(0, 1, 10, 12\)"),
    ({"inputs": X[0, 0, 0]}, ValueError, r"got shape \(12,\)"),
    # bands
    ({"num_bands": 0}, ValueError, "num_bands must be at least 1, got 0"),
    ({"num_bands": 9}, ValueError, "num_bands=9 is more than .* at most num_bands=8 fits"),
    ({"num_bands": 60}, ValueError, "band 1 would be empty; at most num_bands=11 fits"),
    ({"num_bands": 2.5}, TypeError, "num_bands must be an integer or None, got 2.5"),
    (
        {"feature_mask": ASYMMETRIC},
        ValueError,
        r"frequency \(3, -2\) has band 0, \(-3, 2\) has band 1",
    ),
    (
        {"feature_mask": band_mask((8, 8), 2)},
        ValueError,
        r"feature_mask of shape \(8, 8\) fits nei",
    ),
    ({"feature_mask": torch.zeros(2, 2, 1, 10, 12).long()}, ValueError, "fits neither"),
    (
        {"feature_mask": torch.zeros(10, 12)},
        TypeError,
        r"integer band ids, got dtype torch.float32",
    ),
    ({"feature_mask": torch.zeros(10, 12).bool()}, TypeError, "got dtype torch.bool"),
    ({"feature_mask": [[0]]}, TypeError, "feature_mask must be a torch.Tensor, got list"),
    ({"feature_mask": torch.zeros(0).long()}, ValueError, "feature_mask is empty"),
    ({"feature_mask": band_mask((10, 12), 2) - 1}, ValueError, "the negative id -1; ids must be 0"),
    ({"feature_mask": (band_mask((10, 12), 2),) * 2}, ValueError, "got 2 for 1 inputs"),
    (
        {"inputs": (X, X), "feature_mask": band_mask((10, 12), 2)},
        ValueError,
        "one mask per input: got 1 for 2 inputs",
    ),
    # spectral dims
    ({"spectral_dims": (-5, -1)}, ValueError, r"out of range for an input of shape \(2, 1, 10, 12"),
    ({"spectral_dims": (4,)}, ValueError, "it has no dim 4"),
    ({"spectral_dims": (0, 1)}, ValueError, r"touches dim 0 .* use \(-1,\) for \(B, T\) signals"),
    (
        {"inputs": (X, torch.rand(2, 4))},
        ValueError,
        r"dim 0 of inputs\[1\] of shape \(2, 4\), .* spectral_dims=\(\(-2, -1\), None\) where inp",
    ),
    (
        {"inputs": (torch.rand(2, 4), X), "spectral_dims": ((-3, -1), (-2, -1))},
        ValueError,
        r"out of range for inputs\[0\] of shape \(2, 4\).* spectral_dims=\(None, \(-2, -1\)\)",
    ),
    ({"spectral_dims": (-4, -1)}, ValueError, "touches dim 0"),
    ({"spectral_dims": (-1, 3)}, ValueError, "names a dim twice"),
    ({"spectral_dims": ()}, TypeError, "one or more integers"),
    (
        {"spectral_dims": (1.0,)},
        TypeError,
        r"one or more integers such as \(-2, -1\), got \(1.0,\)",
    ),
    # baselines
    (
        {"baselines": X[:, :, :5]},
        ValueError,
        r"baselines of shape \(2, 1, 5, 12\) must have the sh",
    ),
    ({"baselines": torch.zeros(3, 1, 10, 12)}, ValueError, r"or \(1, 1, 10, 12\)"),
    ({"baselines": (0, 0)}, ValueError, "one entry per input: got 2 for 1 inputs"),
    ({"baselines": "zero"}, TypeError, "must be None, a number or a tensor, got str"),
    ({"baselines": float("nan")}, ValueError, "baselines must be finite"),
    ({"baselines": X.to(torch.complex64)}, TypeError, "baselines must be real"),
    # counts
    ({"n_samples": 0}, ValueError, "n_samples must be at least 1, got 0"),
    ({"n_samples": 1.5}, TypeError, "n_samples must be an integer or None, got 1.5"),
    ({"n_samples": 1, "return_standard_error": True}, ValueError, "needs n_samples >= 2"),
    ({"perturbations_per_eval": 0}, ValueError, "perturbations_per_eval must be at least 1, got 0"),
    ({"perturbations_per_eval": "8"}, TypeError, "must be an integer or None, got '8'"),
    (
        {"inputs": torch.rand(1, 1, 64, 64), "num_bands": 17},
        ValueError,
        r"2\^17 = 131072 model rows per example, more than the limit of 65536; pass budget",
    ),
    # target
    ({"target": [0, 1, 2]}, ValueError, "target has 3 entries for 2 examples"),
    ({"target": torch.tensor([0, 1, 2])}, ValueError, "target has 3 entries for 2 examples"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BEFORE_ANY_FORWARD)
def test_before_any_forward_pass(arguments, error, message):
    model = Counting(tiny_cnn(1, dtype=torch.float32))
    arguments = {"inputs": X, "target": 0, "num_bands": 3, **arguments}
    with pytest.raises(error, match=message):
        SpectralShapley(model).attribute(**arguments)
    assert model.calls == 0


@pytest.mark.parametrize(
    ("forward", "arguments", "error", "message"),
    [
        (
            lambda x: x.sum(),
            {"perturbations_per_eval": 2},
            ValueError,
            "perturbations_per_eval=2 needs a forward_func with one output per row.*eval=1",
        ),
        (
            lambda x: float(x.sum()),
            {"inputs": X[:1], "perturbations_per_eval": 3},
            ValueError,
            "perturbations_per_eval=3 needs",
        ),
        (lambda x: torch.rand(5), {}, ValueError, r"returned shape \(5,\) for 16 rows; dim 0"),
        (
            lambda x: torch.rand(7),
            {"perturbations_per_eval": 1},
            ValueError,
            "must grow with the batch",
        ),
        (lambda x: "cat", {}, TypeError, "a tensor of real numbers or a number, got str"),
        (lambda x: x.flatten(1).sum(1) * 1j, {}, TypeError, "got torch.complex64"),
        (lambda x: x.flatten(1), {"target": 500}, ValueError, "target 500 does not exist.*0..119"),
        (lambda x: x.flatten(1), {"target": [0, 120]}, ValueError, "target 120 does not exist"),
        (lambda x: x.flatten(1), {"target": [0, -1]}, ValueError, "count classes from 0, got -1"),
        *(
            (
                lambda x: x.flatten(1).sum(1),
                {"target": target},
                ValueError,
                "one number per row, shape .*target=None",
            )
            for target in (0, [0, 0], (0,), [(0,), (0,)])
        ),
        (lambda x: x.sum(), {"target": 0}, ValueError, "target=0 cannot be selected.*target=None"),
    ],
)
def test_forward_outputs_that_cannot_be_used(forward, arguments, error, message):
    arguments = {"inputs": X, "num_bands": 3, **arguments}
    with pytest.raises(error, match=message):
        SpectralShapley(forward).attribute(**arguments)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("per_eval", [None, 1, 3])
def test_a_value_that_is_not_finite_names_its_example_and_coalition(bad, per_eval):
    mask = band_mask((10, 12), 3)

    def fragile(x, index):
        bands = split_bands(x, mask).square().flatten(2).sum(2) > 1e-6
        wrong = (bands == torch.tensor([True, False, True])).all(1) & (index == 1)
        return torch.where(wrong, bad, x.flatten(1).sum(1))

    message = r"not finite .* example 1 with the coalition of bands \[0, 2\] out of 3"
    with pytest.raises(ValueError, match=message):
        SpectralShapley(fragile).attribute(
            X,
            feature_mask=mask,
            additional_forward_args=torch.arange(2),
            perturbations_per_eval=per_eval,
        )


def test_masks_per_example_have_no_one_picture_for_the_batch():
    mask = torch.stack([band_mask((10, 12), 2), 1 - band_mask((10, 12), 2)])[:, None]
    with pytest.raises(ValueError, match=r"feature_mask with first dim 1, or return_input_shape=F"):
        SpectralShapley(lambda x: x.sum()).attribute(X, feature_mask=mask)


def test_an_image_without_its_batch_dim_is_hinted_at_in_the_error_of_the_model():
    conv = torch.nn.Conv2d(3, 4, 3)
    model = torch.nn.Sequential(conv, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    x = torch.rand(3, 10, 12)
    hint = r"channels(.|\n)*read as a batch of 3; .* give x\[None\], of shape \(1, 3, 10, 12\)"
    with pytest.raises(RuntimeError, match=hint) as found:
        SpectralShapley(model).attribute(x, 1, num_bands=2)
    assert type(found.value) is RuntimeError
    assert str(found.value).count("batch of 3") == 1
    SpectralShapley(model).attribute(x[None], 1, num_bands=2)

    def fails(x):
        raise RuntimeError("of the model's own")

    with pytest.raises(RuntimeError, match=r"^of the model's own$"):
        SpectralShapley(fails).attribute(x[None], 1, num_bands=2)
