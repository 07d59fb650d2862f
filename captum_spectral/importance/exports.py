"""A result in the forms of other libraries; each is imported when it is asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from captum_spectral.importance.scores import signed_spectral_score, spectral_score

if TYPE_CHECKING:
    from captum_spectral.importance.result import ImportanceResult

__all__ = ["frame_of", "players_of", "scalars_of", "shap_of", "shapiq_of"]


def players_of(result: ImportanceResult) -> list[str]:
    """Return a name of every player: as given, or the band with its frequencies."""
    if result.names is not None:
        return list(result.names)
    if result.frequencies is None:
        return [f"band {i}" for i in range(result.num_bands)]
    return [
        f"band {i} ({low:.3f} to {high:.3f} cycles/pixel)"
        for i, (low, high) in enumerate(result.frequencies.tolist())
    ]


def scalars_of(result: ImportanceResult, prefix: str) -> dict[str, float]:
    """Return every number of a result by name, as loggers take them; none is NaN."""
    numbers = {"full_value": result.full_value, "empty_value": result.empty_value}
    if result.accuracy is not None:
        numbers["accuracy"] = result.accuracy
    if result.num_bands > 1 and result.names is None:
        numbers["signed_score"] = float(signed_spectral_score(result.attributions))
        numbers["score"] = float(spectral_score(result.attributions))
    width = len(str(result.num_bands - 1))  # so that names sort as the bands do
    shares = result.normalized("positive").tolist()
    for i, (value, share) in enumerate(zip(result.attributions.tolist(), shares, strict=True)):
        numbers[f"band_{i:0{width}d}"] = value
        numbers[f"share_{i:0{width}d}"] = share
    return {f"{prefix}{name}": x for name, x in numbers.items() if math.isfinite(x)}


def frame_of(result: ImportanceResult) -> Any:
    """Return a ``pandas.DataFrame`` with a row for every player."""
    pandas = _imported("pandas", "to_frame")
    ends = result.frequencies
    columns: dict[str, Any] = {"band": range(result.num_bands)}
    if result.names is not None:
        columns["name"] = result.names
    if ends is not None:
        columns |= {"low": ends[:, 0].tolist(), "high": ends[:, 1].tolist()}
    columns["value"] = result.attributions.tolist()
    columns["standard_error"] = result.standard_error.tolist()
    columns["share"] = result.normalized("positive").tolist()
    frame = pandas.DataFrame(columns)
    frame.attrs = {"unit": result.unit, "num_examples": result.num_examples}
    return frame


def shap_of(result: ImportanceResult) -> Any:
    """Return a ``shap.Explanation`` of one row, the mean over the images."""
    shap = _imported("shap", "to_shap")
    return shap.Explanation(
        values=result.attributions.numpy(),
        base_values=result.empty_value,
        feature_names=players_of(result),
    )


def shapiq_of(result: ImportanceResult) -> Any:
    """Return a ``shapiq.InteractionValues`` of order 1."""
    shapiq = _imported("shapiq", "to_shapiq")
    values = [result.empty_value, *result.attributions.tolist()]
    lookup: dict[tuple[int, ...], int] = {(): 0}
    lookup |= {(i,): i + 1 for i in range(result.num_bands)}
    numpy = _imported("numpy", "to_shapiq")
    return shapiq.InteractionValues(
        numpy.array(values),
        index="SV",
        max_order=1,
        min_order=0,
        n_players=result.num_bands,
        interaction_lookup=lookup,
        estimated=True,  # a mean over images
        estimation_budget=result.num_rows,
        baseline_value=result.empty_value,
    )


def _imported(library: str, method: str) -> Any:
    """Import what only a bridge needs."""
    try:
        return __import__(library)
    except ImportError as error:
        raise ImportError(
            f"{method} needs {library}: pip install {library} ({error})", name=error.name
        ) from error
