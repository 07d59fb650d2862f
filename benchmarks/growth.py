"""How the time of an explanation grows: with the images, the coalitions and the pixels.

The slope is that of log time over log size, fitted over all sizes; 1 is proportional growth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import NETWORKS, arguments, in_turns, photographs, report, start

from captum_spectral import SpectralShapley


def main() -> None:
    """Three axes, one after the other."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--network", default="MobileNetV3-small", choices=NETWORKS)
    args = start(parser)
    explainer = SpectralShapley(NETWORKS[args.network]())

    def explain(images: int = 1, num_bands: int = 6, size: int = 224) -> Any:
        x = photographs(images, size)
        explainer.attribute(x, 0, num_bands=8)  # the chunk for this size is found here
        return lambda: explainer.attribute(x, 0, num_bands=num_bands)

    axes = {
        "images B": {b: explain(images=b) for b in (1, 2, 4, 8)},
        "coalitions 2^M": {2**m: explain(num_bands=m) for m in (4, 6, 8, 10)},
        "pixels H W": {s * s: explain(size=s) for s in (64, 128, 256, 512)},
    }
    table = []
    for name, tasks in axes.items():
        times = {size: min(t) for size, t in in_turns(tasks, args.rounds).items()}
        slope = float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0])
        seconds = ", ".join(f"{size}: {t:.2f}" for size, t in times.items())
        table.append({"axis": name, "seconds": seconds, "slope": round(slope, 2)})
        print(table[-1], flush=True)
    report(args, f"Growth, {args.network}, best of {args.rounds} rounds", table)


if __name__ == "__main__":
    main()
