"""Which examples and coalitions share a forward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Tile", "tiles"]

CPU_ROWS = 8  # small batches stay in the caches of a CPU and are faster per row
ACCELERATOR_ROWS = 256


class Tile(NamedTuple):
    """A rectangle of the grid of examples and coalitions."""

    examples: slice
    coalitions: slice

    @property
    def height(self) -> int:
        """How many examples."""
        return int(self.examples.stop - self.examples.start)

    @property
    def width(self) -> int:
        """How many coalitions."""
        return int(self.coalitions.stop - self.coalitions.start)

    @property
    def rows(self) -> int:
        """Rows of the forward pass: row ``k * height + b`` is coalition k of example b."""
        return self.height * self.width

    def row_examples(self) -> Tensor:
        """``(rows,)`` the example of each row."""
        return torch.arange(self.examples.start, self.examples.stop).repeat(self.width)


def tiles(
    num_examples: int, num_coalitions: int, perturbations_per_eval: int | None, device: torch.device
) -> Iterator[Tile]:
    """Cut the grid into tiles, one forward pass each, example by example.

    Args:
        num_examples: ``B``.
        num_coalitions: ``K``.
        perturbations_per_eval: Coalitions of the whole batch in a tile. None: as many as make about
            8 rows on the CPU and 256 elsewhere, of one example if it has that many coalitions.
        device: Where the model runs.

    Yields:
        Tiles, those with the same examples one after another.
    """
    if perturbations_per_eval is not None:
        height, width = num_examples, perturbations_per_eval
    else:
        rows = CPU_ROWS if device.type == "cpu" else ACCELERATOR_ROWS
        # Tiles of nearly equal width: no forward pass is left with a small remainder.
        width = math.ceil(num_coalitions / math.ceil(num_coalitions / rows))
        height = max(1, rows // width)
    for b in range(0, num_examples, height):
        for k in range(0, num_coalitions, width):
            yield Tile(
                slice(b, min(b + height, num_examples)), slice(k, min(k + width, num_coalitions))
            )
