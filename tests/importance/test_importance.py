"""SpectralImportance: I-ASIDE over a data set, against brute force and the statistics it claims."""

import math

import pytest
import torch
from helpers import Counting, linear_oracle, tiny_cnn
from importance_cases import (
    Recording,
    accuracy_of,
    batches_of,
    images_and_labels,
    oracle,
    outputs_of,
)

from captum_spectral import SpectralImportance, band_mask, split_bands
from captum_spectral._engine.draws import ImageDraws

# -------------------------------------------------------------------- correct


def test_the_mean_over_images_and_its_standard_error():
    images, labels = images_and_labels()
    model = tiny_cnn()
    result = SpectralImportance(model, num_bands=4).evaluate(
        batches_of(images, labels, 4), show_progress=False
    )
    expected = oracle(model, images, labels, torch.zeros_like(images))
    torch.testing.assert_close(result.attributions, expected.mean(0), atol=1e-10, rtol=0)
    error = expected.std(0) / math.sqrt(len(images))
    torch.testing.assert_close(result.standard_error, error, atol=1e-10, rtol=0)
    torch.testing.assert_close(result.covariance, expected.T.cov() / 6, atol=1e-10, rtol=0)
    likelihood = outputs_of(model, images).log_softmax(1)
    assert result.full_value == pytest.approx(float(likelihood.gather(1, labels[:, None]).mean()))
    blank = outputs_of(model, torch.zeros_like(images)).log_softmax(1)
    assert result.empty_value == pytest.approx(float(blank.gather(1, labels[:, None]).mean()))
    assert result.accuracy == pytest.approx(accuracy_of(model, images, labels))
    assert abs(result.efficiency_gap) < 1e-12
    assert (result.num_examples, result.num_rows, result.unit) == (6, 6 * 16, "nats")


@pytest.mark.parametrize("baselines", ["noise", "donor", 0.3, "tensor"])
def test_every_baseline_is_the_same_in_all_coalitions_of_an_image(baselines):
    images, labels = images_and_labels()
    if baselines == "tensor":
        baselines = torch.rand(1, 3, 8, 10, dtype=torch.float64)
    model = Recording(tiny_cnn())
    importance = SpectralImportance(
        model, num_bands=4, baselines=baselines, perturbations_per_eval=1
    )
    importance.update(images, labels)
    used = model.shown[0]  # the empty coalition comes first
    expected = oracle(model.model, images, labels, used).mean(0)
    torch.testing.assert_close(importance.compute().attributions, expected, atol=1e-10, rtol=0)


def test_noise_has_the_energy_of_the_image_in_every_band():
    images, labels = images_and_labels()
    model = Recording(tiny_cnn())
    importance = SpectralImportance(model, num_bands=4, baselines="noise", perturbations_per_eval=1)
    importance.update(images, labels)
    used = model.shown[0]
    mask = band_mask((8, 10), 4)
    white = ImageDraws(images, seed=0).normal(images)  # a direct implementation, band by band
    scaled = torch.zeros_like(images)
    for own, noise in zip(
        split_bands(images, mask).unbind(1), split_bands(white, mask).unbind(1), strict=True
    ):
        energies = [x.flatten(1).norm(dim=1) for x in (own, noise)]
        scaled += noise * (energies[0] / energies[1])[:, None, None, None]
    torch.testing.assert_close(used, scaled, atol=1e-10, rtol=0)
    assert (white - images).abs().mean() > 0.5


def test_a_donor_is_another_image_of_the_batch():
    images, labels = images_and_labels(count=5)
    chosen = set()
    for seed in range(30):
        model = Recording(tiny_cnn())
        importance = SpectralImportance(
            model, num_bands=4, baselines="donor", perturbations_per_eval=1, seed=seed
        )
        importance.update(images, labels)
        distance = (model.shown[0][:, None] - images[None]).abs().amax((2, 3, 4))
        donors = (distance < 1e-12).nonzero()
        assert donors[:, 0].tolist() == list(range(5))
        chosen |= set(map(tuple, donors.tolist()))
    assert chosen == {(i, j) for i in range(5) for j in range(5) if i != j}


def test_an_image_alone_has_the_image_before_it_as_donor():
    images, labels = images_and_labels(count=3)
    importance = SpectralImportance(tiny_cnn(), num_bands=4, baselines="donor")
    with pytest.raises(ValueError, match=r"a batch of one; use batches of at least 2 images"):
        importance.update(images[:1], labels[:1])
    importance.update(images[:2], labels[:2])
    importance.update(images[2:], labels[2:])
    assert importance.compute().num_examples == 3
    importance.reset()
    with pytest.raises(ValueError, match="a batch of one"):
        importance.update(images[:1], labels[:1])


def test_classes_sum_to_the_whole():
    images, labels = images_and_labels(count=12, classes=3)
    importance = SpectralImportance(tiny_cnn(), num_bands=4, num_classes=5)
    whole = importance.evaluate(batches_of(images, labels, 5), show_progress=False)
    parts = whole.per_class
    assert sorted(parts) == sorted(set(labels.tolist()))
    for name in ("attributions", "full_value", "empty_value", "accuracy"):
        total = sum(p.num_examples * getattr(p, name) for p in parts.values())
        torch.testing.assert_close(
            torch.as_tensor(total / 12), torch.as_tensor(getattr(whole, name)), rtol=1e-12, atol=0
        )
    for name in ("num_examples", "num_rows"):
        assert sum(getattr(p, name) for p in parts.values()) == getattr(whole, name)
    own = SpectralImportance(tiny_cnn(), num_bands=4)
    own.update(images[labels == 1], labels[labels == 1])
    torch.testing.assert_close(own.compute().attributions, parts[1].attributions)
    torch.testing.assert_close(own.compute().covariance, parts[1].covariance)


def test_a_linear_model():
    images, labels = images_and_labels()
    weight = torch.randn(3, 3, 8, 10, dtype=torch.float64)

    def model(x):
        return torch.einsum("bchw,kchw->bk", x, weight)

    labels = labels % 3
    mask = band_mask((8, 10), 4)
    expected = torch.stack(
        [
            linear_oracle(weight[c], x[None], mask)[0]
            for x, c in zip(images, labels.tolist(), strict=True)
        ]
    )
    for n_samples in (None, 1):
        importance = SpectralImportance(model, num_bands=4, value="logit", n_samples=n_samples)
        importance.update(images, labels)
        result = importance.compute()
        torch.testing.assert_close(result.attributions, expected.mean(0))
        assert result.unit == "logits"


def test_labels_are_predictions_where_there_are_none():
    images, _ = images_and_labels()
    counting = Counting(tiny_cnn())
    importance = SpectralImportance(counting, num_bands=4, n_samples=2)
    importance.update(images)
    result = importance.compute()
    assert counting.rows == result.num_rows == 6 * (2 * 2 * 3 + 2 + 1)
    assert result.accuracy is None
    predicted = outputs_of(tiny_cnn(), images).argmax(1)
    known = SpectralImportance(tiny_cnn(), num_bands=4, n_samples=2)
    known.update(images, predicted)
    torch.testing.assert_close(result.attributions, known.compute().attributions)
    assert known.compute().accuracy == 1.0


def test_a_value_of_ones_own():
    images, labels = images_and_labels()

    def margin(outputs, labels):
        own = outputs.gather(1, labels[:, None])[:, 0]
        others = outputs.scatter(1, labels[:, None], -math.inf)
        return own - others.amax(1)

    importance = SpectralImportance(tiny_cnn(), num_bands=4, value=margin)
    importance.update(images, labels)
    result = importance.compute()
    margins = margin(outputs_of(tiny_cnn(), images), labels)
    assert result.full_value == pytest.approx(float(margins.mean()))
    assert result.unit == "value"
    assert result.accuracy == pytest.approx(accuracy_of(tiny_cnn(), images, labels))


def test_a_value_of_outputs_that_are_no_logits():
    images, labels = images_and_labels()

    def model(x):
        return {"energy": x.flatten(1).pow(2).mean(1)}

    importance = SpectralImportance(model, num_bands=4, value=lambda out, labels: out["energy"])
    importance.update(images, labels)
    result = importance.compute()
    energies = split_bands(images, num_bands=4).flatten(2).pow(2).mean(2).mean(0)
    torch.testing.assert_close(result.attributions, energies)  # bands are orthogonal
    assert result.accuracy is None


# -------------------------------------------------------------------- the statistics


def test_one_ordering_per_image_is_unbiased():
    images, labels = images_and_labels(count=4)
    model = tiny_cnn()
    exact = oracle(model, images, labels, torch.zeros_like(images)).mean(0)
    estimates = []
    for seed in range(1000):
        importance = SpectralImportance(
            model, num_bands=4, n_samples=1, perturbations_per_eval=8, seed=seed
        )
        importance.update(images, labels)
        estimates.append(importance.compute().attributions)
    spread = torch.stack(estimates)
    assert (spread.std(0) > 0).all()
    z = (spread.mean(0) - exact) / (spread.std(0) / math.sqrt(1000))
    assert z.abs().max() < 3


def test_the_standard_error_is_the_spread_over_images_and_orderings():
    pool, labels = images_and_labels(count=400, size=(8, 8))
    pool = pool * torch.linspace(0.2, 3, 400, dtype=torch.float64)[:, None, None, None]
    model = tiny_cnn()
    estimates, errors = [], []
    for seed in range(150):
        chosen = torch.randperm(400, generator=torch.Generator().manual_seed(seed))[:20]
        importance = SpectralImportance(
            model, num_bands=3, n_samples=1, perturbations_per_eval=6, seed=seed
        )
        importance.update(pool[chosen], labels[chosen])
        estimates.append(importance.compute().attributions)
        errors.append(importance.compute().standard_error)
    ratio = torch.stack(errors).mean(0) / torch.stack(estimates).std(0)
    assert ((ratio > 0.85) & (ratio < 1.15)).all(), ratio


def test_the_tolerance_stops_when_it_is_reached():
    images = 30 * images_and_labels(count=120)[0]
    loose, tight = (
        SpectralImportance(tiny_cnn(), num_bands=2, tolerance=tolerance).evaluate(
            list(images.split(10)), show_progress=False
        )
        for tolerance in (1.0, 1e-4)
    )
    assert loose.num_examples == 30  # the fewest that say something about their own spread
    assert tight.num_examples == 120
    reached = SpectralImportance(tiny_cnn(), num_bands=2, tolerance=0.2, confidence=0.9).evaluate(
        list(images.split(10)), show_progress=False
    )
    assert 30 <= reached.num_examples < 120
    assert 1.645 * reached.standard_error.max() <= 0.2001 * reached.attributions.abs().max()
