r"""Expectations of a game before any of its values is known.

Games of networks are smooth: coalitions that differ in few players have similar values. In units of
an unknown variance, with h the players in which S and T differ,

.. math::
    \mathrm{Cov}(v(S), v(T)) = \frac{1}{L} \prod_{i \in h} \rho_i
        + 2 \tau\, 1[S = T,\ \text{neither empty nor grand}], \qquad
    \rho_i = \frac{1 - \lambda_i}{1 + \lambda_i}

A Walsh coefficient of the players in T then has a variance proportional to the product of their
:math:`\lambda`: all orders are there, and fade. :math:`\tau` is for what no smooth game explains.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.coalitions.semivalues import Semivalue

__all__ = ["GamePrior", "prior_of", "relevance_of"]

_LARGEST = 0.9  # lambda: beyond, one player would leave nothing to the others
_SMALLEST = 0.01  # of the mean lambda


class GamePrior(NamedTuple):
    r"""A Gaussian process over the coalitions of ``M`` players.

    Args:
        lambdas: ``(M,)`` float64 in [0, 1): how far the value may turn on each player. A player of
            0 changes nothing but by the noise.
        scale: ``L``, about the sum of the lambdas.
        noise: ``tau``.
    """

    lambdas: Tensor
    scale: float
    noise: float

    @property
    def rho(self) -> Tensor:
        """The correlation of two coalitions that differ in one player, ``(M,)``."""
        return (1 - self.lambdas) / (1 + self.lambdas)

    # ---------------------------------------------------------------- coalitions with coalitions

    def odd_kernel(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the covariance of the smooth parts of d, ``(a, b)``, of coalitions ``(., M)``."""
        same, opposite = self._kernels(first, second)
        return (same - opposite) / 2

    def even_kernel(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the covariance of the smooth parts of e, ``(a, b)``, of coalitions ``(., M)``."""
        same, opposite = self._kernels(first, second)
        return (same + opposite) / 2

    def _kernels(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return k(S, T) and k(S, T^c)."""
        log = self.rho.log()
        a, b = (2.0 * members.to(torch.float64) - 1 for members in (first, second))
        half = log.sum() / 2
        agreement = (a * log) @ b.T / 2  # half the log of those alike less that of the others
        return (half - agreement).exp() / self.scale, (half + agreement).exp() / self.scale

    # -------------------------------------------------------------------- values with coalitions

    def odd_covariance(self, members: Tensor, semivalue: Semivalue, smooth: bool = False) -> Tensor:
        r"""Return the covariances of the values of players with d, ``(n, M)``.

        .. math::
            A_i(T) = \frac{1}{L}\, \mathbb{E}_t \big[(\kappa_i(1, T_i) - \kappa_i(0, T_i))
                \prod_{j \ne i} (t\, \kappa_j(1, T_j) + (1 - t)\, \kappa_j(0, T_j)) \big]
                + \tau\, w_i(T)

        Args:
            members: ``(n, M)``, with or without the grand coalition.
            semivalue: Of what.
            smooth: Leave out the noise. Default: False
        """
        present, absent = self.correlations(semivalue.nodes)  # (Q, M) each
        weighted = self.products(members, semivalue)  # (n, Q)
        sign = torch.where(members, weighted @ (1 / present), -(weighted @ (1 / absent)))
        covariance = (1 - self.rho) * sign / self.scale
        if not smooth:
            weights = semivalue.of_pairs(members)
            weights[members.all(1)] = 0.0  # whose value is known without noise
            covariance = covariance + self.noise * weights
        return covariance

    def variance(self, semivalue: Semivalue) -> Tensor:
        r"""Return the variances of the values of players, ``(M,)``.

        .. math::
            \frac{2 (1 - \rho_i)}{L}\, \mathbb{E}_{t, u}
                \prod_{j \ne i} \big(1 - (1 - \rho_j)(t + u - 2 t u)\big) + \tau \sum_{pairs} w_i^2
        """
        factors, product = self.factors_of_two(semivalue)  # (Q Q, M), (Q Q,)
        smooth = 2 * (1 - self.rho) / self.scale * (product @ (1 / factors))
        num_players = len(self.lambdas)
        sizes = torch.arange(1, num_players, dtype=torch.float64)
        # Of the coalitions with i, one of each pair; log of binomials, for there may be many.
        log_counts = _log_comb(num_players - 1, sizes - 1)
        weights = 2 * semivalue.by_size[1:num_players]
        return smooth + self.noise * (log_counts.exp() * weights.square()).sum()

    # ---------------------------------------------------------------------------------- pieces

    def correlations(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of players that are in T, and of those that are not, ``(Q, M)`` each.

        They are the correlation of a player of T with one that is there with probability ``t``.
        """
        t = nodes[:, None]
        return t + (1 - t) * self.rho, t * self.rho + (1 - t)

    def products(self, members: Tensor, semivalue: Semivalue) -> Tensor:
        """Return the products of the factors of all players, times node weights, ``(n, Q)``."""
        present, absent = self.correlations(semivalue.nodes)
        inside = members.to(torch.float64)
        log: Tensor = inside @ present.log().T + (1 - inside) @ absent.log().T
        return log.exp() * semivalue.node_weights

    def factors_of_two(self, semivalue: Semivalue) -> tuple[Tensor, Tensor]:
        """Return the correlation of each player between two random coalitions, ``(Q Q, M)``.

        With it the products of all players, times node weights, ``(Q Q,)``.
        """
        t, u = semivalue.nodes[:, None], semivalue.nodes
        apart = (t + u - 2 * t * u).flatten()
        factors = 1 - apart[:, None] * (1 - self.rho)
        node_weights = semivalue.node_weights[:, None] * semivalue.node_weights
        return factors, factors.log().sum(1).exp() * node_weights.flatten()


def prior_of(num_players: int, relevance: Tensor | None, scale: float, noise: float) -> GamePrior:
    r"""Return the prior whose lambdas are proportional to the relevance of players.

    .. math::
        \lambda_i = \mathrm{clip}\Big(L \frac{s_i}{\sum_j s_j},\ 0.01 \frac{L}{M},\ 0.9\Big)

    Args:
        num_players: ``M``.
        relevance: ``s``, ``(M,)`` and not negative; None: all alike.
        scale: ``L``.
        noise: ``tau``.
    """
    if relevance is None:
        relevance = torch.ones(num_players, dtype=torch.float64)
    total = relevance.sum()
    shares = relevance / total if total > 0 else torch.full_like(relevance, 1 / num_players)
    return GamePrior(
        (scale * shares).clamp(_SMALLEST * scale / num_players, _LARGEST), scale, noise
    )


def relevance_of(relevance: Tensor | None, num_examples: int) -> Tensor | None:
    """Return the relevance for values of so many examples.

    A function that gives one number for a whole batch makes one game of all of its examples.
    """
    if relevance is None or len(relevance) == 1 or len(relevance) == num_examples:
        return relevance
    return relevance.mean(0, keepdim=True)


def _log_comb(n: int, k: Tensor) -> Tensor:
    total = torch.tensor(float(n + 1), dtype=torch.float64)
    return total.lgamma() - (k + 1).lgamma() - (n - k + 1).lgamma()
