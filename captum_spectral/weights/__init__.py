"""The spectrum of weights: singular values and how they move, and what a change of weights did."""

from captum_spectral.weights.singular_values import Forecast, Prediction, SingularValues
from captum_spectral.weights.spectral_functions import (
    log_volume,
    nuclear_norm,
    schatten_norm,
    spectral_entropy,
)
from captum_spectral.weights.weight_game import WeightGame

__all__ = [
    "Forecast",
    "Prediction",
    "SingularValues",
    "WeightGame",
    "log_volume",
    "nuclear_norm",
    "schatten_norm",
    "spectral_entropy",
]
