"""An explanation as text for people, as JSON for programs, as a figure, and as a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from captum_spectral.coalitions import half_width
from captum_spectral.report.figures import figure_of_explanation as figure
from captum_spectral.report.html import Cell, Image, Table, page
from captum_spectral.report.layout import aligned, all_versions, decimals_of
from captum_spectral.sources.documents import to_document
from captum_spectral.studies import Explanation, ExplanationSettings

__all__ = ["figure", "summary", "to_html", "to_json", "to_text"]


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


def to_html(
    explained: Explanation,
    settings: ExplanationSettings,
    drawn: bytes,
    *,
    image: str = "an image",
    command: str | None = None,
    **about: object,
) -> str:
    """Tell everything on one page that needs nothing else: no other file and no network.

    Args:
        explained: The explanation.
        settings: How it was made.
        drawn: The content of the PNG file of :func:`figure`.
        image: Name of the photograph. Default: "an image"
        command: The command line that does it again. Default: None
        **about: Further settings to show, such as ``model``, ``weights`` and ``device``.

    Returns:
        A document in HTML.
    """
    method = asdict(settings)
    del method["show_progress"]
    return page(
        f"{image}: {explained.class_name}, by frequency bands",
        [f"Class {summary(explained)}.", _verdict(explained)],
        {
            "Which frequencies": [
                Image(
                    drawn,
                    f"The image, its bands, and bars of the value of each: {_listed(explained)}.",
                    "A bar above zero is a band that raises the logit of the class, a bar below "
                    "zero one that lowers it.",
                ),
                _table(explained),
            ],
        },
        settings={
            "image": image,
            **{name.replace("_", " "): x for name, x in about.items()},
            "input": " x ".join(map(str, explained.inputs.shape[1:])),
            **{name.replace("_", " "): x for name, x in method.items()},
            "num bands": len(explained.values),
        },
        command=command,
    )


def _verdict(explained: Explanation) -> str:
    """Say in sentences which bands the class rests on."""
    values = explained.values.tolist()
    gain = explained.full_value - explained.empty_value
    top = max(range(len(values)), key=values.__getitem__)
    low, high = explained.frequencies[top].tolist()
    text = (
        f"The whole image adds {gain:+.2f} logits to what an input of zeros gives. Band {top} "
        f"({low:.3f} to {high:.3f} cycles/pixel) adds most, {values[top]:+.2f}"
    )
    half = len(values) // 2
    if half:
        lower, upper = math.fsum(values[:half]), math.fsum(values[half:])
        text += f"; the lower half of the bands adds {lower:+.2f}, the upper {upper:+.2f}"
    against = [i for i, value in enumerate(values) if value < 0]
    if against:
        bands = f"band{'s' * (len(against) > 1)} {', '.join(map(str, against))}"
        text += f". Against the class: {bands}"
    return text + "."


def _listed(explained: Explanation) -> str:
    return ", ".join(f"band {i} {x:+.3g}" for i, x in enumerate(explained.values.tolist()))


def _table(explained: Explanation) -> Table:
    errors = explained.errors
    head = ["band", "cycles/pixel", "Shapley value"] + ["standard error"] * (errors is not None)
    decimals = decimals_of(explained.values.tolist())
    rows: list[list[str | Cell]] = []
    for band, (low, high) in enumerate(explained.frequencies.tolist()):
        value = float(explained.values[band])
        row: list[str | Cell] = [str(band), Cell(f"{low:.3f} to {high:.3f}", low)]
        row.append(Cell(f"{value:+.{decimals}f}", value))
        if errors is not None:
            row.append(Cell(f"{float(errors[band]):.{decimals}f}", float(errors[band])))
        rows.append(row)
    reach = "" if errors is None else f" 95% intervals reach {interval_of(explained)}."
    return Table(
        head,
        rows,
        f"In logits. The sum is v(full) - v(empty) = {explained.full_value:+.4g} - "
        f"({explained.empty_value:+.4g}), up to an efficiency gap of "
        f"{explained.efficiency_gap:+.1e}.{reach}",
    )


def _interval(degrees_of_freedom: float) -> dict[str, float | None]:
    """Tell how many standard errors an interval reaches to either side."""
    return {
        "confidence": 0.95,
        "standard_errors": half_width(degrees_of_freedom),
        "degrees_of_freedom": None if math.isinf(degrees_of_freedom) else degrees_of_freedom,
    }
