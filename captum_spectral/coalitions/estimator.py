"""The contract between a game and a way of solving it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

__all__ = ["Estimator", "PlayerEstimate", "among_all"]


class PlayerEstimate(NamedTuple):
    """The worth of a game to each of its players.

    Args:
        values: ``(B, *outputs, P)``, float64 on the CPU.
        standard_error: Of the same shape: 0 where the values are exact, NaN where it is not known.
        full_value: ``(B, *outputs)`` the value of the grand coalition, in which all players are.
        empty_value: ``(B, *outputs)`` the value of the empty coalition.
    """

    values: Tensor
    standard_error: Tensor
    full_value: Tensor
    empty_value: Tensor


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
