"""What a model makes of one photograph: its class and what every band adds to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from captum.attr import IntegratedGradients
from PIL import Image
from torch import Tensor

from captum_spectral.attr import SpectralShapley
from captum_spectral.features.band_mask import Norm, Spacing, band_frequencies, band_mask
from captum_spectral.game import BandGame
from captum_spectral.sources.models import LoadedModel

__all__ = ["Explanation", "Settings", "band_integrated_gradients", "explain"]


@dataclass(frozen=True)
class Settings:
    """How to explain: the bands, and exactly (``n_samples=None``) or by sampling."""

    num_bands: int = 8
    norm: Norm = "linf"
    spacing: Spacing = "linear"
    n_samples: int | None = None
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
        value_all: Logit of the class for the whole photograph.
        value_none: Logit of the class for an input of zeros.
        gap: ``values.sum() - (value_all - value_none)`` as the method reports it.
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
    value_all: float
    value_none: float
    gap: float

    @property
    def class_name(self) -> str:
        """Name of the class, or its id."""
        return f"class {self.target}" if self.category is None else self.category


def explain(
    model: LoadedModel,
    image: Image.Image,
    settings: Settings,
    target: int | None = None,
    device: torch.device | str = "cpu",
) -> Explanation:
    """Explain the class of a photograph by its frequency bands.

    Args:
        model: The classifier, already on ``device``.
        image: A PIL image of mode ``"RGB"``.
        settings: How.
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
    x = model.prepare(image).to(device)
    mask = band_mask(x.shape[-2:], settings.num_bands, settings.norm, settings.spacing)
    logits = _all_and_none(model, x, mask)
    predicted = int(logits[0].argmax())
    chosen = predicted if target is None else target
    if not 0 <= chosen < len(logits[0]):
        raise ValueError(f"{model.name} has the classes 0 to {len(logits[0]) - 1}, and no {target}")
    with _failures_of(model, x):
        phi, delta, error = SpectralShapley(model.module).attribute(
            x,
            chosen,
            feature_mask=mask,
            n_samples=settings.n_samples,
            generator=torch.Generator().manual_seed(settings.seed),
            return_input_shape=False,
            return_convergence_delta=True,
            return_standard_error=True,
            show_progress=settings.show_progress,
        )
    return Explanation(
        inputs=x,
        picture=model.display(x[0]),
        mask=mask,
        frequencies=band_frequencies(mask),
        target=chosen,
        category=model.category(chosen),
        is_prediction=chosen == predicted,
        probability=float(logits[0].double().softmax(-1)[chosen]),
        values=phi[0].cpu(),
        errors=None if settings.n_samples is None else error[0].cpu(),
        value_all=float(logits[0, chosen]),
        value_none=float(logits[1, chosen]),
        gap=float(delta[0]),
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
        ``(M,)`` attributions on the CPU. Their sum misses ``value_all - value_none`` by the error
        of the integration.

    Cost in model rows: ``n_steps`` with gradients.
    """
    game = BandGame(model.module, explained.inputs, feature_mask=explained.mask)
    attributions: Tensor = IntegratedGradients(lambda s, example: game(s**4, example)).attribute(
        torch.ones(1, game.num_bands, device=explained.inputs.device),
        target=explained.target,
        additional_forward_args=torch.arange(1),
        n_steps=n_steps,
        method="riemann_middle",
        internal_batch_size=4 if explained.inputs.device.type == "cpu" else n_steps,
    )
    return attributions[0].detach().cpu()


def _all_and_none(model: LoadedModel, x: Tensor, mask: Tensor) -> Tensor:
    """``(2, classes)`` logits for the whole input and for one of zeros."""
    with _failures_of(model, x):
        game = BandGame(model.module, x, feature_mask=mask)
        logits = game.evaluate(torch.tensor([[True], [False]]).expand(2, game.num_bands))
    if logits.dim() != 3 or len(logits) != 1:
        raise ValueError(
            f"{model.name} must give one logit per class, (B, classes), and gives outputs of shape "
            f"({', '.join(['B', *map(str, logits.shape[2:])])})"
        )
    return logits[0]


@contextlib.contextmanager
def _failures_of(model: LoadedModel, x: Tensor) -> Iterator[None]:
    """One clear error for whatever a model fails with."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"{model.name} fails on an input of shape {tuple(x.shape)} with "
            f"{type(error).__name__}: {reason}"
        ) from error
