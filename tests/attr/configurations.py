"""The configurations that every attribution method is tried with: models, inputs, arguments."""

from typing import Any, NamedTuple

import torch
from helpers import Quadratic, tiny_cnn
from torch import nn

from captum_spectral import band_mask


class Spatial(nn.Module):
    """A model whose outputs have two dims: (B, 4, 5)."""

    def __init__(self):
        super().__init__()
        self.body = tiny_cnn(1, 20)
        self.eval()

    def forward(self, x):
        return self.body(x).reshape(-1, 4, 5)


class WithArgs(nn.Module):
    """A model of an image, a number per example, and an option that is no tensor."""

    def __init__(self, seed=0):
        super().__init__()
        self.body = tiny_cnn(1, seed=seed)
        self.eval()

    def forward(self, x, scale, table, power=1):
        assert table.shape == (7,)  # not one per example: passed through as it is
        return self.body(x) * scale[:, None] ** power + table.sum()


class Config(NamedTuple):
    """One way to call a method: of 3 examples, as all of them here are."""

    name: str
    model: Any
    inputs: Any
    arguments: dict[str, Any]  # of ``attribute``

    def of_example(self, e):
        """The same call for example ``e`` alone, cut out the way a user would."""
        arguments = {name: of_example(value, e) for name, value in self.arguments.items()}
        if isinstance(self.arguments.get("target"), tuple):  # one index of several numbers
            arguments["target"] = self.arguments["target"]
        return self._replace(inputs=of_example(self.inputs, e), arguments=arguments)


def of_example(value, e):
    if isinstance(value, tuple):
        return tuple(of_example(v, e) for v in value)
    if isinstance(value, list) and len(value) == 3:
        return value[e : e + 1]
    if isinstance(value, torch.Tensor) and value.dim() and len(value) == 3:
        return value[e : e + 1]
    return value


def copied(value):
    """A copy of an argument: a tensor of inference mode where that is on."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(copied, value))
    return value.clone() if isinstance(value, torch.Tensor) else value


def tuples(x):
    return x if isinstance(x, tuple) else (x,)


def without_other_arguments(configs):
    """NoiseTunnel and the metrics repeat every tensor, also one that is not per example."""
    return [c for c in configs if c.name != "additional arguments"]


def of_one_tensor(configs):
    return [c for c in configs if c.name != "two inputs"]


X = torch.rand(3, 1, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
OTHER = torch.rand(3, 2, 9, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
MASK = band_mask((10, 12), 3)
SCALE_TABLE_POWER = (torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), torch.arange(7.0), 2)
CONFIGS = [
    Config("int target", tiny_cnn(1), X, {"target": 2}),
    Config("list target", tiny_cnn(1), X, {"target": [0, 3, 1]}),
    Config("tensor target", tiny_cnn(1), X, {"target": torch.tensor([4, 0, 2])}),
    Config("one-element tensor target", tiny_cnn(1), X, {"target": torch.tensor([1])}),
    Config("tuple target", Spatial(), X, {"target": (2, 3)}),
    Config("list of tuple targets", Spatial(), X, {"target": [(0, 1), (3, 4), (2, 0)]}),
    Config(
        "additional arguments",
        WithArgs(),
        X,
        {"target": [0, 3, 1], "additional_forward_args": SCALE_TABLE_POWER},
    ),
    Config(
        "two inputs",
        Quadratic((1, 10, 12), (2, 9, 8)),
        (X, OTHER),
        {"target": [2, 0, 1], "baselines": (X.flip(0), 0.1)},
    ),
    Config(
        "a tuple of one",
        tiny_cnn(1),
        (X,),
        {"target": 0, "baselines": (X.mean(0, keepdim=True),)},
    ),
]
