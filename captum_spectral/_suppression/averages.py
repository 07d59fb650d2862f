"""Mean and standard error over samples, without keeping them."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral._rows import Rows
from captum_spectral.spectrum import signal_dtype

__all__ = ["Moments"]


class Moments:
    """Mean and spread over samples (Welford), entry by entry; the order of additions is fixed."""

    def __init__(self, x: Tensor, spread: bool) -> None:
        # MPS has no float64.
        dtype = torch.float32 if x.device.type == "mps" else torch.float64
        self._dtype = signal_dtype(x.dtype)
        self._mean = torch.zeros(x.shape, dtype=dtype, device=x.device)
        self._squares = torch.zeros_like(self._mean) if spread else None

    def add(self, values: Tensor, rows: Rows) -> None:
        for s, examples, own in rows.by_sample():
            mean, new = self._mean[examples], values[own].to(self._mean)
            change = new - mean
            mean += change / (s + 1)
            if self._squares is not None:
                self._squares[examples] += change * (new - mean)

    def mean(self, what: str = "gradient") -> Tensor:
        finite = self._mean.isfinite()
        if not finite.all():
            raise ValueError(
                f"the {what} of forward_func is not finite (NaN or infinite) for example "
                f"{int((~finite).nonzero()[0, 0])}, at one of its samples; is the model finite "
                "and differentiable where a suppressed feature holds its baseline? Give other "
                "baselines"
            )
        return self._mean.to(self._dtype)

    def standard_error(self, n_samples: int) -> Tensor:
        assert self._squares is not None
        return (self._squares / (n_samples - 1) / n_samples).sqrt().to(self._dtype)
