"""Models, inputs and configurations that every method is tried with."""

import pytest
import torch
from helpers import Quadratic, tiny_cnn
from torch import nn

from captum_spectral import (
    BoundaryIntegratedGradients,
    BoundarySaliency,
    FeatureSuppression,
    SpectralShapley,
    band_mask,
    find_boundary,
)


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


X = torch.rand(3, 1, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MASK = band_mask((10, 12), 3)
CONFIGS = [
    {"name": "int target", "model": tiny_cnn(1), "inputs": X, "args": {"target": 2}},
    {"name": "list target", "model": tiny_cnn(1), "inputs": X, "args": {"target": [0, 3, 1]}},
    {
        "name": "tensor target",
        "model": tiny_cnn(1),
        "inputs": X,
        "args": {"target": torch.tensor([4, 0, 2])},
    },
    {
        "name": "one-element tensor target",
        "model": tiny_cnn(1),
        "inputs": X,
        "args": {"target": torch.tensor([1])},
    },
    {"name": "tuple target", "model": Spatial(), "inputs": X, "args": {"target": (2, 3)}},
    {
        "name": "list of tuple targets",
        "model": Spatial(),
        "inputs": X,
        "args": {"target": [(0, 1), (3, 4), (2, 0)]},
    },
    {
        "name": "additional arguments",
        "model": WithArgs(),
        "inputs": X,
        "args": {
            "target": [0, 3, 1],
            "additional_forward_args": (
                torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
                torch.arange(7.0),
                2,
            ),
        },
    },
    {
        "name": "two inputs",
        "model": Quadratic((1, 10, 12), (2, 9, 8)),
        "inputs": (X, torch.rand(3, 2, 9, 8, dtype=torch.float64)),
        "args": {"target": [2, 0, 1], "baselines": (X.flip(0), 0.1)},
    },
    {
        "name": "a tuple of one",
        "model": tiny_cnn(1),
        "inputs": (X,),
        "args": {"target": 0, "baselines": (X.mean(0, keepdim=True),)},
    },
]
METHODS = [
    {"algorithm": SpectralShapley, "args": {"num_bands": 3}},
    {"algorithm": SpectralShapley, "args": {"num_bands": 3, "n_samples": 2}, "seeded": True},
]
SUPPRESSION_METHODS = [
    {"algorithm": FeatureSuppression, "args": {"n_samples": 3}, "seeded": True},
    {
        "algorithm": FeatureSuppression,
        "args": {"n_samples": 3, "domain": "frequency", "num_bands": 3, "absolute": False},
        "seeded": True,
    },
]
# Only what a classifier predicts has a boundary around it: one class for all, or 4, 1 and 4.
ONE_CLASS, SOME_CLASSES = tiny_cnn(1), tiny_cnn(1, seed=4)
PREDICTED = {
    "int target": {"model": ONE_CLASS, "args": {"target": 2}},
    "list target": {"model": SOME_CLASSES, "args": {"target": [4, 1, 4]}},
    "tensor target": {"model": SOME_CLASSES, "args": {"target": torch.tensor([4, 1, 4])}},
    "one-element tensor target": {"model": ONE_CLASS, "args": {"target": torch.tensor([2])}},
    "additional arguments": {"model": WithArgs(4), "args": {"target": [4, 1, 4]}},
    "a tuple of one": {
        "model": ONE_CLASS,
        "args": {"target": 2, "baselines": find_boundary(ONE_CLASS, (X,), 2).points},
    },
}
CONFIGS_OF_PREDICTIONS = [
    {**c, **PREDICTED[c["name"]], "args": {**c["args"], **PREDICTED[c["name"]]["args"]}}
    for c in CONFIGS
    if c["name"] in PREDICTED
]
BOUNDARY_METHODS = [
    {"algorithm": BoundarySaliency, "args": {"score": "margin"}, "rows": 1},
    {"algorithm": BoundaryIntegratedGradients, "args": {"n_steps": 7}, "rows": 7},
]


def pairs(configs, methods):
    return [
        pytest.param(
            m,
            c,
            id="-".join(map(str, (m["algorithm"].__name__, *m["args"].values(), c["name"]))),
        )
        for m in methods
        for c in configs
    ]


def cases(pairs):
    return pytest.mark.parametrize(("method", "config"), pairs)


def without_other_args(configs):
    """NoiseTunnel and the metrics repeat every tensor, also one that is not per example."""
    return [c for c in configs if c["name"] != "additional arguments"]


OF_GRADIENTS = pairs(CONFIGS, SUPPRESSION_METHODS) + pairs(CONFIGS_OF_PREDICTIONS, BOUNDARY_METHODS)
THAT_WRAPPERS_REPEAT = pairs(without_other_args(CONFIGS), METHODS)
OF_GRADIENTS_THAT_WRAPPERS_REPEAT = pairs(without_other_args(CONFIGS), SUPPRESSION_METHODS) + pairs(
    without_other_args(CONFIGS_OF_PREDICTIONS), BOUNDARY_METHODS
)


def tuples(x):
    return x if isinstance(x, tuple) else (x,)


def run(method, config, model=None, inputs=None, **overrides):
    torch.manual_seed(0)
    args = {**method["args"], **config["args"], **overrides}
    explainer = method["algorithm"](config["model"] if model is None else model)
    return explainer.attribute(config["inputs"] if inputs is None else inputs, **args)


def with_points(method, config):
    """The arguments, with boundary points where the method would search for them."""
    args = {**method["args"], **config["args"]}
    if method in BOUNDARY_METHODS and "baselines" not in args:
        args["baselines"] = find_boundary(
            config["model"],
            config["inputs"],
            args["target"],
            additional_forward_args=args.get("additional_forward_args"),
        ).points
    return args


def copied(value):
    """A copy of an argument: a tensor of inference mode where that is on."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(copied, value))
    return value.clone() if isinstance(value, torch.Tensor) else value


def of_example(value, e, num_examples=3):
    """What belongs to example ``e`` in an argument, the way a user would cut it out."""
    if isinstance(value, tuple):
        return tuple(of_example(v, e) for v in value)
    if isinstance(value, list) and len(value) == num_examples:
        return value[e : e + 1]
    if isinstance(value, torch.Tensor) and value.dim() and len(value) == num_examples:
        return value[e : e + 1]
    return value
