"""The layers of a model over frequency as text for people, as JSON for programs, as a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from captum_spectral.report.layout import aligned, all_versions, as_file
from captum_spectral.sources.documents import to_document, to_nulls
from captum_spectral.visualization import visualize_responses
from captum_spectral.weights import LayerResponse

__all__ = ["figure", "table", "to_json", "to_text"]

_DPI = 150
_NATURAL = 2.0  # the exponent of the power spectrum of photographs


def table(layers: Sequence[LayerResponse]) -> str:
    """Tell every layer in aligned columns."""
    head = ["layer", "map", "kernel", "stride", "norm", "at most", "low to high", "folded", "1/f^2"]
    rows = [head]
    for layer in layers:
        bound = "-" if layer.norm_bound is None else f"{layer.norm_bound:.4g}"
        strided = layer.response.geometry.num_aliases > 1
        folded = [_percent(share) if strided else "" for share in _aliasing(layer)]
        rows.append(
            [
                layer.name,
                _times(layer.size),
                _times(layer.response.geometry.kernel_size),
                ("/ " if layer.response.geometry.transposed else "") + _times(layer.stride),
                f"{layer.norm:.4g}",
                bound,
                _decibels(layer),
                *folded,
            ]
        )
    return "\n".join(aligned(rows))


def to_text(layers: Sequence[LayerResponse], model: str) -> str:
    """Tell the table, and how it is read.

    Args:
        layers: The layers, in the order of their calls.
        model: Name of the model.

    Returns:
        Lines, the last one with a newline.
    """
    fused = sum(layer.batch_norm is not None for layer in layers)
    lines = [
        f"Frequency response of the {len(layers)} convolutions of {model}",
        "",
        table(layers),
        "",
        "norm: the largest factor by which the layer amplifies any input; at most: a bound of it "
        "for every size of the map, with zero padding.",
        "low to high: gain of the highest band less that of the lowest, in dB, root mean square "
        "over channels.",
        "folded: share of the passed energy that the stride folds back, or that a transposed layer "
        "(/) leaves above what it was given, for white inputs and for those with a 1/f^2 spectrum.",
        f"The scale of a batch norm is in the numbers of {fused} layers.",
        "Gains are those of one linear layer, not of the model: nonlinearities mix frequencies, "
        "and norms multiply to far more than the slope of the network.",
    ]
    return "\n".join(lines) + "\n"


def to_json(
    layers: Sequence[LayerResponse],
    *,
    model: str,
    weights: str | None = None,
    input_shape: Sequence[int] = (),
    device: str = "cpu",
) -> str:
    """Tell everything about the layers as a JSON document; numbers as they are.

    Args:
        layers: The layers, in the order of their calls.
        model: Name of the model.
        weights: File of the model's weights. Default: None
        input_shape: Of one input of the model. Default: ()
        device: Where it was computed. Default: "cpu"

    Returns:
        The document, with a newline at its end.
    """
    document = {
        "method": "frequency response",
        "model": {
            "name": model,
            "weights": weights,
            "input_shape": list(input_shape),
            "device": device,
        },
        "gain_unit": "amplitude",
        "frequency_unit": "cycles/image pixel",
        "layers": [_as_dict(layer) for layer in layers],
        "versions": all_versions(),
    }
    return to_document(document)


def figure(layers: Sequence[LayerResponse], title: str) -> dict[str, bytes]:
    """Draw the layers whose gain depends on the frequency, or all where it does in none.

    Args:
        layers: The layers, in the order of their calls.
        title: Title of the figure.

    Returns:
        "png" and "svg" to the contents of the files.
    """
    # A map of one pixel has no frequency, and a kernel of one tap treats all alike.
    seen = [layer for layer in layers if max(layer.size) > 1] or list(layers)
    drawn = [x for x in seen if max(x.response.geometry.kernel_size) > 1] or seen
    # As far as the figure goes: its frequencies are those of the dim with the smallest step.
    folds = [float(x.frequencies.nan_to_num().max()) / x.nyquist for x in drawn]
    picture, _ = visualize_responses(
        torch.stack([layer.rms_gain for layer in drawn]),
        torch.stack([layer.frequencies for layer in drawn]),
        [layer.name for layer in drawn],
        [round(max(1.0, fold), 3) for fold in folds],
        [layer.aliasing for layer in drawn],
        title=title,
        use_pyplot=False,
    )
    return {file_format: as_file(picture, file_format, _DPI) for file_format in ("png", "svg")}


def _as_dict(layer: LayerResponse) -> dict[str, Any]:
    white, natural = _aliasing(layer)
    ends, most, mean = (
        to_nulls(x.double()) for x in (layer.frequencies, layer.max_gain, layer.rms_gain)
    )
    geometry = layer.response.geometry
    return {
        "name": layer.name,
        "kind": layer.kind,
        "map": list(layer.size),
        "pixels_per_sample": list(layer.step),
        "kernel_size": list(geometry.kernel_size),
        "stride": list(layer.stride),
        "dilation": list(geometry.dilation),
        "transposed": geometry.transposed,
        "batch_norm": layer.batch_norm,
        "norm": layer.norm,
        "norm_bound": layer.norm_bound,
        "nyquist_of_output": layer.nyquist,
        "aliasing": {"white": to_nulls(white), "1/f^2": to_nulls(natural)},
        "bands": [
            {"band": band, "frequencies": pair, "max_gain": a, "rms_gain": b}
            for band, (pair, a, b) in enumerate(zip(ends, most, mean, strict=True))
        ],
    }


@torch.no_grad()
def _aliasing(layer: LayerResponse) -> tuple[float, float]:
    """Return the share that is folded of white inputs, and of those like photographs."""
    if layer.response.geometry.num_aliases == 1:
        return 0.0, 0.0
    return layer.aliasing, float(layer.response.aliasing(_NATURAL))


def _decibels(layer: LayerResponse) -> str:
    """Tell by how much the highest band is amplified more than the lowest."""
    low, high = float(layer.rms_gain[0]), float(layer.rms_gain[-1])
    if not (low > 0 and high > 0):
        return "-"
    found = f"{20 * math.log10(high / low):+.1f} dB"
    return found.replace("-0.0", "+0.0").replace("+0.0", "0.0")


def _percent(share: float) -> str:
    """Write a share; a layer that passes nothing has none."""
    return "-" if math.isnan(share) else f"{share:.1%}"


def _times(numbers: Sequence[int]) -> str:
    """Write sizes as ``3 x 5``."""
    return " x ".join(map(str, numbers))
