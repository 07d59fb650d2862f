"""The command ``compare``: what a change of weights did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
  captum-spectral compare --model efficientnet-lite0 --bits 4 --budget 0.05
"""


@click.command(epilog=_EXAMPLES)
@click.option("--model", "name", required=True, metavar="NAME", help="As in explain.")
@click.option("--weights", type=existing_file(), help="Weights for the model, as in explain.")
@click.option("--against", metavar="NAME", help="The same network as it was before.")
@click.option("--against-weights", type=existing_file(), help="Weights for that.")
@click.option(
    "--bits",
    type=click.IntRange(1, 8),
    metavar="B",
    help="In place of --against: compare with the model rounded to so many bits per weight.",
)
@click.option("--per-tensor", is_flag=True, help="One grid for a layer, not for each channel.")
@click.option(
    "--clip",
    metavar="K",
    help="Range of the grid: standard deviations to both sides of the mean, or mse for the least "
    "squared error.  [default: least to largest weight]",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="X",
    help="Give back the most important part of what rounding took, by low-rank adapters that hold "
    "so many numbers per weight.",
)
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
    help="How many pictures are looked at, at most. With --bits, up to 32 others calibrate batch "
    "norms; of too few for both, half.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("compared"),
    show_default=True,
    help="Folder for comparison.json, comparison.png and summary.txt; with --bits bands.png, too.",
)
@seed_option("Seed of the choice of pictures.")
@device_option
@progress_option
def compare(
    name: str,
    weights: Path | None,
    against: str | None,
    against_weights: Path | None,
    bits: int | None,
    per_tensor: bool,
    clip: str | None,
    budget: float | None,
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

    With --bits the other weights are the model's own, rounded, with adapters of --budget; what was
    lost is told by layer, by band of the images, and inside the network.
    """
    if (against is None) == (bits is None):
        raise click.UsageError("give either --against, another network, or --bits, to round this")
    if bits is not None and against_weights is not None:
        raise click.UsageError("--against-weights goes with --against, and there is --bits")
    if bits is None and (per_tensor or clip is not None or budget is not None):
        raise click.UsageError("--per-tensor, --clip and --budget go with --bits")
    if bits is not None:
        grid = {"bits": bits, "per_channel": not per_tensor, "clip": _clip(clip), "budget": budget}
        chosen = {"max_examples": max_examples, "seed": seed, "show_progress": shown(progress)}
        _rounded(name, weights, data, out, device, settings={**grid, **chosen})
        return
    assert against is not None
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


def _clip(given: str | None) -> float | str | None:
    """Return the range of the grid: a number of deviations, "mse" or None."""
    if given is None or given == "mse":
        return given
    try:
        return float(given)
    except ValueError as error:
        raise click.UsageError(f"--clip takes a number or mse, got {given!r}") from error


def _rounded(
    name: str,
    weights: Path | None,
    data: Path | None,
    out: Path,
    device: torch.device,
    *,
    settings: dict[str, Any],
) -> None:
    """Compare a model with itself, rounded and repaired."""
    from captum_spectral.report import weight_change as report
    from captum_spectral.sources.datasets import open_data
    from captum_spectral.studies import RoundingSettings, round_and_repair
    from captum_spectral.studies.files import make_folder, write

    with one_line():
        make_folder(out)
        pictures = open_data(None if data is None else str(data), leave_out=out)
        model = load(name, weights, device)
        found = round_and_repair(model, pictures, RoundingSettings(**settings), device)
        document = report.rounding_to_json(
            found,
            model={"name": name, "weights": None if weights is None else str(weights)},
            data=None if data is None else str(data),
            seed=settings["seed"],
            device=str(device),
        )
        write(out / "comparison.json", document.encode())
        text = report.rounding_to_text(found, name)
        write(out / "summary.txt", text.encode(errors="backslashreplace"))
        click.echo(text)
        more = "" if settings["budget"] is None else " and adapters"
        rounded = f"{settings['bits']} bits{more}"
        title = f"From {name} to {rounded}"
        write(out / "comparison.png", report.figure_of_layers(found.change, title))
        names = "float", rounded
        write(out / "bands.png", report.figure_of_bands(found.change, names))
        written = "comparison.json, .png, bands.png, summary.txt"
        click.echo(f"written {click.format_filename(out)}: {written}")
