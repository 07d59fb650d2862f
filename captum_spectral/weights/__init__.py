"""The spectrum of weights: singular values and how they move."""

from captum_spectral.weights.singular_values import Forecast, Prediction, SingularValues
from captum_spectral.weights.spectral_functions import (
    log_volume,
    nuclear_norm,
    schatten_norm,
    spectral_entropy,
)

__all__ = [
    "Forecast",
    "Prediction",
    "SingularValues",
    "log_volume",
    "nuclear_norm",
    "schatten_norm",
    "spectral_entropy",
]
