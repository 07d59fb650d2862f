"""The most rows that may share a forward pass, as the user said it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["RowLimit"]


class RowLimit(NamedTuple):
    """The most rows that may share a forward pass, as the user said it.

    Args:
        argument: The name of the argument.
        value: What it was, None for as many as the model is fastest with.
        whole: The value of ``argument`` with which whole batches go through the model.
    """

    argument: str
    value: int | None
    whole: int | None

    def remedy(self, rows: int, failed: int, num_examples: int) -> str:
        """Say how a model gets so many rows at a time, because it takes no others."""
        best = 1 if self.whole is None else self.whole
        counted = "1 row" if rows == 1 else f"{rows} rows"
        alone = self.whole is not None and rows < num_examples
        return (
            f"forward_func takes {counted} and not {failed}, as models do whose batch is fixed: "
            f"{self.argument}={best} gives it {counted} at a time"
            + (", of one example in each call" if alone else "")
        )
