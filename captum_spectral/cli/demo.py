"""Real photographs, a real network: Shapley values of bands beside IntegratedGradients."""

from __future__ import annotations

import time
from pathlib import Path

import click
import torch

from captum_spectral.report import explanation as report
from captum_spectral.report.figures import figure_of_explanation, figure_of_summary
from captum_spectral.sources.images import photographs
from captum_spectral.sources.models import LoadedModel
from captum_spectral.studies import (
    Explanation,
    ExplanationSettings,
    band_integrated_gradients,
    explain,
)
from captum_spectral.studies.files import write

__all__ = ["run"]

_NAMES = ("chelsea", "coffee", "motorcycle", "camera", "china")


def run(
    model: LoadedModel, folder: Path, device: torch.device | str, settings: ExplanationSettings
) -> None:
    """Explain the photographs, print the values, and leave the figures in a folder.

    Args:
        model: The classifier, already on ``device``.
        folder: Where ``NAME.png`` of every photograph and ``summary.png`` go.
        device: Where the inputs go.
        settings: How to explain.

    Raises:
        ImportError: The photographs are not installed.
        OSError: A figure cannot be written.

    Cost in model rows per photograph: those of :func:`explain`, and 64 with gradients.
    """
    start = time.monotonic()
    shipped = photographs()
    pictures = {name: shipped[name] for name in _NAMES}
    explanations: dict[str, Explanation] = {}
    for number, (name, picture) in enumerate(pictures.items(), 1):
        click.echo(f"[{number}/{len(pictures)}] {name}")
        explained = explain(model, picture, settings, device=device)
        others = {"IntegratedGradients": band_integrated_gradients(model, explained)}
        title = f"{name}: {report.summary(explained)}"
        write(folder / f"{name}.png", figure_of_explanation(explained, title, others=others))
        columns = {key: values.tolist() for key, values in others.items()}
        click.echo(f"class   {report.summary(explained)}\n")
        click.echo(report.to_text(explained, columns) + "\n")
        explanations[name] = explained
    write(folder / "summary.png", figure_of_summary(explanations))
    click.echo(
        f"{len(pictures)} photographs in {time.monotonic() - start:.0f} s. The figures are in "
        f"{click.format_filename(folder)}: summary.png, and one for each photograph.\n"
        "How to read them: a bar above zero is a band of frequencies that raises the logit of the "
        "class, a bar below zero one that lowers it, and the bars of a photograph sum to what the "
        "whole of it adds to the logit of an empty input."
    )
