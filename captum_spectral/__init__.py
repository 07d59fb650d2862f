"""Tell which frequencies a vision model relies on: Shapley values of frequency bands, for Captum.

Names are loaded when they are first used, so that importing the package costs nothing: Captum and
torchmetrics take seconds, and a band mask needs neither.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captum_spectral import features, robustness, visualization, weights
    from captum_spectral.attr import (
        BoundaryIntegratedGradients,
        BoundarySaliency,
        FeatureSuppression,
        SpectralBanzhaf,
        SpectralForward,
        SpectralInteractions,
        SpectralShapley,
        WeightShapley,
        band_attribution,
    )
    from captum_spectral.boundary import (
        Boundary,
        BoundaryNotFoundError,
        BoundarySearch,
        find_boundary,
    )
    from captum_spectral.features import (
        band_frequencies,
        band_mask,
        band_profile,
        band_sums,
        paint,
        pixel_map,
        sector_mask,
        split_bands,
        unpaint,
    )
    from captum_spectral.game import BandGame, Game, OutputOf
    from captum_spectral.importance import (
        ImportanceResult,
        SpectralImportance,
        signed_spectral_score,
        spectral_score,
    )
    from captum_spectral.metrics import (
        Curve,
        concentration,
        deletion_curve,
        energy_in_box,
        insertion_curve,
        normalized_entropy,
        positive_percentage,
    )
    from captum_spectral.robustness import (
        BandStop,
        HighPass,
        LowPass,
        SpectralSNR,
        SpectralSNRMetric,
        association,
        band_sensitivity,
        fourier_heat_map,
        lowest_cutoff,
        robust_accuracy,
        spectral_snr,
    )

__all__ = [
    "BandGame",
    "BandStop",
    "Boundary",
    "BoundaryIntegratedGradients",
    "BoundaryNotFoundError",
    "BoundarySaliency",
    "BoundarySearch",
    "Curve",
    "FeatureSuppression",
    "Game",
    "HighPass",
    "ImportanceResult",
    "LowPass",
    "OutputOf",
    "SpectralBanzhaf",
    "SpectralForward",
    "SpectralImportance",
    "SpectralInteractions",
    "SpectralSNR",
    "SpectralSNRMetric",
    "SpectralShapley",
    "WeightShapley",
    "__version__",
    "association",
    "band_attribution",
    "band_frequencies",
    "band_mask",
    "band_profile",
    "band_sensitivity",
    "band_sums",
    "concentration",
    "deletion_curve",
    "energy_in_box",
    "features",
    "find_boundary",
    "fourier_heat_map",
    "insertion_curve",
    "lowest_cutoff",
    "normalized_entropy",
    "paint",
    "pixel_map",
    "positive_percentage",
    "robust_accuracy",
    "robustness",
    "sector_mask",
    "signed_spectral_score",
    "spectral_score",
    "spectral_snr",
    "split_bands",
    "unpaint",
    "visualization",
    "weights",
]

# The room of each name. A room's own __init__ says where in it the name is.
_ROOMS = {
    "attr": (
        "BoundaryIntegratedGradients BoundarySaliency FeatureSuppression SpectralBanzhaf "
        "SpectralForward SpectralInteractions SpectralShapley WeightShapley band_attribution"
    ),
    "boundary": "Boundary BoundaryNotFoundError BoundarySearch find_boundary",
    "features": (
        "band_frequencies band_mask band_profile band_sums paint pixel_map sector_mask split_bands "
        "unpaint"
    ),
    "game": "BandGame Game OutputOf",
    "importance": "ImportanceResult SpectralImportance signed_spectral_score spectral_score",
    "metrics": (
        "Curve concentration deletion_curve energy_in_box insertion_curve normalized_entropy "
        "positive_percentage"
    ),
    "robustness": (
        "BandStop HighPass LowPass SpectralSNR SpectralSNRMetric association band_sensitivity "
        "fourier_heat_map lowest_cutoff robust_accuracy spectral_snr"
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}

try:
    __version__ = version("captum-spectral")
except PackageNotFoundError:  # a checkout on the path, not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in ("features", "robustness", "visualization", "weights"):
        return import_module(f"{__name__}.{name}")
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
