"""Coalitions of players, their values, and what is estimated from these.

No images and no model in this room: a coalition is a row of booleans over ``M`` players, a value is
whatever number the game gave it.
"""

from captum_spectral.coalitions.budgets import ESTIMATORS, estimator_of, relevance_from
from captum_spectral.coalitions.cross_fitted import CrossFitted
from captum_spectral.coalitions.estimator import (
    Estimator,
    PlayerEstimate,
    among_all,
    half_width,
)
from captum_spectral.coalitions.exact import (
    MAX_EXACT_ROWS,
    Exact,
    all_coalitions,
    banzhaf_from_table,
    check_exact,
    shapley_from_table,
    shapley_weights,
)
from captum_spectral.coalitions.gaussian_process import GaussianProcess
from captum_spectral.coalitions.orderings import Orderings, OwnOrderings, sample_orderings
from captum_spectral.coalitions.pairs import designed_pairs, leverage_pairs
from captum_spectral.coalitions.prior import GamePrior
from captum_spectral.coalitions.regression import Regression
from captum_spectral.coalitions.semivalues import Semivalue, banzhaf, shapley

__all__ = [
    "ESTIMATORS",
    "MAX_EXACT_ROWS",
    "CrossFitted",
    "Estimator",
    "Exact",
    "GamePrior",
    "GaussianProcess",
    "Orderings",
    "OwnOrderings",
    "PlayerEstimate",
    "Regression",
    "Semivalue",
    "all_coalitions",
    "among_all",
    "banzhaf",
    "banzhaf_from_table",
    "check_exact",
    "designed_pairs",
    "estimator_of",
    "half_width",
    "leverage_pairs",
    "relevance_from",
    "sample_orderings",
    "shapley",
    "shapley_from_table",
    "shapley_weights",
]
