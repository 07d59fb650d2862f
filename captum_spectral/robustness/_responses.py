"""Responses of a model's value to directions that are added to images, and its gradients there."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor

from captum_spectral._arguments import format_inputs, format_labels
from captum_spectral._captum import progress_bar
from captum_spectral._engine.averages import GradientAverage
from captum_spectral._engine.evaluation import Evaluation, OneByOne, RowLimit
from captum_spectral._engine.outputs import as_function
from captum_spectral._engine.rows import Walk
from captum_spectral._engine.values import Value, ValueOfRows, format_value
from captum_spectral.features.features import Features, assign
from captum_spectral.features.pixels import Pixels
from captum_spectral.game import Game

__all__ = ["Responses", "SensitivityValue"]

SensitivityValue = Literal["error", "flip"] | Value

_RATES = {"error": "error rate", "flip": "flip rate"}


class Responses:
    """A model, images, and the value that is looked at.

    Args:
        forward_func: The model.
        images: ``(B, C, H, W)``.
        labels: ``(B,)``, or None for the model's own predictions.
        norm: Norm of a direction.
        value: See ``fourier_heat_map``.
        perturbations_per_eval: As in ``Game.evaluate``.
        show_progress: Show progress bars.

    Attributes:
        images (Tensor): ``(B, C, H, W)`` detached.
        norm (float): The norm.
        unit (str): The unit of the value.
        num_rows (int): Model rows so far.

    Raises:
        TypeError, ValueError: Arguments of a wrong kind or out of range.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        images: Tensor,
        labels: Tensor | None,
        norm: float,
        value: SensitivityValue,
        perturbations_per_eval: int | None,
        show_progress: bool,
    ) -> None:
        forward_func = as_function(forward_func)
        if isinstance(images, tuple):
            raise TypeError("images must be one tensor (B, C, H, W), got a tuple")
        (self.images,) = format_inputs(images, "images")
        if self.images.dim() != 4:
            raise ValueError(f"images must be (B, C, H, W), got shape {tuple(self.images.shape)}")
        self.norm = _check_norm(norm)
        self._is_rate = isinstance(value, str) and value in _RATES
        self._value = value
        self.unit = _unit_of(value)
        # Whether the label is found needs no likelihood, so probabilities will do.
        of_rows: Any = "logit" if self._is_rate else value
        self._rows = ValueOfRows(forward_func, of_rows, any_scores=self._is_rate)
        known = labels is not None and value != "flip"
        self._labels = format_labels(labels, len(self.images)) if known else None
        self._per_eval, self._show_progress = perturbations_per_eval, show_progress
        self.num_rows = 0

    def to(
        self,
        directions: Tensor,
        features: Features,
        members: Tensor,
        with_clean: bool = False,
    ) -> tuple[Tensor, float | None]:
        """Measure the values of images to which parts of a direction are added, one at a time.

        Args:
            directions: ``(B, C, H, W)`` the sum of the directions of all players.
            features: Which part of it each player is.
            members: ``(K,)`` columns of the players asked for.
            with_clean: Look at the images as they are, even where the value does not need it.

        Returns:
            ``(B, K)`` float64 on the CPU: 1 where the class is wrong, or the change of the value;
            and the mean value of the images as they are, where these were looked at.
        """
        x = self.images
        with torch.inference_mode(False), torch.no_grad():
            moved = (x + directions).to(x.dtype)
            game = self._game(self._rows.of, moved, x, assign(features, (x,)))
            with_clean = with_clean or not self._is_rate
            nobody = torch.full((int(with_clean),), -1, device="cpu")
            columns = torch.cat([nobody, members]).to(x.device)
            coalitions = OneByOne(columns, len(game.players))
            title = "Fourier sensitivity"
            values = game.values_of(
                coalitions, self._per_eval, self._show_progress, title, self._name_of
            ).to("cpu", torch.float64)
        self.num_rows += len(x) * len(columns)
        # The second output says whether the label was found, (B, K or K + 1).
        found = 1 - values[..., 1] if self._is_rate else values[..., 0]
        if not with_clean:
            return found, None
        clean, found = found[:, :1], found[:, 1:]
        return found if self._is_rate else found - clean, float(clean.mean())

    def gradients(self) -> Tensor:
        """Differentiate the value at the images as they are: ``(B, C, H, W)``.

        Cost: a model row forwards and backwards per image.

        Raises:
            ValueError: The value is a rate, or has no gradient.
        """
        if self._is_rate:
            raise ValueError(
                f"value={self._value!r} has no gradient; use method='evaluate', or "
                "value='log_likelihood' or 'logit'"
            )
        x = self.images

        def value_of(images: Tensor, labels: Tensor, highest: int) -> Tensor:
            return self._rows.of(images, labels, highest)[:, 0]

        with torch.inference_mode(False), torch.no_grad():
            game = self._game(value_of, x, torch.zeros_like(x[:1]), _whole(x))
            average = GradientAverage(
                game.signals,
                torch.ones(1, 1, dtype=torch.bool, device=x.device),
                game.caller,
                game.inputs,
                absolute=False,
                spread=False,
                confident=False,
            )
            evaluation = Evaluation(
                average,
                Walk(len(x), 1, by_example=True),
                game.chunk_size(self._per_eval and self._per_eval * len(x), gradients=True),
                RowLimit("perturbations_per_eval", self._per_eval, whole=1),
            )
            with progress_bar(self._show_progress, "Fourier sensitivity", len(x)) as bar:
                evaluation.run(bar)
        self.num_rows += len(x)
        return average.moments[0].mean()

    def _wanted(self) -> Tensor:
        """Return the labels; where there are none, what the model predicts."""
        if self._labels is None:
            x = self.images
            game = Game.of_checked(self._rows.logits, (x,), (torch.zeros_like(x[:1]),), _whole(x))
            present = torch.ones(1, 1, dtype=torch.bool, device="cpu")
            self._labels = game.evaluate(present, self._per_eval)[:, 0].argmax(1).cpu()
            self.num_rows += len(x)
        return self._labels

    def _game(
        self,
        value_of: Callable[..., Any],
        inputs: Tensor,
        baselines: Tensor,
        placed: tuple[tuple[Features, ...], tuple[Tensor, ...]],
    ) -> Game:
        labels = self._wanted()
        arguments = labels.to(inputs.device), int(labels.max())
        return Game.of_checked(value_of, (inputs,), (baselines,), placed, arguments)

    def _name_of(self, member: Tensor) -> str:
        """Say which row this is, of a number or of none."""
        if int(member) < 0:
            return "nothing added to it"
        return f"the direction of player {int(member)} added to it, of norm {self.norm:g}"


def _whole(x: Tensor) -> tuple[tuple[Features, ...], tuple[Tensor, ...]]:
    """Make all of an image one player."""
    return (Pixels(),), (torch.zeros([1] * x.dim(), dtype=torch.int64, device=x.device),)


def _check_norm(norm: object) -> float:
    if isinstance(norm, bool) or not isinstance(norm, Real):
        raise TypeError(f"norm must be a number, got {norm!r}")
    if not 0 < float(norm) < math.inf:
        raise ValueError(
            f"norm must be positive and finite, the l2 norm of what is added to each channel, got "
            f"{norm!r}"
        )
    return float(norm)


def _unit_of(value: SensitivityValue) -> str:
    if isinstance(value, str) and value in _RATES:
        return _RATES[value]
    if isinstance(value, str) and value not in ("log_likelihood", "logit"):
        raise ValueError(
            "value must be 'error', 'flip', 'log_likelihood', 'logit' or a function of (outputs, "
            f"labels), got {value!r}"
        )
    return format_value(value)
