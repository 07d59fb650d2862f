"""Networks that nobody has trained: told by their normalising layers, and said loudly."""

from __future__ import annotations

import warnings

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["RandomWeightsWarning", "has_random_weights", "warn_of_random_weights"]

# Functions of these libraries that are called without arguments give networks without training.
_LIBRARIES = {"torchvision": "torchvision:", "timm": "timm:", "transformers": "hf:"}


class RandomWeightsWarning(UserWarning):
    """Warns that a network has the weights it was made with: what is said of it means nothing."""


def has_random_weights(module: nn.Module) -> bool:
    """Return whether a network was never trained, read off its normalising layers.

    A new batch, layer or group norm has one and the same scale in all channels, shifts of zero and
    no statistics; training changes each. A network without such layers is taken for trained.

    Args:
        module: The network.

    Cost: no model rows.

    Example::

        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> has_random_weights(network)
        True
        >>> _ = network(torch.rand(4, 3, 8, 8))  # in training mode, it gathers statistics
        >>> has_random_weights(network)
        False
    """
    layers = [layer for layer in module.modules() if _normalizes(layer)]
    return bool(layers) and all(map(_is_new, layers))


def warn_of_random_weights(name: str, module: nn.Module) -> None:
    """Warn of a factory ``name`` that made a network without training.

    Warns:
        RandomWeightsWarning: It is random, by its layers or because it comes straight from a
            library of architectures.
    """
    prefix = _LIBRARIES.get(name.partition(":")[0].partition(".")[0])
    if prefix is None and not has_random_weights(module):
        return
    instead = "" if prefix is None else f"write {prefix}NAME for published weights, or "
    warnings.warn(
        f"{name} has RANDOM weights: it was never trained, and what is said of it says nothing of "
        f"a trained network; {instead}give a file of weights",
        RandomWeightsWarning,
        stacklevel=4,
    )


def _normalizes(layer: nn.Module) -> bool:
    """Return whether a layer is a norm with a scale whose numbers can be looked at."""
    weight = getattr(layer, "weight", None)
    readable = isinstance(weight, Tensor) and not is_lazy(weight) and not weight.is_meta
    return readable and "Norm" in type(layer).__name__


def _is_new(layer: nn.Module) -> bool:
    """Return whether a norm is as it was made."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    others = (getattr(layer, name, None) for name in ("bias", "running_mean"))
    unmoved = not any(isinstance(x, Tensor) and bool(x.any()) for x in others)
    return unmoved and bool((weight == weight.flatten()[:1]).all())
