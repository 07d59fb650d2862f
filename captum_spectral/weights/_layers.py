"""Read a layer: its kernel as one matrix per tap and group, and the geometry of its grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import parametrize

from captum_spectral._arguments import check_count
from captum_spectral.weights._matrices import check_has_values

__all__ = [
    "Geometry",
    "Layout",
    "check_layer",
    "check_unshared",
    "default_size",
    "format_size",
    "is_lazy",
    "is_quantised",
    "matching",
    "matrix_layers",
    "read_layer",
]

_POINTS = 32  # of the output, per dim
_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


@dataclass(frozen=True)
class Geometry:
    """The shape of a convolution between a fine and a coarse grid, per spatial dim.

    A convolution goes from the fine grid to the coarse one, a transposed one the other way; both
    grids are the same without a stride.

    Attributes:
        kernel_size: Taps.
        stride: Fine steps to a coarse one.
        dilation: Fine steps from tap to tap.
        transposed (bool): From coarse to fine.
        unbounded (str | None): Why no bound is known for the way this layer pads; None if one is.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool = False
    unbounded: str | None = None

    @property
    def num_aliases(self) -> int:
        """``S``, how many frequencies of the fine grid meet in one of the coarse grid."""
        return math.prod(self.stride)

    @property
    def degrees(self) -> tuple[int, ...]:
        """Coarse steps that the kernel spans, ``floor(dilation (k - 1) / stride)``."""
        shape = zip(self.kernel_size, self.stride, self.dilation, strict=True)
        return tuple(d * (k - 1) // s for k, s, d in shape)

    def grids(self, size: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the fine and the coarse grid of an input of this size."""
        pairs = list(zip(size, self.stride, strict=True))
        if self.transposed:
            return tuple(n * s for n, s in pairs), tuple(size)
        return tuple(size), tuple(n // s for n, s in pairs)

    def offsets(self) -> Tensor:
        """Return the places ``(T, D)`` of all taps on the fine grid."""
        pairs = zip(self.kernel_size, self.dilation, strict=True)
        axes = [d * torch.arange(k, device="cpu") for k, d in pairs]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def check_layer(layer: object, name: str) -> nn.Module:
    """Raise unless the frequency response of a layer can be read off its weight.

    Raises:
        TypeError: It is no convolution or linear layer with a real floating weight.
        ValueError: Its weight is not there yet, is computed by a parametrisation, or is not finite.
    """
    kind = type(layer).__name__
    if is_quantised(layer):
        raise TypeError(
            f"{name} is a quantised {kind}; dequantise it first: an nn.{kind} with "
            "weight().dequantize()"
        )
    if not isinstance(layer, _ConvNd | nn.Linear):
        fuse = "; fuse it into its convolution by torch.nn.utils.fuse_conv_bn_eval"
        raise TypeError(
            f"{name} must be an nn.Conv1d, Conv2d, Conv3d, one of their transposed kinds or an "
            f"nn.Linear, got {kind}{fuse if isinstance(layer, _NormBase) else ''}"
        )
    if is_lazy(layer):
        raise ValueError(f"{name} is a {kind} without weights yet; run one batch through it first")
    if parametrize.is_parametrized(layer):
        raise ValueError(
            f"{name} is a {kind} whose {', '.join(layer.parametrizations)} is computed by a "  # type: ignore[arg-type]
            "parametrisation; use torch.nn.utils.parametrize.remove_parametrizations on a copy"
        )
    weight: Any = layer.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name}.weight must be a torch.Tensor, got {type(weight).__name__}")
    if not weight.dtype.is_floating_point:
        raise TypeError(f"{name}.weight must be real and floating, got dtype {weight.dtype}")
    if not weight.numel():
        raise ValueError(f"{name}.weight must not be empty, got shape {tuple(weight.shape)}")
    _check_values(weight, f"{name}.weight")
    return layer


def _check_values(weight: Tensor, name: str) -> None:
    """Raise unless a tensor holds values, all of them finite."""
    check_has_values(weight, name)
    bad = int((~torch.isfinite(weight.detach())).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite values")


def is_lazy(layer: object) -> bool:
    """Return whether a layer has no weights yet."""
    return isinstance(layer, LazyModuleMixin) and layer.has_uninitialized_params()  # type: ignore[misc]


def is_quantised(layer: object) -> bool:
    """Return whether a layer is one of PyTorch's quantised modules, whose weights are integers."""
    return type(layer).__module__.startswith(_QUANTISED)


@dataclass(frozen=True)
class Layout:
    """Lay the weight of a layer out as a kernel from the fine to the coarse grid.

    Attributes:
        shape: Of the weight.
        groups: ``G``.
        scale: Factor of each output channel, ``(G, O, 1, 1)`` or ``(G, 1, I, 1)``; None for 1.
    """

    shape: tuple[int, ...]
    groups: int = 1
    scale: Tensor | None = None

    def kernel(self, weight: Tensor) -> Tensor:
        """Return ``(T, G, O, I)``: a matrix for each tap and group.

        ``O`` channels lie on the coarse grid and ``I`` on the fine one: the weight of a transposed
        layer is that of the convolution whose adjoint it is.
        """
        grouped = weight.reshape(self.groups, -1, self.shape[1], math.prod(self.shape[2:]))
        if self.scale is not None:
            grouped = grouped * self.scale.to(grouped)
        return grouped.permute(3, 0, 1, 2)

    def check(self, weight: object, name: str) -> Tensor:
        """Return another weight of the layer; raise unless it is one.

        Raises:
            TypeError: It is no real floating tensor.
            ValueError: It has another shape, or is not finite.
        """
        if not isinstance(weight, Tensor):
            hint = ", its weight" if isinstance(weight, nn.Module) else ""
            raise TypeError(f"{name} must be a torch.Tensor{hint}, got {type(weight).__name__}")
        if not weight.dtype.is_floating_point:
            raise TypeError(f"{name} must be real and floating, got dtype {weight.dtype}")
        if tuple(weight.shape) != self.shape:
            raise ValueError(
                f"{name} must have the shape of the layer's weight, {self.shape}, got "
                f"{tuple(weight.shape)}"
            )
        _check_values(weight, name)
        return weight


def matrix_layers(model: object, argument: str) -> dict[str, nn.Module]:
    """Return the convolutions and linear layers of a model by name.

    Left out is the last projection of ``nn.MultiheadAttention``, which never calls it as a layer.

    Args:
        model: Checked to be a module.
        argument: Its name in errors.

    Raises:
        TypeError: It is no module; a layer that :func:`check_layer` does not take.
        ValueError: There is no such layer; layers that :func:`check_layer` does not take, or whose
            weight is computed anew in every forward pass, which would undo any other.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{argument} must be a torch.nn.Module, got {type(model).__name__}")
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, NonDynamicallyQuantizableLinear):
            continue
        if isinstance(module, _ConvNd | nn.Linear) or is_quantised(module):
            which = f"the layer {name!r} of {argument}"
            found[name] = check_layer(module, which)
            if "weight" not in module._parameters:
                raise ValueError(
                    f"{which} computes its weight in every forward pass; make it an ordinary one "
                    "by torch.nn.utils.remove_weight_norm, remove_spectral_norm or prune.remove"
                )
    if not found:
        hidden = isinstance(model, torch.jit.ScriptModule)
        hint = "; of a scripted or traced model give the one it was made from" if hidden else ""
        raise ValueError(
            f"{argument} must hold a convolution or a linear layer, and holds none{hint}"
        )
    return found


def check_unshared(model: nn.Module, argument: str, layers: Iterable[str]) -> None:
    """Raise if the weight of one of these layers is that of another module, too.

    Raises:
        ValueError: It is, of a layer or of anything else, such as an embedding.
    """
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for own, weight in module._parameters.items():
            if weight is not None:
                owners.setdefault(id(weight), []).append(f"{name}.{own}" if name else own)
    for name in layers:
        shared = owners[id(model.get_submodule(name).weight)]
        if len(shared) > 1:
            raise ValueError(
                f"{argument} has one tensor for {shared[0]!r} and {shared[1]!r}, and what one gets "
                "the other would lack; give each a copy of its own, or leave the layer out with "
                f"skip=[{name!r}]"
            )


def matching(patterns: Iterable[str], names: Iterable[str], argument: str) -> dict[str, list[str]]:
    """Return the names that each pattern of a shell (``"blocks.*"``) matches.

    Raises:
        TypeError: Patterns that are no strings, or one string for a sequence of them.
        ValueError: A pattern matches nothing.
    """
    if isinstance(patterns, str):
        raise TypeError(f"{argument} must be a sequence of patterns, got the string {patterns!r}")
    if not isinstance(patterns, Iterable):
        raise TypeError(f"{argument} must be a sequence of patterns, got {patterns!r}")
    names, found = list(names), {}
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"{argument} must hold strings, got {pattern!r}")
        found[pattern] = [name for name in names if fnmatchcase(name, pattern)]
        if not found[pattern]:
            few = ", ".join(map(repr, names[:5]))
            raise ValueError(f"{argument}: {pattern!r} matches no layer; there are {few}, ...")
    return found


def read_layer(
    layer: nn.Module, num_dims: int | None = None, scale: Tensor | None = None
) -> tuple[Tensor, Layout, Geometry]:
    """Return the weight, its layout and the geometry of a layer that :func:`check_layer` took.

    A weight in half precision is read in float32, which transforms need. Gradients reach that of
    the layer.

    Args:
        layer: The layer.
        num_dims: Spatial dims that a linear layer is thought to act along. None: 1. Default: None
        scale: Factor of each output channel of a convolution. Default: None
    """
    weight: Any = layer.weight
    weight = weight if weight.dtype is torch.float64 else weight.float()
    shape = tuple(weight.shape)
    if isinstance(layer, nn.Linear):
        ones = (1,) * (num_dims or 1)
        return weight, Layout(shape), Geometry(ones, ones, ones)
    assert isinstance(layer, _ConvNd)
    if scale is not None:
        rows = (1, -1) if layer.transposed else (-1, 1)
        scale = scale.to(weight).reshape(layer.groups, *rows, 1)
    geometry = Geometry(
        tuple(layer.kernel_size),
        tuple(layer.stride),
        tuple(layer.dilation),
        layer.transposed,
        _unbounded(layer),
    )
    return weight, Layout(shape, layer.groups, scale), geometry


def _unbounded(layer: _ConvNd) -> str | None:
    """Say why the infinite plane does not bound a layer with its padding, or None."""
    mode = layer.padding_mode
    if mode in ("reflect", "replicate"):
        return f"padding_mode={mode!r}, which adds energy"
    if mode == "circular" and not isinstance(layer.padding, str):
        shape = zip(layer.padding, layer.kernel_size, layer.dilation, strict=True)
        if any(2 * p > d * (k - 1) for p, k, d in shape):
            return f"a circular padding of {layer.padding}, which repeats outputs"
    return None


def default_size(geometry: Geometry, flat: bool = True) -> tuple[int, ...]:
    """Return the input size with 32 points of the coarse grid per dim, more for long kernels.

    Args:
        geometry: Of the layer.
        flat: Give 1 point to dims in which the singular values do not depend on the frequency.
            False gives them points, too, fewer under a stride above 4, whose fine grid would be
            large. Default: True
    """
    size = []
    for degree, stride in zip(geometry.degrees, geometry.stride, strict=True):
        coarse = max(_POINTS, 4 * degree)
        if flat and degree == 0:
            coarse = 1
        elif not flat and not geometry.transposed and stride > 4:
            coarse = max(8, 4 * _POINTS // stride, 4 * degree)
        size.append(coarse if geometry.transposed else coarse * stride)
    return tuple(size)


def format_size(size: object, layer: nn.Module) -> tuple[int, ...] | None:
    """Return a size as integers, one for each dim of the layer, which its stride must divide."""
    if size is None:
        return None
    dims = len(layer.kernel_size) if isinstance(layer, _ConvNd) else None  # a Linear has any
    try:
        given = list(size)  # type: ignore[call-overload]
    except TypeError:
        given = [size] * (dims or 1)
    sizes = tuple(check_count("size", n) for n in given)
    if not sizes or (dims is not None and len(sizes) != dims):
        raise ValueError(
            f"size must have one number for each of the {dims or 1} spatial dims of "
            f"{type(layer).__name__}, got {sizes}"
        )
    if isinstance(layer, _ConvNd) and not layer.transposed:
        for n, s in zip(sizes, layer.stride, strict=True):
            if n % s:
                near = [m for m in (n // s * s, n // s * s + s) if m]
                raise ValueError(
                    f"size={sizes} must be a multiple of the stride {tuple(layer.stride)} in every "
                    f"dim; instead of {n} use {' or '.join(map(str, near))}"
                )
    return sizes
