"""Rows that are not made yet, on which functions that are affine are noted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_spectral._engine.rows import Chunk, Walk
from captum_spectral._engine.signals import Layout

__all__ = ["Call", "Stage", "Unmade"]


class Stage(Protocol):
    """A place behind affine layers, where rows may be needed.

    Attributes:
        layout: Of the signals there.
        dtype: Of the signals there.
        device: Of the signals there.
        call: What led there, None for the input.
        lock: Held while something is noted: a model may have threads of its own.
    """

    layout: Layout
    dtype: torch.dtype
    device: torch.device
    call: Call | None
    lock: threading.RLock

    def follow(self, call: Call) -> Stage | None:
        """Return the stage behind a call, if it can be noted."""

    def made(self, chunk: Chunk, walk: Walk) -> Tensor:
        """Make the rows of a chunk."""


class Unmade(Tensor):
    """Rows that are made when something needs their values."""

    _stage: Stage
    _at: tuple[Chunk, Walk]
    _made: Tensor | None
    _source: Unmade | None  # the rows that these are a view of, by the call of the stage
    _seen: bool  # whether there are views of them

    @staticmethod
    def of(stage: Stage, at: tuple[Chunk, Walk], base: Unmade | None = None) -> Unmade:
        """Promise rows at a stage."""
        size = at[0].rows, stage.layout.size
        like = stage.layout.unflatten(torch.empty(size, dtype=stage.dtype, device="meta"))
        rows: Unmade = Tensor._make_wrapper_subclass(
            Unmade,
            like.shape,
            strides=like.stride(),
            dtype=like.dtype,
            device=stage.device,
        )
        rows._stage, rows._at, rows._made, rows._source, rows._seen = stage, at, None, base, False
        return rows

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Note what is affine; make the rows for all else that needs more than their shape."""
        kwargs = kwargs or {}
        if func in _LOOKS:
            return super().__torch_function__(func, types, args, kwargs)
        first = args[0] if args else None
        if isinstance(first, Unmade) and not torch.is_grad_enabled():
            with first._stage.lock:
                noted = first._noted(func, args[1:], kwargs)
            if noted is not None:
                return noted
        return func(*_made(args), **_made(kwargs))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Make the rows for what was not called from Python, such as scripted functions."""
        return func(*_made(args), **_made(kwargs or {}))

    def _noted(self, func: Any, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Unmade | None:
        rule = _RULES.get(func)
        if rule is None or self._is_made() or _holds_unmade((rest, kwargs)):
            return None
        found = rule(self, *rest, **kwargs) if rule is not _shaped else _shaped(self, rest)
        if found is None:
            return None
        if isinstance(found, tuple):
            rest = found
        call = Call(_IN_PLACE.get(func, func), rest, kwargs)
        in_place = func in _IN_PLACE
        if in_place and (self._seen or self._source is not None):
            return None
        stage = self._stage.follow(call)
        if stage is None:
            return None
        if in_place:
            if stage.layout.shape != self._stage.layout.shape:
                return None
            self._stage = stage
            return self
        if func not in _VIEWS:
            return Unmade.of(stage, self._at)
        self._seen = True
        return Unmade.of(stage, self._at, base=self)

    def _is_made(self) -> bool:
        return self._made is not None or (self._source is not None and self._source._is_made())

    def _rows(self) -> Tensor:
        """Make the rows, or return them as they were made, and perhaps changed in place."""
        if self._made is None:
            if self._source is not None:
                call = self._stage.call
                assert call is not None
                self._made = call(self._source._rows())
            else:
                self._made = self._stage.made(*self._at)
        return self._made


class Call:
    """A call of a function with rows as its first argument."""

    def __init__(self, func: Any, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._func, self._rest, self._kwargs = func, rest, kwargs
        self._versions = _versions((rest, kwargs))

    def __call__(self, rows: Tensor) -> Any:
        rest = self._rest
        if rest and isinstance(rest[0], tuple) and rest[0][:1] == (_ROWS,):
            rest = ((len(rows), *rest[0][1:]),)
        return self._func(rows, *rest, **self._kwargs)

    def is_same(self, other: Call) -> bool:
        """Say whether another call does the same."""
        return (
            self._func == other._func
            and self._versions == other._versions
            and _same((self._rest, self._kwargs), (other._rest, other._kwargs))
        )


_ROWS = "rows"  # stands for their number in a shape


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a is b or a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
            return a is b
        # Some models make their weights anew for every pass. To look at them on another device
        # would wait for it.
        return a.device.type == "cpu" and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return bool(a == b)


def _versions(of: Any) -> list[int]:
    """Count the changes in place of tensors that live longer than a call."""
    if isinstance(of, nn.Parameter):
        return [0 if of.is_inference() else of._version]
    if isinstance(of, dict):
        of = tuple(of.values())
    return [v for one in of for v in _versions(one)] if isinstance(of, tuple | list) else []


def _made(of: Any) -> Any:
    """Replace rows in arguments by what they are made into."""
    if isinstance(of, Unmade):
        return of._rows()
    if isinstance(of, dict):
        return {key: _made(one) for key, one in of.items()}
    if type(of) in (tuple, list):
        return type(of)(map(_made, of))
    return of


def _holds_unmade(of: Any) -> bool:
    if isinstance(of, dict):
        of = tuple(of.values())
    if isinstance(of, tuple | list):
        return any(map(_holds_unmade, of))
    return isinstance(of, Unmade)


# ------------------------------------------------------------------------------- what is affine

# A rule says whether a call is affine in the rows, and does the same to each of them: it gets the
# rows and the other arguments, and returns None if not.


def _of_dim(dim: int) -> Callable[..., Any]:
    return lambda x, *args, **kwargs: x.dim() == dim or None


def _always(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    return x.dim() > 1 or None


def _normed(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    *_: Any,
    **__: Any,
) -> Any:
    return (not training and mean is not None and var is not None) or None


def _dropped(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return not training or None


def _padded(x: Tensor, pad: Any, *args: Any, **kwargs: Any) -> Any:
    return len(pad) <= 2 * (x.dim() - 1) or None


def _with_number(x: Tensor, other: Any, **kwargs: Any) -> Any:
    if isinstance(other, Tensor):
        lower = other.dim() < x.dim() or (other.dim() == x.dim() and len(other) == 1)
        return (lower and not other.requires_grad) or None
    return isinstance(other, int | float) or None


def _with_matrix(x: Tensor, other: Any) -> Any:
    return (isinstance(other, Tensor) and other.dim() == 2 and x.dim() > 1) or None


def _flattened(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Any:
    return start_dim % x.dim() > 0 or None


def _behind_rows(x: Tensor, *dims: Any, **kwargs: Any) -> Any:
    given = [d for d in (*dims[:2], *kwargs.values()) if isinstance(d, int)]
    return (given and all(d % x.dim() > 0 for d in given)) or None


def _unflattened(x: Tensor, dim: int, sizes: Any) -> Any:
    return dim % x.dim() > 0 or None


def _permuted(x: Tensor, *dims: Any) -> Any:
    order = dims[0] if isinstance(dims[0], tuple | list) else dims
    return order[0] == 0 or None


def _shaped(x: Tensor, rest: tuple[Any, ...]) -> Any:
    """Return the shape with a word for the number of rows."""
    shape = tuple(rest[0] if rest and isinstance(rest[0], tuple | list) else rest)
    if not shape or not all(isinstance(size, int) for size in shape):
        return None
    if shape[0] == len(x) or (shape[0] == -1 and x.numel() == len(x) * _product(shape[1:])):
        return ((_ROWS, *shape[1:]),)
    return None


def _product(sizes: tuple[int, ...]) -> int:
    return torch.Size(sizes).numel()


_VIEWS: dict[Any, Callable[..., Any]] = {
    Tensor.flatten: _flattened,
    torch.flatten: _flattened,
    Tensor.view: _shaped,
    Tensor.reshape: _shaped,
    torch.reshape: _shaped,
    Tensor.unflatten: _unflattened,
    Tensor.transpose: _behind_rows,
    torch.transpose: _behind_rows,
    Tensor.permute: _permuted,
    torch.permute: _permuted,
    Tensor.contiguous: _always,
    Tensor.to: _always,
    Tensor.float: _always,
    F.dropout: _dropped,
}
_ARITHMETIC = {
    Tensor.add: Tensor.add_,
    Tensor.sub: Tensor.sub_,
    Tensor.mul: Tensor.mul_,
    Tensor.div: Tensor.div_,
    Tensor.__add__: Tensor.__iadd__,
    Tensor.__sub__: Tensor.__isub__,
    Tensor.__mul__: Tensor.__imul__,
    Tensor.__truediv__: Tensor.__itruediv__,
}
_IN_PLACE = {in_place: func for func, in_place in _ARITHMETIC.items()}
_RULES: dict[Any, Callable[..., Any]] = {
    **_VIEWS,
    **dict.fromkeys((*_ARITHMETIC, *_IN_PLACE), _with_number),
    **dict.fromkeys((torch.add, torch.sub, torch.mul, torch.div), _with_number),
    **dict.fromkeys((Tensor.__radd__, Tensor.__rmul__, Tensor.__rsub__), _with_number),
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _with_matrix),
    torch.conv1d: _of_dim(3),
    torch.conv2d: _of_dim(4),
    torch.conv3d: _of_dim(5),
    F.linear: _always,
    F.batch_norm: _normed,
    F.pad: _padded,
    F.avg_pool2d: _of_dim(4),
    F.interpolate: _of_dim(4),
    F.pixel_unshuffle: _of_dim(4),
    Tensor.clone: _always,
}
# What needs no values.
_LOOKS = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "layout")),
    *(getattr(Tensor, name).__get__ for name in ("is_cuda", "is_sparse", "requires_grad")),
    *(getattr(Tensor, name).__get__ for name in ("is_quantized", "is_mps", "is_nested")),
    *(Tensor.dim, Tensor.size, Tensor.numel, Tensor.__len__, Tensor.stride, Tensor.is_contiguous),
    *(Tensor.is_floating_point, Tensor.is_complex, Tensor.get_device, Tensor.ndimension),
    *(torch.is_floating_point, torch.numel, torch.is_tensor, Tensor.element_size),
}
