"""Rows of every example in many versions (samples, steps), as they go through the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Rows", "batches"]


class Rows(NamedTuple):
    """Consecutive rows of all samples: row ``s * num_examples + e`` is sample s of example e."""

    start: int
    stop: int
    num_examples: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def first_sample(self) -> int:
        return self.start // self.num_examples

    @property
    def stop_sample(self) -> int:
        return -(-self.stop // self.num_examples)

    def examples(self, device: torch.device) -> Tensor:
        """The example of each row."""
        return torch.arange(self.start, self.stop, device=device) % self.num_examples

    def samples(self, device: torch.device) -> Tensor:
        """The sample of each row, counted from the first of these rows."""
        numbers = torch.arange(self.start, self.stop, device=device) // self.num_examples
        return numbers - self.first_sample

    def by_sample(self) -> Iterator[tuple[int, slice, slice]]:
        """The number of each sample, its examples, and which of these rows they are."""
        for s in range(self.first_sample, self.stop_sample):
            first = s * self.num_examples
            start, stop = max(self.start, first), min(self.stop, first + self.num_examples)
            own = slice(start - self.start, stop - self.start)
            yield s, slice(start - first, stop - first), own


def batches(total: int, num_examples: int, internal_batch_size: int | None) -> Iterator[Rows]:
    size = num_examples if internal_batch_size is None else internal_batch_size
    for start in range(0, total, size):
        yield Rows(start, min(start + size, total), num_examples)
