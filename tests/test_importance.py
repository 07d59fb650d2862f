"""SpectralImportance: I-ASIDE over a data set, against brute force and the statistics it claims."""

import copy
import gc
import itertools
import math
import os
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from helpers import Counting, brute_force, linear_oracle, tiny_cnn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection

from captum_spectral import ImportanceResult, SpectralImportance, band_mask, split_bands
from captum_spectral._engine.chunk_size import _sizes
from captum_spectral.importance.draws import ImageDraws
from captum_spectral.importance.measurement import Measurement


def images_and_labels(count=6, size=(8, 10), classes=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, *size, generator=generator, dtype=torch.float64)
    return images, torch.randint(classes, (count,), generator=generator)


def outputs_of(model, images):
    with torch.no_grad():
        return model(images)


def accuracy_of(model, images, labels):
    return float((outputs_of(model, images).argmax(1) == labels).double().mean())


class Recording(torch.nn.Module):
    """Keeps the rows that a model was shown."""

    def __init__(self, model):
        super().__init__()
        self.model, self.shown = model, []
        self.eval()

    def forward(self, x):
        self.shown.append(x.clone())
        return self.model(x)


def oracle(model, images, labels, baselines, num_bands=4):
    """(B, M) values of every image by the textbook sum over coalitions."""
    mask = band_mask(images.shape[-2:], num_bands)
    return brute_force(
        lambda x: model(x).log_softmax(1), (images,), (mask,), (baselines,), labels.tolist()
    )


def batches_of(images, labels, size):
    return list(zip(images.split(size), labels.split(size), strict=True))


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


# -------------------------------------------------------------------- as a metric


def test_the_state_is_saved_and_the_model_is_no_part_of_it():
    images, labels = images_and_labels()
    model = tiny_cnn()
    importance = SpectralImportance(model, num_bands=4)
    importance.update(images[:4], labels[:4])
    state = importance.state_dict()
    assert list(state) == ["moments"]
    assert list(importance.parameters()) == list(importance.modules())[1:] == []
    other = SpectralImportance(model, num_bands=4)
    other.load_state_dict(state)
    for each in (importance, other):
        each.update(images[4:], labels[4:])
    assert torch.equal(importance.moments, other.moments)
    clone = importance.clone()
    assert clone._measurement.forward_func is model
    assert torch.equal(clone.moments, importance.moments)
    clone.update(images, labels)
    assert importance.compute().num_examples == 6


def test_processes_are_summed(tmp_path):
    images, labels = images_and_labels(count=7)
    torch.save((images, labels), tmp_path / "data.pt")
    script = Path(__file__).parent / "metric_in_processes.py"
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    subprocess.run(
        [sys.executable, *torchrun, "--rdzv-endpoint=localhost:0", script, tmp_path / "data.pt"],
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    importance = SpectralImportance(tiny_cnn(), num_bands=4, n_samples=1, num_classes=5)
    importance.update(images, labels)
    alone = importance.compute()
    for rank, own in ((0, 4), (1, 3)):
        text = (tmp_path / f"data.pt.{rank}.json").read_text()
        together = ImportanceResult.from_json(text)
        torch.testing.assert_close(together.attributions, alone.attributions)
        torch.testing.assert_close(together.covariance, alone.covariance)
        assert sorted(together.per_class) == sorted(alone.per_class)
        assert together.num_examples == 7
        assert (tmp_path / f"data.pt.{rank}.own").read_text() == str(own)


def test_forward_gives_the_batch_and_keeps_the_whole():
    images, labels = images_and_labels()
    importance = SpectralImportance(tiny_cnn(), num_bands=4, n_samples=1)
    first, second = importance(images[:4], labels[:4]), importance(images[4:], labels[4:])
    whole = importance.compute()
    assert (first.num_examples, second.num_examples, whole.num_examples) == (4, 2, 6)
    mean = (4 * first.attributions + 2 * second.attributions) / 6
    torch.testing.assert_close(whole.attributions, mean)
    together = SpectralImportance(tiny_cnn(), num_bands=4, n_samples=1)
    together.update(images, labels)
    torch.testing.assert_close(whole.attributions, together.compute().attributions)


def test_a_batch_that_fails_in_forward_takes_nothing_with_it():
    images, labels = images_and_labels()
    importance = SpectralImportance(tiny_cnn(), num_bands=4, baselines="donor")
    importance(images[:4], labels[:4])
    with pytest.raises(ValueError, match="labels must be"):
        importance(images[4:], labels)
    assert importance.compute().num_examples == 4
    assert importance(images[4:5], labels[4:5]).num_examples == 1  # the donor is the one before


def test_an_image_is_not_its_own_donor_after_an_interruption():
    images, labels = images_and_labels(count=3)
    fail = [False]
    model = tiny_cnn()

    def forward(x):
        if fail[0]:
            raise KeyboardInterrupt
        return model(x)

    importance = SpectralImportance(forward, num_bands=4, baselines="donor")
    importance.update(images[:2], labels[:2])
    fail[0] = True
    with pytest.raises(KeyboardInterrupt):
        importance.update(images[2:], labels[2:])
    fail[0] = False
    once = importance(images[2:], labels[2:])
    assert once.attributions.abs().max() > 1e-6


def test_loading_a_state():
    images, labels = images_and_labels()
    known, other = (SpectralImportance(tiny_cnn(), num_bands=4) for _ in range(2))
    known.update(images, labels)
    other.load_state_dict(known.state_dict())
    assert other.compute() == known.compute()  # no update before, and no warning
    other.update(images, labels)
    assert other.compute().num_examples == 12
    other.load_state_dict(known.state_dict())
    assert other.compute().num_examples == 6
    with pytest.raises(RuntimeError, match="are of other num_bands or num_classes than these"):
        SpectralImportance(tiny_cnn(), num_bands=5).load_state_dict(known.state_dict())


def test_two_models_that_begin_alike_in_a_collection():
    images, labels = images_and_labels()
    net, average = tiny_cnn(), tiny_cnn()
    metrics = MetricCollection(
        {"net": SpectralImportance(net, 4), "average": SpectralImportance(average, 4)},
        compute_groups=False,
    )
    metrics.update(images, labels)
    torch.nn.init.zeros_(net[-1].weight)
    metrics.update(images, labels)
    results = metrics.compute()
    assert results["net"] != results["average"]


def test_in_a_collection():
    images, labels = images_and_labels()
    logit = SpectralImportance(tiny_cnn(), 4, value="logit")
    metrics = MetricCollection({"logit": logit, "nats": SpectralImportance(tiny_cnn(), 4)})
    metrics.update(images, labels)
    results = metrics.compute()
    assert [results[name].unit for name in ("logit", "nats")] == ["logits", "nats"]
    metrics.reset()
    assert not metrics["nats"].moments.any()


def test_a_result_can_be_pickled_and_copied():
    images, labels = images_and_labels()
    importance = SpectralImportance(tiny_cnn(), num_bands=4, num_classes=5)
    importance.update(images, labels)
    result = importance.compute()
    assert pickle.loads(pickle.dumps(result)) == copy.deepcopy(result) == result


def test_of_a_batch_that_fails_nothing_is_taken_in():
    images, labels = images_and_labels()
    model = tiny_cnn()
    calls = []

    def forward(x):
        calls.append(len(x))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return model(x)

    importance = SpectralImportance(forward, num_bands=4, perturbations_per_eval=4)
    loader = iter(batches_of(images, labels, 2))
    with pytest.raises(KeyboardInterrupt):
        importance.evaluate(loader, show_progress=False)
    assert importance.compute().num_examples == 2
    rest = batches_of(images[2:], labels[2:], 2)
    assert importance.evaluate(rest, show_progress=False).num_examples == 6


def test_what_is_learnt_of_a_model_s_speed_serves_the_next_metric():
    images, labels = images_and_labels(count=40)
    model = Counting(tiny_cnn())
    for _ in range(2):
        SpectralImportance(model, num_bands=4).update(images, labels)
        (size,) = _sizes[model].values()
        known = {rows: len(times) for rows, times in size._seconds.items()}
    assert sum(known.values()) > 0


def test_nothing_of_an_image_is_kept():
    importance = SpectralImportance(tiny_cnn(), num_bands=4, n_samples=1, baselines="noise")
    size = importance.moments.numel()
    for seed in range(3):
        images, labels = images_and_labels(seed=seed)
        batch = weakref.ref(images)
        importance.update(images, labels)
        del images
        gc.collect()
        assert batch() is None
    assert importance.moments.numel() == size


def test_the_state_moves_keeps_its_digits_and_leaves_the_model_where_it_is():
    images, labels = images_and_labels()
    model = tiny_cnn()
    importance = SpectralImportance(model, num_bands=4)
    importance.update(images, labels)
    before = importance.compute()
    for low in (torch.bfloat16, torch.float16):
        importance.to(low)
        importance.half()
        assert importance.moments.dtype == torch.float64
        assert importance.compute() == before
        importance.reset()
        assert importance.moments.dtype == torch.float64
        importance.update(images, labels)
    holder = torch.nn.ModuleDict({"metric": importance}).to("meta")
    assert holder["metric"].moments.is_meta
    assert not any(p.is_meta for p in model.parameters())


def test_in_inference_mode_as_in_a_validation_loop():
    images, labels = images_and_labels()
    importance = SpectralImportance(tiny_cnn(), num_bands=4, num_classes=5)
    with torch.inference_mode():
        importance.update(images)
        result = importance.compute()
        assert "signed score" in repr(result)
        assert result.signed_score().standard_error >= 0
        assert ImportanceResult.from_json(result.to_json()) == result
    importance.update(images, labels)
    assert importance.compute().num_examples == 12
    assert result.score().value > 0


def test_a_loop_that_holds_model_and_metric_can_be_copied():
    images, labels = images_and_labels()
    loop = torch.nn.Module()
    loop.model = tiny_cnn()
    loop.metric = SpectralImportance(loop.model, num_bands=4)
    other = copy.deepcopy(loop)
    torch.nn.init.zeros_(other.model[-1].weight)
    other.metric.update(images, labels)
    assert other.metric.compute().attributions.abs().max() < 1e-9
    loop.metric.update(images, labels)
    assert loop.metric.compute().attributions.abs().max() > 1e-4


# -------------------------------------------------------------------- the loop


def test_the_total_of_the_progress_bar_is_true(capsys):
    images, labels = images_and_labels()
    data = TensorDataset(images, labels)
    importance = SpectralImportance(tiny_cnn(), num_bands=2)
    for loader, options, total in (
        (DataLoader(data, batch_size=4), {}, 6),
        (DataLoader(data, batch_size=4, drop_last=True), {}, 4),
        (DataLoader(data, batch_size=4), {"max_examples": 5}, 5),
        (batches_of(images, labels, 4), {}, 6),
        (iter(images.split(3)), {"max_examples": 4}, 4),
    ):
        before = int(importance.moments[0, 0, 0])
        result = importance.evaluate(loader, **options)
        assert result.num_examples - before == total
        assert f"{total}/{total}" in capsys.readouterr().err.splitlines()[-1].split("\r")[-1]


def test_images_without_labels_in_the_loop():
    images, _ = images_and_labels()
    for loader in ([images], [(images,)], [[images, None]], DataLoader(images, batch_size=6)):
        importance = SpectralImportance(tiny_cnn(), num_bands=2)
        assert importance.evaluate(loader, show_progress=False).num_rows == 6 * 5


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


def test_a_loader_of_something_else():
    with pytest.raises(TypeError, match=r"pair \(images, labels\), got dict"):
        SpectralImportance(tiny_cnn()).evaluate(iter([{"x": 1}]), show_progress=False)


def test_masks_must_be_the_same_for_all_images():
    images, labels = images_and_labels()
    mask = band_mask((8, 10), 3).expand(6, 3, 8, 10)
    importance = SpectralImportance(tiny_cnn(), feature_mask=mask)
    with pytest.raises(ValueError, match="the same for all images"):
        importance.update(images, labels)


def test_a_model_in_training_mode():
    images, labels = images_and_labels()
    importance = SpectralImportance(tiny_cnn().train(), num_bands=2)
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
