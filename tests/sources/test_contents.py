"""All that changes a model's numbers is seen, wherever it is held; all that does not is not."""

import copy
import functools
import threading
import warnings
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from captum_spectral.sources.contents import contents_of


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(3, 3)


def quantised(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(linear(seed)), {nn.Linear})


def scripted(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(linear(seed), nn.ReLU()).eval())


def frozen(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.freeze(scripted(seed))


def traced(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(linear(seed), torch.rand(1, 3))


class Holder(nn.Module):
    """Holds something in a plain attribute."""

    def __init__(self, held):
        super().__init__()
        self.held = held


class Slotted:
    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale


class Callable:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, x):
        return self.scale * x


def with_buffer(number):
    module = nn.Module()
    module.register_buffer("hidden", torch.tensor([float(number)]), persistent=False)
    return module


def with_hook(number):
    module = linear()
    module.register_forward_hook(lambda module, args, output: output + number)
    return module


def with_default(number):
    return lambda x, by=number: by * x


FACTOR = {"by": 2.0}


def of_a_global(x):
    return FACTOR["by"] * x


MODELS = {
    "parameters": linear,
    "dynamically quantised layers": quantised,
    "scripted modules": scripted,
    "frozen scripts, whose weights are constants": frozen,
    "traced modules": traced,
    "symbolically traced modules": lambda n: torch.fx.symbolic_trace(nn.Sequential(linear(n))),
    "compiled modules": lambda n: torch.compile(linear(n)),
    "wrapped modules": lambda n: nn.DataParallel(linear(n)),
    "parametrised weights": lambda n: nn.utils.parametrizations.weight_norm(linear(n)),
    "non-persistent buffers": with_buffer,
    "hooks of the forward pass": with_hook,
    "numbers in attributes": lambda n: Holder(1.0 + n),
    "texts in attributes": lambda n: Holder(f"mode {n}"),
    "tensors in attributes": lambda n: Holder(torch.tensor([n])),
    "arrays in attributes": lambda n: Holder(np.array([n])),
    "numbers of NumPy": lambda n: Holder(np.float32(n)),
    "generators": lambda n: Holder(torch.Generator().manual_seed(n)),
    "generators of NumPy": lambda n: Holder(np.random.default_rng(n)),
    "lists of modules": lambda n: Holder([linear(n)]),
    "tuples in dictionaries": lambda n: Holder({"a": (1, {"b": torch.tensor(n)})}),
    "sets": lambda n: Holder({"a", f"b{n}"}),
    "queues": lambda n: Holder(deque([n])),
    "objects": lambda n: Holder(Callable(n)),
    "objects with slots": lambda n: Holder(Slotted(n)),
    "callable objects": Callable,
    "bound methods": lambda n: Callable(n).__call__,
    "partial functions": lambda n: functools.partial(of_a_global, n),
    "variables of closures": lambda n: lambda x: linear(n)(x),
    "defaults": with_default,
    "data types": lambda n: Holder((torch.float16, torch.bfloat16)[n]),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_changes_numbers_is_seen(make):
    here, there = contents_of(make(0)), contents_of(make(1))
    assert (here.tensors, here.rest) != (there.tensors, there.rest)
    assert here.unseen == there.unseen == ()


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_same_model_made_again_is_the_same(make):
    assert contents_of(make(1)) == contents_of(make(1))


def test_globals_that_a_function_names_are_seen(monkeypatch):
    before = contents_of(of_a_global)
    monkeypatch.setitem(FACTOR, "by", 3.0)
    assert contents_of(of_a_global) != before


def test_another_constant_in_the_code_is_seen():
    assert contents_of(lambda x: x.clamp(max=9)) != contents_of(lambda x: x.clamp(max=8))
    assert contents_of(lambda x: x.exp()) != contents_of(lambda x: x.sin())


def test_another_layer_of_the_same_shape_is_seen():
    assert contents_of(nn.ReLU()) != contents_of(nn.Tanh())
    assert contents_of(nn.Dropout(0.1)) != contents_of(nn.Dropout(0.2))
    assert contents_of(nn.ReLU().train()) != contents_of(nn.ReLU().eval())


def test_two_tensors_that_change_places_are_seen():
    a, b = torch.tensor([1.0]), torch.tensor([2.0])
    assert contents_of(Holder([a, b])) != contents_of(Holder([b, a]))
    assert contents_of(Holder([a, a])) != contents_of(Holder([a, b]))


def test_a_copy_is_the_same():
    model = nn.Sequential(linear(), nn.BatchNorm1d(3), Holder({"a": [1.0]}))
    assert contents_of(copy.deepcopy(model)) == contents_of(model)


def test_a_removed_hook_leaves_no_trace():
    model = linear()
    before = contents_of(model)
    model.register_forward_hook(lambda *args: None).remove()
    model.register_full_backward_hook(lambda *args: None)  # of no forward pass
    assert contents_of(model) == before


def test_a_run_changes_nothing_that_counts():
    model = nn.Sequential(linear(), nn.BatchNorm1d(3)).eval()
    before = contents_of(model)
    model(torch.rand(2, 3)).sum().backward()
    assert contents_of(model) == before


def test_locks_and_devices_do_not_count():
    assert contents_of(Holder(threading.Lock())) == contents_of(Holder(threading.Lock()))
    held = Holder(torch.device("cpu")), Holder(torch.device("cuda", 1))
    assert contents_of(held[0]) == contents_of(held[1])


def test_what_cannot_be_read_is_named():
    found = contents_of(Holder({"session": (i for i in "ab"), "view": memoryview(b"a")}))
    assert found.unseen == (
        "Holder.held.session (builtins.generator)",
        "Holder.held.view (builtins.memoryview)",
    )


def test_cycles_and_depth_come_to_an_end():
    model = Holder([])
    model.held.append([model.held])
    assert contents_of(model).unseen == ()
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert contents_of(deep).unseen == ("what lies too deep",)
