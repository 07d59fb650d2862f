"""Corruptions: named ways to damage images, each with its severities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from captum_spectral._arguments import check_count, check_pixel_range, format_inputs
from captum_spectral._engine.draws import ImageDraws
from captum_spectral.robustness import _functions

__all__ = ["Corruption", "CorruptionGroup", "builtin_corruptions"]

# Models that resist one group often give in to another, so scores are told per group.
CorruptionGroup = Literal["noise", "blur and digital", "contrast and brightness", "other"]

_SMALL = 64  # images with a shorter side get the severities for small ones


@dataclass(frozen=True)
class Corruption:
    r"""Damage images in one way, with severities from 1 upwards.

    .. math:: x' = \operatorname{clamp}(g(x, v_s, \text{generator}), 0, 1)

    for the function :math:`g` and the value :math:`v_s` of severity :math:`s`. Everything happens
    in pixels from 0 to 1. Images are handed to the function one by one, each with random numbers
    that depend on ``seed``, the name, the severity and its pixels alone: neighbours, order, batches
    and processes change nothing, and all models see the same corrupted images.

    Args:
        name: Its name in tables, and part of what its random numbers depend on.
        function: ``function(x, value, generator)`` of pixels ``(B, C, H, W)`` from 0 to 1 in
            float32 or float64, the value of the severity, and a ``torch.Generator`` on the CPU;
            returns as many pixels. It may change ``x`` in place.
        severities: The value for each severity, the mildest first; numbers or anything else that
            the function takes.
        group: ``"noise"``, ``"blur and digital"``, ``"contrast and brightness"`` or ``"other"``.
            Default: "other"
        reproducible: False for a function that draws random numbers which nobody can seed; tables
            say so. Default: True

    Raises:
        TypeError: A name or function of a wrong kind.
        ValueError: An empty name, no severities, or an unknown group.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.corruptions import Corruption
        >>> darker = Corruption("darker", lambda x, by, generator: x - by, severities=(0.1, 0.2))
        >>> darker(torch.full((1, 1, 2, 2), 0.5), severity=2)
        tensor([[[[0.3000, 0.3000],
                  [0.3000, 0.3000]]]])
    """

    name: str
    function: Callable[[Tensor, Any, torch.Generator], Tensor]
    severities: tuple[Any, ...]
    group: CorruptionGroup = "other"
    reproducible: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a string, got {self.name!r}")
        if not self.name:
            raise ValueError("name must not be empty: tables tell corruptions apart by it")
        if not callable(self.function):
            raise TypeError(
                "function must be callable as function(x, value, generator), got "
                f"{type(self.function).__name__}"
            )
        if isinstance(self.severities, str) or not isinstance(self.severities, Sequence):
            raise TypeError(
                "severities must be a tuple with the value of each severity, got "
                f"{self.severities!r}"
            )
        if not self.severities:
            raise ValueError("severities must hold at least one value")
        if self.group not in get_args(CorruptionGroup):
            names = ", ".join(map(repr, get_args(CorruptionGroup)))
            raise ValueError(f"group must be one of {names}, got {self.group!r}")
        object.__setattr__(self, "severities", tuple(self.severities))  # lists cannot be hashed

    @torch.no_grad()
    def __call__(self, images: Tensor, severity: int, seed: int = 0) -> Tensor:
        """Return corrupted images.

        Args:
            images: ``(B, C, H, W)`` floating pixels from 0 to 1, on any device.
            severity: From 1, the mildest, to ``len(severities)``.
            seed: Another seed gives every image other random numbers. Default: 0

        Returns:
            ``(B, C, H, W)`` from 0 to 1, in the dtype and on the device of ``images``.

        Raises:
            TypeError: Images that are no floating tensor, a severity or seed that is no integer, a
                function that gives no real tensor.
            ValueError: Images of another shape or outside of 0 to 1, a severity that is not there,
                a negative seed, or a function that gives other shapes or values that are not
                finite.
        """
        x = _check_pixels(images)
        severity = check_count("severity", severity)
        if severity > len(self.severities):
            raise ValueError(
                f"severity must be from 1 to {len(self.severities)} for {self.name}, got {severity}"
            )
        seed = check_count("seed", seed, at_least=0)
        draws = ImageDraws(x, seed, purpose=f"{self.name}:{severity}")
        value = self.severities[severity - 1]
        dtype = torch.promote_types(x.dtype, torch.float32)
        result = torch.empty_like(x)
        # One by one: sums over a batch could round otherwise, and each has its own generator.
        for i, generator in enumerate(draws.generators):
            image = x[i : i + 1].to(dtype, copy=True)
            result[i] = self._checked(self.function(image, value, generator), image)[0]
        return result

    def _checked(self, made: object, image: Tensor) -> Tensor:
        """Return what the function made of an image, clamped; raise if it cannot be one."""
        if not isinstance(made, Tensor) or made.is_complex():
            got = made.dtype if isinstance(made, Tensor) else type(made).__name__
            raise TypeError(f"the function of {self.name} must return a real tensor, got {got}")
        if made.shape != image.shape:
            raise ValueError(
                f"the function of {self.name} must keep the shape {tuple(image.shape)}, got "
                f"{tuple(made.shape)}"
            )
        if not made.isfinite().all():
            raise ValueError(f"the function of {self.name} gave values that are not finite")
        return made.clamp(0, 1)


def builtin_corruptions(
    scale: Literal["large", "small"] | tuple[int, int],
) -> tuple[Corruption, ...]:
    """Return the eight built-in corruptions, each with five severities.

    ======================= ============================================== =========================
    name                    pixels ``x`` from 0 to 1 become, then clamped  value, large 1-5; small
    ======================= ============================================== =========================
    ``gaussian_noise``      ``x + s * N(0, 1)``                            .08 .12 .18 .26 .38;
                                                                           .04 .06 .08 .09 .10
    ``shot_noise``          ``Poisson(c * x) / c``                         60 25 12 5 3;
                                                                           500 250 100 75 50
    ``impulse_noise``       a share ``p`` of the values to 0 or 1, half    .03 .06 .09 .17 .27;
                            each                                           .01 .02 .03 .05 .07
    ``gaussian_blur``       blurred, ``s`` pixels, kernel to 4 ``s``,      1 2 3 4 6;
                            mirrored at the edges                          .4 .6 .7 .8 1
    ``pixelate``            scaled down to a share of the sides, and up,   .6 .5 .4 .3 .25;
                            by boxes                                       .95 .9 .85 .75 .65
    ``jpeg``                encoded as 8-bit JPEG of a quality, decoded    25 18 15 10 7;
                                                                           80 65 58 50 40
    ``contrast``            ``mean + c * (x - mean)``, per channel         .4 .3 .2 .1 .05;
                                                                           .75 .5 .4 .3 .15
    ``brightness``          ``x + b``                                      .1 .2 .3 .4 .5;
                                                                           .05 .1 .15 .2 .3
    ======================= ============================================== =========================

    Names and values are those of ImageNet-C (large) and CIFAR-10-C (small), the functions are not:
    brightness adds to red, green and blue instead of to the value of HSV, blur treats edges
    otherwise, and results are not saved as JPEG files. **This is not ImageNet-C**, and errors under
    these eight must not be compared with published ones. For those, see
    :func:`~captum_spectral.sources.corrupted.open_imagenet_c`.

    Args:
        scale: ``"large"`` or ``"small"``, or the size ``(H, W)`` of the images: small if the
            shorter side is below 64.

    Returns:
        The corruptions, in the order of the table. ``jpeg`` takes images of 1 or 3 channels and
        runs on the CPU, the others take any number on any device.

    Raises:
        TypeError: A size that is not made of integers.
        ValueError: An unknown scale.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.corruptions import builtin_corruptions
        >>> corruptions = builtin_corruptions((32, 32))
        >>> corruptions[3].name, corruptions[3].group, corruptions[3].severities
        ('gaussian_blur', 'blur and digital', (0.4, 0.6, 0.7, 0.8, 1.0))
        >>> corruptions[3](torch.rand(2, 3, 32, 32), severity=5).shape
        torch.Size([2, 3, 32, 32])

    References:
        Names, ideas and severities: D. Hendrycks, T. Dietterich, *Benchmarking Neural Network
        Robustness to Common Corruptions and Perturbations*, ICLR 2019.
    """
    is_large = _is_large(scale)
    return tuple(
        Corruption(name, getattr(_functions, name), large if is_large else small, group)
        for name, group, large, small in _BUILTIN
    )


_NOISE: CorruptionGroup = "noise"
_DIGITAL: CorruptionGroup = "blur and digital"
_LIGHT: CorruptionGroup = "contrast and brightness"

# The name, which is also that of the function; group; large and small severities.
_Row = tuple[str, CorruptionGroup, tuple[float, ...], tuple[float, ...]]
_BUILTIN: tuple[_Row, ...] = (
    ("gaussian_noise", _NOISE, (0.08, 0.12, 0.18, 0.26, 0.38), (0.04, 0.06, 0.08, 0.09, 0.10)),
    ("shot_noise", _NOISE, (60, 25, 12, 5, 3), (500, 250, 100, 75, 50)),
    ("impulse_noise", _NOISE, (0.03, 0.06, 0.09, 0.17, 0.27), (0.01, 0.02, 0.03, 0.05, 0.07)),
    ("gaussian_blur", _DIGITAL, (1.0, 2.0, 3.0, 4.0, 6.0), (0.4, 0.6, 0.7, 0.8, 1.0)),
    ("pixelate", _DIGITAL, (0.6, 0.5, 0.4, 0.3, 0.25), (0.95, 0.9, 0.85, 0.75, 0.65)),
    ("jpeg", _DIGITAL, (25, 18, 15, 10, 7), (80, 65, 58, 50, 40)),
    ("contrast", _LIGHT, (0.4, 0.3, 0.2, 0.1, 0.05), (0.75, 0.5, 0.4, 0.3, 0.15)),
    ("brightness", _LIGHT, (0.1, 0.2, 0.3, 0.4, 0.5), (0.05, 0.1, 0.15, 0.2, 0.3)),
)


def _is_large(scale: object) -> bool:
    if isinstance(scale, str):
        if scale not in ("large", "small"):
            raise ValueError(f"scale must be 'large', 'small' or a size (H, W), got {scale!r}")
        return scale == "large"
    if not isinstance(scale, (tuple, list)) or len(scale) != 2:
        raise ValueError(f"scale must be 'large', 'small' or a size (H, W), got {scale!r}")
    return min(check_count("scale", n) for n in scale) >= _SMALL


def _check_pixels(images: Tensor) -> Tensor:
    """Check that images are ``(B, C, H, W)`` from 0 to 1, and return them without their graph."""
    if isinstance(images, tuple):
        raise TypeError("images must be one tensor (B, C, H, W), got a tuple")
    (x,) = format_inputs(images, "images")
    if x.dim() != 4:
        raise ValueError(f"images must be (B, C, H, W), got shape {tuple(x.shape)}")
    check_pixel_range(x)
    return x
