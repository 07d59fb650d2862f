"""Two sets of weights of one network compared: what changed, and what the change did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_spectral._arguments import check_counts
from captum_spectral._captum import progress_bar
from captum_spectral.coalitions import Exact
from captum_spectral.sources.models import LoadedModel
from captum_spectral.sources.pictures import Pictures, shipped_photographs
from captum_spectral.studies.loading import Plan, batches
from captum_spectral.studies.logits import logits_of
from captum_spectral.weights import LayerResponse, WeightGame, layer_responses
from captum_spectral.weights.changes import LayerChange

__all__ = [
    "ComparedLayer",
    "Comparison",
    "ComparisonSettings",
    "LayerValues",
    "compare",
    "layer_values",
    "read_inputs",
    "standard_error",
]


@dataclass(frozen=True)
class ComparisonSettings:
    """Settings of a comparison.

    Attributes:
        num_bands: Bands of the layers' responses.
        max_examples: Pictures that are looked at; None: all.
        most_exact: Layers up to which Shapley values are exact, from ``2^P`` rows per picture;
            beyond, IntegratedGradients over the gates of the layers.
        n_steps: Its points.
        seed: Seed of the choice of pictures.
        show_progress: Show a progress bar.
    """

    num_bands: int = 8
    max_examples: int | None = 16
    most_exact: int = 6
    n_steps: int = 16
    seed: int = 0
    show_progress: bool = False

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            TypeError: One that is no integer.
            ValueError: One that is too small.
        """
        check_counts(self, {"num_bands": 1, "most_exact": 0, "n_steps": 1}, ["max_examples"])


@dataclass(frozen=True)
class ComparedLayer:
    """One layer that differs.

    Attributes:
        name: In ``named_modules()``.
        relative_change: Norm of what differs over that of the baseline's weights, of all its
            tensors together.
        value: What the change of the layer adds to the logit, mean over the pictures.
        standard_error: Of the mean, over pictures; NaN for one picture.
        responses: Its frequency response with the baseline's weights and with the model's; None
            where the layer is no convolution.
    """

    name: str
    relative_change: float
    value: float
    standard_error: float
    responses: tuple[LayerResponse, LayerResponse] | None


@dataclass(frozen=True)
class Comparison:
    """The effect of a change of weights on a classifier, over some pictures.

    Attributes:
        layers: Those that differ, in the order of the model.
        num_examples: How many pictures there were.
        skipped: ``(name, reason)`` of those that could not be read.
        agreement: Share of pictures for which both predict the same class.
        logit_change: The model's logit of its own class less the baseline's, mean over pictures.
        standard_error: Of that mean.
        method: ``"Shapley values"`` or ``"IntegratedGradients"``.
        gap: Sum of the layers' values less ``logit_change``: 0 to rounding, or the error of the
            integration.
    """

    layers: list[ComparedLayer]
    num_examples: int
    skipped: list[tuple[str, str]]
    agreement: float
    logit_change: float
    standard_error: float
    method: str
    gap: float


def compare(
    model: LoadedModel,
    baseline: LoadedModel,
    pictures: Pictures | None = None,
    settings: ComparisonSettings | None = None,
    device: torch.device | str = "cpu",
) -> Comparison:
    """Compare two sets of weights of one network.

    The change of each layer is worth what it adds to the logit of the class that the model
    predicts, see :class:`~captum_spectral.weights.WeightGame`.

    Args:
        model: The classifier, already on ``device``.
        baseline: The same network with other weights.
        pictures: What they are compared on. None: the shipped photographs. Default: None
        settings: How. Default: ``ComparisonSettings()``
        device: Where the inputs go. Default: "cpu"

    Returns:
        A :class:`Comparison`.

    Raises:
        TypeError: Models that are functions.
        ValueError: Networks with other weights by name or shape, weights that do not differ, no
            picture that can be read.

    Cost in model rows per picture: ``2^P`` for up to ``most_exact`` layers, else ``n_steps`` with
    gradients; and 2. Then :func:`~captum_spectral.weights.layer_responses` of both, which takes
    minutes where dense convolutions have several hundred channels.
    """
    settings = ComparisonSettings() if settings is None else settings
    pictures = shipped_photographs() if pictures is None else pictures
    for which in (model, baseline):
        if not isinstance(which.module, nn.Module):
            raise TypeError(f"{which.name} must be a torch.nn.Module, to compare its weights")
    assert isinstance(model.module, nn.Module)
    assert isinstance(baseline.module, nn.Module)
    inputs, skipped = read_inputs(model, pictures, settings, device)
    classes, other = (
        torch.cat([logits_of(each, x[None]).argmax(1) for x in inputs])
        for each in (model, baseline)
    )
    game = WeightGame(model.module, inputs, classes, baselines=baseline.module)
    assert isinstance(game.change, LayerChange)
    solved = layer_values(game, settings)
    values, change = solved.values, solved.change
    count = len(change)
    responses = _responses(model.module, baseline.module, inputs[:1], settings)
    layers = [
        ComparedLayer(
            name,
            relative_change,
            float(values[:, i].mean()),
            standard_error(values[:, i]),
            responses.get(name),
        )
        for i, (name, relative_change) in enumerate(
            zip(game.names, game.change.relative_changes(), strict=True)
        )
    ]
    return Comparison(
        layers=layers,
        num_examples=count,
        skipped=skipped,
        agreement=float((classes == other).double().mean()),
        logit_change=float(change.mean()),
        standard_error=standard_error(change),
        method=solved.method,
        gap=float((values.sum(1) - change).mean()),
    )


class LayerValues(NamedTuple):
    """Values of the layers of a change of weights.

    Attributes:
        values: ``(B, P)`` float64.
        change: The output with the model's weights less that with the baseline's, ``(B,)``.
        method: ``"Shapley values"`` or ``"IntegratedGradients"``.
    """

    values: Tensor
    change: Tensor
    method: str


def layer_values(game: WeightGame, settings: ComparisonSettings) -> LayerValues:
    """Attribute to layers exactly where they are few, else by IntegratedGradients over gates.

    Args:
        game: With one number per example.
        settings: ``most_exact``, ``n_steps`` and ``show_progress`` of it.
    """
    exact = game.num_players <= settings.most_exact
    if exact:
        solved = game.solve(Exact(game.num_players), show_progress=settings.show_progress)
        values, empty, full = solved.values, solved.empty_value, solved.full_value
    else:
        values = _integrated(game, settings)
        ends = torch.tensor([[False], [True]]).expand(2, game.num_players)
        empty, full = game.evaluate(ends).unbind(1)
    empty, full = (x.to("cpu", torch.float64) for x in (empty, full))
    method = "Shapley values" if exact else "IntegratedGradients"
    return LayerValues(values.to("cpu", torch.float64), full - empty, method)


def read_inputs(
    model: LoadedModel,
    pictures: Pictures,
    settings: ComparisonSettings,
    device: torch.device | str,
) -> tuple[Tensor, list[tuple[str, str]]]:
    """Return the inputs ``(B, C, H, W)``, and what could not be read."""
    plan = Plan(len(pictures), settings.max_examples, 16, settings.seed)
    images: list[Tensor] = []
    skipped: list[tuple[str, str]] = []
    for batch in batches(pictures, model, plan.batches, labelled=False, workers=0):
        skipped += batch.skipped
        if batch.images is not None:
            images.append(batch.images)
    if not images:
        raise ValueError(f"none of the {plan.num_examples} pictures can be read: {skipped[0]}")
    return torch.cat(images).to(device), skipped


def _integrated(game: WeightGame, settings: ComparisonSettings) -> Tensor:
    """Return IntegratedGradients over the gates of every picture, ``(B, P)`` float64."""
    method = IntegratedGradients(game)
    found = []
    bar = progress_bar(settings.show_progress, "Weight attribution", game.num_examples)
    with bar, torch.inference_mode(False), torch.enable_grad():
        gates = torch.ones(1, game.num_players, device=game.inputs[0].device)
        for example in range(game.num_examples):
            found.append(
                method.attribute(
                    gates,
                    additional_forward_args=torch.tensor([example]),
                    n_steps=settings.n_steps,
                    internal_batch_size=1,
                ).detach()
            )
            bar.update(1)
    return torch.cat(found).to("cpu", torch.float64)


def _responses(
    model: nn.Module, baseline: nn.Module, first: Tensor, settings: ComparisonSettings
) -> dict[str, tuple[LayerResponse, LayerResponse]]:
    """Return the responses of the convolutions of both by name, if there are any."""

    def of(one: nn.Module) -> dict[str, LayerResponse]:
        found = layer_responses(
            one, first, settings.num_bands, show_progress=settings.show_progress
        )
        return {each.name: each for each in found}

    try:
        after = of(model)
    except ValueError:
        return {}
    before = of(baseline)
    return {name: (before[name], after[name]) for name in after if name in before}


def standard_error(values: Tensor) -> float:
    """Return the standard error of the mean of ``(N,)`` values; NaN of one alone."""
    count = len(values)
    return float(values.std()) / math.sqrt(count) if count > 1 else math.nan
