"""The command ``study``: robustness of many models, beside what they draw on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from captum_spectral.cli.options import (
    command_line,
    device_option,
    existing_file,
    one_line,
    progress_option,
    shown,
)

if TYPE_CHECKING:
    import torch

__all__ = ["study"]

_EXAMPLES = """
\b
Examples:
  captum-spectral study study.toml --out robustness
  torchrun --nproc-per-node=8 -m captum_spectral study study.toml --device cuda

\b
A study is a text file (TOML). The least of one, over the shipped photographs:
  [[model]]
  name = "efficientnet-lite0"
  [[model]]
  name = "mine"
  model = "nets:make"
  weights = "mine.safetensors"
  [measure]
  severities = [1, 3, 5]
  attacked = 50
"""


@click.command(epilog=_EXAMPLES)
@click.argument("config", type=existing_file())
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("robustness"),
    show_default=True,
    help="Folder for report.html, table.csv, study.json, summary.txt and figures; cells/ in it "
    "keeps what is measured.",
)
@device_option
@progress_option
def study(config: Path, out: Path, device: torch.device, progress: bool | None) -> None:
    """Measure the models that CONFIG names, on the same images.

    Accuracy, eight corruptions, attacks, distances to the decision boundary, the spectral
    importance with its scores, the sensitivity of bands: one table, and whether the scores predict
    the robustness, with intervals over models.

    Cells that are there already are not measured again unless a model, the images or the settings
    have changed: the same command goes on after Ctrl-C, SIGTERM or a crash, which cost one cell at
    most. Under torchrun the processes share the cells.
    """
    from captum_spectral.studies import Processes
    from captum_spectral.studies.config import read_config, study_of
    from captum_spectral.studies.files import make_folder
    from captum_spectral.studies.interrupts import Terminated, sigterm_as_exception

    with one_line():
        written_down = read_config(config)
        processes = Processes(device)
        if processes.is_first:
            make_folder(out)
        made = study_of(written_down, device)
        try:
            with sigterm_as_exception():
                studied = made.run(out / "cells", processes, show_progress=shown(progress))
        except (KeyboardInterrupt, Terminated) as end:
            if processes.is_first:
                kept = len(list((out / "cells").glob("*.safetensors")))
                click.echo(
                    f"stopped; {kept} of {len(made.keys)} cells are kept in "
                    f"{click.format_filename(out / 'cells')}, the same command goes on",
                    err=True,
                )
            sys.exit(128 + (signal.SIGTERM if isinstance(end, Terminated) else signal.SIGINT))
        if processes.is_first:
            from captum_spectral.report import robustness as report
            from captum_spectral.report import robustness_figures
            from captum_spectral.studies.files import write

            found = report.findings(studied)
            text = report.to_text(studied, found)
            contents = {
                "table.csv": studied.table.to_csv(),
                "study.json": report.to_json(studied, found),
                "summary.txt": text,
            }
            for name, content in contents.items():
                write(out / name, content.encode(errors="backslashreplace"))
            click.echo(text)
            figures = robustness_figures.figures(studied, found.predictions)
            for name, image in figures.items():
                write(out / name, image)
            page = report.to_html(
                studied,
                found,
                figures,
                settings={config.name: config.read_text(encoding="utf-8"), "device": device},
                command=command_line(),
            )
            write(out / "report.html", page.encode())
            listed = ", ".join([*contents, *figures, "report.html"])
            click.echo(f"written {click.format_filename(out)}: {listed}")
        processes.leave()
