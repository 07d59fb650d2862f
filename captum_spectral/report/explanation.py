"""An explanation as text for people, as JSON for programs, and as a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from captum_spectral.coalitions import half_width
from captum_spectral.report.figures import figure_of_explanation as figure
from captum_spectral.report.layout import aligned, all_versions, decimals_of
from captum_spectral.sources.documents import to_document
from captum_spectral.studies import Explanation, ExplanationSettings

__all__ = ["figure", "summary", "to_json", "to_text"]


def summary(explained: Explanation) -> str:
    """Tell the class in one line: id, name, probability."""
    whose = "the model's prediction" if explained.is_prediction else "as asked for"
    name = "" if explained.category is None else f" {explained.category}"
    return f"{explained.target}{name}, probability {explained.probability:.3g} ({whose})"


def to_text(explained: Explanation, others: Mapping[str, Sequence[float]] | None = None) -> str:
    """Tell the bands, their values and sums, in aligned columns.

    Args:
        explained: The explanation.
        others: Title to further ``(M,)`` attributions, each for a column with its own gap.

    Returns:
        Lines without a newline at the end.
    """
    columns = {"Shapley value": explained.values.tolist(), **(others or {})}
    gain = explained.full_value - explained.empty_value
    sums = [math.fsum(values) for values in columns.values()]
    gaps = [explained.efficiency_gap, *(total - gain for total in sums[1:])]
    numbers = [number for values in columns.values() for number in values]
    decimals = decimals_of([*numbers, explained.full_value, explained.empty_value])

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
        ("v(full) - v(empty)", row("", [gain] * len(columns))[1:]),
        ("efficiency gap", row("", gaps, "+.1e")[1:]),
    ):
        rows.append([f"       {label}", line[0], *blank, *line[1:]])
    ends = [
        f"{label}{value:+10.{decimals}f}   logit for {what}"
        for label, value, what in (
            ("v(full) ", explained.full_value, "the whole photograph"),
            ("v(empty)", explained.empty_value, "an input of zeros"),
        )
    ]
    intervals = [] if errors is None else [f"95% intervals reach {interval_of(explained)}"]
    return "\n".join(["Values in logits", *aligned(rows), *ends, *intervals])


def interval_of(explained: Explanation) -> str:
    """Tell how far a 95 % interval reaches, for values with standard errors."""
    degrees = explained.degrees_of_freedom
    reach = f"±{half_width(degrees):.2f} standard errors"
    if math.isinf(degrees):
        return f"{reach}, which are those of the model of the game"
    return f"{reach} (Student's t, {degrees:.0f} degree{'s' if degrees > 1 else ''} of freedom)"


def to_json(
    explained: Explanation,
    settings: ExplanationSettings,
    *,
    image: str | None = None,
    image_size: tuple[int, int] | None = None,
    model: str | None = None,
    weights: str | None = None,
    device: str | None = None,
) -> str:
    """Tell everything about an explanation as a JSON document; numbers as they are, in logits.

    Args:
        explained: The explanation.
        settings: How it was made.
        image: File of the photograph. Default: None
        image_size: Its width and height. Default: None
        model: Name of the model. Default: None
        weights: File of the model's weights. Default: None
        device: Where it was computed. None: the device of the inputs. Default: None

    Returns:
        The document, with a newline at its end.
    """
    width, height = (None, None) if image_size is None else image_size
    num_bands = len(explained.values)
    errors = [None] * num_bands if explained.errors is None else explained.errors.tolist()
    document: dict[str, Any] = {
        "image": {"file": image, "width": width, "height": height},
        "model": {
            "name": model,
            "weights": weights,
            "input_shape": list(explained.inputs.shape[1:]),
            "device": str(explained.inputs.device) if device is None else device,
        },
        "class": {
            "id": explained.target,
            "name": explained.category,
            "probability": explained.probability,
            "is_prediction": explained.is_prediction,
        },
        "method": {
            "name": "SpectralShapley",
            "num_bands": num_bands,
            "norm": settings.norm,
            "spacing": settings.spacing,
            "exact": explained.errors is None,
            "n_samples": settings.n_samples,
            "budget": settings.budget,
            "seed": None if explained.errors is None else settings.seed,
        },
        "interval": None if explained.errors is None else _interval(explained.degrees_of_freedom),
        "unit": "logits",
        "frequency_unit": "cycles/pixel",
        "bands": [
            {"band": band, "frequencies": ends, "value": value, "standard_error": error}
            for band, (ends, value, error) in enumerate(
                zip(explained.frequencies.tolist(), explained.values.tolist(), errors, strict=True)
            )
        ],
        "full_value": explained.full_value,
        "empty_value": explained.empty_value,
        "efficiency_gap": explained.efficiency_gap,
        "versions": all_versions(),
    }
    return to_document(document)


def _interval(degrees_of_freedom: float) -> dict[str, float | None]:
    """Tell how many standard errors an interval reaches to either side."""
    return {
        "confidence": 0.95,
        "standard_errors": half_width(degrees_of_freedom),
        "degrees_of_freedom": None if math.isinf(degrees_of_freedom) else degrees_of_freedom,
    }
