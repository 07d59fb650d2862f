"""The figures of a study of robustness, as the contents of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from captum_spectral.report.layout import as_file
from captum_spectral.studies.robustness import StudiedModels
from captum_spectral.visualization import visualize_band_attr

__all__ = ["figures"]

_DPI = 150
_MOST = 7  # that a bar chart can tell apart


def figures(studied: StudiedModels) -> dict[str, bytes]:
    """Draw what a study has measured.

    Args:
        studied: The study.

    Returns:
        Name of a file to its content; none for what was not measured.
    """
    return dict(_bands(studied))


def _bands(studied: StudiedModels) -> Iterator[tuple[str, bytes]]:
    """Yield the bands of each family, the mean over its models, for every baseline."""
    rows = [
        row
        for row in studied.table
        if row["measurement"].startswith("importance band ") and not row["error"]
    ]
    families = list(dict.fromkeys(row["family"] for row in rows))[:_MOST]
    for baseline in dict.fromkeys(row["perturbation"] for row in rows):
        of = [row for row in rows if row["perturbation"] == baseline]
        values = torch.stack([_values(of, family, "value") for family in families])
        errors = torch.stack([_values(of, family, "standard_error") for family in families])
        figure = Figure(layout="constrained")
        visualize_band_attr(
            values,
            standard_error=None if errors.isnan().any() else errors,
            labels=families,
            unit="nats",
            title=f"Importance of bands, absent ones {baseline}",
            plt_fig_axis=(figure, figure.subplots()),
            use_pyplot=False,
        )
        yield f"bands-{baseline}.png", as_file(figure, "png", _DPI)


def _values(rows: list[Mapping[str, object]], family: str, key: str) -> Tensor:
    """Return the mean over the models of a family ``(M,)``, or its error."""
    models: dict[object, list[object]] = {}
    for row in rows:
        if row["family"] == family:
            models.setdefault(row["model"], []).append(row[key])
    x = torch.tensor(list(models.values()), dtype=torch.float64)  # (models, M)
    return x.mean(0) if key == "value" else x.square().sum(0).sqrt() / len(x)
