"""SpectralImportance as a metric of torchmetrics, and its loop over a data loader."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from helpers import Counting, tiny_cnn
from importance_cases import (
    batches_of,
    images_and_labels,
)
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection

from captum_spectral import ImportanceResult, SpectralImportance
from captum_spectral._engine.chunk_size import AutomaticSize, _known

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


GROUPS = {"alone": None, "in groups": [5, 3, 5, 5, 9, 3, 9]}


@pytest.fixture(scope="module")
def in_processes(tmp_path_factory):
    """A folder with data of each kind, and with what two processes made of it."""
    folder = tmp_path_factory.mktemp("processes")
    for name, groups in GROUPS.items():
        data = list(images_and_labels(count=7))
        data += [] if groups is None else [torch.tensor(groups)]
        torch.save(data, folder / name)
    script = Path(__file__).parent / "metric_in_processes.py"
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    subprocess.run(
        [sys.executable, *torchrun, "--rdzv-endpoint=localhost:0", script, *GROUPS],
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=folder,
    )
    return folder


@pytest.mark.parametrize("name", GROUPS)
def test_processes_are_summed(in_processes, name):
    data, groups = torch.load(in_processes / name, weights_only=True), GROUPS[name]
    importance = SpectralImportance(tiny_cnn(), num_bands=4, n_samples=1, num_classes=5)
    importance.update(*data)
    alone = importance.compute()
    assert alone.num_groups == (groups and 3)
    for rank, own in ((0, 4), (1, 3)):
        text = (in_processes / f"{name}.{rank}.json").read_text()
        together = ImportanceResult.from_json(text)
        torch.testing.assert_close(together.attributions, alone.attributions)
        torch.testing.assert_close(together.covariance, alone.covariance)
        assert sorted(together.per_class) == sorted(alone.per_class)
        assert (together.num_examples, together.num_groups) == (7, alone.num_groups)
        assert (in_processes / f"{name}.{rank}.own").read_text() == str(own)


def test_what_others_have_measured_is_added_to_the_same_bits():
    images, labels = images_and_labels(count=7)
    options = {"num_bands": 4, "n_samples": 1, "num_classes": 5}
    here, there, alone = (SpectralImportance(tiny_cnn(), **options) for _ in range(3))
    seen = []
    for part, (x, y) in enumerate(batches_of(images, labels, 2)):
        records = (here, there)[part % 2].measure(x, y)
        assert not there.moments.any()  # measuring takes nothing in
        here.add(records)
        alone.update(x, y)
        seen.append(here.compute().num_examples)  # not the result of before
        assert here.compute() == alone.compute()
    assert seen == [2, 4, 6, 7]
    assert here.result() == here.compute()


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
        (size,) = (fact for fact in _known[model].values() if isinstance(fact, AutomaticSize))
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
