"""Measure whether a score predicts robustness over models, and how well that is known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.robustness.selection import Column, Row, check_table, families_of, select
from captum_spectral.robustness.statistics import (
    KINDS,
    Floats,
    correlations,
    module_for,
    permutation_p,
    resampled,
    spearman,
    standardized_ranks,
)

__all__ = ["Association", "Coefficient", "Points", "association"]

LEAST = 8  # independent models; with fewer, no relation at all often looks like a strong one
ENOUGH = 12  # below it a coefficient is marked
_ROUNDING = 1e-12  # of 1 - r^2 where r is 1
_UNKNOWN = (math.nan, math.nan)


class Coefficient(NamedTuple):
    """A coefficient over models, and its 95 % percentile intervals.

    Args:
        value: From -1 to 1; NaN where it is not defined or not given.
        over_families: Ends of the interval when whole families are resampled.
        over_models: The same when models are, as if each were independent of all others.
    """

    value: float = math.nan
    over_families: tuple[float, float] = _UNKNOWN
    over_models: tuple[float, float] = _UNKNOWN


class Points(NamedTuple):
    """The models of an association.

    Args:
        names: Of the N models.
        families: ``N`` names.
        score: ``(N,)`` float64.
        robustness: ``(N,)`` float64.
        score_error: ``(N,)`` standard errors over images; 0 where the table has none.
        robustness_error: ``(N,)`` likewise.
    """

    names: list[str]
    families: list[str]
    score: Tensor
    robustness: Tensor
    score_error: Tensor
    robustness_error: Tensor


@dataclass(frozen=True)
class Association:
    """Holds the relation of a score to a measure of robustness; :func:`association` makes it.

    ``print`` shows all of it in a few lines.

    Args:
        score: Selector of the score.
        robustness: Selector of the measure.
        given: Selector of the quantity that ``partial`` holds fixed; None if there is none.
        num_models: Models that have all of them.
        num_families: Their families: as many models are independent.
        spearman: The headline.
        pearson: Of the values, where ``spearman`` is that of their ranks.
        kendall: Kendall's tau-b.
        partial: Spearman's coefficient given ``given``.
        p_value: Of ``spearman``, two-sided, by permutation; NaN where there is no coefficient.
        permuted: ``"models"``, ``"blocks of families"`` or ``"means of families"``.
        without_one_family: Smallest and largest ``spearman`` when one family is left out.
        decisive: The families whose absence gives these two.
        reason: Why there is no coefficient; "" if there is one.
        partial_reason: Why there is no ``partial``; "" if there is one.
        left_out: Model to the reason why it does not count.
        points: The models themselves, for a figure.
    """

    score: str
    robustness: str
    given: str | None
    num_models: int
    num_families: int
    spearman: Coefficient
    pearson: Coefficient
    kendall: Coefficient
    partial: Coefficient
    p_value: float
    permuted: str
    without_one_family: tuple[float, float]
    decisive: tuple[str, str]
    reason: str
    partial_reason: str
    left_out: dict[str, str]
    points: Points

    @property
    def too_few(self) -> bool:
        """True if there are fewer than 12 independent models: read the interval, not the value."""
        return self.num_families < ENOUGH

    def __str__(self) -> str:
        few = ", too few" if self.too_few else ""
        lines = [
            f"{self.score} against {self.robustness}: {count(self.num_models, 'model')} of "
            f"{count(self.num_families, 'family', 'families')}{few}"
        ]
        if self.reason:
            lines.append(f"  no coefficient: {self.reason}")
        else:
            lines.append(f"  Spearman  {_text(self.spearman)}, p {small(self.p_value)}")
            lines[-1] += f" (permuted: {self.permuted})"
            lines += [f"  Pearson   {_text(self.pearson)}", f"  Kendall   {_text(self.kendall)}"]
            if self.given is not None:
                held = f"  Spearman given {self.given}: "
                lines.append(held + (self.partial_reason or _text(self.partial)))
            low, high = self.without_one_family
            if math.isfinite(low):
                first, last = self.decisive
                lines.append(
                    f"  Spearman without one family: {low:+.2f} ({first}) to {high:+.2f} ({last})"
                )
        lines += [f"  left out: {name}, {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the points as plain Python, with None for NaN, ready for JSON.

        Returns:
            A dictionary by the names of the attributes.
        """
        content: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name == "points":
                continue
            content[name] = value._asdict() if isinstance(value, Coefficient) else value
        content["too_few"] = self.too_few
        return plain(content)  # type: ignore[no-any-return]


def association(
    table: Iterable[Row],
    score: str,
    robustness: str,
    by: str = "model",
    families: str = "family",
    *,
    given: str | None = "accuracy",
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Association:
    r"""Measure how a score goes with a measure of robustness over models, with honest intervals.

    Spearman's coefficient :math:`r` is the headline, Pearson's and Kendall's tau-b stand beside it,
    all by SciPy. Around them:

    - **Intervals**: 95 % percentile intervals of ``num_resamples`` bootstrap samples, once of whole
      families and once of models. Models that differ by their seed alone are replicates of one
      recipe, so the interval over families is the one to read; the other shows what is gained by
      forgetting that. In every sample the values are drawn anew from normal distributions with
      their standard errors, so measurement widens the intervals, too. It pulls coefficients
      towards 0 as well, which nothing here corrects: measure on enough images.
    - **p** of the hypothesis of no relation, two-sided: the share of permutations with a
      :math:`|r|` at least as large. Where families have several models, whole families are
      permuted if all have as many, else their means. All permutations are tried if there are at
      most ``num_resamples``.
    - **Given accuracy**: the partial coefficient

      .. math::
          r_{ab \cdot c} = \frac{r_{ab} - r_{ac} r_{bc}}{\sqrt{(1 - r_{ac}^2)(1 - r_{bc}^2)}}

      of score a and robustness b given clean accuracy c: what better models alone explain is taken
      out.
    - **Without one family**: the smallest and the largest :math:`r` of all but one family.

    Under no relation 95 % of all :math:`|r|` lie below .83 with 6 independent models and below .71
    with 8. So **below 8 families there is no coefficient**, and below 12 it is marked
    ``too_few``. It takes 20 to make a statement, 40 to compare two scores.

    It does not show what causes what, nor that the models stand for any others than those that
    were chosen.

    Args:
        table: Rows of a study, see :func:`~captum_spectral.robustness.selection.select`.
        score: Selector of the score, e.g. ``"importance signed_score/mean"``.
        robustness: Selector of the measure, e.g. ``"corruption accuracy"``.
        by: Key whose values tell the models apart; ``"family"`` takes the mean over the models of
            each family as one point. Default: "model"
        families: Key of the family of a model; ``"model"`` if each stands for itself.
            Default: "family"
        given: Selector of what the partial coefficient holds fixed. None: nothing.
            Default: "accuracy"
        num_resamples: Of the bootstrap and of the permutations. Default: 10,000
        seed: Of both. Default: 0

    Returns:
        An :class:`Association`.

    Raises:
        ImportError: SciPy is not installed (the extra ``study`` has it).
        TypeError: Selectors that are no strings, a table without rows.
        ValueError: Selectors that match nothing, a model of two families, two rows for one number.

    Memory: a few numbers per resample; about 100 MB.

    Example::

        >>> from captum_spectral.robustness.association import association
        >>> rows = []
        >>> for i in range(12):
        ...     model = {"model": f"m{i}", "family": f"f{i}"}
        ...     rows.append({**model, "measurement": "score", "value": i})
        ...     rows.append({**model, "measurement": "robust accuracy", "value": i + 3 * (i % 2)})
        >>> found = association(rows, "score", "robust accuracy", given=None, num_resamples=999)
        >>> print(f"{found.spearman.value:+.2f}, {found.num_families} families")
        +0.93, 12 families

    References:
        B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*, 1993, section 13.3.
    """
    (found,) = measure(
        check_table(table, by),
        [(score, robustness)],
        by,
        families,
        given=given,
        num_resamples=num_resamples,
        seed=seed,
    )
    return found


def measure(
    table: list[Row],
    pairs: Sequence[tuple[str, str]],
    by: str,
    families: str,
    *,
    given: str | None,
    num_resamples: int,
    seed: int,
) -> list[Association]:
    """Measure several pairs of a score and a measure; pairs over the same models at once."""
    module_for("scipy.stats", "association")
    num_resamples = check_count("num_resamples", num_resamples)
    seed = check_count("seed", seed, at_least=0)
    selectors = dict.fromkeys([s for pair in pairs for s in pair] + ([given] if given else []))
    columns = {selector: select(table, selector, by=by) for selector in selectors}
    family = families_of(table, by=by, families=families)
    others = [] if given is None else [given]
    groups: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for pair in pairs:
        needed = [columns[selector] for selector in (*pair, *others)]
        names = tuple(n for n in needed[0].names if all(n in c.names for c in needed))
        groups.setdefault(names, []).append(pair)
    found = {}
    for names, some in groups.items():
        of_group = dict.fromkeys([s for pair in some for s in pair] + others)
        sample = _Sample.of({s: columns[s] for s in of_group}, names, family)
        results = _results(sample, some, given, num_resamples, seed)
        for pair, (reason, result) in results.items():
            left_out: dict[str, str] = {}
            for selector in (*others, *reversed(pair)):
                left_out |= columns[selector].left_out
            found[pair] = Association(
                *pair,
                given=given,
                num_models=len(names),
                num_families=len(set(sample.families)),
                reason=reason,
                left_out=left_out,
                points=sample.points(pair),
                **result,
            )
    return [found[pair] for pair in pairs]


class _Sample(NamedTuple):
    """The models that have all of some columns, which are places in ``(K, N)``."""

    names: list[str]
    families: list[str]
    places: dict[str, int]
    values: Floats
    errors: Floats

    @classmethod
    def of(
        cls, columns: Mapping[str, Column], names: Sequence[str], family: Mapping[str, str]
    ) -> _Sample:
        """Keep the models of these names, in their order."""
        order = {s: [column.names.index(n) for n in names] for s, column in columns.items()}
        return cls(
            list(names),
            [family[n] for n in names],
            {selector: i for i, selector in enumerate(columns)},
            np.stack([column.values[order[s]] for s, column in columns.items()]),
            np.stack([column.errors[order[s]] for s, column in columns.items()]),
        )

    def points(self, pair: tuple[str, str]) -> Points:
        """Return the models as tensors."""
        rows = [self.places[selector] for selector in pair]
        columns = (*self.values[rows], *self.errors[rows])
        return Points(self.names, self.families, *(torch.tensor(x) for x in columns))


def _results(
    sample: _Sample,
    pairs: list[tuple[str, str]],
    given: str | None,
    num_resamples: int,
    seed: int,
) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """Return, for every pair over the same models, why there is no coefficient, and the rest."""
    reasons = {pair: _why_not(sample, *pair) for pair in pairs}
    measured = [pair for pair in pairs if not reasons[pair]]
    found: dict[tuple[str, str], dict[str, Any]] = {
        pair: {
            **{kind: Coefficient() for kind in (*KINDS, "partial")},
            **{"p_value": math.nan, "permuted": "", "partial_reason": ""},
            **{"without_one_family": _UNKNOWN, "decisive": ("", "")},
        }
        for pair in pairs
    }
    if measured:
        once = correlations(sample.values[None], np.ones((1, len(sample.names))))
        # A column has its own stream, by its selector.
        streams = [[seed], *([seed, *s.encode()] for s in sample.places)]
        twice = [
            resampled(sample.values, sample.errors, groups, streams, num_resamples)
            for groups in (sample.families, sample.names)
        ]
        p_values, permuted = _permuted(sample, measured, num_resamples, seed)
    for pair, p_value in zip(measured, p_values if measured else (), strict=True):
        at = tuple(sample.places[s] for s in (*pair, *([given] if given else [])))
        result = found[pair]
        for kind in (*KINDS, "partial"):
            result[kind] = _coefficient(kind, at, once, twice)
        if given is not None and math.isnan(result["partial"].value):
            result["partial_reason"] = (
                f"not defined, {given} is constant or in the order of {pair[0]} or {pair[1]}"
            )
        result["without_one_family"], result["decisive"] = _without_one_family(sample, pair)
        result["p_value"], result["permuted"] = float(p_value), permuted
    return {pair: (reasons[pair], found[pair]) for pair in pairs}


def _why_not(sample: _Sample, *pair: str) -> str:
    """Say why there is no coefficient; an empty text if there is one."""
    models, families = len(sample.names), len(set(sample.families))
    if families < LEAST:
        said = f"{count(families, 'family', 'families')} of {count(models, 'model')}"
        hint = "; families='model' if each stands for itself" if models >= LEAST else ""
        return f"{said}, and at least {LEAST} families are needed{hint}"
    for selector in pair:
        values = sample.values[sample.places[selector]]
        if (values == values[0]).all():
            return f"{selector} is constant, {values[0]:g} for all {models} models"
    return ""


def _coefficient(
    kind: str,
    at: tuple[int, ...],
    once: dict[str, Floats],
    twice: list[dict[str, Floats]],
) -> Coefficient:
    """Return a coefficient of the columns ``at``, with its intervals."""

    def of(matrices: dict[str, Floats]) -> Floats:
        return matrices[kind][:, at[0], at[1]] if kind != "partial" else _partial(matrices, at)

    value = float(of(once)[0])
    if math.isnan(value):
        return Coefficient()
    return Coefficient(value, *(_ends(of(matrices)) for matrices in twice))


def _partial(matrices: dict[str, Floats], at: tuple[int, ...]) -> Floats:
    """Return the partial coefficients ``(n,)`` of Spearman given the third column."""
    r = matrices["spearman"]
    if len(at) < 3:
        return np.full(len(r), math.nan)
    a, b, c = at
    rest = (1 - r[:, a, c] ** 2) * (1 - r[:, b, c] ** 2)
    rest = np.where(rest > _ROUNDING, rest, np.nan)
    found: Floats = ((r[:, a, b] - r[:, a, c] * r[:, b, c]) / np.sqrt(rest)).clip(-1, 1)
    return found


def _ends(coefficients: Floats) -> tuple[float, float]:
    """Return the ends of the percentile interval; samples without a coefficient are left out."""
    there = coefficients[np.isfinite(coefficients)]
    if not len(there):
        return _UNKNOWN
    low, high = np.percentile(there, [2.5, 97.5])
    return float(low), float(high)


def _permuted(
    sample: _Sample, pairs: list[tuple[str, str]], num_resamples: int, seed: int
) -> tuple[Floats, str]:
    """Return p of Spearman's coefficient of each pair, and what was permuted."""
    names = list(dict.fromkeys(sample.families))
    members = [[i for i, f in enumerate(sample.families) if f == name] for name in names]
    sizes = {len(places) for places in members}
    values, blocks = sample.values, np.arange(len(members))[:, None]
    if len(sizes) == 1:
        permuted = "models" if sizes == {1} else "blocks of families"
        blocks = np.array(members)  # (F, models of a family)
    else:
        permuted = "means of families"
        values = np.stack([values[:, places].mean(1) for places in members], 1)
    # Ranks stay the same under permutation, so only their products are computed anew.
    ranks = standardized_ranks(values)
    places = np.array([[sample.places[s] for s in pair] for pair in pairs]).T
    fixed, moved = (list(dict.fromkeys(column.tolist())) for column in places)
    of_pairs = [fixed.index(i) for i in places[0]], [moved.index(j) for j in places[1]]

    def sizes_of(orders: npt.NDArray[np.intp]) -> Floats:
        rows = blocks[orders].reshape(len(orders), -1)  # (n, N)
        # (n, N, moved) and (fixed, N) to (n, fixed, moved), then the pairs.
        products: Floats = ranks[fixed][:, blocks.ravel()] @ ranks[moved].T[rows]
        return np.abs(products[:, of_pairs[0], of_pairs[1]])

    p_values = permutation_p(sizes_of, len(blocks), num_resamples, seed)
    defined = np.isfinite(ranks[places]).all((0, 2))  # means may be constant
    return np.where(defined, p_values, np.nan), permuted


def _without_one_family(
    sample: _Sample, pair: tuple[str, str]
) -> tuple[tuple[float, float], tuple[str, str]]:
    """Return the smallest and the largest coefficient without a family, and the families."""
    names = list(dict.fromkeys(sample.families))
    weights = np.array([[float(f != name) for f in sample.families] for name in names])  # (F, N)
    x, y = (sample.values[sample.places[selector]] for selector in pair)
    found = spearman(x, y, weights)
    if not np.isfinite(found).any():
        return _UNKNOWN, ("", "")
    low, high = int(np.nanargmin(found)), int(np.nanargmax(found))
    return (float(found[low]), float(found[high])), (names[low], names[high])


def _text(coefficient: Coefficient) -> str:
    value, families, models = coefficient
    return f"{value:+.2f} {interval(families)} over families, {interval(models)} over models"


def interval(ends: tuple[float, float]) -> str:
    """Write ``[-0.12, +0.90]``."""
    return f"[{ends[0]:+.2f}, {ends[1]:+.2f}]"


def small(p_value: float) -> str:
    """Write a p-value with two digits."""
    return f"{p_value:.2g}" if p_value < 0.1 else f"{p_value:.2f}"


def count(number: int, one: str, many: str | None = None) -> str:
    """Write ``"1 model"``, ``"2 models"``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def plain(x: Any) -> Any:
    """Return containers of any depth as lists and dictionaries, with None for NaN."""
    if isinstance(x, Mapping):
        return {key: plain(y) for key, y in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(y) for y in x]
    return None if isinstance(x, float) and math.isnan(x) else x
