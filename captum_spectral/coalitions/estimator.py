"""The contract between a game and a way of solving it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from statistics import NormalDist
from typing import NamedTuple

from torch import Tensor

__all__ = ["Estimator", "PlayerEstimate", "among_all", "half_width"]


class PlayerEstimate(NamedTuple):
    """The worth of a game to each of its players.

    Args:
        values: ``(B, *outputs, P)``, float64 on the CPU.
        standard_error: Of the same shape: 0 where the values are exact, NaN where it is not known.
        full_value: ``(B, *outputs)`` the value of the grand coalition, in which all players are.
        empty_value: ``(B, *outputs)`` the value of the empty coalition.
        degrees_of_freedom: Of the standard errors, for Student's t; see :func:`half_width`.
            Default: inf, a normal distribution
    """

    values: Tensor
    standard_error: Tensor
    full_value: Tensor
    empty_value: Tensor
    degrees_of_freedom: float = math.inf


class Estimator(ABC):
    """Says which coalitions of ``P`` players it wants, and what follows from their values.

    An estimator knows no model and no images. ``SpectralShapley`` and ``SpectralImportance`` run
    the model on :attr:`coalitions` and hand the values to :meth:`estimate`, whatever it is.

    Attributes:
        coalitions: Boolean ``(K, P)``, shared by all examples, or ``(B, K, P)``, each example its
            own. The grand and the empty coalition are among them.

    Example::

        >>> import torch
        >>> from captum_spectral import Game
        >>> from captum_spectral.coalitions import Estimator, PlayerEstimate
        >>> from captum_spectral.features import Pixels
        >>> class LeaveOneOut(Estimator):
        ...     "What the output loses when a player leaves the others."
        ...     def __init__(self, num_players):
        ...         full, empty = torch.ones(1, num_players), torch.zeros(1, num_players)
        ...         self.coalitions = torch.cat([full, empty, 1 - torch.eye(num_players)]).bool()
        ...     def estimate(self, values):
        ...         full, empty = values[:, 0], values[:, 1]
        ...         lost = (full[:, None] - values[:, 2:]).double().movedim(1, -1)
        ...         return PlayerEstimate(lost, torch.zeros_like(lost), full, empty)
        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> game = Game(lambda x: x[:, 0] * x[:, 1] + x[:, 2], x, features=Pixels())
        >>> game.solve(LeaveOneOut(3)).values
        tensor([[2., 2., 3.]], dtype=torch.float64)
    """

    coalitions: Tensor

    @abstractmethod
    def estimate(self, values: Tensor) -> PlayerEstimate:
        """Return what the values ``(B, K, *outputs)`` of the coalitions say."""


def among_all(x: Tensor, players: Tensor, size: int) -> Tensor:
    """Scatter what the ``players (P,)`` have, ``(..., P)``, into all ids ``(..., size)``.

    The others, bands without any frequency, do not play and get 0.
    """
    return x.new_zeros(*x.shape[:-1], size).index_copy(-1, players.to(x.device), x)


def half_width(degrees_of_freedom: float = math.inf, confidence: float = 0.95) -> float:
    r"""Return how many standard errors an interval reaches to either side: Student's t.

    A standard error of few draws is itself uncertain. Intervals of 1.96 of them hold the exact
    value in 70 % of cases with two draws and 88 % with five, where 95 % are meant.

    Args:
        degrees_of_freedom: One less than the draws; any number from 1 on, rounded down. Infinity:
            the normal distribution. Default: inf
        confidence: Between 0 and 1. Default: 0.95

    Raises:
        ValueError: Fewer degrees of freedom than 1, a confidence outside of (0, 1).

    Example::

        >>> from captum_spectral.coalitions import half_width
        >>> [round(half_width(degrees), 2) for degrees in (1, 4, 19)], round(half_width(), 2)
        ([12.71, 2.78, 2.09], 1.96)

    References:
        M. Abramowitz, I. A. Stegun, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4.
    """
    if not degrees_of_freedom >= 1:
        raise ValueError(f"degrees_of_freedom must be at least 1, got {degrees_of_freedom!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}")
    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    if degrees_of_freedom > 10_000:
        return normal
    degrees = int(degrees_of_freedom)
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t / sqrt(degrees)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(degrees)


def _within(angle: float, degrees: int) -> float:
    """Return the probability that ``|t|`` is at most ``sqrt(degrees) tan(angle)``."""
    odd = degrees % 2
    total, term = 0.0, math.cos(angle) if odd else 1.0
    for k in range(1 + odd, degrees + odd, 2):
        total += term
        term *= k / (k + 1) * math.cos(angle) ** 2
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
