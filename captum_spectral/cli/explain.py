"""The command ``explain``: the bands of one photograph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from captum_spectral.cli.options import (
    bands_option,
    command_line,
    device_option,
    existing_file,
    load,
    new_file,
    one_line,
    progress_option,
    seed_option,
    shown,
    suffix,
)

if TYPE_CHECKING:
    import torch

__all__ = ["explain"]

_EXAMPLES = """
\b
Examples:
  captum-spectral explain cat.jpg --model efficientnet-lite0
  captum-spectral explain cat.jpg --model torchvision:resnet50 --out cat.png
  captum-spectral explain cat.jpg --model efficientnet-lite0 --target 285
  captum-spectral explain cat.jpg --model efficientnet-lite0 --bands 16 --samples 32
  captum-spectral explain cat.jpg --model mypackage.nets:make --weights best.safetensors
"""


@click.command(epilog=_EXAMPLES)
@click.argument("image", type=existing_file())
@click.option(
    "--model",
    "name",
    required=True,
    metavar="NAME",
    help="efficientnet-lite0, -lite1 or -lite2 (need captum-spectral[demo], download nothing), "
    "torchvision:NAME, timm:NAME or hf:NAME (with published weights; hf: also a folder of "
    "save_pretrained) or package.module:factory, a function of yours "
    "that returns a model from (B, C, H, W) to (B, classes) logits, or a pair of it and a "
    "transform from a PIL image to (C, H, W). Without a transform: the centre 224 pixels, ImageNet "
    "normalisation. Your module may lie in the current folder.",
)
@click.option(
    "--weights",
    type=existing_file(),
    help="Weights for the model: .safetensors, or torch.save of a state dict or of "
    '{"state_dict": ...}. Other pickles are refused.',
)
@click.option(
    "--target",
    type=click.IntRange(min=0),
    metavar="ID",
    help="Class to explain.  [default: the model's prediction]",
)
@bands_option(at_least=1, default=None)
@click.option(
    "--norm",
    type=click.Choice(["linf", "l2", "l1"]),
    default="linf",
    show_default=True,
    help="Shape of the bands in the Fourier plane: squares, rings or diamonds.",
)
@click.option(
    "--spacing",
    type=click.Choice(["linear", "octave"]),
    default="linear",
    show_default=True,
    help="Bands of equal width, or each twice as wide as the one below.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    metavar="N",
    help="Estimate the values from N random orderings of the bands and their reverses, with "
    "standard errors: at most 2 N (M - 1) + 2 model rows.  [default: exact values from "
    "2^M rows]",
)
@click.option(
    "--budget",
    type=click.IntRange(min=4),
    metavar="ROWS",
    help="Estimate the values from at most ROWS model rows, with standard errors: fewer rows than "
    "--samples for the same error, for up to 200 bands.",
)
@seed_option("Seed of --samples and --budget.")
@click.option(
    "--out",
    type=new_file(),
    help="Write a figure: bars, spectrum, and the image next to its bands (.png, .pdf, .svg, ...).",
)
@click.option(
    "--json",
    "json_file",
    type=new_file(),
    help="Write everything as a JSON document; to the output with -, all else goes to the error "
    "output then.",
)
@click.option(
    "--html",
    "html_file",
    type=new_file(),
    help="Write a page with everything: one file that a browser shows without a network.",
)
@device_option
@progress_option
def explain(
    image: Path,
    name: str,
    weights: Path | None,
    target: int | None,
    bands: int | None,
    norm: Any,
    spacing: Any,
    samples: int | None,
    budget: int | None,
    seed: int,
    out: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    device: torch.device,
    progress: bool | None,
) -> None:
    """Explain the class that a model gives to IMAGE by the frequency bands of IMAGE.

    Prints the Shapley value of every band in logits, low frequencies first; 0.5 cycles/pixel is the
    finest detail that pixels can hold. The values sum to v(full) - v(empty), the logit for the
    whole photograph less that for an input of zeros; the efficiency gap is what rounding leaves of
    the difference.
    """
    from captum_spectral import studies
    from captum_spectral.coalitions import MAX_EXACT_ROWS
    from captum_spectral.report import explanation as report
    from captum_spectral.report.figures import figure_of_explanation
    from captum_spectral.sources.images import load_photograph
    from captum_spectral.studies.files import write

    settings = studies.ExplanationSettings(
        bands,
        norm,
        spacing,
        n_samples=samples,
        budget=budget,
        seed=seed,
        show_progress=shown(progress),
    )
    if samples is not None and budget is not None:
        raise click.UsageError("--samples counts orderings and --budget model rows: give one")
    if samples is None and budget is None and 2 ** (bands or 0) > MAX_EXACT_ROWS:
        raise click.UsageError(
            f"exact values of {bands} bands need 2^{bands} model rows; add --budget 256 (as many "
            "rows) or use fewer --bands"
        )
    as_output = json_file == Path("-")
    with one_line():
        _check_outputs((image, weights), out, None if as_output else json_file, html_file)
        photograph = load_photograph(image)
        model = load(name, weights, device)
        explained = studies.explain(model, photograph, settings, target, device)
        size = "{} x {}".format(*photograph.size)
        shape = " x ".join(map(str, explained.inputs.shape[1:]))
        if json_file is not None:
            document = report.to_json(
                explained,
                settings,
                image=str(image),
                image_size=photograph.size,
                model=name,
                weights=None if weights is None else str(weights),
                device=str(device),
            )
            if as_output:
                click.echo(document, nl=False)
            else:
                write(json_file, document.encode())
        try:
            click.echo(f"image   {click.format_filename(image)} ({size} pixels)", err=as_output)
            click.echo(f"model   {name}, with an input of {shape}", err=as_output)
            click.echo(f"class   {report.summary(explained)}", err=as_output)
            click.echo(f"\n{report.to_text(explained)}", err=as_output)
        finally:  # a terminal that takes nothing must not lose a figure
            title = f"{click.format_filename(image.name)}: {report.summary(explained)}"
            if out is not None:
                write(out, figure_of_explanation(explained, title, suffix(out)))
            if html_file is not None:
                document = report.to_html(
                    explained,
                    settings,
                    figure_of_explanation(explained, title),
                    image=image.name,
                    command=command_line(),
                    model=name,
                    weights=weights,
                    device=device,
                )
                write(html_file, document.encode())
    for path in filter(None, (out, None if as_output else json_file, html_file)):
        click.echo(f"written {click.format_filename(path)}", err=as_output)


def _check_outputs(
    inputs: Sequence[Path | None],
    out: Path | None,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Doubts about the files to write, before anything is computed."""
    from captum_spectral.report.figures import FORMATS
    from captum_spectral.studies.files import check_file

    if out is not None and suffix(out) not in FORMATS:
        raise click.UsageError(f"--out {out} must end in one of .{', .'.join(FORMATS)}")
    paths = [path for path in (out, json_file, html_file) if path is not None]
    read = {path.resolve() for path in inputs if path is not None}
    written = {path.resolve() for path in paths}
    if read & written or len(written) < len(paths):
        raise click.UsageError("IMAGE, --weights, --out, --json and --html must be different files")
    for path in paths:
        check_file(path)
