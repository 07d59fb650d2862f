"""Distances to the nearest boundary, and the time to find them, beside foolbox.

16 digits of scikit-learn and a small CNN, trained here in a second. ``find_boundary`` and foolbox's
DeepFool and DDN (100 steps) look for the nearest points of another class, in turns; distances are
means over the digits, seconds medians over rounds after one to warm up. Without a range foolbox
gets one that is never met.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable

import torch
from common import arguments, in_turns, report, start
from sklearn.datasets import load_digits
from torch import Tensor, nn

from captum_spectral import find_boundary

UNLIMITED = (-10.0, 11.0)


def digits() -> tuple[nn.Module, Tensor, Tensor]:
    """A trained CNN, 16 digits that it has not seen, ``(16, 1, 8, 8)`` in [0, 1], and which."""
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(data.target)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(512, 10)),
        )
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(100):
            some = torch.randint(0, 1500, (128,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[some]), y[some]).backward()
            optimizer.step()
    return model.eval(), x[1500:1516], y[1500:1516]


def searches(
    model: nn.Module, x: Tensor, clip: tuple[float, float] | None
) -> dict[str, Callable[[], Tensor]]:
    """The distances ``(B,)`` by who finds them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        import foolbox
    with torch.no_grad():
        target = model(x).argmax(1)
    adversary = foolbox.PyTorchModel(model, bounds=clip or UNLIMITED, device="cpu")

    def theirs(attack: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> Callable[[], Tensor]:
        def distances() -> Tensor:
            _, found, _ = attack(adversary, x, target, epsilons=None)
            return (found - x).flatten(1).norm(dim=1)

        return distances

    return {
        "find_boundary": lambda: find_boundary(model, x, target, clip=clip).distances,
        "foolbox DeepFool": theirs(foolbox.attacks.L2DeepFoolAttack()),
        "foolbox DDN": theirs(foolbox.attacks.DDNAttack()),
    }


def main() -> None:
    """A line for each search, with and without a range."""
    args = start(arguments(__doc__, rounds=20))
    model, x, _ = digits()
    table = []
    for clip in (None, (0.0, 1.0)):
        tasks = searches(model, x, clip)
        found = {name: float(task().mean()) for name, task in tasks.items()}
        times = in_turns(tasks, args.rounds)
        for name in tasks:
            seconds = statistics.median(times[name])
            table.append(
                {
                    "range": "none" if clip is None else "0 to 1",
                    "search": name,
                    "mean distance": round(found[name], 4),
                    "milliseconds": round(1000 * seconds, 1),
                    "/ best of foolbox": round(
                        found[name] / min(found[n] for n in tasks if n != "find_boundary"), 3
                    ),
                }
            )
    report(args, f"Nearest boundaries of 16 digits, {args.rounds} rounds", table)


if __name__ == "__main__":
    main()
