"""Intervals of any statistic of models on the same images, from one bit per image and cell.

A cell is a model on a set of perturbed images. Its bits are all that a study must keep of its
images: any ratio of accuracies gets its interval later, without the models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_count

__all__ = ["Bootstrap", "pack_bits", "paired_bootstrap", "unpack_bits"]

_TOGETHER = 64  # resamples that share a matrix product
_PLACES = torch.arange(8, dtype=torch.uint8, device="cpu")  # of the bits in a byte


def pack_bits(bits: Tensor) -> Tensor:
    """Pack booleans, eight in a byte.

    Args:
        bits: ``(..., N)`` boolean: whether each of N images was classified rightly.

    Returns:
        ``(..., ceil(N / 8))`` uint8 on the CPU; image ``8 i + j`` is bit ``j`` (of value ``2^j``)
        of byte ``i``, and what is left of the last byte is 0.

    Raises:
        TypeError: Bits that are no boolean tensor.
        ValueError: Bits without images.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.bootstrap import pack_bits, unpack_bits
        >>> packed = pack_bits(torch.tensor([True, False, True] + 7 * [False]))
        >>> packed
        tensor([5, 0], dtype=torch.uint8)
        >>> unpack_bits(packed, 10)[:3]
        tensor([ True, False,  True])
    """
    if not isinstance(bits, Tensor) or bits.dtype is not torch.bool:
        raise TypeError(
            f"bits must be a boolean tensor, got {getattr(bits, 'dtype', type(bits).__name__)}"
        )
    if bits.dim() == 0 or bits.numel() == 0:
        raise ValueError(f"bits must be (..., N) of N images, got shape {tuple(bits.shape)}")
    flat = bits.detach().cpu()
    flat = torch.nn.functional.pad(flat, (0, -flat.shape[-1] % 8)).unflatten(-1, (-1, 8))
    packed: Tensor = (flat.to(torch.uint8) << _PLACES).sum(-1, dtype=torch.uint8)
    return packed


def unpack_bits(packed: Tensor, num_images: int) -> Tensor:
    """Unpack the booleans of :func:`pack_bits`.

    Args:
        packed: ``(..., ceil(N / 8))`` uint8.
        num_images: ``N``.

    Returns:
        ``(..., N)`` boolean on the CPU.

    Raises:
        TypeError: A tensor of another dtype.
        ValueError: Bytes of another number of images.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.bootstrap import unpack_bits
        >>> unpack_bits(torch.tensor([6], dtype=torch.uint8), 3)
        tensor([False,  True,  True])
    """
    num_images = check_count("num_images", num_images)
    if not isinstance(packed, Tensor) or packed.dtype is not torch.uint8:
        raise TypeError(
            "packed must be a uint8 tensor, as pack_bits gives it, got "
            f"{getattr(packed, 'dtype', type(packed).__name__)}"
        )
    if packed.dim() == 0 or packed.shape[-1] != -(-num_images // 8):  # rounded up
        raise ValueError(
            f"packed must be (..., {-(-num_images // 8)}) for num_images={num_images}, got shape "
            f"{tuple(packed.shape)}"
        )
    bits = (packed.cpu()[..., None] >> _PLACES) & 1
    return bits.bool().flatten(-2)[..., :num_images]


class Bootstrap(NamedTuple):
    """A statistic of all images, and its spread when the images are drawn anew.

    Args:
        value: ``(...)`` float64, of the images as they are.
        low: ``(...)`` lower end of the percentile interval.
        high: ``(...)`` upper end.
        standard_error: ``(...)`` standard deviation over the resamples.
        num_undefined: ``(...)`` resamples in which the statistic was NaN; they are left out of the
            other three, so an interval with many of them says too little about the spread.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.bootstrap import paired_bootstrap
        >>> right = torch.arange(100) < 80
        >>> result = paired_bootstrap(lambda accuracy: 1 - accuracy, right)
        >>> print(f"{result.value:.2f} ± {result.standard_error:.2f}")
        0.20 ± 0.04
    """

    value: Tensor
    low: Tensor
    high: Tensor
    standard_error: Tensor
    num_undefined: Tensor


def paired_bootstrap(
    statistic: Callable[..., Tensor | float],
    *bits: Tensor,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Bootstrap:
    r"""Compute percentile intervals of a statistic of means over images.

    In each resample as many images are drawn with replacement, *the same ones for all* models and
    cells, and the statistic is computed from the means over them. So what is common to all models,
    such as an image that is hard for all, does not widen the interval of a ratio or a difference.

    The spread is that over images, for models as they are; it says nothing about training a model
    anew, nor about other models.

    Args:
        statistic: Called with one tensor of means ``(...)`` for each of ``bits``, in float64 on the
            CPU; returns a number or a tensor, of the same shape each time.
        *bits: ``(..., N)``, boolean (whether each of N images was classified rightly, so that the
            means are accuracies) or any real numbers, one for each image.
        num_resamples: Resamples. Default: 1000
        level: Of the interval. Default: 0.95
        seed: Of the resamples. Default: 0

    Returns:
        :class:`Bootstrap`: ``value``, ``low``, ``high``, ``standard_error``, ``num_undefined``.

    Raises:
        TypeError: A statistic that cannot be called, bits that are no real tensors.
        ValueError: No bits, or of different numbers of images; numbers that are not finite, a
            ``level`` that is not between 0 and 1.

    Memory: the bits in float64, and 64 means for each cell.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.bootstrap import paired_bootstrap
        >>> from captum_spectral.robustness.errors import corruption_error
        >>> images = torch.arange(600)
        >>> reference = torch.stack([images % 2 == 0, images % 3 == 0])   # two severities
        >>> model = reference | (images % 5 < 2)
        >>> result = paired_bootstrap(
        ...     lambda a, b: corruption_error(1 - a, 1 - b), model, reference)
        >>> print(f"{result.value:.2f} [{result.low:.2f}, {result.high:.2f}]")
        0.60 [0.55, 0.65]

    References:
        B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*, Chapman & Hall 1993.
    """
    if not callable(statistic):
        raise TypeError(f"statistic must be a function, got {type(statistic).__name__}")
    num_resamples = check_count("num_resamples", num_resamples)
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    numbers = _numbers(bits)
    count = numbers[0].shape[-1]
    generator = torch.Generator("cpu").manual_seed(seed)
    drawn: list[Tensor] = []
    while len(drawn) < num_resamples:
        together = min(_TOGETHER, num_resamples - len(drawn))
        times = torch.stack([_times(count, generator) for _ in range(together)], 1)  # (N, r)
        means = [x @ times / count for x in numbers]  # sums of bits are exact
        drawn += [_as_tensor(statistic(*(m[..., i] for m in means))) for i in range(together)]
    samples = torch.stack(drawn)  # (num_resamples, ...)
    tail = (1 - level) / 2
    undefined = samples.isnan()
    known = (~undefined).sum(0)
    centred = torch.where(undefined, 0.0, samples - samples.nanmean(0))
    spread = (centred.square().sum(0) / (known - 1).clamp(min=1)).sqrt()
    return Bootstrap(
        value=_as_tensor(statistic(*(x.mean(-1) for x in numbers))),
        low=samples.nanquantile(tail, 0),
        high=samples.nanquantile(1 - tail, 0),
        standard_error=torch.where(known > 1, spread, torch.nan),
        num_undefined=undefined.sum(0),
    )


def _numbers(bits: tuple[Tensor, ...]) -> list[Tensor]:
    """Return float64 tensors ``(..., N)`` on the CPU, checked."""
    if not bits:
        raise ValueError("bits must be one tensor (..., N) or more, got none")
    for i, x in enumerate(bits):
        if not isinstance(x, Tensor) or x.dtype.is_complex:
            raise TypeError(
                f"bits[{i}] must be a real tensor, got {getattr(x, 'dtype', type(x).__name__)}"
            )
        if x.dim() == 0 or x.numel() == 0 or x.shape[-1] != bits[0].shape[-1]:
            raise ValueError(
                f"bits must be (..., N) with the same N images in each, got shape {tuple(x.shape)} "
                f"beside {tuple(bits[0].shape)}"
            )
        if not x.isfinite().all():
            raise ValueError(f"bits[{i}] must be finite, or its mean says nothing")
    return [x.detach().cpu().double() for x in bits]


def _times(count: int, generator: torch.Generator) -> Tensor:
    """Draw images with replacement: how often ``(N,)`` each is in the resample."""
    images = torch.randint(count, (count,), generator=generator, device="cpu")
    return images.bincount(minlength=count).double()


def _as_tensor(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64, device="cpu")
