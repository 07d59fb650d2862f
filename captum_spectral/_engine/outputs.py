"""The one door for outputs: from whatever a forward function returns to one tensor."""

from __future__ import annotations

import dataclasses
import functools
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_spectral._arguments import is_empty_shell

__all__ = [
    "Output",
    "OutputOf",
    "Session",
    "as_function",
    "class_logits",
    "inner_module",
    "last_function",
    "looks_like",
    "reading",
    "tensor_of",
]

Output = str | int | Callable[[Any], Any]

# Functions of a graph that change no number.
_SHAPING = (
    *("ViewBackward", "UnsafeViewBackward", "ReshapeAliasBackward", "AliasBackward"),
    *("SqueezeBackward", "UnsqueezeBackward", "SelectBackward", "SliceBackward", "IndexBackward"),
    *("ToCopyBackward", "CloneBackward", "TBackward", "TransposeBackward", "PermuteBackward"),
)

# Of the inputs of an ONNX Runtime session; others are given as they are.
_DTYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
}

# What libraries call the output that is meant: transformers' classifiers, torchvision's
# segmentation. The first that is there.
_USUAL = ("logits", "out")


class OutputOf(nn.Module):
    """Makes a model of one of the outputs of a model.

    Tensors, arrays of NumPy, numbers and lists of them are read as they are; of a dict, dataclass
    or ``transformers`` output ``logits`` or else ``out`` is taken, or the only tensor in it; of a
    tuple the first floating tensor. This class is for the rest. Where a class or function here has
    the argument ``output``, it does the same.

    Args:
        forward_func: The model, or any function.
        output: Which of its outputs: the key of a dict, the name of an attribute, the place in a
            tuple or list; or a function of all that ``forward_func`` returns.

    Raises:
        TypeError: ``forward_func`` cannot be called, ``output`` is of another kind.
        KeyError: There is no such output; of a session of ONNX Runtime it is known at once, of
            others when it is called.

    Cost: the rows of ``forward_func``.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralShapley
        >>> from captum_spectral.game import OutputOf
        >>> def detector(x):
        ...     return {"boxes": x.flatten(1)[:, :4], "scores": x.mean((1, 2, 3))}
        >>> x = torch.rand(2, 1, 8, 8)
        >>> OutputOf(detector, "scores")(x).shape
        torch.Size([2])
        >>> bands = SpectralShapley(detector, output="scores").attribute(
        ...     x, num_bands=2, return_input_shape=False)
        >>> bands.shape
        torch.Size([2, 2])
    """

    def __init__(self, forward_func: Callable[..., Any], output: Output) -> None:
        super().__init__()
        forward_func = as_function(forward_func)
        known = isinstance(output, str | int) and not isinstance(output, bool)
        if not known and not callable(output):
            raise TypeError(
                "output must be a key or place of what forward_func returns, or a function of it, "
                f"got {output!r}"
            )
        if known and isinstance(forward_func, Session):
            forward_func.check(output)
        self.forward_func, self.output = forward_func, output
        # A function has no mode: this module then is not in training.
        self.training = isinstance(forward_func, nn.Module) and forward_func.training

    def forward(self, *args: Any) -> Any:
        """Run the model and return the chosen output, as a tensor or a number."""
        returned = self.forward_func(*args)
        if callable(self.output):
            return tensor_of(self.output(returned))
        return tensor_of(_item(returned, self.output))


def reading(forward_func: Callable[..., Any], output: Output | None) -> Callable[..., Any]:
    """Return a model of the chosen output; the model itself without a choice."""
    return forward_func if output is None else OutputOf(forward_func, output)


class Session:
    """Makes a function of tensors of an ONNX Runtime session.

    Inputs go to the session in the order of its inputs, in their dtype and on the CPU; it gives a
    list of arrays. Where its batch is fixed, rows go through it so many at a time, the last ones
    filled up.

    Attributes:
        names: Of the outputs, in their order.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        given = session.get_inputs()
        self._inputs = [(one.name, _DTYPES.get(one.type)) for one in given]
        self.names = [one.name for one in session.get_outputs()]
        # Sizes that may vary are names, or None.
        size = given[0].shape[0] if given and given[0].shape else None
        self._batch = size if isinstance(size, int) and size > 0 else None

    def __call__(self, *args: Tensor) -> list[Any]:
        """Run the session."""
        if len(args) != len(self._inputs):
            raise ValueError(
                f"forward_func is a session with the inputs {[name for name, _ in self._inputs]}, "
                f"got {len(args)}; give the others as additional_forward_args"
            )
        feed = {
            name: x.detach().to("cpu", dtype).numpy()
            for (name, dtype), x in zip(self._inputs, args, strict=True)
        }
        rows = len(args[0]) if args and args[0].dim() else 0
        if self._batch is None or rows in (0, self._batch):
            return NamedOutputs(self.session.run(None, feed), self.names)
        batches = [self._run(feed, rows, start) for start in range(0, rows, self._batch)]
        together = zip(*batches, strict=True)
        return NamedOutputs([np.concatenate(parts)[:rows] for parts in together], self.names)

    def check(self, output: Any) -> None:
        """Raise unless there is an output of that name, or at that place.

        Raises:
            KeyError: There is none.
        """
        _item(NamedOutputs(self.names, self.names), output)

    def _run(self, feed: dict[str, np.ndarray], rows: int, start: int) -> list[Any]:
        """Run the session on as many rows as it takes, from one on; the last is repeated."""
        assert self._batch is not None
        places = np.minimum(np.arange(start, start + self._batch), rows - 1)
        parts = {name: x[places] if x.ndim and len(x) == rows else x for name, x in feed.items()}
        outputs = list(self.session.run(None, parts))
        for name, output in zip(self.names, outputs, strict=True):
            if np.ndim(output) == 0 or len(output) != self._batch:
                raise ValueError(
                    f"forward_func is a session for batches of {self._batch}, and its output "
                    f"{name!r} of shape {np.shape(output)} has no entry per row, so that {rows} "
                    "rows cannot go through it in parts; export it with a dynamic batch"
                )
        return outputs


class NamedOutputs(list[Any]):
    """The outputs of a session, by place and by name."""

    def __init__(self, outputs: Sequence[Any], names: Sequence[str]) -> None:
        super().__init__(outputs)
        self.names = list(names)


def as_function(forward_func: Any) -> Callable[..., Any]:
    """Return a function of tensors: a session of ONNX Runtime becomes one, all else stays.

    Raises:
        TypeError: It can neither be called nor be made a function.
    """
    if isinstance(forward_func, type) and issubclass(forward_func, nn.Module):
        name = forward_func.__name__
        raise TypeError(
            f"forward_func must be a model, got the class {name}; make one: {name}(...)"
        )
    if callable(forward_func):
        called: Callable[..., Any] = forward_func
        return called
    if hasattr(forward_func, "run") and hasattr(forward_func, "get_inputs"):
        return Session(forward_func)
    remedy = ""
    if hasattr(forward_func, "predict_proba"):
        remedy = "; give a function of it: lambda x: model.predict_proba(x.flatten(1).numpy())"
    raise TypeError(f"forward_func must be callable, got {type(forward_func).__name__}{remedy}")


def tensor_of(returned: Any) -> Any:
    """Return what a forward function returned as a tensor of real numbers, or one Python number.

    Tensors and numbers come back as they are, so a model that returns them pays nothing here.

    Raises:
        TypeError: There are no numbers in it, or several that could be meant.
    """
    if isinstance(returned, Tensor):
        if returned.dtype.is_complex or returned.is_nested or is_empty_shell(returned):
            raise _unreadable(returned)
        return returned if returned.layout is torch.strided else returned.to_dense()
    if isinstance(returned, numbers.Real):
        return returned
    if hasattr(returned, "__array__"):
        return _of_array(np.asarray(returned), returned)
    named = _named(returned)
    if named is not None:
        return _of_named(named, returned)
    if isinstance(returned, tuple | list):
        return _of_sequence(returned)
    raise _unreadable(returned)


def class_logits(returned: Any) -> Tensor:
    r"""Return the logits of classes ``(R, classes)`` with at least two, as far as they are such.

    A single logit ``(R, 1)`` :math:`z` is that of class 1 of two: :math:`(-z/2, z/2)`, whose
    softmax is the sigmoid of :math:`z`. All else is what :func:`tensor_of` gives.
    """
    outputs: Tensor = tensor_of(returned)
    one = isinstance(outputs, Tensor) and outputs.dim() == 2 and outputs.shape[1] == 1
    if one and outputs.dtype.is_floating_point:
        return torch.cat([-outputs, outputs], 1) / 2
    return outputs


def looks_like(outputs: Tensor) -> str | None:
    """Say what outputs ``(R, classes)`` that are no logits look like; None of logits.

    Returns:
        ``"probabilities"``: no output is negative, and the rows sum to 1. ``"unit"``: all outputs
        lie from 0 to 1, as those of a sigmoid do, and logits do by chance.
    """
    rows = outputs.detach()
    rows = rows[rows.isfinite().all(1)]  # of a picture that breaks the model nothing
    if not len(rows) or not bool((rows >= 0).all()):
        return None
    # A row alone may sum to about 1 by chance; of half precision it does so roughly.
    rounding = 1e-2 if len(rows) > 1 else max(1e-4, 2 * torch.finfo(rows.dtype).eps)
    if bool(((rows.to(torch.float32).sum(1) - 1).abs() < rounding).all()):
        return "probabilities"
    return "unit" if bool((rows <= 1).all()) else None


def last_function(outputs: Tensor) -> str | None:
    """Name the last function of a graph that does more than to shape; None without a graph."""
    node = outputs.grad_fn
    while node is not None and node.name().startswith(_SHAPING) and node.next_functions:
        node = node.next_functions[0][0]
    return None if node is None else node.name()


def inner_module(forward_func: Any) -> nn.Module | None:
    """Return the module that a model is, or is a method or a partial call of; else None.

    A function of somebody's own cannot be looked into.
    """
    owner = forward_func
    while isinstance(owner, functools.partial):
        owner = owner.func
    owner = getattr(owner, "__self__", owner)
    return owner if isinstance(owner, nn.Module) else None


def _named(returned: Any) -> Mapping[Any, Any] | None:
    """Return a dict, a dataclass, a named tuple or an object with a usual output by names."""
    if isinstance(returned, Mapping):
        return returned
    if isinstance(returned, NamedOutputs):
        return _usual_of(returned)
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        fields = dataclasses.fields(returned)
        return {field.name: getattr(returned, field.name) for field in fields}
    # Of other objects, a named tuple among them, the names of outputs are not known.
    usual = {name: getattr(returned, name, None) for name in _USUAL}
    found = {name: value for name, value in usual.items() if value is not None}
    return found or None


def _usual_of(returned: NamedOutputs) -> Mapping[Any, Any] | None:
    """Return all outputs of a session by name where one of them has a usual name."""
    by_name = dict(zip(returned.names, returned, strict=True))
    return by_name if any(name in by_name for name in _USUAL) else None


def _of_named(named: Mapping[Any, Any], returned: Any) -> Any:
    for name in _USUAL:
        if named.get(name) is not None:
            return tensor_of(named[name])
    arrays = [value for value in named.values() if _is_array(value)]
    if len(arrays) == 1:
        return tensor_of(arrays[0])
    raise _unreadable(returned)


def _of_sequence(returned: Sequence[Any]) -> Any:
    arrays = [value for value in returned if _is_array(value)]
    if not arrays:
        if returned and _named(returned[0]) is not None and isinstance(returned, tuple):
            return tensor_of(returned[0])
        return _of_numbers(returned)
    if all(_rank(value) == 0 for value in arrays) and len(arrays) == len(returned):
        return torch.stack([torch.as_tensor(tensor_of(value)) for value in arrays])
    floating = [value for value in arrays if _is_floating(value)]
    chosen = (floating or arrays)[0]
    if isinstance(returned, list) and len(returned) > 1 and _rank(chosen) == 1:
        raise TypeError(
            f"forward_func returned a list of {len(returned)}, the first of shape "
            f"{tuple(chosen.shape)}: the rows of one output, or several outputs? Return "
            "numpy.stack(...) or torch.stack(...) for rows, or say which output is meant with "
            "output=0"
        )
    if not floating and len(returned) > 1:  # labels beside probabilities that cannot be read
        raise _unreadable(returned)
    return tensor_of(chosen)


def _of_numbers(returned: Sequence[Any]) -> Tensor:
    """Make a tensor of numbers, or of lists of them; float64, as those of Python are."""
    try:
        array = np.asarray(returned)
    except (ValueError, TypeError):  # ragged
        array = np.asarray(None)
    if array.size == 0:
        raise _unreadable(returned)
    return _of_array(array, returned)


def _of_array(array: np.ndarray, returned: Any) -> Tensor:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "fiub":
        raise _unreadable(returned)
    if kind == "u" or not array.dtype.isnative or size > 8:  # dtypes that PyTorch has not
        array = array.astype({"f": np.float64 if size > 4 else np.float32}.get(kind, np.int64))
    strided = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if strided else array.copy())


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        hasattr(value, "__array__") and np.asarray(value).dtype.kind in "fiub"
    )


def _is_floating(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dtype.is_floating_point
    return np.asarray(value).dtype.kind == "f"


def _rank(value: Any) -> int:
    return value.dim() if isinstance(value, Tensor) else np.ndim(value)


def _item(returned: Any, output: Any) -> Any:
    """Return the output of a name or place."""
    place = isinstance(output, int)
    try:
        if isinstance(returned, NamedOutputs) and isinstance(output, str):
            return returned[returned.names.index(output)]
        if isinstance(returned, Mapping) or (place and not isinstance(returned, Tensor)):
            return returned[output]
        if isinstance(output, str):
            return getattr(returned, output)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError):
        pass
    raise NoSuchOutputError(
        f"output={output!r} is not in what forward_func returned, {_describe(returned)}"
    )


class NoSuchOutputError(KeyError):
    """There is no output of the name or place that was asked for."""

    def __str__(self) -> str:
        """Return the message as it is: a KeyError puts it in quotes."""
        return str(self.args[0])


def _unreadable(returned: Any) -> TypeError:
    first = next(_names(returned), None)
    remedy = ""
    if first is not None:
        remedy = (
            f"; say which is meant with output={first!r}, or with a function of it, or wrap the "
            f"model: OutputOf(model, {first!r})"
        )
    elif not isinstance(returned, str | bytes | Tensor | type(None)):
        remedy = "; make one of it with output=, a function of what forward_func returns"
    return TypeError(
        f"forward_func must return a tensor of real numbers or a number, got {_describe(returned)}"
        f"{remedy}"
    )


def _names(returned: Any) -> Iterator[Any]:
    """Yield the names, or the places, of the outputs that could be meant."""
    named = _named(returned)
    if named is not None:
        yield from (name for name, value in named.items() if _is_array(value))
    elif isinstance(returned, tuple | list):
        yield from (i for i, value in enumerate(returned) if _is_array(value))


def _describe(returned: Any) -> str:
    """Name what came: the dtype of a tensor, the keys of a dict, the kinds in a list."""
    name = type(returned).__name__
    if isinstance(returned, Tensor):
        shell = "on the meta device, of " if is_empty_shell(returned) else ""
        return f"{'nested, of ' if returned.is_nested else shell}{returned.dtype}"
    if hasattr(returned, "__array__"):
        return f"an array of {np.asarray(returned).dtype}"
    if isinstance(returned, NamedOutputs):
        return f"the outputs {', '.join(map(repr, returned.names))} of a session"
    named = _named(returned)
    if named is not None:
        return f"{name} with {', '.join(map(repr, named)) or 'nothing in it'}"
    if isinstance(returned, tuple | list):
        kinds = sorted({type(value).__name__ for value in returned})
        return f"a {name} of {len(returned)}" + (f" ({', '.join(kinds)})" if kinds else "")
    return name
