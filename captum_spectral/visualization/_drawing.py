"""Give every figure the same tools: arrays from tensors, checks, labels and colour scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from torch import Tensor

from captum_spectral.visualization._text import set_title

Array = Tensor | npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_VISIBLE = 1e-2  # a difference below this share of the display range is not an error

__all__ = [
    "Array",
    "Floats",
    "centred",
    "check_display_range",
    "check_labels",
    "check_named",
    "draw_picture",
    "range_labels",
    "rounding",
    "set_title",
    "show",
    "signed",
    "to_array",
    "to_frequencies",
    "with_unit",
]


def to_array(
    x: Array, name: str, forms: tuple[str, ...], *, finite: bool = True, hint: str = ""
) -> Floats:
    """Return a float64 array of one of the shapes ``forms``, e.g. ``("(M,)", "(N, M)")``."""
    if not isinstance(x, (Tensor, np.ndarray)):
        raise TypeError(
            f"{name} must be a torch.Tensor or numpy array, got {type(x).__name__}; "
            f"use torch.as_tensor({name}) first"
        )
    tensor = x.detach().cpu() if isinstance(x, Tensor) else x
    kind = tensor.dtype
    # NumPy's kinds of real numbers: floating, signed, unsigned, boolean.
    if kind.is_complex if isinstance(kind, torch.dtype) else kind.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {kind}")
    values = tensor.double().numpy() if isinstance(tensor, Tensor) else tensor.astype(np.float64)
    # Rank of a form: its commas and one more, except that "(M,)" has rank 1.
    if values.ndim not in [form.count(",") + (not form.endswith(",)")) for form in forms]:
        raise ValueError(f"{name} must be {' or '.join(forms)}, got shape {values.shape}{hint}")
    if values.size == 0:
        raise ValueError(f"{name} is empty (shape {values.shape})")
    bad = int((~np.isfinite(values)).sum())
    if finite and bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite values")
    return values


def rounding(x: Array, least: float = 1e-6) -> float:
    """Return by how much sums of ``x`` may differ from what they should be."""
    kind = torch.as_tensor(x).dtype
    return max(least, x.shape[-1] * torch.finfo(kind).eps) if kind.is_floating_point else least


def to_frequencies(frequencies: Array | None, num_bands: int) -> Floats | None:
    """Return lowest and highest frequencies ``(M, 2)``, NaN for an empty band, or None."""
    if frequencies is None:
        return None
    values = to_array(frequencies, "frequencies", ("(M, 2)",), finite=False)
    if values.shape != (num_bands, 2):
        raise ValueError(
            f"frequencies must be (M, 2) with one lowest and highest frequency per band, here "
            f"{(num_bands, 2)}, got shape {values.shape}"
        )
    return values


def range_labels(frequencies: Floats) -> list[str]:
    """Write ``"0.06–0.12"`` for each band, with just enough decimals to tell the bands apart."""
    known = frequencies[~np.isnan(frequencies).any(axis=1)]
    lowest = np.unique(known[:, 0])
    # Of hertz no decimals, of cycles per pixel two, unless they are needed.
    most = float(known.max()) if known.size else 0.0
    least = 2 - min(2, int(most >= 10) + int(most >= 100))
    enough = (d for d in range(least, 4) if len(np.unique(lowest.round(d))) == len(lowest))
    decimals = next(enough, 4)
    return [
        "empty" if np.isnan([low, high]).any() else f"{low:.{decimals}f}–{high:.{decimals}f}"
        for low, high in frequencies
    ]


def with_unit(quantity: str, unit: str) -> str:
    """Write ``"quantity (unit)"``, or the quantity alone for a pure number."""
    return f"{quantity} ({unit})" if unit else quantity


def signed(value: float) -> str:
    """Write the value with its sign, three digits and a minus that is as wide as the plus."""
    return f"{value:+.3g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def centred(values: Floats) -> Normalize:
    """Return a linear colour scale with 0 in its middle, up to the largest absolute value.

    NaN, where there is no value, counts as 0.
    """
    largest = float(np.abs(np.nan_to_num(values)).max()) or 1.0
    return Normalize(-largest, largest)


def show(use_pyplot: bool) -> None:
    """Show the figures of pyplot, as Captum does, if it was used."""
    if use_pyplot:
        from matplotlib import pyplot as plt

        plt.show()


def check_labels(
    labels: Sequence[str] | None, rows: int, one_row: bool, what: str = "attributions"
) -> list[str]:
    """Return one name per row, or an empty list if a single row needs none."""
    if labels is None:
        return [] if one_row or rows == 1 else [f"example {i}" for i in range(rows)]
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise TypeError(f"labels must be a sequence of {rows} strings, got {labels!r}")
    if len(labels) != rows:
        raise ValueError(
            f"labels must have one name for each of the {rows} rows of {what}, got {len(labels)}"
        )
    return list(labels)


def check_named(values: object, name: str, example: str) -> None:
    """Raise unless ``values`` is a dict by name, such as ``example``."""
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise TypeError(
            f"{name} must be a dict by name, such as {example}, got {type(values).__name__}"
        )


def check_display_range(picture: Floats, name: str) -> None:
    """Raise if a picture leaves [0, 1] by more than can be seen."""
    if picture.min() < -_VISIBLE or picture.max() > 1 + _VISIBLE:
        raise ValueError(
            f"{name} must be in display range [0, 1], got values from {picture.min():.3g} to "
            f"{picture.max():.3g}; undo the normalisation of the model's input, or divide by 255"
        )


def draw_picture(ax: Axes, picture: Floats) -> None:
    """Draw a grey or RGB picture ``(C, H, W)`` without a frame."""
    pixels = picture.clip(0, 1).transpose(1, 2, 0)  # (H, W, C)
    if pixels.shape[-1] == 1:
        ax.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=1)
    else:
        ax.imshow(pixels)
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
