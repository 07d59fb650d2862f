"""The command line ``captum-spectral``: compare, demo, explain, layers, score and study.

It puts the API, a model and a photograph together, and does nothing that a script could not do.
"""

from captum_spectral.cli.commands import main

__all__ = ["main"]
