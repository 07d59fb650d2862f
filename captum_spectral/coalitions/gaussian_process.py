"""Values of players from few coalitions: the posterior mean of a Gaussian process."""

from __future__ import annotations

import math
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
_DEFAULT_NOISE = 0.03
_PAIRS_BEYOND_PLAYERS = 4  # that free main effects need


class Candidate(NamedTuple):
    """A prior to choose from: do players differ, L, tau, and are main effects free of it?"""

    differ: bool
    scale: float
    noise: float
    free: bool = False


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
        odd = odd_part(values)
        d = odd.flatten(2) if odd.dim() > 2 else odd[..., None]  # (n + 1, B, O)
        relevance = relevance_of(self._relevance, len(values))
        choice = self._chosen(d, relevance)
        phi = d.new_empty(*d.shape[1:], self._members.shape[1])
        error = torch.empty_like(phi)
        for c, candidate in enumerate(self._candidates()):
            for examples, own in _groups(candidate, relevance, d.shape[1]):
                here = choice[examples] == c  # (b, O)
                if not here.any():
                    continue
                posterior = Posterior(candidate, own, self._members, self._semivalue)
                found, errors = posterior.values(d[:, examples][:, here])
                for out, part in ((phi, found), (error, errors)):
                    rows = out[examples]
                    rows[here] = part
                    out[examples] = rows
        shape = (*odd.shape[1:], phi.shape[-1])
        return PlayerEstimate(phi.reshape(shape), error.reshape(shape), values[:, 0], values[:, 1])

    def _candidates(self) -> list[Candidate]:
        """List the priors; the first is the default."""
        differ = self._relevance is not None
        default = Candidate(differ, 1.6 if differ else 0.4, _DEFAULT_NOISE)
        num_pairs, num_players = len(self._members) - 1, self._members.shape[1]
        if num_pairs < _FEWEST_TO_CHOOSE:
            return [default]
        more = [
            Candidate(kind, scale, noise)
            for kind in ([False, True] if differ else [False])
            for scale in _SCALES
            for noise in _NOISES
        ]
        if num_pairs >= num_players + _PAIRS_BEYOND_PLAYERS:
            more.append(default._replace(free=True))
        return [default, *(candidate for candidate in more if candidate != default)]

    def _chosen(self, d: Tensor, relevance: Tensor | None) -> Tensor:
        """Return the place ``(B, O)`` of the prior with the least error at pairs left out."""
        choice = torch.zeros(d.shape[1:], dtype=torch.int64)
        candidates = self._candidates()
        if len(candidates) == 1:
            return choice
        members = self._members
        if len(members) - 1 > _MOST_TO_CHOOSE:
            generator = torch.Generator("cpu").manual_seed(self._seed % 2**63)
            some = torch.randperm(len(members) - 1, generator=generator)[:_MOST_TO_CHOOSE] + 1
            some = torch.cat([torch.zeros(1, dtype=torch.int64), some])
            members, d = members[some], d[some]
        least = torch.full(d.shape[1:], math.inf, dtype=torch.float64)
        for c, candidate in enumerate(candidates):
            for examples, own in _groups(candidate, relevance, d.shape[1]):
                posterior = Posterior(candidate, own, members, self._semivalue)
                score = posterior.left_out(d[:, examples].flatten(1))[0]
                score = score.reshape(-1, d.shape[2])
                better = score < least[examples]
                least[examples] = torch.where(better, score, least[examples])
                choice[examples] = torch.where(better, c, choice[examples])
        return choice


class Posterior:
    """The linear map from values of pairs to what they say under one prior.

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
        num_players = members.shape[1]
        self._prior = prior_of(
            num_players, relevance if candidate.differ else None, candidate.scale, candidate.noise
        )
        self._members, self._semivalue = members, semivalue
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(odd_matrix(self._prior, members)))
        self._inverse, self._free = inverse, None
        if candidate.free:
            # Universal kriging: the part of d that main effects explain is taken out.
            signs = 2.0 * members.to(torch.float64) - 1  # (n + 1, M)
            weighted = inverse @ signs
            spread = torch.linalg.inv(signs.T @ weighted)
            self._free = signs, spread, spread @ weighted.T
            self._inverse = inverse - weighted @ spread @ weighted.T
        self._plain = inverse

    def left_out(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error at inner pairs left out, and the variance, ``(C,)`` each.

        Args:
            d: ``(n + 1, C)``.
        """
        own = self._inverse.diagonal()[1:, None].clamp(min=torch.finfo(torch.float64).tiny)
        errors = (self._inverse @ d)[1:] / own
        return errors.square().mean(0), (errors.square() * own).mean(0)

    def values(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values of the players and their standard errors, ``(C, M)`` each."""
        covariance = self._prior.odd_covariance(self._members, self._semivalue)  # (n + 1, M)
        weights = covariance.T @ self._inverse
        plain = covariance.T @ self._plain
        variance = self._prior.variance(self._semivalue) - (plain * covariance.T).sum(1)
        if self._free is not None:
            signs, spread, effects = self._free
            weights = weights + 2 * effects
            beyond = 2 * torch.eye(len(spread), dtype=torch.float64) - plain @ signs
            variance = variance + (beyond @ spread * beyond).sum(1)
        scale = self.left_out(d)[1]
        return (weights @ d).T, (scale[:, None] * variance.clamp(min=0)).sqrt()


def odd_matrix(prior: GamePrior, members: Tensor) -> Tensor:
    """Return the covariance ``(n + 1, n + 1)`` of d, the grand coalition first."""
    noise = torch.full((len(members),), prior.noise, dtype=torch.float64)
    noise[0] = 0.0
    return prior.odd_kernel(members, members) + noise.diag()


def _groups(
    candidate: Candidate, relevance: Tensor | None, num_examples: int
) -> list[tuple[slice, Tensor | None]]:
    """Divide the examples into those that share a prior, each with its relevance ``(M,)``."""
    if not candidate.differ or relevance is None:
        return [(slice(0, num_examples), None)]
    if len(relevance) == 1:
        return [(slice(0, num_examples), relevance[0])]
    return [(slice(b, b + 1), relevance[b]) for b in range(num_examples)]
