"""The outputs while the frequency bands of an input come or go."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral._captum import TargetType
from captum_spectral.game import BandGame
from captum_spectral.metrics._outputs import not_one_per_row
from captum_spectral.metrics._ranking import positions

__all__ = ["BandPath", "band_places"]


class BandPath(NamedTuple):
    """A game of bands whose coalitions grow or shrink one band at a time.

    Args:
        game: The game.
        target: Its target, for the error.
        places: ``(B, M)`` how many bands change before each.
        inserted: Whether the bands come; else they go.
    """

    game: BandGame
    target: TargetType
    places: Tensor
    inserted: bool

    @property
    def num_features(self) -> int:
        return len(self.game.players)

    def values(
        self, counts: Tensor, perturbations_per_eval: int, show_progress: bool, title: str
    ) -> Tensor:
        """The outputs ``(B, K+1)`` with ``counts (K+1,)`` bands changed."""
        changed = self.places[:, None] < counts[:, None]
        coalitions = changed if self.inserted else ~changed
        values = self.game.evaluate(coalitions, perturbations_per_eval, show_progress, title)
        if values.shape[:2] != changed.shape[:2] or values.numel() != changed[..., 0].numel():
            raise not_one_per_row(values[:, 0], len(changed), self.target)
        return values.reshape(changed.shape[:2])


def band_places(attributions: Tensor, game: BandGame) -> Tensor:
    """How many bands change before each: ``(B, M)``, on the CPU; one without frequencies never."""
    shape = (game.num_examples, game.num_bands)
    if attributions.shape != shape:
        raise ValueError(
            f"attributions must be {shape} in the frequency domain, one value for each band of "
            "each input, as SpectralShapley.attribute(..., return_input_shape=False) gives; got "
            f"shape {tuple(attributions.shape)}"
        )
    players = game.players.cpu()
    places = torch.full(shape, game.num_bands, device="cpu")
    places[:, players] = positions(attributions.to("cpu", torch.float64)[:, players])
    return places
