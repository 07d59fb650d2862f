"""Derivatives of all singular values along a direction, beside autograd.

Second and third derivatives: ours with the decomposition at hand and with it included, nested
``torch.func.jvp`` of ``torch.linalg.svdvals``, and nested reverse mode over a copy of the matrix
for each value. Then one Hessian-vector product of the largest value, the decomposition included,
beside double backward. In turns in one run; medians over rounds of ratios within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from common import arguments, in_turns, ratio, report, start
from torch import Tensor

from captum_spectral.weights import SingularValues

SHAPES = ["32x27", "64x64", "256x128", "64x16x16"]
Task = Callable[[], Tensor]


def by_jvp(weight: Tensor, direction: Tensor, order: int) -> Tensor:
    """All values at once, an order of forward mode on top of another."""

    def along(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def derivative(t: Tensor) -> Tensor:
            found: Tensor = torch.func.jvp(function, (t,), (torch.ones_like(t),))[1]
            return found

        return derivative

    def values(t: Tensor) -> Tensor:
        return torch.linalg.svdvals(weight + t * direction)

    function = values
    for _ in range(order):
        function = along(function)
    return function(torch.zeros((), dtype=weight.dtype))


def by_reverse(weight: Tensor, direction: Tensor, order: int) -> Tensor:
    """Copy k of the matrices has a parameter of its own and contributes value k."""
    p = min(weight.shape[-2:])
    t = torch.zeros(p, *weight.shape[:-2], dtype=weight.dtype, requires_grad=True)
    values = torch.linalg.svdvals(weight + t[..., None, None] * direction)  # (p, ..., p)
    value = values.diagonal(dim1=0, dim2=-1).sum()
    for j in range(order):
        (found,) = torch.autograd.grad(value, t, create_graph=j + 1 < order)
        value = found.sum()
    return found.movedim(0, -1)


PEERS = {"nested jvp": by_jvp, "nested reverse": by_reverse}


def derivatives(shape: str, order: int, peers: list[str], rounds: int) -> dict[str, Any]:
    """A row of times and ratios."""
    weight, direction = torch.randn(2, *map(int, shape.split("x")), dtype=torch.float64)
    spectrum = SingularValues(weight)
    tasks: dict[str, Task] = {
        "ours": lambda: spectrum.derivative(direction, order),
        "ours with SVD": lambda: SingularValues(weight).derivative(direction, order),
        **{n: lambda n=n: PEERS[n](weight, direction, order) for n in peers},
    }
    results = {name: task() for name, task in tasks.items()}  # and the first call
    worst = max(float((r - results["ours"]).abs().max()) for r in results.values())
    times = in_turns(tasks, rounds)
    row: dict[str, Any] = {"matrix": shape, "order": order}
    for name in tasks:
        row[f"{name}, ms"] = round(1000 * statistics.median(times[name]), 2)
    for name in peers:
        row[f"{name} / ours"] = round(ratio(times[name], times["ours"]), 1)
        row[f"{name} / with SVD"] = round(ratio(times[name], times["ours with SVD"]), 1)
    row["largest difference"] = f"{worst / float(results['ours'].abs().max()):.0e}"
    return row


def product(shape: str, rounds: int) -> dict[str, Any]:
    """A row of one Hessian-vector product."""
    weight, direction = torch.randn(2, *map(int, shape.split("x")), dtype=torch.float64)

    def theirs() -> Tensor:
        a = weight.clone().requires_grad_()
        value = torch.linalg.svdvals(a)[..., 0].sum()
        (gradient,) = torch.autograd.grad(value, a, create_graph=True)
        found: Tensor = torch.autograd.grad((gradient * direction).sum(), a)[0]
        return found

    tasks: dict[str, Task] = {
        "ours with SVD": lambda: SingularValues(weight).hvp(direction, 0),
        "double backward": theirs,
    }
    ours, other = (task() for task in tasks.values())
    times = in_turns(tasks, rounds)
    return {
        "matrix": shape,
        **{f"{n}, ms": round(1000 * statistics.median(t), 2) for n, t in times.items()},
        "double backward / ours": round(ratio(times["double backward"], times["ours with SVD"]), 2),
        "largest difference": f"{float((ours - other).abs().max() / other.abs().max()):.0e}",
    }


def main() -> None:
    """Print the tables."""
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="default: %(default)s")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    args = start(parser)
    torch.manual_seed(0)
    pairs = [(shape, order) for shape in args.shapes for order in (2, 3)]
    rows = [derivatives(shape, order, args.peers, args.rounds) for shape, order in pairs]
    products = [product(shape, args.rounds) for shape in args.shapes]
    title = f"Derivatives of all singular values, float64, {args.rounds} rounds"
    report(args, title, rows, products=products)
    args.json = None  # written
    report(args, "A Hessian-vector product of the largest value", products)


if __name__ == "__main__":
    main()
