"""Arguments in Captum's forms, checked before any forward pass and picked by example.

Captum lets inputs, baselines, targets and additional arguments come in several shapes. Here each
takes one form, or an error that names the argument, what it was and what would work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_spectral._captum import (
    BaselineType,
    TargetType,
    format_additional_forward_args,
    format_baseline,
)

__all__ = [
    "RowExamples",
    "check_count",
    "detached",
    "format_baselines",
    "format_inputs",
    "format_spectral_dims",
    "format_target",
    "take_args",
    "take_target",
]

# Tells the example of each row of a batch, on the device that asks.
RowExamples = Callable[[torch.device], Tensor]


def format_inputs(inputs: Tensor | tuple[Tensor, ...], name: str = "inputs") -> tuple[Tensor, ...]:
    """A tuple of detached, finite, real floating tensors with the same number of examples."""
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    if not tensors:
        raise ValueError(f"{name} must hold at least one tensor, got an empty tuple")
    for i, x in enumerate(tensors):
        which = f"{name}[{i}]" if isinstance(inputs, tuple) else name
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{which} must be a torch.Tensor, or {name} a tuple of them, got {type(x).__name__}"
            )
        if not x.dtype.is_floating_point:
            raise TypeError(
                f"{which} must be a real floating tensor, got dtype {x.dtype}; "
                f"{'take its real part' if x.dtype.is_complex else 'use .float()'} first"
            )
        if x.dim() < 2 or x.numel() == 0:
            raise ValueError(
                f"{which} must be (B, ..., H, W) or (B, ..., T) with at least one example, got "
                f"shape {tuple(x.shape)}"
            )
        if len(x) != len(tensors[0]):
            raise ValueError(
                f"{which} has {len(x)} examples and {name}[0] has {len(tensors[0])}; dim 0 must be "
                "the same in all"
            )
        finite = torch.isfinite(x)
        if not finite.all():
            example = int((~finite).nonzero()[0, 0])
            raise ValueError(
                f"{which} must be finite: example {example} holds "
                f"{int((~finite[example]).sum())} NaN or infinite values"
            )
    return tuple(detached(x) for x in tensors)


def detached(x: Tensor) -> Tensor:
    """The tensor without its graph; a copy of one that autograd would refuse, of inference mode."""
    copied = x.is_inference() and not torch.is_inference_mode_enabled()
    return x.clone() if copied else x.detach()


def format_spectral_dims(
    spectral_dims: int | Sequence[int], inputs: tuple[Tensor, ...]
) -> tuple[tuple[int, ...], ...]:
    """The transformed dims of each input, counted from 0, in the order given."""
    dims = (spectral_dims,) if isinstance(spectral_dims, int) else tuple(spectral_dims)
    if not dims or not all(isinstance(d, int) and not isinstance(d, bool) for d in dims):
        raise TypeError(
            f"spectral_dims must be one or more integers such as (-2, -1), got {spectral_dims!r}"
        )
    formatted = []
    for x in inputs:
        for d in dims:
            if not -x.dim() <= d < x.dim():
                raise ValueError(
                    f"spectral_dims={dims} is out of range for an input of shape {tuple(x.shape)}: "
                    f"it has no dim {d}"
                )
        counted = tuple(d % x.dim() for d in dims)
        if 0 in counted:
            raise ValueError(
                f"spectral_dims={dims} touches dim 0 of an input of shape {tuple(x.shape)}, which "
                "counts the examples; use (-1,) for (B, T) signals"
            )
        if len(set(counted)) != len(counted):
            raise ValueError(f"spectral_dims={dims} names a dim twice")
        formatted.append(counted)
    return tuple(formatted)


def format_baselines(baselines: BaselineType, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One tensor per input, ``(B or 1, ...)``, in the dtype and on the device of the input.

    ``format_baseline`` of Captum wants a tuple for a tuple of inputs; so does this, with an error
    that says so.
    """
    given = baselines if isinstance(baselines, tuple) else (baselines,)
    if baselines is not None and len(given) != len(inputs):
        raise ValueError(
            f"baselines must have one entry per input: got {len(given)} for {len(inputs)} inputs"
        )
    for i, baseline in enumerate(given if baselines is not None else ()):
        which = f"baselines[{i}]" if isinstance(baselines, tuple) else "baselines"
        x = inputs[i]
        if isinstance(baseline, Tensor):
            if baseline.dtype.is_complex:
                raise TypeError(f"{which} must be real, got dtype {baseline.dtype}")
            if tuple(baseline.shape) not in (tuple(x.shape), (1, *x.shape[1:])):
                raise ValueError(
                    f"{which} of shape {tuple(baseline.shape)} must have the shape of its input, "
                    f"{tuple(x.shape)}, or {(1, *x.shape[1:])}"
                )
        elif isinstance(baseline, bool) or not isinstance(baseline, (int, float)):
            raise TypeError(
                f"{which} must be None, a number or a tensor, got {type(baseline).__name__}"
            )
    formatted = []
    for i, (baseline, x) in enumerate(zip(format_baseline(baselines, inputs), inputs, strict=True)):
        tensor = detached(torch.as_tensor(baseline, dtype=x.dtype, device=x.device))
        if not torch.isfinite(tensor).all():
            raise ValueError(f"baselines must be finite, baseline {i} holds NaN or infinite values")
        formatted.append(tensor.expand(1, *x.shape[1:]) if tensor.dim() == 0 else tensor)
    return tuple(formatted)


def check_count(name: str, value: object, at_least: int = 1) -> None:
    """A whole number that is large enough."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer or None, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")


def format_target(target: TargetType, num_examples: int) -> tuple[TargetType, int | None]:
    """The target as rows can pick from it without waiting for a device, and its largest class.

    Integers per example become one tensor, a single one becomes an int. Tuples stay as they are and
    have no largest class. Captum checks the rest.
    """
    per_example = isinstance(target, list) or (isinstance(target, Tensor) and target.numel() != 1)
    if per_example and len(target) != num_examples:
        raise ValueError(
            f"target has {len(target)} entries for {num_examples} examples; "
            "give one for all, or one per example"
        )
    if isinstance(target, list) and all(isinstance(t, int) for t in target):
        target = torch.tensor(target, device="cpu")
    if isinstance(target, Tensor) and not target.is_floating_point():
        if int(target.min()) < 0:
            raise ValueError(f"target must count classes from 0, got {int(target.min())}")
        if target.numel() > 1:
            return target.long(), int(target.max())
        target = int(target)
    return target, target if isinstance(target, int) else None


def take_target(target: TargetType, examples: RowExamples) -> TargetType:
    """The targets of a batch whose row ``r`` belongs to example ``examples(device)[r]``."""
    if isinstance(target, Tensor):
        return target[examples(target.device)]
    if isinstance(target, list):
        return [target[e] for e in examples(torch.device("cpu")).tolist()]
    return target


def take_args(additional_forward_args: Any, examples: RowExamples, num_examples: int) -> Any:
    """The additional arguments of a batch whose rows belong to examples.

    Tensors with one entry per example follow their example; everything else is passed on as it is.
    """
    args = format_additional_forward_args(additional_forward_args)
    if args is None:
        return None
    return tuple(
        arg[examples(arg.device)]
        if isinstance(arg, Tensor) and arg.dim() > 0 and len(arg) == num_examples
        else _passed_on(arg)
        for arg in args
    )


def _passed_on(arg: Any) -> Any:
    """As it is, with its graph, but for tensors of inference mode."""
    return detached(arg) if isinstance(arg, Tensor) and arg.is_inference() else arg
