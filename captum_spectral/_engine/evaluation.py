"""The values of coalitions, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import RowExamples
from captum_spectral._engine.bands import BandSignals
from captum_spectral._engine.chunk_size import ChunkSize
from captum_spectral._engine.clock import Clock
from captum_spectral._engine.grid import Chunk, Walk
from captum_spectral._memory import is_out_of_memory, release, what_it_said
from captum_spectral._outputs import as_results, first_not_finite, not_finite
from captum_spectral.synthesis import synthesize

__all__ = ["Evaluation", "OneNumberPerBatchError"]


# Signals are made at least this many bytes at a time: a product with few rows reads all bands for
# little. 13 rows of 224 x 224 RGB.
BLOCK_BYTES = 2**23


class OneNumberPerBatchError(Exception):
    """The forward output belongs to the batch, but the rows were not one whole batch."""


class Evaluation:
    """Fills the table of values of all examples and coalitions.

    What is done is kept: after an exception :meth:`run` goes on from the chunk that failed. After
    an allocation failure it does so by itself, with half the rows.

    Args:
        signals: The band signals of the examples.
        forward: The model on the signals of rows, given what tells the example of each row.
        coalitions: ``(K, M)`` or ``(B, K, M)`` boolean, on the device of the signals.
        walk: The order of the rows.
        size: How many of them share a forward pass.
        one_number: Whether the model is known to give one number for the whole batch.
    """

    def __init__(
        self,
        signals: BandSignals,
        forward: Callable[[tuple[Tensor, ...], RowExamples], Any],
        coalitions: Tensor,
        walk: Walk,
        size: ChunkSize,
        one_number: bool = False,
    ) -> None:
        self._signals = signals
        self._forward = forward
        self._coalitions = coalitions
        self._walk = walk
        self._size = size
        self._one_number = one_number
        self._values: Tensor | None = None
        self._clock: Clock | None = None
        self._block: tuple[Chunk, tuple[Tensor, ...]] | None = None
        self._block_rows = BLOCK_BYTES // signals.bytes_per_row

    @property
    def remaining(self) -> int:
        """Rows that have no value yet."""
        return self._walk.remaining

    def run(self, bar: Any) -> Tensor:
        """Evaluate what remains and return the table ``(B or 1, K, *outputs)``.

        Args:
            bar: A progress bar, told the rows that are done.
        """
        self._clock = None
        failed: Chunk | None = None
        while self._walk.remaining:
            rows = self._size.rows(self._walk.remaining)
            if self._values is None and failed is None and self._walk.by_example:
                rows = max(rows, 2)  # of one row alone, (1,) could be its value or the batch's
            chunk = self._walk.chunk(rows)
            failure = self._try(chunk)
            if failure is None:
                bar.update(chunk.rows)
            else:
                # The exception is gone here, and with it the tensors in its frames.
                self._make_room(chunk, failure, again=chunk == failed)
                failed = chunk
        assert self._values is not None
        if _looking_waits(self._values.device):
            self._check_finite_at_the_end(self._values)
        self._learn()
        self._signals.forget()
        return self._values

    def _try(self, chunk: Chunk) -> str | None:
        try:
            output = self._outputs_of(chunk)
            if self._values is None:
                self._values = self._empty_table(output, chunk)
            self._keep(output, chunk)
        except BaseException as error:
            self._block = None  # its rows may have been changed by what failed
            if isinstance(error, _TableError) or not is_out_of_memory(error):
                raise
            return what_it_said(error)
        self._walk.done(chunk)
        if self._clock is None:
            self._clock = Clock(output.device)
        self._clock.chunk_ended(chunk.rows)
        self._learn()
        return None

    def _outputs_of(self, chunk: Chunk) -> Tensor:
        output = self._forward(self._signals.as_inputs(self._rows_of(chunk)), chunk.examples)
        one = not isinstance(output, Tensor) or output.dim() == 0
        results = as_results(output)
        whole = not chunk.by_example and chunk.rows == self._signals.num_examples
        one = (len(results) == 1 < chunk.rows) or (one and self._signals.num_examples > 1)
        if one and self._values is None:
            if not whole:
                raise OneNumberPerBatchError(
                    f"it returned shape {tuple(results.shape)} for {chunk.rows} rows"
                )
            self._one_number = True
        if len(results) != (1 if self._one_number else chunk.rows):
            self._start_over()
            raise ValueError(
                f"forward_func returned shape {tuple(results.shape)} for {chunk.rows} rows; dim 0 "
                "of its output must grow with the batch, or it must give one number for all"
            )
        return results

    def _rows_of(self, chunk: Chunk) -> tuple[Tensor, ...]:
        """The signals of the chunk as flat rows, made in larger blocks where chunks are small."""
        if self._block is None or not self._block[0].holds(chunk):
            self._block = None
            block = self._walk.chunk(max(chunk.rows, self._block_rows))
            self._block = block, self._synthesize(block)
        block, rows = self._block
        first = chunk.start - block.start
        if chunk.stop == block.stop:
            self._block = None
        return tuple(r[first : first + chunk.rows] for r in rows)

    def _synthesize(self, chunk: Chunk) -> tuple[Tensor, ...]:
        self._signals.forget_before(chunk.first_example)
        rows = self._signals.empty(chunk.rows)
        for tile in chunk.tiles():
            members = self._coalitions[..., tile.coalitions, :]
            if members.dim() == 3:
                members = members[tile.examples]
            for part, into in zip(self._signals.of(tile.examples), rows, strict=True):
                synthesize(part.signals, members[..., part.columns], tile.view(into))
        return rows

    def _empty_table(self, output: Tensor, chunk: Chunk) -> Tensor:
        num_results = 1 if self._one_number else self._signals.num_examples
        shape = (num_results, self._coalitions.shape[-2], *output.shape[1:])
        dtype = torch.promote_types(output.dtype, torch.float32)
        try:
            return output.new_empty(shape, dtype=dtype)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise _TableError(
                f"the table of values {shape} does not fit in the memory of {output.device}: "
                f"{torch.Size(shape).numel() * dtype.itemsize / 2**30:.2f} GiB; choose a target, "
                f"or explain fewer examples at a time ({what_it_said(error)})"
            ) from error

    def _keep(self, output: Tensor, chunk: Chunk) -> None:
        assert self._values is not None
        for tile in chunk.tiles():
            if self._one_number:
                self._values[:, tile.coalitions] = output
            else:
                self._values[tile.examples, tile.coalitions] = tile.view(output)
        if not _looking_waits(output.device):  # else at the end
            row = first_not_finite(output)
            if row is not None:
                raise self._not_finite(*chunk.cell(row))

    def _check_finite_at_the_end(self, values: Tensor) -> None:
        cell = first_not_finite(values.flatten(0, 1))
        if cell is not None:
            raise self._not_finite(*divmod(cell, values.shape[1]))

    def _not_finite(self, example: int, k: int) -> ValueError:
        self._start_over()
        shared = self._coalitions.dim() == 2
        return not_finite(example, self._coalitions[k] if shared else self._coalitions[example, k])

    def _start_over(self) -> None:
        """Forget all values: some are of no use, and repairing the model may change the others."""
        self._values = None
        self._walk = self._walk.anew()

    def _make_room(self, chunk: Chunk, failure: str, again: bool) -> None:
        """Fewer rows from now on, or the error if there can be none fewer."""
        self._signals.forget()
        self._block_rows = 1
        release(self._signals.device)
        self._clock = None  # the next chunk pays for this one
        together = self._one_number and not chunk.by_example
        indivisible = chunk.rows == 1 or (together and chunk.rows <= self._signals.num_examples)
        # The half of two or three rows is one, and its output would not tell whether it belongs to
        # the row or to the batch.
        doubtful = self._values is None and chunk.rows < 4
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
                f"{reason} fit in the memory of {self._signals.device}: signals of "
                f"{self._signals.describe(chunk.rows)}, their bands, and whatever forward_func "
                f"needs for them. The allocator said: {failure}"
            )
        self._size.too_large(chunk.rows)

    def _learn(self) -> None:
        for rows, seconds in self._clock.times() if self._clock is not None else ():
            self._size.took(rows, seconds)


def _looking_waits(device: torch.device) -> bool:
    """Whether the CPU must wait for the device to see a value."""
    return device.type != "cpu"


class _TableError(torch.OutOfMemoryError):
    """Fewer rows would not help."""
