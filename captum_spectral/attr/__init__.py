"""Attribution methods, one file each; every one is a Captum class."""

from captum_spectral.attr.band_attribution import band_attribution
from captum_spectral.attr.spectral_forward import SpectralForward
from captum_spectral.attr.spectral_shapley import SpectralShapley

__all__ = ["SpectralForward", "SpectralShapley", "band_attribution"]
