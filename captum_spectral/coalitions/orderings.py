"""Random orderings of the players: which coalitions they meet, and what these say."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spectral.coalitions.estimator import Estimator, PlayerEstimate
from captum_spectral.coalitions.exact import shapley_from_table

__all__ = ["Orderings", "OwnOrderings", "sample_orderings"]


class Orderings(Estimator):
    """Random orderings of the players, each with its reverse, shared by all examples.

    A player's marginal contribution in an ordering is the value of the players up to it less the
    value of those before it. Its mean over an ordering and the reverse is one unbiased estimate of
    the Shapley value; the pairs are independent, so their spread gives the standard error.

    Args:
        orderings: ``(n, M)`` int64.

    Attributes:
        coalitions: ``(K, M)`` boolean, all coalitions that the orderings meet, each once.
        num_samples: ``n``, how many pairs.
    """

    def __init__(self, orderings: Tensor) -> None:
        self.num_samples, self._num_players = orderings.shape
        self._orderings = _with_reverse(orderings)  # (n, 2, M)
        prefixes = _prefixes(self._orderings)  # (n, 2, M + 1, M)
        self.coalitions, index = prefixes.reshape(-1, self._num_players).unique(
            dim=0, return_inverse=True
        )
        self._index = index.reshape(*prefixes.shape[:-1])  # (n, 2, M + 1) into coalitions

    def estimate(self, values: Tensor) -> PlayerEstimate:
        """Return the mean over the pairs, and its standard error.

        Once the orderings have met all 2^M coalitions the table is complete, so the exact values
        are there at no cost: they are returned, with the standard error 0.

        Args:
            values: ``(B, K, *outputs)``, the values of ``coalitions``.

        Returns:
            The estimate. The standard error is the sample standard deviation over the ``n`` pairs
            (``n - 1`` in the denominator) over ``sqrt(n)``; NaN for a single pair.
        """
        full, empty = (values[:, int(self._index[0, 0, i])] for i in (-1, 0))
        if len(self.coalitions) == 2**self._num_players:
            place = (self.coalitions.long() << torch.arange(self._num_players, device="cpu")).sum(1)
            phi = shapley_from_table(values[:, place.argsort().to(values.device)])
            return PlayerEstimate(phi, torch.zeros_like(phi), full, empty)
        met = values.to("cpu", torch.float64)[:, self._index]  # (B, n, 2, M + 1, *outputs)
        phi, error = _mean_of_pairs(self._orderings, met)
        return PlayerEstimate(phi, error, full, empty, self.num_samples - 1)


class OwnOrderings(Estimator):
    """Random orderings of the players for every example of a batch, each with its reverse.

    For the mean over a data set: examples that meet other coalitions than their neighbours say more
    together than examples that all meet the same ones.

    Args:
        orderings: ``(B, n, M)`` int64.

    Attributes:
        coalitions: ``(B, 2 n (M - 1) + 2, M)`` boolean; the first is the grand coalition, the
            second is empty.
    """

    def __init__(self, orderings: Tensor) -> None:
        self._orderings = _with_reverse(orderings)  # (B, n, 2, M)
        inner = _prefixes(self._orderings)[..., 1:-1, :].flatten(1, 3)
        ends = torch.tensor([[True], [False]], device="cpu")
        ends = ends.expand(len(orderings), 2, orderings.shape[-1])
        self.coalitions = torch.cat([ends, inner], 1)

    def estimate(self, values: Tensor) -> PlayerEstimate:
        """Return unbiased estimates of the Shapley values of every example.

        Args:
            values: ``(B, 2 n (M - 1) + 2, *outputs)``, the values of ``coalitions``.

        Returns:
            The mean over orderings and reverses, with the standard error of :class:`Orderings`.
        """
        on_cpu = values.to("cpu", torch.float64)
        num_players = self._orderings.shape[-1]
        shape = self._orderings.shape[:-1]  # (B, n, 2)
        met = on_cpu.new_empty(*shape, num_players + 1, *values.shape[2:])
        met[:, :, :, -1] = on_cpu[:, 0, None, None]
        met[:, :, :, 0] = on_cpu[:, 1, None, None]
        met[:, :, :, 1:-1] = on_cpu[:, 2:].unflatten(1, (*shape[1:], num_players - 1))
        outputs = [1] * (values.dim() - 2)
        own = self._orderings.reshape(len(values), *outputs, *self._orderings.shape[1:])
        phi, error = _mean_of_pairs(own, met)
        return PlayerEstimate(phi, error, values[:, 0], values[:, 1], shape[1] - 1)


def sample_orderings(
    num_players: int, n_samples: int, generator: torch.Generator | None = None
) -> Orderings:
    """Draw random orderings; they depend on the seed alone, not on a batch or its device.

    Args:
        num_players: ``M``.
        n_samples: ``n``, how many orderings; each comes with its reverse.
        generator: Source of randomness; None: PyTorch's global one.

    Returns:
        The :class:`Orderings`, which meet at most ``2 n (M - 1) + 2`` coalitions.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import sample_orderings
        >>> orderings = sample_orderings(8, 3, torch.Generator().manual_seed(0))
        >>> len(orderings.coalitions) <= 2 * 3 * 7 + 2
        True
    """
    device = "cpu" if generator is None else generator.device
    noise = torch.rand(
        n_samples, num_players, generator=generator, device=device, dtype=torch.float64
    )
    return Orderings(noise.argsort(1).cpu())


def _with_reverse(orderings: Tensor) -> Tensor:
    """Put orderings ``(..., n, M)`` beside their reverses: ``(..., n, 2, M)``."""
    return torch.stack([orderings, orderings.flip(-1)], -2)


def _prefixes(orderings: Tensor) -> Tensor:
    """List the coalitions that orderings ``(..., M)`` go through, ``(..., M + 1, M)``."""
    steps = torch.arange(orderings.shape[-1] + 1, device="cpu")
    return orderings.argsort(-1)[..., None, :] < steps[:, None]


def _mean_of_pairs(orderings: Tensor, met: Tensor) -> tuple[Tensor, Tensor]:
    """Average what each player adds when it joins, and say how far that may be off.

    Args:
        orderings: ``(n, 2, M)``, or ``(B, *outputs or 1, n, 2, M)``.
        met: ``(B, n, 2, M + 1, *outputs)`` values of the prefixes.

    Returns:
        Two ``(B, *outputs, M)``: means, and standard errors over the pairs.
    """
    marginals = met.movedim((1, 2, 3), (-3, -2, -1)).diff(dim=-1)  # (B, *outputs, n, 2, M)
    index = orderings.expand_as(marginals)
    by_player = torch.empty_like(marginals).scatter_(-1, index, marginals)
    pairs = by_player.mean(-2)  # (B, *outputs, n, M)
    num_samples = pairs.shape[-2]
    phi = pairs.mean(-2)
    if num_samples == 1:
        return phi, torch.full_like(phi, math.nan)
    return phi, pairs.std(-2) / math.sqrt(num_samples)
