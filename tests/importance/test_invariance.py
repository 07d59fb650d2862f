"""What must not matter to SpectralImportance, and defects of earlier code."""

import itertools
import math

import pytest
import torch
from helpers import Counting, tiny_cnn
from importance_cases import Recording, batches_of, images_and_labels, oracle

from captum_spectral import SpectralImportance, band_mask, split_bands
from captum_spectral._engine.draws import ImageDraws
from captum_spectral.importance.measurement import Measurement

# -------------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("options", [{}, {"n_samples": 1}, {"n_samples": 2, "baselines": "noise"}])
def test_batches_and_order_do_not_matter(options):
    images, labels = images_and_labels()
    results = []
    for size, order in itertools.product((1, 4, 6), (range(6), (3, 1, 5, 0, 2, 4))):
        importance = SpectralImportance(tiny_cnn(), num_bands=4, **options)
        chosen = torch.tensor(order)
        results.append(
            importance.evaluate(
                batches_of(images[chosen], labels[chosen], size), show_progress=False
            )
        )
    for result in results[1:]:
        torch.testing.assert_close(result.attributions, results[0].attributions)
        torch.testing.assert_close(result.covariance, results[0].covariance)


def test_another_seed_draws_other_orderings():
    images, labels = images_and_labels()
    first, again, other = (
        SpectralImportance(tiny_cnn(), num_bands=4, n_samples=1, seed=seed) for seed in (0, 0, 1)
    )
    for importance in (first, again, other):
        importance.update(images, labels)
    assert torch.equal(first.compute().attributions, again.compute().attributions)
    assert not torch.allclose(first.compute().attributions, other.compute().attributions)


def test_images_get_orderings_of_their_own():
    images, _ = images_and_labels(count=40)
    orderings = ImageDraws(images, seed=0).orderings(4, 1)
    assert len(orderings.unique(dim=0)) > 15  # of 24
    assert len(ImageDraws(images[:1].expand(5, -1, -1, -1), 0).orderings(4, 1).unique(dim=0)) == 1


@pytest.mark.parametrize("options", [{}, {"n_samples": 1}, {"baselines": "noise"}])
def test_the_default_device_of_pytorch_is_not_asked(options):
    images, labels = images_and_labels()
    measurement = Measurement(tiny_cnn(), num_bands=4, **options)
    expected, _ = measurement.records(images, labels)
    torch.set_default_device("meta")  # where no number survives
    try:
        records, _ = measurement.records(images, labels)
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(records, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_is_lifted(dtype):
    images, labels = images_and_labels()
    model = tiny_cnn(dtype=torch.float32)
    seen = []

    def forward(x):
        seen.append(x.dtype)
        return model(x.float()).to(dtype)

    importance = SpectralImportance(forward, num_bands=4)
    importance.update(images.to(dtype), labels)
    reference = SpectralImportance(model, num_bands=4)
    reference.update(images.float(), labels)
    assert set(seen) == {dtype}
    assert importance.moments.dtype == torch.float64
    torch.testing.assert_close(
        importance.compute().attributions, reference.compute().attributions, atol=0.05, rtol=0
    )


# -------------------------------------------------------------------- defects of earlier code


@pytest.mark.parametrize("size", [(32, 32), (31, 33), (16, 40)])
def test_absent_bands_hold_nothing(size):
    images, labels = images_and_labels(count=2, size=size)
    model = Recording(tiny_cnn())
    SpectralImportance(model, num_bands=4, perturbations_per_eval=1).update(images, labels)
    mask = band_mask(size, 4)
    assert len(model.shown) == 16  # one coalition after the other, in binary order
    for code, shown in enumerate(model.shown):
        energy = split_bands(shown, mask).flatten(2).pow(2).sum(2)
        for band in range(4):
            if not code >> band & 1:
                assert (energy[:, band] < 1e-6 * images.flatten(1).pow(2).sum(1)).all()


def test_a_batch_of_one():
    images, labels = images_and_labels(count=1)
    importance = SpectralImportance(tiny_cnn(), num_bands=4)
    importance.update(images, labels)
    result = importance.compute()
    expected = oracle(tiny_cnn(), images, labels, torch.zeros_like(images))[0]
    torch.testing.assert_close(result.attributions, expected)
    assert result.standard_error.isnan().all()
    assert "± nan" in repr(result)


def test_a_confident_wrong_model_gives_finite_numbers():
    images, labels = images_and_labels()

    def model(x):
        wrong = torch.nn.functional.one_hot((labels[0] + 1) % 5, 5)
        return 1e4 * wrong * x.mean((1, 2, 3))[:, None]

    importance = SpectralImportance(model, num_bands=4)
    importance.update(images, labels)
    result = importance.compute()
    assert result.attributions.isfinite().all()
    assert result.full_value < -100


# -------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_bands": 0}, ValueError, "num_bands must be at least 1, got 0"),
        ({"num_bands": 17}, ValueError, r"2\^17 = 131072 model rows per example"),
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1"),
        ({"n_samples": 1.5}, TypeError, "n_samples must be an integer"),
        ({"perturbations_per_eval": 0}, ValueError, "perturbations_per_eval must be at least 1"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"num_classes": 0}, ValueError, "num_classes must be at least 1"),
        ({"value": "margin"}, ValueError, "'log_likelihood', 'logit' or a function"),
        ({"value": 3}, TypeError, "a function of .outputs, labels., got int"),
        ({"baselines": "blur"}, ValueError, "'noise' or 'donor', got 'blur'"),
        ({"baselines": (0, 1)}, TypeError, "got a tuple; there is one input"),
        ({"feature_mask": torch.rand(8, 10)}, TypeError, "feature_mask must hold integer"),
        ({"feature_mask": [[0]]}, TypeError, "feature_mask must be a torch.Tensor, got list"),
        ({"tolerance": 0}, ValueError, "tolerance must be positive, 0.02 for 2 %"),
        ({"tolerance": "2%"}, TypeError, "tolerance must be a number"),
        ({"tolerance": 0.1, "confidence": 95}, ValueError, "between 0 and 1, 0.95, say, got 95"),
    ],
)
def test_bad_settings_are_refused_before_any_work(options, error, message):
    with pytest.raises(error, match=message):
        SpectralImportance(tiny_cnn(), **options)


def test_a_model_that_cannot_be_called():
    with pytest.raises(TypeError, match="forward_func must be callable, got str"):
        SpectralImportance("resnet50")


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [0, 0], TypeError, r"use \.float"),
        ((torch.zeros(2, 3, 8, 10),), [0, 0], TypeError, "one tensor .* got a tuple"),
        (torch.full((2, 3, 8, 8), math.nan), [0, 0], ValueError, "images must be finite"),
        (torch.zeros(2, 3, 8, 10), [0], ValueError, r"labels must be \(2,\)"),
        (torch.zeros(2, 3, 8, 10), [0.0, 1.0], TypeError, "labels must be integers"),
        (torch.zeros(2, 3, 8, 10), [0, -1], ValueError, "labels must count classes from 0, got -1"),
        (torch.zeros(2, 3, 8, 10), [0, 9], ValueError, "labels reach 9, but num_classes=5"),
        (torch.zeros(2, 3, 8, 10), [[0, 1], [1, 0]], ValueError, r"must be \(2,\), .* \(2, 2\)"),
        (torch.zeros(2, 3, 8, 10), 1, ValueError, r"labels must be \(2,\), .* \(\)"),
    ],
)
def test_bad_batches_are_refused_before_any_forward_pass(images, labels, error, message):
    counting = Counting(tiny_cnn(dtype=torch.float32))
    importance = SpectralImportance(counting, num_bands=4, num_classes=5)
    with pytest.raises(error, match=message):
        importance.update(images, torch.tensor(labels))
    assert counting.calls == 0


def test_labels_that_the_model_does_not_have():
    images, labels = images_and_labels()
    importance = SpectralImportance(tiny_cnn(), num_bands=4)
    with pytest.raises(ValueError, match=r"labels reach 5, but .* returns 5 outputs per image"):
        importance.update(images, labels + 1 + (4 - int(labels.max())))


@pytest.mark.parametrize("labels", [None, torch.zeros(6, dtype=torch.long)])
def test_outputs_that_are_no_logits(labels):
    images, _ = images_and_labels()
    importance = SpectralImportance(lambda x: x.mean((1, 2, 3)), num_bands=4)
    with pytest.raises(ValueError, match=r"returns logits \(B, classes\), got .*shape \(\d+,\)"):
        importance.update(images, labels)


def test_a_value_of_the_wrong_shape():
    images, labels = images_and_labels()
    importance = SpectralImportance(tiny_cnn(), num_bands=4, value=lambda out, y: out)
    with pytest.raises(ValueError, match=r"one number per row, shape \(\d+,\), got"):
        importance.update(images, labels)


def test_nothing_to_compute():
    with (
        pytest.warns(UserWarning, match="before the ``update``"),
        pytest.raises(ValueError, match="there are no images yet"),
    ):
        SpectralImportance(tiny_cnn()).compute()


def test_masks_must_be_the_same_for_all_images():
    images, labels = images_and_labels()
    mask = band_mask((8, 10), 3).expand(6, 3, 8, 10)
    importance = SpectralImportance(tiny_cnn(), feature_mask=mask)
    with pytest.raises(ValueError, match="the same for all images"):
        importance.update(images, labels)


def test_a_model_in_training_mode():
    images, labels = images_and_labels()
    model = torch.nn.Sequential(tiny_cnn(), torch.nn.Dropout(1e-9))
    importance = SpectralImportance(model, num_bands=2)
    with pytest.warns(UserWarning, match="in training mode"):
        importance.update(images, labels)


def test_bands_without_frequencies_are_worth_nothing():
    images, labels = images_and_labels()
    mask = 2 * band_mask((8, 10), 2)  # 0 and 2, no 1
    for n_samples in (None, 2):
        importance = SpectralImportance(tiny_cnn(), feature_mask=mask, n_samples=n_samples)
        with pytest.warns(UserWarning, match="feature_mask is missing 1 of the integers"):
            importance.update(images, labels)
        result = importance.compute()
        assert result.attributions[1] == result.standard_error[1] == 0
        assert abs(result.efficiency_gap) < 1e-12
        assert result.frequencies[1].isnan().all()
