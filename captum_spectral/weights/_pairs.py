"""A low-rank change of a layer's weight, as a second way through two small layers."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

__all__ = ["Restored", "like", "pair_of", "restored"]

_ONE_BY_ONE = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Restored(nn.Module):
    """A layer with rounded weights and, beside it, the pair that gives back a part of the rest.

    Args:
        layer: With rounded weights.
        first: Takes what the layer takes.
        second: Takes what ``first`` gives.
    """

    def __init__(self, layer: nn.Module, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.layer, self.first, self.second = layer, first, second
        self.training = layer.training

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Add what the pair gives to what the layer gives."""
        # Further arguments, such as an output's size, are for the one with the layer's geometry.
        transposed = isinstance(self.layer, _ConvNd) and self.layer.transposed
        between = self.first(x) if transposed else self.first(x, *args, **kwargs)
        more = self.second(between, *args, **kwargs) if transposed else self.second(between)
        whole: Tensor = self.layer(x, *args, **kwargs) + more
        return whole


def restored(layer: nn.Module, up: Tensor, down: Tensor) -> Restored:
    """Return a layer with the pair of a change ``up @ down`` of its weight beside it."""
    return Restored(layer, *pair_of(layer, up, down))


@torch.no_grad()
def pair_of(layer: nn.Module, up: Tensor, down: Tensor) -> tuple[nn.Module, nn.Module]:
    r"""Return two layers in a row that act as ``layer`` with the weight ``up @ down``, unbiased.

    Of the layer's weight as a matrix, ``weight.flatten(1)``. A convolution is followed by mixing
    channels in every place, with ``up`` as its weights; a transposed one comes after it. All groups
    share the filters ``down``.

    Args:
        layer: A convolution, a transposed one or a linear layer.
        up: ``(rows, r)``.
        down: ``(r, columns)``.
    """
    rank = len(down)
    if isinstance(layer, nn.Linear):
        inner = like(layer, down)
        inner.out_features = rank
        return inner, _with(nn.Linear(rank, len(up), bias=False), up, layer)
    assert isinstance(layer, _ConvNd)
    groups = layer.groups
    shape = layer.weight.shape[1:]
    filters = like(layer, down.reshape(rank, *shape).repeat(groups, *[1] * len(shape)))
    kind: Any = _ONE_BY_ONE[len(layer.kernel_size)]
    ones = (1,) * len(layer.kernel_size)
    if layer.transposed:
        filters.in_channels = groups * rank
        mixing = kind(len(up), groups * rank, 1, groups=groups, bias=False)
        grouped = up.reshape(groups, -1, rank).transpose(1, 2)  # (G, r, in/G)
        return _with(mixing, grouped.reshape(groups * rank, -1, *ones), layer), filters
    filters.out_channels = groups * rank
    mixing = kind(groups * rank, len(up), 1, groups=groups, bias=False)
    return filters, _with(mixing, up.reshape(*up.shape, *ones), layer)


def like(layer: nn.Module, weight: Tensor) -> Any:
    """Return a copy of a layer, of its own class, with another weight, no bias and no hooks."""
    copied: Any = copy.deepcopy(layer)
    copied._forward_pre_hooks.clear()
    copied._forward_hooks.clear()
    copied.bias = None
    old: Any = layer.weight
    copied.weight = nn.Parameter(weight.to(old).contiguous(), requires_grad=old.requires_grad)
    return copied


def _with(mixing: nn.Module, weight: Tensor, layer: nn.Module) -> nn.Module:
    """Return a fresh layer with this weight, where and as the given one is."""
    old: Any = layer.weight
    mixing.weight = nn.Parameter(weight.to(old).contiguous(), requires_grad=old.requires_grad)
    return mixing.train(layer.training)
