"""Models that hold a DistributedDataParallel, which talks to other processes."""

from functools import partial

import pytest
import torch
from helpers import tiny_cnn
from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore

from captum_spectral import FeatureSuppression, SpectralShapley, find_boundary

X = torch.rand(3, 3, 12, 10)
TARGET = [0, 3, 1]


@pytest.fixture
def two_processes():
    """A group of which this is one process, and the other answers whatever is expected."""
    dist = torch.distributed
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


def distributed(buffers=True):
    norm = nn.BatchNorm2d(3) if buffers else nn.Identity()
    model = nn.Sequential(norm, tiny_cnn(dtype=torch.float32))
    return nn.parallel.DistributedDataParallel(model).eval()


def keeping_buffers(model):
    """As the option of DistributedDataParallel, whose name depends on the release, leaves it."""
    model.broadcast_buffers = model.forward_sync_buffers = False
    return model


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda model: nn.Sequential(nn.Identity(), model), "1"),
        (lambda model: nn.ModuleDict({"net": model}).net.forward, "it is one"),
        (lambda model: partial(nn.Sequential(model)), "0"),
        (lambda model: nn.DataParallel(model), "module"),
    ],
)
def test_a_part_that_waits_for_other_processes_is_refused(two_processes, wrap, name):
    message = rf"forward_func holds a DistributedDataParallel \({name}\).*its .module in its place"
    model = wrap(distributed())
    with pytest.raises(ValueError, match=message):
        FeatureSuppression(model).attribute(X, 1, n_samples=2)
    with pytest.raises(ValueError, match=message):
        find_boundary(model, X, model(X).argmax(1))
    assert (
        SpectralShapley(model).attribute(X, 1, num_bands=4).shape == X.shape
    )  # without gradients nothing is waited for


@pytest.mark.parametrize(
    "model",
    [
        lambda: nn.Sequential(distributed(buffers=False)),
        lambda: nn.Sequential(keeping_buffers(distributed())),
        lambda: distributed(),
        lambda: distributed().module,
    ],
)
def test_a_distributed_model_that_need_not_wait_is_taken(two_processes, model):
    assert FeatureSuppression(model()).attribute(X, 1, n_samples=2).shape == X.shape
