"""Plane waves: every frequency of an image, with its negative, is a player."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.features.fourier import FourierBands

__all__ = ["PlaneWaves", "Waves", "num_waves", "places_of"]


class PlaneWaves(FourierBands):
    r"""Single frequencies of the Fourier spectrum of a real image, each with its negative.

    .. math:: x_k(y, x) = \frac{w_k}{HW} \operatorname{Re}\big[\mathcal{F}[x](k)\,
        e^{2 \pi i (k_y y / H + k_x x / W)}\big], \qquad
        w_k = 1 \text{ if } k = -k, \text{ else } 2

    It is :class:`FourierBands` with a band for every pair of frequencies, and the part of one
    player is a sum of two products of a column and a row, which costs less than an inverse
    transform. Players are numbered in the order in which their pairs begin in the unshifted plane.

    Raises:
        ValueError: Inputs without two spectral dims, when the features meet them.

    Example::

        >>> import torch
        >>> from captum_spectral.features.plane_waves import PlaneWaves
        >>> PlaneWaves().ids(torch.rand(5, 3, 3, 4))[0, 0]
        tensor([[0, 1, 2, 1],
                [3, 4, 5, 6],
                [3, 6, 5, 4]])
    """

    def __init__(self) -> None:
        super().__init__()

    def ids(self, inputs: Tensor) -> Tensor:
        """Return the number of every frequency's pair: the rank of the inputs."""
        self._dims(inputs)
        plane = _first_of_pair(*inputs.shape[-2:])
        _, numbers = plane.unique(return_inverse=True)
        placed: Tensor = numbers.reshape([1] * (inputs.dim() - 2) + list(plane.shape))
        return placed.to(inputs.device)

    def waves(self, like: Tensor) -> Waves:
        """Return the waves of signals of the size, dtype and device of ``like (..., H, W)``."""
        height, width = like.shape[-2:]
        places = places_of(height, width)
        # Of a pair with its second half in the half of the spectrum, the other member.
        mirrored = places[:, 1] > width // 2
        sizes = torch.tensor([height, width], device="cpu")
        places[mirrored] = (-places[mirrored]) % sizes
        alone = ((2 * places) % sizes == 0).all(1)
        weights = torch.where(alone, 1.0, 2.0).double() / (height * width)
        return Waves(
            places.to(like.device),
            weights.to(like.device, like.dtype),
            _turns(height, height, like),
            _turns(width // 2 + 1, width, like),
        )


class Waves(NamedTuple):
    """Places of waves in half of a spectrum, and the values of waves along columns and rows.

    Args:
        places: ``(P, 2)`` rows and columns of the half spectrum.
        weights: ``(P,)`` of the coefficients.
        columns: ``(H, H)`` complex, of every row of the spectrum.
        rows: ``(W // 2 + 1, W)`` complex, of every column of the half.
    """

    places: Tensor
    weights: Tensor
    columns: Tensor
    rows: Tensor

    def factors(
        self, coefficients: Tensor, players: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return the parts of single players as two columns and two rows, whose products they sum.

        Args:
            coefficients: ``(b, ..., H, W // 2 + 1)`` half spectra.
            players: ``(k,)`` int64; below 0 is nobody, whose part is 0.

        Returns:
            Columns ``(b, k, ..., H)`` each, and rows ``(k, W)`` each.
        """
        own = players.clamp(min=0)
        weights = self.weights[own] * (players >= 0)
        down, across = self.places[own].unbind(1)
        at_waves = (coefficients[..., down, across] * weights).movedim(-1, 1)  # (b, k, ...)
        turns = self.columns[down]  # (k, H)
        turns = turns.reshape(len(turns), *[1] * (at_waves.dim() - 2), -1)
        column, row = at_waves[..., None] * turns, self.rows[across]
        return (column.real, -column.imag), (row.real, row.imag)


def places_of(height: int, width: int) -> Tensor:
    """Return the first frequency of every pair, ``(P, 2)`` rows and columns of the plane."""
    first = _first_of_pair(height, width).unique()
    return torch.stack([first // width, first % width], 1)


def num_waves(height: int, width: int) -> int:
    """Count the pairs: half of the plane, and half of the frequencies that are their negatives."""
    alone = math.prod(2 - n % 2 for n in (height, width))
    return (height * width + alone) // 2


def _first_of_pair(height: int, width: int) -> Tensor:
    """Return the smaller place ``(H, W)`` of every frequency and its negative in the flat plane."""
    down, across = (torch.arange(n, device="cpu") for n in (height, width))
    places = down[:, None] * width + across
    negatives = (-down % height)[:, None] * width + -across % width
    return torch.minimum(places, negatives)


def _turns(frequencies: int, size: int, like: Tensor) -> Tensor:
    """Return ``exp(2 pi i k n / size)``, ``(frequencies, size)``."""
    # Whole turns are left out as integers, so that large ones cost no digits.
    steps = torch.arange(size, device="cpu")
    turns = (torch.arange(frequencies, device="cpu")[:, None] * steps) % size
    angles = turns.double() * (2 * math.pi / size)
    complex_dtype = torch.promote_types(like.dtype, torch.complex32)
    return torch.polar(torch.ones_like(angles), angles).to(like.device, complex_dtype)
