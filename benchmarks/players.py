"""Four kinds of players on one photograph: sectors, wavelets, JPEG coefficients, light and colour.

EfficientNet-Lite0, the logit of the class it predicts; values are averaged over orderings, with
standard errors.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from common import arguments, efficientnet_lite0, photographs, report, start
from matplotlib.figure import Figure

from captum_spectral import SpectralShapley
from captum_spectral.features import DCT, Features, LumaChromaBands, Sectors, Wavelets
from captum_spectral.sources.images import photographs as shipped
from captum_spectral.visualization import (
    visualize_sectors,
    visualize_table,
    visualize_wavelets,
)

SECTORS, BANDS = Sectors(3, 4), 4
# The title of the panel, the players, and pairs of orderings.
KINDS: dict[str, tuple[Features, int]] = {
    "sectors of the Fourier plane": (SECTORS, 8),
    "Haar wavelets": (Wavelets(levels=3), 8),
    "coefficients of 8 x 8 blocks": (DCT(block_size=8), 2),
    "bands of light and colour": (LumaChromaBands(num_bands=BANDS), 8),
}


def main() -> None:
    """Explain the photograph by every kind, print the sums and draw them side by side."""
    parser = arguments(__doc__)
    parser.add_argument("--photograph", type=int, default=0, help="its number among the shipped")
    parser.add_argument("--figures", type=Path, help="folder for players.png")
    args = start(parser)
    name = list(shipped())[args.photograph]
    x = photographs(args.photograph + 1)[-1:]
    model = efficientnet_lite0()
    with torch.no_grad():
        target = int(model(x).argmax(1))
        gain = float(model(x)[0, target] - model(torch.zeros_like(x))[0, target])
    explainer = SpectralShapley(model)
    figure = Figure(figsize=(15, 11), layout="constrained")
    rows: list[dict[str, object]] = []
    for ax, (title, (features, n_samples)) in zip(
        figure.subplots(2, 2).flat, KINDS.items(), strict=True
    ):
        begin = time.perf_counter()
        found = explainer.attribute(
            x,
            target,
            features=features,
            n_samples=n_samples,
            generator=torch.Generator().manual_seed(0),
            return_input_shape=False,
            return_standard_error=True,
        )
        phi, error = (part[0] for part in found)
        seconds = time.perf_counter() - begin
        count = len(phi)
        cost = 2 * n_samples * (count - 1) + 2
        options = {"unit": "logits", "title": title, "plt_fig_axis": (figure, ax)}
        if isinstance(features, Sectors):
            visualize_sectors(
                phi, features.geometry(x.shape[-2:]), error, use_pyplot=False, **options
            )
        elif isinstance(features, Wavelets):
            visualize_wavelets(phi, error, use_pyplot=False, **options)
        elif isinstance(features, DCT):
            visualize_table(phi.reshape(8, 8), error.reshape(8, 8), use_pyplot=False, **options)
        else:
            axes = ["light", "colour"]
            both = (phi.reshape(2, -1), error.reshape(2, -1))
            heads = [f"band {band}" for band in range(BANDS)]
            visualize_table(*both, axes, heads, use_pyplot=False, **options)
        rows.append(
            {
                "players": f"{title} ({count})",
                "model rows": cost,
                "sum of the values": f"{float(phi.sum()):+.3f}",
                "seconds": round(seconds, 1),
            }
        )
    if args.figures:
        args.figures.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.figures / "players.png", dpi=80)
    report(args, f"{name}: logit of class {target}, {gain:+.3f} above the baseline", rows)


if __name__ == "__main__":
    main()
