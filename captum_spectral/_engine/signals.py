"""The signals of coalitions, for the examples in flight.

There are two ways to make them, which agree to rounding. MIX splits an example into the parts of
its players once; every coalition is then a sum of parts, a row of a matrix product. MASK keeps some
coefficients and transforms back, once per row; for pixels it is a choice. MIX is cheaper where
players are few, but holds a signal for each. Of plane waves, a coalition of one player is made
from products of a column and a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from captum_spectral._engine.memory import Buffer
from captum_spectral._engine.rows import Held, Tile
from captum_spectral._engine.synthesis import synthesize, synthesize_rows
from captum_spectral.features.features import Features, signal_dtype, split
from captum_spectral.features.plane_waves import PlaneWaves, Waves

__all__ = ["BLOCK_BYTES", "Layout", "Signals"]

MOST_MIXED = 63  # players of an input; as many as a coalition of the CUDA kernel has bits
# Mixed signals are made at least this many bytes at a time: a product with few rows reads all parts
# for little. 13 rows of 224 x 224 RGB.
BLOCK_BYTES = 2**23


class Signals:
    """Makes the rows that the model is shown.

    Parts of examples are made when they are needed and forgotten when they are done.

    Args:
        inputs: Tensors ``(B, *signal)``.
        baselines: ``(B or 1, *signal)`` for each input.
        features: Of each input.
        ids: ``(B or 1, ...)`` the player of each place of each input.

    Attributes:
        players (Tensor): ``(P,)`` the ids that any input has, on the CPU. Coalitions have a column
            for each of these.
    """

    def __init__(
        self,
        inputs: tuple[Tensor, ...],
        baselines: tuple[Tensor, ...],
        features: tuple[Features, ...],
        ids: tuple[Tensor, ...],
    ) -> None:
        self.num_examples = len(inputs[0])
        self.device = inputs[0].device
        self.players = torch.cat([own.unique().cpu() for own in ids]).unique()
        self._sources = tuple(
            _source(x, b, member, own, self.players)
            for x, b, member, own in zip(inputs, baselines, features, ids, strict=True)
        )
        self._held: Held[list[_Parts]] = Held()

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """Return the layout of each input, which is that of its signals if nothing else is said."""
        return tuple(source.own_layout for source in self._sources)

    def write(self, tile: Tile, coalitions: Tensor, rows: tuple[Tensor, ...]) -> None:
        """Write the signals of a tile into its part of the flat rows of a chunk.

        Args:
            tile: Which examples and coalitions.
            coalitions: Boolean ``(k, P)``, or ``(b, k, P)``, those of the tile; or int64 ``(k,)``,
                the column of the only member of each, below 0 for nobody.
            rows: ``(rows of the chunk, D)`` for each input, as :meth:`empty` gives.
        """
        for parts, into in zip(self._of(tile.examples), rows, strict=True):
            if coalitions.dtype is torch.bool:
                parts.write(coalitions, tile.view(into))
            elif isinstance(parts, _WaveParts):
                parts.write_single(coalitions, tile.view(into))
            else:
                everyone = torch.arange(len(self.players), device=coalitions.device)
                parts.write(coalitions[:, None] == everyone, tile.view(into))

    def lie(self, channels_last: bool) -> None:
        """Make rows from now on that lie in memory as the inputs do, or pixel by pixel."""
        for source in self._sources:
            layout = source.own_layout.channels_last() if channels_last else source.own_layout
            if source.layout != layout:
                source.layout = layout
                self._held.forget()  # their order is the other one

    @property
    def are_sums(self) -> bool:
        """Say if all signals are sums of parts in the dtype of the inputs."""
        return all(isinstance(s, _Mixed) and s.x.dtype is s.dtype for s in self._sources)

    def parts_of(self, number: int, examples: slice) -> Tensor:
        """Return what the signals of an input are sums of, ``(b, 1 + P_own, *signal)``."""
        parts = self._of(examples)[number]
        assert isinstance(parts, _MixedParts)
        return parts.layout.unflatten(parts.signals)

    def sums_of(self, number: int) -> tuple[Tensor, Layout, torch.dtype]:
        """Return the columns ``(P_own,)`` of players, the layout and the dtype of such parts."""
        source = self._sources[number]
        assert isinstance(source, _Mixed)
        return source.columns, source.layout, source.dtype

    def weighted(self, weights: Tensor, examples: Tensor) -> tuple[Tensor, ...]:
        """Make the signals of real weights, differentiable in them; parts are kept for next time.

        Args:
            weights: ``(R, P)``; 1 is present, 0 the baseline.
            examples: ``(R,)`` int64, on the CPU.
        """
        self.lie(channels_last=False)
        parts = self._of(slice(0, self.num_examples))
        return tuple(
            part.weighted(weights.to(source.x.device), examples.to(source.x.device)).to(
                source.x.dtype
            )
            for part, source in zip(parts, self._sources, strict=True)
        )

    def split(self, examples: slice) -> list[_Parts]:
        """Make the parts of ``examples``, one entry per input, without holding them."""
        with torch.inference_mode(False), torch.no_grad():  # they may be held for other calls
            return [source.parts(examples) for source in self._sources]

    def energies(self) -> Tensor:
        """Return the energy of each player's part of input less baseline, ``(B, P)``, on the CPU.

        In units of the largest difference of the example, squared, so that nothing overflows. It is
        0 where the part is the same in input and baseline to the last bit.
        """
        with torch.inference_mode(False), torch.no_grad():
            largest = torch.stack([source.largest() for source in self._sources]).amax(0)
            energies = torch.zeros(
                self.num_examples, len(self.players), dtype=torch.float64, device="cpu"
            )
            for source in self._sources:
                for b in range(self.num_examples):
                    source.add_energies(b, largest[b], energies[b])
        return energies

    def forget_before(self, example: int) -> None:
        """Drop the parts of groups of examples that are all before ``example``."""
        self._held.forget_before(example)

    def forget(self) -> None:
        """Drop all parts, and the memory of the rows."""
        self._held.forget()
        for source in self._sources:
            source.buffer.release()

    def empty(self, rows: int) -> tuple[Tensor, ...]:
        """Return room for the signals of ``rows`` rows, ``(rows, D)`` per input in its dtype."""
        return tuple(s.buffer.rows(rows, s.layout.size, s.x.dtype) for s in self._sources)

    def as_inputs(self, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """View flat rows as signals for the model, with the shape and layout of the inputs."""
        return tuple(s.layout.unflatten(r) for r, s in zip(rows, self._sources, strict=True))

    @property
    def block_rows(self) -> int:
        """Return the rows to make at a time, at least, where chunks are smaller."""
        mixed = any(isinstance(source, _Mixed) for source in self._sources)
        return BLOCK_BYTES // self._bytes_per_row if mixed else 1

    def describe(self, rows: int) -> str:
        """Tell the shapes and the size of the signals of some rows, for a message."""
        shapes = ", ".join(str((rows, *s.x.shape[1:])) for s in self._sources)
        return f"shape {shapes} ({rows * self._bytes_per_row / 2**20:.1f} MiB)"

    @property
    def _bytes_per_row(self) -> int:
        return sum(s.x[0].numel() * s.x.element_size() for s in self._sources)

    def _of(self, examples: slice) -> list[_Parts]:
        """Return the parts of ``examples``, one entry per input; made now unless they are held."""
        return self._held.of(
            examples, self.split, lambda parts, own: [part.of(own) for part in parts]
        )


class Layout(NamedTuple):
    """The order in which one signal lies in memory.

    Mixing parts is the same for every element, so it can be done on flat rows in any order. Taking
    the order of the caller's input gives the model channels_last signals for channels_last inputs
    without a copy.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]  # the dims of the signal, from the slowest to the fastest in memory

    @classmethod
    def of(cls, x: Tensor) -> Layout:
        """Return the layout of the signals in ``x (B, *signal)``: contiguous or channels_last."""
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        dims = tuple(range(x.dim() - 1))
        if (
            x.dim() in formats
            and not x.is_contiguous()
            and x.is_contiguous(memory_format=formats[x.dim()])
        ):
            dims = (*dims[1:], 0)
        return cls(tuple(x.shape[1:]), dims)

    def channels_last(self) -> Layout:
        """Return the layout of images pixel by pixel; of all else there is but one."""
        is_image = len(self.shape) == 3 and min(self.shape) > 1
        return self._replace(order=(1, 2, 0)) if is_image else self

    @property
    def size(self) -> int:
        """Elements of a signal."""
        return torch.Size(self.shape).numel()

    def flatten(self, signals: Tensor) -> Tensor:
        """Return signals ``(..., *signal)`` as flat rows; a view where they lie like that."""
        leading = signals.dim() - len(self.shape)
        order = (leading + d for d in self.order)
        return signals.permute(*range(leading), *order).flatten(leading)

    def unflatten(self, rows: Tensor) -> Tensor:
        """View flat rows ``(..., size)`` as signals ``(..., *signal)``."""
        leading = rows.dim() - 1
        dims = rows.unflatten(-1, [self.shape[d] for d in self.order])
        places = (leading + self.order.index(d) for d in range(len(self.order)))
        signals: Tensor = dims.permute(*range(leading), *places)
        return signals


# ------------------------------------------------------------------------------- the two ways


class _Parts(Protocol):
    """Parts of some examples of one input, of which signals are made."""

    def of(self, examples: slice) -> _Parts:
        """Return the parts of some of the examples, counted from 0."""

    def write(self, coalitions: Tensor, out: Tensor) -> None:
        """Write the signals ``(b, k, D)`` of coalitions ``(k, P)`` or ``(b, k, P)``."""

    def weighted(self, weights: Tensor, examples: Tensor) -> Tensor:
        """Make the signals ``(R, *signal)`` of weights ``(R, P)`` of examples ``(R,)``."""


class _Source(ABC):
    """One input tensor, and what is needed to make its parts."""

    def __init__(
        self, x: Tensor, baseline: Tensor, features: Features, ids: Tensor, players: Tensor
    ) -> None:
        self.x, self._features, self._ids, self._players = x, features, ids, players
        self.layout = self.own_layout = Layout.of(x)
        self.buffer = Buffer(x.device)
        # Once, in the dtype of the parts; a baseline shared by all examples stays one row.
        self.dtype = signal_dtype(x.dtype)
        self._baseline = baseline.to(self.dtype)

    @abstractmethod
    def parts(self, examples: slice) -> _Parts:
        """Return what the signals of examples are made of."""

    def largest(self) -> Tensor:
        """Return the largest difference of input and baseline, ``(B,)``."""
        each = (self._difference(slice(b, b + 1))[1].abs().max() for b in range(len(self.x)))
        return torch.stack(list(each)).to("cpu", torch.float64)

    def add_energies(self, example: int, largest: Tensor, into: Tensor) -> None:
        """Add the energies of the parts of an example, in units of ``largest ** 2``, ``(P,)``."""
        if not largest > 0:
            return
        here = slice(example, example + 1)
        difference = self._difference(here)[1] / largest.to(self._baseline)
        own = _some(self._ids, here)
        if self._features.pixelwise:
            columns = torch.searchsorted(self._players, own.cpu()).expand(difference.shape)
            energy = difference.square().to("cpu", torch.float64)
            into.index_add_(0, columns.flatten(), energy.flatten())
            return
        coefficients = self._features.transform(difference)
        owners = self._features.of_coefficients(own)
        for player in own.unique().tolist():
            part = self._features.inverse(coefficients * (owners == player), difference.shape)
            into[torch.searchsorted(self._players, player)] += float(part.square().sum())

    def _difference(self, examples: slice) -> tuple[Tensor, Tensor]:
        """Return the baselines of examples, and the inputs less these."""
        baseline = _some(self._baseline, examples)
        return baseline, self.x[examples].to(baseline.dtype) - baseline


class _Mixed(_Source):
    def __init__(
        self, x: Tensor, baseline: Tensor, features: Features, ids: Tensor, players: Tensor
    ) -> None:
        super().__init__(x, baseline, features, ids, players)
        self._own = ids.unique().cpu()
        self.columns = torch.searchsorted(players, self._own).to(x.device)

    def parts(self, examples: slice) -> _Parts:
        baseline, difference = self._difference(examples)
        sizes = len(difference), 1 + len(self._own)
        # On one flat dim: MKL and the kernel read a part as one row of memory.
        flat = difference.new_empty(sizes[0] * sizes[1], self.layout.size)
        signals = self.layout.unflatten(flat).unflatten(0, sizes)  # (b, 1 + P_own, *signal)
        signals[:, 0] = baseline
        ids = _some(self._ids, examples)
        split(self._features, difference, ids, self._own, out=signals[:, 1:])
        return _MixedParts(flat.unflatten(0, sizes), self.columns, self.layout)


class _MixedParts(NamedTuple):
    signals: Tensor  # (b, 1 + P_own, D): the baseline, and then the parts of input less baseline
    columns: Tensor  # (P_own,) of the players that this input has
    layout: Layout

    def of(self, examples: slice) -> _Parts:
        return self._replace(signals=self.signals[examples])

    def write(self, coalitions: Tensor, out: Tensor) -> None:
        synthesize(self.signals, coalitions[..., self.columns], out)

    def weighted(self, weights: Tensor, examples: Tensor) -> Tensor:
        rows = synthesize_rows(self.signals, weights[:, self.columns], examples)
        return self.layout.unflatten(rows)


class _Masked(_Source):
    def __init__(
        self, x: Tensor, baseline: Tensor, features: Features, ids: Tensor, players: Tensor
    ) -> None:
        super().__init__(x, baseline, features, ids, players)
        owners = features.of_coefficients(ids)
        # The column of each coefficient's player, (B or 1, *coefficients).
        self._columns = torch.searchsorted(players.to(x.device), owners.contiguous())

    def parts(self, examples: slice) -> _Parts:
        columns = _some(self._columns, examples)
        if self._features.pixelwise:
            baseline = _some(self._baseline, examples)
            return _ChosenParts(self.x[examples], baseline, columns, self.layout)
        baseline, difference = self._difference(examples)
        coefficients = self._features.transform(difference)
        return _MaskedParts(coefficients, baseline, columns, self._features, self.layout)


class _MaskedParts(NamedTuple):
    coefficients: Tensor  # (b, *coefficients) of input less baseline
    baseline: Tensor  # (b or 1, *signal)
    columns: Tensor  # (b or 1, *coefficients)
    features: Features
    layout: Layout

    def of(self, examples: slice) -> _Parts:
        coefficients, baseline, columns = (_some(t, examples) for t in self[:3])
        return _MaskedParts(coefficients, baseline, columns, self.features, self.layout)

    def write(self, coalitions: Tensor, out: Tensor) -> None:
        kept = self.coefficients[:, None] * _at_places(coalitions, self.columns)
        shape = torch.Size((out.shape[0] * out.shape[1], *self.layout.shape))
        parts = self.features.inverse(kept.flatten(0, 1), shape)  # (b k, *signal)
        signals = parts.unflatten(0, out.shape[:2]) + self.baseline[:, None]
        self.layout.unflatten(out).copy_(signals)

    def weighted(self, weights: Tensor, examples: Tensor) -> Tensor:
        at_places = _of_rows(weights, self.columns, examples).to(self.baseline.dtype)
        kept = self.coefficients[examples] * at_places
        part = self.features.inverse(kept, torch.Size((len(weights), *self.layout.shape)))
        return part + _rows_of(self.baseline, examples)


class _Waved(_Masked):
    def __init__(
        self, x: Tensor, baseline: Tensor, features: Features, ids: Tensor, players: Tensor
    ) -> None:
        super().__init__(x, baseline, features, ids, players)
        assert isinstance(features, PlaneWaves)
        self._waves = features.waves(self._baseline)
        self._first = int(torch.searchsorted(players, ids.min().cpu()))

    def parts(self, examples: slice) -> _Parts:
        masked = super().parts(examples)
        assert isinstance(masked, _MaskedParts)
        return _WaveParts(masked, self._waves, self._first)


class _WaveParts(NamedTuple):
    masked: _MaskedParts
    waves: Waves
    first: int  # the column of the first wave among all players

    def of(self, examples: slice) -> _Parts:
        masked = self.masked.of(examples)
        assert isinstance(masked, _MaskedParts)
        return self._replace(masked=masked)

    def write(self, coalitions: Tensor, out: Tensor) -> None:
        self.masked.write(coalitions, out)

    def write_single(self, members: Tensor, out: Tensor) -> None:
        """Write the signals ``(b, k, D)`` of coalitions with one member ``(k,)``, or none."""
        own = members - self.first
        own = torch.where(own < len(self.waves.places), own, -1)  # those of other inputs
        columns, rows = self.waves.factors(self.masked.coefficients, own)
        signals = self.masked.layout.unflatten(out)  # (b, k, *signal)
        baseline = self.masked.baseline[:, None]
        direct = out.dtype is baseline.dtype
        made = signals if direct else torch.empty_like(signals, dtype=baseline.dtype)
        beside = [len(members), *[1] * (signals.dim() - 3), -1]  # (k, ..., 1, W)
        products = [(c[..., None], r.reshape(beside)) for c, r in zip(columns, rows, strict=True)]
        torch.addcmul(baseline, *products[0], out=made)
        made.addcmul_(*products[1])
        if not direct:
            signals.copy_(made)

    def weighted(self, weights: Tensor, examples: Tensor) -> Tensor:
        return self.masked.weighted(weights, examples)


class _ChosenParts(NamedTuple):
    x: Tensor  # (b, *signal)
    baseline: Tensor  # (b or 1, *signal)
    columns: Tensor  # (b or 1, *signal or 1)
    layout: Layout

    def of(self, examples: slice) -> _Parts:
        x, baseline, columns = (_some(t, examples) for t in self[:3])
        return _ChosenParts(x, baseline, columns, self.layout)

    def write(self, coalitions: Tensor, out: Tensor) -> None:
        kept = _at_places(coalitions, self.columns)
        chosen = torch.where(kept, self.x[:, None], self.baseline[:, None].to(self.x.dtype))
        self.layout.unflatten(out).copy_(chosen)

    def weighted(self, weights: Tensor, examples: Tensor) -> Tensor:
        at_places = _of_rows(weights, self.columns, examples).to(self.baseline.dtype)
        baseline = _rows_of(self.baseline, examples)
        return baseline + at_places * (self.x[examples].to(baseline.dtype) - baseline)


def _source(
    x: Tensor, baseline: Tensor, features: Features, ids: Tensor, players: Tensor
) -> _Source:
    if isinstance(features, PlaneWaves):
        return _Waved(x, baseline, features, ids, players)
    masked = features.pixelwise or len(ids.unique()) > MOST_MIXED
    return (_Masked if masked else _Mixed)(x, baseline, features, ids, players)


def _at_places(coalitions: Tensor, columns: Tensor) -> Tensor:
    """Say who is present at each place: ``(b or 1, k, *places)``.

    Args:
        coalitions: ``(k, P)`` or ``(b, k, P)`` boolean.
        columns: ``(b or 1, *places)`` the column of each place's player.
    """
    num_coalitions = coalitions.shape[-2]
    if coalitions.dim() == 2:
        return coalitions[:, columns].movedim(0, 1)
    flat = columns.flatten(1)[:, None].expand(len(coalitions), num_coalitions, -1)
    members: Tensor = coalitions.gather(2, flat).unflatten(2, columns.shape[1:])
    return members


def _of_rows(weights: Tensor, columns: Tensor, examples: Tensor) -> Tensor:
    """Give each place of each row the weight of its player: ``(R, *places)``."""
    flat = _rows_of(columns, examples).flatten(1).expand(len(weights), -1)
    at_places: Tensor = weights.gather(1, flat).unflatten(1, columns.shape[1:])
    return at_places


def _rows_of(x: Tensor, examples: Tensor) -> Tensor:
    return x if len(x) == 1 else x[examples]


def _some(x: Tensor, examples: slice) -> Tensor:
    """Return the entries of examples, where there is not one for all."""
    return x if len(x) == 1 else x[examples]
