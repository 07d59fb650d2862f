"""Measure every score against every measure, and adjust for having asked so often."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_spectral.robustness.association import (
    Association,
    Coefficient,
    count,
    interval,
    measure,
    plain,
    small,
)
from captum_spectral.robustness.selection import Row, check_table
from captum_spectral.robustness.statistics import holm

__all__ = ["Associations", "associations"]


@dataclass(frozen=True)
class Associations:
    """Holds scores against measures; :func:`associations` makes it, ``print`` shows the matrix.

    Args:
        scores: Selectors of the S scores.
        robustness: Selectors of the R measures.
        cells: S lists of R :class:`~captum_spectral.robustness.association.Association`.
        adjusted: ``(S, R)`` p-values after Holm's procedure over all cells that have one.
    """

    scores: list[str]
    robustness: list[str]
    cells: list[list[Association]]
    adjusted: Tensor

    @property
    def spearman(self) -> Tensor:
        """``(S, R)`` Spearman's coefficients; NaN where there is none."""
        return self._of(lambda c: c.value)

    @property
    def low(self) -> Tensor:
        """``(S, R)`` lower ends of the intervals over families."""
        return self._of(lambda c: c.over_families[0])

    @property
    def high(self) -> Tensor:
        """``(S, R)`` upper ends of the intervals over families."""
        return self._of(lambda c: c.over_families[1])

    def _of(self, number: Any) -> Tensor:
        return torch.tensor(
            [[number(cell.spearman) for cell in row] for row in self.cells], dtype=torch.float64
        )

    def __str__(self) -> str:
        cells = [cell for row in self.cells for cell in row]
        tested = int(self.adjusted.isfinite().sum())
        models = sorted({cell.num_models for cell in cells})
        families = sorted({cell.num_families for cell in cells})
        # A cell may lack a model that others have.
        numbers = f"{_range(models)} models of {_range(families)} families"
        few = ", too few" if any(cell.too_few for cell in cells) else ""
        lines = [
            f"Spearman over {numbers}{few}; 95 % interval over families; p by permutation, Holm "
            f"over {count(tested, 'test')}"
        ]
        texts = [["", *self.robustness]]
        for score, row, adjusted in zip(self.scores, self.cells, self.adjusted, strict=True):
            shown = [_cell(c.spearman, float(p)) for c, p in zip(row, adjusted, strict=True)]
            texts.append([score, *shown])
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        for line in texts:
            padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
        reasons = {f"{c.score} against {c.robustness}: {c.reason}" for c in cells if c.reason}
        return "\n".join([*lines, *sorted(reasons)])

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain Python, with None for NaN, ready for JSON.

        Returns:
            A dictionary by the names of the attributes.
        """
        return {
            "scores": self.scores,
            "robustness": self.robustness,
            "cells": [[cell.to_dict() for cell in row] for row in self.cells],
            "adjusted": plain(self.adjusted.tolist()),
        }


def associations(
    table: Iterable[Row],
    scores: Sequence[str],
    robustness: Sequence[str],
    by: str = "model",
    families: str = "family",
    *,
    given: str | None = "accuracy",
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Associations:
    """Measure every score against every measure of robustness, and say how many were tried.

    Each cell is what :func:`~captum_spectral.robustness.association.association` gives; all are
    resampled with the same random numbers. Of 48 true null hypotheses two or three have p below
    .05, so the p-values are adjusted by Holm's procedure over all cells of the matrix: the
    probability of any false alarm among those below .05 is then at most .05. Test every score that
    was looked at, not the best one. Intervals are not adjusted.

    Args:
        table: As in ``association``.
        scores: Selectors of the S scores.
        robustness: Selectors of the R measures.
        by: As in ``association``. Default: "model"
        families: As in ``association``. Default: "family"
        given: As in ``association``. Default: "accuracy"
        num_resamples: As in ``association``. The smallest p of random permutations is
            ``1 / (num_resamples + 1)``; times S R it should be well below .05. Default: 10,000
        seed: As in ``association``. Default: 0

    Returns:
        An :class:`Associations`.

    Raises:
        ImportError: SciPy is not installed (the extra ``study`` has it).
        TypeError: Scores or measures that are a string, not a sequence of them.
        ValueError: As in ``association``; no scores, no measures, one of them twice.

    Example::

        >>> import random
        >>> from captum_spectral.robustness.matrix import associations
        >>> draw = random.Random(0)
        >>> rows = [{"model": f"m{i}", "measurement": name, "value": i + spread * draw.random()}
        ...         for i in range(12)
        ...         for name, spread in [("score", 0), ("total", 99), ("robust accuracy", 4)]]
        >>> found = associations(
        ...     rows, ["score", "total"], ["robust accuracy"], given=None, num_resamples=999)
        >>> found.spearman.shape
        torch.Size([2, 1])
        >>> (found.adjusted < 0.05).flatten().tolist()
        [True, False]

    References:
        S. Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of
        Statistics 6, 1979.
    """
    for name, selectors in (("scores", scores), ("robustness", robustness)):
        if isinstance(selectors, str) or not isinstance(selectors, Sequence):
            raise TypeError(
                f"{name} must be a sequence of selectors such as ['accuracy'], got {selectors!r}"
            )
        if not selectors or len(set(selectors)) < len(selectors):
            raise ValueError(
                f"{name} must hold at least one selector, and none twice, got {list(selectors)}"
            )
    rows = check_table(table, by)
    found = measure(
        rows,
        [(score, column) for score in scores for column in robustness],
        by,
        families,
        given=given,
        num_resamples=num_resamples,
        seed=seed,
    )
    width = len(robustness)
    cells = [found[i : i + width] for i in range(0, len(found), width)]
    p_values = torch.tensor([[cell.p_value for cell in row] for row in cells], dtype=torch.float64)
    return Associations(
        list(scores), list(robustness), cells, torch.from_numpy(holm(p_values.numpy()))
    )


def _cell(coefficient: Coefficient, adjusted: float) -> str:
    if math.isnan(coefficient.value):
        return "none"
    return f"{coefficient.value:+.2f} {interval(coefficient.over_families)} p {small(adjusted)}"


def _range(numbers: list[int]) -> str:
    """Write ``"12"`` or ``"11 to 12"``."""
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
