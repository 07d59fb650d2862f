"""A device without float64, as MPS is: everything runs there, and in no more than float32."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from captum_spectral import (
    BandGame,
    BoundaryIntegratedGradients,
    FeatureSuppression,
    SpectralImportance,
    SpectralShapley,
    band_mask,
    deletion_curve,
    paint,
    unpaint,
)
from captum_spectral.robustness import spectral_snr

THERE = "meta"  # the one device that every build knows; here its tensors hold numbers


class Distant(Tensor):
    """A tensor that says it lies elsewhere; its numbers are on the CPU."""

    @staticmethod
    def __new__(cls, numbers):
        if numbers.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"the device has no {numbers.dtype}")
        made = Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(), dtype=numbers.dtype, device=THERE
        )
        made.numbers = numbers
        return made

    def tolist(self):
        return self.numbers.tolist()

    def __bool__(self):
        return bool(self.numbers)

    def __int__(self):
        return int(self.numbers)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


def computed(func, args, kwargs):
    found = []
    tree_map(lambda x: found.append(isinstance(x, Distant)), (args, kwargs))
    there = any(found)
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == THERE
        kwargs = {**kwargs, "device": "cpu"}
    near = partial(tree_map, lambda x: x.numbers if isinstance(x, Distant) else x)
    out = func(*near(args), **near(kwargs))
    changed = args[0] if func._schema.name.endswith("_") else kwargs.get("out")
    if isinstance(changed, Distant):
        return changed
    return tree_map(lambda x: Distant(x) if there and isinstance(x, Tensor) else x, out)


class Computing(TorchDispatchMode):
    """Operations that make tensors, which no tensor of the device sees."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


class Making(TorchFunctionMode):
    """Functions that make tensors without an operation."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.as_tensor, torch.tensor) and str(kwargs.get("device")) == THERE:
            if isinstance(args[0], Distant):
                return args[0].to(kwargs.get("dtype") or args[0].dtype)
            return Distant(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)


@pytest.fixture
def device(monkeypatch):
    for room in ("_engine.averages", "importance.metric", "robustness._energies"):
        monkeypatch.setattr(f"captum_spectral.{room}.has_float64", lambda d: d.type != THERE)

    def as_the_cpu(function):
        return lambda kind, *args, **options: function(
            "cpu" if kind == THERE else kind, *args, **options
        )

    for name in ("autocast", "is_autocast_enabled", "get_autocast_dtype"):
        monkeypatch.setattr(torch, name, as_the_cpu(getattr(torch, name)))
    with Making(), Computing():
        yield THERE


def mask_painted(model, x, y):
    values = torch.linspace(-1, 1, 8).reshape(2, 4).to(x.device)
    return unpaint(paint(values, band_mask((10, 10), 4), x), band_mask((10, 10), 4))


CALLS = {
    "Shapley": lambda m, x, y: SpectralShapley(m).attribute(x, y, num_bands=4),
    "sampled": lambda m, x, y: SpectralShapley(m).attribute(
        x, y, num_bands=6, n_samples=3, return_standard_error=True
    )[1],
    "delta": lambda m, x, y: SpectralShapley(m).attribute(
        x, y, num_bands=4, return_convergence_delta=True
    )[0],
    "suppression": lambda m, x, y: FeatureSuppression(m).attribute(
        x, y, n_samples=3, domain="frequency"
    ),
    "path": lambda m, x, y: BoundaryIntegratedGradients(m).attribute(x, y, n_steps=4),
    "importance": lambda m, x, y: SpectralImportance(m, num_bands=4)(x, y).attributions,
    "curve": lambda m, x, y: deletion_curve(m, x, x, y),
    "game": lambda m, x, y: BandGame(m, x, y, num_bands=3)(torch.eye(3)[:2].to(x.device)),
    "painted": mask_painted,
    "noise": lambda m, x, y: spectral_snr(x, x + 0.1 * x.square()).decibel,
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_computed_in_float64_off_the_cpu(name, request):
    layers = nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    model = nn.Sequential(*layers).eval()
    x = torch.rand(2, 3, 10, 10)
    y = model(x).argmax(1)
    torch.manual_seed(1)
    expected = CALLS[name](model, x, y)
    request.getfixturevalue("device")
    distant = copy.deepcopy(model)
    for part in distant.modules():
        for key, weight in part._parameters.items():
            part._parameters[key] = nn.Parameter(Distant(weight.detach()))
    torch.manual_seed(1)
    found = CALLS[name](distant, Distant(x), Distant(y))
    found, expected = (r[0] if isinstance(r, tuple) else r for r in (found, expected))
    found = getattr(found, "numbers", found)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
