"""The figures of a study of robustness, as the contents of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_spectral.report.layout import as_file
from captum_spectral.robustness import Association, Associations, band_shares, pca
from captum_spectral.studies.robustness import StudiedModels
from captum_spectral.visualization import (
    visualize_accuracy,
    visualize_association,
    visualize_band_attr,
    visualize_correlations,
    visualize_embedding,
)

__all__ = ["figures", "figures_of_associations"]

_DPI = 150
_MOST = 7  # families that bars or lines can tell apart
_FEW = 3  # models of which a plane of spectra can be drawn

Row = Mapping[str, Any]


def figures(studied: StudiedModels, found: Associations | None = None) -> dict[str, bytes]:
    """Draw what a study has measured.

    Accuracy over severity and radius, the bands of the first seven families with every baseline,
    the models in the plane of their spectra, and scores against measures where there are enough
    models.

    Args:
        studied: The study.
        found: Whether its scores predict, see ``predictions`` of the report. Default: None

    Returns:
        Name of a file to its content; none for what was not measured.
    """
    rows = [row for row in studied.table if not row["error"]]
    made = [*_accuracies(rows), *_bands(rows), *_embedding(rows)]
    return dict(made) | ({} if found is None else dict(figures_of_associations(found)))


def figures_of_associations(found: Associations) -> Iterator[tuple[str, bytes]]:
    """Draw the matrix of coefficients, and the strongest of them with its models.

    Yields:
        Name of a file and its content.
    """
    figure, _ = visualize_correlations(
        found.spearman,
        found.low,
        found.high,
        [_short(name) for name in found.scores],
        [_short(name) for name in found.robustness],
        title="Spearman's coefficient, 95 % interval over families",
        use_pyplot=False,
    )
    yield "correlations.png", as_file(figure, "png", _DPI)
    known = [cell for row in found.cells for cell in row if not cell.reason]
    if known:
        yield "association.png", _association(max(known, key=lambda c: abs(c.spearman.value)))


def _association(cell: Association) -> bytes:
    points = cell.points
    figure, _ = visualize_association(
        points.score,
        points.robustness,
        points.families,
        points.score_error,
        points.robustness_error,
        coefficient=cell.spearman.value,
        interval=cell.spearman.over_families,
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
    """Return the mean over the models of each family ``(K,)``, and its error over images."""
    of = [
        row
        for row in rows
        if row["measurement"] == measurement and row["perturbation"] == perturbation
    ]
    families = list(dict.fromkeys(row["family"] for row in of))[:_MOST]
    values = {f: _mean_of_models(of, f, "value", levels) for f in families}
    errors = {f: _mean_of_models(of, f, "standard_error", levels) for f in families}
    return values, errors


def _mean_of_models(rows: Sequence[Row], family: str, key: str, levels: Sequence[float]) -> Tensor:
    by_level = [
        [row[key] for row in rows if row["family"] == family and row["severity"] == level]
        for level in levels
    ]
    # The images are the same for all models, so the error of their mean is not below that of one.
    return torch.tensor([sum(x) / len(x) if x else torch.nan for x in by_level])


def _bands(rows: Sequence[Row]) -> Iterator[tuple[str, bytes]]:
    """Yield the bands of each family, the mean over its models, for every baseline."""
    of_bands = [row for row in rows if row["measurement"].startswith("importance band ")]
    families = list(dict.fromkeys(row["family"] for row in of_bands))[:_MOST]
    for baseline in dict.fromkeys(row["perturbation"] for row in of_bands):
        of = [row for row in of_bands if row["perturbation"] == baseline]
        values = torch.stack([_values(of, family, "value") for family in families])
        errors = torch.stack([_values(of, family, "standard_error") for family in families])
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


def _values(rows: Sequence[Row], family: str, key: str) -> Tensor:
    """Return the mean over the models of a family ``(M,)``, or its error."""
    models: dict[str, list[float]] = {}
    for row in rows:
        if row["family"] == family:
            models.setdefault(row["model"], []).append(row[key])
    return torch.tensor(list(models.values()), dtype=torch.float64).mean(0)  # (models, M)


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
