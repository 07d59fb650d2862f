"""Choose how a game is solved, checked before there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.coalitions import (
    ESTIMATORS,
    INDICES,
    MAX_ORDER,
    Estimator,
    Exact,
    estimator_of,
    relevance_from,
    sample_orderings,
)
from captum_spectral.coalitions.semivalues import check_index

__all__ = ["check_estimator", "check_interactions", "estimator_for", "expected"]

_FEWEST_ROWS = 4
_OF_SHAPIQ = ("FSII", "FBII", "kADD-SHAP", "CHII")


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
        ValueError: An unknown index or estimator, one that does not go with the rest, a budget
            below 4.
    """
    check_index(index)
    if n_samples is not None and index != "shapley":
        raise ValueError(
            f"n_samples={n_samples!r} counts orderings, which give Shapley values; use budget for "
            f"index={index!r}"
        )
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
    playing, relevance, seed = expected(energies(), prior, num_examples, generator)
    return estimator_of(rows, name, playing, relevance, index=index, seed=seed)


def expected(
    energies: Tensor, prior: Any, num_examples: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor | None, int]:
    """Return who plays ``(B, P)``, how much each may matter, and the seed of the coalitions."""
    relevance = relevance_from(prior, energies, num_examples)
    # The coalitions depend on a seed alone, so that a design is made once.
    device = "cpu" if generator is None else generator.device
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    return energies > 0, relevance, seed


def check_interactions(
    index: object, order: object, budget: object, estimator: object = None
) -> tuple[int, int | None]:
    """Check which interactions are asked for; return the order and the budget.

    Args:
        index: One of ``INDICES``.
        order: 1 to ``MAX_ORDER``.
        budget: Model rows per example, or None.
        estimator: None or ``"gaussian_process"``.

    Raises:
        TypeError: An order or a budget that is no integer, an index that is no string.
        ValueError: An unknown index, an order that is not known, an estimator that knows no
            interactions, a budget below 4.
    """
    known = ", ".join(map(repr, INDICES))
    if not isinstance(index, str):
        raise TypeError(f"index must be one of {known}, got {type(index).__name__}")
    if index not in INDICES:
        hint = ": shapiq computes it" if index in _OF_SHAPIQ else ""
        raise ValueError(f"index must be one of {known}, got {index!r}{hint}")
    size = check_count("order", order)
    if size > MAX_ORDER:
        raise ValueError(
            f"order must be at most {MAX_ORDER}, the players of an interaction, got {size}"
        )
    if estimator in ESTIMATORS[1:]:
        raise ValueError(
            f"estimator={estimator!r} gives values of single players; interactions take "
            "'gaussian_process'"
        )
    return size, check_estimator(estimator, budget)[1]
