"""Values of bands as maps, and maps as values of bands.

A painted map has the value of its band at every frequency; a pixel map lays values over the image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spectral._arguments import format_inputs, format_spectral_dims
from captum_spectral._captum import format_output, is_tuple
from captum_spectral.features.band_mask import band_frequencies
from captum_spectral.features.features import assign, paint_ids, signal_dtype, split
from captum_spectral.features.fourier import bands, split_bands

__all__ = ["band_profile", "band_sums", "paint", "pixel_map", "unpaint", "unpaint_ids"]

_TINY = 1e-30


def paint(
    band_values: Tensor,
    feature_mask: Tensor | tuple[Tensor, ...],
    like: Tensor | tuple[Tensor, ...],
    spectral_dims: int | tuple[int, ...] = (-2, -1),
) -> Tensor | tuple[Tensor, ...]:
    """Give every Fourier bin the value of its band.

    A painted tensor has the shape of the input but lives on the (unshifted) *Fourier plane*, not on
    pixels: show it with :func:`captum_spectral.visualization.visualize_spectrum`, never over the
    photograph.

    Args:
        band_values: ``(B, M)``, or ``(B, *outputs, M)`` for several outputs. ``(1, ..., M)`` when
            the values belong to the batch as a whole.
        feature_mask: The mask (or masks) that made the bands.
        like: Tensor or tuple of tensors ``(B, ..., H, W)`` whose shape the result gets.
        spectral_dims: The transformed dims. Default: (-2, -1)

    Returns:
        ``(B, *outputs, ..., H, W)`` contiguous, in the dtype and on the device of ``band_values``;
        a tuple if ``like`` is one.

    Raises:
        TypeError: A mask that is not an integer tensor.
        ValueError: A mask that does not fit ``like``, or more bands in it than values.

    Example::

        >>> import torch
        >>> from captum_spectral import band_mask, paint
        >>> x = torch.randn(2, 3, 16, 20)
        >>> mask = band_mask((16, 20), num_bands=4)
        >>> painted = paint(torch.rand(2, 4), mask, x)
        >>> painted.shape
        torch.Size([2, 3, 16, 20])
    """
    tensors = format_inputs(like, "like")
    _, masks = assign(bands(feature_mask, 1, spectral_dims, tensors), tensors)
    _check_band_count(band_values, masks)
    painted = tuple(
        paint_ids(band_values, mask, x.shape) for mask, x in zip(masks, tensors, strict=True)
    )
    result: Tensor | tuple[Tensor, ...] = format_output(is_tuple(like), painted)
    return result


def unpaint(
    painted: Tensor | tuple[Tensor, ...],
    feature_mask: Tensor | tuple[Tensor, ...],
    spectral_dims: int | tuple[int, ...] = (-2, -1),
) -> Tensor:
    """Read the band values off a painted tensor: the inverse of :func:`paint`.

    Args:
        painted: ``(B, ..., H, W)`` as :func:`paint` or :class:`~captum_spectral.SpectralShapley`
            gives for one output, or a tuple of them.
        feature_mask: The mask (or masks) that made the bands.
        spectral_dims: The transformed dims. Default: (-2, -1)

    Returns:
        ``(B, M)`` tensor; the mean over the bins of a band (all equal when painted), 0 for an id
        that no bin has.

    Raises:
        TypeError: A mask that is not an integer tensor.
        ValueError: A mask that does not fit ``painted``.

    Example::

        >>> import torch
        >>> from captum_spectral import band_mask, paint, unpaint
        >>> x = torch.randn(2, 3, 16, 20)
        >>> mask = band_mask((16, 20), num_bands=4)
        >>> values = torch.rand(2, 4)
        >>> torch.allclose(unpaint(paint(values, mask, x), mask), values)
        True
    """
    tensors = format_inputs(painted, "painted")
    _, masks = assign(bands(feature_mask, 1, spectral_dims, tensors), tensors)
    return unpaint_ids(tensors, masks)


def unpaint_ids(painted: tuple[Tensor, ...], masks: tuple[Tensor, ...]) -> Tensor:
    """Read band values ``(B, M)`` off tensors painted with checked masks of their rank."""
    num_bands = 1 + max(int(mask.max()) for mask in masks)
    # On the CPU: not every device has float64.
    total = torch.zeros(len(painted[0]), num_bands, dtype=torch.float64, device="cpu")
    count = torch.zeros_like(total)
    for x, mask in zip(painted, masks, strict=True):
        index = mask.expand(x.shape).reshape(len(x), -1).cpu()
        total.scatter_add_(1, index, x.reshape(len(x), -1).to("cpu", torch.float64))
        count.scatter_add_(1, index, torch.ones_like(index, dtype=torch.float64))
    return (total / count.clamp(min=1)).to(painted[0])


def band_sums(
    plane: Tensor,
    feature_mask: Tensor | None = None,
    *,
    num_bands: int | None = None,
    spectral_dims: int | tuple[int, ...] = (-2, -1),
) -> Tensor:
    """Add up attributions to single frequencies band by band.

    Args:
        plane: ``(B, ..., H, W)`` attributions on the unshifted Fourier plane, as
            :meth:`captum_spectral.SpectralForward.on_plane` gives.
        feature_mask: Integer band ids over the plane. None: as ``num_bands`` says. Default: None
        num_bands: Equal-width bands when there is no ``feature_mask``. None: 8, or as many as fit.
            Default: None
        spectral_dims: The transformed dims. Default: (-2, -1)

    Returns:
        ``(B, M)`` sums in the dtype of ``plane``.

    Raises:
        TypeError: A plane or mask of a wrong kind.
        ValueError: Shapes that do not fit, a mask that is not symmetric.

    Example::

        >>> import torch
        >>> from captum_spectral import band_sums
        >>> band_sums(torch.ones(1, 1, 8, 8), num_bands=2)
        tensor([[ 9., 55.]])
    """
    tensors = format_inputs(plane, "plane")
    _, (mask,) = assign(bands(feature_mask, num_bands, spectral_dims, tensors), tensors)
    index = mask.expand(plane.shape).reshape(len(plane), -1)
    zero = plane.new_zeros(len(plane), int(mask.max()) + 1)
    return zero.scatter_add(1, index, tensors[0].reshape(len(plane), -1))


def band_profile(
    attributions: Tensor,
    feature_mask: Tensor | None = None,
    *,
    num_bands: int | None = None,
    spectral_dims: int | tuple[int, ...] = (-2, -1),
) -> Tensor:
    r"""Measure the share of an attribution map's own energy in each frequency band.

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
        num_bands: Equal-width bands when there is no ``feature_mask``. None: 8, or as many as fit.
            Default: None
        spectral_dims: The transformed dims. Default: (-2, -1)

    Returns:
        ``(B, M)`` shares in the dtype of the map (float32 for half precision); NaN for a map of
        zeros.

    Raises:
        TypeError: A map or mask of a wrong kind.
        ValueError: Shapes that do not fit, a mask that is not symmetric, a map that is not finite.

    Example::

        >>> import torch
        >>> from captum_spectral import band_profile
        >>> smooth = torch.ones(1, 3, 32, 32)
        >>> speckled = (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32)).expand(1, 3, 32, 32)
        >>> band_profile(torch.cat([smooth, speckled]), num_bands=4).round(decimals=3)
        tensor([[1., 0., 0., 0.],
                [0., 0., 0., 1.]])
    """
    parts = split_bands(
        attributions, feature_mask, num_bands=num_bands, spectral_dims=spectral_dims
    )
    assert isinstance(parts, Tensor)
    energy = parts.square().flatten(2).sum(2)  # bands are orthogonal
    return energy / energy.sum(1, keepdim=True)


def pixel_map(
    band_values: Tensor,
    inputs: Tensor,
    feature_mask: Tensor | None = None,
    *,
    num_bands: int | None = None,
    spectral_dims: int | tuple[int, ...] = (-2, -1),
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
        num_bands: Equal-width bands when there is no ``feature_mask``. None: 8, or as many as fit.
            Default: None
        spectral_dims: The transformed dims. Default: (-2, -1)

    Returns:
        ``(B, ..., H, W)`` of the shape of ``inputs``, in the dtype of ``band_values``. The value of
        a band that an input does not have is spread evenly.

    Raises:
        TypeError: Tensors of a wrong kind.
        ValueError: Shapes that do not fit.

    Cost: 3 M + 1 transforms per input; no model rows.

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
    (dims,) = format_spectral_dims(spectral_dims, tensors)
    (member,), (mask,) = assign(bands(feature_mask, num_bands, dims, tensors), tensors)
    frequencies = band_frequencies(mask, dims)
    players = torch.arange(len(frequencies), device="cpu")
    parts = split(member, x.to(signal_dtype(x.dtype)), mask, players)
    if band_values.shape != parts.shape[:2]:
        raise ValueError(
            f"band_values must be {tuple(parts.shape[:2])}, one value for each band of each input, "
            f"got shape {tuple(band_values.shape)}"
        )
    shown = torch.zeros_like(parts[:, 0])
    for i, (low, high) in enumerate(frequencies.tolist()):
        energy = parts[:, i].square()
        if not math.isnan(low):
            energy = _averaged(energy, dims, 1 / (low + high) if high else math.inf)
        total = energy.flatten(1).sum(1).reshape(-1, *[1] * (x.dim() - 1))
        even = torch.full_like(energy, 1 / energy[0].numel())
        value = band_values[:, i].to(energy).reshape(total.shape)
        shown += value * torch.where(total > 0, energy / total.clamp(min=_TINY), even)
    return shown.to(band_values.dtype)


def _check_band_count(values: Tensor, masks: tuple[Tensor, ...]) -> None:
    needed = 1 + max(int(mask.max()) for mask in masks)
    if values.dim() < 2 or values.shape[-1] < needed:
        raise ValueError(
            f"band_values must be (B, ..., M) with M >= {needed}, the bands of feature_mask; got "
            f"shape {tuple(values.shape)}"
        )


def _averaged(energy: Tensor, dims: tuple[int, ...], width: float) -> Tensor:
    """Average over a Gaussian neighbourhood, around the edges; the sum stays as it is."""
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
