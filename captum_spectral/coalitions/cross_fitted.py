"""Values of players from few coalitions, right on average whatever the game is."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral.coalitions.estimator import Estimator, PlayerEstimate
from captum_spectral.coalitions.gaussian_process import default_candidate, groups, odd_matrix
from captum_spectral.coalitions.pairs import (
    fewest_leverage_pairs,
    leverage_pairs,
    odd_part,
    with_ends,
)
from captum_spectral.coalitions.prior import GamePrior, relevance_of
from captum_spectral.coalitions.semivalues import semivalue_of

__all__ = ["CrossFitted"]

_FOLDS = 10


class CrossFitted(Estimator):
    r"""Unbiased Shapley or Banzhaf values: a smooth guess, corrected by pairs it has not seen.

    A guess g of the odd part d of the game (the posterior mean of a Gaussian process) is made from
    nine tenths of the pairs. What it misses is known at those, and estimated for all others of a
    size from the held-out tenth, which is a random sample of them. With w the weight of a pair in
    the value (:class:`~captum_spectral.coalitions.Semivalue`), strata h the pairs of one size, of
    which N exist, n are drawn and m seen by the guess of a fold,

    .. math::
        \phi_{fold} = \phi(g) + \sum_{T\ \text{seen}} w(T) (d - g)(T)
            + \sum_h \frac{N_h - m_h}{\#\text{held out}_h}
              \sum_{T\ \text{held out}} w(T) (d - g)(T)

    and :math:`\phi` is the mean of ten folds. The expectation over the coalitions is the exact
    value with any prior; a good one only makes the error smaller. So is that of the variance,
    :math:`\sum_h N_h (N_h - n_h) / n_h` times the mean square of w times the held-out errors.

    Args:
        num_players: ``M``, at least 2.
        num_pairs: ``n``, how many pairs of coalitions beyond the grand and the empty one.
        relevance: ``(B or 1, M)`` how much players are expected to matter, in any unit; None: all
            alike. Default: None
        index: ``"shapley"`` or ``"banzhaf"``. Default: "shapley"
        seed: Of the coalitions, any integer. Default: 0

    Attributes:
        coalitions: Boolean ``(2 n + 2, M)``: grand, empty, a coalition, its complement, ...

    Raises:
        ValueError: So few pairs that a size of coalitions has fewer than two.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import CrossFitted
        >>> estimator = CrossFitted(num_players=6, num_pairs=15)
        >>> game = estimator.coalitions.sum(1)[None] ** 2.0
        >>> estimate = estimator.estimate(game)
        >>> round(float(estimate.values.sum()), 6)
        36.0

    References:
        C.-E. Särndal, B. Swensson, J. Wretman, *Model Assisted Survey Sampling*, 1992.
        V. Chernozhukov et al., *Double/debiased machine learning*, 2018.
    """

    def __init__(
        self,
        num_players: int,
        num_pairs: int,
        relevance: Tensor | None = None,
        index: str = "shapley",
        seed: int = 0,
    ) -> None:
        self._pairs = leverage_pairs(num_players, num_pairs, seed)
        thin = (self._pairs.drawn < 2) & (self._pairs.drawn < self._pairs.existing)
        if thin.any():
            raise ValueError(
                f"estimator='cross_fitted' needs at least two pairs of coalitions of every size, "
                f"and {num_pairs} pairs of {num_players} players leave {int(thin.sum())} sizes "
                f"with fewer: use budget={2 * fewest_leverage_pairs(num_players) + 2} or more, or "
                "estimator='gaussian_process'"
            )
        self.coalitions = with_ends(self._pairs.members)
        self._members = self.coalitions[::2]  # (n + 1, M), the grand coalition first
        self._relevance = relevance
        self._semivalue = semivalue_of(index, num_players)
        self._held_out = self._folds()
        weights = self._semivalue.of_pairs(self._members)  # (n + 1, M)
        # Of what the guess of each fold misses, and of its squares in the variance.
        self._weights = [weights * self._counts(fold)[:, None] for fold in self._held_out]
        self._uncertain = weights.square() * self._unseen()[:, None]

    def _folds(self) -> Tensor:
        """Say which pairs each fold holds out, ``(F, n + 1)``: some of every incomplete size.

        Where there are fewer pairs of a size than folds, they are held out more than once.
        """
        pairs = self._pairs
        held_out = torch.zeros(_FOLDS, len(self._members), dtype=torch.bool)
        for h in pairs.stratum[~pairs.enumerated].unique().tolist():
            own = (pairs.stratum == h).nonzero()[:, 0] + 1  # drawn in random order
            for turn in range(max(_FOLDS, len(own))):
                held_out[turn % _FOLDS, own[turn % len(own)]] = True
        return held_out if held_out.any() else held_out[:1]

    def estimate(self, values: Tensor) -> PlayerEstimate:
        """Return the mean over the folds, and the standard error of the design.

        Args:
            values: ``(B, 2 n + 2, *outputs)``, the values of ``coalitions``.
        """
        odd = odd_part(values)  # (n + 1, B, *outputs)
        relevance = relevance_of(self._relevance, len(values))
        candidate = default_candidate(relevance is not None)
        found = [
            self._under(candidate.prior(self._members.shape[1], own), odd[:, examples].flatten(1))
            for examples, own in groups(candidate, relevance, len(values))
        ]
        shape = (*odd.shape[1:], self._members.shape[1])
        phi, error = (torch.cat(part).reshape(shape) for part in zip(*found, strict=True))
        return PlayerEstimate(phi, error, values[:, 0], values[:, 1])

    def _under(self, prior: GamePrior, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and standard errors ``(C, M)`` from d ``(n + 1, C)``, under a prior."""
        matrix = odd_matrix(prior, self._members)
        kernel = prior.odd_kernel(self._members, self._members)
        covariance = prior.odd_covariance(self._members, self._semivalue, smooth=True)
        total = d.new_zeros(d.shape[1], self._members.shape[1])
        squares = torch.zeros_like(d)
        for held_out, weights in zip(self._held_out, self._weights, strict=True):
            seen = ~held_out
            factor = torch.linalg.cholesky(matrix[seen][:, seen])
            solved = torch.cholesky_solve(d[seen], factor)
            missed = d - kernel[:, seen] @ solved  # (n + 1, C)
            total += solved.T @ covariance[seen]
            total += missed.T @ weights
            squares[held_out] += missed[held_out].square()
        mean_squares = squares / self._held_out.sum(0).clamp(min=1)[:, None]
        return total / len(self._held_out), (mean_squares.T @ self._uncertain).sqrt()

    def _counts(self, held_out: Tensor) -> Tensor:
        """Say for how many pairs each one stands in a fold, ``(n + 1,)``: 1 if it was seen."""
        pairs = self._pairs
        counts = torch.ones(len(held_out), dtype=torch.float64)
        own = held_out[1:]
        for h in pairs.stratum[own].unique().tolist():
            here = (pairs.stratum == h) & own
            seen = pairs.drawn[h] - here.sum()
            counts[1:][here] = (pairs.existing[h] - seen) / here.sum()
        return counts

    def _unseen(self) -> Tensor:
        """Return the factor of each pair in the variance, ``(n + 1,)``: N (N - n) / n^2."""
        n, existing = self._pairs.drawn.to(torch.float64), self._pairs.existing
        by_stratum = existing * (existing - n) / n.clamp(min=1).square()
        return torch.cat([torch.zeros(1, dtype=torch.float64), by_stratum[self._pairs.stratum]])
