"""The command ``demo``: values of bands beside IntegratedGradients, on real photographs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from captum_spectral.cli.options import device_option, load, one_line, progress_option, shown

if TYPE_CHECKING:
    import torch

    from captum_spectral.sources.models import LoadedModel
    from captum_spectral.studies import Explanation, ExplanationSettings

__all__ = ["demo", "run"]

_NAMES = ("chelsea", "coffee", "motorcycle", "camera", "china")
_EXAMPLES = """
\b
Examples:
  pip install "captum-spectral[demo]"
  captum-spectral demo --out figures
"""


@click.command(epilog=_EXAMPLES)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the figures.",
)
@device_option
@progress_option
def demo(out: Path, device: torch.device, progress: bool | None) -> None:
    """Explain what an ImageNet network sees in real photographs; takes about a minute.

    The network is EfficientNet-Lite0, the photographs are some of those in scikit-image and
    scikit-learn; nothing is downloaded. Beside the Shapley value of every band stands its value by
    Captum's IntegratedGradients on the same game, whose efficiency gap is the error of integrating
    over 64 points.
    """
    from captum_spectral.studies import ExplanationSettings
    from captum_spectral.studies.files import make_folder

    with one_line():
        make_folder(out)
        model = load("efficientnet-lite0", None, device)
        settings = ExplanationSettings(show_progress=shown(progress))
        run(model, out, device, settings)


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
    from captum_spectral.report import explanation as report
    from captum_spectral.report.figures import figure_of_explanation, figure_of_summary
    from captum_spectral.sources.images import photographs
    from captum_spectral.studies import band_integrated_gradients
    from captum_spectral.studies import explain as explained_by
    from captum_spectral.studies.files import write

    start = time.monotonic()
    shipped = photographs()
    pictures = {name: shipped[name] for name in _NAMES}
    explanations: dict[str, Explanation] = {}
    for number, (name, picture) in enumerate(pictures.items(), 1):
        click.echo(f"[{number}/{len(pictures)}] {name}")
        explained = explained_by(model, picture, settings, device=device)
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
