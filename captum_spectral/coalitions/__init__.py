"""Coalitions of players, their values, and what is estimated from these.

No images and no model in this room: a coalition is a row of booleans over ``M`` players, a value is
whatever number the game gave it.
"""

from captum_spectral.coalitions.budgets import (
    ESTIMATORS,
    check_few,
    estimator_of,
    interactions_of,
    is_exact,
    relevance_from,
)
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
from captum_spectral.coalitions.indices import (
    INDICES,
    MAX_ORDER,
    interactions_from_table,
    k_sii_from_sii,
    moebius_transform,
    places_of,
    subsets_of,
    walsh_transform,
)
from captum_spectral.coalitions.interaction_result import InteractionResult
from captum_spectral.coalitions.interactions import ExactInteractions, PairInteractions
from captum_spectral.coalitions.orderings import Orderings, OwnOrderings, sample_orderings
from captum_spectral.coalitions.pairs import designed_pairs, leverage_pairs
from captum_spectral.coalitions.prior import GamePrior
from captum_spectral.coalitions.regression import Regression
from captum_spectral.coalitions.semivalues import Semivalue, banzhaf, shapley

__all__ = [
    "ESTIMATORS",
    "INDICES",
    "MAX_EXACT_ROWS",
    "MAX_ORDER",
    "CrossFitted",
    "Estimator",
    "Exact",
    "ExactInteractions",
    "GamePrior",
    "GaussianProcess",
    "InteractionResult",
    "Orderings",
    "OwnOrderings",
    "PairInteractions",
    "PlayerEstimate",
    "Regression",
    "Semivalue",
    "all_coalitions",
    "among_all",
    "banzhaf",
    "banzhaf_from_table",
    "check_exact",
    "check_few",
    "designed_pairs",
    "estimator_of",
    "half_width",
    "interactions_from_table",
    "interactions_of",
    "is_exact",
    "k_sii_from_sii",
    "leverage_pairs",
    "moebius_transform",
    "places_of",
    "relevance_from",
    "sample_orderings",
    "shapley",
    "shapley_from_table",
    "shapley_weights",
    "subsets_of",
    "walsh_transform",
]
