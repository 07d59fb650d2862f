"""The model at its target, on rows that each belong to an example: nothing else calls a model."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, MutableMapping
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from captum_spectral._arguments import detached, format_target, warn
from captum_spectral._captum import (
    TargetType,
    format_additional_forward_args,
    run_forward,
    select_targets,
)
from captum_spectral._engine.memory import is_out_of_memory
from captum_spectral._engine.outputs import as_function, inner_module, tensor_of
from captum_spectral.sources.digests import digest_of

__all__ = [
    "Forward",
    "RowExamples",
    "add_hint",
    "as_results",
    "first_not_finite",
    "gradients",
    "is_of_model",
    "is_random",
    "warn_if_training",
]

# Tells the example of each row of a batch, on the device that asks.
RowExamples = Callable[[torch.device], Tensor]


class Forward:
    """A model, its target and its further arguments, for a number of examples.

    Rows are versions of examples, any number of each in any order; targets and arguments follow
    the examples of the rows.

    Args:
        forward_func: The model, or any function that Captum accepts.
        num_examples: ``B``.
        device: Where the rows will be. Targets go there once, because copying them for every
            forward pass would wait for the device.
        target: As the user gave it.
        additional_forward_args: As the user gave them.

    Attributes:
        target: In the form of :func:`captum_spectral._arguments.format_target`.
        highest_class (int | None): The largest class in it, None where it names no single class.
        called: The model, or what a DistributedDataParallel holds.

    Raises:
        TypeError: A model that cannot be called.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        num_examples: int,
        device: torch.device,
        target: TargetType = None,
        additional_forward_args: Any = None,
    ) -> None:
        forward_func = as_function(forward_func)
        self.forward_func = forward_func
        # DistributedDataParallel talks to other processes in a forward pass with gradients, and
        # waits for them for ever where they have other numbers of rows. Inside is the same model.
        self.called = forward_func
        if isinstance(forward_func, DistributedDataParallel):
            self.called = forward_func.module
        self._waiting = _that_waits(self.called)
        self.called = _with_signature(self.called)
        self.additional_forward_args = additional_forward_args
        self.num_examples, self._device = num_examples, device
        target, self.highest_class = format_target(target, num_examples)
        # Empty tuples choose nothing.
        entries = target if isinstance(target, list) else [target]
        self._chooses = any(not isinstance(entry, tuple) or len(entry) > 0 for entry in entries)
        self.target: TargetType = target.to(device) if isinstance(target, Tensor) else target
        warn_if_training(forward_func)

    def state(self) -> str | None:
        """Return a digest that is another one when the model gives other values.

        It sees weights and buffers of a Module, and autocast. None where these cannot be read.
        """
        owner = inner_module(self.called)
        tensors = () if owner is None else (*owner.parameters(), *owner.buffers())
        kind = self._device.type
        autocast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        try:
            return digest_of(tensors, f"{autocast}")
        except Exception:  # a device that failed, a kind of tensor without bytes
            return None

    def __call__(
        self,
        rows: tuple[Tensor, ...],
        examples: RowExamples,
        instead: Callable[..., Any] | None = None,
    ) -> Any:
        """Return the outputs of rows at the target, of the model or of what is called instead."""
        return self.at_target(self.outputs(rows, examples, instead), examples)

    def outputs(
        self,
        rows: tuple[Tensor, ...],
        examples: RowExamples,
        instead: Callable[..., Any] | None = None,
    ) -> Any:
        """Return all outputs of rows, of the model or what is called instead: a tensor or a number.

        Raises:
            TypeError: What the model returned is neither, see ``outputs``.
            ValueError: As :meth:`returned`.
        """
        return tensor_of(self.returned(rows, examples, instead))

    def returned(
        self,
        rows: tuple[Tensor, ...],
        examples: RowExamples,
        instead: Callable[..., Any] | None = None,
    ) -> Any:
        """Return whatever the model, or what is called instead, returns for rows.

        Raises:
            ValueError: Gradients are asked of a model that would wait for other processes.
        """
        if self._waiting is not None and torch.is_grad_enabled():
            raise ValueError(
                f"forward_func holds a DistributedDataParallel ({self._waiting}), whose forward "
                "pass with gradients waits for every other process, and these may have other "
                "numbers of images; put its .module in its place"
            )
        called = self.called if instead is None else instead
        try:
            return run_forward(called, rows, None, self._args_of(examples))
        except RuntimeError as error:
            self._hint_at_one_image(error, rows)
            raise

    def _hint_at_one_image(self, error: RuntimeError, rows: tuple[Tensor, ...]) -> None:
        """Add to an error of the model that an image was maybe given without its batch dim."""
        if type(error) is not RuntimeError or len(rows) != 1 or is_out_of_memory(error):
            return
        size = tuple(rows[0].shape[1:])
        if len(size) == 2 and min(size) > 4 and self.num_examples in (1, 3, 4):
            shape = (self.num_examples, *size)
            add_hint(
                error,
                f"inputs of shape {shape} were read as a batch of {self.num_examples}; if they are "
                f"one image, give x[None], of shape {(1, *shape)}",
            )

    def at_target(self, outputs: Any, examples: RowExamples) -> Any:
        """Pick the target of each row from the outputs, as Captum does it.

        A class that does not exist is named here: Captum leaves an index out of range to the
        indexing, which on a GPU ends the process. The largest class is known beforehand, because
        looking for it in a tensor would wait for its device.
        """
        if self.target is None:
            return outputs
        if isinstance(outputs, numbers.Real) or (isinstance(outputs, Tensor) and not outputs.dim()):
            raise ValueError(
                f"target={self.target!r} cannot be selected: forward_func returns one number, so "
                "there is nothing to choose from; use target=None"
            )
        if outputs.dim() == 1 and self._chooses:
            raise ValueError(
                "target cannot be selected: forward_func returns one number per row, shape "
                f"{tuple(outputs.shape)}, so there is nothing to choose from; use target=None"
            )
        highest = self.highest_class
        if highest is not None and outputs.dim() > 1 and highest >= outputs.shape[1]:
            raise ValueError(
                f"target {highest} does not exist: forward_func returns {outputs.shape[1]} outputs "
                f"per example, 0..{outputs.shape[1] - 1}"
            )
        target = self._target_of(examples)
        return select_targets(
            outputs, target.to(outputs.device) if isinstance(target, Tensor) else target
        )

    def _target_of(self, examples: RowExamples) -> TargetType:
        if isinstance(self.target, Tensor):
            return self.target[examples(self.target.device)]
        if isinstance(self.target, list):
            return [self.target[e] for e in examples(torch.device("cpu")).tolist()]
        return self.target

    def _args_of(self, examples: RowExamples) -> Any:
        """Repeat tensors with one entry per example along the rows; pass all else as it is."""
        args = format_additional_forward_args(self.additional_forward_args)
        return None if args is None else tuple(self._of_rows(arg, examples) for arg in args)

    def _of_rows(self, arg: Any, examples: RowExamples) -> Any:
        """Return an argument for rows; of a dict, list or tuple, with those in it."""
        if isinstance(arg, Tensor):
            if arg.dim() > 0 and len(arg) == self.num_examples:
                return arg[examples(arg.device)]
            return _passed_on(arg)
        if type(arg) in (list, tuple):
            return type(arg)(self._of_rows(part, examples) for part in arg)
        if isinstance(arg, MutableMapping):  # those of transformers are classes of their own
            found = copy(arg)
            for name, part in arg.items():
                found[name] = self._of_rows(part, examples)
            return found
        return arg


def add_hint(error: BaseException, hint: str) -> None:
    """Add to the message of an error, where it is all there is: Python 3.10 has no notes."""
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}\n({hint})",)


def is_of_model(error: BaseException) -> bool:
    """Say whether an error arose in the model: not in this package, nor from the system."""
    if not isinstance(error, Exception) or isinstance(error, KeyError | OSError):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
    return not name.startswith("captum_spectral.")


def gradients(
    values: Tensor, leaves: tuple[Tensor, ...], retain_graph: bool = False
) -> tuple[Tensor, ...]:
    """Differentiate each row's value ``(R,)`` with respect to that row of every leaf ``(R, ...)``.

    Parameters get no gradient.

    Raises:
        ValueError: The values do not depend on a leaf differentiably.
    """
    found: tuple[Tensor | None, ...] = (None,) * len(leaves)
    if values.requires_grad:
        ones = torch.ones_like(values)
        found = torch.autograd.grad(
            values, leaves, ones, retain_graph=retain_graph, allow_unused=True
        )
    kept = tuple(gradient.detach() for gradient in found if gradient is not None)
    if len(kept) < len(leaves):
        which = "inputs" if len(leaves) == 1 else f"inputs[{found.index(None)}]"
        raise ValueError(not_differentiable(which))
    return kept


def not_differentiable(which: str) -> str:
    """Say that the output has no gradient with respect to ``which``, and what to look for."""
    return (
        "forward_func must be differentiable, but its output has no gradient with respect to "
        f"{which}: look for .detach(), .data, .item(), torch.no_grad(), NumPy, argmax or "
        "integers on the way to the output, and pass what it does not use in "
        "additional_forward_args"
    )


def as_results(output: Any) -> Tensor:
    """Return a forward output as a real tensor whose dim 0 counts results; a number is one."""
    if isinstance(output, numbers.Real):
        return torch.tensor([float(output)], dtype=torch.float64, device="cpu")
    results: Tensor = output
    return results.reshape(1) if results.dim() == 0 else results


def first_not_finite(values: Tensor) -> int | None:
    """Return the first row of ``values (N, *outputs)`` that holds a NaN or an infinity."""
    finite = values.isfinite().flatten(1).all(1) if values.dim() > 1 else values.isfinite()
    return None if finite.all() else int((~finite).nonzero()[0, 0])


def _with_signature(forward_func: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose arguments Captum can see, as it cannot of scripts or of C."""
    try:
        inspect.signature(forward_func)
    except ValueError:
        return lambda *args: forward_func(*args)
    return forward_func


def _that_waits(forward_func: Callable[..., Any]) -> str | None:
    """Name a part of a model that sends buffers to other processes in a forward pass, if any."""
    owner = inner_module(forward_func)
    if owner is None:
        return None
    for name, part in owner.named_modules():
        if (
            isinstance(part, DistributedDataParallel)
            and len(part.modules_buffers)
            # Another name of the option in newer releases.
            and getattr(part, "forward_sync_buffers", getattr(part, "broadcast_buffers", True))
            and torch.distributed.get_world_size(part.process_group) > 1
        ):
            return name or "it is one"
    return None


def _passed_on(arg: Tensor) -> Tensor:
    """Return an argument as it is, with its graph; autograd cannot use inference tensors."""
    return detached(arg) if arg.is_inference() else arg


# Modules of PyTorch that are random, or look at the whole batch, in training mode. Scripted ones
# are known by their names.
_DIFFERENT_IN_TRAINING = (_DropoutNd, _NormBase, nn.RReLU)
_NAMES = tuple(
    name
    for name in dir(nn)
    if isinstance(kind := getattr(nn, name), type) and issubclass(kind, _DIFFERENT_IN_TRAINING)
)


def warn_if_training(forward_func: Callable[..., Any]) -> None:
    """Warn about a model whose values are random, or depend on the other rows."""
    if is_random(forward_func):
        warn(
            "forward_func, or a part of it, is in training mode: dropout and batch statistics make "
            "its values random; call .eval() first (of an exported program, before it is exported)"
        )


def is_random(forward_func: object) -> bool:
    """Say whether a part of a module is in training mode and behaves as in no other."""
    module = inner_module(forward_func)
    return module is not None and any(map(_is_random, module.modules()))


def _is_random(module: nn.Module) -> bool:
    """Say whether a module, without those in it, behaves in its training mode as in no other."""
    if isinstance(module, GraphModule):  # exported programs keep the mode that they had
        return any(map(_is_call_in_training, module.graph.nodes))
    if not getattr(module, "training", False):  # frozen scripts have no mode
        return False
    kind = type(module)
    if isinstance(module, _NormBase):  # instance norms without statistics have one way only
        return isinstance(module, _BatchNorm) or module.track_running_stats
    if isinstance(module, _DIFFERENT_IN_TRAINING):
        return getattr(module, "p", 1.0) > 0
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return module.dropout > 0
    if isinstance(module, torch.jit.ScriptModule):
        return getattr(module, "original_name", "") in _NAMES
    # A module of somebody's own may look at its mode (functional dropout), unless it only wraps one
    # whose mode was chosen. Containers and wrappers of PyTorch do not look.
    own = not kind.__module__.startswith("torch.")
    return own and all(child.training for child in module.modules())


def _is_call_in_training(node: Node) -> bool:
    """Say whether a node of a graph calls dropout or a norm in training mode."""
    arguments = getattr(getattr(node.target, "_schema", None), "arguments", ())
    names = [argument.name for argument in arguments]
    for name in ("train", "training"):
        if name in names:
            place = names.index(name)
            given = node.args[place] if place < len(node.args) else node.kwargs.get(name)
            return given is True
    return False
