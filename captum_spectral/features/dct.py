"""The discrete cosine transform: of whole images, and of blocks as in JPEG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from captum_spectral._arguments import check_count, format_spectral_dims
from captum_spectral.features.band_mask import (
    DEFAULT_BANDS,
    Norm,
    Spacing,
    check_sizes,
    digitize,
    nested_bands,
)
from captum_spectral.features.feature_mask import check_ids, place_ids
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import place_mask
from captum_spectral.features.products import apply_along

__all__ = ["DCT", "dct_mask", "zigzag_mask"]

_DIMS = (-2, -1)


def dct_mask(
    shape: Sequence[int],
    num_bands: int | None = None,
    norm: Norm = "linf",
    spacing: Spacing = "linear",
    edges: Sequence[float | Fraction] | None = None,
) -> Tensor:
    r"""Partition the coefficients of a cosine transform into nested frequency bands.

    Coefficient :math:`u` of :math:`n` is a wave of :math:`u / (2 n)` cycles/pixel, so its
    normalised frequency is :math:`u / n`, 1 being Nyquist. Radii and bands are those of
    :func:`~captum_spectral.band_mask`; each orientation is there once, and none is a negative one.

    Args:
        shape: Sizes of the transform, ``(H, W)`` of an image or ``(8, 8)`` of a block.
        num_bands: How many bands. None: 8, or as many as fit. Default: None
        norm: ``"linf"``, ``"l2"`` or ``"l1"`` (of blocks: runs of diagonals). Default: "linf"
        spacing: ``"linear"`` or ``"octave"``. Default: "linear"
        edges: Interior edges in place of ``num_bands`` and ``spacing``. Default: None

    Returns:
        ``(*shape)`` int64 ids, 0 the lowest band; entry ``[0, 0]`` is the mean.

    Raises:
        TypeError, ValueError: As :func:`~captum_spectral.band_mask`.

    Example::

        >>> from captum_spectral.features import dct_mask
        >>> dct_mask((3, 6), num_bands=3)
        tensor([[0, 0, 1, 1, 2, 2],
                [1, 1, 1, 1, 2, 2],
                [2, 2, 2, 2, 2, 2]])
    """
    sizes = check_sizes(shape)
    doubled = tuple(2 * n for n in sizes)  # u of n is as frequent as k = u of 2 n samples
    corner = tuple(slice(n) for n in sizes)
    return nested_bands(
        sizes,
        lambda edges: digitize(doubled, norm, edges)[corner].copy(),
        num_bands,
        norm=norm,
        spacing=spacing,
        edges=edges,
    )


def zigzag_mask(
    num_groups: int | None = None, *, edges: Sequence[int] | None = None, block_size: int = 8
) -> Tensor:
    r"""Group the coefficients of a block along JPEG's zig-zag, from the mean to the highest.

    The zig-zag goes through the diagonals :math:`u + v = 0, 1, 2, \dots` in turns, which is the
    order in which JPEG stores and a low quality drops coefficients.

    Args:
        num_groups: How many runs of the zig-zag, as equally long as they can be. None: a group for
            every diagonal, 15 for 8 x 8. Default: None
        edges: Where runs begin, counted along the zig-zag and strictly increasing, in place of
            ``num_groups``: ``[1, 6, 15]`` is the mean, two diagonals, the next three, the rest.
            Default: None
        block_size: Size of the block. Default: 8

    Returns:
        ``(block_size, block_size)`` int64 ids, for ``DCT(mask, block_size=...)``.

    Raises:
        TypeError: Arguments of a wrong kind.
        ValueError: More groups than coefficients, edges that do not increase or lie outside of the
            block.

    Example::

        >>> from captum_spectral.features import zigzag_mask
        >>> zigzag_mask(edges=[1, 3], block_size=3)
        tensor([[0, 1, 2],
                [1, 2, 2],
                [2, 2, 2]])
    """
    n = check_count("block_size", block_size)
    # Down the odd diagonals, up the even ones.
    order = sorted(
        ((u, v) for u in range(n) for v in range(n)),
        key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
    )
    if edges is not None:
        starts = [check_count("edges", e) for e in edges]
        if any(a >= b for a, b in zip([0, *starts], [*starts, n * n], strict=True)):
            raise ValueError(
                f"edges must increase strictly from above 0 to below {n * n}, the coefficients of "
                f"a block, got {list(edges)!r}"
            )
        numbers = [sum(place >= start for start in starts) for place in range(n * n)]
    elif num_groups is None:
        numbers = [u + v for u, v in order]
    else:
        groups = check_count("num_groups", num_groups)
        if groups > n * n:
            raise ValueError(
                f"num_groups={groups} is more than the {n * n} coefficients of a block"
            )
        numbers = [place * groups // (n * n) for place in range(n * n)]
    mask = torch.empty(n, n, dtype=torch.int64, device="cpu")
    for (u, v), number in zip(order, numbers, strict=True):
        mask[u, v] = number
    return mask


class DCT(Features):
    r"""Coefficients of the discrete cosine transform as players, of images or of blocks.

    The transform is the orthonormal DCT-II of the last two dims,

    .. math:: X_{uv} = c_u c_v \sum_{y, x} x_{yx} \cos\frac{\pi (2 y + 1) u}{2 H}
        \cos\frac{\pi (2 x + 1) v}{2 W}, \qquad
        c_0 = \sqrt{1 / n}, \quad c_u = \sqrt{2 / n},

    of the whole image, or of each block of ``block_size`` by itself, as JPEG has it with 8. A
    player is then a coefficient of all blocks at once, and of all channels. In contrast to the
    Fourier transform it does not join the left edge of an image to its right one.

    An image whose size is no multiple of the block ends in smaller blocks, which have a transform
    of their own size, and whose coefficient :math:`u` of :math:`r` counts as
    :math:`\lfloor 8 u / r \rfloor` of 8, the closest below of equal frequency. (JPEG pads instead;
    then parts would leak into each other where the padding is cut off.) The transform is
    orthonormal at any size.

    Args:
        feature_mask: Integer ids of the coefficients: ``(H, W)`` or broadcastable to the input; of
            blocks ``(n, n)`` or ``(C, n, n)``. None: as ``num_bands`` says. Default: None
        num_bands: Bands of :func:`dct_mask` when there is no ``feature_mask``. None: of images 8,
            or as many as fit; of blocks every coefficient by itself, 64 for 8 x 8, row by row.
            Default: None
        block_size: Size of the blocks; None: the whole image is one. Default: None
        norm: Of the bands. Default: "linf"

    Raises:
        TypeError: Arguments of a wrong kind; a mask, when the features meet an input.
        ValueError: ``num_bands`` beside a mask, an unknown norm; a mask that does not fit, inputs
            without two dims beside the examples, more bands than fit; when they meet an input.

    Warns:
        UserWarning: An input smaller than a block lacks some of its coefficients.

    Cost: ``H + W`` multiplications per pixel and transform for whole images, ``2 n`` for blocks.
    With up to 63 players a transform for each and example, with more one for each model row.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralShapley
        >>> from captum_spectral.features import DCT, zigzag_mask
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 5)).eval()
        >>> x, explainer = torch.rand(2, 3, 16, 16), SpectralShapley(model)
        >>> options = {"target": 1, "return_input_shape": False}
        >>> explainer.attribute(x, features=DCT(num_bands=4), **options).shape
        torch.Size([2, 4])
        >>> groups = DCT(zigzag_mask(6), block_size=8)
        >>> explainer.attribute(x, features=groups, **options).shape
        torch.Size([2, 6])
        >>> every = explainer.attribute(x, features=DCT(block_size=8), n_samples=1, **options)
        >>> every.reshape(2, 8, 8).shape  # a table of coefficients for each image
        torch.Size([2, 8, 8])

    References:
        N. Ahmed, T. Natarajan, K. R. Rao, *Discrete cosine transform*, IEEE Transactions on
        Computers 23, 1974. G. K. Wallace, *The JPEG still picture compression standard*,
        Communications of the ACM 34, 1991.
    """

    def __init__(
        self,
        feature_mask: Tensor | None = None,
        *,
        num_bands: int | None = None,
        block_size: int | None = None,
        norm: Norm = "linf",
    ) -> None:
        if feature_mask is not None:
            check_ids(feature_mask, "feature_mask", what="ids of coefficients")
            if num_bands is not None:
                raise ValueError(
                    "feature_mask and num_bands both say what the players are; give one"
                )
        if norm not in ("linf", "l2", "l1"):
            raise ValueError(f"norm must be 'linf', 'l2' or 'l1', got {norm!r}")
        self.feature_mask = feature_mask
        self.num_bands = None if num_bands is None else check_count("num_bands", num_bands)
        self.block_size = None if block_size is None else check_count("block_size", block_size)
        self.norm = norm
        if self.block_size is not None:
            self._block_mask(self.block_size)  # raises what is wrong with it

    def ids(self, inputs: Tensor) -> Tensor:
        """Return the player of each coefficient; those of a block lie where the block is."""
        (dims,) = format_spectral_dims(_DIMS, (inputs,))
        sizes = [inputs.shape[d] for d in dims]
        if self.block_size is not None:
            table = self._block_mask(self.block_size)
            rows, columns = (_places(n, self.block_size) for n in sizes)
            mask = table[..., rows[:, None], columns]
        elif self.feature_mask is None:
            mask = dct_mask(sizes, self.num_bands, self.norm)
        else:
            mask = self.feature_mask
        if self.block_size is None:
            return place_mask(mask, inputs, dims, "feature_mask")
        placed = place_ids(mask, inputs)
        if placed is None:
            raise ValueError(
                f"feature_mask of shape {tuple(self._block_mask(self.block_size).shape)} is not "
                f"that of a block, {(self.block_size,) * 2}, for every channel of an input of "
                f"shape {tuple(inputs.shape)}"
            )
        return placed

    def transform(self, x: Tensor) -> Tensor:
        """Return the coefficients, of the shape of ``x``."""
        for dim in _DIMS:
            x = self._along(x, dim, inverse=False)
        return x

    def inverse(self, coefficients: Tensor, shape: torch.Size) -> Tensor:
        """Return the signals of coefficients."""
        for dim in _DIMS:
            coefficients = self._along(coefficients, dim, inverse=True)
        return coefficients

    @property
    def num_features(self) -> int:
        """The number of players, or the most that fit."""
        if self.block_size is not None:
            return int(self._block_mask(self.block_size).max()) + 1
        if self.feature_mask is not None:
            return int(self.feature_mask.max()) + 1
        return DEFAULT_BANDS if self.num_bands is None else self.num_bands

    def names(self, inputs: Tensor) -> tuple[str, ...] | None:
        """Return row and column of every coefficient of a block; bands and masks have numbers."""
        if self.block_size is None or self.num_bands is not None or self.feature_mask is not None:
            return None
        sides = range(self.block_size)
        return tuple(f"({u}, {v})" for u in sides for v in sides)

    def _block_mask(self, size: int) -> Tensor:
        """Return the ids of the coefficients of a block, ``(..., n, n)``."""
        if self.feature_mask is not None:
            mask = self.feature_mask.detach().to("cpu", torch.int64)
            if tuple(mask.shape[-2:]) != (size, size):
                raise ValueError(
                    f"feature_mask must be ({size}, {size}) or (C, {size}, {size}), the "
                    f"coefficients of a block, got shape {tuple(mask.shape)}"
                )
            return mask
        if self.num_bands is None:
            return torch.arange(size * size, device="cpu").reshape(size, size)
        return dct_mask((size, size), self.num_bands, self.norm)

    def _along(self, x: Tensor, dim: int, inverse: bool) -> Tensor:
        """Transform along one dim: whole blocks, and then what is left."""
        size = x.shape[dim]
        block = min(self.block_size or size, size)
        whole, rest = x.split([size - size % block, size % block], dim)
        parts = []
        if whole.shape[dim]:
            blocks = whole.unflatten(dim, (-1, block))
            parts.append(_apply(blocks, block, dim, inverse).flatten(dim - 1, dim))
        if rest.shape[dim]:
            parts.append(_apply(rest, rest.shape[dim], dim, inverse))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _apply(x: Tensor, size: int, dim: int, inverse: bool) -> Tensor:
    matrix = _cosines(size)
    return apply_along(matrix.T if inverse else matrix, x, dim)


def _cosines(size: int) -> Tensor:
    """Return the orthonormal DCT-II ``(size, size)``, a row for every frequency."""
    steps = torch.arange(size, device="cpu")
    # Whole turns are left out as integers, so that large ones cost no digits.
    quarter_turns = (steps[:, None] * (2 * steps + 1)) % (4 * size)
    matrix = torch.cos(quarter_turns.double() * (math.pi / (2 * size))) * math.sqrt(2 / size)
    matrix[0] = math.sqrt(1 / size)
    return matrix


def _places(size: int, block: int) -> Tensor:
    """Return which coefficient of a whole block each place of a dim counts as."""
    places = torch.arange(size, device="cpu") % block
    rest = size % block
    if rest:
        places[size - rest :] = places[size - rest :] * block // rest
    return places
