"""The command line: ``captum-spectral explain``, ``demo`` and ``score``.

It puts the API, a model and a photograph together, and does nothing that a script could not do.
"""

from captum_spectral.cli.commands import main
from captum_spectral.cli.score import score

__all__ = ["main"]

main.add_command(score)
