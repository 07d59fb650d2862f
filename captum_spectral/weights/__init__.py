"""The spectrum of weights: which frequencies the layers of a model pass, amplify and alias."""

from captum_spectral.weights.frequency_response import FrequencyResponse, frequency_response

__all__ = ["FrequencyResponse", "frequency_response"]
