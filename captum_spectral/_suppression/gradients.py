"""The gradients of a model at samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import take_args, take_target
from captum_spectral._captum import TargetType, run_forward
from captum_spectral._outputs import as_results, select
from captum_spectral._rows import Rows

__all__ = ["Call"]


class Call(NamedTuple):
    """The model at its target, and what goes along with the samples."""

    forward_func: Callable[..., Any]
    target: TargetType
    highest_class: int | None
    additional_forward_args: Any
    num_examples: int
    whole_batches: bool
    confident: bool

    def at(
        self, samples: tuple[Tensor, ...], rows: Rows
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The gradients of each row's output with respect to its samples, and its confidence."""
        leaves = tuple(s.detach().requires_grad_() for s in samples)
        args = take_args(self.additional_forward_args, rows.examples, self.num_examples)
        with torch.enable_grad():
            outputs = run_forward(self.forward_func, leaves, None, args)
            target = take_target(self.target, rows.examples)
            output = select(outputs, target, self.highest_class)
            values = self._one_per_row(output, len(rows))
        confidence = self._confidence(outputs, target, len(rows)) if self.confident else None
        gradients: tuple[Tensor | None, ...] = (None,) * len(leaves)
        if values.requires_grad:
            ones = torch.ones_like(values)
            gradients = torch.autograd.grad(values, leaves, ones, allow_unused=True)
        found = tuple(gradient for gradient in gradients if gradient is not None)
        if len(found) < len(leaves):
            which = "inputs" if len(leaves) == 1 else f"inputs[{gradients.index(None)}]"
            raise ValueError(
                f"the output of forward_func has no gradient with respect to {which}: it does not "
                "depend on them differentiably; look for .detach(), .item(), torch.no_grad(), "
                "argmax or integers on the way to the output, and pass what it does not use in "
                "additional_forward_args"
            )
        return found, confidence

    @staticmethod
    def _confidence(outputs: Tensor, target: TargetType, rows: int) -> Tensor:
        """The softmax probability of each row's class."""
        if outputs.dim() != 2 or len(outputs) != rows or outputs.shape[1] < 2:
            raise ValueError(
                "return_confidence needs a forward_func that returns the logits (B, classes) of at "
                "least two classes, got "
                f"{outputs.dtype} {tuple(outputs.shape)} for {rows} rows"
            )
        logits = outputs.detach()
        probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
        picked: Tensor = select(probabilities, target)
        return picked

    def _one_per_row(self, output: Any, rows: int) -> Tensor:
        is_number = not isinstance(output, Tensor) or output.dim() == 0
        results = as_results(output)
        if results.numel() != len(results):
            raise ValueError(
                f"forward_func gives shape {tuple(results.shape)} at target={self.target!r}; a "
                "gradient needs one number per example: choose it with target"
            )
        if len(results) == rows and (self.whole_batches or self.num_examples == 1 or not is_number):
            return results
        if len(results) != 1:
            raise ValueError(
                f"forward_func gives shape {tuple(results.shape)} for {rows} rows; dim 0 of its "
                "output must grow with the batch, or it must give one number for all"
            )
        if not self.whole_batches:
            raise ValueError(
                f"internal_batch_size needs a forward_func with one output per row, but it gives "
                f"one number for {rows} of the rows; use internal_batch_size=None"
            )
        return results
