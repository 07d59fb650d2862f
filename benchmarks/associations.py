"""How many models a correlation over models takes, by simulation.

Three tables. How large a coefficient of Spearman looks where there is no relation at all, and where
the true one is .8. How often the package's 95 % interval holds the true one, of independent models.
And the same for families of models that differ by their seed alone, and for scores with an error of
measurement, which are where intervals over models, or of the values as they are, may go wrong.

Values are normal; the true coefficient of a correlation rho is (6 / pi) asin(rho / 2).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from common import arguments, markdown, report, start

from captum_spectral.robustness.statistics import average_ranks, family_weights, standardized_ranks

SIZES = (6, 8, 12, 20, 30, 50)


def pairs(count: int, size: int, true: float, generator: np.random.Generator) -> np.ndarray:
    """``(count, 2, size)`` normal pairs whose Spearman coefficient is ``true``."""
    rho = 2 * math.sin(math.pi * true / 6)
    x, noise = generator.standard_normal((2, count, size))
    return np.stack([x, rho * x + math.sqrt(1 - rho**2) * noise], 1)


def coefficients(values: np.ndarray) -> np.ndarray:
    """``(count,)`` Spearman coefficients of pairs ``(count, 2, size)``."""
    x, y = (standardized_ranks(values[:, i]) for i in (0, 1))
    return (x * y).sum(1)


def interval(
    values: np.ndarray,
    errors: float,
    families: list[int],
    resamples: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """The ends of the package's interval for one data set ``(2, size)``."""
    weights = family_weights(families, resamples, generator)
    drawn = values + errors * generator.standard_normal((resamples, *values.shape))
    ranks = average_ranks(drawn.reshape(-1, drawn.shape[2]), weights.repeat(2, axis=0))
    ranks, w = ranks.reshape(drawn.shape), weights[:, None]
    z = ranks - (w * ranks).sum(2, keepdims=True) / w.sum(2, keepdims=True)
    squares = (w * z) @ z.swapaxes(1, 2)  # (n, 2, 2)
    with np.errstate(invalid="ignore"):
        found = squares[:, 0, 1] / np.sqrt(squares[:, 0, 0] * squares[:, 1, 1])
    return np.nanpercentile(found, [2.5, 97.5])


def covered(
    data: np.ndarray,
    true: float,
    resamples: int,
    generator: np.random.Generator,
    errors: float = 0.0,
    families: list[int] | None = None,
) -> dict[str, Any]:
    """How often the interval holds the truth over data sets ``(count, 2, size)``, and its width."""
    families = list(range(data.shape[2])) if families is None else families
    ends = np.stack([interval(x, errors, families, resamples, generator) for x in data])
    held = float(((ends[:, 0] <= true) & (true <= ends[:, 1])).mean())
    return {"covers": f"{held:.3f}", "mean width": f"{(ends[:, 1] - ends[:, 0]).mean():.2f}"}


def main() -> None:
    """Three tables."""
    parser = arguments(__doc__)
    parser.add_argument("--sets", type=int, default=400, help="data sets per coverage")
    parser.add_argument("--resamples", type=int, default=400, help="of each of them")
    parser.add_argument("--draws", type=int, default=20_000, help="for the first table")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="of models")
    args = start(parser)
    generator = np.random.default_rng(0)

    spread = []
    for size in args.sizes:
        null = np.quantile(np.abs(coefficients(pairs(args.draws, size, 0.0, generator))), 0.95)
        low, high = np.quantile(
            coefficients(pairs(args.draws, size, 0.8, generator)), [0.025, 0.975]
        )
        row = {"models": size, "no relation: 95 % of the absolute values below": f"{null:.2f}"}
        spread.append({**row, "true .8: 95 % within": f"{low:.2f} to {high:.2f}"})

    plain = [
        {"models": size, "true": true}
        | covered(pairs(args.sets, size, true, generator), true, args.resamples, generator)
        for size in args.sizes
        for true in (0.0, 0.8)
    ]

    harder = []
    for count in (12, 20):
        # Three seeds of a family share .8 of the variance, in both values.
        true = 0.5
        between = pairs(args.sets, count, true, generator).repeat(3, axis=2)
        within = pairs(args.sets, 3 * count, true, generator)
        data = math.sqrt(0.8) * between + math.sqrt(0.2) * within
        families = [i // 3 for i in range(3 * count)]
        for name, groups in (("families", families), ("models", None)):
            held = covered(data, true, args.resamples, generator, families=groups)
            harder.append(
                {"data": f"{count} families of 3 seeds", "resampled": name, "true": true} | held
            )
    for count in (12, 20):
        # Errors of half the spread between models, in both values.
        true = 0.8
        exact = pairs(args.sets, count, true, generator)
        data = exact + 0.5 * generator.standard_normal(exact.shape)
        for name, errors in (("models, values drawn anew", 0.5), ("models, values as they are", 0)):
            held = covered(data, true, args.resamples, generator, errors=errors)
            harder.append(
                {"data": f"{count} models with errors", "resampled": name, "true": true} | held
            )

    extra = {"independent": plain, "harder": harder}
    report(args, "Spearman's coefficient over independent models", spread, **extra)
    for title, rows in (
        (f"The 95 % interval over independent models, {args.sets} data sets", plain),
        (f"Seeds of one recipe, and errors of measurement, {args.sets} data sets", harder),
    ):
        print(f"\n### {title}\n\n{markdown(rows)}")


if __name__ == "__main__":
    main()
