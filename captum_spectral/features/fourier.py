"""Frequency bands: players that own the coefficients of a Fourier transform."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import format_inputs, format_spectral_dims, warn
from captum_spectral._captum import format_output, is_tuple
from captum_spectral.features.band_mask import DEFAULT_BANDS, band_mask
from captum_spectral.features.feature_mask import check_ids, place_ids, single_masks
from captum_spectral.features.features import Features, OwnPlayers, assign, signal_dtype, split
from captum_spectral.features.pixels import Pixels

__all__ = ["FourierBands", "SpectralDims", "bands", "place_mask", "remark_on_dims", "split_bands"]

# Dims of all inputs, or one entry for each input: dims, or None of one without a spectrum.
SpectralDims = int | tuple[int | tuple[int, ...] | None, ...]

_MANY = 16  # times as many samples as channels are no accident


class FourierBands(Features):
    r"""Bands of the Fourier spectrum of a real signal.

    .. math:: x_i = \mathcal{F}^{-1}\big[\, 1[\text{mask} = i] \cdot \mathcal{F}[x] \,\big]

    Half of the spectrum holds all of a real signal, so half is computed; the symmetry of the mask
    makes that exact. Values are painted on the whole, unshifted plane.

    Args:
        feature_mask: Integer band ids over the unshifted Fourier plane (layout of
            ``torch.fft.fftn`` over the spectral dims), of the shape of the spectral dims or
            broadcastable to the input. A frequency and its negative must share a band. None:
            ``num_bands`` equal-width bands under the max-norm. Default: None
        num_bands: Bands when there is no ``feature_mask``. None: 8, or as many as fit. Default:
            None
        spectral_dims: The transformed dims. Default: (-2, -1)

    Raises:
        TypeError: A mask or count of a wrong kind, when the features meet an input.
        ValueError: A mask that does not fit the input or is not symmetric, dims that it does not
            have, more bands than frequencies; when the features meet an input.

    Example::

        >>> import torch
        >>> from captum_spectral.features import FourierBands
        >>> FourierBands(num_bands=2).ids(torch.rand(5, 3, 4, 6))[0, 0]
        tensor([[0, 0, 1, 1, 1, 0],
                [1, 1, 1, 1, 1, 1],
                [1, 1, 1, 1, 1, 1],
                [1, 1, 1, 1, 1, 1]])
    """

    def __init__(
        self,
        feature_mask: Tensor | None = None,
        *,
        num_bands: int | None = None,
        spectral_dims: int | tuple[int, ...] = (-2, -1),
        name: str = "feature_mask",
    ) -> None:
        self.feature_mask = feature_mask
        self.num_bands = num_bands
        self.spectral_dims = spectral_dims
        self._name = name

    def ids(self, inputs: Tensor) -> Tensor:
        """Return the band of every frequency: the rank of the inputs, whole spectral dims."""
        dims = self._dims(inputs)
        mask, name = self.feature_mask, self._name
        if mask is None:
            mask = band_mask([inputs.shape[d] for d in dims], self.num_bands)
        else:
            check_ids(mask, name, what="band ids")
        placed = place_mask(mask, inputs, dims, name)
        if self.feature_mask is not None:
            _check_symmetry(placed, dims, name)
        return placed

    def transform(self, x: Tensor) -> Tensor:
        """Return half of the spectrum; the last of the spectral dims is the halved one."""
        # The MKL of torch 2.5 cannot transform expanded signals.
        x = x.contiguous() if 0 in x.stride() else x
        spectrum: Tensor = torch.fft.rfftn(x, dim=self.counted_dims(x.dim()))
        return spectrum

    def inverse(self, coefficients: Tensor, shape: torch.Size) -> Tensor:
        """Return the signals of half spectra."""
        dims = self.counted_dims(len(shape))
        signals: Tensor = torch.fft.irfftn(coefficients, s=[shape[d] for d in dims], dim=dims)
        return signals

    def of_coefficients(self, ids: Tensor) -> Tensor:
        """Return the bands of the half that is computed."""
        halved = self.counted_dims(ids.dim())[-1]
        return ids.narrow(halved, 0, ids.shape[halved] // 2 + 1)

    @property
    def num_features(self) -> int | None:
        """The number of bands, or the most that fit."""
        if type(self).ids is not FourierBands.ids:
            return None  # a subclass with bands of its own
        if self.feature_mask is not None:
            return int(self.feature_mask.max()) + 1
        return DEFAULT_BANDS if self.num_bands is None else self.num_bands

    def _dims(self, inputs: Tensor) -> tuple[int, ...]:
        (dims,) = format_spectral_dims(self.spectral_dims, (inputs,))
        return dims

    def counted_dims(self, rank: int) -> tuple[int, ...]:
        """Return the transformed dims of tensors of a rank, counted from 0."""
        dims = self.spectral_dims
        return tuple(d % rank for d in ((dims,) if isinstance(dims, int) else dims))


def bands(
    feature_mask: Tensor | tuple[Tensor, ...] | None,
    num_bands: int | None,
    spectral_dims: SpectralDims,
    inputs: tuple[Tensor, ...],
    features: Features | tuple[Features, ...] | None = None,
) -> Features | tuple[Features, ...]:
    """Return ``features`` where they are given, else the bands that the shorthand describes.

    An input without a spectrum is one player, or has the players of its mask place by place.
    """
    if features is not None:
        if feature_mask is not None:
            raise ValueError("features and feature_mask both say what the players are; give one")
        return features
    each = _dims_of_each(spectral_dims, len(inputs))
    _check_each(each, inputs)
    if feature_mask is None:
        for x, dims in zip(inputs, each, strict=True):
            remark_on_dims(x, dims)
        if len(set(map(repr, each))) == 1 and each[0] is not None:
            return FourierBands(num_bands=num_bands, spectral_dims=each[0])
        return OwnPlayers(
            Pixels(torch.zeros(1, dtype=torch.int64))
            if dims is None
            else FourierBands(num_bands=num_bands, spectral_dims=dims)
            for dims in each
        )
    masks = single_masks(feature_mask, len(inputs))
    for x, (mask, _), dims in zip(inputs, masks, each, strict=True):
        remark_on_dims(x, dims, mask)
    return tuple(
        Pixels(mask, name=name)
        if dims is None
        else FourierBands(mask, spectral_dims=dims, name=name)
        for (mask, name), dims in zip(masks, each, strict=True)
    )


def _dims_of_each(
    spectral_dims: SpectralDims, num_inputs: int
) -> tuple[int | tuple[int, ...] | None, ...]:
    """Return the dims of each input: those for all, or its own."""
    given: Any = spectral_dims
    if not isinstance(given, tuple | list) or not any(
        d is None or isinstance(d, tuple | list) for d in given
    ):
        return (given,) * num_inputs
    if len(given) != num_inputs:
        raise ValueError(
            f"spectral_dims={spectral_dims!r} must have one entry per input: got {len(given)} for "
            f"{num_inputs} inputs"
        )
    return tuple(tuple(d) if isinstance(d, list) else d for d in given)


def _check_each(each: tuple[int | tuple[int, ...] | None, ...], inputs: tuple[Tensor, ...]) -> None:
    """Raise where an input of several does not have its dims; one alone is checked later."""
    for i, (x, dims) in enumerate(zip(inputs, each, strict=True)):
        if len(inputs) > 1 and dims is not None and isinstance(x, Tensor) and x.dim() > 1:
            without = (*each[:i], None, *each[i + 1 :])
            remedy = (
                f"give each input its own, such as spectral_dims={without} where inputs[{i}] has "
                "no spectrum and is one player, or (-1,) for (B, T) signals"
            )
            format_spectral_dims(dims, (x,), f"inputs[{i}]", remedy)


def remark_on_dims(
    x: object, spectral_dims: int | tuple[int, ...] | None, mask: object = None
) -> None:
    """Warn where the default dims would transform an input over its channels, or not its depth."""
    if spectral_dims != (-2, -1) or not isinstance(x, Tensor):
        return
    shape = tuple(x.shape)
    if _seems_volume(x, mask):
        likely = "(-3, -2, -1), for it seems to be a volume (B, C, D, H, W)"
    elif mask is not None:
        return
    elif x.dim() == 4 and shape[-1] in (2, 3, 4) and min(shape[1:3]) >= _MANY * shape[-1]:
        likely = "(-3, -2), for its channels seem to be last"
    elif x.dim() == 3 and 1 < shape[1] <= 16 and shape[2] >= _MANY * shape[1]:
        likely = "(-1,), for it seems to be a signal (B, C, T) of several channels"
    else:
        return
    warn(
        f"spectral_dims=(-2, -1) transforms an input of shape {shape} over its dims of {shape[-2]} "
        f"and {shape[-1]}; you may want {likely}; if both are meant, (-1, -2) says so"
    )


def _seems_volume(x: Tensor, mask: object) -> bool:
    """Say whether an input may be a volume; with a mask whether that is one over its volume."""
    if x.dim() != 5 or x.shape[2] == 1:
        return False
    if not isinstance(mask, Tensor):
        return mask is None
    if mask.shape[-3:] != x.shape[-3:]:
        return False  # over the last two dims, or one that does not fit and is refused later
    # Bands that differ along the depth and are symmetric in all three dims. Those of the frames of
    # a video have an order of their own.
    mirror = mask.flip((-3, -2, -1)).roll((1, 1, 1), (-3, -2, -1))
    return not torch.equal(mask.roll(1, -3), mask) and torch.equal(mirror, mask)


def split_bands(
    inputs: Tensor | tuple[Tensor, ...],
    feature_mask: Tensor | tuple[Tensor, ...] | None = None,
    *,
    num_bands: int | None = None,
    spectral_dims: SpectralDims = (-2, -1),
) -> Tensor | tuple[Tensor, ...]:
    r"""Split a real signal into its frequency bands, which sum to the signal.

    .. math:: x_i = \mathcal{F}^{-1}\big[\, 1[\text{mask} = i] \cdot \mathcal{F}[x] \,\big],
        \qquad \sum_i x_i = x

    Args:
        inputs: Real floating ``(B, ..., H, W)`` tensor, or a tuple of them.
        feature_mask: Integer band ids over the unshifted Fourier plane, of the shape of the
            spectral dims or broadcastable to the input; a tuple of them for a tuple of inputs.
            None: as ``num_bands`` says. Default: None
        num_bands: Equal-width bands per input when there is no ``feature_mask``. None: 8, or as
            many as fit. Default: None
        spectral_dims: The transformed dims. Default: (-2, -1)

    Returns:
        ``(B, M, ..., H, W)`` in the dtype of the input (float32 for half-precision inputs), or a
        tuple of them. Bands that a tensor does not have are zero.

    Raises:
        TypeError: Inputs or mask of a wrong kind.
        ValueError: Shapes that do not fit, a mask that is not symmetric, non-finite inputs.

    Cost: one forward and M inverse transforms per example, M times the memory of the input; no
    model rows.

    Example::

        >>> import torch
        >>> from captum_spectral import band_mask, split_bands
        >>> x = torch.randn(2, 3, 16, 20)
        >>> bands = split_bands(x, band_mask((16, 20), num_bands=4))
        >>> bands.shape
        torch.Size([2, 4, 3, 16, 20])
        >>> torch.allclose(bands.sum(1), x, atol=1e-5)
        True
    """
    tensors = format_inputs(inputs)
    each, ids = assign(bands(feature_mask, num_bands, spectral_dims, tensors), tensors)
    players = torch.arange(1 + max(int(own.max()) for own in ids), device="cpu")
    parts = tuple(
        split(member, x.to(signal_dtype(x.dtype)), own, players)
        for member, x, own in zip(each, tensors, ids, strict=True)
    )
    result: Tensor | tuple[Tensor, ...] = format_output(is_tuple(inputs), parts)
    return result


def place_mask(mask: Tensor, x: Tensor, dims: tuple[int, ...], name: str) -> Tensor:
    """Put the dims of the mask where the spectral dims of ``x`` are, and make these whole."""
    spectral = tuple(x.shape[d] for d in dims)
    if tuple(mask.shape) == spectral:
        order = sorted(range(len(dims)), key=lambda j: dims[j])
        sizes = [x.shape[d] if d in dims else 1 for d in range(x.dim())]
        return mask.detach().to(x.device, torch.int64).permute(order).reshape(sizes)
    placed = place_ids(mask, x)
    if placed is None:
        raise ValueError(
            f"{name} of shape {tuple(mask.shape)} fits neither the spectral dims {spectral} nor, "
            f"by broadcasting, the input of shape {tuple(x.shape)}"
        )
    return placed.expand([x.shape[d] if d in dims else placed.shape[d] for d in range(x.dim())])


def _check_symmetry(mask: Tensor, dims: tuple[int, ...], name: str) -> None:
    mirror = mask.flip(dims).roll([1] * len(dims), dims)
    wrong = (mask != mirror).nonzero()
    if len(wrong) == 0:
        return
    index = wrong[0].tolist()

    def signed(k: int, n: int) -> int:
        return k if 2 * k < n else k - n

    k = tuple(signed(index[d], mask.shape[d]) for d in dims)
    raise ValueError(
        f"{name} must give a frequency and its negative the same band, or the bands of a real "
        f"signal are complex: frequency {k} has band {int(mask[tuple(index)])}, "
        f"{tuple(-f for f in k)} has band {int(mirror[tuple(index)])}"
    )
