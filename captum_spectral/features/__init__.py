"""Features can be present or absent: a transform, and the player of each coefficient."""

from captum_spectral.features.band_mask import band_frequencies, band_mask
from captum_spectral.features.channels import LumaChromaBands, channel_bands
from captum_spectral.features.dct import DCT, dct_mask, zigzag_mask
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import FourierBands, split_bands
from captum_spectral.features.painting import band_profile, band_sums, paint, pixel_map, unpaint
from captum_spectral.features.pixels import Pixels
from captum_spectral.features.sectors import Sectors, sector_mask
from captum_spectral.features.wavelets import Wavelets

__all__ = [
    "DCT",
    "Features",
    "FourierBands",
    "LumaChromaBands",
    "Pixels",
    "Sectors",
    "Wavelets",
    "band_frequencies",
    "band_mask",
    "band_profile",
    "band_sums",
    "channel_bands",
    "dct_mask",
    "paint",
    "pixel_map",
    "sector_mask",
    "split_bands",
    "unpaint",
    "zigzag_mask",
]
