"""The table of all coalitions, and the Shapley values that it holds exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spectral.coalitions.estimator import Estimator, PlayerEstimate
from captum_spectral.coalitions.semivalues import check_index

__all__ = [
    "MAX_EXACT_ROWS",
    "Exact",
    "all_coalitions",
    "banzhaf_from_table",
    "check_exact",
    "shapley_from_table",
    "shapley_weights",
]

MAX_EXACT_ROWS = 2**16
_REMEDY = "pass budget (256, say, takes as many rows and gives standard errors)"


def check_exact(num_players: int, most_rows: int = MAX_EXACT_ROWS, remedy: str = _REMEDY) -> None:
    """Refuse to evaluate more coalitions than anybody wants to wait for.

    Raises:
        ValueError: Exact values of so many players need more than ``most_rows`` model rows.
    """
    if 2**num_players > most_rows:
        raise ValueError(
            f"exact values of {num_players} bands need 2^{num_players} = {2**num_players} "
            f"model rows per example, more than the limit of {most_rows}; {remedy}, or use fewer "
            "bands"
        )


class Exact(Estimator):
    """Shapley or Banzhaf values of ``M`` players from the values of all ``2^M`` coalitions.

    Args:
        num_players: ``M``.
        index: ``"shapley"`` or ``"banzhaf"``. Default: "shapley"
        most_rows: A limit that keeps from waiting for ever. Default: ``2^16``

    Raises:
        ValueError: More than ``most_rows`` coalitions, an unknown index.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import Exact
        >>> estimator = Exact(2)
        >>> estimator.estimate(torch.tensor([[0.0, 1.0, 2.0, 4.0]])).values
        tensor([[1.5000, 2.5000]], dtype=torch.float64)
    """

    def __init__(
        self, num_players: int, index: str = "shapley", most_rows: int = MAX_EXACT_ROWS
    ) -> None:
        check_index(index)
        check_exact(num_players, most_rows)
        self.coalitions = all_coalitions(num_players)
        self._from_table = shapley_from_table if index == "shapley" else banzhaf_from_table

    def estimate(self, values: Tensor) -> PlayerEstimate:
        """Return the exact values; their standard error is 0."""
        phi = self._from_table(values)
        return PlayerEstimate(phi, torch.zeros_like(phi), values[:, -1], values[:, 0])


def all_coalitions(num_players: int) -> Tensor:
    """List all coalitions of ``M`` players: row ``c`` holds ``i`` if bit ``i`` of ``c`` is set.

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


def shapley_weights(num_players: int) -> Tensor:
    r"""Return the linear map from the table of all values to the Shapley values.

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
    """Compute Shapley values from the values of all coalitions, by one matrix product in float64.

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


def banzhaf_from_table(values: Tensor) -> Tensor:
    r"""Compute Banzhaf values from the values of all coalitions, in float64.

    .. math::
        \beta_i = \frac{1}{2^{M-1}} \sum_{S \not\ni i} \big(v(S \cup i) - v(S)\big)

    Args:
        values: ``(B, 2^M, *outputs)`` in the order of :func:`all_coalitions`.

    Returns:
        ``(B, *outputs, M)`` float64 on the CPU.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import banzhaf_from_table
        >>> banzhaf_from_table(torch.tensor([[0.0, 1.0, 2.0, 4.0]]))
        tensor([[1.5000, 2.5000]], dtype=torch.float64)

    References:
        J. F. Banzhaf, *Weighted voting doesn't work*, 1965.
    """
    num_players = values.shape[1].bit_length() - 1
    table = values.to("cpu", torch.float64)
    signs = 2.0 * all_coalitions(num_players).to(torch.float64) - 1
    means: Tensor = torch.tensordot(table, signs, dims=([1], [0])) * 2.0 ** (1 - num_players)
    return means
