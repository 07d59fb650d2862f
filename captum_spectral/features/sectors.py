"""Sectors of the Fourier plane: rings cut by orientation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Real
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.features.band_mask import (
    Norm,
    Spacing,
    check_edges,
    check_sizes,
    digitize,
    edges_of,
    empty_band,
)
from captum_spectral.features.fourier import FourierBands

Centre = Literal["first", "mean", "disc"]

__all__ = ["Centre", "Sectors", "sector_mask"]

DEFAULT_RADIAL, DEFAULT_ANGULAR = 3, 4
_TIE = 1e-9  # sectors; a bin so close below an angle is on it


def sector_mask(
    shape: Sequence[int],
    num_radial: int | None = None,
    num_angular: int | None = None,
    *,
    norm: Norm = "l2",
    spacing: Spacing = "linear",
    edges: Sequence[float | Fraction] | None = None,
    first_angle: float | None = None,
    centre: Centre = "first",
) -> Tensor:
    r"""Partition the Fourier plane of a real image into sectors: rings cut by orientation.

    The rings are the bands of :func:`~captum_spectral.band_mask`, of normalised radius :math:`r`.
    A bin of frequency :math:`(f_y, f_x)` in cycles/pixel has the orientation

    .. math:: \theta = \operatorname{atan2}(-f_y, f_x) \bmod 180°,

    the angle, counterclockwise as one looks at the photograph, of the direction in which its wave
    changes: 0° is a wave along the rows (vertical stripes), 90° one along the columns (horizontal
    stripes). Angles are those of the pixels, of images that are not square, too. With :math:`A`
    orientations beginning at :math:`\theta_0`, the sector of ring :math:`i` has the id

    .. math:: i A + \Big\lfloor \frac{(\theta - \theta_0) \bmod 180°}{180° / A} \Big\rfloor

    so ids count radius first, and a frequency and its negative always share one. Two kinds of bins
    have no angle of their own. The Nyquist frequency of an even size is both -0.5 and 0.5, and lies
    at two angles: it counts with the one up to 90°. The mean of the image, frequency 0, lies at
    all of them; ``centre`` says whose it is.

    Args:
        shape: Sizes ``(H, W)`` of the image, odd or even.
        num_radial: How many rings. None: 3, or as many as a small image can fill. Not used when
            ``edges`` are given. Default: None
        num_angular: How many orientations in 180°. None: 4, or as many as fit. Default: None
        norm: ``"l2"`` (rings), ``"linf"`` (nested squares) or ``"l1"`` (diamonds). Default: "l2"
        spacing: ``"linear"`` or ``"octave"``, as in :func:`~captum_spectral.band_mask`. Default:
            "linear"
        edges: Interior radii between rings, normalised (1 is Nyquist along an axis), as in
            :func:`~captum_spectral.band_mask`. Default: None
        first_angle: Where the first orientation begins, in degrees. None: ``-90 / num_angular``,
            so that its middle is at 0° and, with an even number, another one's at 90°: much of a
            photograph's energy lies along the axes, which then run through the middle of a sector
            and not between two. Default: None
        centre: Where the mean goes. ``"first"``: into sector 0, which is then worth what the mean
            is, too. ``"mean"``: it is player 0 by itself, and sectors count from 1. ``"disc"``:
            the innermost ring is player 0, uncut; the other ``num_radial - 1`` have sectors,
            counted from 1. Default: "first"

    Returns:
        ``(H, W)`` int64 tensor of ids in the layout of ``torch.fft.fft2`` (unshifted); a
        ``feature_mask=`` as any other. Where each lies, :meth:`Sectors.geometry` tells.

    Raises:
        TypeError: Arguments of a wrong kind.
        ValueError: A shape that is not that of an image, unknown options, more sectors than its
            frequencies can fill: a sector without any is an error.

    Example::

        >>> from captum_spectral.features import sector_mask
        >>> sector_mask((6, 7), num_radial=2, num_angular=2)
        tensor([[0, 0, 2, 2, 2, 2, 0],
                [1, 1, 2, 2, 2, 2, 1],
                [3, 3, 3, 2, 2, 3, 3],
                [3, 3, 3, 3, 3, 3, 3],
                [3, 3, 3, 2, 2, 3, 3],
                [1, 1, 2, 2, 2, 2, 1]])
        >>> sector_mask((224, 224)).unique().numel()
        12
        >>> sector_mask((32, 32), 3, 4, centre="disc").unique().numel()
        9
    """
    return Sectors(
        num_radial,
        num_angular,
        norm=norm,
        spacing=spacing,
        edges=edges,
        first_angle=first_angle,
        centre=centre,
    ).mask(shape)


class Sectors(FourierBands):
    r"""Sectors of the Fourier plane as players, for images of any size.

    It is :class:`FourierBands` with :func:`sector_mask` of the image at hand: a number of rings,
    each cut into a number of orientations.

    Args:
        num_radial: How many rings. None: 3, or as many as fit. Default: None
        num_angular: How many orientations in 180°. None: 4, or as many as fit. Default: None
        norm: As in :func:`sector_mask`, and so are all others. Default: "l2"
        spacing: See there. Default: "linear"
        edges: See there. Default: None
        first_angle: See there. Default: None
        centre: See there. Default: "first"

    Raises:
        TypeError: Arguments of a wrong kind.
        ValueError: Unknown options; more sectors than frequencies, when they meet an image.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralShapley
        >>> from captum_spectral.features import Sectors
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 5)).eval()
        >>> sectors = Sectors(num_radial=2, num_angular=4)
        >>> values = SpectralShapley(model).attribute(
        ...     torch.rand(2, 3, 16, 16), 1, features=sectors, return_input_shape=False)
        >>> values.shape, sectors.geometry((16, 16))[5].tolist()  # ring 1, orientation 1
        (torch.Size([2, 8]), [0.25, inf, 22.5, 67.5])
    """

    def __init__(
        self,
        num_radial: int | None = None,
        num_angular: int | None = None,
        *,
        norm: Norm = "l2",
        spacing: Spacing = "linear",
        edges: Sequence[float | Fraction] | None = None,
        first_angle: float | None = None,
        centre: Centre = "first",
    ) -> None:
        super().__init__()
        if norm not in ("linf", "l2", "l1"):
            raise ValueError(f"norm must be 'linf', 'l2' or 'l1', got {norm!r}")
        if spacing not in ("linear", "octave"):
            raise ValueError(f"spacing must be 'linear' or 'octave', got {spacing!r}")
        if centre not in ("first", "mean", "disc"):
            raise ValueError(f"centre must be 'first', 'mean' or 'disc', got {centre!r}")
        if first_angle is not None and (
            isinstance(first_angle, bool)
            or not isinstance(first_angle, Real)
            or not math.isfinite(first_angle)
        ):
            raise TypeError(f"first_angle must be a number of degrees or None, got {first_angle!r}")
        self.edges = None if edges is None else check_edges(edges)
        self.num_radial = None if num_radial is None else check_count("num_radial", num_radial)
        self.num_angular = None if num_angular is None else check_count("num_angular", num_angular)
        self.norm, self.spacing, self.centre = norm, spacing, centre
        self.first_angle = None if first_angle is None else float(first_angle)

    def ids(self, inputs: Tensor) -> Tensor:
        """Return the sector of every frequency: the rank of the inputs, whole spectral dims."""
        dims = self._dims(inputs)
        mask = self.mask([inputs.shape[d] for d in dims])
        return mask.reshape([1] * (inputs.dim() - 2) + list(mask.shape)).to(inputs.device)

    def mask(self, shape: Sequence[int]) -> Tensor:
        """Return the ids ``(H, W)`` of an image of a shape, as :func:`sector_mask` does.

        Args:
            shape: ``(H, W)``.

        Returns:
            int64 ids in the layout of ``torch.fft.fft2``.

        Raises:
            TypeError, ValueError: As :func:`sector_mask`.
        """
        sizes = _check_image(shape)
        return torch.from_numpy(self._ids(sizes, *self._fitting(sizes)))

    def geometry(self, shape: Sequence[int]) -> Tensor:
        """Tell where each sector of images of a shape lies, for figures and tables.

        Args:
            shape: ``(H, W)``.

        Returns:
            ``(M, 4)`` float64: lowest and highest radius in cycles/pixel (under ``norm``),
            beginning and end of the orientations in degrees. The outermost ring ends at infinity,
            as it holds the corners. The disc, and the mean (of radius 0), have all orientations.

        Raises:
            TypeError, ValueError: As :func:`sector_mask`.

        Example::

            >>> from captum_spectral.features import Sectors
            >>> Sectors(2, 2).geometry((224, 224))
            tensor([[  0.0000,   0.2500, -45.0000,  45.0000],
                    [  0.0000,   0.2500,  45.0000, 135.0000],
                    [  0.2500,      inf, -45.0000,  45.0000],
                    [  0.2500,      inf,  45.0000, 135.0000]], dtype=torch.float64)
        """
        rings, orientations = self._fitting(_check_image(shape))
        radii = [0.0, *(float(e) / 2 for e in self._edges(rings)), math.inf]
        start, width = self._start(orientations), 180 / orientations
        rows: list[tuple[float, float, float, float]] = []
        if self.centre != "first":
            rows.append((0.0, 0.0 if self.centre == "mean" else radii[1], 0.0, 180.0))
        for ring in range(int(self.centre == "disc"), rings):
            for a in range(orientations):
                ends = start + a * width, start + (a + 1) * width
                rows.append((radii[ring], radii[ring + 1], *ends))
        return torch.tensor(rows, dtype=torch.float64, device="cpu")

    @property
    def num_features(self) -> int:
        """The number of sectors, or the most that fit."""
        return self._count(*self._wanted())

    def names(self, inputs: Tensor) -> tuple[str, ...]:
        """Return the radii, in cycles/pixel, and the middle of the orientations of each sector."""
        names = []
        geometry = self.geometry([inputs.shape[d] for d in self._dims(inputs)]).tolist()
        for number, (low, high, begin, end) in enumerate(geometry):
            radii = f"{low:.3g}+" if math.isinf(high) else f"{low:.3g}-{high:.3g}"
            whole = number == 0 and self.centre != "first"
            middle = (begin + end) / 2 % 180
            names.append(f"{self.centre} {radii}" if whole else f"{radii} at {middle:.3g}°")
        return tuple(names)

    def _wanted(self) -> tuple[int, int]:
        """Return the numbers of rings and orientations that were asked for, or are the defaults."""
        rings = DEFAULT_RADIAL if self.num_radial is None else self.num_radial
        rings = rings if self.edges is None else len(self.edges) + 1
        return rings, DEFAULT_ANGULAR if self.num_angular is None else self.num_angular

    def _edges(self, rings: int) -> Sequence[Fraction]:
        return edges_of(rings, self.spacing) if self.edges is None else self.edges

    def _start(self, orientations: int) -> float:
        return -90 / orientations if self.first_angle is None else self.first_angle

    def _count(self, rings: int, orientations: int) -> int:
        """Return the number of ids."""
        if self.centre == "disc":
            return 1 + (rings - 1) * orientations
        return rings * orientations + (self.centre == "mean")

    def _fitting(self, sizes: tuple[int, ...]) -> tuple[int, int]:
        """Return the numbers of rings and orientations: as asked for, or as many as fit.

        Raises:
            ValueError: What was asked for does not fit.
        """
        rings, orientations = self._wanted()
        empty = self._empty(sizes, rings, orientations)
        if empty is None:
            return rings, orientations
        # Of the numbers that were left open, those with the most sectors.
        open_rings = self.num_radial is None and self.edges is None
        fit = [
            (self._count(r, a), a, r)
            for r in (range(1, rings + 1) if open_rings else (rings,))
            for a in (range(1, orientations + 1) if self.num_angular is None else (orientations,))
            if self._empty(sizes, r, a) is None
        ]
        if fit:
            _, orientations, rings = max(fit)
            return rings, orientations
        first = int(self.centre != "first")
        place = divmod(empty - first, orientations)
        where = f"ring {place[0] + (self.centre == 'disc')}, orientation {place[1]}"
        where = "the mean, or the disc" if empty < first else where
        most = [
            f"num_angular={a} with {name}"
            for name, r in ((f"{rings} rings", rings),)
            for a in range(orientations - 1, 0, -1)
            if self._empty(sizes, r, a) is None
        ][:1] + [
            f"num_radial={r} with {orientations} orientations"
            for r in (range(rings - 1, 0, -1) if self.edges is None else ())
            if self._empty(sizes, r, orientations) is None
        ][:1]
        raise ValueError(
            f"{rings} rings of {orientations} orientations are more than the frequencies of an "
            f"image of {sizes} can fill: sector {empty} ({where}) would be empty"
            + (f"; at most {' or '.join(most)} fits" if most else "; use fewer of both")
        )

    def _empty(self, sizes: tuple[int, ...], rings: int, orientations: int) -> int | None:
        """Return the first sector without any frequency."""
        count = self._count(rings, orientations)
        return empty_band(self._ids(sizes, rings, orientations), count)

    def _ids(self, sizes: tuple[int, ...], rings: int, orientations: int) -> np.ndarray:
        """Return the ids ``(H, W)``; some may be missing."""
        ring = digitize(sizes, self.norm, self._edges(rings))
        step = 180 / orientations
        turned = ((_angles(sizes) - self._start(orientations)) / step + _TIE) % orientations
        orientation = np.minimum(turned.astype(np.int64), orientations - 1)
        if self.centre == "disc":
            ids = np.where(ring == 0, 0, 1 + (ring - 1) * orientations + orientation)
        else:
            ids = ring * orientations + orientation + (self.centre == "mean")
        ids[0, 0] = 0
        return ids


def _angles(sizes: tuple[int, ...]) -> np.ndarray:
    """Return the orientation of every bin ``(H, W)`` in degrees, from 0 to below 180.

    A frequency and its negative, and all that a Nyquist bin is, get the same one to the last bit.
    """
    down, across = (np.fft.fftfreq(n, 1 / n).round() for n in sizes)  # signed integers
    height, width = sizes
    y, x = -down[:, None] * width, across[None] * height  # over one denominator: exact
    nyquist = (2 * np.abs(down)[:, None] == height) | (2 * np.abs(across)[None] == width)
    y, x = np.broadcast_arrays(y, x)
    y, x = np.where(nyquist, np.abs(y), y), np.where(nyquist, np.abs(x), x)
    upper = (y < 0) | ((y == 0) & (x < 0))  # turn these by 180 degrees, without rounding
    y, x = np.where(upper, -y, y), np.where(upper, -x, x)
    return np.degrees(np.arctan2(y, x))


def _check_image(shape: Sequence[int]) -> tuple[int, ...]:
    sizes = check_sizes(shape)
    if len(sizes) != 2:
        raise ValueError(f"shape must be (H, W), the sizes of an image, got {sizes}")
    return sizes
