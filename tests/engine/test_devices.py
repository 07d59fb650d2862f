"""Memory formats, autocast, models that are spread over devices, and CUDA where there is one."""

import copy
import os
import re
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from helpers import tiny_cnn
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from captum_spectral import (
    BandGame,
    BoundaryIntegratedGradients,
    BoundarySaliency,
    BoundarySearch,
    FeatureSuppression,
    SpectralImportance,
    SpectralShapley,
    deletion_curve,
    find_boundary,
    insertion_curve,
)
from captum_spectral._engine import chunk_size, evaluation, signals
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


def test_one_process_per_device_as_documented(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "explain.py").write_text(code, encoding="utf-8")
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*run, "explain.py"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    torch.manual_seed(0)  # as in the script
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()
    images = torch.rand(10, 3, 32, 32)
    expected = SpectralShapley(model).attribute(images, torch.arange(10), return_input_shape=False)
    parts = [torch.load(tmp_path / f"bands-{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert sorted(torch.cat([part["examples"] for part in parts]).tolist()) == list(range(10))
    for part in parts:
        torch.testing.assert_close(part["bands"], expected[part["examples"]])


class Waits(TorchDispatchMode):
    """Records operations whose result the CPU needs; on a GPU each would wait for the device."""

    WAITING = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2")

    def __init__(self):
        super().__init__()
        self.active, self.found = False, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self.active and func.overloadpacket.__name__ in self.WAITING:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("per_eval", [None, 1, 3])
@pytest.mark.parametrize("target", [2, TARGET, torch.tensor(TARGET), None])
def test_nothing_in_the_loop_waits_for_the_device(monkeypatch, target, per_eval):
    monkeypatch.setattr(evaluation, "_looking_waits", lambda device: True)  # as on a GPU
    monkeypatch.setattr(signals, "BLOCK_BYTES", 0)
    monkeypatch.setattr(chunk_size, "LARGEST_GUESS", 4)
    model, rows, waits = tiny_cnn(dtype=torch.float32), 0, Waits()

    def forward(x, shift):
        nonlocal rows
        rows += len(x)
        waits.active = rows < 3 * 2**4  # from the first forward pass to the last
        return model(x) + shift[:, None]

    with waits:
        explain(
            forward,
            target=target,
            perturbations_per_eval=per_eval,
            additional_forward_args=torch.rand(3),
        )
        assert rows == 3 * 2**4
        assert waits.found == []
        waits.active = True
        assert torch.ones(1).all()
    assert waits.found  # the watch works


def test_targets_per_example_are_on_the_device_before_the_loop():
    x = X.to(DEVICES[-1])
    for target in (TARGET, torch.tensor(TARGET)):
        assert BandGame(tiny_cnn(), x, target=target, num_bands=4).caller.target.device == x.device


@pytest.mark.parametrize("own", [False, True])
def test_on_a_device_a_value_that_is_not_finite_is_found_at_the_end(monkeypatch, own):
    monkeypatch.setattr(evaluation, "_looking_waits", lambda device: True)
    network, rows = tiny_cnn(dtype=torch.float32), 0

    class Broken(nn.Module):
        repaired = False

        def forward(self, x):
            nonlocal rows
            before, rows = rows, rows + len(x)
            number = torch.arange(before, rows)[:, None]  # example 1 with coalition 5
            return torch.where((number == 21) & (not self.repaired), torch.nan, network(x))

    model = Broken().eval()
    game = BandGame(model, X, num_bands=4)
    coalitions = all_coalitions(4).expand(3, 16, 4) if own else all_coalitions(4)
    message = r"not finite .* for example 1 with the coalition of bands \[0, 2\] out of 4"
    with pytest.raises(ValueError, match=message):
        game.evaluate(coalitions)
    assert rows == 3 * 16
    model.repaired = True
    expected = BandGame(network, X, num_bands=4).evaluate(coalitions)
    torch.testing.assert_close(game.evaluate(coalitions), expected)


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not part of this PyTorch")
def test_the_kernel_compiles_for_a_gpu_that_is_not_here(tmp_path):
    """For Hopper, in every dtype, with the largest block and stores of four elements at once.

    This needs a compiler and no device.
    """
    script = tmp_path / "compile.py"
    script.write_text(
        """
import inspect

import triton
from triton.backends.compiler import GPUTarget
from captum_spectral._engine import synthesis_kernel as kernel

names = kernel._kernel.fn.arg_names
for out in ("fp32", "fp16", "bf16"):
    types = {name: "i32" for name in names}
    types |= {"out": f"*{out}", "signals": "*fp32", "codes": "*i64"}
    for blocks in kernel.BLOCKS[-1:]:
        constants = {"NUM_BANDS": 8, **blocks.kwargs}
        if "constexprs" in inspect.signature(triton.compiler.ASTSource).parameters:
            signature = types | {name: "constexpr" for name in constants}
            # What a launch knows of photographs: addresses and strides are multiples of 16.
            aligned = [n for n in names if n not in [*kernel.CHANGING, *constants]]
            attributes = {(names.index(n),): [["tt.divisibility", 16]] for n in aligned}
            given = {"constexprs": constants, "attrs": attributes}
            stores = "st.global.v4"
        else:  # before Triton 3.3
            signature = {name: t for name, t in types.items() if name not in constants}
            given = {"constants": constants}
            stores = "st.global"
        source = triton.compiler.ASTSource(kernel._kernel.fn, signature=signature, **given)
        options = {"num_warps": blocks.num_warps, "enable_fp_fusion": True}
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert stores in compiled.asm["ptx"]
print("compiled")
""",
        encoding="utf-8",
    )
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "compiled\n", done.stderr


@pytest.mark.parametrize("n_samples", [None, 2])
def test_the_default_device_of_pytorch_is_not_asked(n_samples):
    inputs, model = torch.rand(2, 3, 16, 16), tiny_cnn(dtype=torch.float32)

    def attribute():
        generator = torch.Generator("cpu").manual_seed(0)
        return SpectralShapley(model).attribute(
            inputs, [0, 1], num_bands=3, n_samples=n_samples, generator=generator
        )

    expected = attribute()
    torch.set_default_device("meta")  # where no number survives
    try:
        attributions = attribute()
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(attributions, expected)


ON_BOUNDARIES = [
    (find_boundary, {}),
    (find_boundary, {"clip": (0, 1), "on_missing": "nan", "num_restarts": 1}),
    (find_boundary, {"clip": (torch.zeros(3), [1, 1, 1]), "on_missing": "nan"}),
    (find_boundary, {"method": "pgd", "radii": (1, 4, 16), "on_missing": "nan"}),
    (BoundarySaliency, {"score": "margin", "search": BoundarySearch(num_restarts=1)}),
    (BoundaryIntegratedGradients, {"n_steps": 8, "return_convergence_delta": True}),
]
ON_SAMPLES = [
    (FeatureSuppression, {"n_samples": 4, "return_standard_error": True, **options})
    for options in (
        {"return_confidence": True},
        {"domain": "frequency", "num_bands": 3, "internal_batch_size": 2},
    )
]
ALONG_PATHS = [
    (curve, {"n_steps": 4, **options})
    for curve in (insertion_curve, deletion_curve)
    for options in (
        {"attributions": X.double()},
        {"attributions": X.double()[:, 0, 0, :5], "domain": "frequency", "num_bands": 5},
    )
]


def on(device, value):
    return value.to(device) if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("method", "options"), ON_BOUNDARIES + ON_SAMPLES + ALONG_PATHS)
def test_pixel_methods_give_the_results_of_the_cpu(device, method, options):
    results = []
    for where in ("cpu", device):
        model, x = tiny_cnn().to(where), X.double().to(where)
        args = {name: on(where, value) for name, value in options.items()}
        args["target"] = model(x).argmax(1)
        function = method(model).attribute if isinstance(method, type) else partial(method, model)
        torch.manual_seed(0)
        result = function(x, **args)
        results.append(result if isinstance(result, tuple) else (result,))
    assert all(r.device.type == device for r in results[1])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-5, atol=1e-8, equal_nan=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "options", [{}, {"n_samples": 1}, {"baselines": "noise"}, {"baselines": "donor"}]
)
def test_spectral_importance_is_the_same_everywhere(device, options):
    labels = torch.tensor([0, 3, 1])
    results = []
    for where in ("cpu", device):
        model = tiny_cnn(dtype=torch.float32).to(where)
        importance = SpectralImportance(model, num_bands=4, **options).to(where)
        importance.evaluate([(X, labels), (X + 1, None)], show_progress=False)
        assert importance.moments.device.type == where
        results.append(importance.compute())
    for name in ("attributions", "covariance"):
        torch.testing.assert_close(
            getattr(results[1], name), getattr(results[0], name), atol=1e-4, rtol=1e-3
        )
