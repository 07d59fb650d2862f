"""The game that features play for the output of a model."""

from captum_spectral.game.band_game import BandGame
from captum_spectral.game.game import Game

__all__ = ["BandGame", "Game"]
