"""Correlations of many resamples at once, permutations, and many tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "KINDS",
    "average_ranks",
    "correlations",
    "family_weights",
    "holm",
    "module_for",
    "permutation_p",
    "resampled",
    "spearman",
    "standardized_ranks",
]

KINDS = ("spearman", "pearson", "kendall")

Floats = npt.NDArray[np.float64]

_LARGEST = 1 << 22  # signs of a tile; 16 MiB of float32
_ORDERS = 1000  # permutations at once


def module_for(name: str, purpose: str) -> Any:
    """Import a module of the extra ``study``, or say how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        package = {"scipy": "SciPy", "sklearn": "scikit-learn"}[name.split(".")[0]]
        raise ImportError(
            f'{purpose} needs {package}; install it with pip install "captum-spectral[study]"'
        ) from error


def family_weights(
    families: Sequence[object], num_resamples: int, generator: np.random.Generator
) -> Floats:
    """Draw families with replacement; return how often each model is in each resample.

    Args:
        families: ``(N,)`` family of every model; all models of a family are drawn together.
        num_resamples: ``n``.
        generator: Source of the draws.

    Returns:
        ``(n, N)``.
    """
    names = list(dict.fromkeys(families))
    drawn = generator.integers(len(names), size=(num_resamples, len(names)))
    # Draws of a resample are counted by one bincount over all resamples, (n * F,).
    places = drawn + len(names) * np.arange(num_resamples)[:, None]
    counts = np.bincount(places.ravel(), minlength=num_resamples * len(names))
    of_model = [names.index(family) for family in families]
    weights: Floats = counts.reshape(num_resamples, -1)[:, of_model].astype(float)
    return weights


def average_ranks(x: Floats, weights: Floats) -> Floats:
    """Rank ``x (n, N)`` in every row as if each value were there ``weights (n, N)`` times.

    Equal values share the mean of their ranks, from 1 up, as in Spearman's coefficient.
    """
    order = x.argsort(1, kind="stable")
    ordered = np.take_along_axis(x, order, 1)
    after = np.take_along_axis(weights, order, 1).cumsum(1)  # copies up to and with this one
    # The copies before the first of a run of equal values, and up to its last one. Both grow along
    # the row, so running extremes carry them through the run.
    new = np.ones(x.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    last = np.ones(x.shape, dtype=bool)
    last[:, :-1] = new[:, 1:]
    before = np.zeros_like(after)
    before[:, 1:] = after[:, :-1]
    first = np.maximum.accumulate(np.where(new, before, 0.0), 1)
    end = np.minimum.accumulate(np.where(last, after, np.inf)[:, ::-1], 1)[:, ::-1]
    ranks = np.empty_like(after)
    np.put_along_axis(ranks, order, (first + end + 1) / 2, 1)
    return ranks


def resampled(
    values: Floats,
    errors: Floats,
    families: Sequence[object],
    streams: Sequence[Sequence[int]],
    num_resamples: int,
) -> dict[str, Floats]:
    """Compute all correlations of K columns in bootstrap samples of whole families.

    Args:
        values: ``(K, N)`` columns over N models.
        errors: ``(K, N)`` standard errors; values are drawn anew with them in every sample.
        families: ``(N,)`` family of every model.
        streams: Seeds of the samples and then of the K columns, so that a column has the same
            draws whatever stands beside it.
        num_resamples: ``n``.

    Returns:
        The coefficients ``(n, K, K)`` by their names.
    """
    of_samples, *of_columns = (np.random.default_rng(list(stream)) for stream in streams)
    size = values.shape[1]
    tile = max(1, _LARGEST // (len(values) * size * max(1, (size - 1) // 2)))
    parts = []
    for start in range(0, num_resamples, tile):
        rows = min(tile, num_resamples - start)
        weights = family_weights(families, rows, of_samples)
        noise = np.stack([generator.standard_normal((rows, size)) for generator in of_columns], 1)
        parts.append(correlations(values + noise * errors, weights))
    return {kind: np.concatenate([part[kind] for part in parts]) for kind in KINDS}


def correlations(values: Floats, weights: Floats) -> dict[str, Floats]:
    """Compute the correlations of all pairs of columns, in n samples at once.

    Args:
        values: ``(n, K, N)`` columns over N models.
        weights: ``(n, N)`` how often each model is in each sample.

    Returns:
        Spearman's, Pearson's and Kendall's (tau-b) coefficients ``(n, K, K)`` by their names; NaN
        where a column is constant.
    """
    _, columns, size = values.shape
    copies = np.repeat(weights, columns, axis=0)  # (n K, N)
    ranks = average_ranks(values.reshape(-1, size), copies).reshape(values.shape)
    return {
        "spearman": _products(ranks, weights),
        "pearson": _products(values, weights),
        "kendall": _kendall(ranks, weights),
    }


def spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Return Spearman's coefficient ``(n,)`` of two columns ``(N,)`` under weights ``(n, N)``."""
    values = np.broadcast_to(np.stack([x, y]), (len(weights), 2, len(x)))
    ranks = average_ranks(values.reshape(-1, len(x)), np.repeat(weights, 2, axis=0))
    return _products(ranks.reshape(values.shape), weights)[:, 0, 1]


def standardized_ranks(values: Floats) -> Floats:
    """Return ranks of the columns ``(K, N)`` less their mean, of length 1: products correlate."""
    ranks = average_ranks(values, np.ones_like(values))
    ranks = ranks - ranks.mean(1, keepdims=True)
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    unit: Floats = ranks / np.where(length > 0, length, np.nan)
    return unit


def _products(values: Floats, weights: Floats) -> Floats:
    """Return Pearson's coefficients ``(n, K, K)`` of columns ``(n, K, N)``."""
    w = weights[:, None]  # (n, 1, N)
    mean = (w * values).sum(2, keepdims=True) / w.sum(2, keepdims=True)
    # Scaled first: squares of numbers such as 1e-200 would vanish.
    largest = np.abs(values - mean).max(2, keepdims=True)
    z = (values - mean) / np.where(largest > 0, largest, 1.0) * np.sqrt(w)
    # Equal values, too, differ from their mean by rounding.
    there = w > 0
    low = np.where(there, values, np.inf).min(2)
    flat = low >= np.where(there, values, -np.inf).max(2)
    return _normalized(z @ z.swapaxes(1, 2), flat)


def _kendall(ranks: Floats, weights: Floats) -> Floats:
    """Return Kendall's tau-b ``(n, K, K)`` of columns ``(n, K, N)``."""
    i, j = np.triu_indices(ranks.shape[2], 1)
    # Twice the ranks, the weights and the signs are small whole numbers, exact in float32.
    narrow, copies = ranks.astype(np.float32), weights.astype(np.float32)
    signs = np.sign(narrow[..., i] - narrow[..., j])  # (n, K, N (N - 1) / 2)
    pairs = copies[:, i] * copies[:, j]
    across = (signs * pairs[:, None]) @ signs.swapaxes(1, 2)
    square = across.diagonal(axis1=1, axis2=2)
    return _normalized(across.astype(float), square == 0)


def _normalized(across: Floats, flat: npt.NDArray[np.bool_]) -> Floats:
    """Divide products ``(n, K, K)`` by the lengths; NaN for columns that are ``flat (n, K)``."""
    square = across.diagonal(axis1=1, axis2=2)
    length = np.sqrt(np.where(flat | (square <= 0), np.nan, square))
    found: Floats = (across / (length[:, :, None] * length[:, None, :])).clip(-1, 1)
    return found


def permutation_p(
    statistic: Callable[[npt.NDArray[np.intp]], Floats], size: int, num_resamples: int, seed: int
) -> Floats:
    """Return how often each statistic is at least as large under a random order.

    Args:
        statistic: From orders ``(n, size)`` to statistics ``(n, ...)``.
        size: How many things are put into another order.
        num_resamples: Random orders; all of them, exactly, if there are no more.
        seed: Of the orders.

    Returns:
        ``(...)`` p-values.
    """
    stats = module_for("scipy.stats", "a permutation test")

    def of_orders(order: Floats, axis: int) -> Floats:
        orders = np.moveaxis(order, axis, -1).astype(np.intp)
        return statistic(orders) if orders.ndim > 1 else statistic(orders[None])[0]

    test = stats.permutation_test(
        (np.arange(size, dtype=float),),
        of_orders,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=num_resamples,
        batch=_ORDERS,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return np.asarray(test.pvalue, dtype=float)


def holm(p_values: Floats) -> Floats:
    """Adjust p-values of many tests by Holm's procedure; NaN is no test and stays.

    The probability that any true null hypothesis is rejected is then at most the level, whatever
    depends on whatever.
    """
    flat = np.asarray(p_values, dtype=float).ravel()
    adjusted = np.full(flat.shape, math.nan)
    tests = np.flatnonzero(np.isfinite(flat))
    order = tests[flat[tests].argsort(kind="stable")]
    factors = np.arange(len(order), 0, -1)  # the smallest of m tests is multiplied by m
    adjusted[order] = np.maximum.accumulate(factors * flat[order]).clip(max=1.0)
    return adjusted.reshape(np.shape(p_values))
