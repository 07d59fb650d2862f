"""The figures of a study of robustness, as the contents of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_spectral.report.layout import as_file
from captum_spectral.robustness import Association, Associations, band_shares, pca
from captum_spectral.studies.files import file_name
from captum_spectral.studies.robustness import StudiedModels
from captum_spectral.visualization import (
    visualize_accuracy,
    visualize_association,
    visualize_band_attr,
    visualize_correlations,
    visualize_embedding,
)

__all__ = ["figure_of_association", "figure_of_correlations", "figures"]

_DPI = 150
_MOST = 7  # families that bars or lines can tell apart
_FEW = 3  # models of which a plane of spectra can be drawn

Row = Mapping[str, Any]


def figures(studied: StudiedModels, found: Associations | None = None) -> dict[str, bytes]:
    """Draw what a study has measured.

    Accuracy over severity and radius, the bands of the first seven families with every baseline,
    the models in the plane of their spectra; where there are enough families, all scores against
    all measures as a matrix, and the first score against each measure, model by model.

    Args:
        studied: The study.
        found: Whether its scores predict, see ``findings`` of the report. Default: None

    Returns:
        Name of a file to its content; none for what was not measured.
    """
    rows = [row for row in studied.table if not row["error"]]
    made = dict([*_accuracies(rows), *_bands(rows), *_embedding(rows)])
    if found is not None:
        made["correlations.png"] = figure_of_correlations(found)
        for cell in found.cells[0]:  # of one score, whatever came out
            name = file_name(cell.robustness)
            made[f"association-{name}.png"] = figure_of_association(cell)
    return made


def figure_of_correlations(found: Associations) -> bytes:
    """Draw the matrix of coefficients, as the content of a PNG file."""
    figure, _ = visualize_correlations(
        found.spearman,
        found.low,
        found.high,
        [_short(name) for name in found.scores],
        [_short(name) for name in found.robustness],
        title="Spearman's coefficient, 95 % interval over families",
        use_pyplot=False,
    )
    return as_file(figure, "png", _DPI)


def figure_of_association(cell: Association) -> bytes:
    """Draw a score against a measure with every model, as the content of a PNG file."""
    points = cell.points
    figure, _ = visualize_association(
        points.score,
        points.robustness,
        points.families,
        points.score_error,
        points.robustness_error,
        coefficient=None if cell.reason else cell.spearman.value,
        interval=None if cell.reason else cell.spearman.over_families,
        xlabel=_short(cell.score),
        ylabel=_short(cell.robustness),
        use_pyplot=False,
    )
    return as_file(figure, "png", _DPI)


def _short(selector: str) -> str:
    return selector.removeprefix("importance ").rstrip("/")


def _accuracies(rows: Sequence[Row]) -> Iterator[tuple[str, bytes]]:
    """Yield accuracy over severity for each corruption, over the radius for each norm."""
    for measurement, control, xlabel in (
        ("corruption accuracy", None, "severity"),
        ("robust accuracy", "noise accuracy", "radius, pixels from 0 to 1"),
    ):
        of = [row for row in rows if row["measurement"] == measurement]
        for perturbation in dict.fromkeys(row["perturbation"] for row in of):
            levels = sorted({row["severity"] for row in of if row["perturbation"] == perturbation})
            if len(levels) < 2:
                continue
            lines, errors = _lines(rows, measurement, perturbation, levels)
            dashed = {} if control is None else _lines(rows, control, perturbation, levels)[0]
            figure, _ = visualize_accuracy(
                torch.tensor(levels),
                lines,
                errors,
                dashed or None,
                xlabel=xlabel,
                title=f"{perturbation.replace('_', ' ')}, {len(lines)} families",
                use_pyplot=False,
            )
            name = "severity" if control is None else "radius"
            yield f"accuracy-{name}-{perturbation}.png", as_file(figure, "png", _DPI)


def _lines(
    rows: Sequence[Row], measurement: str, perturbation: str, levels: Sequence[float]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the values of each family at the levels ``(K,)``, and their errors over images."""
    of = [row for row in rows if row["perturbation"] == perturbation]
    places = [(measurement, level) for level in levels]
    there = (row["family"] for row in of if row["measurement"] == measurement)
    families = list(dict.fromkeys(there))[:_MOST]
    values, errors = (
        {family: _means(of, family, key, places) for family in families}
        for key in ("value", "standard_error")
    )
    return values, errors


def _means(
    rows: Sequence[Row], family: str, key: str, places: Sequence[tuple[str, float | None]]
) -> Tensor:
    """Return the mean over the models of a family at each measurement and severity, or NaN.

    The images are the same for all models, so the error of their mean is not below that of one.
    """
    of = [row for row in rows if row["family"] == family]
    values = [
        [row[key] for row in of if (row["measurement"], row["severity"]) == place]
        for place in places
    ]
    means = [sum(x) / len(x) if x else torch.nan for x in values]
    return torch.tensor(means, dtype=torch.float64)


def _bands(rows: Sequence[Row]) -> Iterator[tuple[str, bytes]]:
    """Yield the bands of each family, the mean over its models, for every baseline."""
    of_bands = [row for row in rows if row["measurement"].startswith("importance band ")]
    families = list(dict.fromkeys(row["family"] for row in of_bands))[:_MOST]
    places = list(dict.fromkeys((row["measurement"], None) for row in of_bands))
    for baseline in dict.fromkeys(row["perturbation"] for row in of_bands):
        of = [row for row in of_bands if row["perturbation"] == baseline]
        values, errors = (
            torch.stack([_means(of, family, key, places) for family in families])
            for key in ("value", "standard_error")
        )
        figure, _ = visualize_band_attr(
            values,
            standard_error=None if errors.isnan().any() else errors,
            labels=families,
            unit="nats",
            title=f"Importance of bands, absent ones replaced by {_WORDS.get(baseline, baseline)}",
            use_pyplot=False,
        )
        yield f"bands-{baseline}.png", as_file(figure, "png", _DPI)


_WORDS = {"mean": "the mean", "black": "black", "noise": "noise"}


def _embedding(rows: Sequence[Row]) -> Iterator[tuple[str, bytes]]:
    """Yield the models in the plane of their spectra."""
    of = [row for row in rows if row["measurement"].startswith("importance band ")]
    for baseline in dict.fromkeys(row["perturbation"] for row in of):
        spectra = band_shares(of, baseline)
        if len(spectra.shares) < _FEW:
            continue
        plane = pca(spectra.shares)
        figure, _ = visualize_embedding(
            plane.coordinates,
            spectra.families,
            plane.explained[:2],
            title="Models by the shares of their bands",
            use_pyplot=False,
        )
        yield f"embedding-{baseline}.png", as_file(figure, "png", _DPI)
