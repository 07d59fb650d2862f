"""Choose how a game is solved, checked before there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.coalitions import (
    ESTIMATORS,
    Estimator,
    Exact,
    estimator_of,
    relevance_from,
    sample_orderings,
)

__all__ = ["check_estimator", "estimator_for"]

_FEWEST_ROWS = 4


def check_estimator(
    estimator: object,
    budget: object,
    n_samples: object = None,
    index: str = "shapley",
    with_errors: bool = False,
) -> tuple[str, int | None]:
    """Check how a game is to be solved; return the name of the estimator, and the budget.

    Args:
        estimator: One of ``ESTIMATORS``, or None for the default.
        budget: Model rows per example, or None.
        n_samples: Ordering pairs, or None.
        index: ``"shapley"`` or ``"banzhaf"``.
        with_errors: Standard errors are asked for.

    Raises:
        TypeError: A budget that is no integer, an estimator that is no string.
        ValueError: An unknown estimator, one that does not go with the rest, a budget below 4.
    """
    known = [name for name in ESTIMATORS if index == "shapley" or name != "orderings"]
    if estimator is not None and not isinstance(estimator, str):
        raise TypeError(
            f"estimator must be one of {', '.join(map(repr, known))}, got "
            f"{type(estimator).__name__}"
        )
    if estimator is not None and estimator not in known:
        hint = ": orderings give Shapley values" if estimator in ESTIMATORS else ""
        raise ValueError(
            f"estimator must be one of {', '.join(map(repr, known))}, got {estimator!r}{hint}"
        )
    if budget is not None and n_samples is not None:
        raise ValueError(
            f"budget counts model rows and n_samples ordering pairs, so give one of them: got "
            f"budget={budget!r} and n_samples={n_samples!r}"
        )
    if budget is None:
        if estimator is not None and not (estimator == "orderings" and n_samples is not None):
            raise ValueError(
                f"estimator={estimator!r} needs a budget, the largest number of model rows per "
                "example, such as budget=128"
            )
        return estimator or "orderings", None
    rows = check_count("budget", budget, at_least=_FEWEST_ROWS)
    if estimator == "regression" and with_errors:
        raise ValueError(
            "return_standard_error: estimator='regression' does not know its errors; use "
            "'gaussian_process' or 'cross_fitted'"
        )
    return estimator or "gaussian_process", rows


def estimator_for(
    energies: Callable[[], Tensor],
    num_examples: int,
    num_players: int,
    n_samples: int | None,
    generator: torch.Generator | None,
    *,
    budget: int | None,
    estimator: str | None,
    prior: Any,
    index: str,
) -> Estimator:
    """Return the estimator that solves a game within so many model rows.

    Args:
        energies: Gives ``(B or 1, P)`` how much of the input each player holds, 0 for those that
            change nothing; only called with a budget.
        num_examples: ``B``.
        num_players: ``P``.
        n_samples: Orderings, or None.
        generator: Source of the coalitions; None: PyTorch's global one.
        budget: Rows per example, or None.
        estimator: One of ``ESTIMATORS``, or None.
        prior: ``"energy"``, ``"flat"``, or weights ``(P,)`` or ``(B, P)``.
        index: ``"shapley"`` or ``"banzhaf"``.

    Raises:
        TypeError, ValueError: Arguments of a wrong kind, or that do not go together.
    """
    name, rows = check_estimator(estimator, budget, n_samples, index)
    if rows is None and n_samples is None:
        return Exact(num_players, index)
    if rows is None:
        assert n_samples is not None
        return sample_orderings(num_players, n_samples, generator)
    found = energies()
    relevance = relevance_from(prior, found, num_examples)
    # The coalitions depend on a seed alone, so that a design is made once.
    device = "cpu" if generator is None else generator.device
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    return estimator_of(rows, name, found > 0, relevance, index=index, seed=seed)
