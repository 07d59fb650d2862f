"""The game that features play for the output of a model, and which output that is."""

from captum_spectral._engine.outputs import OutputOf
from captum_spectral.game.band_game import BandGame
from captum_spectral.game.game import Game

__all__ = ["BandGame", "Game", "OutputOf"]
