"""A low-rank change of a layer's weight, as a second way through two small layers."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

__all__ = ["Restored", "check_linear", "like", "pair_of", "restored"]

_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
)
_ONE_BY_ONE = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Restored(nn.Module):
    """A layer with rounded weights and, beside it, the pair that gives back a part of the rest.

    To a model that looks at its layers instead of calling them, as PyTorch's transformers do in
    evaluation mode, it is the layer with the weight of both ways together.

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

    @property
    def weight(self) -> Tensor:
        """The weight of one layer that gives the same, differentiable."""
        own, first, second = (x.weight for x in (self.layer, self.first, self.second))
        assert isinstance(own, Tensor)
        assert isinstance(first, Tensor)
        assert isinstance(second, Tensor)
        groups = int(getattr(self.layer, "groups", 1))
        if isinstance(self.layer, _ConvNd) and self.layer.transposed:
            # (G, in/G, r) @ (G, r, out/G * taps); of the pair, second has the layer's geometry.
            up = first.reshape(groups, -1, self.layer.in_channels // groups).mT
            down = second.reshape(groups, up.shape[2], -1)
        else:
            up = second.reshape(groups, len(second) // groups, -1)
            down = first.reshape(groups, up.shape[2], -1)
        return own + (up @ down).reshape(own.shape)

    def __getattr__(self, name: str) -> Any:
        """Give what the layer has, such as its stride or its bias."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "layer" not in self.__dict__.get("_modules", {}):
                raise
            return getattr(self.layer, name)


def restored(layer: nn.Module, up: Tensor, down: Tensor) -> Restored:
    """Return a layer with the pair of a change ``up @ down`` of its weight beside it.

    It takes over the hooks of the layer, which are of all that goes in and out.
    """
    whole, bare = Restored(layer, *pair_of(layer, up, down)), nn.Module()
    for kind in _HOOKS:
        vars(whole)[kind], vars(layer)[kind] = vars(layer)[kind], vars(bare)[kind]
    return whole


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
        return inner, _with(nn.Linear(rank, len(up), bias=False, device="meta"), up, layer)
    assert isinstance(layer, _ConvNd)
    groups = layer.groups
    shape = layer.weight.shape[1:]
    filters = like(layer, down.reshape(rank, *shape).repeat(groups, *[1] * len(shape)))
    kind: Any = _ONE_BY_ONE[len(layer.kernel_size)]
    ones = (1,) * len(layer.kernel_size)
    if layer.transposed:
        filters.in_channels = groups * rank
        mixing = kind(len(up), groups * rank, 1, groups=groups, bias=False, device="meta")
        grouped = up.reshape(groups, -1, rank).transpose(1, 2)  # (G, r, in/G)
        return _with(mixing, grouped.reshape(groups * rank, -1, *ones), layer), filters
    filters.out_channels = groups * rank
    mixing = kind(groups * rank, len(up), 1, groups=groups, bias=False, device="meta")
    return filters, _with(mixing, up.reshape(*up.shape, *ones), layer)


def like(layer: nn.Module, weight: Tensor) -> Any:
    """Return a copy of a layer, of its own class, with another weight, no bias and no hooks."""
    copied: Any = copy.deepcopy(layer)
    bare = vars(nn.Module())
    vars(copied).update({kind: bare[kind] for kind in _HOOKS})
    copied.bias = None
    old: Any = layer.weight
    copied.weight = nn.Parameter(weight.to(old).contiguous(), requires_grad=old.requires_grad)
    return copied


@torch.no_grad()
def check_linear(layer: nn.Module, name: str) -> None:
    """Raise if a layer with a forward of its own does not act linearly in its weight.

    Such as one that standardises its filters. One that cannot be tried is taken as it is.

    Raises:
        ValueError: Two weights do not act together as their sum does.
    """
    if type(layer).forward.__module__.startswith("torch."):
        return
    own: Any = layer.weight
    weight = own.detach().to(torch.promote_types(own.dtype, torch.float32))
    shape: tuple[int, ...] = (4, weight.shape[1])
    if isinstance(layer, _ConvNd):
        reach = zip(layer.kernel_size, layer.dilation, strict=True)
        shape = (2, layer.in_channels, *(2 * d * k + 1 for k, d in reach))
    x = torch.arange(math.prod(shape), device=own.device).to(weight.dtype).sin().reshape(shape)
    other = weight.flatten().roll(1).reshape(weight.shape)
    try:
        one, two, both = (
            like(layer, w).to(weight.dtype)(x) for w in (weight, other, weight + other)
        )
        scale = float(torch.stack([one, two, both]).abs().max())
        missed = float((one + two - both).abs().max())
    except Exception:  # it wants other arguments, a state, ...
        return
    if missed > 1e-3 * scale:
        raise ValueError(
            f"{name} ({type(layer).__name__}) does not act linearly in its weight, and no other "
            "layer beside it can do what a change of its weight does; leave it out"
        )


def _with(mixing: nn.Module, weight: Tensor, layer: nn.Module) -> nn.Module:
    """Return a fresh layer with this weight, where and as the given one is."""
    old: Any = layer.weight
    mixing.weight = nn.Parameter(weight.to(old).contiguous(), requires_grad=old.requires_grad)
    return mixing.train(layer.training)
