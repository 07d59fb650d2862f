"""The command ``score``: the spectral importance of models over a data set."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from captum_spectral.cli.options import (
    bands_option,
    command_line,
    device_option,
    existing_file,
    load,
    one_line,
    progress_option,
    seed_option,
    shown,
)

if TYPE_CHECKING:  # the libraries behind them take seconds, which --help need not
    import torch

    from captum_spectral.sources.pictures import Pictures
    from captum_spectral.studies import ImportanceSettings, ImportanceStudy, Processes, StudiedModel

__all__ = ["score"]

_MOST_MODELS = 7  # that a figure can tell apart
_CHECKPOINT = "checkpoint-"
_EXAMPLES = """
\b
Examples:
  captum-spectral score
  captum-spectral score --model torchvision:resnet50 --data imagenet/val --label-map synsets.txt
  captum-spectral score --model torchvision:resnet50 --model torchvision:vit_b_16 --data photos
  captum-spectral score --model nets:make --data FashionMNIST --root data --samples exact
  torchrun --nproc-per-node=8 -m captum_spectral score --device cuda --data imagenet/val ...
"""


def _samples(value: str) -> int:
    """A count; 0 stands for exact."""
    if value == "exact":
        return 0
    if not value.isdigit() or int(value) == 0:
        raise click.BadParameter(f"{value!r} is neither a positive number nor 'exact'")
    return int(value)


def _baseline(value: str) -> str | float:
    """A name or a number."""
    if value in ("noise", "donor"):
        return value
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise click.BadParameter(f"{value!r} is neither a number nor 'noise' or 'donor'")
    return number


@click.command(epilog=_EXAMPLES)
@click.option(
    "--model",
    "names",
    multiple=True,
    default=("efficientnet-lite0",),
    show_default=True,
    metavar="NAME",
    help="As in explain; several are compared.",
)
@click.option(
    "--weights",
    type=existing_file(),
    help="Weights for the model, as in explain; with one --model.",
)
@click.option(
    "--data",
    metavar="DIR|NAME",
    help="A folder whose sub folders are classes, a flat folder of pictures (the label of each is "
    "then the model's prediction), or the name of a torchvision data set, with --root.  [default: "
    "the 87 photographs that come along]",
)
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the torchvision data set; nothing is downloaded.",
)
@click.option(
    "--label-map",
    type=existing_file(),
    help="Which output of the model each sub folder of DIR stands for: a JSON object "
    '{"folder": id}, imagenet_class_index.json, or lines "folder id".',
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for report.html, importance.json, importance.png, importance.svg and summary.txt.",
)
@bands_option(at_least=2)
@click.option(
    "--samples",
    type=_samples,
    default="1",
    show_default=True,
    metavar="N|exact",
    help="Random orderings of the bands per picture, each with its reverse: 2 N (M - 1) + 2 model "
    "rows; or exact: 2^M rows. Over many pictures 1 has the smallest errors for its cost.",
)
@click.option(
    "--baseline",
    type=_baseline,
    default="0",
    show_default=True,
    metavar="X|noise|donor",
    help="What an absent band holds: a number, noise with the energies of the picture, or another "
    "picture of the batch.",
)
@click.option(
    "--max-examples", type=click.IntRange(min=1), metavar="N", help="Look at N pictures at most."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Stop when every band's confidence interval is within X times the largest attribution.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    metavar="X",
    help="Level of that interval.",
)
@click.option(
    "--per-class", is_flag=True, help="Keep the classes apart as well, in importance.json."
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Pictures per batch.  [default: by the size of the input]",
)
@click.option(
    "--perturbations-per-eval",
    type=click.IntRange(min=1),
    metavar="N",
    help="Coalitions of the whole batch per forward pass.  [default: by the size of the input]",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Processes that read pictures ahead.  [default: 0 on the CPU, else as many as there are "
    "cores for this process, up to 8]",
)
@seed_option("Seed of the order of the pictures and of all that is drawn.")
@click.option(
    "--strict",
    is_flag=True,
    help="End the run at the first picture that cannot be used, instead of skipping it.",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted run was.")
@click.option(
    "--save-every",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the state is saved.",
)
@device_option
@progress_option
def score(
    names: tuple[str, ...],
    weights: Path | None,
    data: str | None,
    root: Path | None,
    label_map: Path | None,
    out: Path,
    bands: int,
    samples: int,
    baseline: str | float,
    max_examples: int | None,
    tolerance: float | None,
    confidence: float,
    per_class: bool,
    batch_size: int | None,
    perturbations_per_eval: int | None,
    workers: int | None,
    seed: int,
    strict: bool,
    resume: bool,
    save_every: float,
    device: torch.device,
    progress: bool | None,
) -> None:
    """Say how much of a model's predictive information sits in which frequencies.

    The bands of every picture play for the log-likelihood of its label; their Shapley values are
    averaged over the pictures (I-ASIDE), with standard errors. Several models are compared in one
    table and one figure. Pictures that cannot be read, or for which a model gives NaN or infinity,
    are skipped and listed with the reason.

    Ctrl-C and SIGTERM save the state, and it is saved once a minute; --resume goes on from there.
    Under torchrun the processes share the pictures and give the numbers of one.
    """
    from captum_spectral.sources.datasets import open_data
    from captum_spectral.sources.labels import read_label_map
    from captum_spectral.studies import ImportanceSettings, ImportanceStudy, Processes
    from captum_spectral.studies.files import file_name, make_folder, remove_left_over

    if weights is not None and len(names) > 1:
        raise click.UsageError("--weights goes with one --model")
    if len(names) > _MOST_MODELS or len(set(names)) < len(names):
        raise click.UsageError(f"--model takes up to {_MOST_MODELS} different models")
    if data is None and (root is not None or label_map is not None or per_class):
        raise click.UsageError("--root, --label-map and --per-class are of no use without --data")
    if baseline == "donor" and batch_size == 1:
        raise click.UsageError(
            "--baseline donor takes another picture of the batch; use a larger --batch-size"
        )
    with one_line():
        settings = ImportanceSettings(
            num_bands=bands,
            n_samples=samples or None,
            baseline=baseline,
            max_examples=max_examples,
            tolerance=tolerance,
            confidence=confidence,
            batch_size=batch_size,
            perturbations_per_eval=perturbations_per_eval,
            seed=seed,
            per_class=per_class,
        )
        if data is not None and root is None:
            _check_own_folder(out, Path(data))
        pictures = open_data(data, root, leave_out=out)
        ids = None if label_map is None else read_label_map(label_map)
        if (ids is not None or per_class) and pictures.label(0) is None:
            raise ValueError(
                f"{pictures.name} has no labels, so --label-map and --per-class are of no use"
            )
        processes = Processes(device)
        if processes.is_first:
            make_folder(out)
        if workers is None:
            workers = 0 if device.type == "cpu" else min(8, _cores() // processes.here)
        paths = [
            out / f"{_CHECKPOINT}{file_name(name.replace(':', '-'))}.safetensors" for name in names
        ]
        _check_old_state(paths, resume)
        if processes.is_first:
            for path in paths:
                remove_left_over(path)
        scored = []
        for name, path in zip(names, paths, strict=True):
            study = ImportanceStudy(
                load(name, weights, device),
                pictures,
                settings,
                checkpoint=path,
                device=device,
                label_map=ids,
                workers=workers,
                save_every=save_every,
                strict=strict,
            )
            scored.append(_run(study, processes, resume, shown(progress)))
        if processes.is_first:
            _write(
                out,
                scored,
                settings,
                pictures,
                device=str(device),
                processes=processes.count,
            )
            for path in paths:
                path.unlink(missing_ok=True)
        processes.leave()


def _cores() -> int:
    """Count the cores that this process may use: in a container or a job fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_own_folder(out: Path, data: Path) -> None:
    """Refuse to write a report among pictures: it would hide them, or be one of them next time."""
    from captum_spectral.sources.listing import Lister

    own = out.resolve()
    if not own.is_dir() or not own.is_relative_to(data.resolve()):
        return
    names = (entry.name for entry in Lister(str(own)).walk(""))
    if (picture := next((name for name in names if name != "importance.png"), None)) is not None:
        raise ValueError(
            f"--out {out} holds pictures of --data ({picture}), and a report needs a folder of its "
            "own; choose another one"
        )


def _check_old_state(paths: Sequence[Path], resume: bool) -> None:
    """Refuse to write over what an interrupted run has saved."""
    found = [path for path in paths if path.exists()]
    if found and not resume:
        raise ValueError(
            f"{found[0]} is the state of an interrupted run; add --resume to go on with it, or "
            "remove it to start from the beginning"
        )


def _run(
    study: ImportanceStudy, processes: Processes, resume: bool, show_progress: bool
) -> StudiedModel:
    from captum_spectral.studies.interrupts import Terminated, sigterm_as_exception

    try:
        with sigterm_as_exception():
            return study.run(processes, resume=resume, show_progress=show_progress)
    except (KeyboardInterrupt, Terminated) as end:
        if processes.is_first:
            path = study.checkpoint
            kept = path is not None and path.exists()
            saved = f"; the state is saved in {path}, add --resume to go on" if kept else ""
            done = f"stopped after {study.num_done} of {study.num_examples} pictures"
            click.echo(done + saved, err=True)
        sys.exit(128 + (signal.SIGTERM if isinstance(end, Terminated) else signal.SIGINT))


def _write(
    out: Path,
    scored: list[StudiedModel],
    settings: ImportanceSettings,
    pictures: Pictures,
    *,
    device: str,
    processes: int,
) -> None:
    from captum_spectral.report import importance as report
    from captum_spectral.studies.files import write

    document = report.to_json(scored, settings, pictures, device=device, processes=processes)
    write(out / "importance.json", document.encode())
    used = {s.result.num_examples for s in scored}
    title = f"Spectral importance on {pictures.name}, {' / '.join(map(str, sorted(used)))} pictures"
    drawn = report.figure(scored, title)
    for file_format, content in drawn.items():
        write(out / f"importance.{file_format}", content)
    page = report.to_html(
        scored, settings, pictures, drawn["png"], device=device, command=command_line()
    )
    write(out / "report.html", page.encode())
    # Names of files may hold bytes that are no text.
    text = report.to_text(scored, pictures).encode(errors="backslashreplace")
    write(out / "summary.txt", text)
    click.echo(text.decode())
    click.echo(
        f"written {click.format_filename(out)}: report.html, importance.json, .png, .svg, "
        "summary.txt"
    )
