"""The figures of docs/robustness.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from recipes import RECIPES
from torch import Tensor

from captum_spectral.report.layout import as_file
from captum_spectral.report.robustness_figures import figures as of_study
from captum_spectral.robustness import SpectralSNR, band_shares, pca
from captum_spectral.studies import StudiedModels, StudyTable
from captum_spectral.visualization import (
    visualize_embedding,
    visualize_epochs,
    visualize_heat_maps,
    visualize_snr,
)

_DPI = 150
# Of each kind of training one, as many as a figure can tell apart.
_SHOWN = ("ordinary", "noise .3", "l2 1", "low-pass .25", "high-pass .25", "labels .8", "mlp")


def figures(
    studied: StudiedModels,
    ratios: Mapping[tuple[str, str], SpectralSNR],
    label_noise: list[dict[str, Any]],
    maps: Mapping[str, Tensor],
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every figure."""
    some = StudyTable(row for row in studied.table if row["family"] in _SHOWN)
    yield from of_study(studied._replace(table=some)).items()
    for kind in dict.fromkeys(kind for kind, _ in ratios):
        of = {name: snr for (other, name), snr in ratios.items() if other == kind}
        yield f"snr-{kind}.png", _file(_snr(of))
    figure, _ = visualize_heat_maps(maps, title="Waves of norm 2", use_pyplot=False)
    yield "heat-maps.png", _file(figure)
    yield "label-noise.png", _file(_label_noise(label_noise))
    spectra = band_shares(studied.table, "mean")
    plane = pca(spectra.shares)
    figure, _ = visualize_embedding(
        plane.coordinates,
        [RECIPES[family].group for family in spectra.families],
        plane.explained[:2],
        use_pyplot=False,
    )
    yield "embedding.png", _file(figure)


def _file(figure: Figure) -> bytes:
    return as_file(figure, "png", _DPI)


def _snr(ratios: Mapping[str, SpectralSNR]) -> Figure:
    """Radial curves of the corruptions that do not leave images as they are."""
    # Brightness changes nothing but the mean, up to clipping.
    shown = {name.replace("_", " "): snr for name, snr in ratios.items() if name != "brightness"}
    snr = next(iter(shown.values()))
    figure, _ = visualize_snr(
        snr.radial.frequencies,
        {name: one.radial.decibel for name, one in shown.items()},
        snr.frequencies,
        {name: one.decibel for name, one in shown.items()},
        use_pyplot=False,
    )
    return figure


def _label_noise(rows: list[dict[str, Any]]) -> Figure:
    """The share of the lowest band over epochs, one line per share of wrong labels."""
    lowest = [row for row in rows if row["band"] == 0]
    epochs = sorted({row["epoch"] for row in lowest})

    def line(wrong: float, key: str) -> Tensor:
        return torch.tensor(
            [
                sum(x) / len(x)
                for epoch in epochs
                if (x := [r[key] for r in lowest if r["wrong"] == wrong and r["epoch"] == epoch])
            ]
        )

    shares = sorted({row["wrong"] for row in lowest})
    figure, _ = visualize_epochs(
        torch.tensor(epochs),
        {f"{wrong:.0%}": line(wrong, "share") for wrong in shares},
        {f"{wrong:.0%}": line(wrong, "share_error") for wrong in shares},
        legend_title="labels drawn anew",
        use_pyplot=False,
    )
    return figure
