"""Types that let a type checker know what ``attribute`` returns; never needed when code runs."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

import torch
from torch import Tensor

from captum_spectral._captum import BaselineType
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import SpectralDims

__all__ = ["BanzhafOptions", "Inputs", "No", "ShapleyOptions", "SuppressionOptions", "Yes"]

Inputs = TypeVar("Inputs", Tensor, tuple[Tensor, ...])
Yes: TypeAlias = Literal[True]
No: TypeAlias = Literal[False]


class _Options(TypedDict, total=False):
    baselines: BaselineType
    additional_forward_args: Any
    feature_mask: Tensor | tuple[Tensor, ...] | None
    num_bands: int | None
    features: Features | tuple[Features, ...] | None
    generator: torch.Generator | None
    show_progress: bool


class ShapleyOptions(_Options, total=False):
    """Arguments of ``SpectralShapley.attribute`` that do not change the kind of its result."""

    spectral_dims: SpectralDims
    n_samples: int | None
    budget: int | None
    estimator: str | None
    prior: Any
    perturbations_per_eval: int | None
    shortcuts: bool


class BanzhafOptions(_Options, total=False):
    """Arguments of ``SpectralBanzhaf.attribute`` that do not change the kind of its result."""

    spectral_dims: SpectralDims
    budget: int | None
    estimator: str | None
    prior: Any
    perturbations_per_eval: int | None
    shortcuts: bool


class SuppressionOptions(_Options, total=False):
    """Arguments of ``FeatureSuppression.attribute`` that do not change the kind of its result."""

    domain: Literal["pixel", "frequency"]
    spectral_dims: SpectralDims | None
    n_samples: int
    suppress: float | tuple[float, float]
    absolute: bool
    internal_batch_size: int | None
