"""Arguments in Captum's forms, checked before any forward pass and picked by example.

Captum lets inputs, baselines, targets and additional arguments come in several shapes. Here each
takes one form, or an error that names the argument, what it was and what would work.
"""

from __future__ import annotations

import contextlib
import numbers
import operator
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import captum
import numpy as np
import torch
from torch import Tensor, nn

from captum_spectral._captum import BaselineType, TargetType, format_baseline

__all__ = [
    "check_coalitions",
    "check_count",
    "check_counts",
    "check_highest",
    "check_pixel_range",
    "detached",
    "format_any_labels",
    "format_baselines",
    "format_examples",
    "format_inputs",
    "format_labels",
    "format_spectral_dims",
    "format_target",
    "has_float64",
    "is_empty_shell",
    "warn",
]


def format_inputs(inputs: Tensor | tuple[Tensor, ...], name: str = "inputs") -> tuple[Tensor, ...]:
    """Check inputs and return them as a tuple of detached tensors.

    They must be real, floating, finite, and as many examples in each.
    """
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    if not tensors:
        raise ValueError(f"{name} must hold at least one tensor, got an empty tuple")
    for i, x in enumerate(tensors):
        which = f"{name}[{i}]" if isinstance(inputs, tuple) else name
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{which} must be a torch.Tensor, or {name} a tuple of them, got {type(x).__name__}"
            )
        if x.layout is not torch.strided:
            raise TypeError(f"{which} must be dense, got layout {x.layout}; use .to_dense() first")
        if not x.dtype.is_floating_point:
            raise TypeError(
                f"{which} must be a real floating tensor, got dtype {x.dtype}; "
                f"{_remedy_of(x.dtype)} first"
            )
        if x.dtype.itemsize < 2:
            raise TypeError(
                f"{which} of dtype {x.dtype} cannot be computed with; use .float() first"
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
        if is_empty_shell(x):
            raise ValueError(f"{which} must hold numbers, and is on the meta device, without any")
        finite = torch.isfinite(x)
        if not finite.all():
            example = int((~finite).nonzero()[0, 0])
            raise ValueError(
                f"{which} must be finite: example {example} holds "
                f"{int((~finite[example]).sum())} NaN or infinite values"
            )
    return tuple(detached(x) for x in tensors)


def is_empty_shell(x: Tensor) -> bool:
    """Say whether a tensor has a shape and no numbers; subclasses may keep theirs elsewhere."""
    return x.is_meta and type(x) in (Tensor, nn.Parameter)


def _remedy_of(dtype: torch.dtype) -> str:
    """Say how a tensor that is not real and floating becomes what the model expects."""
    if dtype.is_complex:
        return "take its real part"
    if dtype is torch.uint8:
        return "use .float() / 255, or the scale that the model was trained on,"
    return "use .float(), in the scale that the model was trained on,"


def detached(x: Tensor) -> Tensor:
    """Detach `x`; clone it if it is an inference tensor, which autograd cannot use."""
    copied = x.is_inference() and not torch.is_inference_mode_enabled()
    return x.clone() if copied else x.detach()


def has_float64(device: torch.device) -> bool:
    """Say whether a device computes in float64, which MPS does not."""
    return device.type != "mps"


def format_spectral_dims(
    spectral_dims: int | Sequence[int],
    inputs: tuple[Tensor, ...],
    name: str = "an input",
    remedy: str = "use (-1,) for (B, T) signals",
) -> tuple[tuple[int, ...], ...]:
    """Count the transformed dims of each input from 0, in the order given.

    Errors call an input by ``name``, and offer the ``remedy`` where dims do not fit it.
    """
    single = isinstance(spectral_dims, numbers.Integral)
    given: Any = (spectral_dims,) if single else tuple(spectral_dims)  # type: ignore[arg-type]
    if not given or not all(map(_is_integer, given)):
        raise TypeError(
            f"spectral_dims must be one or more integers such as (-2, -1), got {spectral_dims!r}"
        )
    dims = tuple(int(d) for d in given)
    formatted = []
    for x in inputs:
        for d in dims:
            if not -x.dim() <= d < x.dim():
                raise ValueError(
                    f"spectral_dims={dims} is out of range for {name} of shape {tuple(x.shape)}: "
                    f"it has no dim {d}; {remedy}"
                )
        counted = tuple(d % x.dim() for d in dims)
        if 0 in counted:
            raise ValueError(
                f"spectral_dims={dims} touches dim 0 of {name} of shape {tuple(x.shape)}, which "
                f"counts the examples; {remedy}"
            )
        if len(set(counted)) != len(counted):
            raise ValueError(f"spectral_dims={dims} names a dim twice")
        formatted.append(counted)
    return tuple(formatted)


def format_baselines(baselines: BaselineType, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return one tensor per input, ``(B or 1, ...)``, in the dtype and on the device of the input.

    A tuple of inputs needs a tuple of baselines, as in Captum; None in it is zero, too.
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
            shapes = (), tuple(x.shape), (1, *x.shape[1:])
            if tuple(baseline.shape) not in shapes:
                raise ValueError(
                    f"{which} of shape {tuple(baseline.shape)} must have the shape of its input, "
                    f"{tuple(x.shape)}, or {(1, *x.shape[1:])}"
                )
        elif baseline is not None and not _is_number(baseline):
            raise TypeError(
                f"{which} must be None, a number or a tensor, got {type(baseline).__name__}"
            )
    plain = None if baselines is None else tuple(_plain_number(baseline) for baseline in given)
    formatted = []
    for i, (baseline, x) in enumerate(zip(format_baseline(plain, inputs), inputs, strict=True)):
        tensor = detached(torch.as_tensor(baseline, dtype=x.dtype, device=x.device))
        if not torch.isfinite(tensor).all():
            raise ValueError(f"baselines must be finite, baseline {i} holds NaN or infinite values")
        formatted.append(tensor.expand(1, *x.shape[1:]) if tensor.dim() == 0 else tensor)
    return tuple(formatted)


def _is_number(x: object) -> bool:
    """Say whether `x` is a real number of Python or NumPy; truth values are none."""
    return isinstance(x, numbers.Real | np.number) and not isinstance(x, bool | np.complexfloating)


def _plain_number(x: Any) -> Any:
    """Return what Captum knows: numbers of NumPy as Python's, None as 0, all else as it is."""
    if x is None:
        return 0
    return x.item() if isinstance(x, np.number) else x


def check_count(name: str, value: object, at_least: int = 1) -> int:
    """Check that a value is a whole number and large enough, and return it as an ``int``.

    Integers of NumPy and tensors of one integer count as such.
    """
    try:
        if isinstance(value, bool) or getattr(value, "dtype", None) in (bool, torch.bool):
            raise TypeError
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer or None, got {value!r}") from None
    if count < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {count}")
    return count


def check_counts(settings: object, at_least: Mapping[str, int], optional: Iterable[str]) -> None:
    """Check attributes that are whole numbers; ``optional`` ones, at least 1, may be None."""
    for name, least in at_least.items():
        check_count(name, getattr(settings, name), least)
    for name in optional:
        if getattr(settings, name) is not None:
            check_count(name, getattr(settings, name))


def format_target(target: Any, num_examples: int) -> tuple[TargetType, int | None]:
    """Bring a target into the form that rows pick from, and find its largest class.

    Integers per example become one int64 tensor, a single one becomes an int: picking from these
    does not wait for a device. Tuples stay as they are and have no largest class; Captum checks
    that they fit the output.
    """
    if isinstance(target, list):
        target = _format_list([_plain_integer(t) for t in target], num_examples)
    if isinstance(target, np.ndarray):
        target = torch.from_numpy(target)
    if isinstance(target, Tensor):
        if target.dtype.is_floating_point or target.dtype.is_complex or target.dtype is torch.bool:
            raise _no_class(f"{target.dtype} {tuple(target.shape)}")
        target = detached(target).long()  # unsigned ones have no minimum
        if target.numel() > 1 and tuple(target.shape) != (num_examples,):
            remedy = _remedy_of_shape("target", target, num_examples)
            raise ValueError(
                f"target has {len(target)} entries for {num_examples} examples; give one for all, "
                f"or one per example, ({num_examples},); got shape {tuple(target.shape)}{remedy}"
            )
        if int(target.min()) < 0:
            raise ValueError(f"target must count classes from 0, got {int(target.min())}")
        return (target, int(target.max())) if target.numel() > 1 else (int(target), int(target))
    if _is_integer(target):
        if target < 0:
            raise ValueError(f"target must count classes from 0, got {target}")
        return int(target), int(target)
    if isinstance(target, list):
        return target, None  # of tuples
    if target is not None and not _is_tuple_of_integers(target):
        in_tuple = "a tuple that holds " if isinstance(target, tuple) else ""
        raise _no_class(f"{in_tuple}{target!r}")
    return target, None


def _remedy_of_shape(name: str, classes: Tensor, num_examples: int) -> str:
    """Say how classes of two dims become one per example."""
    if classes.dim() != 2 or len(classes) != num_examples:
        return ""
    how = "squeeze" if classes.shape[1] == 1 else "argmax"
    return f"; use {name}.{how}(1){'' if how == 'squeeze' else ' of one-hot ones'}"


def _format_list(target: list[Any], num_examples: int) -> Tensor | list[Any]:
    """Return integers as a tensor, tuples as they are; one for each example."""
    if len(target) != num_examples:
        raise ValueError(
            f"target has {len(target)} entries for {num_examples} examples; "
            "give one for all, or one per example"
        )
    if all(map(_is_integer, target)):
        return torch.tensor([int(t) for t in target], device="cpu")
    for t in target:
        if not _is_tuple_of_integers(t):
            raise _no_class(f"a list that holds {t!r}")
    return target


def _plain_integer(x: Any) -> Any:
    """Return a tensor of one integer, as data sets give labels, as a number; all else as it is."""
    kind = getattr(x, "dtype", None) if isinstance(x, Tensor) and x.dim() == 0 else None
    whole = kind is not None and not (kind.is_floating_point or kind.is_complex)
    return int(x) if whole and kind is not torch.bool else x


def _is_tuple_of_integers(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_integer, value))


def _is_integer(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _no_class(got: str) -> TypeError:
    return TypeError(
        "target must be an integer, a 1-D integer tensor or a list with one per example, or tuples "
        f"of integers for outputs with more dims, got {got}"
    )


def check_coalitions(coalitions: object, num_examples: int, num_features: int) -> None:
    """Check that coalitions are boolean, ``(K, M)`` or ``(B, K, M)``."""
    if not isinstance(coalitions, Tensor) or coalitions.dtype is not torch.bool:
        raise TypeError(
            "coalitions must be a boolean tensor, got "
            f"{getattr(coalitions, 'dtype', type(coalitions).__name__)}; call the game itself "
            "for real weights: game(weights, examples)"
        )
    shape = tuple(coalitions.shape)
    own = len(shape) == 3 and shape[0] == num_examples
    if (len(shape) != 2 and not own) or shape[-1] != num_features or shape[-2] == 0:
        raise ValueError(
            f"coalitions must be (K, {num_features}) or ({num_examples}, K, {num_features}), got "
            f"shape {shape}"
        )


def format_examples(
    examples: object, num_rows: int, num_examples: int, apart: tuple[Any, ...] = ()
) -> Tensor:
    """Return the example of each row of weights, ``(R,)`` int64 on the CPU."""
    if apart:
        raise TypeError(
            f"examples must be one tensor, got {1 + len(apart)} arguments: Captum's DeepLiftShap "
            "takes a tensor apart that is not in a tuple; give it "
            "additional_forward_args=(torch.arange(B),)"
        )
    if examples is None:
        if num_rows != num_examples:
            raise ValueError(
                f"got {num_rows} rows of weights for {num_examples} examples and no "
                "indices, so which example a row belongs to is unknown; pass "
                "examples (R,), as in .attribute(torch.ones(B, M), ..., "
                "additional_forward_args=torch.arange(B)), which Captum expands with the rows"
            )
        return torch.arange(num_examples, device="cpu")
    if not isinstance(examples, Tensor) or examples.dtype.is_floating_point:
        raise TypeError(
            "examples must be a tensor of integers such as torch.arange(B), got "
            f"{getattr(examples, 'dtype', type(examples).__name__)}"
        )
    if examples.dim() == 0:
        examples = examples.expand(num_rows)
    if tuple(examples.shape) != (num_rows,):
        raise ValueError(
            f"examples must have one index per row of weights, ({num_rows},), got shape "
            f"{tuple(examples.shape)}"
        )
    if int(examples.min()) < 0 or int(examples.max()) >= num_examples:
        raise ValueError(
            f"examples must lie in 0..{num_examples - 1}, got "
            f"{int(examples.min())}..{int(examples.max())}"
        )
    return examples.long().cpu()


def format_labels(given: Any, num_images: int, num_classes: int | None = None) -> Tensor:
    """Return labels, one class per image, as ``(B,)`` int64 on the CPU."""
    try:
        labels: Tensor = torch.as_tensor(given, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"labels must be integers, one class per image, got {type(given).__name__} ({error})"
        ) from error
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype is torch.bool:
        raise TypeError(
            f"labels must be integers, one class per image, got dtype {labels.dtype}; use .long(), "
            "or where others are meant a value=function of (outputs, labels)"
        )
    if tuple(labels.shape) != (num_images,):
        raise ValueError(
            f"labels must be ({num_images},), one class per image, got shape {tuple(labels.shape)}"
            f"{_remedy_of_shape('labels', labels, num_images)}"
        )
    labels = labels.long()  # unsigned ones have no minimum
    if int(labels.min()) < 0:
        raise ValueError(f"labels must count classes from 0, got {int(labels.min())}")
    check_highest(labels, num_classes)
    return labels


def format_any_labels(given: Any, num_images: int) -> Tensor:
    """Return labels of any kind, such as masks, ``(B, ...)``; classes as :func:`format_labels`."""
    try:
        labels: Tensor = torch.as_tensor(given).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            "labels must be a tensor with one entry per image, or what can be made one, got "
            f"{type(given).__name__}"
        ) from error
    if labels.dim() == 0 or len(labels) != num_images:
        raise ValueError(
            f"labels must have one entry for each of {num_images} images, got shape "
            f"{tuple(labels.shape)}"
        )
    if labels.dim() > 1 or labels.dtype.is_floating_point or labels.dtype is torch.bool:
        return labels
    return labels.long().cpu()


def check_highest(labels: Tensor, num_classes: int | None) -> None:
    """Raise if a label is no class of so many."""
    if num_classes is not None and int(labels.max()) >= num_classes:
        raise ValueError(f"labels reach {int(labels.max())}, but num_classes={num_classes}")


def check_pixel_range(images: Tensor) -> None:
    """Raise if images are not in pixels from 0 to 1."""
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # NaN, too
        raise ValueError(
            f"images must be pixels from 0 to 1, got {low:.4g} to {high:.4g}; divide by 255, or "
            "put the normalisation into the model"
        )


def warn(message: str) -> None:
    """Warn at the user's own line: the first frame outside of this package and of its callers'.

    Captum, PyTorch and torchmetrics call this package and are called by it, so how many frames lie
    between the warning and the user differs from call to call.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USER):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level + 1)


# Folders whose frames are passed over. Decorators and context managers put contextlib in between.
_NOT_THE_USER = (
    *(
        os.path.join(os.path.dirname(path), "")
        for path in (os.path.abspath(__file__), captum.__file__, torch.__file__)
    ),
    os.path.join(os.path.dirname(os.path.dirname(torch.__file__)), "torchmetrics", ""),
    contextlib.__file__,
)
