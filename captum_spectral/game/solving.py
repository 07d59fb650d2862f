"""How a game is to be solved, checked before there is one."""

from __future__ import annotations

from captum_spectral._arguments import check_count
from captum_spectral.coalitions import ESTIMATORS, INDICES, MAX_ORDER

__all__ = ["check_estimator", "check_interactions"]

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
