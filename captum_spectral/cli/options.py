"""Options that the commands share, models on their device, and every error as one line."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from captum_spectral.sources.documents import printable

if TYPE_CHECKING:  # they take seconds, which --help need not wait for
    import torch

    from captum_spectral.sources.models import LoadedModel

_Command = TypeVar("_Command", bound=Callable[..., Any])

COMMAND_LINE = "captum_spectral.command_line"  # where click's context keeps the words

__all__ = [
    "COMMAND_LINE",
    "bands_option",
    "command_line",
    "device_option",
    "existing_file",
    "load",
    "new_file",
    "one_line",
    "progress_option",
    "seed_option",
    "shown",
    "suffix",
]


def bands_option(at_least: int, default: int | None = 8) -> Callable[[_Command], _Command]:
    """Return the option of how many bands there are; None: 8, or as many as fit."""
    return click.option(
        "--bands",
        type=click.IntRange(min=at_least),
        default=default,
        show_default="8, or as many as fit" if default is None else True,
        metavar="M",
        help="How many bands.",
    )


def seed_option(description: str) -> Callable[[_Command], _Command]:
    """Return the option of a seed, of the numbers that PyTorch's generators take."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**64 - 1),
        default=0,
        show_default=True,
        metavar="N",
        help=description,
    )


def existing_file() -> click.Path:
    """An option's file that can be read."""
    return click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


def new_file() -> click.Path:
    """An option's file to write."""
    return click.Path(dir_okay=False, path_type=Path)


def _device(context: click.Context, parameter: click.Parameter, value: str) -> torch.device:
    """A device that holds numbers and gives them back; of processes of torchrun each its own."""
    import torch

    try:
        device = torch.device(value)
        if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.zeros(1, device=device).item()
    except Exception as error:  # one type per device
        raise click.BadParameter(
            f"{value!r} cannot be used here: {_first_line(error)}", context, parameter
        ) from error
    return device


device_option = click.option(
    "--device",
    default="cpu",
    metavar="NAME",
    show_default=True,
    callback=_device,
    help="cpu, cuda, cuda:1, mps, ...",
)
progress_option = click.option(
    "--progress/--no-progress",
    default=None,
    help="Show progress on the error stream.  [default: where it is a terminal]",
)


def load(name: str, weights: Path | None, device: torch.device) -> LoadedModel:
    """Load a model by name, onto the device; say so if its weights are random."""
    from torch import nn

    from captum_spectral.sources.models import load_model
    from captum_spectral.sources.random_weights import RandomWeightsWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RandomWeightsWarning)
        model = load_model(name, weights)
    for warning in caught:
        if issubclass(warning.category, RandomWeightsWarning):
            click.secho(f"WARNING: {printable(str(warning.message))}", fg="red", err=True)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if isinstance(model.module, nn.Module):
        model.module.to(device)
    return model


def command_line() -> str:
    """Return the running command as one would type it into a shell."""
    return shlex.join(["captum-spectral", *click.get_current_context().meta[COMMAND_LINE]])


def suffix(path: Path) -> str:
    """The format of a file by its name."""
    return path.suffix.lower().removeprefix(".")


def shown(progress: bool | None) -> bool:
    """Say whether to show progress: as asked for, else on terminals."""
    return sys.stderr.isatty() if progress is None else progress


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Report whatever goes wrong with somebody's files, models and arguments in one line."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output left, which click knows how to take
        raise
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise click.ClickException(printable(" ".join(str(error).split()))) from error
    except (RuntimeError, MemoryError) as error:  # of PyTorch: out of memory, no such kernel
        raise click.ClickException(f"the computation failed: {_first_line(error)}") from error
