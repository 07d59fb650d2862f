"""Measures of how well attributions explain: functions, as in ``captum.metrics``."""

from captum_spectral.metrics.curve import Curve
from captum_spectral.metrics.dispersion import concentration, normalized_entropy
from captum_spectral.metrics.insertion_deletion import deletion_curve, insertion_curve
from captum_spectral.metrics.localization import energy_in_box, positive_percentage

__all__ = [
    "Curve",
    "concentration",
    "deletion_curve",
    "energy_in_box",
    "insertion_curve",
    "normalized_entropy",
    "positive_percentage",
]
