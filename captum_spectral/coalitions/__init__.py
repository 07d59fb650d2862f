"""Coalitions of players, their values, and what is estimated from these.

No images and no model in this room: a coalition is a row of booleans over ``M`` players, a value is
whatever number the game gave it.
"""

from captum_spectral.coalitions.estimator import Estimator, PlayerEstimate, among_all
from captum_spectral.coalitions.exact import (
    MAX_EXACT_ROWS,
    Exact,
    all_coalitions,
    check_exact,
    shapley_from_table,
    shapley_weights,
)
from captum_spectral.coalitions.orderings import Orderings, OwnOrderings, sample_orderings

__all__ = [
    "MAX_EXACT_ROWS",
    "Estimator",
    "Exact",
    "Orderings",
    "OwnOrderings",
    "PlayerEstimate",
    "all_coalitions",
    "among_all",
    "check_exact",
    "sample_orderings",
    "shapley_from_table",
    "shapley_weights",
]
