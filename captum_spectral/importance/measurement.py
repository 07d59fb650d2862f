"""One pass over a batch of images: the band attributions of each of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import check_count, format_inputs, format_spectral_dims
from captum_spectral._captum import BaselineType
from captum_spectral._feature_mask import format_feature_masks
from captum_spectral.coalitions import (
    OwnOrderings,
    all_coalitions,
    among_all,
    check_exact,
    shapley_from_table,
)
from captum_spectral.game import BandGame, warn_if_training
from captum_spectral.importance.baselines import Baselines
from captum_spectral.importance.draws import ImageDraws
from captum_spectral.importance.moments import record_of, statistics
from captum_spectral.importance.result import ImportanceResult
from captum_spectral.importance.values import Value, ValueOfRows, format_value
from captum_spectral.masks import band_frequencies

__all__ = ["Measurement"]


class Measurement:
    """Turns images and labels into records, see ``moments``. The arguments are the metric's."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        num_bands: int = 8,
        feature_mask: Tensor | None = None,
        baselines: BaselineType | str = None,
        value: Value = "log_likelihood",
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        spectral_dims: int | tuple[int, ...] = (-2, -1),
        seed: int = 0,
        num_classes: int | None = None,
    ) -> None:
        if not callable(forward_func):
            raise TypeError(f"forward_func must be callable, got {type(forward_func).__name__}")
        check_count("num_bands", num_bands)
        for name, count in (
            ("n_samples", n_samples),
            ("perturbations_per_eval", perturbations_per_eval),
            ("num_classes", num_classes),
        ):
            if count is not None:
                check_count(name, count)
        check_count("seed", seed, at_least=0)
        if feature_mask is not None:
            num_bands = _bands_of(feature_mask)
        if n_samples is None:
            check_exact(num_bands)
        self.forward_func = forward_func
        self.unit = format_value(value)
        self.num_bands = num_bands
        self._value = value
        self._rows = ValueOfRows(forward_func, value)
        self._mask = feature_mask
        self._dims = spectral_dims
        self._baselines = Baselines(baselines)
        self._n_samples = n_samples
        self._per_eval = perturbations_per_eval
        self._seed = seed
        self._num_classes = num_classes

    def __deepcopy__(self, memo: dict[int, Any]) -> Measurement:
        """A copy with the same model: metrics are copied often, and a model is no part of them."""
        other = copy.copy(self)
        other._baselines = copy.copy(self._baselines)
        if id(self.forward_func) in memo:  # it is copied too: of a module that holds both
            other.forward_func = memo[id(self.forward_func)]
            other._rows = ValueOfRows(other.forward_func, self._value)
        return other

    @property
    def frequencies(self) -> Tensor:
        """``(M, 2)`` where every band begins and ends, cycles per pixel."""
        if self._mask is None:
            edges = torch.arange(self.num_bands + 1, dtype=torch.float64, device="cpu")
            edges /= 2 * self.num_bands
            return torch.stack([edges[:-1], edges[1:]], 1)
        count = 1 if isinstance(self._dims, int) else len(self._dims)
        return band_frequencies(self._mask, range(-count, 0))

    def rows_of(self, num_players: int) -> int:
        """Model rows of an image whose label is known."""
        n = self._n_samples
        return 2**num_players if n is None else 2 * n * (num_players - 1) + 2

    def result(self, moments: Tensor, by_class: bool) -> ImportanceResult:
        """What the moments ``(G, V, V)`` of records say; ``by_class``: each group is a class."""
        if not float(moments[:, 0, 0].sum()):
            raise ValueError("there are no images yet: update must come before compute")

        def one(
            part: Tensor, per_class: Mapping[int, ImportanceResult] | None = None
        ) -> ImportanceResult:
            return ImportanceResult(
                **statistics(part)._asdict(),
                frequencies=self.frequencies,
                unit=self.unit,
                per_class=per_class,
            )

        per_class = None
        if by_class:
            seen = moments[:, 0, 0].nonzero().flatten().tolist()
            per_class = {c: one(moments[c]) for c in seen}
        return one(moments.sum(0), per_class)

    def forget(self) -> None:
        """Begin a new data set."""
        self._baselines.forget()

    @torch.no_grad()
    def records(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The records ``(B, V)`` of a batch, and its labels ``(B,)``, on the CPU.

        Args:
            images: ``(B, ..., H, W)``.
            labels: ``(B,)`` integers; None: what the model predicts.
        """
        if isinstance(images, tuple):
            raise TypeError("images must be one tensor (B, ..., H, W), got a tuple")
        inputs = format_inputs(images, "images")
        dims = format_spectral_dims(self._dims, inputs)
        (mask,) = format_feature_masks(self._mask, inputs, dims, self.num_bands)
        if len(mask) != 1:
            raise ValueError(
                f"feature_mask must be the same for all images, got shape {tuple(mask.shape)}, one "
                "for each of a batch"
            )
        known = _format_labels(labels, len(images), self._num_classes)
        warn_if_training(self.forward_func)
        draws = ImageDraws(images, self._seed)
        baselines = self._baselines.of(inputs[0], mask, dims[0], draws)
        wanted = known
        if wanted is None:
            wanted = self._predictions(inputs[0], mask)
            _check_highest(wanted, self._num_classes)
        game = BandGame(
            self._rows.of,
            inputs[0],
            mask,
            baselines,
            additional_forward_args=(wanted.to(images.device), int(wanted.max())),
            spectral_dims=self._dims,
        )
        phi, full, empty, found = self._play(game, draws)
        self._baselines.taken_in(inputs[0])
        labelled = (found >= 0) & (known is not None)
        correct = found.clamp(min=0) * labelled
        rows = self.rows_of(len(game.players)) + (known is None)
        return record_of(phi, full, empty, correct, labelled, rows), wanted

    def _play(self, game: BandGame, draws: ImageDraws) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Attributions ``(B, M)``; v(all), v(none) and what was found on the full image, ``(B,)``.

        Bands without any frequency do not play and are worth 0.
        """
        players = game.players.cpu()
        orderings = None
        if self._n_samples is None:
            chosen = all_coalitions(len(players))
            none, everything = 0, len(chosen) - 1
        else:
            orderings = OwnOrderings(draws.orderings(len(players), self._n_samples))
            chosen = orderings.coalitions
            everything, none = 0, 1
        coalitions = among_all(chosen, players, game.num_bands)
        table = game.evaluate(coalitions, self._per_eval).to("cpu", torch.float64)
        values = table[..., 0]
        of_players = shapley_from_table(values) if orderings is None else orderings.shapley(values)
        phi = among_all(of_players, players, self.num_bands)
        return phi, values[:, everything], values[:, none], table[:, everything, 1]

    def _predictions(self, images: Tensor, mask: Tensor) -> Tensor:
        """The class with the largest output on the full image."""
        game = BandGame(self._rows.logits, images, torch.zeros_like(mask))
        whole = torch.ones(1, 1, dtype=torch.bool, device="cpu")
        return game.evaluate(whole, self._per_eval)[:, 0].argmax(1).cpu()


def _bands_of(feature_mask: Tensor) -> int:
    if not isinstance(feature_mask, Tensor):
        raise TypeError(f"feature_mask must be a torch.Tensor, got {type(feature_mask).__name__}")
    if feature_mask.dtype.is_floating_point or feature_mask.numel() == 0:
        raise TypeError(
            f"feature_mask must hold integer band ids, got a {feature_mask.dtype} tensor of shape "
            f"{tuple(feature_mask.shape)}"
        )
    return int(feature_mask.max()) + 1


def _format_labels(
    labels: Tensor | None, num_images: int, num_classes: int | None
) -> Tensor | None:
    """``(B,)`` int64 on the CPU, or None."""
    if labels is None:
        return None
    labels = torch.as_tensor(labels, device="cpu").detach()
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype is torch.bool:
        raise TypeError(f"labels must be integers, one class per image, got dtype {labels.dtype}")
    if tuple(labels.shape) != (num_images,):
        raise ValueError(
            f"labels must be ({num_images},), one class per image, got shape {tuple(labels.shape)}"
        )
    if int(labels.min()) < 0:
        raise ValueError(f"labels must count classes from 0, got {int(labels.min())}")
    _check_highest(labels, num_classes)
    return labels.long()


def _check_highest(labels: Tensor, num_classes: int | None) -> None:
    if num_classes is not None and int(labels.max()) >= num_classes:
        raise ValueError(f"labels reach {int(labels.max())}, but num_classes={num_classes}")
