"""Bands of each channel, and of lightness and colour: players that tell hue from shape."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.features.band_mask import DEFAULT_BANDS, band_mask
from captum_spectral.features.feature_mask import check_ids
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import FourierBands
from captum_spectral.features.products import apply_along

Axes = Literal["opponent", "ycbcr"]

__all__ = ["Axes", "LumaChromaBands", "channel_bands"]

_CHANNELS = 1  # the dim that holds them
_SINGULAR = 1e-6  # smallest singular value of axes, as a share of the largest


def channel_bands(feature_mask: Tensor, num_channels: int = 3) -> Tensor:
    r"""Give every channel bands of its own: a mask of channels x bands.

    Band :math:`i` of :math:`M` in channel :math:`c` has the id :math:`c M + i`.

    Args:
        feature_mask: ``(H, W)`` int64 ids, such as :func:`~captum_spectral.band_mask` or
            :func:`sector_mask` give, of Fourier bands or of pixels, or a table of coefficients.
        num_channels: ``C``. Default: 3

    Returns:
        ``(C, H, W)`` ids; values ``(B, C * M)`` reshape to a table ``(B, C, M)``.

    Raises:
        TypeError: A mask that is no integer tensor, a count that is no integer.
        ValueError: A mask of another rank, less than one channel.

    Example::

        >>> from captum_spectral import band_mask
        >>> from captum_spectral.features import channel_bands
        >>> channel_bands(band_mask((3, 3), 2), num_channels=2)[:, 0]
        tensor([[0, 1, 1],
                [2, 3, 3]])
    """
    check_ids(feature_mask, "feature_mask")
    if feature_mask.dim() != 2:
        raise ValueError(
            f"feature_mask must be (H, W), the same for all channels, got shape "
            f"{tuple(feature_mask.shape)}"
        )
    channels = torch.arange(check_count("num_channels", num_channels), device=feature_mask.device)
    mask = feature_mask.long()
    return channels[:, None, None] * (mask.max() + 1) + mask


class LumaChromaBands(Features):
    r"""Bands of lightness and bands of colour as players.

    The channels of every pixel are turned by an invertible matrix :math:`A` into one axis of
    lightness (luma) and others of colour (chroma), and each axis is split into Fourier bands:

    .. math:: T(x) = \mathcal{F}[A x], \qquad x_i = A^{-1} \mathcal{F}^{-1}\big[\,
        1[\text{ids} = i] \cdot \mathcal{F}[A x]\,\big]

    Without its chroma a picture is grey; without its luma all colours are equally light. Ids count
    the bands of luma first, then those of chroma. Values are painted in the shape of the input, on
    Fourier planes; the channel dim of a painted tensor holds the axes.

    Args:
        feature_mask: ``(H, W)`` band ids of luma, symmetric, as :func:`~captum_spectral.band_mask`
            or :func:`sector_mask` give. None: ``num_bands`` equal-width bands. Default: None
        chroma_mask: ``(H, W)`` band ids of chroma. None: those of ``num_chroma_bands``, or where
            that is None too, the bands of luma. Default: None
        num_bands: Bands of luma when there is no ``feature_mask``. None: 8, or as many as fit.
            Default: None
        num_chroma_bands: Bands of chroma when there is no ``chroma_mask``; 1 is all of it. Default:
            None
        axes: ``"opponent"``: the orthonormal axes :math:`(1, 1, 1)/\sqrt 3` of lightness,
            :math:`(1, -1, 0)/\sqrt 2` of red against green and :math:`(1, 1, -2)/\sqrt 6` of yellow
            against blue, and their like for any other number of channels. ``"ycbcr"``: those of
            JPEG and BT.601, without offsets; the lightness is the one that is seen, and the axes
            are not orthogonal. Or an invertible ``(C, C)`` tensor, a row for each axis, lightness
            first. Default: "opponent"
        separate: Whether every axis of colour has bands of its own; else a band of chroma is that
            of all of them. Default: False

    Raises:
        TypeError: Arguments of a wrong kind.
        ValueError: A mask beside a number, unknown axes or a matrix without an inverse; axes for
            another number of channels, masks that do not fit, inputs without channels, when the
            features meet them.

    Inputs must be ``(B, C, H, W)``. An input of one channel has no chroma. Where a model's
    normalisation scales the channels differently, lightness is that of the normalised channels:
    put the normalisation into the model, or give ``axes`` that undo it.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralShapley
        >>> from captum_spectral.features import LumaChromaBands
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 5)).eval()
        >>> players = LumaChromaBands(num_bands=4, num_chroma_bands=2)
        >>> grey = torch.rand(2, 1, 16, 16).expand(2, 3, 16, 16)
        >>> values = SpectralShapley(model).attribute(
        ...     grey, 1, features=players, return_input_shape=False)
        >>> values.shape, bool((values[:, 4:].abs() < 1e-5).all())  # a grey image has no chroma
        (torch.Size([2, 6]), True)
    """

    def __init__(
        self,
        feature_mask: Tensor | None = None,
        chroma_mask: Tensor | None = None,
        *,
        num_bands: int | None = None,
        num_chroma_bands: int | None = None,
        axes: Axes | Tensor = "opponent",
        separate: bool = False,
    ) -> None:
        for mask, name, count, its_name in (
            (feature_mask, "feature_mask", num_bands, "num_bands"),
            (chroma_mask, "chroma_mask", num_chroma_bands, "num_chroma_bands"),
        ):
            if count is not None:
                check_count(its_name, count)
                if mask is not None:
                    raise ValueError(f"{name} and {its_name} both say what the players are")
            if mask is not None:
                check_ids(mask, name, what="band ids")
        if isinstance(axes, str) and axes not in ("opponent", "ycbcr"):
            raise ValueError(f"axes must be 'opponent', 'ycbcr' or a (C, C) tensor, got {axes!r}")
        if not isinstance(axes, str):
            _check_axes(axes)
        self.feature_mask, self.num_bands = feature_mask, num_bands
        self.chroma_mask, self.num_chroma_bands = chroma_mask, num_chroma_bands
        self.axes, self.separate = axes, bool(separate)
        self._fourier = FourierBands()

    def ids(self, inputs: Tensor) -> Tensor:
        """Return the player of each frequency of each axis: ``(1, C, H, W)``."""
        if inputs.dim() != 4:
            raise ValueError(
                "LumaChromaBands needs inputs (B, C, H, W) with channels, got shape "
                f"{tuple(inputs.shape)}"
            )
        num_channels, *size = inputs.shape[1:]
        self._matrix(num_channels)  # raises if it is of another number
        luma = self.feature_mask
        if luma is None:
            luma = band_mask(size, self.num_bands)
        chroma = self.chroma_mask
        if chroma is None:
            chosen = self.num_chroma_bands
            chroma = luma if chosen is None else band_mask(size, chosen)
        planes = [
            FourierBands(mask, name=name).ids(inputs[:, :1]).expand(1, 1, *size)
            for mask, name in ((luma, "feature_mask"), (chroma, "chroma_mask"))
        ]
        first, step = int(planes[0].max()) + 1, int(planes[1].max()) + 1
        of_axes = [
            planes[1] + first + (axis * step if self.separate else 0)
            for axis in range(num_channels - 1)
        ]
        return torch.cat([planes[0], *of_axes], _CHANNELS)

    def transform(self, x: Tensor) -> Tensor:
        """Return half of the spectra of the axes."""
        return self._fourier.transform(self._turned(x, self._matrix(x.shape[_CHANNELS])))

    def inverse(self, coefficients: Tensor, shape: torch.Size) -> Tensor:
        """Return the channels of half spectra of the axes."""
        axes = self._fourier.inverse(coefficients, shape)
        return self._turned(axes, torch.linalg.inv(self._matrix(shape[_CHANNELS])))

    def of_coefficients(self, ids: Tensor) -> Tensor:
        """Return the players of the half that is computed."""
        return self._fourier.of_coefficients(ids)

    @property
    def num_features(self) -> int | None:
        """The most bands; None where their number depends on that of the channels."""
        luma, chroma = self._counts()
        if not self.separate:
            return luma + chroma
        if isinstance(self.axes, str) and self.axes == "opponent":
            return None
        channels = 3 if isinstance(self.axes, str) else len(self.axes)
        return luma + (channels - 1) * chroma

    def names(self, inputs: Tensor) -> tuple[str, ...]:
        """Return the axis and the band of each player."""
        ids = self.ids(inputs)
        luma = int(ids[:, 0].max()) + 1
        names = [f"luma {band}" for band in range(luma)]
        axes = inputs.shape[_CHANNELS] - 1
        bands = (int(ids.max()) + 1 - luma) // (max(axes, 1) if self.separate else 1)
        if self.separate:
            names += [f"chroma {axis}.{band}" for axis in range(axes) for band in range(bands)]
        else:
            names += [f"chroma {band}" for band in range(bands)]
        return tuple(names)

    def _counts(self) -> tuple[int, int]:
        """Return the bands of luma and of an axis of chroma, or the most that fit."""
        luma, chroma = (
            count if mask is None else int(mask.max()) + 1
            for mask, count in (
                (self.feature_mask, self.num_bands),
                (self.chroma_mask, self.num_chroma_bands),
            )
        )
        luma = DEFAULT_BANDS if luma is None else luma
        return luma, luma if chroma is None else chroma

    def _matrix(self, num_channels: int) -> Tensor:
        """Return the axes ``(C, C)``, a row for each."""
        if isinstance(self.axes, Tensor):
            matrix = self.axes.detach().to("cpu", torch.float64)
        else:
            matrix = _ycbcr() if self.axes == "ycbcr" else _opponent(num_channels)
        if len(matrix) != num_channels:
            raise ValueError(
                f"axes are those of {len(matrix)} channels, and the input has {num_channels}"
            )
        return matrix

    @staticmethod
    def _turned(x: Tensor, matrix: Tensor) -> Tensor:
        return apply_along(matrix, x, _CHANNELS)


def _opponent(num_channels: int) -> Tensor:
    """Return the mean of channels, and every channel against those before it; orthonormal."""
    matrix = torch.zeros(num_channels, num_channels, dtype=torch.float64, device="cpu")
    matrix[0] = 1 / math.sqrt(num_channels)
    for axis in range(1, num_channels):
        matrix[axis, :axis] = 1 / math.sqrt(axis * (axis + 1))
        matrix[axis, axis] = -axis / math.sqrt(axis * (axis + 1))
    return matrix


def _ycbcr() -> Tensor:
    """Return luma, blue and red less luma, scaled as in BT.601."""
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64, device="cpu")
    red, _, blue = torch.eye(3, dtype=torch.float64, device="cpu")
    return torch.stack([luma, (blue - luma) / 1.772, (red - luma) / 1.402])


def _check_axes(axes: object) -> None:
    """Raise unless axes are a real matrix with an inverse."""
    if not isinstance(axes, Tensor) or axes.is_complex():
        got = getattr(axes, "dtype", type(axes).__name__)
        raise TypeError(f"axes must be 'opponent', 'ycbcr' or a real (C, C) tensor, got {got}")
    if axes.dim() != 2 or axes.shape[0] != axes.shape[1] or axes.numel() == 0:
        raise ValueError(f"axes must be (C, C), a row for each axis, got {tuple(axes.shape)}")
    sizes = torch.linalg.svdvals(axes.detach().to("cpu", torch.float64))
    if not sizes[-1] > _SINGULAR * sizes[0]:  # NaN, too
        raise ValueError(
            "axes must have an inverse: singular values from "
            f"{float(sizes[0]):.2g} to {float(sizes[-1]):.2g}"
        )
