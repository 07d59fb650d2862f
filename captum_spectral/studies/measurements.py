"""Measurements of a study: each a number or a few of one model over many images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.robustness.attacks import robust_accuracy
from captum_spectral.robustness.corruptions import Corruption
from captum_spectral.robustness.distances import boundary_distances
from captum_spectral.robustness.labelled import labelled
from captum_spectral.robustness.masking import random_noise_accuracy
from captum_spectral.studies.pixels import Images

__all__ = [
    "AttackAccuracy",
    "CleanAccuracy",
    "CorruptionAccuracy",
    "DistanceToBoundary",
    "Measurement",
    "NoiseAccuracy",
    "Outcome",
    "Quantity",
    "Subject",
]

Model = Callable[[Tensor], Tensor]


class Quantity(NamedTuple):
    """A number of a cell, as it stands in the table."""

    measurement: str
    value: float
    standard_error: float
    num_images: int
    perturbation: str = ""
    severity: float | None = None


class Outcome(NamedTuple):
    """All that a cell gives.

    Attributes:
        quantities: Its numbers.
        per_image: ``(N,)`` of what every image gave, from which ratios get their intervals later:
            boolean for right or wrong, else floating. None where nothing is kept.
    """

    quantities: list[Quantity]
    per_image: Tensor | None = None


class Subject(NamedTuple):
    """A model and its images.

    Attributes:
        model: Pixels ``(B, C, H, W)`` to logits ``(B, classes)``.
        images: The images, with labels.
        seed: Of everything random in the study.
        per_eval: Rows that may share a forward pass; fixed, so that no clock decides last bits.
    """

    model: Model
    images: Images
    seed: int
    per_eval: int


@dataclass(frozen=True)
class Measurement(ABC):
    """Measures one model over images; a new kind of cell is a subclass of this.

    It is a frozen dataclass, whose fields are all that goes into its numbers: they are compared
    before a stored cell is used again.

    Args:
        max_images: Look at so many images at most, the first ones. None: all. Default: None
    """

    max_images: int | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name among the cells of a model."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that goes into its numbers, in JSON types."""
        return {"kind": type(self).__name__, **asdict(self)}

    @abstractmethod
    def rows_per_image(self, shape: torch.Size) -> float:
        """Estimate the model rows per image ``(C, H, W)``, to share the cells out."""

    @abstractmethod
    def of(self, subject: Subject) -> Outcome:
        """Measure."""


def share(measurement: str, bits: Tensor, **labels: Any) -> Quantity:
    """Return the mean of bits ``(N,)`` with its binomial error, that of a mean over images."""
    n, p = len(bits), float(bits.double().mean())
    return Quantity(measurement, p, math.sqrt(p * (1 - p) / max(n - 1, 1)), n, **labels)


def mean(measurement: str, x: Tensor, **labels: Any) -> Quantity:
    """Return the mean of numbers ``(N,)`` with its standard error."""
    x = x.double()
    error = float(x.std() / math.sqrt(len(x))) if len(x) > 1 else math.nan
    return Quantity(measurement, float(x.mean()), error, len(x), **labels)


def are_right(subject: Subject, images: Tensor, labels: Tensor) -> Tensor:
    """Return where the largest output is that of the label ``(N,)``.

    Raises:
        ValueError: Outputs that are not finite.
    """
    batch_size = subject.images.batch_size
    return labelled(subject.model, images, labels, None, batch_size).correct().cpu()


@dataclass(frozen=True)
class CleanAccuracy(Measurement):
    """The share of the images whose label has the largest output.

    Cost in model rows per image: 1.

    Example::

        >>> CleanAccuracy().name
        'accuracy'
    """

    @property
    def name(self) -> str:
        """Its name among the cells of a model."""
        return "accuracy"

    def rows_per_image(self, shape: torch.Size) -> float:
        """Estimate the model rows per image."""
        return 1

    def of(self, subject: Subject) -> Outcome:
        """Measure."""
        bits = are_right(subject, *subject.images.all())
        return Outcome([share("accuracy", bits)], bits)


@dataclass(frozen=True)
class CorruptionAccuracy(Measurement):
    """The same on corrupted images.

    Args:
        corruption: What is done to them.
        severity: How strongly, from 1.

    Cost in model rows per image: 1.

    Example::

        >>> from captum_spectral.robustness.corruptions import builtin_corruptions
        >>> CorruptionAccuracy(builtin_corruptions("small")[0], severity=3).name
        'corruption accuracy/gaussian_noise/3'
    """

    corruption: Corruption
    severity: int

    def __post_init__(self) -> None:
        """Check that the corruption has the severity."""
        most = len(self.corruption.severities)
        if check_count("severity", self.severity) > most:
            raise ValueError(
                f"severity must be from 1 to {most} for {self.corruption.name}, got {self.severity}"
            )

    @property
    def name(self) -> str:
        """Its name among the cells of a model."""
        return f"corruption accuracy/{self.corruption.name}/{self.severity}"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that goes into its numbers; of a function only its name can be compared."""
        c = self.corruption
        return {
            "kind": type(self).__name__,
            "max_images": self.max_images,
            "corruption": c.name,
            "function": getattr(c.function, "__qualname__", type(c.function).__name__),
            "value": c.severities[self.severity - 1],
            "reproducible": c.reproducible,
        }

    def rows_per_image(self, shape: torch.Size) -> float:
        """Estimate the model rows per image."""
        return 1

    def of(self, subject: Subject) -> Outcome:
        """Measure."""
        corrupted = subject.images.corrupted(self.corruption, self.severity, subject.seed)
        bits = are_right(subject, *corrupted)
        labels = {"perturbation": self.corruption.name, "severity": float(self.severity)}
        return Outcome([share("corruption accuracy", bits, **labels)], bits)


@dataclass(frozen=True)
class AttackAccuracy(Measurement):
    """The share of the images that no attack within a radius misleads; an upper bound.

    Args:
        norm: "linf" or "l2".
        epsilon: The radius, in pixels from 0 to 1.
        steps: Of the attack. Default: 20
        restarts: How often it starts. Default: 1

    Cost in model rows per image: up to ``restarts * (steps + 1)`` forward and as many backward.

    Example::

        >>> AttackAccuracy("linf", 0.03).name
        'robust accuracy/linf/0.03'
    """

    norm: Literal["linf", "l2"]
    epsilon: float
    steps: int = 20
    restarts: int = 1

    @property
    def name(self) -> str:
        """Its name among the cells of a model."""
        return f"robust accuracy/{self.norm}/{self.epsilon:g}"

    def rows_per_image(self, shape: torch.Size) -> float:
        """Estimate the model rows per image."""
        return 3.0 * self.steps * self.restarts

    def of(self, subject: Subject) -> Outcome:
        """Measure."""
        bits = robust_accuracy(
            subject.model,
            *subject.images.all(),
            self.epsilon,
            norm=self.norm,
            steps=self.steps,
            restarts=self.restarts,
            seed=subject.seed,
            internal_batch_size=subject.images.batch_size,
        ).bits
        labels = {"perturbation": self.norm, "severity": self.epsilon}
        return Outcome([share("robust accuracy", bits, **labels)], bits)


@dataclass(frozen=True)
class NoiseAccuracy(Measurement):
    """The control of an attack: the share that is right under random noise of the same norm.

    Args:
        norm: "linf" or "l2"; a point is drawn uniformly from its ball.
        epsilon: The radius, in pixels from 0 to 1.

    Cost in model rows per image: 1.

    Example::

        >>> NoiseAccuracy("l2", 0.5).name
        'noise accuracy/l2/0.5'
    """

    norm: Literal["linf", "l2"]
    epsilon: float

    @property
    def name(self) -> str:
        """Its name among the cells of a model."""
        return f"noise accuracy/{self.norm}/{self.epsilon:g}"

    def rows_per_image(self, shape: torch.Size) -> float:
        """Estimate the model rows per image."""
        return 1

    def of(self, subject: Subject) -> Outcome:
        """Measure."""
        bits = random_noise_accuracy(
            subject.model,
            *subject.images.all(),
            self.epsilon,
            self.norm,
            seed=subject.seed,
            internal_batch_size=subject.images.batch_size,
        ).bits
        labels = {"perturbation": self.norm, "severity": self.epsilon}
        return Outcome([share("noise accuracy", bits, **labels)], bits)


@dataclass(frozen=True)
class DistanceToBoundary(Measurement):
    """The l2 distance to the nearest point of another class, 0 for images that are wrong already.

    Two numbers: the mean of ``min(d, cap)`` and the median. Never the mean over those found
    alone.

    Args:
        cap: Distances count up to here, in pixels from 0 to 1.

    Cost in model rows per image: see :func:`captum_spectral.find_boundary`, some 12.

    Example::

        >>> DistanceToBoundary(cap=5.0).name
        'distance/l2/5'
    """

    cap: float

    @property
    def name(self) -> str:
        """Its name among the cells of a model."""
        return f"distance/l2/{self.cap:g}"

    def rows_per_image(self, shape: torch.Size) -> float:
        """Estimate the model rows per image."""
        return 40.0

    def of(self, subject: Subject) -> Outcome:
        """Measure."""
        found = boundary_distances(
            subject.model,
            *subject.images.all(),
            internal_batch_size=subject.images.batch_size,
        )
        restricted, n = found.restricted_mean(self.cap), len(subject.images)
        told = [
            Quantity("distance", *restricted, n, perturbation="l2", severity=self.cap),
            Quantity("median distance", found.median(), math.nan, n, perturbation="l2"),
        ]
        return Outcome(told, found.distances)
