"""Attributions seen from the other side: pixels as frequencies, bands as pixels.

No model and no game in this file.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spectral._arguments import format_inputs, format_spectral_dims
from captum_spectral._feature_mask import format_feature_masks
from captum_spectral.masks import band_frequencies
from captum_spectral.spectrum import split_bands

__all__ = ["band_profile", "band_sums", "pixel_map"]


def band_profile(
    attributions: Tensor,
    feature_mask: Tensor | None = None,
    spectral_dims: int | tuple[int, ...] = (-2, -1),
    num_bands: int = 8,
) -> Tensor:
    r"""How much of an attribution map's own energy lies in each frequency band.

    .. math::
        q_i = \frac{\sum_{k \in i} |\mathcal{F}[a](k)|^2}{\sum_k |\mathcal{F}[a](k)|^2},
        \qquad \sum_i q_i = 1

    It describes the *map*: a smooth one has its energy in the low bands, a speckled one in the
    high ones. It does not say which frequencies of the *input* the output rests on; that is what
    :class:`~captum_spectral.SpectralShapley` says, and the two need not agree.

    Args:
        attributions: ``(B, ..., H, W)`` map in the pixels of the input, of any Captum method.
        feature_mask: Integer band ids over the unshifted Fourier plane. None: as ``num_bands``
            says. Default: None
        spectral_dims: The transformed dims. Default: (-2, -1)
        num_bands: Equal-width bands when there is no ``feature_mask``. Default: 8

    Returns:
        ``(B, M)`` shares in the dtype of the map (float32 for half precision); NaN for a map of
        zeros.

    Raises:
        TypeError: A map or mask of a wrong kind.
        ValueError: Shapes that do not fit, a mask that is not symmetric, a map that is not finite.

    Cost: no model rows; M + 1 transforms per map.

    Example::

        >>> import torch
        >>> from captum_spectral import band_profile
        >>> smooth = torch.ones(1, 3, 32, 32)
        >>> speckled = (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32)).expand(1, 3, 32, 32)
        >>> band_profile(torch.cat([smooth, speckled]), num_bands=4).round(decimals=3)
        tensor([[1., 0., 0., 0.],
                [0., 0., 0., 1.]])
    """
    bands = split_bands(attributions, feature_mask, spectral_dims, num_bands)
    assert isinstance(bands, Tensor)
    energy = bands.square().flatten(2).sum(2)  # bands are orthogonal
    return energy / energy.sum(1, keepdim=True)


def band_sums(
    plane: Tensor,
    feature_mask: Tensor | None = None,
    spectral_dims: int | tuple[int, ...] = (-2, -1),
    num_bands: int = 8,
) -> Tensor:
    """Add up attributions to single frequencies band by band.

    Args:
        plane: ``(B, ..., H, W)`` attributions on the unshifted Fourier plane, as
            :meth:`captum_spectral.SpectralForward.on_plane` gives.
        feature_mask: Integer band ids over the plane. None: as ``num_bands`` says. Default: None
        spectral_dims: The transformed dims. Default: (-2, -1)
        num_bands: Equal-width bands when there is no ``feature_mask``. Default: 8

    Returns:
        ``(B, M)`` sums in the dtype of ``plane``.

    Raises:
        TypeError: A plane or mask of a wrong kind.
        ValueError: Shapes that do not fit, a mask that is not symmetric.

    Cost: no model rows.

    Example::

        >>> import torch
        >>> from captum_spectral import band_sums
        >>> band_sums(torch.ones(1, 1, 8, 8), num_bands=2)
        tensor([[ 9., 55.]])
    """
    tensors = format_inputs(plane, "plane")
    dims = format_spectral_dims(spectral_dims, tensors)
    (mask,) = format_feature_masks(feature_mask, tensors, dims, num_bands)
    index = mask.expand(plane.shape).reshape(len(plane), -1)
    zero = plane.new_zeros(len(plane), int(mask.max()) + 1)
    return zero.scatter_add(1, index, tensors[0].reshape(len(plane), -1))


def pixel_map(
    band_values: Tensor,
    inputs: Tensor,
    feature_mask: Tensor | None = None,
    spectral_dims: int | tuple[int, ...] = (-2, -1),
    num_bands: int = 8,
) -> Tensor:
    r"""Lay band values over the pixels, in proportion to where the input has each band.

    .. math::
        m(p) = \sum_i \phi_i \frac{(g_i * x_i^2)(p)}{\sum_q (g_i * x_i^2)(q)}, \qquad
        \sum_p m(p) = \sum_i \phi_i

    The local energy of band :math:`x_i` is its square, averaged by a Gaussian :math:`g_i` over half
    a wavelength of the band's middle frequency, or the zero crossings of every wave would show.

    It is an aid for the eye, to lay over a photograph. It is **not** a Shapley value of pixels: no
    pixel was ever absent from a coalition, and two places with the same texture get the same share
    whether the model looks at them or not.

    Args:
        band_values: ``(B, M)`` values, as ``attribute(..., return_input_shape=False)`` gives.
        inputs: ``(B, ..., H, W)`` what was explained.
        feature_mask: The mask that made the bands. None: as ``num_bands`` says. Default: None
        spectral_dims: The transformed dims. Default: (-2, -1)
        num_bands: Equal-width bands when there is no ``feature_mask``. Default: 8

    Returns:
        ``(B, ..., H, W)`` of the shape of ``inputs``, in the dtype of ``band_values``. The value of
        a band that an input does not have is spread evenly.

    Raises:
        TypeError: Tensors of a wrong kind.
        ValueError: Shapes that do not fit.

    Cost: no model rows; 3 M + 1 transforms per input.

    Example::

        >>> import torch
        >>> from captum_spectral import pixel_map
        >>> x = torch.zeros(1, 1, 32, 32)
        >>> x[..., 16:] = (-1.0) ** torch.arange(16)  # stripes on the right
        >>> shown = pixel_map(torch.tensor([[0.0, 0.0, 0.0, 2.0]]), x, num_bands=4)
        >>> round(float(shown.sum()), 3), bool(shown[..., 20:28].sum() > shown[..., 4:12].sum())
        (2.0, True)
    """
    (x,) = tensors = format_inputs(inputs)
    dims = format_spectral_dims(spectral_dims, tensors)
    (mask,) = format_feature_masks(feature_mask, tensors, dims, num_bands)
    bands = split_bands(x, mask, spectral_dims)
    assert isinstance(bands, Tensor)
    if band_values.shape != bands.shape[:2]:
        raise ValueError(
            f"band_values must be {tuple(bands.shape[:2])}, one value for each band of each input, "
            f"got shape {tuple(band_values.shape)}"
        )
    frequencies = band_frequencies(mask, dims[0])
    shown = torch.zeros_like(bands[:, 0])
    for i, (low, high) in enumerate(frequencies.tolist()):
        energy = bands[:, i].square()
        if not math.isnan(low):
            energy = _averaged(energy, dims[0], 1 / (low + high) if high else math.inf)
        total = energy.flatten(1).sum(1).reshape(-1, *[1] * (x.dim() - 1))
        even = torch.full_like(energy, 1 / energy[0].numel())
        value = band_values[:, i].to(energy).reshape(total.shape)
        shown += value * torch.where(total > 0, energy / total.clamp(min=_TINY), even)
    return shown.to(band_values.dtype)


_TINY = 1e-30


def _averaged(energy: Tensor, dims: tuple[int, ...], width: float) -> Tensor:
    """The mean over a Gaussian neighbourhood, around the edges; the sum stays as it is."""
    spectrum = torch.fft.rfftn(energy, dim=dims)
    for j, dim in enumerate(dims):
        size = energy.shape[dim]
        last = j == len(dims) - 1
        frequency = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(size, device=energy.device)
        exponent = -2 * (math.pi * min(width, size) * frequency).square()
        spectrum = spectrum * exponent.exp().reshape(
            [-1 if d == dim else 1 for d in range(energy.dim())]
        )
    sizes = [energy.shape[d] for d in dims]
    averaged: Tensor = torch.fft.irfftn(spectrum, s=sizes, dim=dims)
    return averaged.clamp(min=0)
