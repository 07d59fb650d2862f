"""Affine first layers of a model, run on the parts of an example and not on every row.

A signal is a sum ``x_S = b + sum of d_i``, and what is affine commutes with it. With
``f(x) = A x + a``:

    f(x_S) = f(b) + sum of A d_i,        A d_i = f(d_i) - f(0)

So the model is handed rows that are not made yet, :class:`Unmade`. Functions of PyTorch that are
affine in them, each row by itself, are noted; the first other function gets rows that are mixed
from parts which went through the noted ones. Whatever a model does, a second look at its input, a
branch, a layer in place, it finds the rows that it would have found, to rounding. Its modules are
not looked at, and nothing of them is changed. Where the first chunk shows that this does not hold,
that something looks at the input itself, or that mixing takes longer than the layers, rows are
made as ever.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spectral._engine.memory import Buffer, is_out_of_memory
from captum_spectral._engine.rows import Ahead, Chunk, Held, Walk
from captum_spectral._engine.signals import BLOCK_BYTES, Layout, Signals
from captum_spectral._engine.synthesis import synthesize
from captum_spectral._engine.unmade import Call, Unmade

__all__ = ["Cost", "Stem"]

ROUNDING = 2**10  # units of the last place of the largest part that mixed rows may differ by
MOST_BRANCHES = 4  # notes that may follow one another in different ways; a model seldom has two
REPEATS = 3  # of what is timed; the fastest counts, as disturbances only add
WORTH = 0.95  # mixing must take less than this part of the time of the layers


class Cost(NamedTuple):
    """Seconds that a stem takes, and that it saves."""

    example: float  # for the parts of an example
    mixed: float  # for a row that is mixed behind the stem
    plain: float  # for a row that is mixed before it, and goes through

    def pays(self, rows_per_example: int) -> bool:
        """Say whether it saves more than it takes."""
        spent = self.example + rows_per_example * self.mixed
        return spent < WORTH * rows_per_example * self.plain


class Stem:
    """The affine beginning of a model, for the rows of one evaluation.

    Args:
        signals: What makes parts; all inputs must be mixed.
        members: Gives the coalitions ``(k, P)`` or ``(b, k, P)`` of examples and coalitions.
        rows_per_example: ``K``.

    Attributes:
        holds (bool): Whether there is an affine beginning, of which mixed rows are the same.
        cost (Cost | None): What was measured, now or before.
    """

    def __init__(
        self,
        signals: Signals,
        members: Callable[[slice, slice], Tensor],
        rows_per_example: int,
    ) -> None:
        self.signals, self.members = signals, members
        self.cost: Cost | None = None
        self.rows_per_example = rows_per_example
        self.holds = True
        self.lock = threading.RLock()  # a model may have threads of its own
        self._inputs: tuple[_Layers, ...] = ()
        self._made: list[_Layers] = []
        self._promises: list[weakref.ref[Unmade]] = []

    @property
    def pays(self) -> bool:
        """Say if it holds, and is worth its cost as far as that is known."""
        return self.holds and (self.cost is None or self.cost.pays(self.rows_per_example))

    def rows(self, chunk: Chunk, walk: Walk) -> tuple[Tensor, ...]:
        """Return the rows of a chunk, not made yet, one tensor per input."""
        if not self._inputs:
            self._inputs = tuple(
                _Layers(self, number) for number in range(len(self.signals.layouts))
            )
        self._made = []
        self._promises = [promise for promise in self._promises if promise() is not None]
        return tuple(Unmade.of(stage, (chunk, walk)) for stage in self._inputs)

    def forget_before(self, example: int) -> None:
        """Drop the parts of groups of examples that are all before ``example``."""
        for stage in self._inputs:
            stage.forget_before(example)

    def forget(self) -> None:
        """Drop all parts and rows, and what was noted."""
        self._inputs = ()

    def promised(self, rows: Unmade) -> None:
        """Learn of rows that may have to be made."""
        self._promises.append(weakref.ref(rows))

    def settle(self) -> None:
        """Make the rows that the model keeps: else they would hold the inputs and all parts."""
        for promise in self._promises:
            rows = promise()
            if rows is not None:
                with contextlib.suppress(Exception):  # such as of memory: values are not lost
                    rows.settle()
        self._promises = []

    def make(self, stage: _Layers, chunk: Chunk, walk: Walk) -> Tensor:
        """Make the rows of a chunk at a stage, in whatever mode the model needs them."""
        plainly = torch.autocast(self.signals.device.type, enabled=False)
        with self.lock, torch.inference_mode(False), torch.no_grad(), plainly:
            second = any(made.number == stage.number for made in self._made)
            # The rows that were made before may have been changed in place.
            rows = stage.layout.unflatten(*stage.make(chunk)) if second else stage.rows(chunk, walk)
            self._made.append(stage)
            if second or stage.parent is None:  # something looks at the input, or in two places
                self.holds = False
            elif not stage.known:
                rows = self._compare(stage, rows, chunk, walk)
                stage.known = True
            return rows

    def _compare(self, stage: _Layers, mixed: Tensor, chunk: Chunk, walk: Walk) -> Tensor:
        """Compare rows behind the stem with those that go through it, and the times of both."""
        source = self._inputs[stage.number]
        before = source.rows(chunk, walk)
        plain = stage.through(before)
        largest = stage.flat(slice(chunk.first_example, chunk.first_example + 1)).abs().max()
        allowed = ROUNDING * torch.finfo(plain.dtype).eps * largest
        if mixed.shape != plain.shape or not bool((mixed - plain).abs().max() <= allowed):
            self.holds = False
            return plain
        if self.cost is None:
            first = slice(chunk.first_example, chunk.first_example + 1)
            blocks = [s.block(chunk, walk) for s in (stage, source)]
            behind, ahead = (
                self._fastest(functools.partial(s.make, b)) / b.rows
                for s, b in zip((stage, source), blocks, strict=True)
            )
            layers = self._fastest(lambda: stage.through(before)) / chunk.rows
            example = self._fastest(lambda: stage.make_parts(first))
            self.cost = Cost(example, behind, ahead + layers)
        return mixed

    def _fastest(self, task: Callable[[], Any]) -> float:
        seconds = []
        for _ in range(REPEATS):
            begin = self._now()
            task()
            seconds.append(self._now() - begin)
        return min(seconds)

    def _now(self) -> float:
        kind = self.signals.device.type
        if kind in ("cuda", "mps", "xpu"):  # once for a model and a kind of input
            getattr(torch, kind).synchronize()
        return time.perf_counter()


class _Layers:
    """A place behind affine layers: the input itself, or a noted call behind another place.

    Args:
        stem: Whose it is.
        number: Of the input.
        parent: The stage before, None for the input.
        call: What leads here.
        constant: ``(1, *signal)`` what becomes of an input of zeros.
    """

    def __init__(
        self,
        stem: Stem,
        number: int,
        parent: _Layers | None = None,
        call: Call | None = None,
        constant: Tensor | None = None,
    ) -> None:
        self.stem, self.number, self.parent, self.call = stem, number, parent, call
        self.lock, self.device = stem.lock, stem.signals.device
        self._columns, self.layout, self.dtype = stem.signals.sums_of(number)
        self._constant = None
        if constant is not None:
            self.layout = Layout.of(constant)
            self._constant = constant if bool(constant.any()) else None
        self.known = False
        self._next: list[_Layers] = []
        self._held: Held[Tensor] = Held()
        self._buffer = Buffer(self.device)
        self._ahead = Ahead(self.make)

    def follow(self, call: Call) -> _Layers | None:
        """Return the stage behind a call, if it can be noted."""
        for stage in self._next:
            assert stage.call is not None
            if stage.call.is_same(call):
                return stage
        if len(self._next) == MOST_BRANCHES:
            return None
        zeros = torch.zeros(1, self.layout.size, dtype=self.dtype, device=self.device)
        try:
            constant = call(self.layout.unflatten(zeros))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return None  # the rows themselves will tell
        fits = type(constant) is Tensor and constant.dtype is self.dtype and len(constant) == 1
        if not fits or constant.dim() < 2 or constant.device != zeros.device:
            return None
        self._next.append(_Layers(self.stem, self.number, self, call.fixed(), constant))
        return self._next[-1]

    def made(self, chunk: Chunk, walk: Walk) -> Tensor:
        """Make the rows of a chunk, for the model."""
        return self.stem.make(self, chunk, walk)

    def promised(self, rows: Unmade) -> None:
        """Learn of rows that may have to be made here."""
        self.stem.promised(rows)

    def rows(self, chunk: Chunk, walk: Walk) -> Tensor:
        """Make rows ``(rows, *signal)``, in larger blocks for small chunks."""
        (rows,) = self._ahead.of(chunk, self.block(chunk, walk))
        return self.layout.unflatten(rows)

    def block(self, chunk: Chunk, walk: Walk) -> Chunk:
        """Return the rows to make at a time."""
        bytes_per_row = self.layout.size * self.dtype.itemsize
        block = walk.chunk(max(chunk.rows, BLOCK_BYTES // bytes_per_row))
        return block if block.holds(chunk) else chunk  # rows that are made long after their turn

    def make(self, chunk: Chunk) -> tuple[Tensor]:
        """Make flat rows."""
        out = self._buffer.rows(chunk.rows, self.layout.size, self.dtype)
        for tile in chunk.tiles():
            members = self.stem.members(tile.examples, tile.coalitions)
            synthesize(self.flat(tile.examples), members[..., self._columns], tile.view(out))
        return (out,)

    def flat(self, examples: slice) -> Tensor:
        """Return the baseline and the parts of examples ``(b, 1 + P, D)``, held for next time."""
        if self.parent is None:
            return self.make_parts(examples)
        return self._held.of(examples, self.make_parts, lambda held, own: held[own])

    def make_parts(self, examples: slice) -> Tensor:
        """Run the noted calls on the parts of examples."""
        return self.layout.flatten(self._parts(examples))

    def through(self, rows: Tensor) -> Tensor:
        """Run the noted calls on rows of the input."""
        if self.parent is None:
            return rows
        assert self.call is not None
        found: Tensor = self.call(self.parent.through(rows))
        return found

    def forget_before(self, example: int) -> None:
        """Drop the parts of groups of examples that are all before ``example``."""
        self._held.forget_before(example)
        for stage in self._next:
            stage.forget_before(example)

    def _parts(self, examples: slice) -> Tensor:
        if self.parent is None:
            return self.stem.signals.parts_of(self.number, examples)
        assert self.call is not None
        before = self.parent._parts(examples)  # (b, 1 + P, *signal)
        parts: Tensor = self.call(before.flatten(0, 1)).unflatten(0, before.shape[:2])
        if self._constant is not None:  # else it may be a view of those before
            parts[:, 1:] -= self._constant
        return parts
