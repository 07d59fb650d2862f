"""Feature masks over the Fourier plane: which band every frequency belongs to.

A feature mask is Captum's word for a tensor of integer ids. Here the ids are *bands* and the
positions are the bins of ``torch.fft.fftn``, unshifted: index ``k`` of a dimension of size ``n``
is the signed frequency ``k`` for ``k < n / 2`` and ``k - n`` above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Norm = Literal["linf", "l2", "l1"]
Spacing = Literal["linear", "octave"]

__all__ = ["Norm", "Spacing", "band_frequencies", "band_mask"]


def band_mask(
    shape: Sequence[int],
    num_bands: int = 8,
    norm: Norm = "linf",
    spacing: Spacing = "linear",
    edges: Sequence[float | Fraction] | None = None,
) -> Tensor:
    r"""Partition the Fourier plane of a real signal into nested frequency bands.

    With the signed integer frequency :math:`k_d` of a dimension of size :math:`n_d`, the normalised
    radius of a bin is

    .. math::
        r_\infty = \max_d \frac{|k_d|}{n_d / 2}, \qquad
        r_2 = \Big(\sum_d \frac{k_d^2}{(n_d / 2)^2}\Big)^{1/2}, \qquad
        r_1 = \sum_d \frac{|k_d|}{n_d / 2},

    1 being the Nyquist frequency along an axis (0.5 cycles/pixel). With the interior edges
    :math:`e_1 < \dots < e_{M-1}`, band :math:`i` holds the bins with
    :math:`e_i \le r < e_{i+1}`; the last band has no upper edge and takes the corners beyond
    Nyquist that ``l2`` and ``l1`` leave. The edges are :math:`i / M` for ``spacing="linear"`` and
    :math:`2^{i - M}` for ``spacing="octave"``. Radii and edges are compared as integers, so no size
    has a bin on the wrong side of an edge by rounding, and a frequency and its negative always
    share a band.

    Args:
        shape: Sizes of the transformed dimensions, e.g. ``(H, W)``; any number, odd or even.
        num_bands: How many bands, ``M``. Not used when ``edges`` are given. Default: 8
        norm: ``"linf"`` (nested squares), ``"l2"`` (rings) or ``"l1"`` (diamonds). Default: "linf"
        spacing: ``"linear"`` (equal widths) or ``"octave"`` (each band twice as wide as the one
            below). Not used when ``edges`` are given. Default: "linear"
        edges: Interior edges, strictly increasing, as normalised radii; ``len(edges) + 1`` bands.
            A ``fractions.Fraction`` is taken exactly, a float as the binary fraction it is.
            Default: None

    Returns:
        ``(*shape)`` int64 tensor of band ids, 0 the lowest, in the layout of ``torch.fft.fftn``.

    Raises:
        TypeError: ``shape``, ``num_bands`` or ``edges`` are not numbers of the right kind.
        ValueError: Unknown ``norm`` or ``spacing``, edges that do not increase, more bands than
            the frequencies of ``shape`` can fill (a band of ``num_bands`` must hold at least two
            bins: a single one is the mean or a checkerboard, not a band; explicit ``edges`` may
            isolate one bin).

    Example::

        >>> from captum_spectral import band_mask
        >>> band_mask((4, 6), num_bands=2)
        tensor([[0, 0, 1, 1, 1, 0],
                [1, 1, 1, 1, 1, 1],
                [1, 1, 1, 1, 1, 1],
                [1, 1, 1, 1, 1, 1]])
        >>> band_mask((224, 224)).unique().tolist()
        [0, 1, 2, 3, 4, 5, 6, 7]
        >>> band_mask((16,), edges=[1 / 8, 0.5]).tolist()
        [0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1]

    References:
        R. Luo, J. McDermott, C. O'Riordan, *Interpreting Global Perturbation Robustness of Image
        Models using Axiomatic Spectral Importance Decomposition*, TMLR 2024 (bands of equal width
        under the max-norm).
    """
    sizes = _check_sizes(shape)
    if norm not in ("linf", "l2", "l1"):
        raise ValueError(f"norm must be 'linf', 'l2' or 'l1', got {norm!r}")
    if edges is not None:
        mask = _digitize(sizes, norm, _check_edges(edges))
        empty = np.flatnonzero(np.bincount(mask.ravel(), minlength=len(edges) + 1) == 0)
        if empty.size:
            raise ValueError(
                f"edges={list(edges)!r} leave band {empty[0]} without any frequency of a signal of "
                f"shape {sizes}; move its edges apart or drop one of them"
            )
        return torch.from_numpy(mask)
    _check_num_bands(num_bands)
    if spacing not in ("linear", "octave"):
        raise ValueError(f"spacing must be 'linear' or 'octave', got {spacing!r}")
    mask = _digitize(sizes, norm, _edges(num_bands, spacing))
    short = _short_band(mask, num_bands)
    if short is not None:
        band, bins = short
        fits = next(
            m
            for m in range(min(num_bands, max(sizes)), 0, -1)
            if _short_band(_digitize(sizes, norm, _edges(m, spacing)), m) is None
        )
        raise ValueError(
            f"num_bands={num_bands} is more than the frequencies of a signal of shape {sizes} can "
            f"fill: band {band} would hold {bins} frequency bin(s), at least 2 are needed; at most "
            f"num_bands={fits} fits (norm={norm!r}, spacing={spacing!r})"
        )
    return torch.from_numpy(mask)


def band_frequencies(feature_mask: Tensor, spectral_dims: Sequence[int] = (-2, -1)) -> Tensor:
    """Lowest and highest frequency of each band of a mask, in cycles per sample (pixel).

    The frequency of a bin is the largest ``|k_d| / n_d`` over the spectral dims, so 0.5 is Nyquist.

    Args:
        feature_mask: Integer band ids, ``(*spectral)`` or with more dims, as in
            :class:`~captum_spectral.SpectralShapley`. Sizes of the spectral dims must be whole.
        spectral_dims: The transformed dims of the mask. Default: (-2, -1)

    Returns:
        ``(M, 2)`` float64 tensor of lowest and highest frequency; NaN for an id that no bin has.

    Raises:
        IndexError: A spectral dim that the mask does not have.

    Example::

        >>> from captum_spectral import band_frequencies, band_mask
        >>> band_frequencies(band_mask((224, 224), num_bands=4))[:2]
        tensor([[0.0000, 0.1205],
                [0.1250, 0.2455]], dtype=torch.float64)
    """
    mask = feature_mask.detach().cpu()
    radius = torch.zeros([1] * mask.dim(), dtype=torch.float64, device="cpu")
    for dim in spectral_dims:
        axis = torch.fft.fftfreq(mask.shape[dim], dtype=torch.float64, device="cpu").abs()
        sizes = [1] * mask.dim()
        sizes[dim] = -1
        radius = torch.maximum(radius, axis.reshape(sizes))
    radius = radius.expand(mask.shape)
    result = torch.full((int(mask.max()) + 1, 2), math.nan, dtype=torch.float64, device="cpu")
    for band in mask.unique().tolist():
        inside = radius[mask == band]
        result[band] = torch.stack([inside.min(), inside.max()])
    return result


def _digitize(sizes: tuple[int, ...], norm: str, edges: Sequence[Fraction]) -> np.ndarray:
    """Band ids over the plane: how many edges are at or below each bin's radius, in integers.

    Every radius is written over one common denominator, so a comparison with an edge p / q is one
    of integers. One quadrant is enough: the others hold the same |k|, which makes k and -k equal by
    construction.
    """
    common = math.lcm(*sizes)
    axes = [[2 * k * (common // n) for k in range(n // 2 + 1)] for n in sizes]
    if norm == "l2":
        axes = [[a * a for a in axis] for axis in axes]
        thresholds = [math.ceil(e * e * common * common) for e in edges]
    else:
        thresholds = [math.ceil(e * common) for e in edges]
    largest = max([sum(axis[-1] for axis in axes), *thresholds])
    dtype = np.int64 if largest < 2**63 else object  # Python integers where int64 would overflow
    combine = np.maximum if norm == "linf" else np.add
    quadrant = np.zeros([1] * len(sizes), dtype=dtype)
    for dim, axis in enumerate(axes):
        column = [1] * len(sizes)
        column[dim] = -1
        quadrant = combine(quadrant, np.array(axis, dtype=dtype).reshape(column))
    bands = np.searchsorted(np.array(thresholds, dtype=dtype), quadrant, side="right")
    unfold = [np.minimum(np.arange(n), n - np.arange(n)) for n in sizes]
    return bands[np.ix_(*unfold)].astype(np.int64)


def _edges(num_bands: int, spacing: str) -> list[Fraction]:
    if spacing == "linear":
        return [Fraction(i, num_bands) for i in range(1, num_bands)]
    return [Fraction(1, 2 ** (num_bands - i)) for i in range(1, num_bands)]


def _short_band(mask: np.ndarray, num_bands: int) -> tuple[int, int] | None:
    """The first band with fewer than two bins and how many it has; one band may be any size."""
    counts = np.bincount(mask.ravel(), minlength=num_bands)
    short = np.flatnonzero(counts < 2)
    return (int(short[0]), int(counts[short[0]])) if num_bands > 1 and short.size else None


def _check_sizes(shape: Sequence[int]) -> tuple[int, ...]:
    try:
        sizes = tuple(int(n) for n in shape)
    except TypeError as error:
        raise TypeError(
            f"shape must be a sequence of sizes such as (H, W), got {shape!r}"
        ) from error
    if not sizes or min(sizes) < 1:
        raise ValueError(f"shape must hold one or more positive sizes, got {sizes}")
    return sizes


def _check_num_bands(num_bands: int) -> None:
    if isinstance(num_bands, bool) or not isinstance(num_bands, int):
        raise TypeError(f"num_bands must be an integer, got {num_bands!r}")
    if num_bands < 1:
        raise ValueError(f"num_bands must be at least 1, got {num_bands}")


def _check_edges(edges: Sequence[float | Fraction]) -> list[Fraction]:
    try:
        exact = [Fraction(e) for e in edges]
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"edges must be finite numbers or fractions.Fraction, got {edges!r}"
        ) from error
    if any(e <= 0 for e in exact) or any(a >= b for a, b in pairwise(exact)):
        raise ValueError(
            f"edges must be positive and strictly increasing (interior edges only), got {edges!r}"
        )
    return exact
