"""Samples that lack random features: which ones, and how they are made."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral._rows import Rows
from captum_spectral.spectrum import signal_dtype

__all__ = ["Draws", "Pixels", "SuppressedBands"]


class Draws:
    """Which features each sample keeps, drawn sample by sample on the generator's device.

    A sample takes one number for its ratio and one for every feature, also where the ratio is
    given, so that ratios compare on common random numbers.
    """

    def __init__(
        self, num_features: int, interval: tuple[float, float], generator: torch.Generator | None
    ) -> None:
        self._num_features = num_features
        self._interval = interval
        self._generator = generator
        self._held: list[Tensor] = []
        self._next = 0

    def of(self, rows: Rows) -> Tensor:
        """``(samples of the rows, G)`` boolean, on the CPU; rows may only move forwards."""
        while self._next < rows.stop_sample:
            self._held.append(self._draw())
            self._next += 1
        self._held = self._held[rows.first_sample - self._next :]
        return torch.stack(self._held)

    def _draw(self) -> Tensor:
        device = "cpu" if self._generator is None else self._generator.device
        u = torch.rand(
            1 + self._num_features, generator=self._generator, device=device, dtype=torch.float64
        ).cpu()
        lo, hi = self._interval
        return u[1:] >= lo + (hi - lo) * u[0]


class Pixels:
    """Samples of one input tensor whose pixels are suppressed.

    Args:
        x: ``(B, ...)``.
        baseline: ``(B or 1, ...)``.
        ids: Feature of each pixel, of the rank of ``x`` and broadcastable to it.
    """

    def __init__(self, x: Tensor, baseline: Tensor, ids: Tensor) -> None:
        self._x, self._baseline, self._ids = x, baseline, ids.to(x.device)
        self.last = int(ids.max())

    def samples(self, rows: Rows, keep: Tensor) -> Tensor:
        examples = rows.examples(self._x.device)
        kept = _keep_at(self._ids, rows, keep)
        return torch.where(kept, self._x[examples], _of(self._baseline, examples))


class SuppressedBands:
    """Samples of one input tensor whose frequency bands are suppressed.

    Bands are linear in the signal: keeping some is one product with the spectrum.

    Args:
        x: ``(B, ...)``.
        baseline: ``(B or 1, ...)``.
        mask: Band ids with the rank of ``x`` and whole spectral dims.
        dims: The transformed dims.
    """

    def __init__(self, x: Tensor, baseline: Tensor, mask: Tensor, dims: tuple[int, ...]) -> None:
        self._dtype, self._dims = x.dtype, dims
        self._sizes = [x.shape[d] for d in dims]
        self._baseline = baseline.to(signal_dtype(x.dtype))
        self._spectrum = torch.fft.rfftn(x.to(self._baseline.dtype) - self._baseline, dim=dims)
        self._ids = mask.narrow(dims[-1], 0, self._spectrum.shape[dims[-1]])
        self.last = int(mask.max())

    def samples(self, rows: Rows, keep: Tensor) -> Tensor:
        examples = rows.examples(self._spectrum.device)
        kept = self._spectrum[examples] * _keep_at(self._ids, rows, keep)
        part: Tensor = torch.fft.irfftn(kept, s=self._sizes, dim=self._dims)
        return (part + _of(self._baseline, examples)).to(self._dtype)


def _of(tensor: Tensor, examples: Tensor) -> Tensor:
    """The entries of examples, where there is not one for all."""
    return tensor if len(tensor) == 1 else tensor[examples]


def _keep_at(ids: Tensor, rows: Rows, keep: Tensor) -> Tensor:
    """Whether each row keeps what is at each place of ``ids (B or 1, ...)``: ``(R, ...)``."""
    of_row = keep.to(ids.device)[rows.samples(ids.device)]
    places = _of(ids, rows.examples(ids.device)).flatten(1)
    kept = of_row.gather(1, places.expand(len(rows), -1))
    return kept.reshape(len(rows), *ids.shape[1:])
