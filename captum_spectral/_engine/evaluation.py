"""Rows chunk by chunk: made, shown to the model, kept; halved where memory runs out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from captum_spectral._engine.chunk_size import ChunkSize, Clock, FixedSize
from captum_spectral._engine.forward import (
    Forward,
    add_hint,
    as_results,
    first_not_finite,
    is_of_model,
)
from captum_spectral._engine.memory import is_out_of_memory, release, what_it_said
from captum_spectral._engine.row_limit import RowLimit
from captum_spectral._engine.rows import Ahead, Chunk, Walk
from captum_spectral._engine.shortcuts import Known, Shortcuts
from captum_spectral._engine.signals import Signals
from captum_spectral._engine.stem import Stem

__all__ = [
    "Coalitions",
    "Evaluation",
    "NotFiniteError",
    "OfCoalitions",
    "OneByOne",
    "RowLimit",
    "Table",
    "TableError",
    "Work",
]


class Work(ABC):
    """Does something with chunks of rows.

    Attributes:
        num_examples: ``B``.
        device: Where the work is done, for messages.
        one_number: Whether ``forward_func`` is known to give one number for the whole batch.
        channels_last: Whether the rows of the next chunk lie in memory pixel by pixel.
        nothing_kept: Whether no chunk has been kept yet.
    """

    num_examples: int
    device: torch.device
    one_number = False
    channels_last = False
    nothing_kept = True

    @abstractmethod
    def do(self, chunk: Chunk, walk: Walk) -> torch.device:
        """Do the rows of a chunk and keep what comes out; all of it or, with an error, nothing.

        Returns:
            The device that was kept busy.
        """

    @abstractmethod
    def describe(self, rows: int) -> str:
        """Tell what some rows need memory for, for a message."""

    def start_over(self) -> None:
        """Forget what was kept."""
        self.nothing_kept = True

    def make_room(self) -> None:  # noqa: B027, most have nothing to give
        """Give back memory that can be filled again."""

    def finish(self) -> None:  # noqa: B027
        """Do what is left to do when all rows are done."""


class Evaluation:
    """Does all rows of a walk.

    What is done is kept: after an exception :meth:`run` goes on from the chunk that failed. After
    an allocation failure it does so by itself, with half the rows.

    Args:
        work: What is done with a chunk.
        walk: The order of the rows.
        size: How many of them share a forward pass.
        limit: What the user said about that, for messages.

    Attributes:
        total (int): All rows.
    """

    def __init__(self, work: Work, walk: Walk, size: ChunkSize, limit: RowLimit) -> None:
        self._work, self._walk, self._size, self._limit = work, walk, size, limit
        self.total = walk.remaining
        self._clock: Clock | None = None

    @property
    def remaining(self) -> int:
        """Rows that are not done yet."""
        return self._walk.remaining

    def run(self, bar: Any) -> None:
        """Do what remains, and tell a progress bar the rows that are done."""
        try:
            self._loop(bar)
        except OneNumberPerBatchError as found:
            if self._limit.value not in (None, self._limit.whole):
                raise ValueError(
                    f"{self._limit.argument}={self._limit.value} needs a forward_func with one "
                    f"output per row, but {found}; use {self._limit.argument}={self._limit.whole}"
                ) from None
            # From the start, one coalition of the whole batch at a time.
            self._walk = self._walk.by_coalition_anew()
            self._size = FixedSize(self._work.num_examples)
            self._work.one_number = True
            self._loop(bar)

    def _loop(self, bar: Any) -> None:
        self._clock = None
        failed: Chunk | None = None
        while self._walk.remaining:
            rows = self._size.rows(self._walk.remaining)
            self._work.channels_last = self._size.channels_last
            free = self._limit.value is None and self._walk.by_example
            if free and self._work.nothing_kept and failed is None:
                rows = max(rows, 2)  # of one row alone, (1,) could be its value or the batch's
            chunk = self._walk.chunk(rows)
            failure = self._try(chunk)
            if failure is None:
                bar.update(chunk.rows)
            else:
                # The exception is gone here, and with it the tensors in its frames.
                self._make_room(chunk, failure, again=chunk == failed)
                failed = chunk
        self._learn()
        try:
            self._work.finish()
        except ValueError:
            self._walk = self._walk.anew()
            raise

    def _try(self, chunk: Chunk) -> str | None:
        """Do a chunk; return what the allocator said where there was not enough memory."""
        try:
            device = self._work.do(chunk, self._walk)
        except BaseException as error:
            lacking = not isinstance(error, TableError) and is_out_of_memory(error)
            if self._work.nothing_kept:  # what was kept is of no use
                self._walk = self._walk.anew()
                if not lacking and is_of_model(error):
                    self._look_for_fixed_batch(error, chunk)
            if not lacking:
                raise
            return what_it_said(error)
        self._walk.done(chunk)
        if self._clock is None:
            self._clock = Clock(device)
        self._clock.chunk_ended(chunk.rows, self._work.channels_last)
        self._learn()
        return None

    def _look_for_fixed_batch(self, error: BaseException, chunk: Chunk) -> None:
        """Try another batch after the error of a model; where that works, the error says so."""
        count = self._work.num_examples
        sizes = {1} if self._limit.whole is None else {1, count}
        for rows in sorted(sizes - {chunk.rows}):
            try:
                self._work.do(self._walk.chunk(rows), self._walk)
            except Exception:
                continue
            finally:
                self._work.start_over()
            add_hint(error, self._limit.remedy(rows, chunk.rows, count))
            return

    def _make_room(self, chunk: Chunk, failure: str, again: bool) -> None:
        """Take fewer rows from now on, or raise if there can be none fewer."""
        work = self._work
        work.make_room()
        release(work.device)
        self._clock = None  # the next chunk pays for this one
        together = work.one_number and not chunk.by_example
        indivisible = chunk.rows == 1 or (together and chunk.rows <= work.num_examples)
        # The half of two or three rows is one, and its output would not tell whether it belongs to
        # the row or to the batch.
        doubtful = work.nothing_kept and chunk.rows < 4
        if (indivisible or doubtful) and not again:
            return  # memory may have been short for a moment
        if indivisible:
            reason = (
                f"forward_func gives one number for the batch, so its {chunk.rows} rows must share "
                "a forward pass, and they do not"
                if together
                else "not even one row at a time does"
            )
            raise torch.OutOfMemoryError(
                f"{reason} fit in the memory of {work.device}: {work.describe(chunk.rows)}, and "
                f"whatever forward_func needs for them. The allocator said: {failure}"
            )
        self._size.too_large(chunk.rows)

    def _learn(self) -> None:
        for chunk in self._clock.times() if self._clock is not None else ():
            self._size.took(*chunk)


class OneNumberPerBatchError(Exception):
    """The forward output belongs to the batch, but the rows were not one whole batch."""


class TableError(torch.OutOfMemoryError):
    """Fewer rows would not help."""


class NotFiniteError(ValueError):
    """A value is NaN or infinite.

    Args:
        message: What is told.
        example: Whose value it is.
    """

    def __init__(self, message: str, example: int) -> None:
        super().__init__(message, example)  # both, or the error could not go to another process
        self.example = example

    def __str__(self) -> str:
        return str(self.args[0])


# ------------------------------------------------------------------------------- coalitions


class Coalitions(Protocol):
    """A boolean tensor ``(K, P)`` or ``(B, K, P)``, or what can be indexed like ``(B, K, P)``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    def __getitem__(self, index: Any) -> Tensor:
        """Return the coalitions of slices, on the device of the signals."""


class OneByOne:
    """Coalitions of one player each, and of nobody, as numbers: no matrix is made of them.

    Args:
        members: ``(K,)`` int64 columns of the players; -1 for nobody.
        num_players: ``P``.
    """

    def __init__(self, members: Tensor, num_players: int) -> None:
        self._members = members
        self.shape = (len(members), num_players)

    def __getitem__(self, index: Any) -> Tensor:
        """Return the members of a slice of coalitions."""
        return self._members[index]


class OfCoalitions(Work):
    """Work on the signals of coalitions.

    Args:
        signals: What makes them.
        coalitions: ``(K, P)`` or ``(B, K, P)``, on the device of the signals.
    """

    def __init__(self, signals: Signals, coalitions: Coalitions) -> None:
        self._signals, self._coalitions = signals, coalitions
        self.num_examples, self.device = signals.num_examples, signals.device
        self._ahead = Ahead(self._synthesize)
        self._block_rows = signals.block_rows
        self._lies = False

    @abstractmethod
    def take(self, signals: tuple[Tensor, ...], chunk: Chunk) -> torch.device:
        """Show the model the signals of a chunk and keep what comes out."""

    def do(self, chunk: Chunk, walk: Walk) -> torch.device:
        """Make the signals of a chunk, and take them."""
        try:
            return self.take(self.inputs_of(chunk, walk), chunk)
        except BaseException:
            self.forget_rows()  # they may have been changed by what failed
            raise

    def inputs_of(self, chunk: Chunk, walk: Walk) -> tuple[Tensor, ...]:
        """Return the signals of a chunk, made in larger blocks for small chunks."""
        if self._lies != self.channels_last:
            self._ahead.forget()
        self._lies = self.channels_last
        self._signals.lie(self.channels_last)
        rows = self._ahead.of(chunk, walk.chunk(max(chunk.rows, self._block_rows)))
        return self._signals.as_inputs(rows)

    def forget_rows(self) -> None:
        """Drop rows that were made ahead."""
        self._ahead.forget()

    def members(self, examples: slice, coalitions: slice) -> Tensor:
        """Return the coalitions of a tile, ``(k, P)`` or ``(b, k, P)``; ``(k,)`` if by number."""
        if len(self._coalitions.shape) == 2:
            return self._coalitions[coalitions]
        return self._coalitions[examples, coalitions]

    def describe(self, rows: int) -> str:
        """Tell the shapes and sizes of signals."""
        return f"signals of {self._signals.describe(rows)}, their parts"

    def make_room(self) -> None:
        """Drop parts and rows, and make rows for one chunk at a time from now on."""
        self._signals.forget()
        self.forget_rows()
        self._block_rows = 1

    def finish(self) -> None:
        """Drop parts and rows."""
        self._signals.forget()
        self._signals.lie(channels_last=False)
        self.forget_rows()

    def results_of(self, output: Any, chunk: Chunk) -> Tensor:
        """Return an output as one result per row, or as the one result of a whole batch."""
        is_number = not isinstance(output, Tensor) or output.dim() == 0
        results = as_results(output)
        if self.nothing_kept and not self.one_number:
            one = (len(results) == 1 < chunk.rows) or (is_number and self.num_examples > 1)
            if one and (chunk.by_example or chunk.rows != self.num_examples):
                raise OneNumberPerBatchError(
                    f"it returned shape {tuple(results.shape)} for {chunk.rows} rows"
                )
            self.one_number = one
        if len(results) != (1 if self.one_number else chunk.rows):
            self.start_over()
            raise ValueError(
                f"forward_func returned shape {tuple(results.shape)} for {chunk.rows} rows; dim 0 "
                "of its output must grow with the batch, or it must give one number for all"
            )
        return results

    def start_over(self) -> None:
        """Forget what was kept and what was learnt: a repaired model may be another one."""
        super().start_over()
        self.one_number = False

    def _synthesize(self, chunk: Chunk) -> tuple[Tensor, ...]:
        self._signals.forget_before(chunk.first_example)
        rows = self._signals.empty(chunk.rows)
        for tile in chunk.tiles():
            self._signals.write(tile, self.members(tile.examples, tile.coalitions), rows)
        return rows


class Table(OfCoalitions):
    """Keeps the values of all examples and coalitions.

    Args:
        signals: What makes the signals.
        coalitions: ``(K, P)`` or ``(B, K, P)``.
        forward: The model.
        name_of: Words for a coalition ``(P,)`` in an error.
        keep_not_finite: Whether NaN and infinite values are values as others. Default: False
        known: What is known of the model, where it may be shown rows in other ways than the plain
            one. Default: None

    Attributes:
        values (Tensor | None): ``(B or 1, K, *outputs)``.
    """

    def __init__(
        self,
        signals: Signals,
        coalitions: Coalitions,
        forward: Forward,
        name_of: Callable[[Tensor], str],
        keep_not_finite: bool = False,
        known: Known | None = None,
    ) -> None:
        super().__init__(signals, coalitions)
        self._forward, self._name_of = forward, name_of
        self._keep_not_finite = keep_not_finite
        self._shortcuts: Shortcuts | None = None
        if known is not None and isinstance(coalitions, Tensor):
            stem = Stem(signals, self.members, coalitions.shape[-2])
            self._shortcuts = Shortcuts(forward, signals, stem, known)
        self.values: Tensor | None = None

    def inputs_of(self, chunk: Chunk, walk: Walk) -> tuple[Tensor, ...]:
        """Return the signals of a chunk, or what becomes signals where the model needs them."""
        if self._shortcuts is not None:
            self._signals.lie(self.channels_last)
            rows = self._shortcuts.rows(chunk, walk, self.channels_last, self.nothing_kept)
            if rows is not None:
                self._signals.forget_before(chunk.first_example)
                return rows
        return super().inputs_of(chunk, walk)

    def take(self, signals: tuple[Tensor, ...], chunk: Chunk) -> torch.device:
        """Keep the outputs at the target."""
        if self._shortcuts is None:
            outputs = self._forward(signals, chunk.examples)
        else:
            outputs = self._shortcuts.outputs(signals, chunk, lambda: self._plain(chunk))
        output = self.results_of(outputs, chunk)
        if self.values is None:
            self.values = self._empty_table(output)
        for tile in chunk.tiles():
            if self.one_number:
                self.values[:, tile.coalitions] = output
            else:
                self.values[tile.examples, tile.coalitions] = tile.view(output)
        self.nothing_kept = False
        if not self._keep_not_finite and not _looking_waits(output.device):  # else at the end
            row = first_not_finite(output)
            if row is not None:
                raise self._not_finite(*chunk.cell(row))
        return output.device

    def forget_rows(self) -> None:
        """Drop rows that were made ahead."""
        super().forget_rows()
        if self._shortcuts is not None:
            self._shortcuts.forget()

    def make_room(self) -> None:
        """Drop parts and rows, and do without those of the stem."""
        super().make_room()
        if self._shortcuts is not None:
            self._shortcuts.without_stem()

    def finish(self) -> None:
        """Look for values that are not finite, where looking had to wait."""
        assert self.values is not None
        if not self._keep_not_finite and _looking_waits(self.values.device):
            cell = first_not_finite(self.values.flatten(0, 1))
            if cell is not None:
                raise self._not_finite(*divmod(cell, self.values.shape[1]))
        if self._shortcuts is not None:
            self._shortcuts.settle()
        super().finish()

    def start_over(self) -> None:
        """Forget all values: some are of no use, and repairing the model may change the others."""
        super().start_over()
        self.values = None

    def _plain(self, chunk: Chunk) -> tuple[Tensor, ...]:
        """Make the signals of a chunk as the inputs lie in memory."""
        self._signals.lie(channels_last=False)
        self._lies = False
        self._ahead.forget()
        return self._signals.as_inputs(self._synthesize(chunk))

    def _empty_table(self, output: Tensor) -> Tensor:
        num_results = 1 if self.one_number else self.num_examples
        shape = (num_results, self._coalitions.shape[-2], *output.shape[1:])
        dtype = torch.promote_types(output.dtype, torch.float32)
        try:
            return output.new_empty(shape, dtype=dtype)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise TableError(
                f"the table of values {shape} does not fit in the memory of {output.device}: "
                f"{torch.Size(shape).numel() * dtype.itemsize / 2**30:.2f} GiB; choose a target, "
                f"or explain fewer examples at a time ({what_it_said(error)})"
            ) from error

    def _not_finite(self, example: int, k: int) -> NotFiniteError:
        self.start_over()
        members = self.members(slice(example, example + 1), slice(k, k + 1)).reshape(-1)
        return NotFiniteError(
            "forward_func gave a value that is not finite (NaN or infinite) for example "
            f"{example} with {self._name_of(members)}; finite values are needed: does the model "
            "accept its baseline?",
            example,
        )


def _looking_waits(device: torch.device) -> bool:
    """Say whether the CPU must wait for the device to see a value."""
    return device.type != "cpu"
