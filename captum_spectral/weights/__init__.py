"""The spectrum of weights: which frequencies the layers of a model pass, amplify and alias."""

from captum_spectral.weights.frequency_response import FrequencyResponse, frequency_response
from captum_spectral.weights.layer_responses import LayerResponse, layer_responses

__all__ = ["FrequencyResponse", "LayerResponse", "frequency_response", "layer_responses"]
