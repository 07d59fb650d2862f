"""Feature masks over the Fourier plane: which band every frequency belongs to.

A feature mask is Captum's word for a tensor of integer ids. Here the ids are *bands* and the
positions are the bins of ``torch.fft.fftn``, unshifted: index ``k`` of a dimension of size ``n``
is the signed frequency ``k`` for ``k < n / 2`` and ``k - n`` above.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.features.feature_mask import check_ids

Norm = Literal["linf", "l2", "l1"]
Spacing = Literal["linear", "octave"]

__all__ = ["Norm", "Spacing", "band_frequencies", "band_mask"]

NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
DEFAULT_BANDS = 8
_MEL = 700.0  # hertz; below, mel are about linear, above about logarithmic
_DENOMINATOR = 10**5  # of the ratio of two sample rates, so that integers stay small
MOST_CHANNELS = 4  # of images; a longer dim before the last two may be the depth of a volume


def band_mask(
    shape: Sequence[int],
    num_bands: int | None = None,
    norm: Norm = "linf",
    spacing: Spacing | Literal["mel"] = "linear",
    edges: Sequence[float | Fraction] | None = None,
    *,
    sample_rate: float | Fraction | Sequence[float | Fraction] | None = None,
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

    With ``sample_rate`` everything is in units: in hertz for samples per second, in cycles/mm for
    samples per mm. The radius of dimension :math:`d` is then
    :math:`\frac{|k_d|}{n_d / 2} \cdot \frac{s_d}{\max_e s_e}`, 1 being the highest Nyquist
    frequency, and ``spacing="mel"`` makes bands of equal width on the mel scale,
    :math:`2595 \log_{10}(1 + f / 700\,\text{Hz})`.

    Args:
        shape: Sizes of the transformed dimensions, e.g. ``(H, W)``; any number, odd or even.
        num_bands: How many bands, ``M``. None: 8, or as many as the frequencies of a small signal
            can fill. Not used when ``edges`` are given. Default: None
        norm: ``"linf"`` (nested squares), ``"l2"`` (rings) or ``"l1"`` (diamonds). Default: "linf"
        spacing: ``"linear"`` (equal widths), ``"octave"`` (each band twice as wide as the one
            below) or ``"mel"`` (equal widths in mel, which needs ``sample_rate``). Not used when
            ``edges`` are given. Default: "linear"
        edges: Interior edges, strictly increasing, as normalised radii, or in hertz or whatever is
            the unit of ``sample_rate``; ``len(edges) + 1`` bands. A ``fractions.Fraction`` is taken
            exactly, a float as the binary fraction it is. Default: None
        sample_rate: Samples per unit: 16000 for a sound in hertz, ``1 / spacing`` for voxels in mm;
            one for all dimensions or one for each. None: bands do not depend on it. Default: None

    Returns:
        ``(*shape)`` int64 tensor of band ids, 0 the lowest, in the layout of ``torch.fft.fftn``.

    Raises:
        TypeError: ``shape``, ``num_bands`` or ``edges`` are not numbers of the right kind.
        ValueError: Unknown ``norm`` or ``spacing``, edges that do not increase, more bands than
            the frequencies of ``shape`` can fill.

    Example::

        >>> from captum_spectral import band_mask
        >>> band_mask((4, 6), num_bands=2)
        tensor([[0, 0, 1, 1, 1, 0],
                [1, 1, 1, 1, 1, 1],
                [1, 1, 1, 1, 1, 1],
                [1, 1, 1, 1, 1, 1]])
        >>> band_mask((224, 224)).unique().tolist()
        [0, 1, 2, 3, 4, 5, 6, 7]
        >>> band_mask((8, 8)).unique().tolist()     # the frequencies are 0, 1, 2, 3, 4
        [0, 1, 2, 3, 4]
        >>> band_mask((16,), edges=[1 / 8, 0.5]).tolist()
        [0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1]
        >>> band_mask((16,), edges=[1000, 3000], sample_rate=8000).tolist()   # 0, 500, ..., 4000 Hz
        [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 0]

    References:
        R. Luo, J. McDermott, C. O'Riordan, *Interpreting Global Perturbation Robustness of Image
        Models using Axiomatic Spectral Importance Decomposition*, TMLR 2024 (bands of equal width
        under the max-norm).
    """
    sizes = check_sizes(shape)
    rates = None if sample_rate is None else check_rates(sample_rate, len(sizes))
    if edges is None and spacing == "mel" and rates is None:
        raise ValueError(
            "spacing='mel' is a scale of hertz; give sample_rate, in samples per second"
        )
    relative, highest = None, Fraction(1)
    if rates is not None:
        relative = [(rate / max(rates)).limit_denominator(_DENOMINATOR) for rate in rates]
        highest = max(rates) / 2
    return nested_bands(
        sizes,
        lambda edges: digitize(sizes, norm, edges, relative),
        num_bands,
        norm=norm,
        spacing=spacing,
        edges=edges,
        highest=highest,
        nyquist=(
            "without sample_rate edges are radii of which 1 is Nyquist, 0.5 cycles per sample; "
            "give sample_rate for edges in hertz"
            if rates is None
            else f"Nyquist is sample_rate / 2 = {float(highest):g}"
        ),
    )


def fitting_band_mask(shape: Sequence[int], most: int) -> Tensor:
    """Return :func:`band_mask` of so many bands, or of as many as the frequencies can fill."""
    sizes = check_sizes(shape)
    return nested_bands(
        sizes,
        lambda edges: digitize(sizes, "linf", edges),
        None,
        norm="linf",
        spacing="linear",
        edges=None,
        default=most,
    )


def nested_bands(
    sizes: tuple[int, ...],
    digitized: Callable[[Sequence[Fraction]], np.ndarray],
    num_bands: int | None,
    *,
    norm: str,
    spacing: str,
    edges: Sequence[float | Fraction] | None,
    highest: Fraction | None = None,
    nyquist: str = "1 is Nyquist along an axis",
    default: int = DEFAULT_BANDS,
) -> Tensor:
    """Return bands between edges: so many, or by default as many as fit; none is empty.

    Args:
        sizes: Of the signal, for errors.
        digitized: Returns the ids ``(*sizes)`` between interior edges.
        num_bands: As in :func:`band_mask`.
        norm: See there.
        spacing: See there.
        edges: See there.
        highest: The Nyquist frequency in the unit of ``edges``, which mel need. None: 1. Default:
            None
        nyquist: Where the Nyquist frequency is, for the error about edges above it. Default: at 1
        default: The most bands where ``num_bands`` is None. Default: 8

    Raises:
        TypeError, ValueError: As :func:`band_mask`.
    """
    if norm not in NORMS:
        raise ValueError(f"norm must be 'linf', 'l2' or 'l1', got {norm!r}")
    if edges is not None:
        mask = digitized([edge / (highest or 1) for edge in check_edges(edges)])
        empty = empty_band(mask, len(edges) + 1)
        if empty is not None and int(mask.max()) < len(edges):
            raise ValueError(
                f"edges={list(edges)!r} leave band {len(edges)} without any frequency of a signal "
                f"of shape {sizes}: there is none from {edges[-1]} on; {nyquist}"
            )
        if empty is not None:
            raise ValueError(
                f"edges={list(edges)!r} leave band {empty} without any frequency of a signal of "
                f"shape {sizes}; move its edges apart or drop one of them"
            )
        return torch.from_numpy(mask)
    most = default if num_bands is None else check_count("num_bands", num_bands)
    if highest is not None and spacing not in ("linear", "octave", "mel"):
        raise ValueError(f"spacing must be 'linear', 'octave' or 'mel', got {spacing!r}")
    if highest is None and spacing not in ("linear", "octave"):
        raise ValueError(
            f"spacing must be 'linear' or 'octave', got {spacing!r}; 'mel' is for band_mask"
        )
    mask = digitized(edges_of(most, spacing, highest))
    empty = empty_band(mask, most)
    if empty is None:
        return torch.from_numpy(mask)
    for fits in range(min(most, max(sizes)), 0, -1):
        mask = digitized(edges_of(fits, spacing, highest))
        if empty_band(mask, fits) is None:
            break
    if num_bands is not None:
        raise ValueError(
            f"num_bands={num_bands} is more than the frequencies of a signal of shape {sizes} can "
            f"fill: band {empty} would be empty; at most num_bands={fits} fits (norm={norm!r}, "
            f"spacing={spacing!r})"
        )
    return torch.from_numpy(mask)


def band_frequencies(
    feature_mask: Tensor,
    spectral_dims: int | Sequence[int] | None = None,
    *,
    sample_rate: float | Fraction | Sequence[float | Fraction] | None = None,
    norm: Norm | None = None,
) -> Tensor:
    """Return the lowest and highest frequency of each band of a mask, in cycles per sample (pixel).

    The frequency of a bin is the radius of :func:`band_mask` in cycles: with ``norm="linf"`` the
    largest ``|k_d| / n_d`` over the spectral dims, so 0.5 is Nyquist; with ``"l2"`` the root of the
    sum of their squares, with ``"l1"`` their sum. With ``sample_rate`` the same of
    ``|k_d| s_d / n_d``, in hertz or cycles/mm.

    Args:
        feature_mask: Integer band ids, ``(*spectral)`` or with more dims, as in
            :class:`~captum_spectral.SpectralShapley`. Sizes of the spectral dims must be whole.
        spectral_dims: The transformed dims of the mask. None: the last two, or the only one; give
            it for volumes and for masks with channels last. Default: None
        sample_rate: Samples per second, or per mm: one for all spectral dims or one for each.
            None: 1. Default: None
        norm: The shape of the bands. None: the first of ``"linf"``, ``"l2"`` and ``"l1"`` whose
            radius tells the bands apart, as that of :func:`band_mask` does; ``"linf"`` where none
            of them does. Default: None

    Returns:
        ``(M, 2)`` float64 tensor of lowest and highest frequency; NaN for an id that no bin has.

    Raises:
        TypeError: A mask that is no integer tensor, dims that are no integers.
        ValueError: A spectral dim that the mask does not have; without ``spectral_dims``, a mask of
            three dims or more that may be that of a volume, or have its channels last; an unknown
            ``norm``.

    Example::

        >>> from captum_spectral import band_frequencies, band_mask
        >>> band_frequencies(band_mask((224, 224), num_bands=4))[:2]
        tensor([[0.0000, 0.1205],
                [0.1250, 0.2455]], dtype=torch.float64)
        >>> band_frequencies(band_mask((224, 224), num_bands=4, norm="l2"))[3]  # with the corners
        tensor([0.3750, 0.7071], dtype=torch.float64)
        >>> band_frequencies(band_mask((16,), 2), sample_rate=8000)
        tensor([[   0., 1500.],
                [2000., 4000.]], dtype=torch.float64)
    """
    check_ids(feature_mask, "feature_mask", what="band ids")
    if norm is not None and norm not in NORMS:
        raise ValueError(f"norm must be 'linf', 'l2' or 'l1', or None, got {norm!r}")
    mask = feature_mask.detach().to("cpu", torch.int64)
    dims = _spectral_dims_of(mask, spectral_dims)
    rates = check_rates(1 if sample_rate is None else sample_rate, len(dims))
    if norm is None:
        found = (each for each in NORMS if _tells_apart(_radius(mask, dims, rates, each), mask))
        norm = next(found, NORMS[0])
    radius = _radius(mask, dims, rates, norm).expand(mask.shape)
    result = torch.full((int(mask.max()) + 1, 2), math.nan, dtype=torch.float64, device="cpu")
    for band in mask.unique().tolist():
        inside = radius[mask == band]
        result[band] = torch.stack([inside.min(), inside.max()])
    return result


def _radius(
    mask: Tensor, dims: tuple[int, ...], rates: Sequence[Fraction], norm: Norm | None
) -> Tensor:
    """Return the frequency of every bin, of the rank of the mask; other dims have size 1."""
    power = 2 if norm == "l2" else 1
    radius = torch.zeros([1] * mask.dim(), dtype=torch.float64, device="cpu")
    for dim, rate in zip(dims, rates, strict=True):
        axis = torch.fft.fftfreq(mask.shape[dim], dtype=torch.float64, device="cpu").abs()
        sizes = [1] * mask.dim()
        sizes[dim] = -1
        axis = (axis * float(rate)).pow(power).reshape(sizes)
        radius = torch.maximum(radius, axis) if norm == "linf" else radius + axis
    return radius.pow(1 / power)


def _tells_apart(radius: Tensor, mask: Tensor) -> bool:
    """Say whether each band, in each channel, is all bins from one radius to another."""
    spectral = [d for d in range(mask.dim()) if radius.shape[d] > 1]
    others = [d for d in range(mask.dim()) if d not in spectral]
    ids = mask.permute(*others, *spectral).reshape(-1, radius.numel())
    outwards = ids[:, radius.flatten().argsort(stable=True)]  # in the order of the mask's dims

    def runs(rows: Tensor) -> Tensor:
        return (rows.diff(dim=1) != 0).sum(1)

    return torch.equal(runs(outwards), runs(ids.sort(1).values))


def _spectral_dims_of(mask: Tensor, spectral_dims: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the spectral dims of a mask; the likely ones where they are not given."""
    shape = tuple(mask.shape)
    if spectral_dims is not None:
        single = isinstance(spectral_dims, numbers.Integral)
        given: Any = (spectral_dims,) if single else tuple(spectral_dims)  # type: ignore[arg-type]
        dims = tuple(check_count("spectral_dims", d, at_least=-mask.dim()) for d in given)
        if not dims or max(dims) >= mask.dim():
            raise ValueError(
                f"spectral_dims={spectral_dims!r} is out of range for a feature_mask of {shape}"
            )
        return dims
    if mask.dim() < 3:
        return tuple(range(-max(mask.dim(), 1), 0))
    # Bands of each channel differ from channel to channel in an order of their own. The bands of a
    # volume are symmetric in all dims, and of channels last the last dim is no frequency.
    others = [d for d in range(mask.dim() - 2) if mask.shape[d] > MOST_CHANNELS]
    varies = any(not torch.equal(mask.roll(1, d), mask) for d in others)
    symmetric = others and all(torch.equal(mask.flip(d).roll(1, d), mask) for d in others)
    if (varies and symmetric) or mask.shape[-1] == 1 < mask.shape[-2] * math.prod(shape[:-2]):
        raise ValueError(
            f"feature_mask of shape {shape} may be that of a volume, or have its channels last; "
            "give spectral_dims, such as (-3, -2, -1) or (-3, -2)"
        )
    return (-2, -1)


def digitize(
    sizes: tuple[int, ...],
    norm: str,
    edges: Sequence[Fraction],
    rates: Sequence[Fraction] | None = None,
) -> np.ndarray:
    """Band ids over the plane: how many edges are at or below each bin's radius, in integers.

    Every radius is written over one common denominator, so a comparison with an edge p / q is one
    of integers. One quadrant is enough: the others hold the same |k|, which makes k and -k equal by
    construction.
    """
    rates = [Fraction(1)] * len(sizes) if rates is None else rates  # of the largest
    common = math.lcm(*(n * rate.denominator for n, rate in zip(sizes, rates, strict=True)))
    axes = [
        [2 * k * rate.numerator * (common // (n * rate.denominator)) for k in range(n // 2 + 1)]
        for n, rate in zip(sizes, rates, strict=True)
    ]
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


def edges_of(num_bands: int, spacing: str, highest: Fraction | None = None) -> list[Fraction]:
    """Return the interior edges of bands of equal widths, of octaves, or of mel up to ``highest``.

    They are shares of the highest frequency, in hertz for mel.
    """
    if spacing == "mel" and highest is not None:
        whole = math.log1p(float(highest) / _MEL)
        return [
            Fraction(_MEL * math.expm1(whole * i / num_bands) / float(highest))
            for i in range(1, num_bands)
        ]
    if spacing == "linear":
        return [Fraction(i, num_bands) for i in range(1, num_bands)]
    return [Fraction(1, 2 ** (num_bands - i)) for i in range(1, num_bands)]


def empty_band(mask: np.ndarray, num_bands: int) -> int | None:
    """Return the first band without any frequency."""
    empty = np.flatnonzero(np.bincount(mask.ravel(), minlength=num_bands) == 0)
    return int(empty[0]) if empty.size else None


def check_sizes(shape: Sequence[int]) -> tuple[int, ...]:
    """Return sizes as integers; raise unless there is one and all are positive."""
    try:
        sizes = tuple(int(n) for n in shape)
    except TypeError as error:
        raise TypeError(
            f"shape must be a sequence of sizes such as (H, W), got {shape!r}"
        ) from error
    if not sizes or min(sizes) < 1:
        raise ValueError(f"shape must hold one or more positive sizes, got {sizes}")
    return sizes


def check_edges(edges: Sequence[float | Fraction]) -> list[Fraction]:
    """Return interior edges as fractions; raise unless they are positive and increase."""
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


def check_rates(sample_rate: Any, num_dims: int) -> list[Fraction]:
    """Return samples per unit of each dim as fractions; raise unless they are positive."""
    single = isinstance(sample_rate, numbers.Real | np.number)
    try:
        rates = [Fraction(rate) for rate in ([sample_rate] if single else sample_rate)]
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"sample_rate must be a number such as 16000, or one for each dim, got {sample_rate!r}"
        ) from error
    if len(rates) not in (1, num_dims) or min(rates) <= 0:
        raise ValueError(
            f"sample_rate must be positive, one number or one for each of {num_dims} dims, got "
            f"{sample_rate!r}"
        )
    return rates * num_dims if len(rates) == 1 else rates
