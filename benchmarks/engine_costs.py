"""What methods cost beyond their passes through the model, forwards and backwards.

The time of a call over the time that is spent in the model's forward passes and in its gradients,
which are timed while the call runs. Times are those of the processor.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from common import NETWORKS, arguments, photographs, report, start
from torch import Tensor, nn

from captum_spectral import FeatureSuppression, SpectralShapley, deletion_curve
from captum_spectral.boundary import find_boundary


class InModel:
    """Adds up the time that is spent in a model and in its gradients."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function with a clock."""

        def with_clock(*args: Any, **kwargs: Any) -> Any:
            begin = time.process_time()
            try:
                return func(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - begin

        return with_clock


class Clocked(nn.Module):
    """A model with a clock."""

    def __init__(self, model: nn.Module, clock: InModel) -> None:
        super().__init__()
        self.model, self.run = model, clock.timed(model)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def main() -> None:
    """Each method once or a few times."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--networks", nargs="+", default=["ResNet-18"], choices=NETWORKS)
    args = start(parser)
    torch.manual_seed(0)
    x, bands, table = photographs(2), torch.rand(2, 8), []
    for name in args.networks:
        clock = InModel()
        model = Clocked(NETWORKS[name](), clock)
        target = model(x).argmax(1)
        calls: dict[str, Callable[[], Any]] = {
            "SpectralShapley, 5 bands": lambda m=model, t=target: SpectralShapley(m).attribute(
                x, t, num_bands=5, shortcuts=False
            ),
            "FeatureSuppression, bands": lambda m=model, t=target: FeatureSuppression(m).attribute(
                x, t, domain="frequency", n_samples=16
            ),
            "FeatureSuppression, pixels": lambda m=model, t=target: FeatureSuppression(m).attribute(
                x, t, domain="pixel", n_samples=16
            ),
            "deletion_curve, bands": lambda m=model, t=target: deletion_curve(
                m, x, bands, t, domain="frequency", perturbations_per_eval=2
            ),
            "deletion_curve, pixels": lambda m=model, t=target: deletion_curve(
                m, x, x.sum(1, keepdim=True), t, perturbations_per_eval=2
            ),
            "find_boundary": lambda m=model, t=target: find_boundary(m, x, t),
        }
        gradient = torch.autograd.grad
        torch.autograd.grad = clock.timed(gradient)
        try:
            for call, run in calls.items():
                run()
                ratios, rounds = [], []
                for _ in range(args.rounds):
                    clock.seconds, begin = 0.0, time.process_time()
                    run()
                    rounds.append(time.process_time() - begin)
                    ratios.append(rounds[-1] / clock.seconds)
                table.append(
                    {
                        "network": name,
                        "call": call,
                        "s": round(statistics.median(rounds), 2),
                        "over the model": round(statistics.median(ratios), 3),
                    }
                )
                print(table[-1], flush=True)
        finally:
            torch.autograd.grad = gradient
    report(args, "Time of a call over the time in the model", table)


if __name__ == "__main__":
    main()
