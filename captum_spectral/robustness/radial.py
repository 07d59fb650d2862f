"""Rings of the Fourier plane, the signal-to-noise ratio along them, and how fast it falls."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_count

__all__ = ["PowerLawFit", "RadialSNR", "fit_power_law", "radial_snr", "ring_mask"]

_FIRST = 2  # cycles along the shorter side; below, a ring has too few frequencies to be one
_NYQUIST = 0.5
_HALF = 0.5 + 1e-9  # a radius between two rings is in the outer one, however it is rounded
_FLAT = 1e-18  # squared logarithms: rounding, of which a line explains nothing
_BLOCK = 2**22  # entries of the counts of resamples in memory at a time


class RadialSNR(NamedTuple):
    """The pooled signal-to-noise ratio of every ring.

    Attributes:
        frequencies (Tensor): ``(Q,)`` cycles per pixel, increasing.
        decibel (Tensor): ``(Q,)``; infinite where nothing was changed.
        is_corner (Tensor): ``(Q,)`` whether a ring lies beyond 0.5, where it is cut by the borders
            of the plane and holds diagonal frequencies alone.
    """

    frequencies: Tensor
    decibel: Tensor
    is_corner: Tensor


class PowerLawFit(NamedTuple):
    """A power law through the ratios of the rings, and how well it fits.

    Attributes:
        exponent (float): ``a`` of ``SNR ~ f^-a``: positive where the ratio falls with frequency.
        low (float): Lower end of its 95 % interval; NaN for a single image.
        high (float): Its upper end.
        r_squared (float): Share of the variance of ``log SNR`` that the power law explains; NaN
            where it does not vary.
        exponential_r_squared (float): The same of the alternative ``SNR ~ exp(-b f)``.
        num_rings (int): Rings that the fit is through.
    """

    exponent: float
    low: float
    high: float
    r_squared: float
    exponential_r_squared: float
    num_rings: int


def ring_mask(height: int, width: int) -> Tensor:
    r"""Return the ring of every frequency of the unshifted plane.

    .. math:: q = \operatorname{round}\Big(\min(H, W) \sqrt{(k_y / H)^2 + (k_x / W)^2}\Big)

    Ring ``q`` is around the frequency ``q / min(H, W)`` in cycles per pixel; halves go up.

    Args:
        height: ``H``.
        width: ``W``.

    Returns:
        ``(H, W)`` int64 in the order of ``torch.fft.fft2``.

    Example::

        >>> from captum_spectral.robustness.radial import ring_mask
        >>> ring_mask(4, 4)
        tensor([[0, 1, 2, 1],
                [1, 1, 2, 1],
                [2, 2, 3, 2],
                [1, 1, 2, 1]])
    """
    down, across = (
        torch.fft.fftfreq(n, dtype=torch.float64, device="cpu") for n in (height, width)
    )
    radius = torch.hypot(down[:, None], across) * min(height, width)
    return (radius + _HALF).floor().long()


def radial_snr(powers: Tensor, frequencies: Tensor) -> RadialSNR:
    """Pool the energies of rings over images.

    Args:
        powers: ``(N, 2, Q)`` energy of signal and perturbation of every image in every ring.
        frequencies: ``(Q,)`` of the rings, cycles per pixel.

    Returns:
        A :class:`RadialSNR`. Both energies of a ring are over as many frequencies, so their ratio
        is that of the mean powers per frequency.
    """
    signal, noise = powers.double().sum(0)
    return RadialSNR(frequencies, 10 * (signal / noise).log10(), frequencies > _NYQUIST)


def fit_power_law(
    powers: Tensor, frequencies: Tensor, num_resamples: int = 1000, seed: int = 0
) -> PowerLawFit:
    r"""Fit ``SNR ~ f^-a`` to the pooled ratios of the rings.

    Ordinary least squares of :math:`\log_{10} \text{SNR}` on :math:`\log_{10} f`, with equal weight
    for every ring from two cycles along the shorter side to 0.5 cycles per pixel; rings without
    perturbation or signal are left out. The interval is that of percentiles when images are drawn
    anew with replacement: residuals say nothing about it, because the rings of one image are not
    independent.

    Args:
        powers: ``(N, 2, Q)`` energy of signal and perturbation of every image in every ring.
        frequencies: ``(Q,)`` of the rings, cycles per pixel, with the first ring at one cycle.
        num_resamples: How often images are drawn anew. Default: 1000
        seed: Of these draws. Default: 0

    Returns:
        A :class:`PowerLawFit`; NaN throughout where fewer than three rings are left.

    Raises:
        ValueError: Shapes that do not fit.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.radial import fit_power_law
        >>> frequencies = torch.arange(1, 15) / 28
        >>> powers = torch.stack([frequencies**-2, torch.ones(14)]).expand(3, 2, 14)
        >>> fit = fit_power_law(powers, frequencies)
        >>> round(fit.exponent, 4), round(fit.low, 4), round(fit.r_squared, 4), fit.num_rings
        (2.0, 2.0, 1.0, 13)
    """
    num_resamples = check_count("num_resamples", num_resamples)
    if powers.dim() != 3 or powers.shape[1:] != (2, len(frequencies)):
        raise ValueError(
            f"powers must be (N, 2, {len(frequencies)}), one per frequency, got shape "
            f"{tuple(powers.shape)}"
        )
    powers, frequencies = (t.detach().to("cpu", torch.float64) for t in (powers, frequencies))
    total = powers.sum(0)
    step = frequencies.min()  # one cycle along the shorter side
    slack = 1e-9
    wanted = (frequencies >= _FIRST * step - slack) & (frequencies <= _NYQUIST + slack)
    kept = wanted & (total > 0).all(0)
    num_rings = int(kept.sum())
    if num_rings < 3:
        unknown = [math.nan] * 5
        return PowerLawFit(*unknown, num_rings=num_rings)  # type: ignore[misc, arg-type]
    f = frequencies[kept]
    exponent, r_squared = _line(f.log10(), _log_ratio(total[:, kept]))
    _, exponential = _line(f, _log_ratio(total[:, kept]))
    low, high = math.nan, math.nan
    if len(powers) > 1:
        redrawn = _resampled(powers[:, :, kept], num_resamples, seed)  # (n, 2, Q)
        slopes, _ = _line(f.log10(), _log_ratio(redrawn))
        ends = torch.tensor([0.025, 0.975], dtype=torch.float64, device="cpu")
        low, high = slopes[slopes.isfinite()].neg().quantile(ends).tolist()
    return PowerLawFit(
        exponent=float(-exponent),
        low=low,
        high=high,
        r_squared=float(r_squared),
        exponential_r_squared=float(exponential),
        num_rings=num_rings,
    )


def _log_ratio(powers: Tensor) -> Tensor:
    """Return the logarithm ``(..., Q)`` of the ratio of energies ``(..., 2, Q)``."""
    return powers[..., 0, :].log10() - powers[..., 1, :].log10()


def _line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope and R^2 of the line through ``y (..., Q)`` over ``x (Q,)``."""
    x, y = x - x.mean(), y - y.mean(-1, keepdim=True)
    slope = (y * x).sum(-1) / x.square().sum()
    left = (y - slope[..., None] * x).square().sum(-1)
    spread = y.square().sum(-1)
    return slope, torch.where(spread > _FLAT, 1 - left / spread, torch.nan)


def _resampled(powers: Tensor, num_resamples: int, seed: int) -> Tensor:
    """Sum the energies ``(N, 2, Q)`` of images drawn with replacement: ``(n, 2, Q)``."""
    count = len(powers)
    generator = torch.Generator("cpu").manual_seed(seed)
    sums = []
    for n in torch.arange(num_resamples).split(max(1, _BLOCK // count)):
        drawn = torch.randint(count, (len(n), count), generator=generator, device="cpu")
        times = torch.zeros(len(n), count, dtype=torch.float64, device="cpu")
        times.scatter_add_(1, drawn, torch.ones_like(times))
        sums.append(times @ powers.flatten(1))
    resampled: Tensor = torch.cat(sums).unflatten(1, powers.shape[1:])
    return resampled
