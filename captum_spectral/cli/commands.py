"""The group of the commands; each is imported when it is called, and none for the help."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

import captum_spectral
from captum_spectral.cli.options import COMMAND_LINE
from captum_spectral.sources.documents import printable

__all__ = ["main"]

_EXAMPLES = """
\b
Examples:
  captum-spectral demo
  captum-spectral explain cat.jpg --model efficientnet-lite0 --out cat.png
"""
# Modules of this folder with the command of the same name. Their help is here as well: a list of
# the commands must not wait for the libraries behind them.
_COMMANDS = {
    "compare": "Say which layers made the difference between two sets of weights.",
    "demo": "Explain real photographs with a real network, in a minute.",
    "explain": "Explain the class that a model gives to an image.",
    "layers": "Say which frequencies the layers of a model pass and fold back.",
    "score": "Say which frequencies models rely on, over a whole data set.",
    "study": "Measure how robust models are, and whether spectra say so.",
}


class _Commands(click.Group):
    """Imports a command when it is called, and shows words of a wrong command line escaped."""

    def make_context(
        self, info_name: str | None, args: list[str], *rest: Any, **kwargs: Any
    ) -> click.Context:
        words = list(args)  # click takes its arguments out of the list
        with _escaped():
            context = super().make_context(info_name, args, *rest, **kwargs)
        context.meta[COMMAND_LINE] = words
        return context

    def invoke(self, ctx: click.Context) -> Any:
        with _escaped():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"captum_spectral.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name]) for name in self.list_commands(ctx)])


@contextlib.contextmanager
def _escaped() -> Iterator[None]:
    """Escape words of a command line, such as names of files that a pattern found."""
    try:
        yield
    except click.ClickException as error:
        error.message = "\n".join(map(printable, error.message.split("\n")))  # type: ignore[misc]
        raise


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXAMPLES,
)
@click.version_option(captum_spectral.__version__, prog_name="captum-spectral")
def main() -> None:
    """Tell which frequencies a vision model relies on.

    The spectrum of an image is cut into bands, from coarse shapes to the finest detail. The bands
    are the players of a game whose payoff is the logit of a class, and their Shapley values say
    what each adds to it.
    """
    # What a terminal or a file of another encoding cannot show must not end a run.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
