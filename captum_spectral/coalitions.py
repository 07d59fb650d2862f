"""Which coalitions to evaluate, and how their values become Shapley values.

No images and no model in this file: a coalition is a row of booleans over ``M`` players, a value is
whatever number the game gave it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "MAX_EXACT_ROWS",
    "Orderings",
    "OwnOrderings",
    "all_coalitions",
    "among_all",
    "check_exact",
    "sample_orderings",
    "shapley_from_table",
    "shapley_weights",
]

MAX_EXACT_ROWS = 2**16


def check_exact(num_players: int) -> None:
    """Refuse to evaluate more coalitions than anybody wants to wait for.

    Raises:
        ValueError: Exact values of so many players need more than ``MAX_EXACT_ROWS`` model rows.
    """
    if 2**num_players > MAX_EXACT_ROWS:
        rows = 2 * 32 * (num_players - 1) + 2
        raise ValueError(
            f"exact values of {num_players} bands need 2^{num_players} = {2**num_players} "
            f"model rows per example, more than the limit of {MAX_EXACT_ROWS}; pass n_samples "
            f"(32, say, takes at most {rows} rows and gives standard errors) or use fewer bands"
        )


def all_coalitions(num_players: int) -> Tensor:
    """All coalitions of ``M`` players: row ``c`` holds player ``i`` if bit ``i`` of ``c`` is set.

    Args:
        num_players: ``M``.

    Returns:
        ``(2^M, M)`` boolean tensor; the first row is empty, the last is the grand coalition.

    Example::

        >>> from captum_spectral.coalitions import all_coalitions
        >>> all_coalitions(2).tolist()
        [[False, False], [True, False], [False, True], [True, True]]
    """
    codes = torch.arange(2**num_players, device="cpu")
    return (codes[:, None] >> torch.arange(num_players, device="cpu")) & 1 == 1


def among_all(x: Tensor, players: Tensor, size: int) -> Tensor:
    """What the ``players (P,)`` have, ``(..., P)``, among all ids ``(..., size)``; 0 for others.

    For bands without any frequency: they do not play, and are worth nothing.
    """
    return x.new_zeros(*x.shape[:-1], size).index_copy(-1, players.to(x.device), x)


def shapley_weights(num_players: int) -> Tensor:
    r"""The linear map from the table of all values to the Shapley values.

    .. math::
        \phi_i = \sum_{S \not\ni i} \frac{1}{M \binom{M-1}{|S|}} \big(v(S \cup i) - v(S)\big)

    is linear in the :math:`2^M` values: column :math:`T` of the map holds
    :math:`+1/(M\binom{M-1}{|T|-1})` for the players in :math:`T` and
    :math:`-1/(M\binom{M-1}{|T|})` for the others.

    Args:
        num_players: ``M``.

    Returns:
        ``(M, 2^M)`` float64 tensor, columns in the order of :func:`all_coalitions`.

    Example::

        >>> from captum_spectral.coalitions import shapley_weights
        >>> shapley_weights(2)
        tensor([[-0.5000,  0.5000, -0.5000,  0.5000],
                [-0.5000, -0.5000,  0.5000,  0.5000]], dtype=torch.float64)

    References:
        L. S. Shapley, *A value for n-person games*, 1953.
    """
    members = all_coalitions(num_players)
    by_size = torch.tensor(
        [1 / (num_players * math.comb(num_players - 1, s)) for s in range(num_players)]
        + [0.0],  # nobody is outside the grand coalition
        dtype=torch.float64,
        device="cpu",
    )
    size = members.sum(1)
    joined = by_size[(size - 1).clamp(min=0)]
    missed = by_size[size]
    return torch.where(members, joined[:, None], -missed[:, None]).T.contiguous()


def shapley_from_table(values: Tensor) -> Tensor:
    """Shapley values from the values of all coalitions, one matrix product in float64.

    Args:
        values: ``(B, 2^M, *outputs)`` in the order of :func:`all_coalitions`.

    Returns:
        ``(B, *outputs, M)`` float64 on the CPU.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import shapley_from_table
        >>> shapley_from_table(torch.tensor([[0.0, 1.0, 2.0, 4.0]]))
        tensor([[1.5000, 2.5000]], dtype=torch.float64)
    """
    num_players = values.shape[1].bit_length() - 1
    table = values.to("cpu", torch.float64)
    phi: Tensor = torch.tensordot(table, shapley_weights(num_players), dims=([1], [1]))
    return phi


class Orderings:
    """Random orderings of the players, each with its reverse, and the coalitions they meet.

    A player's marginal contribution in an ordering is the value of the players up to it less the
    value of those before it. Its mean over an ordering and the reverse is one unbiased estimate of
    the Shapley value; the pairs are independent, so their spread gives the standard error.

    Attributes:
        coalitions: ``(K, M)`` boolean, all coalitions that the orderings meet, each once.
        num_samples: ``n``, how many pairs.
    """

    def __init__(self, orderings: Tensor) -> None:
        """Collect the coalitions of ``orderings`` (n, M) int64 and of their reverses."""
        self.num_samples, self._num_players = orderings.shape
        self._orderings = _with_reverse(orderings)  # (n, 2, M)
        prefixes = _prefixes(self._orderings)  # (n, 2, M + 1, M)
        self.coalitions, index = prefixes.reshape(-1, self._num_players).unique(
            dim=0, return_inverse=True
        )
        self._index = index.reshape(*prefixes.shape[:-1])

    def shapley(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Estimated Shapley values and their standard errors.

        Once the orderings have met all 2^M coalitions the table is complete, so the exact values
        are there at no cost: they are returned, with the standard error 0.

        Args:
            values: ``(B, K, *outputs)``, the values of ``coalitions``.

        Returns:
            Two ``(B, *outputs, M)`` float64 tensors on the CPU. The standard error is the sample
            standard deviation over the ``n`` pairs (``n - 1`` in the denominator) over
            ``sqrt(n)``; NaN for a single pair.
        """
        if len(self.coalitions) == 2**self._num_players:
            place = (self.coalitions.long() << torch.arange(self._num_players, device="cpu")).sum(1)
            phi = shapley_from_table(values[:, place.argsort().to(values.device)])
            return phi, torch.zeros_like(phi)
        met = values.to("cpu", torch.float64)[:, self._index]  # (B, n, 2, M + 1, *outputs)
        met = met.movedim((1, 2, 3), (-3, -2, -1))
        pairs = _by_player(self._orderings, met).mean(-2)  # (B, *outputs, n, M)
        phi = pairs.mean(-2)
        error = torch.full_like(phi, math.nan)
        if self.num_samples > 1:
            error = pairs.std(-2) / math.sqrt(self.num_samples)
        return phi, error


class OwnOrderings:
    """Random orderings of the players for every example of a batch, each with its reverse.

    For the mean over a data set: examples that meet other coalitions than their neighbours say more
    together than examples that all meet the same ones.

    Attributes:
        coalitions: ``(B, 2 n (M - 1) + 2, M)`` boolean; the first is the grand coalition, the
            second is empty.
    """

    def __init__(self, orderings: Tensor) -> None:
        """Collect the coalitions of ``orderings`` (B, n, M) int64 and of their reverses."""
        self._orderings = _with_reverse(orderings)  # (B, n, 2, M)
        inner = _prefixes(self._orderings)[..., 1:-1, :].flatten(1, 3)
        ends = torch.tensor([[True], [False]], device="cpu")
        ends = ends.expand(len(orderings), 2, orderings.shape[-1])
        self.coalitions = torch.cat([ends, inner], 1)

    def shapley(self, values: Tensor) -> Tensor:
        """Unbiased estimates of the Shapley values of every example.

        Args:
            values: ``(B, 2 n (M - 1) + 2)``, the values of ``coalitions``.

        Returns:
            ``(B, M)`` float64 tensor on the CPU, the mean over orderings and reverses.
        """
        values = values.to("cpu", torch.float64)
        met = values.new_empty(*self._orderings.shape[:-1], self._orderings.shape[-1] + 1)
        met[..., -1] = values[:, 0, None, None]
        met[..., 0] = values[:, 1, None, None]
        met[..., 1:-1] = values[:, 2:].unflatten(1, met[..., 1:-1].shape[1:])
        return _by_player(self._orderings, met).mean((1, 2))


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
    """``(..., n, M)`` orderings with their reverses, ``(..., n, 2, M)``."""
    return torch.stack([orderings, orderings.flip(-1)], -2)


def _prefixes(orderings: Tensor) -> Tensor:
    """The coalitions that orderings ``(..., M)`` go through, from empty to grand."""
    steps = torch.arange(orderings.shape[-1] + 1, device="cpu")
    return orderings.argsort(-1)[..., None, :] < steps[:, None]


def _by_player(orderings: Tensor, met: Tensor) -> Tensor:
    """What each player adds when it joins, from the values ``(..., M + 1)`` of the prefixes."""
    marginals = met.diff(dim=-1)
    return torch.empty_like(marginals).scatter_(-1, orderings.expand_as(marginals), marginals)
