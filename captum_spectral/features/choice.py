"""The features that ``features=``, or the shorthand of a domain, asks for."""

from __future__ import annotations

from torch import Tensor

from captum_spectral.features.features import Features
from captum_spectral.features.fourier import SpectralDims, bands
from captum_spectral.features.pixels import Pixels, pixel_groups

__all__ = ["features_of"]


def features_of(
    domain: str,
    feature_mask: Tensor | tuple[Tensor, ...] | None,
    num_bands: int | None,
    spectral_dims: SpectralDims | None,
    inputs: tuple[Tensor, ...],
    features: Features | tuple[Features, ...] | None = None,
) -> Features | tuple[Features, ...]:
    """Return the features of a domain, without the options of the other one.

    Args:
        domain: ``"pixel"`` or ``"frequency"``; not looked at where ``features`` are given.
        feature_mask: Ids of pixel groups or of bands.
        num_bands: Bands in the frequency domain. None: 8, or as many as fit.
        spectral_dims: The transformed dims there. None: (-2, -1).
        inputs: What the features are of.
        features: Those that the user made. Default: None

    Raises:
        ValueError: An unknown domain, options that do not go together.
    """
    if domain not in ("pixel", "frequency"):
        raise ValueError(f"domain must be 'pixel' or 'frequency', got {domain!r}")
    for name, value in (("num_bands", num_bands), ("spectral_dims", spectral_dims)):
        if (domain == "pixel" or features is not None) and value is not None:
            raise ValueError(
                f"{name}={value!r} is for frequency bands; add domain='frequency', or give pixel "
                "groups as feature_mask"
            )
    if features is not None or domain == "frequency":
        dims = (-2, -1) if spectral_dims is None else spectral_dims
        return bands(feature_mask, num_bands, dims, inputs, features)
    return Pixels() if feature_mask is None else pixel_groups(feature_mask, inputs)
