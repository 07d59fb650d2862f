"""The command ``score``: the spectral importance of models over whole data sets."""

from captum_spectral.cli.score.command import score

__all__ = ["score"]
