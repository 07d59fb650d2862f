"""Value coalitions: one number per row, from the model's outputs and the label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["Value", "ValueOfRows", "format_value"]

Value = Literal["log_likelihood", "logit"] | Callable[[Any, Tensor], Tensor]

_UNITS = {"log_likelihood": "nats", "logit": "logits"}


def format_value(value: Value) -> str:
    """Return the unit of a value; raise if there is no such value."""
    if isinstance(value, str) and value in _UNITS:
        return _UNITS[value]
    if isinstance(value, str):
        raise ValueError(
            f"value must be 'log_likelihood', 'logit' or a function of (outputs, labels), got "
            f"{value!r}"
        )
    if not callable(value):
        raise TypeError(
            "value must be 'log_likelihood', 'logit' or a function of (outputs, labels), got "
            f"{type(value).__name__}"
        )
    return "value"


class ValueOfRows:
    """Run a model and value its outputs at the labels: the forward function of the game.

    The engine remembers the speed of a model, which it finds in the attribute ``forward_func``.

    Args:
        forward_func: The model.
        value: The value, see ``SpectralImportance``.
    """

    def __init__(self, forward_func: Callable[..., Any], value: Value) -> None:
        self.forward_func = forward_func
        self._value = value
        self._known_as_logits = False

    def logits(self, images: Tensor) -> Tensor:
        """Return the model's outputs ``(B, classes)``; raise if they are none."""
        outputs: Tensor = self.forward_func(images)
        if not _is_logits(outputs, images):
            raise ValueError(
                "labels=None takes the model's own prediction, which needs a forward_func that "
                f"returns logits (B, classes), got {_describe(outputs)} for {len(images)} images"
            )
        return _of_two_classes(outputs)

    def of(self, images: Tensor, labels: Tensor, highest: int) -> Tensor:
        """Return the value, and whether the label has the largest output, as ``(rows, 2)``.

        The second column is -1 if outputs are not ``(rows, classes)``, which only a value function
        of the user can read.
        """
        outputs = self.forward_func(images)
        is_logits = _is_logits(outputs, images)
        two_classes = _of_two_classes(outputs) if is_logits else outputs
        if callable(self._value):
            values = self._of_callable(outputs, labels)
        elif not is_logits:
            raise ValueError(
                f"value={self._value!r} needs a forward_func that returns logits (B, classes), got "
                f"{_describe(outputs)} for {len(images)} images; give value a function of "
                "(outputs, labels)"
            )
        else:
            values = self._of_logits(two_classes, labels, highest, outputs.shape[1] == 1)
        correct = torch.full_like(values, -1)  # (rows,): 1 or 0, -1 for unknown
        if is_logits:
            correct = (two_classes.argmax(1) == labels.to(outputs.device)).to(values)
        return torch.stack([values, correct], 1)

    def _of_logits(self, outputs: Tensor, labels: Tensor, highest: int, single: bool) -> Tensor:
        """Return the label's logit or log likelihood of every row."""
        # The caller gives the highest label, because to look for it here would wait for the device.
        if highest >= outputs.shape[1]:
            raise ValueError(
                f"labels reach {highest}, but forward_func returns {outputs.shape[1]} outputs per "
                f"image, classes 0..{outputs.shape[1] - 1}"
            )
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        if single and self._value == "logit":
            outputs = 2 * outputs  # the log-odds themselves
        if self._value == "log_likelihood":
            self._refuse_probabilities(outputs)
            outputs = outputs.log_softmax(1)
        return outputs.gather(1, labels.to(outputs.device)[:, None])[:, 0]

    def _refuse_probabilities(self, outputs: Tensor) -> None:
        """Raise if the first outputs are probabilities, whose log-softmax would mean nothing."""
        if self._known_as_logits:  # looking again would wait for the device
            return
        outputs = outputs[outputs.isfinite().all(1)]  # of a picture that breaks the model nothing
        if not len(outputs):
            return
        sums = outputs.sum(1)
        if bool((outputs >= 0).all()) and bool(((sums - 1).abs() < 1e-2).all()):
            raise ValueError(
                "value='log_likelihood' takes logits, and forward_func returns probabilities (rows "
                "that are not negative and sum to 1): leave its softmax out, or give value=lambda "
                "p, y: p.gather(1, y[:, None])[:, 0].log()"
            )
        self._known_as_logits = True

    def _of_callable(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return the values of the user's function; raise unless there is one per row."""
        assert callable(self._value)
        values = self._value(outputs, labels)
        if not isinstance(values, Tensor) or values.shape != labels.shape:
            raise ValueError(
                f"value must return one number per row, shape {tuple(labels.shape)}, got "
                f"{_describe(values)}"
            )
        return values.to(torch.promote_types(values.dtype, torch.float32))


def _is_logits(outputs: Any, images: Tensor) -> bool:
    return (
        isinstance(outputs, Tensor)
        and outputs.dtype.is_floating_point
        and outputs.dim() == 2
        and len(outputs) == len(images)
    )


def _of_two_classes(outputs: Tensor) -> Tensor:
    """Give a single logit ``(B, 1)`` two classes, whose softmax is the sigmoid: ``(B, 2)``."""
    return torch.cat([-outputs, outputs], 1) / 2 if outputs.shape[1] == 1 else outputs


def _describe(outputs: Any) -> str:
    """Name type, dtype and shape in an error."""
    if isinstance(outputs, Tensor):
        return f"a {outputs.dtype} tensor of shape {tuple(outputs.shape)}"
    return type(outputs).__name__
