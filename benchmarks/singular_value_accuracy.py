"""Derivatives of singular values beside nested jvp, pymablock and 60 digits; certified radii.

Five tables, ``--tables`` chooses: orders 1 to 6 of random matrices against nested
``torch.func.jvp`` of ``torch.linalg.svdvals`` and, where it is installed (``pip install
pymablock``), pymablock; the mean of two values at falling distances against differences with 60
digits, and the same mean by nested jvp; float32 against float64; how often a change lies outside
of the radius that ``predict`` gives; and the largest value of every convolution of
EfficientNet-Lite0 that is not depthwise, as a matrix (out, in * k * k), after rounding to few bits
per output channel, against ``forecast``.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from common import arguments, efficientnet_lite0, report, start
from torch import Tensor, nn

from captum_spectral.weights import SingularValues

# The oracles of the suite.
sys.path.append(str(Path(__file__).parents[1] / "tests" / "weights"))
from weights_oracles import (
    DTYPES,
    by_differences,
    by_jvp,
    by_pymablock,
    matrix_with,
)

SHAPES = [(4, 4), (5, 3), (3, 6)]


def orders(cases: int) -> list[dict[str, Any]]:
    """The largest difference of each order, over the largest derivative."""
    found: dict[int, list[float]] = {n: [0.0, 0.0] for n in range(1, 7)}
    for dtype in DTYPES:
        for shape in SHAPES * cases:
            weight, direction = torch.randn(2, *shape, dtype=dtype)
            spectrum = SingularValues(weight)
            by_name = [lambda n, a=weight, e=direction: by_jvp(a, e, n)]
            if find_spec("pymablock"):
                table = by_pymablock(weight, direction, 6)
                by_name.append(lambda n, table=table: table[n - 1])
            for n, worst in found.items():
                own = spectrum.derivative(direction, n)
                for i, truth in enumerate(peer(n) for peer in by_name):
                    error = float((own - truth).abs().max() / truth.abs().max())
                    worst[i] = max(worst[i], error)
    installed = bool(find_spec("pymablock"))
    return [
        {
            "order": n,
            "from nested jvp": f"{worst[0]:.0e}",
            "from pymablock": f"{worst[1]:.0e}" if installed else "not installed",
        }
        for n, worst in found.items()
    ]


def ties() -> list[dict[str, Any]]:
    """The mean of two values a distance apart: the largest error over orders 1 to 4."""
    rows = []
    for spacing in (0.1, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-14, 0.0):
        own, jvp = 0.0, 0.0
        for dtype in DTYPES:
            weight = matrix_with([2, 2 - spacing, 1], 4, 3, dtype)
            direction = torch.randn(4, 3, dtype=dtype)
            spectrum = SingularValues(weight, rtol=0.06)
            for n, truth in enumerate(by_differences(weight, direction, (0, 1), 4), 1):
                every = spectrum.derivative(direction, n, degenerate="mean")
                size = float(every.abs().max())
                own = max(own, abs(float(every[0] - truth)) / size)
                other = by_jvp(weight, direction, n)[:2].mean()
                error = abs(float(other - truth)) / size
                jvp = error if error != error else max(jvp, error)  # NaN stays
        rows.append(
            {"spacing": f"{spacing:g}", "cluster mean": f"{own:.0e}", "nested jvp": f"{jvp:.0e}"}
        )
    return rows


def precision(cases: int) -> list[dict[str, Any]]:
    """Second derivatives in float32 against float64, by the gap over the largest value."""
    errors: dict[str, list[float]] = {"above 1e-1": [], "1e-2 to 1e-1": [], "below 1e-2": []}
    for _ in range(cases):
        weight, direction = torch.randn(2, 32, 24, dtype=torch.float64).float()
        exact = SingularValues(weight.double())
        truth = exact.derivative(direction.double(), 2)
        found = SingularValues(weight).derivative(direction, 2, degenerate="nan")
        error = ((found - truth) / truth).abs()
        for gap, value in zip((exact.gap / exact.values[0]).tolist(), error.tolist(), strict=True):
            name = "above 1e-1" if gap > 0.1 else "1e-2 to 1e-1" if gap > 0.01 else "below 1e-2"
            errors[name].append(value)
    return [
        {
            "gap / s_1": name,
            "values": len(each),
            "median relative error": f"{torch.tensor(each).nanmedian():.0e}",
            "largest": f"{max(each, default=0):.0e}",
        }
        for name, each in errors.items()
    ]


def pairs(cases: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Batches of matrices and steps of all sizes: square and not, ties and zeros among them."""
    shapes = [(1, 1), (3, 3), (6, 6), (5, 2), (2, 7), (8, 5)]
    count = -(-cases // (2 * len(shapes)))
    for dtype in DTYPES:
        for m, n in shapes:
            weight = torch.randn(count, m, n, dtype=dtype)
            weight[::10] = weight[::10] - weight[::10].mean(-1, keepdim=True)  # rank n - 1
            if m >= n:
                weight[1::10] = torch.linalg.qr(weight[1::10])[0]  # all values tied
            sizes = 10.0 ** (torch.rand(count, 1, 1, dtype=torch.float64) * 9 - 8)
            name = f"{'complex' if dtype.is_complex else 'real'} {m} x {n}"
            yield name, weight, torch.randn(count, m, n, dtype=dtype) * sizes


def radii(cases: int) -> list[dict[str, Any]]:
    """Values outside of their radius, and how wide radii are where the series converges."""
    rows = []
    for name, weight, direction in pairs(cases):
        spectrum = SingularValues(weight)
        truth = torch.linalg.svdvals(weight + direction) - torch.linalg.svdvals(weight)
        outside, total, widths = 0, 0, []
        for order in (1, 2, 3, 4):
            change, error = spectrum.predict(direction, order)
            miss = (truth - change).abs()
            outside += int((miss > error).sum())
            total += miss.numel()
            # Where the miss can be told from rounding.
            far = miss > 1e-12 * spectrum.values[..., :1]
            widths.append((error / miss)[far])
        width = torch.cat(widths)
        low, middle, high = width.quantile(torch.tensor([0.05, 0.5, 0.95]).to(width)).tolist()
        rows.append(
            {
                "matrices": name,
                "cases": len(weight),
                "predictions": total,
                "outside": outside,
                "radius / miss, median": f"{middle:.0f}",
                "5 to 95 %": f"{low:.1f} to {high:.0f}",
            }
        )
    return rows


def rounding() -> list[dict[str, Any]]:
    """Changes of the largest value by rounding, and their forecast."""
    network = efficientnet_lite0()
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    weights = [m.weight.detach().flatten(1).double() for m in layers]
    spectra = [SingularValues(weight) for weight in weights]
    rows = []
    for bits in (8, 6, 4, 3):
        inside, first, second, shifts = 0, [], [], []
        for weight, spectrum in zip(weights, spectra, strict=True):
            step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
            rounded = (weight / step).round() * step
            truth = float(torch.linalg.svdvals(rounded)[0] - spectrum.values[0])
            mean, std = (float(x[0]) for x in spectrum.forecast(step / 12**0.5))
            inside += abs(truth - mean) <= 2 * std
            shifts.append(mean / std)
            first.append(abs(truth))  # to first order the mean change is 0
            second.append(abs(truth - mean))
        rows.append(
            {
                "bits": bits,
                "layers": len(layers),
                "within 2 deviations": f"{100 * inside / len(layers):.0f} %",
                "mean / deviation, median": round(statistics.median(shifts), 2),
                "change, median size": f"{statistics.median(first):.1e}",
                "change - mean, median size": f"{statistics.median(second):.1e}",
            }
        )
    return rows


def main() -> None:
    """Print the tables."""
    parser = arguments(__doc__)
    parser.add_argument("--cases", type=int, default=12_000, help="matrices of the table radii")
    names = ["orders", "ties", "precision", "radii", "rounding"]
    parser.add_argument("--tables", nargs="+", choices=names, default=names)
    args = start(parser)
    torch.manual_seed(0)
    tables = {
        "orders": lambda: orders(args.rounds),
        "ties": ties,
        "precision": lambda: precision(10 * args.rounds),
        "radii": lambda: radii(args.cases),
        "rounding": rounding,
    }
    found: dict[str, list[dict[str, Any]]] = {}
    path = args.json
    for name in args.tables:
        found[name] = tables[name]()
        args.json = path if name == args.tables[-1] else None  # one file, with all of them
        report(args, f"Singular values: {name}", found[name], tables=found)


if __name__ == "__main__":
    main()
