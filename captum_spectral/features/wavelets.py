"""Wavelets: players that tell scale, orientation and, where one paints them, place."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import import_module

import torch
from torch import Tensor

from captum_spectral._arguments import check_count, format_spectral_dims
from captum_spectral.features.features import Features
from captum_spectral.features.products import apply_along

__all__ = ["Wavelets"]

DEFAULT_LEVELS = 3
_ORIENTATIONS = ("horizontal", "vertical", "diagonal")
_HAAR = (math.sqrt(0.5), math.sqrt(0.5))


class Wavelets(Features):
    r"""Wavelet coefficients of an image as players: a level and an orientation each.

    A level of the transform splits an image along both dims into a coarse half, the approximation,
    and a fine one, the details, by the two filters of an orthogonal wavelet:

    .. math:: \begin{pmatrix} A & V \\ H & D \end{pmatrix}
        = \begin{pmatrix} L_H \\ G_H \end{pmatrix} x \begin{pmatrix} L_W \\ G_W \end{pmatrix}^\top

    and the next level does so with the approximation :math:`A`. :math:`H` are horizontal edges (of
    high vertical frequency), :math:`V` vertical ones, :math:`D` diagonal ones. With :math:`L`
    levels there are :math:`1 + 3 L` players: 0 is the approximation, then come horizontal, vertical
    and diagonal details of the coarsest level, 1, 2 and 3, and so on to the finest one. A level
    :math:`\ell`, 1 the finest, is about the octave from :math:`2^{-\ell - 1}` to
    :math:`2^{-\ell}` cycles/pixel.

    Coefficients lie in nested rectangles, the approximation in the upper left corner, and values
    are painted on these. At even sizes the transform is that of PyWavelets with
    ``mode="periodization"``: the image goes on at its opposite edge, as for the Fourier transform.
    At odd sizes the last row or column is taken twice, what this adds is dropped, and the rows of
    the matrices are made orthonormal again (all but those at the edge are, already). So the
    transform is orthonormal and comes back exactly at any size, and a uniform image lies in the
    approximation alone.

    Args:
        wavelet: Name of an orthogonal wavelet: ``"haar"``, or one that PyWavelets knows: ``"db2"``
            to ``"db38"``, ``"sym2"`` to ``"sym20"``, ``"coif1"`` to ``"coif17"``. Long ones tell
            frequencies apart, short ones places. Default: "haar"
        levels: How many. None: 3, or as many as a small image has. Default: None
        orientations: Whether details of a level are three players; else one, and there are
            :math:`1 + L`. Default: True

    Raises:
        ImportError: Another wavelet than Haar's without PyWavelets: ``pip install
            "captum-spectral[wavelets]"``.
        TypeError: A name that is no string, a count that is no integer.
        ValueError: An unknown or not orthogonal wavelet; more levels than an image has, inputs
            without two dims beside the examples, when the features meet them.

    Cost: ``4 (H + W) / 3`` multiplications per pixel and transform, one for each player and
    example; no transform per model row. The matrices of a size are made once.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralShapley
        >>> from captum_spectral.features import Wavelets
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 5)).eval()
        >>> values = SpectralShapley(model).attribute(
        ...     torch.rand(2, 3, 16, 16), 1, features=Wavelets(levels=2), return_input_shape=False)
        >>> values.shape, values[:, 1:].reshape(2, 2, 3).shape  # level by orientation
        (torch.Size([2, 7]), torch.Size([2, 2, 3]))

    References:
        S. Mallat, *A theory for multiresolution signal decomposition: the wavelet representation*,
        IEEE Transactions on Pattern Analysis and Machine Intelligence 11, 1989. I. Daubechies,
        *Ten lectures on wavelets*, SIAM, 1992. Per-Olov Löwdin, *On the non-orthogonality problem*,
        Journal of Chemical Physics 18, 1950 (the closest orthonormal rows).
    """

    def __init__(
        self, wavelet: str = "haar", levels: int | None = None, *, orientations: bool = True
    ) -> None:
        self._filters = _filters_of(wavelet)
        self.wavelet = wavelet
        self.levels = None if levels is None else check_count("levels", levels)
        self.orientations = bool(orientations)

    def ids(self, inputs: Tensor) -> Tensor:
        """Return the player of each place of the nested rectangles."""
        dims = format_spectral_dims((-2, -1), (inputs,))[0]
        height, width = (inputs.shape[d] for d in dims)
        levels = self._levels_of((height, width))
        ids = torch.zeros(height, width, dtype=torch.int64, device=inputs.device)
        for level in range(levels, 0, -1):  # counted from the coarsest, the finest first
            down, across = (-(-n // 2) for n in (height, width))
            horizontal, vertical, diagonal = (
                tuple(1 + 3 * (level - 1) + i for i in range(3))
                if self.orientations
                else (level,) * 3
            )
            ids[down:height, :across] = horizontal
            ids[:down, across:width] = vertical
            ids[down:height, across:width] = diagonal
            height, width = down, across
        ids[:height, :width] = 0
        return ids.reshape([1] * (inputs.dim() - 2) + list(ids.shape))

    def transform(self, x: Tensor) -> Tensor:
        """Return the coefficients in nested rectangles, of the shape of ``x``."""
        steps = self._steps(x.shape)
        height, width = x.shape[-2:]
        done: list[tuple[Tensor, Tensor]] = []
        for rows, columns in steps:
            x = apply_along(columns, apply_along(rows, x, -2), -1)
            down, across = -(-height // 2), -(-width // 2)
            done.append((x[..., :down, across:], x[..., down:, :]))  # beside, and below
            x, height, width = x[..., :down, :across], down, across
        for beside, below in reversed(done):
            x = torch.cat([torch.cat([x, beside], -1), below], -2)
        return x

    def inverse(self, coefficients: Tensor, shape: torch.Size) -> Tensor:
        """Return the images of coefficients."""
        steps = self._steps(shape)
        sizes = [tuple(shape[-2:])]
        for _ in steps:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        x = coefficients[..., : sizes[-1][0], : sizes[-1][1]]
        for (rows, columns), (height, width), (down, across) in zip(
            reversed(steps), reversed(sizes[:-1]), reversed(sizes[1:]), strict=True
        ):
            beside = coefficients[..., :down, across:width]
            below = coefficients[..., down:height, :width]
            x = torch.cat([torch.cat([x, beside], -1), below], -2)
            x = apply_along(columns.T, apply_along(rows.T, x, -2), -1)
        return x

    @property
    def num_features(self) -> int:
        """The number of players, or the most that fit."""
        levels = DEFAULT_LEVELS if self.levels is None else self.levels
        return 1 + levels * (len(_ORIENTATIONS) if self.orientations else 1)

    def names(self, inputs: Tensor) -> tuple[str, ...]:
        """Return the level, 1 the finest, and the orientation of each player."""
        levels = range(self._levels_of((inputs.shape[-2], inputs.shape[-1])), 0, -1)
        kinds = [f" {kind}" for kind in _ORIENTATIONS] if self.orientations else [""]
        return ("approximation", *(f"level {n}{kind}" for n in levels for kind in kinds))

    def _levels_of(self, sizes: tuple[int, int]) -> int:
        """Return how many levels images of sizes are split into."""
        fit = max(0, math.ceil(math.log2(min(sizes))))  # a size of 2 or more can be halved
        if self.levels is not None and self.levels > fit:
            raise ValueError(
                f"levels={self.levels} is more than an image of {sizes} has, whose smaller side "
                f"can be halved {fit} times; use at most levels={fit}"
            )
        return min(DEFAULT_LEVELS, fit) if self.levels is None else self.levels

    def _steps(self, shape: torch.Size) -> list[tuple[Tensor, Tensor]]:
        """Return the matrices of every level, finest first, for rows and for columns."""
        levels = self._levels_of((shape[-2], shape[-1]))
        each = (_matrices(self._filters, n, levels) for n in shape[-2:])
        return list(zip(*each, strict=True))


def _filters_of(wavelet: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the low and the high pass of an orthogonal wavelet."""
    if not isinstance(wavelet, str):
        raise TypeError(f"wavelet must be a name such as 'haar' or 'sym4', got {wavelet!r}")
    if wavelet in ("haar", "db1"):
        return _HAAR, (_HAAR[0], -_HAAR[1])
    try:
        pywt = import_module("pywt")
    except ImportError as error:
        raise ImportError(
            f"wavelet={wavelet!r} needs PyWavelets (only 'haar' does not): "
            'pip install "captum-spectral[wavelets]"'
        ) from error
    if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal:
        raise ValueError(
            f"wavelet must be an orthogonal one, 'haar', 'db2', 'sym4' or 'coif1', say, got "
            f"{wavelet!r}"
        )
    found = pywt.Wavelet(wavelet)
    return tuple(found.rec_lo), tuple(found.rec_hi)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # they outlive the call, and autograd cannot use inference tensors
def _matrices(
    filters: tuple[tuple[float, ...], tuple[float, ...]], size: int, levels: int
) -> tuple[Tensor, ...]:
    """Return the orthonormal matrix ``(n, n)`` of each level, finest first; the low half on top."""
    # What a uniform signal is at this level: details of the next one must not see it.
    uniform = torch.ones(size, dtype=torch.float64, device="cpu")
    made = []
    for _ in range(levels):
        low, high = (_periodic(taps, len(uniform)) for taps in filters)
        details = high / uniform * uniform.max()
        if len(uniform) % 2:
            # One detail too many, of the sample that was taken twice: the one whose absence leaves
            # the others furthest from dependent.
            _, vectors = torch.linalg.eigh(details @ details.T)
            most = int(vectors[:, 0].abs().argmax())
            details = torch.cat([details[:most], details[most + 1 :]])
        details = _orthonormal(details)
        low = _orthonormal(low - (low @ details.T) @ details)
        made.append(torch.cat([low, details]))
        uniform = low @ uniform
    return tuple(made)


def _periodic(taps: tuple[float, ...], size: int) -> Tensor:
    """Return the rows ``(ceil(n / 2), n)`` of a filter over a signal that goes on at its start."""
    rows = -(-size // 2)
    matrix = torch.zeros(rows, size, dtype=torch.float64, device="cpu")
    row = torch.arange(rows, device="cpu")
    for j, tap in enumerate(taps):
        column = (2 * row + j - (len(taps) // 2 - 1)) % (2 * rows)
        column = column.clamp(max=size - 1)  # the last sample of an odd signal is there twice
        matrix[row, column] += tap
    return matrix


def _orthonormal(rows: Tensor) -> Tensor:
    """Return the orthonormal rows of the same span that are closest to these."""
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    found: Tensor = (vectors / values.sqrt()) @ vectors.T @ rows
    return found
