"""Band filters as perturbations, for Captum's search for the weakest one that fools a model."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import TypeVar

from captum.robust import Perturbation
from torch import Tensor

from captum_spectral._arguments import format_inputs, format_spectral_dims
from captum_spectral._captum import format_output, is_tuple, log_usage
from captum_spectral.features.features import signal_dtype
from captum_spectral.features.fourier import FourierBands
from captum_spectral.robustness._radius import ROUNDING, radius

__all__ = ["BandStop", "HighPass", "LowPass"]

_Inputs = TypeVar("_Inputs", Tensor, tuple[Tensor, ...])


class _BandFilter(Perturbation):  # type: ignore[misc]
    """Keep some frequencies of real signals, and drop the others."""

    def __init__(
        self, keep_mean: bool = True, *, spectral_dims: int | tuple[int, ...] = (-2, -1)
    ) -> None:
        self.keep_mean = keep_mean
        self.spectral_dims = spectral_dims

    def _keep(self, inputs: _Inputs, keeps: Callable[[Tensor], Tensor]) -> _Inputs:
        """Filter every tensor; ``keeps`` says which radii stay."""
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        checked = format_inputs(inputs)
        dims = format_spectral_dims(self.spectral_dims, checked)
        filtered = tuple(
            self._filtered(x, own, keeps) for x, own in zip(tensors, dims, strict=True)
        )
        result: _Inputs = format_output(is_tuple(inputs), filtered)
        return result

    def _filtered(
        self, x: Tensor, dims: tuple[int, ...], keeps: Callable[[Tensor], Tensor]
    ) -> Tensor:
        dims = tuple(sorted(dims))
        kept = keeps(radius([x.shape[d] for d in dims]))
        if self.keep_mean:
            kept[(0,) * kept.dim()] = True
        if kept.all():
            return x.clone()  # to the last bit
        bands = FourierBands(spectral_dims=dims)
        sizes = [x.shape[d] if d in dims else 1 for d in range(x.dim())]
        owners = bands.of_coefficients(kept.reshape(sizes)).to(x.device)
        signal = x.to(signal_dtype(x.dtype))
        return bands.inverse(bands.transform(signal) * owners, x.shape).to(x.dtype)


class LowPass(_BandFilter):
    r"""Keep the low frequencies of real signals: those with :math:`r \le 1 - \text{removed}`.

    .. math:: x' = \mathcal{F}^{-1}\big[\, 1[r \le 1 - \text{removed}] \cdot \mathcal{F}[x] \,\big],
        \qquad r = \max_d \frac{2 |k_d|}{n_d}

    with the signed frequency :math:`k_d` along a side of :math:`n_d`: 0 is the mean, 1 the Nyquist
    frequency. Radii within ``1e-9`` of the edge are on it. The filter is linear and idempotent, has
    gradients, and clips nothing: pixels may leave the range of the input.

    ``removed=0`` changes nothing and more is stronger, so ``captum.robust.MinParamPerturbation``
    searches in the right direction. Its ``arg_max`` is excluded, hence one step beyond 1. Give it
    one image at a time, as it stops as soon as one of a batch is fooled. Leave its ``mode`` at
    ``"linear"``: a model may recover under a stronger filter, and ``"binary"`` assumes that none
    does. :func:`~captum_spectral.robustness.cutoff.lowest_cutoff` asks this of a whole batch.

    Args:
        keep_mean: Keep the mean of every channel, whatever else is removed. Default: True
        spectral_dims: The filtered dims. Default: (-2, -1)

    Example::

        >>> import torch
        >>> from captum.robust import MinParamPerturbation
        >>> from captum_spectral.robustness.filters import LowPass
        >>> x = torch.rand(1, 3, 16, 16)
        >>> LowPass().perturb(x, removed=0.5).shape
        torch.Size([1, 3, 16, 16])
        >>> stripes = torch.tensor([0.0, 1.0]).repeat(8).expand(1, 3, 16, 16)
        >>> def model(x):                       # class 1 needs the highest frequency
        ...     high = x[..., ::2].mean((1, 2, 3)) - x[..., 1::2].mean((1, 2, 3))
        ...     return torch.stack([torch.full_like(high, 0.25), high.abs()], 1)
        >>> search = MinParamPerturbation(
        ...     model, LowPass(), arg_name="removed", arg_min=0, arg_max=1.125, arg_step=0.125)
        >>> search.evaluate(stripes, target=1)[1]
        0.125
    """

    @log_usage()  # type: ignore[untyped-decorator]
    def perturb(self, inputs: _Inputs, removed: float) -> _Inputs:
        """Return the inputs without their highest frequencies.

        Args:
            inputs: Real floating ``(B, ..., H, W)`` tensor, or a tuple of them.
            removed: How much of the axis from the mean to the Nyquist frequency goes, from 0
                (nothing) to 1 (all but the mean); beyond 1 the mean goes, too, without
                ``keep_mean``.

        Returns:
            Tensors of the shapes and dtypes of the inputs, a tuple for a tuple.

        Raises:
            TypeError: Inputs that are no real floating tensors, ``removed`` that is no number.
            ValueError: Inputs that are not finite, dims that they do not have, a negative
                ``removed``.
        """
        cut = 1 - _check_radius("removed", removed)
        return self._keep(inputs, lambda r: r <= cut + ROUNDING)


class HighPass(_BandFilter):
    r"""Keep the high frequencies of real signals: those with :math:`r \ge \text{removed}`.

    .. math:: x' = \mathcal{F}^{-1}\big[\, 1[r \ge \text{removed}] \cdot \mathcal{F}[x] \,\big],
        \qquad r = \max_d \frac{2 |k_d|}{n_d}

    In everything else it is like :class:`LowPass`.

    Args:
        keep_mean: Keep the mean of every channel, although it is the lowest frequency. Default:
            True
        spectral_dims: The filtered dims. Default: (-2, -1)

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.filters import HighPass
        >>> x = torch.rand(2, 3, 16, 16)
        >>> high = HighPass(keep_mean=False).perturb(x, removed=0.25)
        >>> high.mean((2, 3)).abs().max() < 1e-6
        tensor(True)
    """

    @log_usage()  # type: ignore[untyped-decorator]
    def perturb(self, inputs: _Inputs, removed: float) -> _Inputs:
        """Return the inputs without their lowest frequencies.

        Args:
            inputs: Real floating ``(B, ..., H, W)`` tensor, or a tuple of them.
            removed: How much of the axis from the mean to the Nyquist frequency goes, from 0
                (nothing); at 1 the Nyquist frequency itself is left, and beyond 1 nothing.

        Returns:
            Tensors of the shapes and dtypes of the inputs, a tuple for a tuple.

        Raises:
            TypeError: Inputs that are no real floating tensors, ``removed`` that is no number.
            ValueError: Inputs that are not finite, dims that they do not have, a negative
                ``removed``.
        """
        cut = _check_radius("removed", removed)
        return self._keep(inputs, lambda r: r >= cut - ROUNDING)


class BandStop(_BandFilter):
    r"""Remove a band of frequencies of real signals: those with low :math:`\le r \le` high.

    .. math:: x' = \mathcal{F}^{-1}\big[\, 1[r < \text{low} \text{ or } r > \text{high}] \cdot
        \mathcal{F}[x] \,\big], \qquad r = \max_d \frac{2 |k_d|}{n_d}

    In everything else it is like :class:`LowPass`. To search for the narrowest band that matters,
    fix one edge: ``MinParamPerturbation(..., arg_name="high").evaluate(x, target=y,
    attack_kwargs={"low": 0.25})``.

    Args:
        keep_mean: Keep the mean of every channel, even with ``low=0``. Default: True
        spectral_dims: The filtered dims. Default: (-2, -1)

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.filters import BandStop
        >>> x = torch.rand(2, 3, 16, 16)
        >>> stopped = BandStop().perturb(x, low=0.25, high=0.5)
        >>> kept = torch.fft.rfft2(stopped).abs()[0, 0, 0] > 1e-4
        >>> kept.tolist()                       # r = 0, 1/8, 2/8, ..., 1
        [True, True, False, False, False, True, True, True, True]
    """

    @log_usage()  # type: ignore[untyped-decorator]
    def perturb(self, inputs: _Inputs, low: float, high: float) -> _Inputs:
        """Return the inputs without a band.

        Args:
            inputs: Real floating ``(B, ..., H, W)`` tensor, or a tuple of them.
            low: The lowest radius that goes.
            high: The highest radius that goes, at least ``low``.

        Returns:
            Tensors of the shapes and dtypes of the inputs, a tuple for a tuple.

        Raises:
            TypeError: Inputs that are no real floating tensors, edges that are no numbers.
            ValueError: Inputs that are not finite, dims that they do not have, negative edges, or
                ``high`` below ``low``.
        """
        low, high = _check_radius("low", low), _check_radius("high", high)
        if high < low:
            raise ValueError(f"high must be at least low={low}, got {high}")
        return self._keep(inputs, lambda r: (r < low - ROUNDING) | (r > high + ROUNDING))


def _check_radius(name: str, value: object) -> float:
    """Check a normalised radius and return it as a ``float``."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number from 0, where 1 is Nyquist, got {value!r}")
    edge = float(value)
    if not (edge >= 0 and math.isfinite(edge)):
        raise ValueError(f"{name} must be a number from 0, where 1 is Nyquist, got {edge}")
    return edge
