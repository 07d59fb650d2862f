"""Directions of a given norm in every channel: waves of all frequencies, and one for each band."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from captum_spectral._engine.draws import ImageDraws
from captum_spectral.features.features import Features, signal_dtype, split
from captum_spectral.features.plane_waves import places_of

__all__ = ["Phase", "band_directions", "sum_of_waves"]

Phase = Literal["random", "fixed"]


def sum_of_waves(images: Tensor, norm: float, phase: Phase, seed: int) -> Tensor:
    """Return the sum of one wave of every frequency, of a norm in every channel.

    The part that a frequency has in it is the wave: a game of frequencies then shows the model one
    wave at a time, and none is stored.

    Args:
        images: ``(B, C, H, W)``, which seed the phases and signs.
        norm: Of each wave in each channel.
        phase: "random" or "fixed", see ``fourier_heat_map``.
        seed: Of the phases and signs.

    Returns:
        ``(B, C, H, W)`` in the dtype of signals.
    """
    channels, height, width = images.shape[1:]
    places = places_of(height, width)  # (P, 2)
    sizes = torch.tensor([height, width], device="cpu")
    negatives = -places % sizes
    alone = (places == negatives).all(1)
    # Two waves, of k and -k, make a cosine; one that is its own negative is a wave of signs.
    share = torch.where(alone, 1.0, 0.5).double().sqrt()
    size = norm * share * math.sqrt(height * width)
    made = torch.empty_like(images, dtype=signal_dtype(images.dtype))
    purpose = f"waves of {phase} phase"
    for image, into in zip(images.split(1), made, strict=True):  # one by one: less memory
        turn = 2 * math.pi * ImageDraws(image, seed, purpose).uniform(channels, len(places))[0]
        sign = torch.where(turn < math.pi, 1.0, -1.0).double()
        angle = turn if phase == "random" else torch.full_like(turn, math.pi / 4)
        wave = torch.polar(torch.ones_like(angle), angle)
        wave = size * torch.where(alone, sign + 0j, wave if phase == "random" else sign * wave)
        plane = torch.zeros(channels, height, width, dtype=torch.complex128, device="cpu")
        plane[:, negatives[:, 0], negatives[:, 1]] = wave.conj()
        plane[:, places[:, 0], places[:, 1]] = wave  # last: where both places are one
        into.copy_(torch.fft.ifft2(plane).real)
    return made


def band_directions(
    images: Tensor, norm: float, features: Features, ids: Tensor, seed: int
) -> Tensor:
    """Return the sum of one random direction in every band, of a norm in every channel.

    Args:
        images: ``(B, C, H, W)``, which seed the directions.
        norm: Of each direction in each channel.
        features: The bands.
        ids: What they say of the images.
        seed: Of the directions.

    Returns:
        ``(B, C, H, W)`` in the dtype of signals.
    """
    players = ids.unique().cpu()
    made = torch.empty_like(images, dtype=signal_dtype(images.dtype))
    for image, into in zip(images.split(1), made, strict=True):  # one by one: less memory
        noise = ImageDraws(image, seed, "directions in bands").normal(into[None])
        parts = split(features, noise, ids, players)[0]  # (P, C, H, W)
        lengths = parts.square().sum((-2, -1), keepdim=True).sqrt()
        # Noise has a part in every band; of a channel without the band, it has none.
        scale = torch.where(lengths > 0, norm / lengths, 0.0)
        into.copy_((parts * scale).sum(0))
    return made
