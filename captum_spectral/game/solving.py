"""How a game is to be solved, checked before there is one."""

from __future__ import annotations

from captum_spectral._arguments import check_count
from captum_spectral.coalitions import ESTIMATORS

__all__ = ["check_estimator"]

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
