"""Values of players from few coalitions: the posterior mean of a Gaussian process."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.coalitions.estimator import Estimator, PlayerEstimate
from captum_spectral.coalitions.pairs import designed_pairs, odd_part, with_ends
from captum_spectral.coalitions.prior import GamePrior, prior_of, relevance_of
from captum_spectral.coalitions.semivalues import Semivalue, semivalue_of

__all__ = ["GaussianProcess"]

# Below, the errors that a choice goes by say less than it costs; above, some of them say enough.
_FEWEST_TO_CHOOSE = 31
_MOST_TO_CHOOSE = 512
_SCALES = (0.1, 0.4, 1.6, 3.2)
_NOISES = (0.003, 0.03)
_PAIRS_BEYOND_PLAYERS = 4  # that free main effects need


class Candidate(NamedTuple):
    """A prior to choose from: do players differ, L, tau, and are main effects free of it?"""

    differ: bool
    scale: float
    noise: float
    free: bool = False

    def prior(self, num_players: int, relevance: Tensor | None) -> GamePrior:
        """Return the prior of players with such a relevance ``(M,)``."""
        return prior_of(num_players, relevance if self.differ else None, self.scale, self.noise)


class GaussianProcess(Estimator):
    r"""Shapley or Banzhaf values from a budget of coalitions, and how wrong they may be.

    Games are taken for smooth functions of who is present: a Gaussian process over the coalitions,
    see :class:`~captum_spectral.coalitions.GamePrior`. With d = (v(S) - v(S^c)) / 2 of ``n`` pairs
    of coalitions and of the two ends, C its covariance and A that of the values with it,

    .. math::
        \phi = A C^{-1} d, \qquad
        \mathrm{SE}_i^2 = \sigma^2 \big(\mathrm{Var}\, \phi_i - (A C^{-1} A^\top)_{ii}\big)

    where :math:`\sigma^2` comes from the errors at pairs that are left out one at a time. From 31
    pairs on these errors also choose the prior, for every example and output: whether players
    differ, how fast interactions fade, how much is noise; and one candidate has free main effects,
    under which games of order 2 and less are exact. Shapley values sum to v(grand) - v(empty).

    Args:
        num_players: ``M``.
        num_pairs: ``n``, how many pairs of coalitions beyond the grand and the empty one.
        relevance: ``(B or 1, M)`` how much players are expected to matter, in any unit; None: all
            alike. Default: None
        index: ``"shapley"`` or ``"banzhaf"``. Default: "shapley"
        seed: Of the coalitions, any integer. Default: 0

    Attributes:
        coalitions: Boolean ``(2 n + 2, M)``: grand, empty, a coalition, its complement, ...

    The standard error is that of the model: right as far as the game looks like the prior.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import GaussianProcess
        >>> estimator = GaussianProcess(num_players=6, num_pairs=31)
        >>> weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        >>> estimate = estimator.estimate((estimator.coalitions.float() @ weights)[None])
        >>> estimate.values.round(decimals=6)
        tensor([[1., 2., 3., 4., 5., 6.]], dtype=torch.float64)

    References:
        C. E. Rasmussen, C. K. I. Williams, *Gaussian Processes for Machine Learning*, 2006, ch. 5.
    """

    def __init__(
        self,
        num_players: int,
        num_pairs: int,
        relevance: Tensor | None = None,
        index: str = "shapley",
        seed: int = 0,
    ) -> None:
        self.coalitions = with_ends(designed_pairs(num_players, num_pairs, seed))
        self._members = self.coalitions[::2]  # (n + 1, M), the grand coalition first
        self._relevance = relevance
        self._semivalue = semivalue_of(index, num_players)
        self._seed = seed

    def estimate(self, values: Tensor) -> PlayerEstimate:
        """Return the posterior means and their standard errors.

        Args:
            values: ``(B, 2 n + 2, *outputs)``, the values of ``coalitions``.
        """
        num_pairs, num_players = len(self._members) - 1, self._members.shape[1]
        relevance = relevance_of(self._relevance, len(values))
        phi, error = values_under_chosen_prior(
            odd_part(values),
            self._members,
            candidates(num_pairs, relevance is not None, num_players + _PAIRS_BEYOND_PLAYERS),
            relevance=relevance,
            posterior=partial(Posterior, semivalue=self._semivalue),
            seed=self._seed,
        )
        return PlayerEstimate(phi, error, values[:, 0], values[:, 1])


def default_candidate(differ: bool) -> Candidate:
    """Return the prior for few pairs: of players whose relevance is known, or who are alike."""
    return Candidate(differ, 1.6 if differ else 0.4, 0.03)


def candidates(num_pairs: int, differ: bool, pairs_of_free: int) -> list[Candidate]:
    """List the priors to choose from; the first is the default.

    Args:
        num_pairs: ``n``, without grand and empty coalition.
        differ: It is known how much players are expected to matter.
        pairs_of_free: From so many pairs on the main effects may be free.
    """
    default = default_candidate(differ)
    if num_pairs < _FEWEST_TO_CHOOSE:
        return [default]
    more = [
        Candidate(kind, scale, noise)
        for kind in ([False, True] if differ else [False])
        for scale in _SCALES
        for noise in _NOISES
    ]
    if num_pairs >= pairs_of_free:
        more.append(default._replace(free=True))
    return [default, *(candidate for candidate in more if candidate != default)]


def values_under_chosen_prior(
    part: Tensor,
    members: Tensor,
    priors: list[Candidate],
    relevance: Tensor | None,
    posterior: Callable[[Candidate, Tensor | None, Tensor], Kriging],
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Return values and standard errors ``(B, *outputs, V)`` of every example and output.

    Args:
        part: ``(n + 1, B, *outputs)`` the odd or even part of the pairs.
        members: ``(n + 1, M)``, the grand coalition first.
        priors: To choose from.
        relevance: ``(B or 1, M)``, or None.
        posterior: Makes the posterior of a prior, the relevance ``(M,)`` and the members.
        seed: Of the pairs to choose by, where they are many.
    """
    d = part.flatten(2) if part.dim() > 2 else part[..., None]  # (n + 1, B, O)
    choice = _chosen(d, members, priors, relevance, posterior=posterior, seed=seed)
    values: Tensor | None = None
    for c, candidate in enumerate(priors):
        for examples, own in groups(candidate, relevance, d.shape[1]):
            here = choice[examples] == c  # (b, O)
            if not here.any():
                continue
            found = torch.stack(posterior(candidate, own, members).values(d[:, examples][:, here]))
            if values is None:
                values = d.new_empty(2, *d.shape[1:], found.shape[-1])
            values[:, examples][:, here] = found
    assert values is not None
    values = values.reshape(2, *part.shape[1:], values.shape[-1])
    return values[0], values[1]


def _chosen(
    d: Tensor,
    members: Tensor,
    priors: list[Candidate],
    relevance: Tensor | None,
    posterior: Callable[[Candidate, Tensor | None, Tensor], Kriging],
    seed: int,
) -> Tensor:
    """Return the place ``(B, O)`` of the prior with the least error at pairs left out."""
    choice = torch.zeros(d.shape[1:], dtype=torch.int64)
    if len(priors) == 1:
        return choice
    if len(members) - 1 > _MOST_TO_CHOOSE:
        generator = torch.Generator("cpu").manual_seed(seed % 2**63)
        some = torch.randperm(len(members) - 1, generator=generator)[:_MOST_TO_CHOOSE] + 1
        some = torch.cat([torch.zeros(1, dtype=torch.int64), some])
        members, d = members[some], d[some]
    least = torch.full(d.shape[1:], math.inf, dtype=torch.float64)
    for c, candidate in enumerate(priors):
        for examples, own in groups(candidate, relevance, d.shape[1]):
            left_out = posterior(candidate, own, members).left_out(d[:, examples].flatten(1))
            score = left_out[0].reshape(-1, d.shape[2])
            better = score < least[examples]
            least[examples] = torch.where(better, score, least[examples])
            choice[examples] = torch.where(better, c, choice[examples])
    return choice


class Kriging(ABC):
    """A posterior under one prior: a linear map of the values at pairs.

    Args:
        matrix: ``(n + 1, n + 1)`` the covariance of the values, of grand and empty coalition first.
        basis: ``(n + 1, E)`` functions whose coefficients are free of the prior, or None.
    """

    def __init__(self, matrix: Tensor, basis: Tensor | None) -> None:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
        self._plain = self._inverse = inverse
        self._basis = basis
        if basis is not None:
            # Universal kriging: the part that the basis explains is taken out.
            weighted = inverse @ basis
            self._spread = torch.linalg.inv(basis.T @ weighted)
            self._effects = self._spread @ weighted.T
            self._inverse = inverse - weighted @ self._effects

    def left_out(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error at inner pairs left out, and the variance, ``(C,)`` each.

        Args:
            d: ``(n + 1, C)``.
        """
        own = self._inverse.diagonal()[1:, None].clamp(min=torch.finfo(torch.float64).tiny)
        errors = (self._inverse @ d)[1:] / own
        return errors.square().mean(0), (errors.square() * own).mean(0)

    @abstractmethod
    def values(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values that are asked for and their standard errors, ``(C, V)`` each."""

    def _predicted(
        self, d: Tensor, covariance: Tensor, variance: Tensor, of_basis: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return posterior means and standard errors.

        Args:
            d: ``(n + 1, C)``.
            covariance: ``(n + 1, V)`` of ``d`` with what is asked for.
            variance: ``(V,)`` of it, before anything is known.
            of_basis: ``(V, E)``, of the functions of the basis.
        """
        weights = covariance.T @ self._inverse
        plain = covariance.T @ self._plain
        variance = variance - (plain * covariance.T).sum(1)
        if self._basis is not None:
            assert of_basis is not None
            weights = weights + of_basis @ self._effects
            beyond = of_basis - plain @ self._basis
            variance = variance + ((beyond @ self._spread) * beyond).sum(1)
        scale = self.left_out(d)[1]
        return (weights @ d).T, (scale[:, None] * variance.clamp(min=0)).sqrt()


class Posterior(Kriging):
    """The posterior of the values of players, given the odd part of pairs, under one prior.

    Args:
        candidate: The prior.
        relevance: ``(M,)``, or None for players that are all alike.
        members: ``(n + 1, M)``, the grand coalition first.
        semivalue: Of what.
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
        signs = 2.0 * members.to(torch.float64) - 1 if candidate.free else None  # (n + 1, M)
        super().__init__(odd_matrix(self._prior, members), signs)

    def values(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values of the players and their standard errors, ``(C, M)`` each."""
        covariance = self._prior.odd_covariance(self._members, self._semivalue)  # (n + 1, M)
        variance = self._prior.variance(self._semivalue)
        of_signs = 2 * torch.eye(len(variance), dtype=torch.float64)
        return self._predicted(d, covariance, variance, of_signs)


def odd_matrix(prior: GamePrior, members: Tensor) -> Tensor:
    """Return the covariance ``(n + 1, n + 1)`` of d, the grand coalition first."""
    noise = torch.full((len(members),), prior.noise, dtype=torch.float64)
    noise[0] = 0.0
    return prior.odd_kernel(members, members) + noise.diag()


def groups(
    candidate: Candidate, relevance: Tensor | None, num_examples: int
) -> list[tuple[slice, Tensor | None]]:
    """Divide the examples into those that share a prior, each with its relevance ``(M,)``."""
    if not candidate.differ or relevance is None:
        return [(slice(0, num_examples), None)]
    if len(relevance) == 1:
        return [(slice(0, num_examples), relevance[0])]
    return [(slice(b, b + 1), relevance[b]) for b in range(num_examples)]
