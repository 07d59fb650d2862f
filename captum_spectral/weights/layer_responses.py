"""The frequency responses of all convolutions of a model, in frequencies of its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from captum_spectral._arguments import check_count, format_inputs
from captum_spectral._captum import progress_bar
from captum_spectral._engine.forward import Forward
from captum_spectral.features.band_mask import DEFAULT_BANDS, band_frequencies
from captum_spectral.weights._layers import check_layer, default_size, is_quantised, read_layer
from captum_spectral.weights.frequency_response import FrequencyResponse, largest_in_bands

__all__ = ["LayerResponse", "layer_responses"]

_MOST_BANDS = 16  # that the coarsest grid of a layer can fill

Step = tuple[float, ...]


@dataclass(frozen=True)
class LayerResponse:
    """Tell how one convolution of a model treats the frequencies of its input.

    Attributes:
        name (str): In ``model.named_modules()``.
        kind (str): Its class.
        response (FrequencyResponse): All of it, differentiable in the weights.
        size (tuple[int, ...]): Of the feature map that it was given.
        step (tuple[float, ...]): Image pixels from one sample of that map to the next, per dim.
        stride (tuple[int, ...]): Its own.
        frequencies (Tensor): ``(M, 2)`` lowest and highest frequency of each band of the feature
            map in cycles per image pixel, along the dim with the smallest step.
        max_gain (Tensor): ``(M,)`` largest gain of inputs confined to the band.
        rms_gain (Tensor): ``(M,)`` root mean square gain of random ones.
        norm (float): The largest singular value on the grid of ``response``.
        norm_bound (float | None): A bound for any size with zero padding; None for a layer that
            pads so that none holds.
        aliasing (float): Share of the passed energy from above the Nyquist frequency of its output,
            for a white input.
        batch_norm (str | None): The batch norm whose scale is in these numbers.
    """

    name: str
    kind: str
    response: FrequencyResponse
    size: tuple[int, ...]
    step: Step
    stride: tuple[int, ...]
    frequencies: Tensor
    max_gain: Tensor
    rms_gain: Tensor
    norm: float
    norm_bound: float | None
    aliasing: float
    batch_norm: str | None

    @property
    def nyquist(self) -> float:
        """Highest frequency of its output, along the dim of ``frequencies``, per image pixel."""
        change = [1 / s if self.response.geometry.transposed else s for s in self.stride]
        return 0.5 / min(a * b for a, b in zip(self.step, change, strict=True))


def layer_responses(
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    num_bands: int | None = None,
    *,
    additional_forward_args: Any = None,
    fuse_batch_norm: bool = True,
    show_progress: bool = False,
) -> list[LayerResponse]:
    """Return the frequency response of every convolution of a model, in the order of their calls.

    One forward pass of the first example tells which convolutions there are and the sizes of their
    feature maps. Strides are multiplied up on the way, with those of pooling layers; a map that
    functions resized in between is taken for resized by a whole number. So frequencies are in
    cycles per *image* pixel. The responses are those of the weights, on a grid of 32 points per dim
    and more, whatever the size of the feature map.

    Args:
        model: In eval mode; it is left as it was.
        inputs: ``(B, C, *image)`` images, or a tuple whose first tensor holds them.
        num_bands: Bands of every layer's input, at most 16. None: 8. Default: None
        additional_forward_args: Further arguments of the model. Default: None
        fuse_batch_norm: Multiply the scale of a batch norm into the convolution whose output it
            takes as it is; without it, gains say little. Default: True
        show_progress: Show a progress bar that counts layers. Default: False

    Returns:
        One :class:`LayerResponse` for each convolution, the first time it is called.
        Convolutions along other dims than those of the image, such as across channels, are left
        out.

    Raises:
        TypeError: A model that is no ``nn.Module``, inputs of a wrong kind, quantised convolutions.
        ValueError: Too many bands, inputs that are not finite, no convolution along the image; a
            convolution whose weights are not finite, not there yet, or computed by a
            parametrisation; a batch norm whose scale is not finite.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost: one model row. Then singular values of every layer, whose time grows with the cube of its
    channels: a dense convolution of several hundred takes minutes on one core.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import layer_responses
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 8, 3, stride=2, padding=1), torch.nn.ReLU(),
        ...     torch.nn.Conv2d(8, 8, 3, padding=1)).eval()
        >>> [(layer.name, layer.size, layer.step, layer.nyquist)
        ...  for layer in layer_responses(model, torch.rand(1, 3, 32, 32))]
        [('0', (32, 32), (1.0, 1.0), 0.25), ('2', (16, 16), (2.0, 2.0), 0.25)]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
    bands = DEFAULT_BANDS if num_bands is None else check_count("num_bands", num_bands)
    if bands > _MOST_BANDS:
        raise ValueError(f"num_bands must be at most {_MOST_BANDS}, got {bands}")
    tensors = format_inputs(inputs)
    for name, module in model.named_modules():
        if isinstance(module, _ConvNd) or (
            is_quantised(module) and "Conv" in type(module).__name__
        ):
            check_layer(module, f"the layer {name!r} of model")
    forward = Forward(
        model, len(tensors[0]), tensors[0].device, additional_forward_args=additional_forward_args
    )
    trace = _Trace(model, tuple(tensors[0].shape[2:]))
    with trace, torch.no_grad():
        forward.returned(
            tuple(x[:1] for x in tensors),
            lambda device: torch.zeros(1, dtype=torch.long).to(device),
        )
    if not trace.calls:
        raise ValueError(
            f"model calls no convolution along the dims {trace.image} of its inputs, so there are "
            "no responses; nn.Linear layers are for frequency_response"
        )
    found = []
    with progress_bar(show_progress, "Frequency responses", len(trace.calls)) as bar:
        for call in trace.calls:
            found.append(_respond(call, bands, fuse_batch_norm))
            bar.update(1)
    return found


@dataclass
class _Call:
    """A convolution, the map that it was given, and the batch norm that took what it gave."""

    name: str
    layer: _ConvNd
    size: tuple[int, ...]
    step: Step
    batch_norm: str | None = None
    scale: Tensor | None = None


class _Trace:
    """Watches the convolutions of a model while it is entered, by hooks that are gone after it.

    Attributes:
        image: Sizes of the image.
        calls: What was called, in order.
    """

    def __init__(self, model: nn.Module, image: tuple[int, ...]) -> None:
        self.image = image
        self.calls: list[_Call] = []
        self._model = model
        self._handles: list[Any] = []
        # Image pixels per sample of maps by their size; the size that was seen last.
        self._steps: dict[tuple[int, ...], Step] = {image: (1.0,) * len(image)}
        self._last = image
        self._output: Any = None  # of the convolution that was called last

    def __enter__(self) -> _Trace:
        for name, module in self._model.named_modules():
            watch: Any = None
            if isinstance(module, _ConvNd) and len(module.kernel_size) == len(self.image):
                watch = self._convolved
            elif isinstance(module, _MaxPoolNd | _AvgPoolNd):
                watch = self._pooled
            elif isinstance(module, _BatchNorm) and module.running_var is not None:
                watch = self._normed
            if watch is not None:
                self._handles.append(
                    module.register_forward_hook(_named(watch, name), with_kwargs=True)
                )
        return self

    def __exit__(self, *args: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._output = None

    def _convolved(self, name: str, layer: Any, x: Tensor, output: Tensor) -> None:
        size = self._size_of(x)
        step = self._step_of(size)
        self._moved(size, output, [1 / s if layer.transposed else s for s in layer.stride])
        self._output = output
        if all(call.layer is not layer for call in self.calls):
            self.calls.append(_Call(name, layer, size, step))

    def _pooled(self, name: str, layer: Any, x: Tensor, output: Any) -> None:
        # Strides of these may be one number, and their outputs come with indices.
        strides = layer.stride if isinstance(layer.stride, Sequence) else [layer.stride]
        y = output[0] if isinstance(output, tuple) else output
        dims = len(self.image)
        if x.dim() > dims and len(strides) in (1, dims):
            self._moved(self._size_of(x), y, [*strides] * (dims // len(strides)))

    def _moved(self, size: tuple[int, ...], output: Tensor, change: Sequence[float]) -> None:
        """Note the step of what a layer gave for a map of this size."""
        after, step = self._size_of(output), self._step_of(size)
        self._steps.setdefault(after, tuple(a * b for a, b in zip(step, change, strict=True)))
        self._last = after

    def _size_of(self, x: Tensor) -> tuple[int, ...]:
        return tuple(x.shape[-len(self.image) :])

    def _normed(self, name: str, norm: Any, x: Tensor, output: Tensor) -> None:
        if x is not self._output or norm.training or self.calls[-1].scale is not None:
            return
        scale = (norm.running_var + norm.eps).rsqrt()
        self.calls[-1].scale = scale if norm.weight is None else scale * norm.weight.detach()
        self.calls[-1].batch_norm = name

    def _step_of(self, size: tuple[int, ...]) -> Step:
        """Return the step of a map; one of a new size was pooled or resized by a whole number."""
        if size not in self._steps:
            before = self._steps[self._last]
            self._steps[size] = tuple(
                step * round(m / n) if m >= n else step / round(n / m)
                for step, m, n in zip(before, self._last, size, strict=True)
            )
        return self._steps[size]


def _named(watch: Any, name: str) -> Any:
    """Return a forward hook that knows the name of its module."""

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        watch(name, module, args[0] if args else kwargs["input"], output)

    return hook


@torch.no_grad()
def _respond(call: _Call, num_bands: int, fuse: bool) -> LayerResponse:
    scale = call.scale if fuse else None
    if scale is not None and not scale.isfinite().all():
        raise ValueError(
            f"the batch norm {call.batch_norm!r} of model must have finite weights and a variance "
            "from 0 on; leave it out with fuse_batch_norm=False"
        )
    with torch.enable_grad():  # of response, which is kept
        weight, layout, geometry = read_layer(call.layer, scale=scale)
        size = default_size(geometry, flat=False)
        response = FrequencyResponse(weight, layout, geometry, size)
    ids = response.band_ids(None, num_bands)
    if geometry.num_aliases == 1:  # the matrices of all answers are the same
        gain = response.gain("max")
        norm, max_gain = gain.amax(), largest_in_bands(gain, ids)
    else:
        norm, max_gain = response.norm(), response.band_gain(num_bands=num_bands)
    bound = None if geometry.unbounded else float(norm) * response.bound_factor()
    ends = band_frequencies(ids, tuple(range(-len(call.size), 0)))
    return LayerResponse(
        name=call.name,
        kind=type(call.layer).__name__,
        response=response,
        size=call.size,
        step=call.step,
        stride=geometry.stride,
        frequencies=ends / min(call.step),
        max_gain=max_gain,
        rms_gain=response.band_gain(num_bands=num_bands, kind="rms"),
        norm=float(norm),
        norm_bound=bound,
        aliasing=float(response.aliasing()),
        batch_norm=call.batch_norm if fuse else None,
    )
