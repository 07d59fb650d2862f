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

    def promised(self, rows: Unmade) -> None:
        """Learn of rows that may have to be made here."""


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
        stage.promised(rows)
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
        if isinstance(first, Unmade) and first._may_be_noted():
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

    def _may_be_noted(self) -> bool:
        """Say if calls are computed later as they are now: no graph is wanted, nothing rounded."""
        if torch.is_grad_enabled() or self._is_made():
            return False
        return not torch.is_autocast_enabled(self._stage.device.type)

    def _noted(self, func: Any, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Unmade | None:
        rule = _RULES.get(func)
        if rule is None or "out" in kwargs or not _is_plain((rest, kwargs)):
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

    def settle(self) -> None:
        """Make the rows, and let go of all that they are made of."""
        if self._source is not None:
            self._source.settle()
        self._rows()
        self._source = None
        self.__dict__.pop("_stage", None)
        self.__dict__.pop("_at", None)


class Call:
    """A call of a function with rows as its first argument."""

    def __init__(self, func: Any, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._func, self._rest, self._kwargs = func, rest, kwargs

    def __call__(self, rows: Tensor) -> Any:
        rest, kwargs = _mapped(_Fixed.tensor, _Fixed, (self._rest, self._kwargs))
        if rest and isinstance(rest[0], tuple) and rest[0][:1] == (_ROWS,):
            rest = ((len(rows), *rest[0][1:]),)
        return self._func(rows, *rest, **kwargs)

    def fixed(self) -> Call:
        """Return the same call for later, whatever becomes of its tensors."""
        return Call(self._func, *_mapped(_Fixed, Tensor, (self._rest, self._kwargs)))

    def is_same(self, now: Call) -> bool:
        """Say whether a call does now what this one, which is fixed, does."""
        return self._func == now._func and _same(
            (self._rest, self._kwargs), (now._rest, now._kwargs)
        )


_ROWS = "rows"  # stands for their number in a shape


class _Fixed:
    """A tensor as it is now: a copy of it, but of parameters, which are large, their version."""

    def __init__(self, given: Tensor) -> None:
        self._given, self._version = given, _version(given)
        self._own = given if isinstance(given, nn.Parameter) else given.clone()

    def tensor(self) -> Tensor:
        """Return the tensor."""
        return self._own

    def is_same(self, now: Tensor) -> bool:
        """Say whether a tensor holds now what this one held."""
        unchanged = self._version is not None and self._version == _version(self._given)
        if self._given is now and (self._own is now or now.device.type != "cpu"):
            return unchanged
        # Some models make their weights anew for every pass. To look at them on another device
        # would wait for it.
        own = self._own
        alike = own.shape == now.shape and own.dtype == now.dtype and own.device == now.device
        held = unchanged or own is not self._given
        return alike and held and now.device.type == "cpu" and torch.equal(own, now)


def _version(of: Tensor) -> int | None:
    """Count the changes in place; of tensors of inference mode nobody does, and weights stay."""
    if of.is_inference():
        return 0 if isinstance(of, nn.Parameter) else None
    return of._version


def _same(fixed: Any, now: Any) -> bool:
    if isinstance(fixed, _Fixed):
        return isinstance(now, Tensor) and fixed.is_same(now)
    if type(fixed) is not type(now):
        return False
    if isinstance(fixed, tuple | list):
        return len(fixed) == len(now) and all(map(_same, fixed, now))
    if isinstance(fixed, dict):
        return fixed.keys() == now.keys() and all(_same(fixed[key], now[key]) for key in fixed)
    return bool(fixed == now)


def _mapped(function: Callable[[Any], Any], kind: type, of: Any) -> Any:
    """Replace what is of a kind in arguments."""
    if isinstance(of, kind):
        return function(of)
    if isinstance(of, dict):
        return {key: _mapped(function, kind, one) for key, one in of.items()}
    if type(of) in (tuple, list):
        return type(of)(_mapped(function, kind, one) for one in of)
    return of


def _made(of: Any) -> Any:
    """Replace rows in arguments by what they are made into."""
    return _mapped(Unmade._rows, Unmade, of)


def _is_plain(of: Any) -> bool:
    """Say if tensors in arguments are of PyTorch's own kinds: others may not be affine."""
    if isinstance(of, dict):
        of = tuple(of.values())
    if isinstance(of, tuple | list):
        return all(map(_is_plain, of))
    return not isinstance(of, Tensor) or type(of) in (Tensor, nn.Parameter)


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


def _with_number(x: Tensor, other: Any, rounding_mode: Any = None, **kwargs: Any) -> Any:
    if rounding_mode is not None:
        return None
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


def _permuted(x: Tensor, *dims: Any, **kwargs: Any) -> Any:
    order = kwargs.get("dims", dims[0] if dims and isinstance(dims[0], tuple | list) else dims)
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
