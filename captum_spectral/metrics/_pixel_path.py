"""The outputs while the pixels of one input are replaced by those of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import take_args, take_target
from captum_spectral._captum import NullProgress, TargetType, progress, run_forward
from captum_spectral._outputs import as_results, first_not_finite, select
from captum_spectral._rows import Rows, batches
from captum_spectral.metrics._outputs import not_one_per_row

__all__ = ["PixelPath"]


class PixelPath(NamedTuple):
    """A model on inputs that turn from one into another, pixels by pixels.

    Args:
        forward_func: The model.
        target: As ``format_target`` gives it.
        highest_class: As ``format_target`` gives it.
        additional_forward_args: As the user gave them.
        start: ``(B or 1, ...)`` where the path begins.
        end: ``(B or 1, ...)`` where it ends.
        places: ``(B, ...)`` of the rank of the input and broadcastable to it: how many features
            are replaced before the one that is there.
        num_features: ``G``.
    """

    forward_func: Callable[..., Any]
    target: TargetType
    highest_class: int | None
    additional_forward_args: Any
    start: Tensor
    end: Tensor
    places: Tensor
    num_features: int

    def values(
        self, counts: Tensor, perturbations_per_eval: int, show_progress: bool, title: str
    ) -> Tensor:
        """The outputs ``(B, K+1)`` with ``counts (K+1,)`` features replaced."""
        num_examples = len(self.places)
        total = len(counts) * num_examples
        bar = progress(desc=title, total=total) if show_progress else NullProgress()
        outputs = []
        with bar, torch.no_grad():
            for rows in batches(total, num_examples, perturbations_per_eval * num_examples):
                outputs.append(self._outputs(counts[rows.first_sample : rows.stop_sample], rows))
                bar.update(len(rows))
        values = torch.cat(outputs).reshape(len(counts), num_examples).T.contiguous()
        self._check_finite(values, counts)
        return values

    def _outputs(self, counts: Tensor, rows: Rows) -> Tensor:
        """One number for every row: step by step, each with all examples."""
        counts = counts.to(self.places.device).reshape(-1, *[1] * self.places.dim())
        signals = torch.where(self.places < counts, self.end, self.start).flatten(0, 1)
        args = take_args(self.additional_forward_args, rows.examples, rows.num_examples)
        output = run_forward(self.forward_func, (signals,), None, args)
        output = select(output, take_target(self.target, rows.examples), self.highest_class)
        results = as_results(output)
        if len(results) != len(rows) or results.numel() != len(rows):
            raise not_one_per_row(results, len(rows), self.target)
        return results.reshape(-1).to(torch.promote_types(results.dtype, torch.float32))

    def _check_finite(self, values: Tensor, counts: Tensor) -> None:
        example = first_not_finite(values)
        if example is not None:
            step = int((~values[example].isfinite()).nonzero()[0])
            raise ValueError(
                "forward_func gave a value that is not finite (NaN or infinite) for example "
                f"{example} with {int(counts[step])} of {self.num_features} features replaced, "
                "and the area under the curve needs finite values: does the model accept its "
                "baseline?"
            )
