"""A classifier on versions of its examples: its outputs, its decisions, its slopes."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import (
    check_count,
    detached,
    format_inputs,
    format_target,
)
from captum_spectral._captum import TargetType, run_forward
from captum_spectral._engine.forward import Forward, warn_if_training

__all__ = ["Classifier", "slope"]


class Classifier:
    """A model and the examples whose decisions are looked at; the only place that calls the model.

    Every row given to it is a version of one of the examples, and says of which.

    Attributes:
        inputs: ``(B, ...)`` the examples, in the precision in which points are moved.
        dtype: What the model is shown.
        target: ``(B,)`` the explained classes.
        examples: ``(B,)`` all indices, 0..B-1.
        margins: ``(B,)`` how far the decisions at the examples are ahead, once they were checked.
    """

    margins: Tensor

    def __init__(
        self,
        forward_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
    ) -> None:
        if internal_batch_size is not None:
            check_count("internal_batch_size", internal_batch_size)
        tensors = format_inputs(inputs)
        if len(tensors) != 1:
            raise ValueError(
                "inputs must be one tensor, or a tuple of one, because the distance to a boundary "
                f"is measured in one space; got a tuple of {len(tensors)}"
            )
        (x,) = tensors
        self.dtype = x.dtype
        self.inputs = x.to(torch.promote_types(x.dtype, torch.float32))
        self.target, self._highest_class = _class_per_example(target, x)
        self.examples = self._places = torch.arange(len(x), device=x.device)
        self._num_examples = len(x)
        self._forward_func = forward_func
        self._args = additional_forward_args
        self._max_rows = len(x) if internal_batch_size is None else internal_batch_size
        warn_if_training(forward_func)

    def batches(self) -> tuple[Tensor, ...]:
        """The examples, as many at a time as may go through the model."""
        batches: tuple[Tensor, ...] = self.examples.split(self._max_rows)
        return batches

    def part(self, examples: Tensor) -> Classifier:
        """The same model with some of the examples, whose decisions were checked."""
        part = copy(self)
        part.inputs, part.target, part.margins, part._places = (
            t[examples] for t in (self.inputs, self.target, self.margins, self._places)
        )
        part.examples = torch.arange(len(examples), device=examples.device)
        return part

    def __call__(self, points: Tensor, examples: Tensor) -> Tensor:
        """Outputs ``(R, classes)`` of rows ``(R, ...)`` that are versions of ``examples (R,)``."""
        args = Forward(
            lambda *a: None, self._num_examples, points.device, None, self._args
        )._args_of(self._places[examples].to)
        # A copy: a model that works in place must not change what is the user's, or searched.
        rows = points.to(self.dtype, copy=True)
        logits = run_forward(self._forward_func, rows, None, args)
        if not isinstance(logits, Tensor) or not logits.dtype.is_floating_point:
            raise TypeError(
                "forward_func must return a floating tensor (B, classes), got "
                f"{getattr(logits, 'dtype', type(logits).__name__)}"
            )
        if logits.dim() != 2 or len(logits) != len(points) or logits.shape[1] < 2:
            raise ValueError(
                "forward_func must return (B, classes) with at least two classes, one row per "
                f"example, got shape {tuple(logits.shape)} for {len(points)} examples"
            )
        if self._highest_class >= logits.shape[1]:
            raise ValueError(
                f"target {self._highest_class} does not exist: forward_func returns "
                f"{logits.shape[1]} outputs per example, 0..{logits.shape[1] - 1}"
            )
        logits = logits.to(points.device)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    @torch.no_grad()
    def outputs(self, points: Tensor, examples: Tensor) -> Tensor:
        """Outputs without gradients, of any number of rows."""
        batches = zip(points.split(self._max_rows), examples.split(self._max_rows), strict=True)
        return torch.cat([self(p, e) for p, e in batches])

    def differentiable(self, points: Tensor, examples: Tensor) -> tuple[Tensor, Tensor]:
        """The rows as the leaf of a graph, and their outputs. Call it with gradients enabled."""
        leaf = points.detach().to(self.dtype).requires_grad_()
        return leaf, self(leaf, examples)

    def crossed(self, logits: Tensor, examples: Tensor) -> Tensor:
        """``(R,)`` whether another class than the target is predicted; never of NaN."""
        return logits.isfinite().all(1) & (logits.argmax(1) != self.target[examples])

    def of_target(self, logits: Tensor, examples: Tensor) -> Tensor:
        """``(R,)`` the outputs of the explained classes."""
        return logits.gather(1, self.target[examples, None])[:, 0]

    def others(self, logits: Tensor, examples: Tensor) -> Tensor:
        """``(R, classes)`` the outputs, -inf for the explained class."""
        return logits.scatter(1, self.target[examples, None], -torch.inf)

    def margin(self, logits: Tensor, examples: Tensor) -> Tensor:
        """``(R,)`` how far the explained classes are ahead of all others; negative if behind."""
        return self.of_target(logits, examples) - self.others(logits, examples).amax(1)

    def check_decisions(self) -> None:
        """The targets must be what is predicted, from finite outputs. One row per example."""
        logits = self.outputs(self.inputs, self.examples)
        infinite = (~logits.isfinite().all(1)).nonzero().flatten().tolist()
        if infinite:
            raise ValueError(
                "forward_func gave values that are not finite (NaN or infinite) for the examples "
                f"{infinite}; their decisions have no boundary"
            )
        predicted = logits.argmax(1)
        wrong = (predicted != self.target).nonzero().flatten().tolist()
        if wrong:
            listed = ", ".join(
                f"{e} (target {int(self.target[e])}, predicted {int(predicted[e])})" for e in wrong
            )
            raise ValueError(
                "target must be the class that forward_func predicts, because the boundary around "
                f"that decision is looked for; it is not for the examples {listed}; use "
                "target=forward_func(inputs).argmax(1), or leave them out"
            )
        self.margins = self.margin(logits, self.examples)


def slope(values: Tensor, leaf: Tensor, retain_graph: bool = False) -> Tensor:
    """Gradients of each row's value ``(R,)`` with respect to that row; nothing else gets one."""
    gradient = None
    if values.requires_grad:
        (gradient,) = torch.autograd.grad(
            values.sum(), leaf, retain_graph=retain_graph, allow_unused=True
        )
    if gradient is None:
        raise ValueError(
            "forward_func must be differentiable, but its output has no gradient with respect to "
            "the inputs: does it use .detach(), .data, torch.no_grad() or NumPy?"
        )
    return gradient.detach()


def _class_per_example(target: TargetType, inputs: Tensor) -> tuple[Tensor, int]:
    formatted, highest = format_target(target, len(inputs))
    if isinstance(formatted, int):
        if formatted < 0:
            raise ValueError(f"target must count classes from 0, got {formatted}")
        formatted = torch.full((len(inputs),), formatted, device=inputs.device)
    if not isinstance(formatted, Tensor) or highest is None or formatted.dim() != 1:
        got = f"{target.dtype} {tuple(target.shape)}" if isinstance(target, Tensor) else target
        raise TypeError(
            "target must name one class per example, as an int, a list of ints or a 1-D integer "
            f"tensor, got {got}; the predicted classes are forward_func(inputs).argmax(1)"
        )
    return detached(formatted).to(inputs.device), highest
