"""Interactions of two players from few coalitions, and from all."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from captum_spectral.coalitions.estimator import Estimator, PlayerEstimate
from captum_spectral.coalitions.exact import MAX_EXACT_ROWS, all_coalitions, check_exact
from captum_spectral.coalitions.gaussian_process import (
    Candidate,
    GaussianProcess,
    Kriging,
    candidates,
    values_under_chosen_prior,
)
from captum_spectral.coalitions.indices import interactions_from_table
from captum_spectral.coalitions.pairs import even_part
from captum_spectral.coalitions.prior import GamePrior, relevance_of
from captum_spectral.coalitions.semivalues import Semivalue, semivalue_of

__all__ = ["ExactInteractions", "PairInteractions"]

# Products of two players that may be free of the prior need so many pairs beyond their number.
_PAIRS_BEYOND_PRODUCTS = 4


class ExactInteractions(Estimator):
    """Interactions from the values of all ``2^M`` coalitions.

    Args:
        num_players: ``M``.
        index: One of :data:`~captum_spectral.coalitions.INDICES`. Default: "k-SII"
        order: 1 to 3. Default: 2
        most_rows: A limit that keeps from waiting for ever. Default: ``2^16``

    Raises:
        ValueError: More than ``most_rows`` coalitions.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import ExactInteractions
        >>> ExactInteractions(2).estimate(torch.tensor([[0.0, 1.0, 2.0, 4.0]])).values
        tensor([[1., 2., 1.]], dtype=torch.float64)
    """

    def __init__(
        self,
        num_players: int,
        index: str = "k-SII",
        order: int = 2,
        most_rows: int = MAX_EXACT_ROWS,
    ) -> None:
        check_exact(num_players, most_rows)
        self.coalitions = all_coalitions(num_players)
        self._index, self._order = index, order

    def estimate(self, values: Tensor) -> PlayerEstimate:
        """Return the exact interactions ``(B, *outputs, S)``; their standard error is 0."""
        found = interactions_from_table(values, self._index, self._order)
        return PlayerEstimate(found, torch.zeros_like(found), values[:, -1], values[:, 0])


class PairInteractions(Estimator):
    r"""Interactions of two players from a budget of coalitions, and how wrong they may be.

    The coalitions are those of :class:`~captum_spectral.coalitions.GaussianProcess`. Single players
    rest on the odd part of a game, pairs of players on its even part e = (v(S) + v(S^c)) / 2: with
    C the covariance of e under the prior, A that of the interactions with it, and a free constant,

    .. math:: \mathrm{SII} = A C^{-1} e

    Standard errors are scaled by the errors at pairs that are left out one at a time, which from 31
    pairs on also choose the prior. With ``M (M - 1) / 2 + 4`` pairs or more the products of two
    players may be free of it, under which games of order 2 and less are exact. In k-SII,
    :math:`\phi_i - \tfrac12 \sum_j \mathrm{SII}_{ij}` is the value of a single player; its two
    terms are independent under the prior.

    Args:
        num_players: ``M``, at least 3.
        num_pairs: ``n``, how many pairs of coalitions beyond the grand and the empty one.
        relevance: ``(B or 1, M)`` how much players are expected to matter, in any unit; None: all
            alike. Default: None
        index: ``"k-SII"``, ``"SII"`` or ``"BII"``. Default: "k-SII"
        seed: Of the coalitions, any integer. Default: 0

    Attributes:
        coalitions: Boolean ``(2 n + 2, M)``: grand, empty, a coalition, its complement, ...

    Below about 20 rows per player interactions are not resolved, and the standard errors show it.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import PairInteractions
        >>> estimator = PairInteractions(num_players=7, num_pairs=31)
        >>> members = estimator.coalitions.double()
        >>> game = members.sum(1) + 3 * members[:, 0] * members[:, 1]
        >>> found = estimator.estimate(game[None]).values[0]
        >>> [round(float(value), 1) for value in found[7:9].abs()]  # of 0 with 1, and with 2
        [3.0, 0.0]

    References:
        M. Grabisch, M. Roubens, *An axiomatic approach to the concept of interaction among players
        in cooperative games*, 1999. C. E. Rasmussen, C. K. I. Williams, *Gaussian Processes for
        Machine Learning*, 2006, ch. 2.7 and 5.
    """

    def __init__(
        self,
        num_players: int,
        num_pairs: int,
        relevance: Tensor | None = None,
        index: str = "k-SII",
        seed: int = 0,
    ) -> None:
        semivalue = "banzhaf" if index == "BII" else "shapley"
        self._singles = GaussianProcess(num_players, num_pairs, relevance, semivalue, seed)
        self.coalitions = self._singles.coalitions
        self._relevance, self._index, self._seed = relevance, index, seed
        self._semivalue = semivalue_of(semivalue, num_players)

    def estimate(self, values: Tensor) -> PlayerEstimate:
        """Return the posterior means ``(B, *outputs, S)`` of order 2 and their standard errors.

        Args:
            values: ``(B, 2 n + 2, *outputs)``, the values of ``coalitions``.
        """
        singles = self._singles.estimate(values)
        members = self.coalitions[::2]
        num_pairs, num_players = len(members) - 1, members.shape[1]
        products = num_players * (num_players - 1) // 2
        relevance = relevance_of(self._relevance, len(values))
        found, error = values_under_chosen_prior(
            even_part(values),
            members,
            candidates(num_pairs, relevance is not None, products + _PAIRS_BEYOND_PRODUCTS),
            relevance=relevance,
            posterior=partial(EvenPosterior, semivalue=self._semivalue),
            seed=self._seed,
        )
        of_one, error_of_one = singles.values, singles.standard_error
        if self._index == "k-SII":
            of_one = of_one - found[..., products:] / 2
            error_of_one = (error_of_one.square() + error[..., products:].square() / 4).sqrt()
        return singles._replace(
            values=torch.cat([of_one, found[..., :products]], -1),
            standard_error=torch.cat([error_of_one, error[..., :products]], -1),
        )


class EvenPosterior(Kriging):
    """The posterior of interactions of two players, given the even part, under one prior.

    Its values are the interactions of the ``M (M - 1) / 2`` pairs of players, followed by the sums
    of the interactions of each of the ``M`` players.

    Args:
        candidate: The prior.
        relevance: ``(M,)``, or None for players that are all alike.
        members: ``(n + 1, M)``, the grand coalition first.
        semivalue: Whose average over coalitions.
    """

    def __init__(
        self,
        candidate: Candidate,
        relevance: Tensor | None,
        members: Tensor,
        semivalue: Semivalue,
    ) -> None:
        self._prior = candidate.prior(members.shape[1], relevance)
        self._members, self._semivalue = members, semivalue
        self._first, self._second = torch.triu_indices(members.shape[1], members.shape[1], 1)
        noise = torch.full((len(members),), self._prior.noise, dtype=torch.float64)
        noise[0] = 0.0
        basis = torch.ones(len(members), 1, dtype=torch.float64)
        if candidate.free:
            signs = 2.0 * members.to(torch.float64) - 1
            basis = torch.cat([basis, signs[:, self._first] * signs[:, self._second]], 1)
        super().__init__(self._prior.even_kernel(members, members) + noise.diag(), basis)

    def values(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return the interactions and their sums, and the standard errors, ``(C, V)`` each."""
        covariance = self._with_sums(_even_covariance(self._prior, self._members, self._semivalue))
        variance = _even_variance(self._prior, self._semivalue)
        assert self._basis is not None
        of_basis = torch.zeros(len(variance), self._basis.shape[1], dtype=torch.float64)
        if self._basis.shape[1] > 1:
            # The product of two signs has the interaction 4.
            of_basis[:, 1:] = self._with_sums(
                4 * torch.eye(len(self._first), dtype=torch.float64)
            ).T
        return self._predicted(d, covariance, variance, of_basis)

    def _with_sums(self, x: Tensor) -> Tensor:
        """Append to what pairs of players have, ``(n, S)``, the sums over those of each player."""
        sums = x.new_zeros(len(x), self._members.shape[1])
        sums.index_add_(1, self._first, x).index_add_(1, self._second, x)
        return torch.cat([x, sums], 1)


def _even_covariance(prior: GamePrior, members: Tensor, semivalue: Semivalue) -> Tensor:
    r"""Return the covariances of interactions with e, ``(n, M (M - 1) / 2)``.

    .. math::
        A_{ij}(T) = \frac{1}{L}\, \mathbb{E}_t \big[\pm (1 - \rho_i)(1 - \rho_j)
            \prod_{l \ne i, j} (t\, \kappa_l(1, T_l) + (1 - t)\, \kappa_l(0, T_l)) \big]
            + \tau\, w_{ij}(T)

    with + where T holds both or neither. The complement has the same, for the nodes are symmetric.
    """
    first, second = torch.triu_indices(members.shape[1], members.shape[1], 1)
    present, absent = prior.correlations(semivalue.nodes)  # (Q, M) each
    product = prior.products(members, semivalue)  # (n, Q)
    has_first, has_second = members[:, first], members[:, second]
    covariance = torch.zeros(has_first.shape, dtype=torch.float64)
    for in_first, a in ((True, 1 / present), (False, 1 / absent)):
        for in_second, b in ((True, 1 / present), (False, 1 / absent)):
            case = (has_first == in_first) & (has_second == in_second)
            side = 1.0 if in_first == in_second else -1.0
            others = product @ (a[:, first] * b[:, second])
            covariance = torch.where(case, side * others, covariance)
    step = 1 - prior.rho
    covariance = covariance * step[first] * step[second] / prior.scale
    num_others = members.sum(1)[:, None] - has_first.long() - has_second.long()
    sign = torch.where(has_first == has_second, 2.0, -2.0).to(torch.float64)
    weights = sign * semivalue.by_size_of_two[num_others]
    weights[members.all(1)] = 0.0  # whose value is known without noise
    return covariance + prior.noise * weights


def _even_variance(prior: GamePrior, semivalue: Semivalue) -> Tensor:
    r"""Return the variances of interactions, and of their sums over those of each player.

    With :math:`F_l = 1 - (1 - \rho_l)(t + u - 2tu)` and :math:`y_l = (1 - \rho_l) / F_l`,

    .. math::
        \mathrm{Cov}(I_{ij}, I_{ij}) &= \frac{4}{L}\, \mathbb{E}_{t,u}\big[ y_i y_j \prod_l F_l
            \big] \\
        \mathrm{Cov}(I_{ij}, I_{il}) &= \frac{2}{L}\, \mathbb{E}_{t,u}\big[ (2t - 1)(2u - 1)\,
            y_i y_j y_l \prod_l F_l \big]

    and the noise of the pairs of coalitions, times the squares of their weights.
    """
    num_players = len(prior.lambdas)
    t, u = semivalue.nodes[:, None], semivalue.nodes
    turned = ((2 * t - 1) * (2 * u - 1)).flatten()[:, None]
    step = 1 - prior.rho
    factors, product = prior.factors_of_two(semivalue)
    product = product[:, None]
    y = step / factors
    first, second = torch.triu_indices(num_players, num_players, 1)
    of_two = 4 / prior.scale * ((product * y).T @ y)[first, second]
    others = y.sum(1, keepdim=True) - y
    crossed = others.square() - (y.square().sum(1, keepdim=True) - y.square())
    of_sums = 2 / prior.scale * (product * y * (2 * others + turned * crossed)).sum(0)
    noise_of_two, noise_of_sums = _weights_squared(num_players, semivalue)
    return torch.cat([of_two + prior.noise * noise_of_two, of_sums + prior.noise * noise_of_sums])


def _weights_squared(num_players: int, semivalue: Semivalue) -> tuple[float, float]:
    """Sum the squared weights of all inner pairs of coalitions, in an interaction and in a sum."""
    weights = [2 * float(w) for w in semivalue.by_size_of_two]
    of_two = (
        sum(2 * math.comb(num_players - 2, k) * w**2 for k, w in enumerate(weights))
        - weights[0] ** 2
    )  # of grand and empty coalition
    of_sums = 0.0
    for s in range(1, num_players):  # of the coalitions with the player, one of each pair
        both = (s - 1) * weights[s - 2] if s > 1 else 0.0
        apart = (num_players - s) * weights[s - 1]
        of_sums += math.comb(num_players - 1, s - 1) * (both - apart) ** 2
    return of_two, of_sums
