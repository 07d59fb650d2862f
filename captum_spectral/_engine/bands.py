"""The band signals of the examples in flight."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from captum_spectral._engine.buffer import Buffer
from captum_spectral._engine.layout import Layout
from captum_spectral.spectrum import signal_dtype, split

__all__ = ["BandSignals", "Bands"]


class Bands(NamedTuple):
    """The bands of one input tensor, for a range of examples, as flat rows in its layout.

    Attributes:
        signals: ``(b, 1 + P, D)``, the baseline and then the bands of input less baseline.
        columns: ``(P,)`` which bands these are.
    """

    signals: Tensor
    columns: Tensor

    def part(self, examples: slice) -> Bands:
        """The bands of some of the examples, counted from 0."""
        return Bands(self.signals[examples], self.columns)


class _Source:
    """One input tensor and what is needed to split it."""

    def __init__(self, x: Tensor, baseline: Tensor, mask: Tensor, dims: tuple[int, ...]) -> None:
        self.x, self._mask, self._dims = x, mask, dims
        self.layout = Layout.of(x)
        self.ids = mask.unique().cpu()
        self._columns = self.ids.to(x.device)
        self._buffer = Buffer(x.device)
        # Once, in the dtype of the bands; a baseline shared by all examples stays one row.
        self._baseline = baseline.to(signal_dtype(x.dtype))

    def split(self, examples: slice) -> Bands:
        baseline = self._baseline if len(self._baseline) == 1 else self._baseline[examples]
        mask = self._mask if len(self._mask) == 1 else self._mask[examples]
        difference = self.x[examples].to(baseline.dtype) - baseline
        sizes = len(difference), 1 + len(self.ids)
        rows = difference.new_empty(sizes[0] * sizes[1], self.layout.size)
        signals = self.layout.unflatten(rows).unflatten(0, sizes)
        signals[:, 0] = baseline
        split(difference, mask, self._dims, self.ids, out=signals[:, 1:])
        return Bands(rows.unflatten(0, sizes), self._columns)

    def room(self, rows: int) -> Tensor:
        return self._buffer.rows(rows, self.layout.size, self.x.dtype)

    def release(self) -> None:
        self._buffer.release()


class BandSignals:
    """Splits examples into bands when they are needed and forgets them when they are done.

    Args:
        inputs: Tensors ``(B, *signal)``.
        baselines: ``(B or 1, *signal)`` for each input.
        masks: Band ids with the rank of their input.
        dims: Transformed dims of each input.
    """

    def __init__(
        self,
        inputs: tuple[Tensor, ...],
        baselines: tuple[Tensor, ...],
        masks: tuple[Tensor, ...],
        dims: tuple[tuple[int, ...], ...],
    ) -> None:
        self.num_examples = len(inputs[0])
        self.device = inputs[0].device
        self._sources = tuple(map(_Source, inputs, baselines, masks, dims))
        self._groups: list[tuple[slice, tuple[Bands, ...]]] = []

    @property
    def ids(self) -> tuple[Tensor, ...]:
        """The bands that each input has."""
        return tuple(source.ids for source in self._sources)

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """How the signals of each input lie in memory."""
        return tuple(source.layout for source in self._sources)

    def of(self, examples: slice) -> tuple[Bands, ...]:
        """The bands of ``examples``, one entry per input; split now unless they are held."""
        for held, bands in self._groups:
            if held.start <= examples.start and examples.stop <= held.stop:
                part = slice(examples.start - held.start, examples.stop - held.start)
                return tuple(b.part(part) for b in bands)
        bands = self.split(examples)
        self._groups.append((examples, bands))
        return bands

    def split(self, examples: slice) -> tuple[Bands, ...]:
        """The bands of ``examples``, split now and not held."""
        return tuple(source.split(examples) for source in self._sources)

    def forget_before(self, example: int) -> None:
        """Drop the bands of groups of examples that are all before ``example``."""
        self._groups = [group for group in self._groups if group[0].stop > example]

    def forget(self) -> None:
        """Drop all bands, and the memory of the rows."""
        self._groups = []
        for source in self._sources:
            source.release()

    def empty(self, rows: int) -> tuple[Tensor, ...]:
        """Room for the signals of ``rows`` rows, ``(rows, D)`` per input in its dtype."""
        return tuple(source.room(rows) for source in self._sources)

    def as_inputs(self, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Flat rows as signals for the model: views with the shape and layout of the inputs."""
        return tuple(
            s.layout.unflatten(r).to(s.x.dtype) for r, s in zip(rows, self._sources, strict=True)
        )

    @property
    def bytes_per_row(self) -> int:
        """The size of the signals of one row."""
        return sum(s.x[0].numel() * s.x.element_size() for s in self._sources)

    def describe(self, rows: int) -> str:
        """The shapes and the size of the signals of some rows, for a message."""
        shapes = ", ".join(str((rows, *s.x.shape[1:])) for s in self._sources)
        return f"shape {shapes} ({rows * self.bytes_per_row / 2**20:.1f} MiB)"
