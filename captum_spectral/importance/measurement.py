"""One pass over a batch of images: the band attributions of each of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import (
    check_count,
    check_highest,
    format_any_labels,
    format_baselines,
    format_inputs,
    format_labels,
)
from captum_spectral._captum import BaselineType, format_additional_forward_args
from captum_spectral._engine.draws import ImageDraws
from captum_spectral._engine.forward import warn_if_training
from captum_spectral._engine.outputs import Output, as_function, reading
from captum_spectral._engine.values import Value, ValueOfRows, format_value
from captum_spectral.coalitions import Estimator, Exact, OwnOrderings, check_exact
from captum_spectral.features.band_mask import DEFAULT_BANDS, band_frequencies
from captum_spectral.features.features import Features, assign
from captum_spectral.features.fourier import FourierBands, remark_on_dims
from captum_spectral.features.pixels import Pixels
from captum_spectral.game import Game
from captum_spectral.importance.baselines import Baselines
from captum_spectral.importance.moments import merge, num_examples, record_of, statistics
from captum_spectral.importance.result import ImportanceResult

__all__ = ["Measurement"]


class Measurement:
    """Turns images and labels into records, see ``moments``. The arguments are the metric's."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        num_bands: int | None = None,
        feature_mask: Tensor | None = None,
        baselines: BaselineType | str = None,
        value: Value = "log_likelihood",
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        spectral_dims: int | tuple[int, ...] = (-2, -1),
        seed: int = 0,
        num_classes: int | None = None,
        features: Features | None = None,
        output: Output | None = None,
        shortcuts: bool = True,
    ) -> None:
        forward_func = reading(as_function(forward_func), output)
        num_bands, n_samples, perturbations_per_eval, num_classes = (
            None if count is None else check_count(name, count)
            for name, count in (
                ("num_bands", num_bands),
                ("n_samples", n_samples),
                ("perturbations_per_eval", perturbations_per_eval),
                ("num_classes", num_classes),
            )
        )
        self.num_bands = DEFAULT_BANDS if num_bands is None else num_bands
        players = self.num_bands
        if features is not None:
            self.num_bands = players = _room_for(features, feature_mask, num_bands)
        elif feature_mask is not None:
            self.num_bands, players = _bands_of(feature_mask)
        if n_samples is None:
            check_exact(players, remedy=f"pass n_samples (1 takes {2 * players} rows)")
        self.forward_func = forward_func
        self.unit = format_value(value)
        # Of small images fewer bands than the default may fit; how many, the first batch tells.
        known = features is None and (num_bands is not None or feature_mask is not None)
        self._fit = self.num_bands if known else None
        self._names: tuple[str, ...] | None = None
        self._placed: Tensor | None = None  # the mask as it lies on the images
        self._value = value
        self._rows = ValueOfRows(forward_func, value)
        bands = FourierBands(feature_mask, num_bands=num_bands, spectral_dims=spectral_dims)
        self._bands = bands if features is None else None
        self._features: Features = bands if features is None else features
        self._baselines = Baselines(baselines)
        self._n_samples = n_samples
        self._per_eval = perturbations_per_eval
        self._seed = check_count("seed", seed, at_least=0)
        self._num_classes = num_classes
        self._shortcuts = shortcuts

    def __deepcopy__(self, memo: dict[int, Any]) -> Measurement:
        """Copy all but the model: metrics are copied often, and a model is no part of them."""
        other = copy.copy(self)
        other._baselines = copy.copy(self._baselines)
        if id(self.forward_func) in memo:  # it is copied too: of a module that holds both
            other.forward_func = memo[id(self.forward_func)]
            other._rows = ValueOfRows(other.forward_func, self._value)
        return other

    @property
    def frequencies(self) -> Tensor | None:
        """``(M, 2)`` where every band begins and ends, cycles per pixel; None of other features."""
        if self._bands is None:
            return None
        mask, dims = self._bands.feature_mask, self._bands.spectral_dims
        if self._placed is not None:
            return band_frequencies(self._placed, self._bands.counted_dims(self._placed.dim()))
        if mask is None:
            count = self._fit or self.num_bands
            edges = torch.arange(count + 1, dtype=torch.float64, device="cpu") / (2 * count)
            return torch.stack([edges[:-1], edges[1:]], 1)
        count = 1 if isinstance(dims, int) else len(dims)
        return band_frequencies(mask, range(-count, 0))

    def result(self, moments: Tensor, by_class: bool, table: Tensor) -> ImportanceResult:
        """Return what moments ``(Y, V, V)`` hold, of images in the groups of a table.

        Args:
            moments: One matrix per class.
            by_class: Whether there are classes.
            table: ``(K, 3 + M)``, see ``groups``; empty if the images are independent.
        """
        if not num_examples(moments):
            raise ValueError("there are no images yet: update must come before compute")

        whole = merge(moments)
        fit = self._fitting(whole)
        frequencies = self.frequencies

        def one(
            part: Tensor,
            number: int | None = None,
            per_class: Mapping[int, ImportanceResult] | None = None,
        ) -> ImportanceResult:
            found = statistics(part, table, number)
            return ImportanceResult(
                **found._replace(
                    attributions=found.attributions[:fit], covariance=found.covariance[:fit, :fit]
                )._asdict(),
                frequencies=None if frequencies is None else frequencies[:fit],
                names=self._names,
                unit=self.unit,
                per_class=per_class,
            )

        per_class = None
        if by_class:
            per_class = {c: one(part, c) for c, part in enumerate(moments) if num_examples(part)}
        return one(whole, per_class=per_class)

    def forget(self) -> None:
        """Begin a new data set."""
        self._baselines.forget()

    @torch.no_grad()
    def records(
        self,
        images: Tensor,
        labels: Tensor | None,
        keep_not_finite: bool = False,
        additional_forward_args: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the records ``(B, V)`` of a batch, and its classes ``(B,)``, on the CPU.

        The classes of labels that are none are 0.

        Args:
            images: ``(B, ..., H, W)``.
            labels: ``(B,)`` integers, or ``(B, ...)`` for a value of the user's own; None: what the
                model predicts.
            keep_not_finite: Whether the record of an image whose values are NaN or infinite is so,
                too, and no error. Default: False
            additional_forward_args: Further arguments of the model. Default: None
        """
        if isinstance(images, tuple):
            raise TypeError("images must be one tensor (B, ..., H, W), got a tuple")
        (x,) = inputs = format_inputs(images, "images")
        placed = assign(self._features, inputs)
        (mask,) = placed[1]
        if len(mask) != 1:
            raise ValueError(
                f"feature_mask must be the same for all images, got shape {tuple(mask.shape)}, one "
                "for each of a batch"
            )
        self._check_bands(mask, x)
        known = None
        if labels is not None:
            known = self._labels(labels, len(x))
        warn_if_training(self.forward_func)
        draws = ImageDraws(x, self._seed)
        starts = format_baselines(self._baselines.of(x, self._features, mask, draws), inputs)
        args = format_additional_forward_args(additional_forward_args) or ()
        wanted = known
        if wanted is None:
            wanted = self._predictions(x, args, keep_not_finite)
            check_highest(wanted, self._num_classes)
        classes = _are_classes(wanted)
        highest = int(wanted.max()) if classes else -1
        game = Game.of_checked(
            self._rows.of,
            inputs,
            starts,
            placed,
            additional_forward_args=(wanted.to(x.device), highest, *args),
            keep_not_finite=keep_not_finite,
            shortcuts=self._shortcuts,
        )
        estimator = self._estimator(len(game.players), draws)
        estimate = game.solve(estimator, self._per_eval)
        self._baselines.taken_in(x)
        # Of two outputs: the value, and whether the label was found.
        full = estimate.full_value.to("cpu", torch.float64)
        found = full[:, 1]
        labelled = (found >= 0) & (known is not None)
        records = record_of(
            self._of_all_bands(estimate.values[:, 0]),
            full[:, 0],
            estimate.empty_value[:, 0],
            correct=found.clamp(min=0) * labelled,
            labelled=labelled,
            rows=estimator.coalitions.shape[-2] + (known is None),
        )
        return records, wanted if classes else torch.zeros(len(x), dtype=torch.int64, device="cpu")

    def _labels(self, given: Any, num_images: int) -> Tensor:
        """Return labels, one class per image; with a value of the user's own whatever it reads."""
        if callable(self._value) and self._num_classes is None:
            return format_any_labels(given, num_images)
        return format_labels(given, num_images, self._num_classes)

    def _check_bands(self, mask: Tensor, x: Tensor) -> None:
        """Remember the bands of the first images, and that all have as many."""
        if self._bands is not None:
            remark_on_dims(x, self._bands.spectral_dims, self._bands.feature_mask)
            if self._bands.feature_mask is not None:
                self._placed = mask.cpu()
                return
        fit = int(mask.max()) + 1
        if fit > self.num_bands:
            raise ValueError(
                f"these images have {fit} features, and there is room for {self.num_bands}; give "
                f"num_bands={fit}"
            )
        if self._fit not in (None, fit):
            raise ValueError(
                f"{fit} bands fit these images, and {self._fit} fitted those before; give num_bands"
            )
        self._fit = fit
        if self._bands is None and self._names is None:
            self._names = self._features.names(x[:1])

    def _of_all_bands(self, phi: Tensor) -> Tensor:
        """Fill up attributions ``(B, fit)`` to as many bands as there is room for."""
        return torch.nn.functional.pad(phi, (0, self.num_bands - phi.shape[1]))

    def _fitting(self, moments: Tensor) -> int:
        """Return how many bands moments ``(V, V)`` of a loaded state, too, are of."""
        if self._fit is not None:
            return self._fit
        worth = statistics(moments).attributions.nonzero()
        return int(worth.max()) + 1 if len(worth) else self.num_bands

    def _estimator(self, num_players: int, draws: ImageDraws) -> Estimator:
        if self._n_samples is None:
            return Exact(num_players)
        return OwnOrderings(draws.orderings(num_players, self._n_samples))

    def _predictions(self, x: Tensor, args: tuple[Any, ...], keep_not_finite: bool) -> Tensor:
        """Return the class with the largest output on each full image."""
        whole = (Pixels(),), (torch.zeros([1] * x.dim(), dtype=torch.int64, device=x.device),)
        game = Game.of_checked(
            self._rows.logits,
            (x,),
            (torch.zeros_like(x[:1]),),
            whole,
            additional_forward_args=args or None,
            keep_not_finite=keep_not_finite,
        )
        present = torch.ones(1, 1, dtype=torch.bool, device="cpu")
        return game.evaluate(present, self._per_eval)[:, 0].argmax(1).cpu()


def _are_classes(labels: Tensor) -> bool:
    """Say whether labels are classes, counted from 0, one per image."""
    kind = labels.dtype
    whole = not (kind.is_floating_point or kind.is_complex or kind is torch.bool)
    return whole and labels.dim() == 1 and int(labels.min()) >= 0


def _room_for(features: object, feature_mask: Tensor | None, num_bands: int | None) -> int:
    """Return how many features there is room for."""
    if not isinstance(features, Features):
        raise TypeError(
            "features must be a captum_spectral.features.Features, such as Sectors() or "
            f"Wavelets(), got {type(features).__name__}"
        )
    if feature_mask is not None:
        raise ValueError("features and feature_mask both say what the players are; give one")
    most = features.num_features if num_bands is None else num_bands
    if most is None:
        raise ValueError(
            f"{type(features).__name__} does not say how many features an image has; give the most "
            "as num_bands"
        )
    return most


def _bands_of(feature_mask: Tensor) -> tuple[int, int]:
    """Count the ids of a mask, and those that are there."""
    if not isinstance(feature_mask, Tensor):
        raise TypeError(f"feature_mask must be a torch.Tensor, got {type(feature_mask).__name__}")
    if feature_mask.dtype.is_floating_point or feature_mask.numel() == 0:
        raise TypeError(
            f"feature_mask must hold integer band ids, got a {feature_mask.dtype} tensor of shape "
            f"{tuple(feature_mask.shape)}"
        )
    ids = feature_mask.long().unique()
    return int(ids[-1]) + 1, len(ids)
