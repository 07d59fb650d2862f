"""The output along a path between baseline and input, and the area under it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Curve"]


class Curve(NamedTuple):
    r"""The outputs while features are inserted or deleted, as :func:`insertion_curve` gives them.

    .. math::
        A = \sum_{k=1}^{K} (q_k - q_{k-1})\, \frac{v_k + v_{k-1}}{2}

    Args:
        fractions: ``(K+1,)`` :math:`q_k`, the share of the features that are inserted or deleted,
            from 0 to 1.
        values: ``(B, K+1)`` :math:`v_k`, the outputs of ``forward_func`` at the target, in
            float64 where it gives float64, else float32.
        areas: ``(B,)`` the trapezoidal areas :math:`A` over the fractions: the mean output along
            the path, in the unit of the output.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> import torch
        >>> from captum_spectral import insertion_curve
        >>> weight = torch.tensor([1.0, 4.0, 2.0, 3.0])
        >>> inputs = torch.stack([torch.ones(4), torch.full((4,), 2.0)])
        >>> curve = insertion_curve(lambda x: x @ weight, inputs, inputs * weight)
        >>> curve.areas
        tensor([ 6.2500, 12.5000])
        >>> mean, standard_error = curve.mean_area()
        >>> print(f"{mean:.2f} ± {standard_error:.2f}")
        9.38 ± 3.12
    """

    fractions: Tensor
    values: Tensor
    areas: Tensor

    def mean_area(self) -> tuple[float, float]:
        """The mean area over the examples, and its standard error.

        Returns:
            The mean, and the sample standard deviation of the areas over the square root of their
            number: how far the mean would be from that of all images like these. It is NaN for one
            example, whose spread is unknown.
        """
        areas = self.areas.to("cpu", torch.float64)  # not every device has it
        count = len(areas)
        error = float(areas.std()) / math.sqrt(count) if count > 1 else math.nan
        return float(areas.mean()), error
