"""The command line ``captum-spectral``: compare, demo, explain, layers, score and study.

It puts the API, a model and a photograph together, and does nothing that a script could not do.
"""

from captum_spectral.cli.commands import main
from captum_spectral.cli.compare import compare
from captum_spectral.cli.layers import layers
from captum_spectral.cli.score import score
from captum_spectral.cli.study import study

__all__ = ["main"]

main.add_command(compare)
main.add_command(layers)
main.add_command(score)
main.add_command(study)
