"""The command ``layers``: which frequencies the convolutions of a model pass."""

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
    shown,
)

if TYPE_CHECKING:
    import torch

__all__ = ["layers"]

_SIDE = 512  # pixels of the picture that tells the size of the input
_EXAMPLES = """
\b
Examples:
  captum-spectral layers --model efficientnet-lite0
  captum-spectral layers --model torchvision:resnet18 --out resnet18
  captum-spectral layers --model mypackage.nets:make --weights best.safetensors
"""


@click.command(epilog=_EXAMPLES)
@click.option("--model", "name", required=True, metavar="NAME", help="As in explain.")
@click.option("--weights", type=existing_file(), help="Weights for the model, as in explain.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("layers"),
    show_default=True,
    help="Folder for layers.json, layers.png, layers.svg and summary.txt.",
)
@click.option(
    "--bands",
    type=click.IntRange(1, 16),
    default=8,
    show_default=True,
    metavar="M",
    help="How many bands, for each layer of the frequencies of its own input.",
)
@click.option(
    "--fuse/--no-fuse",
    default=True,
    show_default=True,
    help="Multiply the scale of a batch norm into the convolution before it.",
)
@device_option
@progress_option
def layers(
    name: str,
    weights: Path | None,
    out: Path,
    bands: int,
    fuse: bool,
    device: torch.device,
    progress: bool | None,
) -> None:
    """Say which frequencies every convolution of a model amplifies, suppresses and folds back.

    It looks at the weights alone; a blank picture goes through the model once to find the layers
    and the sizes of their maps. Frequencies are in cycles per pixel of the image.
    """
    from PIL import Image

    from captum_spectral.report import layers as report
    from captum_spectral.studies.files import make_folder, write
    from captum_spectral.weights import layer_responses

    with one_line():
        make_folder(out)
        model = load(name, weights, device)
        x = model.prepare(Image.new("RGB", (_SIDE, _SIDE), "grey")).to(device)
        # A function is refused there, as it has no layers.
        found = layer_responses(
            model.module,  # type: ignore[arg-type]
            x,
            bands,
            fuse_batch_norm=fuse,
            show_progress=shown(progress),
        )
        document = report.to_json(
            found,
            model=name,
            weights=None if weights is None else str(weights),
            input_shape=x.shape[1:],
            device=str(device),
        )
        write(out / "layers.json", document.encode())
        for file_format, content in report.figure(found, f"Layers of {name}").items():
            write(out / f"layers.{file_format}", content)
        text = report.to_text(found, name)
        write(out / "summary.txt", text.encode(errors="backslashreplace"))
        click.echo(text)
        click.echo(f"written {click.format_filename(out)}: layers.json, .png, .svg, summary.txt")
