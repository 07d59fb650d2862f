"""The features that can be suppressed, from masks as users give them."""

from __future__ import annotations

from torch import Tensor

from captum_spectral._arguments import format_spectral_dims
from captum_spectral._feature_mask import format_feature_masks
from captum_spectral._pixel_features import check_domain, every_pixel, pixel_groups
from captum_spectral._suppression.samples import Pixels, SuppressedBands

__all__ = ["features"]


def features(
    domain: str,
    inputs: tuple[Tensor, ...],
    baselines: tuple[Tensor, ...],
    feature_mask: Tensor | tuple[Tensor, ...] | None,
    num_bands: int | None,
    spectral_dims: int | tuple[int, ...] | None,
) -> tuple[Pixels | SuppressedBands, ...]:
    """What makes the samples of each input."""
    check_domain(domain, num_bands, spectral_dims)
    if domain == "frequency":
        dims = format_spectral_dims((-2, -1) if spectral_dims is None else spectral_dims, inputs)
        masks = format_feature_masks(
            feature_mask, inputs, dims, 8 if num_bands is None else num_bands
        )
        return tuple(map(SuppressedBands, inputs, baselines, masks, dims))
    ids = every_pixel(inputs) if feature_mask is None else pixel_groups(feature_mask, inputs)
    return tuple(map(Pixels, inputs, baselines, ids))
