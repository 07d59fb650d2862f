"""Training mode matters where a module looks at it, in whatever the model is wrapped."""

import warnings

import pytest
import torch
from helpers import tiny_cnn
from torch import nn

from captum_spectral import BandGame

X = torch.rand(2, 1, 10, 12, dtype=torch.float64)


class Functional(nn.Module):
    """A model of one's own whose dropout is a function."""

    def __init__(self):
        super().__init__()
        self.body = tiny_cnn(1)

    def forward(self, x):
        return nn.functional.dropout(self.body(x), 0.5, self.training)


class Wrapper(nn.Module):
    """A wrapper such as that of Lightning Fabric, in training mode by default."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


def with_(layer):
    return nn.Sequential(nn.Conv2d(1, 4, 3, dtype=torch.float64), layer, nn.Flatten())


RANDOM = {
    "dropout": lambda: with_(nn.Dropout(0.5)),
    "dropout of channels": lambda: with_(nn.Dropout2d(0.5)),
    "alpha dropout": lambda: with_(nn.AlphaDropout(0.5)),
    "batch norm": lambda: with_(nn.BatchNorm2d(4, dtype=torch.float64)),
    "instance norm with statistics": lambda: with_(
        nn.InstanceNorm2d(4, track_running_stats=True, dtype=torch.float64)
    ),
    "random relu": lambda: with_(nn.RReLU()),
    "functional dropout": lambda: Functional().train(),
    "in a wrapper": lambda: Wrapper(with_(nn.Dropout(0.5))),
    "in DataParallel": lambda: nn.DataParallel(with_(nn.Dropout(0.5))),
    "one layer of many": lambda: (m := with_(nn.Dropout(0.5)).eval(), m[1].train())[0],
}
HARMLESS = {
    "no layer that looks at it": lambda: with_(nn.ReLU()).train(),
    "a dropout of nothing": lambda: with_(nn.Dropout(0.0)).train(),
    "instance norm": lambda: with_(nn.InstanceNorm2d(4)).train(),
    "a container around a model in eval mode": lambda: nn.Sequential(
        with_(nn.Dropout(0.5)).eval(), nn.Softmax(1)
    ),
    "DataParallel around one": lambda: nn.DataParallel(with_(nn.Dropout(0.5)).eval()),
    "a wrapper around one": lambda: Wrapper(Functional().eval()),
    "compiled": lambda: torch.compile(with_(nn.Dropout(0.5)).eval(), backend="eager"),
}


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_what_is_random_in_training_mode_is_warned_about(make):
    model = make()
    with pytest.warns(UserWarning, match=r"training mode.*call \.eval\(\) first"):
        BandGame(model, X)


@pytest.mark.parametrize("make", HARMLESS.values(), ids=HARMLESS)
def test_what_is_not_is_not(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BandGame(make(), X)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripts_frozen_ones_and_exported_programs():
    model = with_(nn.Dropout(0.5))
    with pytest.warns(UserWarning, match="training mode"):
        BandGame(torch.jit.script(model.train()), X)
    model.eval()
    scripted = torch.jit.script(model)
    exported = torch.export.export(model, (X,)).module()
    for quiet in (scripted, torch.jit.freeze(scripted), torch.jit.trace(model, (X,)), exported):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            game = BandGame(quiet, X, 1)
        torch.testing.assert_close(
            game.evaluate(torch.ones(1, game.num_bands, dtype=torch.bool), 1),
            BandGame(model, X, 1).evaluate(torch.ones(1, game.num_bands, dtype=torch.bool), 1),
        )


@pytest.mark.parametrize(
    "layer", [nn.Dropout(0.5), nn.BatchNorm2d(4, dtype=torch.float64)], ids=["dropout", "norm"]
)
@pytest.mark.parametrize("decomposed", [False, True])
def test_a_program_exported_in_training_mode_keeps_it(layer, decomposed):
    program = torch.export.export(with_(layer).train(), (X,))
    if decomposed:
        program = program.run_decompositions()
    with pytest.warns(UserWarning, match=r"training mode.*of an exported program, before it is"):
        BandGame(program.module(), X)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_distributed_data_parallel_has_the_mode_of_its_model(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        parallel = nn.parallel.DistributedDataParallel(with_(nn.Dropout(0.5)).eval())
        assert parallel.training
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            BandGame(parallel, X)
        with pytest.warns(UserWarning, match="training mode"):
            BandGame(parallel.train(), X)
    finally:
        torch.distributed.destroy_process_group()


def test_a_model_set_up_by_fabric_has_the_mode_of_its_model():
    fabric = pytest.importorskip("lightning.fabric").Fabric(accelerator="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BandGame(fabric.setup(with_(nn.Dropout(0.5)).eval()), X)
    with pytest.warns(UserWarning, match="training mode"):
        BandGame(fabric.setup(with_(nn.Dropout(0.5)).train()), X)


def test_a_lightning_module_around_a_model_in_eval_mode_is_quiet():
    lightning = pytest.importorskip("lightning")

    class Lit(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = with_(nn.Dropout(0.5)).eval()

        def forward(self, x):
            return self.model(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BandGame(Lit(), X)
    with pytest.warns(UserWarning, match="training mode"):
        BandGame(Lit().train(), X)
