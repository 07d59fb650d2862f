"""Examples batch by batch: as many as the user allows, halved where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._engine.chunk_size import FixedSize
from captum_spectral._engine.evaluation import Evaluation, RowLimit, Work
from captum_spectral._engine.rows import Chunk, Walk

__all__ = ["Batches", "Stages"]

# Makes tensors with one entry per example of the examples (R,) of a batch.
Take = Callable[[Tensor], tuple[Tensor, ...]]


class Batches:
    """Cuts the examples of one call into batches.

    All steps of the call share it: what did not fit in memory once is not tried again.

    Args:
        inputs: ``(B, ...)`` the examples.
        internal_batch_size: How many may go through the model at once; None for all of them.

    Attributes:
        max_rows (int | None): How many rows may share a forward pass, for steps that make several
            of each example; None for any number. It is halved together with the batches, and 1
            once a single example did not fit.
    """

    def __init__(self, inputs: Tensor, internal_batch_size: int | None) -> None:
        if internal_batch_size is not None:
            check_count("internal_batch_size", internal_batch_size)
        self._inputs = inputs
        self.max_rows = internal_batch_size
        rows = internal_batch_size or len(inputs)
        self._size = FixedSize(rows)
        self._limit = RowLimit("internal_batch_size", rows, whole=None)

    def of_all(self, take: Take, bar: Any) -> tuple[Tensor, ...]:
        """Return what ``take`` makes of all examples.

        Args:
            take: Called with the indices of consecutive examples; again with fewer of them where
                an allocation failed.
            bar: A progress bar that is told the examples that are done.

        Raises:
            torch.OutOfMemoryError: Not even a single example fits in memory.
        """
        work = _OfExamples(self._inputs, take, self._make_room)
        walk = Walk(len(self._inputs), 1, by_example=True)
        Evaluation(work, walk, self._size, self._limit).run(bar)
        return tuple(torch.cat(parts) for parts in zip(*work.kept, strict=True))

    def _make_room(self, num_examples: int) -> None:
        if num_examples == 1:
            self.max_rows = 1
        elif self.max_rows is not None:
            self.max_rows = max(1, self.max_rows // 2)


class _OfExamples(Work):
    """Work whose rows are the examples themselves.

    Args:
        inputs: ``(B, ...)``.
        take: See :class:`Batches`.
        when_full: Told how many examples did not fit in memory.

    Attributes:
        kept: What was made of each batch, in their order.
    """

    def __init__(self, inputs: Tensor, take: Take, when_full: Callable[[int], None]) -> None:
        self._inputs, self._take, self._when_full = inputs, take, when_full
        self.num_examples, self.device = len(inputs), inputs.device
        self.kept: list[tuple[Tensor, ...]] = []
        self._tried = 0

    def do(self, chunk: Chunk, walk: Walk) -> torch.device:
        """Take a batch."""
        self._tried = chunk.rows
        self.kept.append(self._take(chunk.examples(self.device)))
        self.nothing_kept = False
        return self.device

    def describe(self, rows: int) -> str:
        """Tell shape and size of the points."""
        points = self._inputs[:rows]
        size = points.numel() * points.element_size() / 2**20
        return f"points of shape {tuple(points.shape)} ({size:.1f} MiB), their gradients"

    def make_room(self) -> None:
        """Pass on that a batch did not fit."""
        self._when_full(self._tried)


class Stages:
    """Tells a progress bar the stages of the examples, each once, though batches may be repeated.

    The bar stands at the most that was ever done, and moves on when a repeated batch passes it.

    Args:
        bar: The progress bar.
        stages: How many each example has.
    """

    def __init__(self, bar: Any, stages: int) -> None:
        self._bar, self._stages = bar, stages
        self._finished = self._batch = self._stage = self._told = 0

    def begin(self, num_examples: int) -> None:
        """Begin a batch, maybe one that was begun before."""
        self._batch, self._stage = num_examples, 0

    def advance(self) -> None:
        """Finish a stage of the batch."""
        self._stage += 1
        done = self._finished * self._stages + self._batch * self._stage
        self._bar.update(max(0, done - self._told))
        self._told = max(done, self._told)

    def update(self, num_examples: int) -> None:
        """Finish the batch."""
        self._finished += num_examples
