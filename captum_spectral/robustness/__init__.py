"""Tell what spectra say about perturbations, and about what breaks a model.

Everything happens in pixels from 0 to 1: a model here is a function from pixels to logits, with its
normalisation inside, so that noise levels, radii and distances mean the same for all models.
"""

from captum_spectral.robustness.accuracy import RobustAccuracy
from captum_spectral.robustness.adapters import numpy_corruption
from captum_spectral.robustness.association import Association, Coefficient, association
from captum_spectral.robustness.attacks import robust_accuracy
from captum_spectral.robustness.bootstrap import (
    Bootstrap,
    pack_bits,
    paired_bootstrap,
    unpack_bits,
)
from captum_spectral.robustness.corruptions import Corruption, builtin_corruptions
from captum_spectral.robustness.cutoff import LowestCutoff, lowest_cutoff
from captum_spectral.robustness.distances import (
    BoundaryDistances,
    boundary_distances,
    restricted_mean,
)
from captum_spectral.robustness.embedding import band_shares, nearest_family, pca, tsne
from captum_spectral.robustness.errors import (
    MeanCorruptionError,
    corruption_error,
    mean_corruption_error,
    relative_corruption_error,
    relative_mean_corruption_error,
)
from captum_spectral.robustness.filters import BandStop, HighPass, LowPass
from captum_spectral.robustness.label_noise import noisy_labels
from captum_spectral.robustness.masking import (
    GradientMasking,
    gradient_masking,
    random_noise_accuracy,
)
from captum_spectral.robustness.matrix import Associations, associations
from captum_spectral.robustness.radial import PowerLawFit, RadialSNR, fit_power_law, radial_snr
from captum_spectral.robustness.selection import select
from captum_spectral.robustness.sensitivity import (
    BandSensitivity,
    FourierHeatMap,
    band_sensitivity,
    fourier_heat_map,
)
from captum_spectral.robustness.snr import SpectralSNR, SpectralSNRMetric, spectral_snr

__all__ = [
    "Association",
    "Associations",
    "BandSensitivity",
    "BandStop",
    "Bootstrap",
    "BoundaryDistances",
    "Coefficient",
    "Corruption",
    "FourierHeatMap",
    "GradientMasking",
    "HighPass",
    "LowPass",
    "LowestCutoff",
    "MeanCorruptionError",
    "PowerLawFit",
    "RadialSNR",
    "RobustAccuracy",
    "SpectralSNR",
    "SpectralSNRMetric",
    "association",
    "associations",
    "band_sensitivity",
    "band_shares",
    "boundary_distances",
    "builtin_corruptions",
    "corruption_error",
    "fit_power_law",
    "fourier_heat_map",
    "gradient_masking",
    "lowest_cutoff",
    "mean_corruption_error",
    "nearest_family",
    "noisy_labels",
    "numpy_corruption",
    "pack_bits",
    "paired_bootstrap",
    "pca",
    "radial_snr",
    "random_noise_accuracy",
    "relative_corruption_error",
    "relative_mean_corruption_error",
    "restricted_mean",
    "robust_accuracy",
    "select",
    "spectral_snr",
    "tsne",
    "unpack_bits",
]
