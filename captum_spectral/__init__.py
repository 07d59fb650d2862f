"""Which frequencies does a vision model rely on? Shapley values of frequency bands, for Captum."""

from importlib.metadata import PackageNotFoundError, version

from captum_spectral import visualization
from captum_spectral.attr import (
    BoundaryIntegratedGradients,
    BoundarySaliency,
    FeatureSuppression,
    SpectralForward,
    SpectralShapley,
    band_attribution,
)
from captum_spectral.boundary import Boundary, BoundaryNotFoundError, find_boundary
from captum_spectral.game import BandGame
from captum_spectral.importance import (
    ImportanceResult,
    SpectralImportance,
    signed_spectral_score,
    spectral_score,
)
from captum_spectral.masks import band_frequencies, band_mask
from captum_spectral.metrics import (
    Curve,
    concentration,
    deletion_curve,
    energy_in_box,
    insertion_curve,
    normalized_entropy,
    positive_percentage,
)
from captum_spectral.spectrum import paint, split_bands, unpaint
from captum_spectral.views import band_profile, band_sums, pixel_map

__all__ = [
    "BandGame",
    "Boundary",
    "BoundaryIntegratedGradients",
    "BoundaryNotFoundError",
    "BoundarySaliency",
    "Curve",
    "FeatureSuppression",
    "ImportanceResult",
    "SpectralForward",
    "SpectralImportance",
    "SpectralShapley",
    "__version__",
    "band_attribution",
    "band_frequencies",
    "band_mask",
    "band_profile",
    "band_sums",
    "concentration",
    "deletion_curve",
    "energy_in_box",
    "find_boundary",
    "insertion_curve",
    "normalized_entropy",
    "paint",
    "pixel_map",
    "positive_percentage",
    "signed_spectral_score",
    "spectral_score",
    "split_bands",
    "unpaint",
    "visualization",
]

try:
    __version__ = version("captum-spectral")
except PackageNotFoundError:  # a checkout on the path, not installed
    __version__ = "0+unknown"
