"""Signals and their frequency bands: splitting a signal, painting band values back.

No model and no game in this file.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral._arguments import format_inputs, format_spectral_dims
from captum_spectral._captum import format_output, is_tuple
from captum_spectral._feature_mask import format_feature_masks

__all__ = ["dense", "paint", "paint_one", "signal_dtype", "split", "split_bands", "unpaint"]


def split_bands(
    inputs: Tensor | tuple[Tensor, ...],
    feature_mask: Tensor | tuple[Tensor, ...] | None = None,
    spectral_dims: int | tuple[int, ...] = (-2, -1),
    num_bands: int = 8,
) -> Tensor | tuple[Tensor, ...]:
    r"""Split a real signal into its frequency bands, which sum to the signal.

    .. math:: x_i = \mathcal{F}^{-1}\big[\, 1[\text{mask} = i] \cdot \mathcal{F}[x] \,\big],
        \qquad \sum_i x_i = x

    Args:
        inputs: Real floating ``(B, ..., H, W)`` tensor, or a tuple of them.
        feature_mask: Integer band ids over the unshifted Fourier plane, of the shape of the
            spectral dims or broadcastable to the input; a tuple of them for a tuple of inputs.
            None: as ``num_bands`` says. Default: None
        spectral_dims: The transformed dims. Default: (-2, -1)
        num_bands: Equal-width bands per input when there is no ``feature_mask``. Default: 8

    Returns:
        ``(B, M, ..., H, W)`` in the dtype of the input (float32 for half-precision inputs), or a
        tuple of them. Bands that a tensor does not have are zero.

    Raises:
        TypeError: Inputs or mask of a wrong kind.
        ValueError: Shapes that do not fit, a mask that is not symmetric, non-finite inputs.

    Cost: no model rows; one forward and M inverse transforms per example, M times the memory of
    the input.

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
    dims = format_spectral_dims(spectral_dims, tensors)
    masks = format_feature_masks(feature_mask, tensors, dims, num_bands)
    ids = torch.arange(1 + max(int(mask.max()) for mask in masks), device="cpu")
    bands = tuple(split(x, mask, ds, ids) for x, mask, ds in zip(tensors, masks, dims, strict=True))
    result: Tensor | tuple[Tensor, ...] = format_output(is_tuple(inputs), bands)
    return result


def split(
    x: Tensor, mask: Tensor, dims: tuple[int, ...], ids: Tensor, out: Tensor | None = None
) -> Tensor:
    """The bands ``ids`` of ``x (B, *signal)`` as ``(B, len(ids), *signal)``.

    ``mask`` has the rank of ``x`` and whole spectral dims (see ``format_feature_masks``). A real
    signal needs half of its spectrum only; the symmetry of the mask makes that exact. The bands are
    transformed one by one: memory is that of the result (``out``, if given) and of two signals.
    """
    x = dense(x.to(signal_dtype(x.dtype)))
    spectrum = torch.fft.rfftn(x, dim=dims)
    half = mask.narrow(dims[-1], 0, spectrum.shape[dims[-1]])
    sizes = [x.shape[d] for d in dims]
    bands = x.new_empty((len(x), len(ids), *x.shape[1:])) if out is None else out
    for p, i in enumerate(ids.tolist()):
        bands[:, p] = torch.fft.irfftn(spectrum * (half == i), s=sizes, dim=dims)
    return bands


def dense(x: Tensor) -> Tensor:
    """A signal of its own memory: the MKL of torch 2.5 cannot transform expanded ones."""
    return x.contiguous() if 0 in x.stride() else x


def signal_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which bands of a signal are computed: never less than float32."""
    return torch.promote_types(dtype, torch.float32)


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

    Cost: no model rows.

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
    masks = format_feature_masks(
        feature_mask, tensors, format_spectral_dims(spectral_dims, tensors), num_bands=1
    )
    _check_band_count(band_values, masks)
    painted = tuple(paint_one(band_values, m, x) for m, x in zip(masks, tensors, strict=True))
    result: Tensor | tuple[Tensor, ...] = format_output(is_tuple(like), painted)
    return result


def paint_one(values: Tensor, mask: Tensor, x: Tensor) -> Tensor:
    """:func:`paint` for one tensor and a mask that has its rank (see ``format_feature_masks``)."""
    examples = max(len(values), len(mask))
    outputs = values.shape[1:-1]
    flat = values.expand(examples, *values.shape[1:]).reshape(examples, -1, values.shape[-1])
    index = mask.to(values.device).expand(examples, *x.shape[1:]).reshape(examples, 1, -1)
    painted = flat.gather(2, index.expand(-1, flat.shape[1], -1))
    return painted.reshape(examples, *outputs, *x.shape[1:])


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

    Cost: no model rows.

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
    masks = format_feature_masks(
        feature_mask, tensors, format_spectral_dims(spectral_dims, tensors), num_bands=1
    )
    num_bands = 1 + max(int(mask.max()) for mask in masks)
    total = tensors[0].new_zeros(len(tensors[0]), num_bands, dtype=torch.float64)
    count = torch.zeros_like(total)
    for x, mask in zip(tensors, masks, strict=True):
        index = mask.expand(x.shape).reshape(len(x), -1)
        total.scatter_add_(1, index, x.reshape(len(x), -1).double())
        count.scatter_add_(1, index, torch.ones_like(index, dtype=torch.float64))
    return (total / count.clamp(min=1)).to(tensors[0].dtype)


def _check_band_count(values: Tensor, masks: tuple[Tensor, ...]) -> None:
    needed = 1 + max(int(mask.max()) for mask in masks)
    if values.dim() < 2 or values.shape[-1] < needed:
        raise ValueError(
            f"band_values must be (B, ..., M) with M >= {needed}, the bands of feature_mask; got "
            f"shape {tuple(values.shape)}"
        )
