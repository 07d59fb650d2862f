"""The command ``compare``: what a change of weights did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from captum_spectral.cli.options import (
    device_option,
    existing_file,
    load,
    one_line,
    progress_option,
    seed_option,
    shown,
)

if TYPE_CHECKING:
    import torch

__all__ = ["compare"]

_EXAMPLES = """
\b
Examples:
  captum-spectral compare --model nets:make --weights tuned.safetensors \\
      --against nets:make --against-weights before.safetensors
  captum-spectral compare --model nets:pruned --against nets:whole --data photographs
"""


@click.command(epilog=_EXAMPLES)
@click.option("--model", "name", required=True, metavar="NAME", help="As in explain.")
@click.option("--weights", type=existing_file(), help="Weights for the model, as in explain.")
@click.option("--against", required=True, metavar="NAME", help="The same network as it was before.")
@click.option("--against-weights", type=existing_file(), help="Weights for that.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A folder of pictures.  [default: photographs that come with the package]",
)
@click.option(
    "--max-examples",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="How many pictures are looked at.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("compared"),
    show_default=True,
    help="Folder for comparison.json, comparison.png and summary.txt.",
)
@seed_option("Seed of the choice of pictures.")
@device_option
@progress_option
def compare(
    name: str,
    weights: Path | None,
    against: str,
    against_weights: Path | None,
    data: Path | None,
    max_examples: int,
    out: Path,
    seed: int,
    device: torch.device,
    progress: bool | None,
) -> None:
    """Say which layers made the difference between two sets of weights of one network.

    For every layer that differs: how much it changed, what that did to the frequencies that it
    passes, and what it added to the logit of the class that the model predicts, by Shapley values
    for few layers and by IntegratedGradients over their changes for many.
    """
    from captum_spectral.report import comparison as report
    from captum_spectral.sources.datasets import open_data
    from captum_spectral.studies import ComparisonSettings
    from captum_spectral.studies import compare as compared_by
    from captum_spectral.studies.files import make_folder, write

    with one_line():
        make_folder(out)
        pictures = open_data(None if data is None else str(data), leave_out=out)
        model, before = load(name, weights, device), load(against, against_weights, device)
        settings = ComparisonSettings(
            max_examples=max_examples, seed=seed, show_progress=shown(progress)
        )
        found = compared_by(model, before, pictures, settings, device)
        files = [None if file is None else str(file) for file in (weights, against_weights)]
        document = report.to_json(
            found,
            model={"name": name, "weights": files[0]},
            baseline={"name": against, "weights": files[1]},
            data=None if data is None else str(data),
            seed=seed,
            device=str(device),
        )
        write(out / "comparison.json", document.encode())
        text = report.to_text(found, name, against)
        write(out / "summary.txt", text.encode(errors="backslashreplace"))
        click.echo(text)
        write(out / "comparison.png", report.figure(found, f"From {against} to {name}"))
        click.echo(f"written {click.format_filename(out)}: comparison.json, .png, summary.txt")
