"""Everything that a model holds, found by walking through it: tensors, settings and code."""

from __future__ import annotations

import enum
import functools
import hashlib
import io
import logging
import os
import re
import sys
import threading
import types
import weakref
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from captum_spectral.sources.digests import digest_of

__all__ = ["Contents", "contents_of"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, range, slice)
_WRITTEN = (torch.dtype, torch.layout, torch.memory_format, torch.Size, np.dtype)
# Where a number is computed, or how it is told, does not change it.
_OF_NO_WEIGHT: tuple[type, ...] = (
    torch.device, logging.Logger, weakref.ReferenceType, type(threading.Lock()),
    type(threading.RLock()), io.IOBase, type(os.environ), types.ModuleType,
)  # fmt: skip
# Hooks of a forward pass change numbers; what else PyTorch keeps in a module does not.
_OF_PYTORCH = frozenset(nn.Module().__dict__) | {"_is_full_backward_hook", "_graph"}
_HELD = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks", "training")
# Code of these is the same wherever their releases are.
_LIBRARIES = sys.stdlib_module_names | {
    "torch",
    "torchvision",
    "numpy",
    "captum",
    "captum_spectral",
}
_DESCRIPTORS = (
    types.BuiltinFunctionType, types.MethodWrapperType, types.GetSetDescriptorType,
    types.MemberDescriptorType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
)  # fmt: skip
# PyTorch counts the types of scripts that it has seen, in their names.
_MANGLED = re.compile(rb"___torch_mangle_\d+\.?")


class Contents(NamedTuple):
    """Digests of all that a model holds.

    Attributes:
        tensors: A digest of all tensors and arrays.
        rest: A digest of everything else: structure, numbers, texts, code.
        unseen: Places and kinds of what cannot be read, such as the handle of a foreign runtime;
            two models that differ there alone look the same.
    """

    tensors: str
    rest: str
    unseen: tuple[str, ...]


def contents_of(model: object) -> Contents:
    """Walk through a model, or any other object, and return digests of what it holds.

    Parameters and buffers, persistent or not; weights in tuples and in the packed form of quantised
    layers; plain attributes; hooks of the forward pass; what functions close over, their defaults,
    and the globals that they name; scripted modules; the bytecode of functions and classes that are
    not of PyTorch. Devices, loggers and locks do not count.

    Args:
        model: A Module, a function, or an object of any kind.

    Returns:
        The :class:`Contents`. Two runs of one program give the same.

    Cost: no model rows; every tensor is read once.

    Example::

        >>> import torch
        >>> contents_of(torch.nn.Linear(2, 2)).tensors == contents_of(torch.nn.Linear(2, 2)).tensors
        False
        >>> from functools import partial
        >>> contents_of(partial(torch.mul, 2)).rest == contents_of(partial(torch.mul, 3)).rest
        False
    """
    walk = _Walk()
    try:
        walk.visit(model, type(model).__name__)
    except RecursionError:
        walk.unseen.append("what lies too deep")
    return Contents(digest_of(walk.tensors), walk.words.hexdigest(), tuple(walk.unseen))


class _Walk:
    """Collects what is found; every object counts once, and later by its number."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.words = hashlib.blake2b(digest_size=16)
        self.unseen: list[str] = []
        self._seen: dict[int, tuple[int, object]] = {}  # with the object, or its id could be reused

    def visit(self, x: object, where: str) -> None:
        """Take in an object and all that it holds."""
        if isinstance(x, enum.Enum):
            return self._word("enum", type(x).__qualname__, x.name)
        if isinstance(x, _PLAIN) and type(x) in _PLAIN:
            return self._word(type(x).__name__, repr(x))
        if isinstance(x, (*_WRITTEN, np.generic)):
            return self._word(type(x).__name__, str(x))
        if isinstance(x, _OF_NO_WEIGHT):
            return self._word(type(x).__name__)
        number, _ = self._seen.setdefault(id(x), (len(self._seen), x))
        if number < len(self._seen) - 1:
            return self._word("again", str(number))
        return self._visit_new(x, where)

    def _visit_new(self, x: Any, where: str) -> None:
        if isinstance(x, Tensor):
            self._word("tensor")
            self.tensors.append(x.data)
        elif isinstance(x, np.ndarray) and x.dtype != object:
            self._word("array", str(x.dtype), str(x.shape))
            self.tensors.append(
                torch.frombuffer(bytearray(x.tobytes() or b"\0"), dtype=torch.uint8)
            )
        elif isinstance(x, torch.Generator):
            self.visit(x.get_state(), where)
        elif isinstance(x, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            self._scripted(x, where)
        elif isinstance(x, nn.Module):
            self._module(x, where)
        elif isinstance(x, type):
            self._class(x, where)
        elif isinstance(x, types.FunctionType):
            self._function(x, where)
        elif isinstance(x, types.MethodType):
            self._word("method")
            self._all({"self": x.__self__, "function": x.__func__}, where)
        elif isinstance(x, functools.partial):
            self._word("partial")
            self._all({"func": x.func, "args": x.args, "keywords": x.keywords}, where)
        elif isinstance(x, types.CodeType):
            self._code(x, where)
        elif isinstance(x, Mapping):
            self._word(type(x).__qualname__, str(len(x)))
            self._members(x.items(), where)
            self._attributes(x, where)
        elif isinstance(x, Set):
            self._word(type(x).__qualname__, str(len(x)))
            for each in sorted(x, key=repr):
                self.visit(each, where)
        elif isinstance(x, list | tuple):
            self._word(type(x).__qualname__, str(len(x)))
            for i, each in enumerate(x):
                self.visit(each, f"{where}[{i}]")
            self._attributes(x, where)
        else:
            self._object(x, where)

    def _word(self, *words: str) -> None:
        for word in words:
            content = word.encode("utf-8", "surrogatepass")
            self.words.update(len(content).to_bytes(8, "little") + content)

    def _members(self, members: Iterable[tuple[Any, Any]], where: str) -> None:
        """Visit keys and values; names in their order, other keys in the order they are kept in."""
        pairs = list(members)
        if all(isinstance(key, str) for key, _ in pairs):
            pairs.sort(key=lambda pair: pair[0])
        for key, value in pairs:
            self.visit(key, where)
            self.visit(value, f"{where}.{key}" if isinstance(key, str) else f"{where}[{key!r}]")

    def _all(self, members: dict[str, Any], where: str) -> None:
        self._members(members.items(), where)

    def _attributes(self, x: object, where: str) -> None:
        """Visit what an object has beside what its kind holds."""
        self._all(dict(_attributes_of(x)), where)

    def _module(self, x: nn.Module, where: str) -> None:
        inner = _wrapped(x)
        if inner is not None:
            return self.visit(inner, where)
        self.visit(type(x), where)
        held = {name: getattr(x, name) for name in _HELD}
        # By their place: a hook's key counts all hooks that there ever were.
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            held[name] = list(held[name].values())
        if isinstance(x, torch.fx.GraphModule):
            held["code"] = x.code
        own = {k: v for k, v in vars(x).items() if k not in _OF_PYTORCH}
        self._all({**held, **own}, where)
        return None

    def _class(self, x: type, where: str) -> None:
        self._word("class", x.__qualname__)
        if _of_a_library(x):
            return
        for base in x.__bases__:
            self.visit(base, where)
        members = {  # not its documentation, and what Python notes of every class
            name: member
            for name, member in vars(x).items()
            if not name.startswith("__") or isinstance(member, types.FunctionType)
        }
        self._all(members, f"{where}.{x.__qualname__}")

    def _function(self, x: types.FunctionType, where: str) -> None:
        original = getattr(x, "_torchdynamo_orig_callable", None)
        if original is not None:
            return self.visit(original, where)
        self._word("function", x.__qualname__)
        cells = []
        for cell in x.__closure__ or ():
            try:
                cells.append(cell.cell_contents)
            except ValueError:  # not filled yet
                cells.append(None)
        parts: dict[str, Any] = {"defaults": (x.__defaults__, x.__kwdefaults__), "closure": cells}
        if not _of_a_library(x):  # whose code is known by its release
            names = sorted(_names(x.__code__))
            parts["code"] = x.__code__
            parts["globals"] = {n: x.__globals__[n] for n in names if n in x.__globals__}
            parts["attributes"] = {k: v for k, v in vars(x).items() if not k.startswith("__")}
        self._all(parts, where)
        return None

    def _code(self, x: types.CodeType, where: str) -> None:
        self._word("code", x.co_code.hex(), *x.co_names, *x.co_varnames)
        for constant in x.co_consts:
            self.visit(constant, where)

    def _scripted(self, x: Any, where: str) -> None:
        """Take in the parts of the file that a scripted module would be saved as."""
        try:
            with zipfile.ZipFile(io.BytesIO(x.save_to_buffer())) as file:
                for info in file.infolist():
                    name = info.filename.partition("/")[2]
                    if name.endswith(".debug_pkl") or name.startswith((".data/", "byteorder")):
                        continue
                    content = _MANGLED.sub(b"", file.read(info))
                    self._word(
                        _MANGLED.sub(b"", name.encode()).decode(),
                        hashlib.sha256(content).hexdigest(),
                    )
        except (RuntimeError, zipfile.BadZipFile):
            self.unseen.append(f"{where} ({type(x).__name__})")

    def _object(self, x: Any, where: str) -> None:
        """Take in an object by its attributes, or by what it would be saved as."""
        if isinstance(x, _DESCRIPTORS):
            return self._word(x.__qualname__)
        self.visit(type(x), where)
        if isinstance(x, property):
            return self._all({"get": x.fget, "set": x.fset}, where)
        if attributes := dict(_attributes_of(x)):
            return self._all(attributes, where)
        try:
            return self.visit(_state_of(x), where)
        except Exception:  # whatever a foreign object raises where it cannot be saved
            self.unseen.append(f"{where} ({type(x).__module__}.{type(x).__qualname__})")
        return None


def _wrapped(x: nn.Module) -> object:
    """Return the module that another only passes everything on to."""
    if isinstance(x, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return x.module
    return vars(x).get("_modules", {}).get("_orig_mod")  # compiled


def _state_of(x: Any) -> Any:
    """Return what an object of C or C++ would be saved as: packed weights, for one."""
    if isinstance(x, torch.ScriptObject):
        return x.__getstate__()  # type: ignore[attr-defined]
    saved = x.__reduce_ex__(4)
    if isinstance(saved, tuple):  # members of lists and dictionaries come as iterators
        return [*saved[:3], *(list(members) for members in saved[3:5] if members is not None)]
    return saved


def _attributes_of(x: object) -> Iterator[tuple[str, Any]]:
    yield from vars(x).items() if hasattr(x, "__dict__") else ()
    for kind in type(x).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(x, name):
                yield name, getattr(x, name)


def _of_a_library(x: Any) -> bool:
    return str(getattr(x, "__module__", "")).partition(".")[0] in _LIBRARIES


def _names(code: types.CodeType) -> set[str]:
    """Return the names that code, and code inside of it, looks up."""
    inside = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, inside))
