"""A classifier on versions of its examples: its outputs, its decisions, its margins."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import detached, format_inputs
from captum_spectral._captum import NullProgress, TargetType
from captum_spectral._engine.forward import Forward
from captum_spectral._engine.outputs import class_logits
from captum_spectral.boundary.batches import Batches

__all__ = ["Classifier"]


class Classifier:
    """A model and the examples whose decisions are looked at.

    Every row given to it is a version of one of the examples, and says of which.

    Args:
        forward_func: The model.
        inputs: One tensor ``(B, ...)``, or a tuple of it.
        target: One class per example.
        additional_forward_args: Further arguments of the model. Default: None
        names: Of the user's arguments that ``inputs`` and ``target`` come from, for messages.
            Default: ("inputs", "target")

    Attributes:
        inputs (Tensor): ``(B, ...)`` the examples, in the precision in which points are moved.
        dtype (torch.dtype): That of the rows that the model is shown.
        target (Tensor): ``(B,)`` the explained classes.
        examples (Tensor): ``(B,)`` all indices, 0..B-1.
        margins (Tensor): ``(B,)`` how far the decisions at the examples are ahead, once they were
            checked.
    """

    margins: Tensor

    def __init__(
        self,
        forward_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType,
        additional_forward_args: Any = None,
        names: tuple[str, str] = ("inputs", "target"),
    ) -> None:
        self._names = names
        tensors = format_inputs(inputs, names[0])
        if len(tensors) != 1:
            raise ValueError(
                f"{names[0]} must be one tensor, or a tuple of one, because the distance to a "
                f"boundary is measured in one space; got a tuple of {len(tensors)}"
            )
        (x,) = tensors
        self.dtype = x.dtype
        self.inputs = x.to(torch.promote_types(x.dtype, torch.float32))
        self._forward = Forward(forward_func, len(x), x.device, target, additional_forward_args)
        self.target = _class_per_example(self._forward, x)
        # Parts count their examples from 0; places are the indices among all.
        self.examples = self._places = torch.arange(len(x), device=x.device)

    def part(self, examples: Tensor) -> Classifier:
        """Return the same model with some of the examples, whose decisions were checked."""
        part = copy(self)
        part.inputs, part.target, part.margins, part._places = (
            t[examples] for t in (self.inputs, self.target, self.margins, self._places)
        )
        part.examples = torch.arange(len(examples), device=examples.device)
        return part

    def __call__(self, points: Tensor, examples: Tensor) -> Tensor:
        """Return the outputs ``(R, classes)`` of versions ``(R, ...)`` of ``examples (R,)``."""
        # A copy: a model that works in place must not change what is the user's, or searched.
        rows = points.to(self.dtype, copy=True)
        logits = class_logits(self._forward.outputs((rows,), self._places[examples].to))
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
        highest = self._forward.highest_class
        if highest is not None and highest >= logits.shape[1]:
            raise ValueError(
                f"{self._names[1]} {highest} does not exist: forward_func returns "
                f"{logits.shape[1]} outputs per example, 0..{logits.shape[1] - 1}"
            )
        logits = logits.to(points.device)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def differentiable(self, points: Tensor, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows as the leaf of a graph, and their outputs; needs gradients enabled."""
        leaf = points.detach().to(self.dtype).requires_grad_()
        return leaf, self(leaf, examples)

    def crossed(self, logits: Tensor, examples: Tensor) -> Tensor:
        """Say where another class than the target is predicted ``(R,)``; never of NaN."""
        return logits.isfinite().all(1) & (logits.argmax(1) != self.target[examples])

    def of_target(self, logits: Tensor, examples: Tensor) -> Tensor:
        """Pick the outputs ``(R,)`` of the explained classes."""
        return logits.gather(1, self.target[examples, None])[:, 0]

    def others(self, logits: Tensor, examples: Tensor) -> Tensor:
        """Return the outputs ``(R, classes)`` with -inf for the explained class."""
        return logits.scatter(1, self.target[examples, None], -torch.inf)

    def margin(self, logits: Tensor, examples: Tensor) -> Tensor:
        """Return how far the explained classes ``(R,)`` are ahead of all others, or behind."""
        return self.of_target(logits, examples) - self.others(logits, examples).amax(1)

    def soft_margin(self, logits: Tensor, examples: Tensor) -> Tensor:
        r"""Return :math:`f_c - \log \sum_{j \ne c} e^{f_j}` ``(R,)`` for the explained classes.

        Its slope is that of the cross entropy of ``c`` but for a factor, the probability of the
        other classes, with which that one vanishes where the model is confident.
        """
        return self.of_target(logits, examples) - self.others(logits, examples).logsumexp(1)

    @torch.no_grad()
    def decide(self, batches: Batches) -> Tensor:
        """Return the classes ``(B,)`` predicted at the examples, and keep the margins.

        Cost: a model row per example.

        Raises:
            ValueError: Outputs that are not finite.
        """

        def decide(examples: Tensor) -> tuple[Tensor, ...]:
            logits = self(self.inputs[examples], examples)
            finite = logits.isfinite().all(1)
            return finite, logits.argmax(1), self.margin(logits, examples)

        finite, predicted, self.margins = batches.of_all(decide, NullProgress())
        infinite = (~finite).nonzero().flatten().tolist()
        if infinite:
            raise ValueError(
                "forward_func gave values that are not finite (NaN or infinite) for the examples "
                f"{infinite}; their decisions have no boundary"
            )
        return predicted

    def check_decisions(self, batches: Batches) -> None:
        """Check that the targets are predicted, from finite outputs, and keep the margins."""
        predicted = self.decide(batches)
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


def _class_per_example(forward: Forward, x: Tensor) -> Tensor:
    """Return the target as ``(B,)`` integers on the device of the examples."""
    target = forward.target
    if isinstance(target, int):
        if target < 0:
            raise ValueError(f"target must count classes from 0, got {target}")
        return torch.full((len(x),), target, device=x.device)
    if not isinstance(target, Tensor):
        raise TypeError(
            "target must name one class per example, as an int, a list of ints or a 1-D integer "
            f"tensor, got {target}; the predicted classes are forward_func(inputs).argmax(1)"
        )
    return detached(target)
