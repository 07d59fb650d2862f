"""Balls of a norm: their points, the steepest steps in them, random points of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from captum_spectral._engine.draws import ImageDraws

__all__ = ["Ball", "Norm", "ball_of"]

Norm = Literal["l2", "linf"]


class Ball(ABC):
    """The ball of a norm around 0, of any radius; rows ``(R, ...)`` are vectors."""

    @abstractmethod
    def length(self, offsets: Tensor) -> Tensor:
        """Return the norms ``(R,)``."""

    @abstractmethod
    def nearest(self, offsets: Tensor, radius: float) -> Tensor:
        """Move offsets to the nearest points of the ball, in the l2 sense."""

    @abstractmethod
    def steepest(self, gradients: Tensor) -> Tensor:
        """Return the steps of norm 1 that raise linear functions most.

        Rows without a usable gradient become 0.
        """

    @abstractmethod
    def random(self, draws: ImageDraws, like: Tensor) -> Tensor:
        """Draw points, uniform in the unit ball, one for each image."""


class Euclidean(Ball):
    r""":math:`|x|_2 \le r`."""

    def length(self, offsets: Tensor) -> Tensor:
        """Return the norms ``(R,)``."""
        length: Tensor = offsets.flatten(1).norm(dim=1)
        return length

    def nearest(self, offsets: Tensor, radius: float) -> Tensor:
        """Shorten those that are too long."""
        length = _wide(self.length(offsets), offsets)
        return offsets * (radius / length).clamp(max=1)

    def steepest(self, gradients: Tensor) -> Tensor:
        """Normalise."""
        length = _wide(self.length(gradients), gradients)
        usable = (length > 0) & length.isfinite()
        return torch.where(usable, gradients / length, 0)

    def random(self, draws: ImageDraws, like: Tensor) -> Tensor:
        """Draw directions of the sphere, and radii whose D-th power is uniform."""
        direction = self.steepest(draws.normal(like))
        share = draws.uniform().to(like)
        return direction * _wide(share ** (1 / like[0].numel()), like)


class Maximum(Ball):
    r""":math:`\max_i |x_i| \le r`."""

    def length(self, offsets: Tensor) -> Tensor:
        """Return the norms ``(R,)``."""
        return offsets.flatten(1).abs().amax(1)

    def nearest(self, offsets: Tensor, radius: float) -> Tensor:
        """Clamp every coordinate."""
        return offsets.clamp(-radius, radius)

    def steepest(self, gradients: Tensor) -> Tensor:
        """Take the signs."""
        usable = _wide(~gradients.isnan().flatten(1).any(1), gradients)
        return torch.where(usable, gradients.sign(), 0)

    def random(self, draws: ImageDraws, like: Tensor) -> Tensor:
        """Draw every coordinate from -1 to 1."""
        return 2 * draws.uniform(*like.shape[1:]).to(like) - 1


_BALLS: dict[Norm, Ball] = {"l2": Euclidean(), "linf": Maximum()}


def ball_of(norm: Norm) -> Ball:
    """Return the ball of a norm.

    Raises:
        ValueError: There is none of this name.
    """
    if norm not in _BALLS:
        raise ValueError(f'norm must be "linf" or "l2", got {norm!r}')
    return _BALLS[norm]


def _wide(numbers: Tensor, rows: Tensor) -> Tensor:
    """Give numbers ``(R,)`` the rank of the rows."""
    return numbers.reshape(-1, *[1] * (rows.dim() - 1))
