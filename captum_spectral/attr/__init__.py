"""Attribution methods, one file each; every one is a Captum class."""

from captum_spectral.attr.band_attribution import band_attribution
from captum_spectral.attr.boundary_integrated_gradients import BoundaryIntegratedGradients
from captum_spectral.attr.boundary_saliency import BoundarySaliency
from captum_spectral.attr.feature_suppression import FeatureSuppression
from captum_spectral.attr.spectral_banzhaf import SpectralBanzhaf
from captum_spectral.attr.spectral_forward import SpectralForward
from captum_spectral.attr.spectral_interactions import SpectralInteractions
from captum_spectral.attr.spectral_shapley import SpectralShapley
from captum_spectral.attr.weight_shapley import WeightShapley

__all__ = [
    "BoundaryIntegratedGradients",
    "BoundarySaliency",
    "FeatureSuppression",
    "SpectralBanzhaf",
    "SpectralForward",
    "SpectralInteractions",
    "SpectralShapley",
    "WeightShapley",
    "band_attribution",
]
