"""Rounded weights and their adapters in a file."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from captum_spectral.sources.digests import digest_of
from captum_spectral.weights._components import Components
from captum_spectral.weights._layers import matrix_layers
from captum_spectral.weights.adapters import ResidualAdapters
from captum_spectral.weights.rounding import (
    Clip,
    RoundedLayer,
    RoundedWeights,
    by_output,
    codes_of,
    weight_of,
)

__all__ = ["load_adapters", "save_adapters"]

_FORMAT = "captum_spectral.ResidualAdapters/1"


def save_adapters(adapters: ResidualAdapters, path: str | os.PathLike[str]) -> None:
    """Write rounded weights and adapters to a ``.safetensors`` file.

    It holds for each rounded layer its codes, packed into bytes, its scales and zero points; for
    each layer of rank 1 or more the two matrices of the pair and the singular values; as metadata
    bits, clip, metric, ranks and a digest of the float model. All else is the float model's.

    Args:
        adapters: Made from what :func:`quantize_weights` returned.
        path: Of the file.

    Raises:
        ValueError: The weights were not rounded by :func:`quantize_weights`, or differ from the
            float model in more than that.
        OSError: It cannot be written.
    """
    rounding = adapters.rounding
    if rounding is None:
        raise ValueError(
            "save needs to know the grid of the weights: give ResidualAdapters what "
            "quantize_weights returned in place of a module"
        )
    if _without(adapters.model, rounding) != _without(rounding.model, rounding):
        raise ValueError(
            "save keeps rounded weights and adapters alone, and quantised differs from the model "
            "in more than these; save its state dict"
        )
    tensors: dict[str, Tensor] = {}
    for name, grid in rounding.layers.items():
        codes = codes_of(rounding.model.get_submodule(name), grid)
        tensors |= {
            f"{name}/codes": packed(codes, grid.bits),
            f"{name}/scale": grid.scale,
            f"{name}/zero_point": grid.zero_point,
        }
    for name, rank in adapters.ranks.items():
        if rank:
            up, down = adapters.pair(name)
            tensors |= {
                f"{name}/up": up.cpu().contiguous(),
                f"{name}/down": down.cpu().contiguous(),
                f"{name}/values": adapters.components(name).values[:rank].contiguous(),
            }
    about = {
        "format": _FORMAT,
        "bits": {name: grid.bits for name, grid in rounding.layers.items()},
        "errors": {name: grid.error for name, grid in rounding.layers.items()},
        "clip": rounding.clip,
        "metric": adapters.metric,
        "adapter_bits": adapters.adapter_bits,
        "ranks": adapters.ranks,
        "digest": _digest(adapters.model),
    }
    target = Path(path)
    try:
        save_file(tensors, target, {"captum_spectral": json.dumps(about)})
    except Exception as error:  # safetensors has an exception of its own for files
        raise OSError(f"{target} cannot be written: {error}") from error


def load_adapters(
    path: str | os.PathLike[str], model: nn.Module, quantised: RoundedWeights | None = None
) -> ResidualAdapters:
    """Read what :func:`save_adapters` wrote.

    Args:
        path: Of the file; nothing in it is executed.
        model: The float model that the weights were rounded from.
        quantised: What it was rounded to, checked against the file. None: made from the file.
            Default: None

    Returns:
        Adapters that give the same outputs. Components beyond the ranks are not in the file: ranks
        can be lowered, and raised by making :class:`ResidualAdapters` anew.

    Raises:
        TypeError: A model that is no module, ``quantised`` of another kind.
        OSError: The file cannot be opened.
        ValueError: It is damaged or holds something else, or is of another float model.
    """
    own = matrix_layers(model, "model")
    if not isinstance(quantised, RoundedWeights | None):
        raise TypeError(
            "quantised must be what quantize_weights returns, or None, got "
            f"{type(quantised).__name__}"
        )
    target = Path(path)
    with open(target, "rb"):
        pass
    try:
        with safe_open(target, "pt") as file:
            about = json.loads((file.metadata() or {}).get("captum_spectral", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"{target} cannot be read as adapters: {error}") from error
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise ValueError(f"{target} must be a file of ResidualAdapters.save, and is another one")
    if about.get("digest") != _digest(model):
        raise ValueError(f"{target} belongs to other float weights than those of model")
    wrong = _damage(about, tensors, own)
    if wrong is not None:
        raise ValueError(f"{target} is damaged: {wrong}")
    made = _rounded(model, about, tensors)
    if quantised is not None:
        if quantised.layers.keys() != made.layers.keys():
            raise ValueError(f"{target} has other rounded layers than quantised")
        for name in made.layers:
            ours: Any = quantised.model.get_submodule(name).weight
            theirs: Any = made.model.get_submodule(name).weight
            if not torch.equal(ours, theirs):
                raise ValueError(f"{target} has other rounded weights than quantised in {name!r}")
        made = quantised
    adapters = ResidualAdapters.__new__(ResidualAdapters)
    components, pairs = {}, {}
    for name, rank in about["ranks"].items():
        if rank:
            pairs[name] = tensors[f"{name}/up"], tensors[f"{name}/down"]
            up, down = (x.double() for x in pairs[name])
            components[name] = Components(up, tensors[f"{name}/values"], down)
    adapters._restore(model, made, about, components, pairs)
    return adapters


def packed(codes: Tensor, bits: int) -> Tensor:
    """Return integers below ``2**bits`` as bytes without gaps, the first in the lowest bits."""
    flat = codes.reshape(-1).numpy()
    wide = np.unpackbits(flat[:, None], axis=1, bitorder="little")[:, :bits]
    return torch.from_numpy(np.packbits(wide, bitorder="little"))


def unpacked(packed_codes: Tensor, bits: int, count: int) -> Tensor:
    """Undo :func:`packed` for so many integers."""
    wide = np.unpackbits(packed_codes.numpy(), bitorder="little")[: count * bits]
    wide = wide.reshape(count, bits)
    return torch.from_numpy(np.packbits(wide, axis=1, bitorder="little")[:, 0])


def _rounded(model: nn.Module, about: dict[str, Any], tensors: dict[str, Tensor]) -> RoundedWeights:
    """Make the rounded model of a file."""
    copied = copy.deepcopy(model)
    own = matrix_layers(copied, "model")
    layers = {}
    clip: Clip = about["clip"]
    for name, bits in about["bits"].items():
        layer: Any = own[name]
        count = layer.weight.numel()
        grid = RoundedLayer(
            bits,
            tensors[f"{name}/scale"],
            tensors[f"{name}/zero_point"],
            about["errors"][name],
            count,
        )
        codes = unpacked(tensors[f"{name}/codes"], bits, count)
        codes = codes.reshape(len(grid.scale), -1)
        with torch.no_grad():
            layer.weight.copy_(weight_of(layer, codes, grid))
        layers[name] = grid
    return RoundedWeights(copied, layers, clip)


def _damage(
    about: dict[str, Any], tensors: dict[str, Tensor], own: dict[str, nn.Module]
) -> str | None:
    """Say what is wrong with a file of a model with these layers, None if nothing is."""
    bits, ranks, errors = (about.get(key) for key in ("bits", "ranks", "errors"))
    if not (isinstance(bits, dict) and isinstance(ranks, dict) and isinstance(errors, dict)):
        return "its bits, ranks or errors are missing"
    options = about.get("metric"), about.get("adapter_bits", -1), about.get("clip", -1)
    if options[0] not in ("plain", "output") or -1 in options:
        return "its metric, adapter_bits or clip are missing"
    if not bits or not ranks or bits.keys() != errors.keys() or not own.keys() >= bits.keys():
        return "it names other layers than the model has"
    if not bits.keys() >= ranks.keys():
        return "it has ranks of layers that it has no weights of"
    found = (_damaged_grid(name, bits[name], tensors, own[name]) for name in bits)
    pairs = (_damaged_pair(name, ranks[name], tensors, own[name]) for name in ranks)
    return next((wrong for wrong in (*found, *pairs) if wrong is not None), None)


def _damaged_grid(name: str, bits: Any, tensors: dict[str, Tensor], layer: nn.Module) -> str | None:
    """Say what is wrong with the codes and the grid of a layer, None if nothing is."""
    if bits not in range(1, 9):
        return f"it has {bits!r} bits for {name!r}"
    weight: Any = layer.weight
    scale = tensors.get(f"{name}/scale", torch.empty(0))
    rows = 1 if len(scale) == 1 else len(by_output(layer, weight))
    for key, dtype, count in (
        ("codes", torch.uint8, -(-weight.numel() * bits // 8)),
        ("scale", torch.float32, rows),
        ("zero_point", torch.int32, rows),
    ):
        if not _is(tensors.get(f"{name}/{key}"), (count,), dtype):
            return f"{name}/{key} is missing, of another shape, or not finite"
    zero_point = tensors[f"{name}/zero_point"]
    if not (zero_point.min() >= 0 and zero_point.max() < 2**bits and scale.min() > 0):
        return f"the grid of {name!r} is none of {bits} bits"
    return None


def _damaged_pair(name: str, rank: Any, tensors: dict[str, Tensor], layer: nn.Module) -> str | None:
    """Say what is wrong with the adapter of a layer, None if nothing is."""
    if type(rank) is not int or rank < 0:
        return f"it has the rank {rank!r} for {name!r}"
    weight: Any = layer.weight
    shapes: dict[str, tuple[int, ...]] = {
        "up": (len(weight), rank),
        "values": (rank,),
        "down": (rank, weight[0].numel()),
    }
    for key, shape in shapes.items() if rank else ():
        if not _is(tensors.get(f"{name}/{key}"), shape):
            return f"{name}/{key} is missing, of another shape, or not finite"
    return None


def _is(tensor: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> bool:
    """Return whether a tensor is there, of this shape and kind, and finite."""
    if tensor is None or tuple(tensor.shape) != shape:
        return False
    fits = tensor.dtype.is_floating_point if dtype is None else tensor.dtype is dtype
    return fits and bool(tensor.isfinite().all())


def _digest(model: nn.Module) -> str:
    """Return a digest of all weights and buffers, by name."""
    state = model.state_dict()
    return digest_of(state.values(), "\n".join(state))


def _without(model: nn.Module, rounding: RoundedWeights) -> str:
    """Return a digest of all but the rounded weights."""
    rounded = {f"{name}.weight" if name else "weight" for name in rounding.layers}
    rest = {key: x for key, x in model.state_dict().items() if key not in rounded}
    return digest_of(rest.values(), "\n".join(rest))
