"""A score as a number: torchmetrics and Lightning take it as any other metric."""

import warnings

import pytest
import torch
from helpers import tiny_cnn
from torch import nn
from torchmetrics import BootStrapper, MetricCollection, MetricTracker
from torchmetrics.classification import MulticlassAccuracy

from captum_spectral import SpectralImportance
from captum_spectral.importance.score_metric import SpectralScore

IMAGES = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))
# Its own predictions: for labels that it does not know no band need be of worth.
LABELS = tiny_cnn(dtype=torch.float32)(IMAGES).argmax(1)
OPTIONS = {"num_bands": 3, "n_samples": 1}


@pytest.fixture
def model():
    return tiny_cnn(dtype=torch.float32)


def expected(model, images=IMAGES, labels=LABELS):
    importance = SpectralImportance(model, **OPTIONS)
    importance.update(images, labels)
    return importance.compute()


def test_the_number_is_the_score_of_the_importance(model):
    result = expected(model)
    for score, value in (("signed", result.signed_score()), ("authors", result.score())):
        metric = SpectralScore(model, score=score, **OPTIONS)
        metric.update(IMAGES[:5], LABELS[:5])
        metric.update(IMAGES[5:], LABELS[5:])
        assert metric.compute().shape == ()
        assert float(metric.compute()) == pytest.approx(value.value, abs=1e-6)
        assert metric.result().num_examples == 12


def test_a_batch_gives_the_score_of_the_batch_and_all_count(model):
    metric = SpectralScore(model, **OPTIONS)
    first, second = metric(IMAGES[:6], LABELS[:6]), metric(IMAGES[6:], LABELS[6:])
    for got, half in ((first, slice(0, 6)), (second, slice(6, 12))):
        alone = expected(model, IMAGES[half], LABELS[half]).signed_score().value
        assert float(got) == pytest.approx(alone, abs=1e-6)
    assert float(metric.compute()) == pytest.approx(expected(model).signed_score().value, abs=1e-6)
    metric.reset()
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.raises(ValueError, match="there are no images yet"),
    ):
        metric.compute()


def test_a_collection_holds_it_beside_another_score(model):
    both = MetricCollection(
        {"signed": SpectralScore(model, **OPTIONS),
         "authors": SpectralScore(model, score="authors", **OPTIONS)},
        compute_groups=False, prefix="val/",
    )  # fmt: skip
    both.update(IMAGES, LABELS)
    result = expected(model)
    got = {name: float(x) for name, x in both.compute().items()}
    assert got == pytest.approx(
        {"val/signed": result.signed_score().value, "val/authors": result.score().value}, abs=1e-6
    )


def test_it_plots_and_is_resampled(model):
    metric = SpectralScore(model, score="authors", **OPTIONS)
    metric.update(IMAGES, LABELS)
    figure, axes = metric.plot()
    assert len(axes.lines) == 1
    assert float(axes.lines[0].get_ydata()[0]) == pytest.approx(float(metric.compute()))
    figure.clear()
    torch.manual_seed(0)
    boots = BootStrapper(
        SpectralScore(lambda x: model(x), score="authors", **OPTIONS), num_bootstraps=4
    )
    boots.update(IMAGES, LABELS)
    found = boots.compute()
    assert 0 < found["std"] < 1
    assert abs(found["mean"] - metric.compute()) < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "best"}, "score must be 'signed' or 'authors', got 'best'"),
        ({"beta": 1.0}, "beta must be between 0 and 1, got 1.0"),
        ({"features": object()}, "SpectralScore is for bands in the order of their frequencies"),
    ],
)
def test_wrong_arguments_are_named(model, options, message):
    with pytest.raises(ValueError, match=message):
        SpectralScore(model, **options)


def test_lightning_logs_it_beside_the_accuracy_and_the_bands(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pl = pytest.importorskip("lightning.pytorch")
    from captum_spectral.studies.dynamics import ImportanceCallback

    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = tiny_cnn(dtype=torch.float32)
            self.score = SpectralScore(self.net, **OPTIONS)
            self.accuracy = MulticlassAccuracy(5)

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch, _):
            self.score(*batch)
            self.accuracy(self(batch[0]), batch[1])
            self.log("score", self.score, on_epoch=True, on_step=False)
            self.log("accuracy", self.accuracy, on_epoch=True, on_step=False)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    module, data = Net(), torch.utils.data.TensorDataset(IMAGES, LABELS)
    loader = torch.utils.data.DataLoader(data, batch_size=6)
    bands = ImportanceCallback(IMAGES, LABELS, num_bands=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning: few workers, no logger
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
            default_root_dir=tmp_path, callbacks=[bands.for_lightning()],
        )  # fmt: skip
        trainer.fit(module, loader, loader)
    logged = {name: float(x) for name, x in trainer.callback_metrics.items()}
    assert logged["score"] == pytest.approx(
        expected(module.net.eval()).signed_score().value, abs=1e-5
    )
    (epoch,) = bands.epochs
    numbers = epoch.result.scalars("spectral/")
    assert {name: logged[name] for name in numbers} == pytest.approx(numbers, abs=1e-5)


def test_wrappers_that_need_a_number_say_which_metric_has_one(model):
    spread = BootStrapper(SpectralImportance(model, **OPTIONS), num_bootstraps=2)
    spread.update(IMAGES, LABELS)
    with pytest.raises(TypeError, match=r"^stack takes tensors, .* ImportanceResult.*SpectralSc"):
        spread.compute()
    shifted = SpectralImportance(model, **OPTIONS) + 1
    shifted.update(IMAGES, LABELS)
    with pytest.raises(TypeError, match=r"^add takes tensors, .* bands are result.attributions$"):
        shifted.compute()


def test_a_tracker_keeps_the_scores_of_epochs(model):
    tracker = MetricTracker(SpectralScore(model, **OPTIONS), maximize=True)
    known = []
    for part in (slice(0, 6), slice(6, 12)):
        tracker.increment()
        tracker.update(IMAGES[part], LABELS[part])
        known.append(expected(model, IMAGES[part], LABELS[part]).signed_score().value)
    assert tracker.compute_all().tolist() == pytest.approx(known, abs=1e-6)
    assert tracker.best_metric() == pytest.approx(max(known), abs=1e-6)
