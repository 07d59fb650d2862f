"""Attribution methods, one file each; every one is a Captum class."""

from captum_spectral.attr.spectral_shapley import SpectralShapley

__all__ = ["SpectralShapley"]
