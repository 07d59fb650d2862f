"""Effects of a change of weights as text for people, as JSON for programs, as two figures."""

from __future__ import annotations

import math
from typing import Any

import torch
from matplotlib.figure import Figure

from captum_spectral.report.layout import (
    aligned,
    all_versions,
    as_file,
    figure_of_values,
    told_error,
)
from captum_spectral.sources.documents import to_document, to_nulls
from captum_spectral.studies.rounding import RoundedStudy
from captum_spectral.studies.weight_change import ChangedLayer, LayerNoise, Mean, WeightChange
from captum_spectral.visualization import visualize_band_attr, visualize_epochs

__all__ = [
    "figure_of_bands",
    "figure_of_layers",
    "rounding_to_json",
    "rounding_to_text",
    "to_json",
    "to_text",
]

_MOST_LINES = 7  # of bands in a figure


def to_text(change: WeightChange, model: str, other: str) -> str:
    """Tell all tables in aligned columns.

    Args:
        change: What is told.
        model: Name of the first model.
        other: Name of the second.

    Returns:
        Lines, the last one with a newline.
    """
    count = change.num_examples
    lines = [
        f"From {model} to {other}, over {count} image{'s' if count != 1 else ''}",
        "",
        f"same class       {_share(change.agreement)}",
    ]
    if change.accuracy is not None:
        before, after = map(_share, change.accuracy)
        lines.append(f"accuracy         {before}, then {after}")
    whose = "the label" if change.labelled else f"the class of {model}"
    before, after = (f"{m.value:.4f}" for m in change.log_likelihood)
    lines += [
        f"log-likelihood of {whose}: {before}, then {after}: {_signed(change.change)} nats",
        "",
        *aligned(
            [
                ["layer", "change", "nats", "+-"],
                *(
                    [
                        layer.name or "(the model)",
                        f"{layer.relative_change:.1%}",
                        *_parts(layer.value),
                    ]
                    for layer in _ranked(change)
                ),
            ]
        ),
        "",
        f"nats: what the change of the layer adds to the log-likelihood; {change.method}, mean and "
        f"standard error. The sum misses the whole by {change.gap:+.1e}. How much a layer changed "
        "says little about what that did.",
    ]
    if change.bands is not None:
        bands = change.bands
        rows = [["band, cycles/pixel", "before", "+-", "after", "+-", "change", "+-"]]
        for i, (low, high) in enumerate(bands.frequencies.tolist()):
            parts = (_parts(each[i]) for each in (bands.model, bands.other, bands.change))
            rows.append([f"{low:.3f} to {high:.3f}", *(cell for part in parts for cell in part)])
        lines += [
            "",
            *aligned(rows),
            "",
            "Shapley values of bands of the images, in nats. The error of the change is that of "
            "differences image by image.",
        ]
    if change.noise:
        most = max(len(layer.ratio) for layer in change.noise)
        rows = [["noise after", "size", *(f"band {i}" for i in range(most))]]
        for layer in change.noise:
            cells = [f"{ratio:.2g}" for ratio in layer.ratio.tolist()]
            cells += ["-"] * (most - len(cells))
            rows.append([layer.name or "(the model)", "x".join(map(str, layer.size)), *cells])
        lines += [
            "",
            *aligned(rows),
            "",
            "noise: energy of the difference over that of the first model's output, in bands of "
            "equal width up to the Nyquist frequency of the output itself.",
        ]
    return "\n".join(lines) + "\n"


def rounding_to_text(study: RoundedStudy, model: str) -> str:
    """Tell what rounding did and what repairs gave back, and then the last of them in detail.

    Args:
        study: What is told.
        model: Name of the model.
    """
    settings = study.settings
    rows = [["weights", "bits/weight", "adapters", "same class", "+-", "nats", "+-"]]
    for repair in study.repairs:
        same = repair.agreement
        agreement = [f"{same.value:.1%}", told_error(same.error, ".1%")]
        size = f"{repair.size:.4f}"
        rows.append(
            [repair.name, f"{repair.bits_per_weight:.2f}", size, *agreement, *_parts(repair.change)]
        )
    grid = "per channel" if settings.per_channel else "per tensor"
    clip = "" if settings.clip is None else f", clip {settings.clip}"
    name = f"{model} at {settings.bits} bits"
    if settings.budget is not None:
        name += " and adapters"
    lines = [
        f"{model} rounded to {settings.bits} bits {grid}{clip}; {study.num_calibration} pictures "
        "to calibrate, others to look at",
        "",
        *aligned(rows),
        "",
        "adapters: numbers in them over rounded weights, ranks in the metric of "
        f"{'weights' if settings.metric == 'plain' else 'outputs'}. batch norms: their statistics "
        "estimated anew, without adapters.",
    ]
    if study.ranks:
        kept = {layer: rank for layer, rank in study.ranks.items() if rank}
        lines.append(
            f"ranks: {', '.join(f'{layer} {rank}' for layer, rank in kept.items())}; "
            f"none for {len(study.ranks) - len(kept)} layers"
        )
    lines += [f"skipped {picture}: {reason}" for picture, reason in study.skipped]
    return "\n".join(lines) + "\n\n" + to_text(study.change, model, name)


def to_json(change: WeightChange, **about: Any) -> str:
    """Tell everything as a JSON document.

    Args:
        change: What is told.
        about: Further entries, such as names and settings.
    """
    return to_document(to_nulls({**about, **_entries(change), "versions": all_versions()}))


def rounding_to_json(study: RoundedStudy, **about: Any) -> str:
    """Tell everything of a rounded model as a JSON document."""
    settings = study.settings
    return to_json(
        study.change,
        **about,
        bits=settings.bits,
        per_channel=settings.per_channel,
        clip=settings.clip,
        budget=settings.budget,
        metric=settings.metric,
        num_calibration=study.num_calibration,
        skipped=[{"name": name, "reason": reason} for name, reason in study.skipped],
        ranks=study.ranks,
        repairs=[
            {
                "name": repair.name,
                "size": repair.size,
                "bits_per_weight": repair.bits_per_weight,
                "agreement": repair.agreement._asdict(),
                "change": repair.change._asdict(),
            }
            for repair in study.repairs
        ],
    )


def figure_of_layers(change: WeightChange, title: str, file_format: str = "png") -> bytes:
    """Draw what the layers' changes add to the log-likelihood, with standard errors.

    Args:
        change: What is drawn; of many layers those that did most.
        title: Title of the figure.
        file_format: One that Matplotlib writes. Default: "png"
    """
    values = {
        layer.name or "(the model)": (layer.value.value, layer.value.error)
        for layer in change.layers
    }
    return figure_of_values(values, "nats", title, file_format)


def figure_of_bands(
    change: WeightChange, names: tuple[str, str], file_format: str = "png"
) -> bytes:
    """Draw the bands' values for both models, and the noise inside by layer and band.

    Args:
        change: What is drawn.
        names: Of the two models.
        file_format: One that Matplotlib writes. Default: "png"

    Raises:
        ValueError: It was computed without bands.
    """
    bands = change.bands
    if bands is None:
        raise ValueError("change was computed without bands; use num_bands=4 in weight_change")
    figure = Figure(figsize=(8.0, 7.6 if change.noise else 4.0), layout="constrained")
    parts = figure.subfigures(1 + bool(change.noise), 1, squeeze=False)[:, 0]
    values = [[mean.value for mean in part] for part in (bands.model, bands.other)]
    errors = [[mean.error for mean in part] for part in (bands.model, bands.other)]
    visualize_band_attr(
        torch.tensor(values),
        bands.frequencies,
        torch.tensor(errors) if change.num_examples > 1 else None,
        list(names),
        unit="nats",
        title="what each band of the images adds to the log-likelihood",
        plt_fig_axis=(parts[0], parts[0].subplots()),
        use_pyplot=False,
    )
    if change.noise:
        _, axes = visualize_epochs(
            torch.arange(1, len(change.noise) + 1),
            _noise_lines(change.noise),
            xlabel="convolution, in the order of the model",
            ylabel="noise over signal",
            legend_title="band of its output",
            title="energy of the difference inside the network",
            plt_fig_axis=(parts[1], parts[1].subplots()),
            use_pyplot=False,
        )
        axes.set_yscale("log")
    return as_file(figure, file_format, 150)


def _noise_lines(noise: list[LayerNoise]) -> dict[str, torch.Tensor]:
    """Return ratios by layer ``(N,)`` for each band, or for some; NaN where a map has fewer."""
    most = max(len(layer.ratio) for layer in noise)
    table = torch.full((len(noise), most), math.nan, dtype=torch.float64)
    for row, layer in zip(table, noise, strict=True):
        row[: len(layer.ratio)] = torch.where(layer.ratio > 0, layer.ratio, math.nan)  # of a log
    places = list(range(most))
    if most > _MOST_LINES:
        places = torch.linspace(0, most - 1, _MOST_LINES).round().long().tolist()
    ends = {0: " (lowest)", most - 1: " (highest)"} if most > 1 else {}
    return {f"{band}{ends.get(band, '')}": table[:, band] for band in places}


def _ranked(change: WeightChange) -> list[ChangedLayer]:
    return sorted(change.layers, key=lambda layer: -abs(layer.value.value))


def _parts(mean: Mean) -> list[str]:
    return [f"{mean.value:+.4f}", told_error(mean.error)]


def _signed(mean: Mean) -> str:
    value, error = _parts(mean)
    return f"{value} +- {error}"


def _share(mean: Mean) -> str:
    error = "" if math.isnan(mean.error) else f" +- {mean.error:.1%}"
    return f"{mean.value:.1%}{error}"


def _entries(change: WeightChange) -> dict[str, Any]:
    bands = change.bands
    return {
        "num_examples": change.num_examples,
        "labelled": change.labelled,
        "agreement": change.agreement._asdict(),
        "accuracy": None if change.accuracy is None else [m._asdict() for m in change.accuracy],
        "log_likelihood": [mean._asdict() for mean in change.log_likelihood],
        "change": change.change._asdict(),
        "method": change.method,
        "gap": change.gap,
        "layers": [
            {
                "name": layer.name,
                "relative_change": layer.relative_change,
                "value": layer.value._asdict(),
            }
            for layer in change.layers
        ],
        "bands": None
        if bands is None
        else {
            "frequencies": bands.frequencies.tolist(),
            **{
                name: [mean._asdict() for mean in part]
                for name, part in (
                    ("model", bands.model),
                    ("other", bands.other),
                    ("change", bands.change),
                )
            },
        },
        "noise": [
            {"name": layer.name, "size": list(layer.size), "ratio": layer.ratio.tolist()}
            for layer in change.noise
        ],
    }
