"""Measurements of a study that look at frequencies: importance, sensitivity, cut-offs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.importance import ImportanceResult, SpectralImportance
from captum_spectral.importance.intervals import estimate_score
from captum_spectral.importance.scores import normalize, signed_spectral_score, spectral_score
from captum_spectral.robustness.cutoff import lowest_cutoff
from captum_spectral.robustness.sensitivity import band_sensitivity
from captum_spectral.studies.measurements import Measurement, Outcome, Quantity, Subject, mean

__all__ = ["CutoffOfPredictions", "ImportanceOfBands", "SensitivityOfBands"]


@dataclass(frozen=True)
class ImportanceOfBands(Measurement):
    """The spectral importance (I-ASIDE), and the scores made of it.

    A row for each score and each band: ``importance score`` (the authors'), ``importance signed
    score``, ``importance centroid`` (cycles/pixel, of positive shares), ``importance share of band
    0``, ``importance high power`` (nats in bands from a quarter of the sampling rate on),
    ``importance total power`` (nats) and ``importance band i`` (nats). The perturbation is the
    baseline.

    Args:
        baseline: What an absent band holds: "mean" (the mean of the images per channel), "black",
            or "noise" (with the energy of the image in each band). The sign of many conclusions
            hangs on it.
        num_bands: Equal-width bands. Default: 8
        n_samples: Random orderings per image, each with its reverse; None: exact. Default: 1

    Cost in model rows per image: ``2 n (M - 1) + 2``, or ``2^M``.

    Example::

        >>> ImportanceOfBands("mean").name
        'importance/mean'
    """

    baseline: Literal["mean", "black", "noise"]
    num_bands: int = 8
    n_samples: int | None = 1

    @property
    def name(self) -> str:
        """Its name among the cells of a model."""
        return f"importance/{self.baseline}"

    def rows_per_image(self, shape: torch.Size) -> float:
        """Estimate the model rows per image."""
        n = self.n_samples
        return 2**self.num_bands if n is None else 2 * n * (self.num_bands - 1) + 2

    def of(self, subject: Subject) -> Outcome:
        """Measure."""
        baselines: Any = {"mean": subject.images.mean, "black": 0.0}.get(self.baseline, "noise")
        metric = SpectralImportance(
            subject.model,
            num_bands=self.num_bands,
            baselines=baselines,
            n_samples=self.n_samples,
            perturbations_per_eval=subject.per_eval,
            seed=subject.seed,
        )
        for x, y in subject.images.batches():
            metric.update(x, y)
        return Outcome(list(_scores(metric.result(), self.baseline)))


def _scores(result: ImportanceResult, baseline: str) -> list[Quantity]:
    """Return the scores of a result and its bands as quantities."""
    phi, covariance, ends = result.attributions, result.covariance, result.frequencies
    assert ends is not None
    centres, high = ends.mean(1), (ends[:, 0] >= 0.25 - 1e-9).double()

    def shares(weights: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda x: normalize(x, "positive") @ weights

    first = torch.zeros_like(phi)
    first[0] = 1.0
    functions = {
        "score": (spectral_score, "min_shift"),
        "signed score": (signed_spectral_score, "positive"),
        "centroid": (shares(centres), "positive"),
        "share of band 0": (shares(first), "positive"),
    }
    found = []
    for name, (function, normalization) in functions.items():
        estimate = estimate_score(function, phi, covariance, normalization, with_interval=False)
        found.append((name, estimate.value, estimate.standard_error))
    for name, w in (
        ("high power", high),
        ("total power", torch.ones_like(phi)),
        *((f"band {i}", row) for i, row in enumerate(torch.eye(len(phi)).double())),
    ):
        found.append((name, float(phi @ w), float((w @ covariance @ w).clamp(min=0).sqrt())))
    n = result.num_examples
    return [Quantity(f"importance {name}", v, e, n, baseline) for name, v, e in found]


@dataclass(frozen=True)
class SensitivityOfBands(Measurement):
    """The error rate under a random direction of one length inside each band.

    Args:
        norm: The length, in pixels from 0 to 1.
        num_bands: Equal-width bands. Default: 8

    Cost in model rows per image: ``M + 1``.

    Example::

        >>> SensitivityOfBands(4.0).name
        'sensitivity/band/4'
    """

    norm: float
    num_bands: int = 8

    @property
    def name(self) -> str:
        """Its name among the cells of a model."""
        return f"sensitivity/band/{self.norm:g}"

    def rows_per_image(self, shape: torch.Size) -> float:
        """Estimate the model rows per image."""
        return self.num_bands + 1

    def of(self, subject: Subject) -> Outcome:
        """Measure."""
        x, y = subject.images.all()
        found = band_sensitivity(
            subject.model,
            x,
            y,
            self.norm,
            num_bands=self.num_bands,
            perturbations_per_eval=subject.per_eval,
            seed=subject.seed,
        )
        pairs = zip(found.value.tolist(), found.standard_error.tolist(), strict=True)
        where: dict[str, Any] = {"perturbation": "band", "severity": self.norm}
        return Outcome(
            [
                Quantity(f"sensitivity of band {i}", *pair, len(x), **where)
                for i, pair in enumerate(pairs)
            ]
        )


@dataclass(frozen=True)
class CutoffOfPredictions(Measurement):
    """The lowest cut-off from which on every wider low-pass keeps the prediction.

    Args:
        steps: How many cut-offs are tried. Default: 8

    Cost in model rows per image: ``steps + 1``.

    Example::

        >>> CutoffOfPredictions().name
        'lowest cut-off/low-pass/8'
    """

    steps: int = 8

    def __post_init__(self) -> None:
        """Check the count."""
        check_count("steps", self.steps)

    @property
    def name(self) -> str:
        """Its name among the cells of a model."""
        return f"lowest cut-off/low-pass/{self.steps}"

    def rows_per_image(self, shape: torch.Size) -> float:
        """Estimate the model rows per image."""
        return self.steps + 1

    def of(self, subject: Subject) -> Outcome:
        """Measure."""
        x, _ = subject.images.all()
        found = lowest_cutoff(
            subject.model, x, steps=self.steps, perturbations_per_eval=subject.per_eval
        )
        stable = found.stable.cpu().nan_to_num(nan=1.0)  # the whole image keeps it
        return Outcome([mean("lowest cut-off", stable, perturbation="low-pass")], stable)
