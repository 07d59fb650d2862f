"""One photograph explained: its class, and how much every band adds to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from captum.attr import IntegratedGradients
from PIL import Image
from torch import Tensor

from captum_spectral._engine.outputs import class_logits
from captum_spectral.features.band_mask import Norm, Spacing, band_frequencies, band_mask
from captum_spectral.game import BandGame
from captum_spectral.sources.models import LoadedModel
from captum_spectral.studies.logits import are_usable, check_repeats, failures_of, logits_of

__all__ = ["Explanation", "ExplanationSettings", "band_integrated_gradients", "explain"]


@dataclass(frozen=True)
class ExplanationSettings:
    """Settings of an explanation: the bands, and how their values are found.

    ``num_bands`` of None: 8, or as many as fit. The values are exact, or from ``n_samples``
    orderings of the bands, or within a ``budget`` of model rows.
    """

    num_bands: int | None = None
    norm: Norm = "linf"
    spacing: Spacing = "linear"
    n_samples: int | None = None
    budget: int | None = None
    seed: int = 0
    show_progress: bool = False


@dataclass(frozen=True)
class Explanation:
    """The bands of a photograph as players for one class, everything in logits and on the CPU.

    Attributes:
        inputs: ``(1, C, H, W)`` what the model was shown, on its device.
        picture: ``(C, H, W)`` the same to look at, in [0, 1].
        mask: ``(H, W)`` band ids.
        frequencies: ``(M, 2)`` lowest and highest frequency of a band, cycles/pixel.
        target: Id of the class.
        category: Name of the class, None where it is not known.
        is_prediction: Whether the class is the model's own prediction.
        probability: Softmax of the logits at the class, for the whole photograph.
        values: ``(M,)`` Shapley values.
        errors: ``(M,)`` their standard errors, None where the values are exact.
        degrees_of_freedom: Of the standard errors.
        full_value: Logit of the class for the whole photograph.
        empty_value: Logit of the class for an input of zeros.
        efficiency_gap: ``values.sum() - (full_value - empty_value)``, 0 to rounding.
    """

    inputs: Tensor
    picture: Tensor
    mask: Tensor
    frequencies: Tensor
    target: int
    category: str | None
    is_prediction: bool
    probability: float
    values: Tensor
    errors: Tensor | None
    degrees_of_freedom: float
    full_value: float
    empty_value: float
    efficiency_gap: float

    @property
    def class_name(self) -> str:
        """Name of the class, or its id."""
        return f"class {self.target}" if self.category is None else self.category


def explain(
    model: LoadedModel,
    image: Image.Image,
    settings: ExplanationSettings | None = None,
    target: int | None = None,
    device: torch.device | str = "cpu",
) -> Explanation:
    """Explain the class of a photograph by its frequency bands.

    Args:
        model: The classifier, already on ``device``.
        image: A PIL image of mode ``"RGB"``.
        settings: How. Default: exact, 8 equal-width bands
        target: Id of the class to explain. None: the model's prediction. Default: None
        device: Where the inputs go. Default: "cpu"

    Returns:
        An :class:`Explanation`.

    Raises:
        TypeError: A transform that gives no ``(C, H, W)`` tensor.
        ValueError: A model that does not give ``(B, classes)``, a target it does not have, more
            bands than the input has frequencies or than can be exact.

    Cost in model rows: 2 and those of :meth:`captum_spectral.SpectralShapley.attribute`.
    """
    settings = ExplanationSettings() if settings is None else settings
    x = model.prepare(image).to(device)
    mask = band_mask(x.shape[-2:], settings.num_bands, settings.norm, settings.spacing)
    logits = _checked(model, logits_of(model, x))
    predicted = int(logits.argmax())
    chosen = predicted if target is None else target
    if not 0 <= chosen < len(logits):
        raise ValueError(f"{model.name} has the classes 0 to {len(logits) - 1}, and no {target}")
    generator = torch.Generator().manual_seed(settings.seed)
    with failures_of(model, x):
        game = BandGame(model.module, x, chosen, feature_mask=mask, output=class_logits)
        estimate = game.solve(
            game.estimator(settings.n_samples, generator, budget=settings.budget),
            show_progress=settings.show_progress,
            description="Spectral Shapley attribution",
        )
    # All from the same rows, in the precision of the model.
    dtype = estimate.full_value.dtype
    values, errors = estimate.values[0].to(dtype), estimate.standard_error[0].to(dtype)
    full, empty = (float(x) for x in (estimate.full_value, estimate.empty_value))
    _check_sum(model, logits, chosen, full)
    return Explanation(
        inputs=x,
        picture=model.display(x[0]),
        mask=mask,
        frequencies=band_frequencies(mask, norm=settings.norm),
        target=chosen,
        category=model.category(chosen),
        is_prediction=chosen == predicted,
        probability=float(logits.softmax(-1)[chosen]),
        values=values,
        errors=None if settings.n_samples is None and settings.budget is None else errors,
        degrees_of_freedom=estimate.degrees_of_freedom,
        full_value=full,
        empty_value=empty,
        efficiency_gap=math.fsum(values.tolist()) - (full - empty),
    )


def band_integrated_gradients(
    model: LoadedModel, explained: Explanation, n_steps: int = 64
) -> Tensor:
    """Captum's ``IntegratedGradients`` in band space, for the class that was explained.

    All bands are faded in together, from 0 to 1. A network's logits move in the first hundredths of
    that line and rest on most of it, so equal steps miss what happens. Substituting ``w = s^4``,
    which leaves the integral as it is, puts the points where it does.

    Args:
        model: The classifier.
        explained: What :func:`explain` found.
        n_steps: Points on the line. Default: 64

    Returns:
        ``(M,)`` attributions on the CPU. Their sum misses ``full_value - empty_value`` by the error
        of the integration.

    Cost in model rows: ``n_steps`` with gradients.
    """
    game = BandGame(
        model.module, explained.inputs, feature_mask=explained.mask, output=class_logits
    )
    attributions: Tensor = IntegratedGradients(lambda s, example: game(s**4, example)).attribute(
        torch.ones(1, game.num_bands, device=explained.inputs.device),
        target=explained.target,
        additional_forward_args=torch.arange(1),
        n_steps=n_steps,
        method="riemann_middle",
        internal_batch_size=4 if explained.inputs.device.type == "cpu" else n_steps,
    )
    return attributions[0].detach().cpu()


def _checked(model: LoadedModel, logits: Tensor) -> Tensor:
    """Return logits ``(1, classes)`` as ``(classes,)`` in float64 on the CPU."""
    logits = logits[0].to("cpu", torch.float64)
    if not are_usable(logits):
        raise ValueError(f"{model.name} gives logits that are NaN or infinite for this image")
    return logits


def _check_sum(model: LoadedModel, logits: Tensor, chosen: int, full: float) -> None:
    """Raise if the game saw another logit of the class than the model gave at first."""
    again = logits.clone()
    again[chosen] = full
    check_repeats(model, logits[None], again[None])
