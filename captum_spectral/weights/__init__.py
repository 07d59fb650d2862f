"""The spectrum of weights: what layers pass, how it moves, and what a change of weights did."""

from captum_spectral.weights.adapters import ResidualAdapters
from captum_spectral.weights.batch_norm import recalibrate_batch_norm
from captum_spectral.weights.frequency_response import FrequencyResponse, frequency_response
from captum_spectral.weights.layer_responses import LayerResponse, layer_responses
from captum_spectral.weights.rank_search import RankSearch
from captum_spectral.weights.rounding import RoundedLayer, RoundedWeights, quantize_weights
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
    "FrequencyResponse",
    "LayerResponse",
    "Prediction",
    "RankSearch",
    "ResidualAdapters",
    "RoundedLayer",
    "RoundedWeights",
    "SingularValues",
    "WeightGame",
    "frequency_response",
    "layer_responses",
    "log_volume",
    "nuclear_norm",
    "quantize_weights",
    "recalibrate_batch_norm",
    "schatten_norm",
    "spectral_entropy",
]
