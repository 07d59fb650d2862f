"""Importance after every epoch: the training does not notice, the rows are tidy."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from captum_spectral.importance import ImportanceResult, SpectralImportance
from captum_spectral.studies.dynamics import ImportanceCallback, evaluating

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(144, 3),
    )  # fmt: skip


def callback(**options):
    return ImportanceCallback(IMAGES, LABELS, **{"num_bands": 3, "batch_size": 5, **options})


def trained(measure=None, epochs=3):
    """Weights after a training with dropout, batch normalisation and the global random state."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for epoch in range(epochs):
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
            optimizer.step()
        if measure is not None:
            measure(model, epoch)
    return model


def test_a_training_gives_the_same_weights_with_and_without_it():
    measured, alone = trained(callback()), trained()
    for (name, x), y in zip(
        measured.state_dict().items(), alone.state_dict().values(), strict=True
    ):
        assert torch.equal(x, y), name


def test_an_epoch_is_what_the_metric_says_of_the_model_in_evaluation_mode():
    measure, model = callback(), network()
    result = measure(model, 0)
    metric = SpectralImportance(model.eval(), num_bands=3, n_samples=1)
    metric.update(IMAGES, LABELS)
    torch.testing.assert_close(result.attributions, metric.compute().attributions)
    right = (model(IMAGES).argmax(1) == LABELS).double().mean()
    assert result.accuracy == pytest.approx(float(right))


def test_every_module_gets_its_own_mode_back():
    model = network().train()
    model[1].eval()  # frozen on purpose
    callback()(model, 0)
    assert [module.training for module in model] == [True, False, True, True, True, True]
    assert model.training


def test_modes_come_back_after_an_exception():
    model = network().train()
    with pytest.raises(ValueError, match="labels reach 7"):
        ImportanceCallback(IMAGES, LABELS + 5, num_bands=2)(model, 0)
    assert all(module.training for module in model.modules())
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.modules())


def test_the_same_model_gives_the_same_numbers_in_every_epoch():
    measure, model = callback(), network()
    assert measure(model, 0) == measure(model, 1)


def test_rows_are_tidy():
    measure = callback()
    trained(lambda model, epoch: measure(model, epoch, noise=0.4, run="a"))
    assert len(measure.rows) == 9
    for i, row in enumerate(measure.rows):
        epoch = measure.epochs[i // 3]
        assert (row["epoch"], row["band"]) == (i // 3, i % 3)
        assert (row["noise"], row["run"]) == (0.4, "a")
        assert row["value"] == float(epoch.result.attributions[i % 3])
        assert row["standard_error"] == float(epoch.result.standard_error[i % 3])
        assert row["share"] == pytest.approx(float(epoch.result.normalized("positive")[i % 3]))
        assert row["num_images"] == 12
        assert row["accuracy"] == epoch.result.accuracy
    assert [row["high"] for row in measure.rows[:3]] == pytest.approx([1 / 6, 2 / 6, 0.5], abs=0.1)


def test_errors_of_shares_are_those_of_a_ratio():
    """Far from 0 the delta method holds: J C J', with J of p_i = phi_i / sum."""
    noise = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = ImportanceResult(
        torch.tensor([3.0, 2.0, 1.0]), 0.002 * noise @ noise.T, -0.5, -6.5, num_examples=50,
        num_rows=300, accuracy=0.75,
    )  # fmt: skip
    measure = callback()
    measure.load_state_dict({"epochs": [{"epoch": 0, "extra": {}, "result": result.to_dict()}]})
    jacobian = torch.autograd.functional.jacobian(lambda x: x / x.sum(), result.attributions)
    oracle = (jacobian @ result.covariance @ jacobian.T).diagonal().sqrt()
    errors = [row["share_error"] for row in measure.rows]
    assert errors == pytest.approx(oracle.tolist(), rel=0.05)  # of 2000 draws, 3 of 1.6 %


def test_an_epoch_that_is_measured_again_is_replaced():
    measure, model = callback(), network()
    for epoch in (0, 1, 1):
        measure(model, epoch, noise=0.0)
    measure(model, 1, noise=0.2)
    assert [(e.epoch, e.extra["noise"]) for e in measure.epochs] == [(0, 0.0), (1, 0.0), (1, 0.2)]


def test_what_is_saved_is_loaded_to_the_last_digit():
    measure, other = callback(), callback()
    trained(measure)
    other.load_state_dict(json.loads(measure.to_json()))
    assert other.epochs == measure.epochs
    assert other.rows == measure.rows
    third = callback()
    third.load_state_dict(measure.state_dict())
    assert third.to_json() == measure.to_json()


@pytest.mark.parametrize("state", [{}, {"epochs": [{}]}, {"epochs": 3}])
def test_another_state_is_refused(state):
    with pytest.raises(ValueError, match="must be that of an ImportanceCallback"):
        callback().load_state_dict(state)


@pytest.fixture
def lightning(monkeypatch):
    """Something with the name and the base class of Lightning."""
    module = ModuleType("lightning.pytorch")
    module.Callback = type("Callback", (), {"on_fit_start": lambda self: "from the base class"})
    monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", module)
    return module


def test_a_trainer_that_gets_it_itself_hears_of_for_lightning():
    # Lightning asks for it so where it checks its callbacks: no default, nothing is caught.
    with pytest.raises(AttributeError, match=r"no callback of Lightning.*\.for_lightning\(\)"):
        callback().state_key  # noqa: B018
    assert not hasattr(callback(), "state_key")


def test_lightning_calls_it_at_the_end_of_every_epoch_in_the_first_process(lightning):
    measure, model, logged = callback(), network().train(), []
    model.log_dict = lambda numbers, rank_zero_only: logged.append((numbers, rank_zero_only))
    hooks = measure.for_lightning(noise=0.2)
    assert isinstance(hooks, lightning.Callback)
    assert hooks.on_fit_start() == "from the base class"
    for epoch, first in ((0, True), (0, False), (1, True)):
        trainer = SimpleNamespace(is_global_zero=first, current_epoch=epoch)
        hooks.on_train_epoch_end(trainer, model)
    assert [(e.epoch, e.extra) for e in measure.epochs] == [
        (0, {"noise": 0.2}),
        (1, {"noise": 0.2}),
    ]
    assert model.training
    assert logged == [(e.result.scalars("spectral/"), True) for e in measure.epochs]
    silent = callback().for_lightning(prefix=None)
    silent.on_train_epoch_end(SimpleNamespace(is_global_zero=True, current_epoch=0), model)
    assert len(logged) == 2
    other = callback()
    other.for_lightning().load_state_dict(hooks.state_dict())
    assert other.epochs == measure.epochs


def test_without_lightning_its_absence_is_named(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="for_lightning needs Lightning; install it with pip"):
        callback().for_lightning()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ImportanceCallback([1], LABELS), TypeError, "images must be a torch.Tensor, got"),
        (lambda: ImportanceCallback(IMAGES, LABELS[:3]), ValueError, "one for each image, got sha"),
        (lambda: callback(batch_size=0), ValueError, "batch_size must be at least 1"),
        (lambda: callback(n_samples=0), ValueError, "n_samples must be at least 1"),
        (lambda: callback()(len, 0), TypeError, "model must be a torch.nn.Module, got builtin"),
        (lambda: callback()(network(), -1), ValueError, "epoch must be at least 0"),
        (lambda: callback()(network(), 0, band=1), ValueError, "'band' is a column of every row"),
        (lambda: callback()(network(), 0, x=LABELS), TypeError, "x must be a number or a string"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
