"""Weights rounded to a few bits, simulated in floating point."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from captum_spectral._arguments import check_count, has_float64
from captum_spectral.weights._layers import check_unshared, matching, matrix_layers

__all__ = ["Clip", "RoundedLayer", "RoundedWeights", "by_output", "quantize_weights"]

Clip = float | Literal["mse"] | None

_MOST_BITS = 8
_SCALINGS = torch.linspace(0.3, 1.0, 36, dtype=torch.float64).tolist()  # of min/max, for "mse"


@dataclass(frozen=True)
class RoundedLayer:
    r"""The grid of one layer: weights :math:`s (q - z)` with integers :math:`0 \le q < 2^b`.

    Attributes:
        bits: :math:`b`.
        scale: The step :math:`s`, ``(1,)``, or ``(out,)`` with a grid per output channel; float32.
        zero_point: :math:`z`, the code of 0, of the same shape; int32.
        error: :math:`|W - W_q| / |W|`, NaN where all weights are 0.
        num_weights: How many weights the layer has.
    """

    bits: int
    scale: Tensor
    zero_point: Tensor
    error: float
    num_weights: int

    @property
    def bits_per_weight(self) -> float:
        """Bits of the codes and of the grid, 32 for a scale and 8 for a zero point."""
        return self.bits + 40 * len(self.scale) / self.num_weights


@dataclass(frozen=True)
class RoundedWeights:
    """A copy of a model with rounded weights, and the grids that they lie on.

    Attributes:
        model: The copy, an ordinary module with floating weights.
        layers: Name to grid of every layer that was rounded, in the order of the model.
        clip: As it was given to :func:`quantize_weights`.
    """

    model: nn.Module
    layers: dict[str, RoundedLayer]
    clip: Clip

    @property
    def bits_per_weight(self) -> float:
        """Mean over the weights of all rounded layers, grids included."""
        layers = self.layers.values()
        bits = sum(layer.bits_per_weight * layer.num_weights for layer in layers)
        return bits / sum(layer.num_weights for layer in layers)

    def __repr__(self) -> str:
        bits = sorted({layer.bits for layer in self.layers.values()})
        errors = [layer.error for layer in self.layers.values() if not math.isnan(layer.error)]
        told = f"{bits[0]}" if len(bits) == 1 else f"{bits[0]} to {bits[-1]}"
        span = f"{min(errors):.3g} to {max(errors):.3g}" if errors else "none"
        return (
            f"RoundedWeights({type(self.model).__name__}, {len(self.layers)} layers at {told} "
            f"bits, {self.bits_per_weight:.2f} per weight with grids, relative errors {span})"
        )


@torch.no_grad()
def quantize_weights(
    model: nn.Module,
    bits: int = 4,
    *,
    per_channel: bool = True,
    clip: Clip = None,
    skip: Sequence[str] = (),
    overrides: Mapping[str, int] | None = None,
) -> RoundedWeights:
    r"""Round the weights of all convolutions and linear layers, in a copy of the model.

    With a range :math:`[l, h]` that holds 0, of a layer or of each of its output channels,

    .. math::
        s = \frac{h - l}{2^b - 1}, \qquad z = \mathrm{round}(-l / s), \qquad
        W_q = s \Big(\mathrm{clamp}\big(\mathrm{round}(W / s) + z,\ 0,\ 2^b - 1\big) - z\Big)

    by ``torch.fake_quantize_per_channel_affine`` and its kin. Biases, batch norms, embeddings and
    ``nn.MultiheadAttention`` stay as they are. Weights alone are rounded, and nothing runs on
    integers: this is for asking what rounding does, not for deploying.

    Args:
        model: Any ``torch.nn.Module``; never changed.
        bits: 1 to 8. Default: 4
        per_channel: A grid for each output channel; False: one for each layer. Default: True
        clip: The range. None: from the least to the largest weight. A number k: the mean and k
            standard deviations to both sides, within that. ``"mse"``: of 36 scalings of the range
            by .3 to 1 the one with the least squared error. Default: None
        skip: Patterns of a shell for names of layers that stay, e.g. ``("stem", "blocks.0.*")``.
            Default: ()
        overrides: Pattern to bits, for some layers; later patterns win. Default: None

    Returns:
        :class:`RoundedWeights`.

    Raises:
        TypeError: A model that is no module, quantised modules, arguments of a wrong kind.
        ValueError: Bits outside of 1 to 8, a ``clip`` that is not positive or unknown, patterns
            that match no layer, nothing to round; weights that are not finite, too large for a
            step in float32, not there yet, shared with another module or computed in the forward
            pass; float16 on a CPU.

    Cost: no model rows.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import quantize_weights
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, groups=8))
        >>> rounded = quantize_weights(model, bits=3, overrides={"2": 8})
        >>> [(name, layer.bits) for name, layer in rounded.layers.items()]
        [('0', 3), ('2', 8)]
        >>> rounded.model[0].weight[0].unique().numel() <= 2**3
        True

    References:
        R. Luo, A. Drimbarean, J. McDermott, C. O'Riordan, *Optimal Quantization Residual
        Convolutional Operator Low-Rank Adaptation*, BMVC 2024 (the setting: rounding after
        training).
    """
    own = matrix_layers(model, "model")
    left = {name for names in matching(skip, own, "skip").values() for name in names}
    wanted = dict.fromkeys((name for name in own if name not in left), _check_bits("bits", bits))
    if not isinstance(overrides, Mapping | None):
        raise TypeError(
            f"overrides must be a dict from patterns to bits, got {type(overrides).__name__}"
        )
    given = dict(overrides or {})
    for pattern, names in matching(given, own, "overrides").items():
        other = _check_bits(f"overrides[{pattern!r}]", given[pattern])
        wanted |= {name: other for name in names if name in wanted}
    clip = _check_clip(clip)
    if not wanted:
        raise ValueError(f"skip={tuple(skip)} leaves nothing to round: it matches all layers")
    check_unshared(model, "model", wanted)
    for name in wanted:
        weight: Any = own[name].weight
        if weight.dtype is torch.float16 and weight.device.type == "cpu":
            raise ValueError(
                f"the layer {name!r} of model is in float16, which a CPU cannot round; use "
                "model.float() or model.bfloat16()"
            )
    copied = copy.deepcopy(model)
    layers = {}
    for name, its_bits in wanted.items():
        module = copied.get_submodule(name)
        old: Any = module.weight
        rows = by_output(module, old.detach())
        grids = rows if per_channel else rows.reshape(1, -1)
        scale, zero_point = _grid(grids, its_bits, clip)
        if not scale.isfinite().all():
            largest = float(rows.abs().max())
            raise ValueError(
                f"the layer {name!r} of model has weights up to {largest:.3g}, whose step is "
                "beyond float32; scale them down, or leave it out with skip="
            )
        new = _of_output(module, round_to(grids, scale, zero_point, its_bits).reshape_as(rows))
        before = old.detach().cpu().double()
        norm, error = float(before.norm()), float((before - new.cpu().double()).norm())
        old.copy_(new)
        layers[name] = RoundedLayer(
            its_bits,
            scale.cpu(),
            zero_point.cpu(),
            error / norm if norm else math.nan,
            old.numel(),
        )
    return RoundedWeights(copied, layers, clip)


def round_to(rows: Tensor, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    """Round each row ``(N, ...)`` to its grid ``(N,)``."""
    top = 2**bits - 1
    full = rows if rows.dtype is torch.float64 else rows.float()  # as PyTorch 2.5 can
    if len(rows) == 1:  # exact for all dtypes, as per channel
        step, zero = float(scale), int(zero_point)
        return torch.fake_quantize_per_tensor_affine(full, step, zero, 0, top).to(rows.dtype)
    return torch.fake_quantize_per_channel_affine(
        full, scale, zero_point, axis=0, quant_min=0, quant_max=top
    ).to(rows.dtype)


def min_max_grid(rows: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return scale and zero point ``(N,)`` of rows ``(N, ...)`` from their least and largest."""
    return _grid(rows.flatten(1), bits, None)


def codes_of(layer: nn.Module, grid: RoundedLayer) -> Tensor:
    """Return the integers of a rounded weight, uint8, with a row for each scale."""
    weight: Any = layer.weight
    rows = by_output(layer, weight.detach().cpu()).double().reshape(len(grid.scale), -1)
    scale = grid.scale.double()[:, None]
    return ((rows / scale).round() + grid.zero_point[:, None]).to(torch.uint8)


def weight_of(layer: nn.Module, codes: Tensor, grid: RoundedLayer) -> Tensor:
    """Return the weight that codes stand for, to the last bit as rounding made it."""
    weight: Any = layer.weight
    steps = codes.to(torch.int32) - grid.zero_point[:, None]
    rows = (steps * grid.scale[:, None]).to(weight.dtype)
    # Rounding once more leaves points of the grid where it would have put them.
    rows = round_to(rows, grid.scale, grid.zero_point, grid.bits)
    return _of_output(layer, rows).to(weight.device)


def _grid(rows: Tensor, bits: int, clip: Clip) -> tuple[Tensor, Tensor]:
    """Return scale and zero point ``(N,)`` of rows ``(N, D)``."""
    kind = torch.float64 if rows.dtype is torch.float64 else torch.float32
    x = rows.to(kind)
    low, high = x.amin(1).clamp(max=0), x.amax(1).clamp(min=0)
    if isinstance(clip, str):
        return _least_squares(rows, low, high, bits)
    if clip is not None:
        # A row of one weight has no deviation.
        wide = x.double() if has_float64(x.device) else x  # squares overflow in float32
        mean, reach = wide.mean(1), clip * wide.std(1, unbiased=False)
        low = torch.maximum(low, (mean - reach).clamp(max=0).to(low))
        high = torch.minimum(high, (mean + reach).clamp(min=0).to(high))
    return _affine(low, high, bits)


def _affine(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    top = 2**bits - 1
    scale = (high - low) / top
    scale = torch.where(scale.isfinite(), scale, high / top - low / top).float()
    # Of weights that are all 0, or so small that the step is, any grid is right.
    scale = torch.where(scale >= torch.finfo(torch.float32).tiny, scale, torch.ones_like(scale))
    zero_point = (-low / scale).round().clamp(0, top).to(torch.int32)
    return scale, zero_point


def _least_squares(rows: Tensor, low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return the grid of each row whose range is the scaled one that errs least."""
    best: tuple[Tensor, Tensor] | None = None
    least = torch.full((len(rows),), math.inf, dtype=torch.float64, device=rows.device)
    if rows.device.type == "mps":
        least = least.float()
    for scaling in _SCALINGS:
        scale, zero_point = _affine(scaling * low, scaling * high, bits)
        error = (round_to(rows, scale, zero_point, bits) - rows).to(least).square().sum(1)
        better = error < least
        if best is None:
            best = scale, zero_point
        best = (
            torch.where(better, scale, best[0]),
            torch.where(better, zero_point, best[1]),
        )
        least = torch.minimum(error, least)
    assert best is not None
    return best


def by_output(layer: nn.Module, weight: Tensor) -> Tensor:
    """Return the weights of each output channel as a row ``(out, ...)``."""
    if isinstance(layer, _ConvNd) and layer.transposed:
        # (in, out/G, *k) with the groups one after the other in dim 0
        grouped = weight.reshape(layer.groups, -1, weight.shape[1], weight[0, 0].numel())
        return grouped.transpose(1, 2).reshape(layer.out_channels, -1)
    return weight.flatten(1)


def _of_output(layer: nn.Module, rows: Tensor) -> Tensor:
    """Return the weight whose output channels are the rows: undo :func:`by_output`."""
    shape: Any = layer.weight.shape
    if isinstance(layer, _ConvNd) and layer.transposed:
        taps = math.prod(shape[2:])
        grouped = rows.reshape(layer.groups, shape[1], shape[0] // layer.groups, taps)
        return grouped.transpose(1, 2).reshape(shape)
    return rows.reshape(shape)


def _check_bits(name: str, bits: object) -> int:
    count = check_count(name, bits)
    if count > _MOST_BITS:
        raise ValueError(f"{name} must be 1 to {_MOST_BITS}, got {count}")
    return count


def _check_clip(clip: Any) -> Clip:
    if clip is None:
        return None
    if isinstance(clip, str) and clip == "mse":
        return "mse"
    if isinstance(clip, bool) or not isinstance(clip, numbers.Real):
        raise ValueError(
            f"clip must be None, 'mse' or a positive number of standard deviations, got {clip!r}"
        )
    if not 0 < float(clip) < math.inf:
        raise ValueError(f"clip must be a positive number of standard deviations, got {clip!r}")
    return float(clip)
