"""How many files of the package a call passes: the length of the way a reader has to follow.

A file counts once if any of its functions runs. Captum's methods pass 5 to 8 files, metrics of
torchmetrics 3 to 5, shapiq 5 to 7.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch

import captum_spectral
from captum_spectral import SpectralImportance, SpectralShapley, deletion_curve

HOUSE = os.path.dirname(os.path.abspath(captum_spectral.__file__)) + os.sep


def files_of(call: Callable[[], Any]) -> list[str]:
    """Return the files whose functions run in a call, in the order in which they are met."""
    met: dict[str, None] = {}

    def look(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(HOUSE) and frame.f_code.co_name != "<module>":
            met[name.removeprefix(HOUSE)] = None

    call()  # lazy imports, and what is found once
    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
    return list(met)


def main() -> None:
    """Print the files of the calls that users make most."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 5)).eval()
    x, target = torch.rand(2, 3, 32, 32), torch.tensor([3, 1])
    importance = SpectralImportance(model, n_samples=1)
    bands = torch.rand(2, 8)
    calls: dict[str, Callable[[], Any]] = {
        "SpectralShapley.attribute": lambda: SpectralShapley(model).attribute(x, target),
        "SpectralImportance.update": lambda: importance.update(x, target),
        "deletion_curve in bands": lambda: deletion_curve(
            model, x, bands, target, domain="frequency"
        ),
    }
    for name, call in calls.items():
        files = files_of(call)
        print(f"{name}: {len(files)} files\n  {', '.join(files)}")


if __name__ == "__main__":
    main()
