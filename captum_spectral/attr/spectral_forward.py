"""Make a model a function of Fourier coefficients, for Captum methods on single frequencies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captum_spectral._arguments import format_inputs
from captum_spectral._engine.outputs import tensor_of
from captum_spectral.features.features import signal_dtype

__all__ = ["SpectralForward"]


class SpectralForward(nn.Module):
    r"""Wrap a model so that it takes the Fourier coefficients of its input, as real numbers.

    .. math:: X \mapsto f\big(\mathcal{F}^{-1}[X]\big)

    Any Captum method on it attributes to single frequencies. The last two spectral dims of an image
    ``(B, C, H, W)`` become ``(B, C, H, W // 2 + 1, 2)``: half of the plane, which holds all of a
    real signal, and real and imaginary parts.

    Args:
        forward_func: The model, or any function of one input tensor and further arguments. A
            ``Module`` with parameters in half precision gets signals in their dtype. Any other gets
            them in the dtype of the coefficients, float32 or float64.
        shape: Sizes of the transformed dims of the input, the last ones, e.g. ``(H, W)``.

    Raises:
        TypeError: ``forward_func`` cannot be called, ``shape`` is no sequence of integers.
        ValueError: A size below 1.

    Cost: one model row per row of coefficients, and an inverse transform.

    Example::

        >>> import torch
        >>> from captum.attr import IntegratedGradients
        >>> from captum_spectral import SpectralForward, band_sums
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 5)).eval()
        >>> x = torch.rand(2, 3, 16, 16)
        >>> spectral = SpectralForward(model, (16, 16))
        >>> coefficients = spectral.coefficients(x)
        >>> attributions = IntegratedGradients(spectral).attribute(coefficients, target=1)
        >>> attributions.shape
        torch.Size([2, 3, 16, 9, 2])
        >>> plane = spectral.on_plane(attributions)      # single frequencies, unshifted
        >>> band_sums(plane, num_bands=4).shape
        torch.Size([2, 4])
        >>> gain = (model(x) - model(0 * x))[:, 1]
        >>> torch.allclose(plane.flatten(1).sum(1), gain, atol=1e-4)
        True
    """

    def __init__(self, forward_func: Callable[..., Any], shape: Sequence[int]) -> None:
        super().__init__()
        if not callable(forward_func):
            raise TypeError(f"forward_func must be callable, got {type(forward_func).__name__}")
        whole = [isinstance(n, int) and not isinstance(n, bool) for n in shape]
        if not shape or not all(whole):
            raise TypeError(f"shape must hold integers such as (224, 224), got {shape!r}")
        if min(shape) < 1:
            raise ValueError(f"shape must hold sizes of at least 1, got {tuple(shape)}")
        self.forward_func = forward_func
        self.shape = tuple(shape)
        # A function has no mode: this module then is not in training.
        self.training = isinstance(forward_func, nn.Module) and forward_func.training

    def forward(self, coefficients: Tensor, *args: Any) -> Any:
        """Run the model on the signals of coefficients.

        Args:
            coefficients: ``(B, ..., H, W // 2 + 1, 2)`` real.
            *args: Further arguments of the model.

        Returns:
            The output of ``forward_func``, read as :class:`~captum_spectral.game.OutputOf` does it.

        Raises:
            ValueError: Coefficients of another shape.
        """
        signals = self.signals(coefficients)
        parameter = next(self.parameters(), None)
        if parameter is not None and parameter.dtype in (torch.float16, torch.bfloat16):
            signals = signals.to(parameter.dtype)
        return tensor_of(self.forward_func(signals, *args))

    def coefficients(self, inputs: Tensor) -> Tensor:
        """Compute the coefficients of signals.

        Args:
            inputs: ``(B, ..., H, W)`` real floating.

        Returns:
            ``(B, ..., H, W // 2 + 1, 2)``: real and imaginary parts of ``torch.fft.rfftn``, in the
            dtype of the inputs, float32 for half precision.

        Raises:
            TypeError: Inputs of a wrong kind.
            ValueError: Inputs whose last dims are not ``shape``.
        """
        (x,) = format_inputs(inputs)
        if tuple(x.shape[-len(self.shape) :]) != self.shape:
            raise ValueError(
                f"inputs must end in {self.shape}, the shape that was given, got shape "
                f"{tuple(x.shape)}"
            )
        signals = x.to(signal_dtype(x.dtype)).contiguous()
        return torch.view_as_real(torch.fft.rfftn(signals, dim=self._dims))

    def signals(self, coefficients: Tensor) -> Tensor:
        """Compute the signals of coefficients, the inverse of :meth:`coefficients`.

        Args:
            coefficients: ``(B, ..., H, W // 2 + 1, 2)`` real.

        Returns:
            ``(B, ..., H, W)`` in the dtype of the coefficients, float32 for half precision.

        Raises:
            ValueError: Coefficients of another shape.
        """
        self._check(coefficients, "coefficients")
        parts = coefficients.to(signal_dtype(coefficients.dtype)).contiguous()
        spectrum = torch.view_as_complex(parts)
        signals: Tensor = torch.fft.irfftn(spectrum, s=list(self.shape), dim=self._dims)
        return signals

    def on_plane(self, attributions: Tensor) -> Tensor:
        """Lay attributions to coefficients out on the whole Fourier plane.

        Real and imaginary part of a coefficient are added. A frequency and its negative are one
        wave of a real signal; if only one of them has a coefficient, each gets half.

        Args:
            attributions: ``(B, ..., H, W // 2 + 1, 2)``, as a Captum method gives.

        Returns:
            ``(B, ..., H, W)`` on the unshifted plane (show it with
            :func:`~captum_spectral.visualization.visualize_spectrum`), with the same sum.

        Raises:
            ValueError: Attributions of another shape.
        """
        self._check(attributions, "attributions")
        half = attributions.sum(-1)  # (B, ..., H, W // 2 + 1)
        last, columns = self.shape[-1], half.shape[-1]
        # Columns 0 and Nyquist hold their own negatives; all others share with the missing half.
        alone = [0, last // 2] if last % 2 == 0 else [0]
        half = half.clone()
        shared = torch.tensor([c not in alone for c in range(columns)], device=half.device)
        half = torch.where(shared, half / 2, half)
        plane = half.new_zeros(*half.shape[:-1], last)  # (B, ..., H, W)
        plane[..., :columns] = half
        # Frequency k of n is at index k, its negative at n - k, or 0 for 0: along the last dim the
        # missing columns are the shared ones reversed, along the others a flip and a roll do it.
        others = self._dims[:-1]
        negative = half[..., shared].flip(-1)
        if others:
            negative = negative.flip(others).roll([1] * len(others), others)
        plane[..., columns:] = negative
        return plane

    @property
    def _dims(self) -> tuple[int, ...]:
        """Return the transformed dims, counted from the last."""
        return tuple(range(-len(self.shape), 0))

    def _check(self, x: Tensor, name: str) -> None:
        """Raise unless a tensor has the shape of coefficients."""
        expected = (*self.shape[:-1], self.shape[-1] // 2 + 1, 2)
        if not isinstance(x, Tensor) or tuple(x.shape[-len(expected) :]) != expected:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"{name} must end in {expected}, real and imaginary parts of half of the plane, "
                f"got {got}; use .coefficients(inputs)"
            )
