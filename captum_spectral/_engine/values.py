"""Value coalitions: one number per row, from the model's outputs and the label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from captum_spectral._arguments import warn
from captum_spectral._engine.outputs import (
    class_logits,
    inner_module,
    last_function,
    looks_like,
    tensor_of,
)

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


# Rows in whose outputs there must be one below 0 or above 1 if they are logits.
_ENOUGH = 16


class ValueOfRows:
    """Run a model and value its outputs at the labels: the forward function of the game.

    The engine remembers the speed of a model, which it finds in the attribute ``forward_func``.

    Args:
        forward_func: The model.
        value: The value, see ``SpectralImportance``.
        any_scores: Whether probabilities will do, because only the largest output counts. Default:
            False
    """

    def __init__(
        self, forward_func: Callable[..., Any], value: Value, any_scores: bool = False
    ) -> None:
        self.forward_func = forward_func
        self._value = value
        self._known_as_logits = any_scores
        self._rows_in_unit = 0

    def logits(self, images: Tensor, *args: Any) -> Tensor:
        """Return the model's outputs ``(B, classes)``; raise if they are none."""
        outputs = class_logits(self.forward_func(images, *args))
        if not _is_logits(outputs, images):
            raise ValueError(
                "labels=None takes the model's own prediction, which needs a forward_func that "
                f"returns logits (B, classes), got {_describe(outputs)} for {len(images)} images"
            )
        return outputs

    def of(self, images: Tensor, labels: Tensor, highest: int, *args: Any) -> Tensor:
        """Return the value, and whether the label has the largest output, as ``(rows, 2)``.

        The second column is -1 if the outputs are not ``(rows, classes)`` or the labels no classes,
        which only a value function of the user can read.

        Args:
            images: ``(rows, ..., H, W)``.
            labels: ``(rows, ...)``.
            highest: The largest class; -1 where the labels are no classes.
            *args: Further arguments of the model.
        """
        returned = self.forward_func(images, *args)
        if callable(self._value):
            values = self._of_callable(returned, labels)
            outputs = _readable(returned)
        else:
            outputs = tensor_of(returned)
            if not _is_logits(outputs, images):
                raise ValueError(
                    f"value={self._value!r} needs a forward_func that returns logits (B, classes), "
                    f"got {_describe(outputs)} for {len(images)} images; give value a function of "
                    "(outputs, labels)"
                )
            self._refuse_probabilities(outputs, images, args)
            values = self._of_logits(outputs, labels, highest)
        correct = torch.full_like(values, -1)  # (rows,): 1 or 0, -1 for unknown
        if _is_logits(outputs, images) and highest >= 0:
            found = class_logits(outputs).argmax(1)
            correct = (found == labels.to(found.device)).to(values)
        return torch.stack([values, correct], 1)

    def _of_logits(self, outputs: Tensor, labels: Tensor, highest: int) -> Tensor:
        """Return the label's logit or log likelihood of every row."""
        classes = class_logits(outputs)
        # The caller gives the highest label, because to look for it here would wait for the device.
        if highest >= classes.shape[1]:
            raise ValueError(
                f"labels reach {highest}, but forward_func returns {classes.shape[1]} outputs per "
                f"image, classes 0..{classes.shape[1] - 1}"
            )
        classes = classes.to(torch.promote_types(classes.dtype, torch.float32))
        if outputs.shape[1] == 1 and self._value == "logit":
            classes = 2 * classes  # the log-odds themselves
        if self._value == "log_likelihood":
            classes = classes.log_softmax(1)
        return classes.gather(1, labels.to(classes.device)[:, None])[:, 0]

    def _refuse_probabilities(self, outputs: Tensor, images: Tensor, args: tuple[Any, ...]) -> None:
        """Raise if the first outputs are probabilities, whose log-softmax would mean nothing."""
        if self._known_as_logits:  # looking again would wait for the device
            return
        kind = looks_like(outputs)
        if kind == "probabilities":
            raise ValueError(
                f"value={self._value!r} takes logits, and forward_func returns probabilities (rows "
                "that are not negative and sum to 1): leave its softmax out, or give value=lambda "
                "p, y: p.gather(1, y[:, None])[:, 0].log()"
            )
        # Rows without a finite one say nothing.
        self._known_as_logits = kind is None and bool(outputs.isfinite().all(1).any())
        if kind == "unit":
            self._look_for_sigmoid(images, args)

    def _look_for_sigmoid(self, images: Tensor, args: tuple[Any, ...]) -> None:
        """Raise if outputs from 0 to 1 are those of a sigmoid; warn if they may be."""
        last = self._last_function(images, args)
        if last is not None and last.startswith("SigmoidBackward"):
            raise ValueError(
                f"value={self._value!r} takes logits, and forward_func ends in a sigmoid, whose "
                "outputs are probabilities: leave it out, or give value a function of (outputs, "
                "labels)"
            )
        self._rows_in_unit += len(images)
        self._known_as_logits = last is not None or self._rows_in_unit >= _ENOUGH
        if last is None and self._known_as_logits:
            warn(
                f"value={self._value!r} takes logits, and the outputs of forward_func all lie from "
                "0 to 1 so far: if they are probabilities, the values are several times too small; "
                "leave the sigmoid out, or give value a function of (outputs, labels)"
            )

    def _last_function(self, images: Tensor, args: tuple[Any, ...]) -> str | None:
        """Return what autograd knows of the model's last function; None where it knows nothing.

        Costs the rows once more, of models whose outputs lie from 0 to 1 alone.
        """
        module = inner_module(self.forward_func)
        parts = () if module is None else tuple(module.modules())
        if any(isinstance(part, DistributedDataParallel) for part in parts):
            return None  # with gradients it would wait for other processes
        try:
            with torch.inference_mode(False), torch.enable_grad():
                rows = images.clone().requires_grad_()
                return last_function(tensor_of(self.forward_func(rows, *args)))
        except Exception:  # NumPy, a runtime of somebody else's
            return None

    def _of_callable(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return the values of the user's function; raise unless there is one per row."""
        assert callable(self._value)
        values = _readable(self._value(outputs, labels))
        if not isinstance(values, Tensor) or values.shape != labels.shape[:1]:
            raise ValueError(
                f"value must return one number per row, shape {tuple(labels.shape[:1])}, got "
                f"{_describe(values)}"
            )
        return values.to(torch.promote_types(values.dtype, torch.float32))


def _readable(returned: Any) -> Any:
    """Return a tensor where there is one to be read, else what was returned."""
    try:
        return tensor_of(returned)
    except TypeError:
        return returned


def _is_logits(outputs: Any, images: Tensor) -> bool:
    return (
        isinstance(outputs, Tensor)
        and outputs.dtype.is_floating_point
        and outputs.dim() == 2
        and len(outputs) == len(images)
    )


def _describe(outputs: Any) -> str:
    """Name type, dtype and shape in an error."""
    if isinstance(outputs, Tensor):
        return f"a {outputs.dtype} tensor of shape {tuple(outputs.shape)}"
    return type(outputs).__name__
