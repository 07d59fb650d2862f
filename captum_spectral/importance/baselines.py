"""Fill absent bands: from a fixed image, noise with the image's own energies, or another image."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral._captum import BaselineType
from captum_spectral._engine.draws import ImageDraws
from captum_spectral.features.features import Features, signal_dtype

__all__ = ["Baselines"]

_NAMED = ("noise", "donor")


class Baselines:
    """Give the baseline of every image of a batch.

    Args:
        baselines: None, a number, a tensor, "noise" or "donor"; see ``SpectralImportance``.

    Raises:
        TypeError: ``baselines`` is a tuple.
        ValueError: ``baselines`` is a string other than these.
    """

    def __init__(self, baselines: BaselineType | str) -> None:
        if isinstance(baselines, str) and baselines not in _NAMED:
            raise ValueError(
                f"baselines must be None, a number, a tensor, 'noise' or 'donor', got {baselines!r}"
            )
        if isinstance(baselines, tuple):
            raise TypeError(
                "baselines must be None, a number, a tensor, 'noise' or 'donor', got a "
                "tuple; there is one input tensor"
            )
        self._baselines = baselines
        self._reserve: Tensor | None = None

    def forget(self) -> None:
        """Forget the images seen so far, to begin a new data set."""
        self._reserve = None

    def taken_in(self, images: Tensor) -> None:
        """Keep the last image of a measured batch: the next batch may need it as a donor."""
        if self._baselines == "donor":
            self._reserve = images[-1:].detach().clone()

    def of(
        self, images: Tensor, features: Features, ids: Tensor, draws: ImageDraws
    ) -> BaselineType:
        """Return the baselines of a batch.

        Args:
            images: ``(B, ...)``.
            features: Whose energies noise has.
            ids: What they say of the images.
            draws: The random numbers of these images.
        """
        if self._baselines == "noise":
            return matched_noise(images, draws.normal(images), features, ids)
        if self._baselines == "donor":
            return self._donors(images, draws)
        return self._baselines

    def _donors(self, images: Tensor, draws: ImageDraws) -> Tensor:
        """Give every image another one of its batch; a single image gets the last one before it."""
        count, before = len(images), self._reserve
        if count > 1:
            steps = 1 + draws.integers(count - 1)  # (B,) from 1 to B - 1: never the image itself
            return images[((torch.arange(count, device="cpu") + steps) % count).to(images.device)]
        if before is None or before.shape != images.shape:
            raise ValueError(
                "baselines='donor' takes another image of the batch as the baseline, and this is "
                "a batch of one; use batches of at least 2 images"
            )
        return before.to(images)


def matched_noise(x: Tensor, noise: Tensor, features: Features, ids: Tensor) -> Tensor:
    """Scale noise player by player to the energy that ``x`` has in the part of each.

    Args:
        x: ``(B, *signal)``.
        noise: Real noise of the same shape.
        features: Which.
        ids: What ``features.ids`` says of ``x``.
    """
    dtype = signal_dtype(x.dtype)
    owners = features.of_coefficients(ids)
    of_x, of_noise = (features.transform(s.to(dtype)) for s in (x, noise))
    scaled = torch.zeros_like(x, dtype=dtype)
    for player in ids.unique().tolist():
        # (B,) energies of the player's part of x and of the noise
        parts = [features.inverse(c * (owners == player), x.shape) for c in (of_x, of_noise)]
        energy, reference = (part.square().flatten(1).sum(1) for part in parts)
        ratio = (energy / reference.clamp(min=torch.finfo(dtype).tiny)).sqrt()
        scaled += ratio.reshape(-1, *[1] * (x.dim() - 1)) * parts[1]
    return scaled.to(x.dtype)
