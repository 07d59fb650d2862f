"""The model at its target, on rows that each belong to an example: nothing else calls a model."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
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
from captum_spectral.sources.digests import digest_of

__all__ = [
    "Forward",
    "RowExamples",
    "as_results",
    "first_not_finite",
    "gradients",
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
        self.forward_func = forward_func
        # DistributedDataParallel talks to other processes in a forward pass with gradients, and
        # waits for them for ever where they have other numbers of rows. Inside is the same model.
        self._called = forward_func
        if isinstance(forward_func, DistributedDataParallel):
            self._called = forward_func.module
        self._waiting = _that_waits(self._called)
        self.additional_forward_args = additional_forward_args
        self.num_examples, self._device = num_examples, device
        target, self.highest_class = format_target(target, num_examples)
        self.target: TargetType = target.to(device) if isinstance(target, Tensor) else target
        warn_if_training(forward_func)

    def state(self) -> str | None:
        """Return a digest that is another one when the model gives other values.

        It sees weights and buffers of a Module, and autocast. None where these cannot be read.
        """
        owner = getattr(self._called, "__self__", self._called)
        tensors: tuple[Tensor, ...] = ()
        if isinstance(owner, nn.Module):
            tensors = (*owner.parameters(), *owner.buffers())
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
        """Return all outputs of rows, as the model gives them, or what is called instead.

        Raises:
            ValueError: Gradients are asked of a model that would wait for other processes.
        """
        if self._waiting is not None and torch.is_grad_enabled():
            raise ValueError(
                f"forward_func holds a DistributedDataParallel ({self._waiting}), whose forward "
                "pass with gradients waits for every other process, and these may have other "
                "numbers of images; put its .module in its place"
            )
        called = self._called if instead is None else instead
        return run_forward(called, rows, None, self._args_of(examples))

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
        if not isinstance(outputs, Tensor):
            raise _no_tensor(outputs)
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
        if args is None:
            return None
        return tuple(
            arg[examples(arg.device)]
            if isinstance(arg, Tensor) and arg.dim() > 0 and len(arg) == self.num_examples
            else _passed_on(arg)
            for arg in args
        )


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
        raise ValueError(
            "forward_func must be differentiable, but its output has no gradient with respect to "
            f"{which}: look for .detach(), .data, .item(), torch.no_grad(), NumPy, argmax or "
            "integers on the way to the output, and pass what it does not use in "
            "additional_forward_args"
        )
    return kept


def as_results(output: Any) -> Tensor:
    """Return a forward output as a real tensor whose dim 0 counts results; a number is one."""
    if isinstance(output, numbers.Real):
        return torch.tensor([float(output)], dtype=torch.float64, device="cpu")
    if not isinstance(output, Tensor) or output.dtype.is_complex:
        raise _no_tensor(output)
    return output.reshape(1) if output.dim() == 0 else output


def first_not_finite(values: Tensor) -> int | None:
    """Return the first row of ``values (N, *outputs)`` that holds a NaN or an infinity."""
    finite = values.isfinite().flatten(1).all(1) if values.dim() > 1 else values.isfinite()
    return None if finite.all() else int((~finite).nonzero()[0, 0])


def _that_waits(forward_func: Callable[..., Any]) -> str | None:
    """Name a part of a model that sends buffers to other processes in a forward pass, if any.

    Of a module, a method of one or a partial call of either; a function of somebody's own cannot be
    looked into.
    """
    owner: Any = forward_func
    while isinstance(owner, functools.partial):
        owner = owner.func
    owner = getattr(owner, "__self__", owner)
    if not isinstance(owner, nn.Module):
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


def _no_tensor(output: Any) -> TypeError:
    got = output.dtype if isinstance(output, Tensor) else type(output).__name__
    remedy = ""
    for name in ("out", "logits"):  # of two the second is told
        if _has_key(output, name):
            remedy = f"; wrap it: lambda x: model(x)[{name!r}]"
        elif hasattr(output, name):
            remedy = f"; wrap it: lambda x: model(x).{name}"
    return TypeError(
        f"forward_func must return a tensor of real numbers or a number, got {got}{remedy}"
    )


def _has_key(output: Any, name: str) -> bool:
    return isinstance(output, dict) and name in output


def _passed_on(arg: Any) -> Any:
    """Return an argument as it is, with its graph; autograd cannot use inference tensors."""
    return detached(arg) if isinstance(arg, Tensor) and arg.is_inference() else arg


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
            "its values random; call .eval() first"
        )


def is_random(forward_func: object) -> bool:
    """Say whether a part of a module is in training mode and behaves as in no other."""
    return isinstance(forward_func, nn.Module) and any(map(_is_random, forward_func.modules()))


def _is_random(module: nn.Module) -> bool:
    """Say whether a module, without those in it, behaves in its training mode as in no other."""
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
