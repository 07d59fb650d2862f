"""The spectral signal-to-noise ratio of simple perturbations, over the shipped photographs.

For every perturbation: decibel per band with standard errors, the exponent of the power law through
the rings with its 95 % interval over photographs, and how well power law and exponential fit.
Looked at is the middle of every photograph, ``--size`` pixels on each side; smaller ones are left
out.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import torch
from common import arguments, report, start
from data import middles_of_photographs
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from captum_spectral.robustness.snr import SpectralSNR, spectral_snr
from captum_spectral.visualization import visualize_snr


def noise(sigma: float) -> Callable[[Tensor], Tensor]:
    """White noise, without clipping."""

    def perturb(x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return x + sigma * torch.randn(x.shape, generator=generator)

    return perturb


def contrast(x: Tensor) -> Tensor:
    """Four tenths of the contrast."""
    mean = x.mean((2, 3), keepdim=True)
    return mean + 0.4 * (x - mean)


def blur(x: Tensor) -> Tensor:
    """A Gaussian of one pixel."""
    return functional.gaussian_blur(x, [9, 9], [1.0, 1.0])


def pixelate(x: Tensor) -> Tensor:
    """Boxes of four pixels."""
    small = torch.nn.functional.avg_pool2d(x, 4)
    return small.repeat_interleave(4, 2).repeat_interleave(4, 3)


def jpeg(x: Tensor) -> Tensor:
    """Quality 15; rounded to 256 levels on the way."""
    images = []
    for image in x:
        file = io.BytesIO()
        functional.to_pil_image(image).save(file, "JPEG", quality=15)
        images.append(functional.pil_to_tensor(Image.open(file)))
    return torch.stack(images).float() / 255


PERTURBATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "white noise 0.2": noise(0.2),
    "blur 1 pixel": blur,
    "pixelate 4": pixelate,
    "JPEG 15": jpeg,
    "contrast 0.4": contrast,
}


def row(name: str, snr: SpectralSNR) -> dict[str, object]:
    """A line of the table."""
    fit = snr.fit_power_law()
    decibel = zip(snr.decibel.tolist(), snr.standard_error.tolist(), strict=True)
    return {
        "perturbation": name,
        "dB per band (standard error)": "; ".join(f"{x:.1f} ({e:.1f})" for x, e in decibel),
        "exponent": round(fit.exponent, 2),
        "95 % interval": f"{fit.low:.2f} to {fit.high:.2f}",
        "R2, power law": round(fit.r_squared, 3),
        "R2, exponential": round(fit.exponential_r_squared, 3),
    }


def main() -> None:
    """All perturbations."""
    parser = arguments(__doc__)
    parser.add_argument("--size", type=int, default=224, help="pixels (default: %(default)s)")
    parser.add_argument("--figure", type=Path, help="draw the curves to this file")
    args = start(parser)
    images = middles_of_photographs(args.size)
    found = {name: spectral_snr(images, f) for name, f in PERTURBATIONS.items()}
    table = [row(name, snr) for name, snr in found.items()]
    report(args, f"Spectral SNR of {len(images)} photographs, {args.size} pixels", table)
    if args.figure:
        some = next(iter(found.values()))
        figure, _ = visualize_snr(
            some.ring_frequencies,
            {name: snr.radial.decibel for name, snr in found.items()},
            some.frequencies,
            {name: snr.pooled_decibel for name, snr in found.items()},
            title=f"{len(images)} photographs of {args.size} x {args.size} pixels",
            use_pyplot=False,
        )
        figure.savefig(args.figure, dpi=150)


if __name__ == "__main__":
    main()
