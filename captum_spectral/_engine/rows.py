"""Rows as a grid of examples and coalitions, and the walks over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Ahead", "Chunk", "Held", "Tile", "Walk"]

T = TypeVar("T")


class Tile(NamedTuple):
    """A rectangle of the grid, and where its rows are in a chunk."""

    examples: slice
    coalitions: slice
    rows: slice
    by_example: bool

    def view(self, rows: Tensor) -> Tensor:
        """View the part ``(examples, coalitions, ...)`` of the rows of a chunk."""
        height = self.examples.stop - self.examples.start
        width = self.coalitions.stop - self.coalitions.start
        mine = rows[self.rows]
        if self.by_example:
            return mine.view(height, width, *rows.shape[1:])
        return mine.view(width, height, *rows.shape[1:]).transpose(0, 1)


class Chunk(NamedTuple):
    """Rows that share a forward pass: consecutive ones of a walk.

    Row ``r`` of a walk by example is coalition ``r % K`` of example ``r // K``; of a walk by
    coalition, coalition ``r // B`` of example ``r % B``. The indices are computed on the device
    that needs them, because copying them there would wait for the device.
    """

    start: int
    stop: int
    num_examples: int
    coalitions: slice
    by_example: bool

    @property
    def rows(self) -> int:
        """Count the rows."""
        return self.stop - self.start

    @property
    def first_example(self) -> int:
        """Return the first example; no later chunk of the walk needs an earlier one."""
        return self.start // self._width if self.by_example else 0

    def holds(self, chunk: Chunk) -> bool:
        """Say whether all rows of ``chunk`` are among these."""
        same_walk = self[2:] == chunk[2:]
        return same_walk and self.start <= chunk.start and chunk.stop <= self.stop

    def examples(self, device: torch.device) -> Tensor:
        """Return the example of each row, ``(rows,)``."""
        numbers = torch.arange(self.start, self.stop, device=device)
        return numbers // self._width if self.by_example else numbers % self.num_examples

    def cell(self, row: int) -> tuple[int, int]:
        """Return example and coalition of a row."""
        number = self.start + row
        if self.by_example:
            return number // self._width, self.coalitions.start + number % self._width
        return number % self.num_examples, self.coalitions.start + number // self.num_examples

    def tiles(self) -> list[Tile]:
        """Cut the chunk into rectangles: at most three."""
        if not self.by_example:  # whole coalitions, see Walk.chunk
            first = self.coalitions.start
            mine = slice(first + self.start // self.num_examples, first + self._last_coalition)
            return [Tile(slice(0, self.num_examples), mine, slice(0, self.rows), False)]
        tiles, row = [], self.start
        while row < self.stop:
            example, begin = divmod(row, self._width)
            whole = (self.stop - row) // self._width if begin == 0 else 0
            end = self._width if whole else min(self._width, begin + self.stop - row)
            height = max(1, whole)
            rows = slice(row - self.start, row - self.start + height * (end - begin))
            first = self.coalitions.start
            tiles.append(
                Tile(
                    slice(example, example + height), slice(first + begin, first + end), rows, True
                )
            )
            row = self.start + rows.stop
        return tiles

    @property
    def _width(self) -> int:
        return int(self.coalitions.stop - self.coalitions.start)

    @property
    def _last_coalition(self) -> int:
        return self.stop // self.num_examples


class Walk:
    """A way through the grid that meets every pair of an example and a coalition once.

    By example, an example is done before the next one starts: few bands are in memory, and chunks
    may have any number of rows. By coalition, every chunk holds whole coalitions of the whole
    batch: Captum's meaning of ``perturbations_per_eval``. Where not even one of those fits in
    memory, the rest of the walk goes by example.
    """

    def __init__(self, num_examples: int, num_coalitions: int, by_example: bool) -> None:
        self._num_examples = num_examples
        self._coalitions = slice(0, num_coalitions)
        self._row = 0
        self.by_example = by_example

    def anew(self) -> Walk:
        """Return the same walk from its start."""
        return Walk(self._num_examples, self._coalitions.stop, self.by_example)

    def by_coalition_anew(self) -> Walk:
        """Return the walk by coalition from its start."""
        return Walk(self._num_examples, self._coalitions.stop, by_example=False)

    @property
    def remaining(self) -> int:
        """Count the rows that no chunk has done yet."""
        return self._num_examples * (self._coalitions.stop - self._coalitions.start) - self._row

    def chunk(self, rows: int) -> Chunk:
        """Return the next rows, at most ``rows``; the same until :meth:`done` is called.

        By coalition fewer rows than examples make no chunk: the walk goes on by example then.
        """
        if not self.by_example:
            if rows < self._num_examples:
                self._go_by_example()
            else:
                rows -= rows % self._num_examples
        stop = self._row + min(rows, self.remaining)
        return Chunk(self._row, stop, self._num_examples, self._coalitions, self.by_example)

    def done(self, chunk: Chunk) -> None:
        """Go on behind ``chunk``."""
        self._row = chunk.stop

    def _go_by_example(self) -> None:
        met = self._row // self._num_examples
        self._coalitions = slice(self._coalitions.start + met, self._coalitions.stop)
        self._row = 0
        self.by_example = True


class Ahead:
    """Rows that are made in larger blocks than they are asked for.

    Args:
        make: Makes the flat rows of a block, one tensor per input.
    """

    def __init__(self, make: Callable[[Chunk], tuple[Tensor, ...]]) -> None:
        self._make = make
        self._block: tuple[Chunk, tuple[Tensor, ...]] | None = None

    def of(self, chunk: Chunk, block: Chunk) -> tuple[Tensor, ...]:
        """Return the rows of a chunk; where they are not there yet, the block is made."""
        if self._block is None or not self._block[0].holds(chunk):
            self._block = None  # before the new rows are made, not after
            self._block = block, self._make(block)
        made, rows = self._block
        first = chunk.start - made.start
        if chunk.stop == made.stop:
            self._block = None
        return tuple(r[first : first + chunk.rows] for r in rows)

    def forget(self) -> None:
        """Drop the block."""
        self._block = None


class Held(Generic[T]):
    """Keeps what was made of groups of examples until they are done."""

    def __init__(self) -> None:
        self._groups: list[tuple[slice, T]] = []

    def of(self, examples: slice, make: Callable[[slice], T], part: Callable[[T, slice], T]) -> T:
        """Return what belongs to examples; made now unless a group has it."""
        for group, made in self._groups:
            if group.start <= examples.start and examples.stop <= group.stop:
                own = slice(examples.start - group.start, examples.stop - group.start)
                return part(made, own)
        self._groups.append((examples, make(examples)))
        return self._groups[-1][1]

    def forget_before(self, example: int) -> None:
        """Drop groups of examples that are all before ``example``."""
        self._groups = [group for group in self._groups if group[0].stop > example]

    def forget(self) -> None:
        """Drop all."""
        self._groups = []
