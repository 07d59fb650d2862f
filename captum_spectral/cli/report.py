"""An explanation as text for people and as JSON for programs."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import captum_spectral
from captum_spectral.cli.explanation import Explanation, Settings

__all__ = ["aligned", "summary", "table", "to_json"]

_DIGITS = 5  # of the largest number in a column


def summary(explained: Explanation) -> str:
    """The class in one line: id, name, probability."""
    whose = "the model's prediction" if explained.is_prediction else "as asked for"
    name = "" if explained.category is None else f" {explained.category}"
    return f"{explained.target}{name}, probability {explained.probability:.3g} ({whose})"


def table(explained: Explanation, others: Mapping[str, Sequence[float]] | None = None) -> str:
    """The bands, their values and sums, in aligned columns.

    Args:
        explained: The explanation.
        others: Title to further ``(M,)`` attributions, each for a column with its own gap.

    Returns:
        Lines without a newline at the end.
    """
    columns = {"Shapley value": explained.values.tolist(), **(others or {})}
    gain = explained.value_all - explained.value_none
    sums = [math.fsum(values) for values in columns.values()]
    gaps = [explained.gap, *(total - gain for total in sums[1:])]
    numbers = [number for values in columns.values() for number in values]
    decimals = _decimals([*numbers, explained.value_all, explained.value_none])

    def row(label: str, values: Sequence[float], form: str = f"+.{decimals}f") -> list[str]:
        return [label, *(format(value, form) for value in values)]

    errors = explained.errors
    head = [*columns]
    if errors is not None:
        head.insert(1, "standard error")
    rows = [["band   cycles/pixel", *head]]
    for band, (low, high) in enumerate(explained.frequencies.tolist()):
        line = row(
            f"{band:4d}   {low:.3f} to {high:.3f}", [values[band] for values in columns.values()]
        )
        if errors is not None:
            line.insert(2, f"{float(errors[band]):.{decimals}f}")
        rows.append(line)
    blank = [""] if errors is not None else []
    for label, line in (
        ("sum of the bands", row("", sums)[1:]),
        ("v(all) - v(none)", row("", [gain] * len(columns))[1:]),
        ("efficiency gap", row("", gaps, "+.1e")[1:]),
    ):
        rows.append([f"       {label}", line[0], *blank, *line[1:]])
    ends = [
        f"{label}{value:+{_DIGITS + 5}.{decimals}f}   logit for {what}"
        for label, value, what in (
            ("v(all) ", explained.value_all, "the whole photograph"),
            ("v(none)", explained.value_none, "an input of zeros"),
        )
    ]
    return "\n".join(["Values in logits", *aligned(rows), *ends])


def to_json(
    explained: Explanation,
    settings: Settings,
    *,
    image: str,
    image_size: tuple[int, int],
    model: str,
    weights: str | None,
    device: str,
) -> str:
    """Everything about an explanation as a JSON document; numbers as they are, in logits."""
    errors = [None] * settings.num_bands if explained.errors is None else explained.errors.tolist()
    document: dict[str, Any] = {
        "image": {"file": image, "width": image_size[0], "height": image_size[1]},
        "model": {
            "name": model,
            "weights": weights,
            "input_shape": list(explained.inputs.shape[1:]),
            "device": device,
        },
        "class": {
            "id": explained.target,
            "name": explained.category,
            "probability": explained.probability,
            "is_prediction": explained.is_prediction,
        },
        "method": {
            "name": "SpectralShapley",
            "num_bands": settings.num_bands,
            "norm": settings.norm,
            "spacing": settings.spacing,
            "exact": settings.n_samples is None,
            "n_samples": settings.n_samples,
            "seed": None if settings.n_samples is None else settings.seed,
        },
        "unit": "logits",
        "frequency_unit": "cycles/pixel",
        "bands": [
            {"band": band, "frequencies": ends, "value": value, "standard_error": error}
            for band, (ends, value, error) in enumerate(
                zip(explained.frequencies.tolist(), explained.values.tolist(), errors, strict=True)
            )
        ],
        "value_all": explained.value_all,
        "value_none": explained.value_none,
        "efficiency_gap": explained.gap,
        "versions": {
            "captum_spectral": captum_spectral.__version__,
            "captum": version("captum"),
            "torch": version("torch"),
            "torchvision": version("torchvision"),
            "python": platform.python_version(),
        },
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _decimals(numbers: Sequence[float]) -> int:
    largest = max(abs(number) for number in numbers) or 1.0
    return min(max(_DIGITS - 1 - math.floor(math.log10(largest)), 0), 12)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in rows
    ]
