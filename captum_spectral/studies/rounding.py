"""A classifier rounded to a few bits and repaired, each repair by what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from captum_spectral._arguments import check_counts
from captum_spectral.sources.models import LoadedModel
from captum_spectral.sources.pictures import Pictures, shipped_photographs
from captum_spectral.studies.comparison import ComparisonSettings, read_inputs
from captum_spectral.studies.weight_change import Mean, WeightChange, mean_of, weight_change
from captum_spectral.weights import (
    ResidualAdapters,
    quantize_weights,
    recalibrate_batch_norm,
)
from captum_spectral.weights.batch_norm import batch_norms
from captum_spectral.weights.calibration import Runner
from captum_spectral.weights.rounding import Clip

__all__ = ["Repair", "RoundedStudy", "RoundingSettings", "round_and_repair"]


@dataclass(frozen=True)
class RoundingSettings:
    """Settings of rounding and of its repair.

    Attributes:
        bits: As in :func:`~captum_spectral.weights.quantize_weights`.
        per_channel: As there.
        clip: As there.
        budget: Of adapters; None: none.
        metric: Of adapters. ``"output"`` needs as many patches as the longest patch of a layer has
            numbers, which for a classifier's last layer are as many pictures as it has inputs.
        num_calibration: Pictures for batch norms and the metric, besides those that are looked at;
            where there are too few for both, each gets half, and what the other leaves.
        num_bands: As in :func:`~captum_spectral.studies.weight_change.weight_change`.
        max_examples: Pictures that are looked at, at most. None: all others.
        seed: Of the choice of pictures.
        show_progress: Show progress bars.
    """

    bits: int = 4
    per_channel: bool = True
    clip: Clip = None
    budget: float | None = None
    metric: Literal["plain", "output"] = "plain"
    num_calibration: int = 32
    num_bands: int = 4
    max_examples: int | None = 16
    seed: int = 0
    show_progress: bool = False

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            TypeError: One that is no integer.
            ValueError: One that is too small.
        """
        check_counts(self, {"num_calibration": 1, "num_bands": 0}, ["max_examples"])


@dataclass(frozen=True)
class Repair:
    """One way to go on with rounded weights.

    Attributes:
        name: ``"rounded"``, ``"batch norms"`` or ``"adapters"``.
        size: Numbers in adapters over rounded weights.
        bits_per_weight: Of codes, grids and adapters.
        agreement: Share of pictures for which it predicts the class of the float model.
        change: Of the log-likelihood of that class, in nats.
    """

    name: str
    size: float
    bits_per_weight: float
    agreement: Mean
    change: Mean


@dataclass(frozen=True)
class RoundedStudy:
    """A classifier and what rounding did to it.

    Attributes:
        settings: What was done.
        repairs: Rounded weights alone, batch norms recalibrated where there are any, adapters
            where there is a budget.
        ranks: Of the adapters, by layer.
        change: From the float model to the rounded one, with adapters if there are any.
        num_calibration: How many pictures calibrated.
        skipped: ``(name, reason)`` of those that could not be read.
    """

    settings: RoundingSettings
    repairs: list[Repair]
    ranks: dict[str, int]
    change: WeightChange
    num_calibration: int
    skipped: list[tuple[str, str]]


def round_and_repair(
    model: LoadedModel,
    pictures: Pictures | None = None,
    settings: RoundingSettings | None = None,
    device: torch.device | str = "cpu",
) -> RoundedStudy:
    """Round a classifier's weights, repair it, and say what was lost and what came back.

    Args:
        model: The classifier, already on ``device``; never changed.
        pictures: What it is looked at on, and calibrated on: never the same ones. None: the shipped
            photographs. Default: None
        settings: How. Default: ``RoundingSettings()``
        device: Where the inputs go. Default: "cpu"

    Raises:
        TypeError: A model that is a function.
        ValueError: As :func:`~captum_spectral.weights.quantize_weights`,
            :class:`~captum_spectral.weights.ResidualAdapters` and
            :func:`~captum_spectral.studies.weight_change.weight_change`; fewer pictures than both
            need, none that can be read.

    Cost in model rows: those of ``weight_change``, 3 per picture, and 2 per picture to calibrate.
    """
    settings = RoundingSettings() if settings is None else settings
    pictures = shipped_photographs() if pictures is None else pictures
    if not isinstance(model.module, nn.Module):
        raise TypeError(f"{model.name} must be a torch.nn.Module, to round its weights")
    norms = bool(batch_norms(model.module))
    needed = norms or (settings.budget is not None and settings.metric == "output")
    wanted = settings.max_examples
    if wanted is not None and needed:
        wanted += settings.num_calibration
    rounded = quantize_weights(
        model.module, settings.bits, per_channel=settings.per_channel, clip=settings.clip
    )
    reading = ComparisonSettings(max_examples=wanted, seed=settings.seed)
    inputs, skipped = read_inputs(model, pictures, reading, device)
    calibration = inputs[:0]
    if needed:
        looked = len(inputs) - min(settings.num_calibration, len(inputs) // 2)
        if settings.max_examples is not None:
            looked = min(looked, settings.max_examples)
        count = min(settings.num_calibration, len(inputs) - looked)
        if count < 1:
            raise ValueError("pictures must be at least two: one to calibrate, one to look at")
        calibration, inputs = inputs[:count], inputs[count : count + looked]
    repaired: list[tuple[str, nn.Module, ResidualAdapters | None]] = [
        ("rounded", rounded.model, None)
    ]
    if norms:
        again = recalibrate_batch_norm(rounded.model, calibration, settings.show_progress)
        repaired.append(("batch norms", again, None))
    adapters = None
    if settings.budget is not None:
        adapters = ResidualAdapters(
            model.module,
            rounded,
            settings.metric,
            calibration if settings.metric == "output" else None,
            show_progress=settings.show_progress,
        )
        adapters.allocate(settings.budget)
        repaired.append(("adapters", adapters.fold(), adapters))
    reference = _log_likelihoods(model.module, inputs)
    repairs = [
        Repair(
            name,
            0.0 if its is None else its.size,
            rounded.bits_per_weight if its is None else its.bits_per_weight,
            *_compared(reference, _log_likelihoods(each, inputs)),
        )
        for name, each, its in repaired
    ]
    change = weight_change(
        model.module,
        rounded.model if adapters is None else repaired[-1][1],
        inputs,
        num_bands=settings.num_bands,
        show_progress=settings.show_progress,
    )
    return RoundedStudy(
        settings=settings,
        repairs=repairs,
        ranks={} if adapters is None else adapters.ranks,
        change=change,
        num_calibration=len(calibration),
        skipped=skipped,
    )


@torch.no_grad()
def _log_likelihoods(model: nn.Module, x: Tensor) -> Tensor:
    run = Runner(model, "model")
    return torch.cat([run.logits(part).cpu().double().log_softmax(1) for part in x.split(8)])


def _compared(reference: Tensor, other: Tensor) -> tuple[Mean, Mean]:
    """Return how often the classes are the same, and the change at the reference's class."""
    classes = reference.argmax(1)
    change = (other - reference).gather(1, classes[:, None])[:, 0]
    same = (other.argmax(1) == classes).double()
    return mean_of(same), mean_of(change)
