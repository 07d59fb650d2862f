"""RobustAccuracy: the images that a perturbation of a size leaves rightly classified."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["RobustAccuracy", "format_epsilon"]


class RobustAccuracy(NamedTuple):
    r"""Says which of B images stay rightly classified, at one or several sizes of a perturbation.

    .. math::
        a = \frac1B \sum_b r_b, \qquad s = \sqrt{\frac{a (1 - a)}{B - 1}}

    All tensors are on the CPU; E is the number of sizes, and the dim is missing where a single
    number was given.

    Args:
        epsilon: ``()`` or ``(E,)`` float64, the sizes, in pixels from 0 to 1.
        norm: ``"linf"`` or ``"l2"``.
        correct: ``(B,)`` boolean, the images that are rightly classified as they are.
        by_restart: ``(n, B)`` or ``(n, E, B)`` boolean, what was still rightly classified after 1,
            2, ... n searches.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.attacks import robust_accuracy
        >>> def model(x):                                  # bright or dark
        ...     mean = x.flatten(1).mean(1)
        ...     return torch.stack([0.5 - mean, mean - 0.5], 1)
        >>> images = torch.tensor([0.1, 0.2, 0.45, 0.9]).reshape(4, 1, 1, 1).expand(4, 1, 6, 6)
        >>> result = robust_accuracy(model, images, torch.tensor([0, 0, 0, 1]), [0.0, 0.1, 0.35])
        >>> result.accuracy
        tensor([1.0000, 0.7500, 0.5000], dtype=torch.float64)
        >>> result.bits.shape
        torch.Size([3, 4])
    """

    epsilon: Tensor
    norm: str
    correct: Tensor
    by_restart: Tensor

    @property
    def bits(self) -> Tensor:
        """``(B,)`` or ``(E, B)`` boolean: rightly classified whatever was tried."""
        return self.by_restart[-1]

    @property
    def accuracy(self) -> Tensor:
        """``()`` or ``(E,)`` float64: their share of all images."""
        return self.bits.double().mean(-1)

    @property
    def standard_error(self) -> Tensor:
        """``()`` or ``(E,)`` float64: of the accuracy, over images. NaN for one image."""
        count = self.bits.shape[-1]
        if count == 1:
            return torch.full_like(self.accuracy, math.nan)
        return self.bits.double().std(-1) / math.sqrt(count)

    @property
    def restart_accuracy(self) -> Tensor:
        """``(n,)`` or ``(n, E)`` float64: the accuracy after 1, 2, ... n searches."""
        return self.by_restart.double().mean(-1)


def format_epsilon(epsilon: object) -> Tensor:
    """Return sizes of a perturbation as ``()`` or ``(E,)`` float64 on the CPU."""
    try:
        sizes = torch.as_tensor(epsilon, dtype=torch.float64, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"epsilon must be a number or a sequence of numbers, got {epsilon!r}"
        ) from None
    if sizes.dim() > 1 or sizes.numel() == 0:
        raise ValueError(
            f"epsilon must be a number or a sequence of them, got shape {tuple(sizes.shape)}"
        )
    if not (sizes.isfinite() & (sizes >= 0)).all():
        raise ValueError(f"epsilon must be finite and not negative, got {epsilon!r}")
    return sizes
