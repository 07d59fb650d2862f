"""Memory formats, autocast, models that are spread over devices, and CUDA where there is one."""

import copy

import pytest
import torch
from helpers import tiny_cnn
from torch import nn

from captum_spectral import BandGame, SpectralShapley
from captum_spectral.coalitions import all_coalitions

X = torch.rand(3, 3, 12, 10)
TARGET = [0, 3, 1]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def explain(model, x=X, target=TARGET, **arguments):
    return SpectralShapley(model).attribute(
        x, target, num_bands=4, return_input_shape=False, **arguments
    )


class Watching(nn.Module):
    """Records what the model is given."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []
        self.eval()

    def forward(self, x):
        self.seen.append((x.dtype, x.is_contiguous(memory_format=torch.channels_last)))
        return self.model(x)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("per_eval", [None, 1, 5])
def test_channels_last_inputs_are_channels_last_for_the_model(device, per_eval):
    model = Watching(tiny_cnn(dtype=torch.float32)).to(device)
    x = X.to(device)
    expected = explain(model, x, perturbations_per_eval=per_eval)
    assert not any(channels_last for _, channels_last in model.seen)
    model.seen.clear()
    x = x.contiguous(memory_format=torch.channels_last)
    result = explain(model, x, perturbations_per_eval=per_eval)
    assert all(channels_last for _, channels_last in model.seen)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-6)
    game = BandGame(model, x, num_bands=4)
    model.seen.clear()
    full = game(torch.ones(3, 4, device=device))
    assert model.seen == [(torch.float32, True)]
    torch.testing.assert_close(full, model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_is_the_models_and_values_are_float32(device):
    class Output(nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.dtypes = tiny_cnn(dtype=torch.float32), set()
            self.eval()

        def forward(self, x):
            out = self.model(x)
            self.dtypes.add((x.dtype, out.dtype))
            return out

    model = Output().to(device)
    x = X.to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        values = BandGame(model, x, num_bands=4).evaluate(all_coalitions(4))
    assert model.dtypes == {(torch.float32, torch.bfloat16)}
    assert values.dtype is torch.float32
    exact = BandGame(model, x, num_bands=4).evaluate(all_coalitions(4))
    torch.testing.assert_close(values, exact, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_get_half_precision_rows(dtype):
    model = Watching(tiny_cnn(dtype=dtype))
    result = explain(model, X.to(dtype))
    assert {seen for seen, _ in model.seen} == {dtype}
    assert result.dtype is torch.float32
    exact = explain(tiny_cnn(dtype=torch.float64), X.double())
    torch.testing.assert_close(result.double(), exact, rtol=0.1, atol=0.02)


def test_data_parallel_changes_nothing():
    model = tiny_cnn(dtype=torch.float32)
    device = DEVICES[-1]
    parallel = nn.DataParallel(copy.deepcopy(model).to(device)).eval()
    result = explain(parallel, X.to(device)).cpu()
    torch.testing.assert_close(result, explain(model), rtol=1e-4, atol=1e-6)


def test_a_distributed_model_changes_nothing(tmp_path):
    model = tiny_cnn(dtype=torch.float32)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    try:
        distributed = nn.parallel.DistributedDataParallel(copy.deepcopy(model)).eval()
        torch.testing.assert_close(explain(distributed), explain(model))
    finally:
        torch.distributed.destroy_process_group()


def test_targets_and_arguments_may_lie_on_any_device_and_in_any_form():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = tiny_cnn(dtype=torch.float32)
            self.eval()

        def forward(self, x, shift):
            return self.model(x) * shift[:, None]

    device = DEVICES[-1]
    model, shift = Shifted().to(device), torch.tensor([1.0, 2.0, 3.0], device=device)
    x = X.to(device)
    results = [
        explain(model, x, target, additional_forward_args=shift)
        for target in (
            [0, 3, 1],
            torch.tensor([0, 3, 1]),
            torch.tensor([0, 3, 1]).to(device),
            torch.tensor([0, 3, 1], dtype=torch.int32),
            [(0,), (3,), (1,)],
        )
    ]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_device_gives_the_values_of_the_cpu(device, dtype):
    model, x = tiny_cnn(dtype=dtype), X.to(dtype)
    game = BandGame(copy.deepcopy(model).to(device), x.to(device), target=[0, 3, 1], num_bands=4)
    values = game.evaluate(all_coalitions(4))
    expected = BandGame(model, x, target=[0, 3, 1], num_bands=4).evaluate(all_coalitions(4), 1)
    assert values.device.type == device
    torch.testing.assert_close(values.cpu(), expected, rtol=1e-4, atol=1e-5)
