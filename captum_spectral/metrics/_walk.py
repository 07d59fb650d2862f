"""From arguments in the user's forms to a curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from captum_spectral._arguments import (
    check_count,
    format_baselines,
    format_inputs,
    format_target,
)
from captum_spectral._captum import BaselineType, TargetType
from captum_spectral._pixel_features import check_domain, every_pixel, pixel_groups
from captum_spectral.game import BandGame, warn_if_training
from captum_spectral.metrics._band_path import BandPath, band_places
from captum_spectral.metrics._pixel_path import PixelPath
from captum_spectral.metrics._ranking import changed_at_steps, pixel_positions
from captum_spectral.metrics.curve import Curve, curve_through

__all__ = ["walk"]

PIXEL_STEPS = 50  # rows per example that a user can wait for


def walk(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    attributions: Tensor | tuple[Tensor, ...],
    target: TargetType,
    baselines: BaselineType,
    additional_forward_args: Any,
    feature_mask: Tensor | tuple[Tensor, ...] | None,
    domain: str,
    num_bands: int | None,
    spectral_dims: int | tuple[int, ...] | None,
    n_steps: int | None,
    perturbations_per_eval: int,
    show_progress: bool,
    inserted: bool,
) -> Curve:
    """From the baseline to the input if features are ``inserted``, else from there to it."""
    x = _one("inputs", inputs)
    a = _one("attributions", attributions)
    check_domain(domain, num_bands, spectral_dims)
    if perturbations_per_eval is None:
        raise TypeError("perturbations_per_eval must be an integer, got None")
    check_count("perturbations_per_eval", perturbations_per_eval)
    if n_steps is not None:
        check_count("n_steps", n_steps)
    path: PixelPath | BandPath
    if domain == "frequency":
        game = BandGame(
            forward_func,
            inputs,
            feature_mask,
            baselines,
            target,
            additional_forward_args,
            8 if num_bands is None else num_bands,
            (-2, -1) if spectral_dims is None else spectral_dims,
        )
        path = BandPath(game, target, band_places(a, game), inserted)
        counts = changed_at_steps(path.num_features, n_steps or path.num_features)
    else:
        _check_map(a, x)
        (b,) = format_baselines(baselines, (x,))
        (ids,) = every_pixel((x,)) if feature_mask is None else pixel_groups(feature_mask, (x,))
        places, num_features = pixel_positions(a, ids)
        counts = changed_at_steps(num_features, n_steps or min(num_features, PIXEL_STEPS))
        formatted = format_target(target, len(x))
        warn_if_training(forward_func)
        ends = (b, x) if inserted else (x, b)
        path = PixelPath(
            forward_func,
            *formatted,
            additional_forward_args,
            *ends,
            places.to(x.device),
            num_features,
        )
    title = "Insertion curve" if inserted else "Deletion curve"
    return curve_through(path.values(counts, perturbations_per_eval, show_progress, title), counts)


def _one(name: str, given: Tensor | tuple[Tensor, ...]) -> Tensor:
    tensors = format_inputs(given, name)
    if len(tensors) > 1:
        raise ValueError(
            f"{name} must be one tensor or a tuple of one, got a tuple of {len(tensors)}: keep all "
            "inputs but one fixed, as additional_forward_args"
        )
    return tensors[0]


def _check_map(attributions: Tensor, x: Tensor) -> None:
    sizes = zip(attributions.shape[1:], x.shape[1:], strict=False)
    fits = attributions.dim() == x.dim() and all(a in (1, n) for a, n in sizes)
    if not fits or len(attributions) != len(x):
        raise ValueError(
            f"attributions must have the shape of the input, {tuple(x.shape)}, or size 1 in some "
            f"dims beyond the first, as (B, 1, H, W); got shape {tuple(attributions.shape)}"
        )
