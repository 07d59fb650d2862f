"""The eight built-in corruptions as functions of pixels, their strength and a generator.

Each takes ``x (B, C, H, W)`` from 0 to 1 in float32 or float64 and returns what is to be clamped to
that range. Random numbers are drawn on the CPU, where the generator is, so that every device gets
the same.
"""

from __future__ import annotations

import functools
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = [
    "brightness",
    "contrast",
    "gaussian_blur",
    "gaussian_noise",
    "impulse_noise",
    "jpeg",
    "pixelate",
    "shot_noise",
]

# Sides and severities whose matrices are kept; making one takes longer than to blur a small image.
_KEPT = 16
_REACH = 4.0  # standard deviations of the Gaussian kernel on either side


def gaussian_noise(x: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    """Add ``sd`` times standard normal noise to every value."""
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device="cpu")
    return x + sd * noise.to(x.device)


def shot_noise(x: Tensor, photons: float, generator: torch.Generator) -> Tensor:
    """Count photons, ``photons`` on average for a value of 1: Poisson(``photons * x``)/``photons``.

    The variance is ``x / photons``.
    """
    counts = torch.poisson((photons * x).cpu(), generator=generator)
    return counts.to(x.device) / photons


def impulse_noise(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Set a share of all values to 0 or 1, half each; every channel on its own."""
    drawn = torch.rand(x.shape, generator=generator, dtype=torch.float64, device="cpu").to(x.device)
    ends = (drawn >= share / 2).to(x.dtype)
    return torch.where(drawn < share, ends, x)


def gaussian_blur(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Blur with a Gaussian of ``sigma`` pixels, cut off at 4 sigma, over images that are mirrored.

    The mirror stands at the outer edge of the last pixel (``d c b a | a b c d | d c b a``), so the
    mean of an image stays to rounding, and images may be smaller than the kernel.
    """
    return _by_rows_and_columns(x, *(_blur_matrix(n, sigma) for n in x.shape[-2:]))


def pixelate(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Scale down to ``share`` of either side, each cell the mean of its pixels, and up again.

    By boxes both ways, so every pixel becomes the mean of its cell.
    """
    return _by_rows_and_columns(x, *(_pixelate_matrix(n, share) for n in x.shape[-2:]))


def jpeg(x: Tensor, quality: int, generator: torch.Generator) -> Tensor:
    """Encode as JPEG and decode; grey is shown as three equal channels and stays grey."""
    channels = x.shape[1]
    if channels not in (1, 3):
        raise ValueError(f"jpeg takes images of 1 or 3 channels, got {channels}")
    levels = (x * 255).round().to("cpu", torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    decoded = torch.stack([_through_jpeg(image, quality) for image in levels])
    return decoded.permute(0, 3, 1, 2)[:, :channels].to(x) / 255


def _through_jpeg(levels: Tensor, quality: int) -> Tensor:
    """Encode and decode an image ``(H, W, 3)`` of bytes."""
    file = io.BytesIO()
    Image.fromarray(levels.numpy()).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image))


def contrast(x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
    """Pull every channel towards its mean: ``mean + factor * (x - mean)``."""
    mean = x.mean((-2, -1), keepdim=True)
    return mean + factor * (x - mean)


def brightness(x: Tensor, added: float, generator: torch.Generator) -> Tensor:
    """Add a number to every value of every channel."""
    return x + added


def _by_rows_and_columns(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Apply a linear map ``(H, H)`` along the height and another ``(W, W)`` along the width."""
    return rows.to(x) @ x @ columns.to(x).T


@functools.lru_cache(_KEPT)
def _blur_matrix(n: int, sigma: float) -> Tensor:
    """Return the weight ``(n, n)`` of every pixel of a line in every blurred one."""
    reach = int(_REACH * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1, device="cpu")
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    # The mirrored line repeats after 2 n pixels, the second n of which run backwards.
    places = (torch.arange(n, device="cpu")[:, None] + offsets) % (2 * n)
    places = torch.minimum(places, 2 * n - 1 - places)  # (n, offsets)
    matrix = torch.zeros(n, n, dtype=torch.float64, device="cpu")
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(n, -1))


@functools.lru_cache(_KEPT)
def _pixelate_matrix(n: int, share: float) -> Tensor:
    """Return the weight ``(n, n)`` of every pixel of a line in every pixelated one.

    A pixel belongs to the cell that its centre lies in, the upper one if it is on an edge.
    """
    cells = max(1, int(n * share))
    cell = (2 * torch.arange(n, device="cpu") + 1) * cells // (2 * n)
    together = (cell[:, None] == cell).double()
    return together / together.sum(1, keepdim=True)
