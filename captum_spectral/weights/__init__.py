"""The spectrum of weights, and what a change of weights did."""

from captum_spectral.weights.weight_game import WeightGame

__all__ = ["WeightGame"]
