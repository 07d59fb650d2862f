"""Values of players from few coalitions, by least squares."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spectral.coalitions.estimator import Estimator, PlayerEstimate
from captum_spectral.coalitions.pairs import Pairs, leverage_pairs, odd_part, with_ends

__all__ = ["Regression"]

_MOST_DRAWS = 50


class Regression(Estimator):
    r"""The additive game nearest to the sampled values: Leverage SHAP, or its Banzhaf sibling.

    Shapley values are the additive game that is nearest to v in Shapley's kernel, and sums to
    v(grand) - v(empty); Banzhaf values the one that is nearest with all coalitions alike. Both sums
    over all coalitions are estimated from pairs of them, :math:`n_s` of each size,

    .. math::
        \min_\phi \sum_S \frac{1}{s (M - s)\, n_s}
            \Big(v(S) - v(\varnothing) - \sum_{i \in S} \phi_i\Big)^2

    (for Banzhaf values with the weight :math:`\binom{M}{s} / n_s`, and no condition on the sum).

    Args:
        num_players: ``M``, at least 2.
        num_pairs: ``n``, how many pairs of coalitions beyond the grand and the empty one.
        index: ``"shapley"`` or ``"banzhaf"``. Default: "shapley"
        seed: Of the coalitions, any integer. Default: 0

    Attributes:
        coalitions: Boolean ``(2 n + 2, M)``: grand, empty, a coalition, its complement, ...

    Raises:
        ValueError: Fewer pairs than players, which do not determine the values.

    The standard error is NaN: it is not known.

    Example::

        >>> import torch
        >>> from captum_spectral.coalitions import Regression
        >>> estimator = Regression(num_players=4, num_pairs=5)
        >>> weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
        >>> estimator.estimate((estimator.coalitions.float() @ weights)[None]).values.round()
        tensor([[1., 2., 3., 4.]], dtype=torch.float64)

    References:
        C. Musco, R. T. Witter, *Provably Accurate Shapley Value Estimation via Leverage Score
        Sampling*, ICLR 2025.
    """

    def __init__(
        self, num_players: int, num_pairs: int, index: str = "shapley", seed: int = 0
    ) -> None:
        pairs = _spanning_pairs(num_players, num_pairs, seed)
        self.coalitions = with_ends(pairs.members)
        members = self.coalitions[::2]  # (n + 1, M), the grand coalition first
        # d = sum of +-phi / 2, so phi is the solution for half the signs.
        halves = members.to(torch.float64) - 0.5
        count = pairs.drawn[pairs.stratum].to(torch.float64)
        if index == "shapley":
            size = pairs.stratum.to(torch.float64)
            # Both coalitions of a pair of halves are of one size.
            of_size = torch.where(2 * size == num_players, 2 * count, count)
            weights = (1 / (size * (num_players - size) * of_size)).sqrt()
            # The mean is what efficiency says, 2 d / M; least squares in what is left.
            even = torch.full((num_players, 1), 1 / num_players, dtype=torch.float64)
            across = torch.eye(num_players, dtype=torch.float64) - 1 / num_players
            design = weights[:, None] * (halves[1:] @ across)
        else:
            existing = pairs.existing[pairs.stratum]
            weights = torch.cat([torch.ones(1, dtype=torch.float64), (existing / count).sqrt()])
            design = weights[:, None] * halves
        inverse = torch.linalg.pinv(design)  # (M, n), or (M, n + 1)
        if index == "shapley":
            fit = across @ inverse * weights  # of d less what the mean explains
            self._map = torch.cat([2 * (even - fit @ (halves[1:] @ even)), fit], 1)
        else:
            self._map = inverse * weights

    def estimate(self, values: Tensor) -> PlayerEstimate:
        """Return the values, and NaN for their standard errors.

        Args:
            values: ``(B, 2 n + 2, *outputs)``, the values of ``coalitions``.
        """
        phi = torch.tensordot(odd_part(values), self._map, dims=([0], [1]))
        error = torch.full_like(phi, math.nan)
        return PlayerEstimate(phi, error, values[:, 0], values[:, 1])


def _spanning_pairs(num_players: int, num_pairs: int, seed: int) -> Pairs:
    """Draw pairs that determine the values, again where some happen to say the same.

    With the two ends, the signs of ``M - 1`` pairs at least must be independent of each other.
    """
    for attempt in range(_MOST_DRAWS if num_pairs >= num_players - 1 else 0):
        pairs = leverage_pairs(num_players, num_pairs, seed + attempt)
        signs = 2.0 * with_ends(pairs.members)[::2].to(torch.float64) - 1
        if int(torch.linalg.matrix_rank(signs)) == num_players:
            return pairs
    raise ValueError(
        f"estimator='regression' of {num_players} players needs budget={2 * num_players + 2} or "
        f"more, got {num_pairs} pairs of coalitions; estimator='gaussian_process' takes fewer"
    )
