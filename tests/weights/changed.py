"""A small network, the same with rounded weights, and Shapley values by definition."""

import copy
from itertools import permutations

import torch
from torch import nn


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, stride=2, padding=1, padding_mode="reflect"),
            nn.Tanh(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 3),
        ).double()
        model[1].running_mean.normal_(0, 0.1)
        model[1].running_var.uniform_(0.5, 2)
    return model.eval()


def rounded(model, steps=4):
    other = copy.deepcopy(model)
    for tensor in (*other.parameters(), *other.buffers()):
        if tensor.dtype.is_floating_point:
            tensor.data = (tensor.data * steps).round() / steps
    return other


def inputs(examples=3):
    return torch.rand(examples, 2, 12, 12, generator=torch.Generator().manual_seed(1)).double()


def with_layers(model, other, names):
    """The other model with some modules of the first."""
    mixed = copy.deepcopy(other)
    for name in names:
        mixed.get_submodule(name).load_state_dict(model.get_submodule(name).state_dict())
    return mixed


def by_definition(value, num_players):
    """Mean over all orders of what a player adds; ``value`` takes a set."""
    orders = list(permutations(range(num_players)))
    phi = 0
    for order in orders:
        for place, player in enumerate(order):
            gain = value(frozenset(order[: place + 1])) - value(frozenset(order[:place]))
            phi = phi + gain[..., None] * torch.eye(num_players)[player].double() / len(orders)
    return phi
