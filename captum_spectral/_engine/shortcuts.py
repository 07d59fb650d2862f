"""Faster ways to show a model its rows: which may be gone, and what is known of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from captum_spectral._engine.chunk_size import Formats, remembered
from captum_spectral._engine.forward import Forward, RowExamples
from captum_spectral._engine.memory import is_out_of_memory
from captum_spectral._engine.outputs import inner_module
from captum_spectral._engine.rows import Chunk, Walk
from captum_spectral._engine.signals import Signals
from captum_spectral._engine.stem import Cost, Stem
from captum_spectral._engine.values import ValueOfRows

__all__ = ["Known", "Shortcuts", "is_for_both_formats", "known_of"]

PLAIN = (False, False)  # a way to show rows: whether channels_last, and whether behind the stem
SMALLEST = 3 * 96 * 96  # elements of a row; of smaller ones too little time is to be saved
FEWEST = 2  # coalitions of an example per part of it, for a stem


class Known:
    """Keeps what the process knows of a model and a kind of input.

    Args:
        has_formats: Whether rows can lie in another way than the inputs.

    Attributes:
        formats (Formats | None): The race of memory formats.
        costs (dict): The cost of the stem, by whether rows are channels_last.
        stem_holds (bool): Whether the stem may be tried.
        proven (set): The ways that gave the values of the plain one.
    """

    def __init__(self, has_formats: bool) -> None:
        self.lock = threading.Lock()
        self.formats = Formats() if has_formats else None
        self.costs: dict[bool, Cost] = {}
        self.stem_holds = True
        self.proven: set[tuple[bool, bool]] = {PLAIN}

    def refuse(self, way: tuple[bool, bool]) -> None:
        """Never go this way again."""
        channels_last, stem = way
        with self.lock:
            if stem:
                self.stem_holds = False
            elif channels_last and self.formats is not None:
                self.formats.refuse()


def known_of(forward: Forward, inputs: tuple[Tensor, ...], signals: Signals) -> Known | None:
    """Return what is known of a model that may be shown rows in other ways; None if it may not.

    It must be a Module, or its value, and nobody may have asked to see what goes in and out of it
    (hooks), or have made something else of it (scripts, compiled graphs, replicas).
    """
    owner = getattr(forward.called, "__self__", None)
    valued = owner.forward_func if isinstance(owner, ValueOfRows) else forward.called
    model = inner_module(valued)
    if model is None or sum(x[0].numel() for x in inputs) < SMALLEST:
        return None
    if any(getattr(nn.modules.module, name, None) for name in _GLOBAL_HOOKS):
        return None
    modules = list(model.modules())
    kinds = {base for module in modules for base in type(module).__mro__}
    if not all(map(_is_itself, modules)) or any(map(_holds_compiled, [*modules, *kinds])):
        return None
    has_formats = any(layout.channels_last() != layout for layout in signals.layouts)
    has_formats &= is_for_both_formats(modules, signals.device)
    return remembered(
        forward.forward_func,
        inputs,
        ("shortcuts", signals.layouts, has_formats),
        lambda: Known(has_formats),
    )


_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")


def _is_itself(module: nn.Module) -> bool:
    replicas = isinstance(module, nn.DataParallel) and bool(module.device_ids)
    hooks = bool(module._forward_hooks or module._forward_pre_hooks)
    calls = type(module).__call__ is nn.Module.__call__ and "forward" not in vars(module)
    compiled = getattr(module, "_compiled_call_impl", None) is not None
    scripted = isinstance(module, torch.jit.ScriptModule)
    return calls and not (replicas or hooks or compiled or scripted)


def is_for_both_formats(modules: Iterable[nn.Module], device: torch.device) -> bool:
    """Say if a model may gain by the other format, and has the same values in both.

    On the CPU the variance in PyTorch's group norms is a difference of large numbers where rows are
    channels_last: of 10 + 0.01 noise the result is wrong in its first digit, and coalitions of the
    lowest band are such signals.
    """
    modules = list(modules)
    rough = device.type == "cpu" and any(isinstance(module, nn.GroupNorm) for module in modules)
    return not rough and any(isinstance(module, nn.Conv2d) for module in modules)


def _holds_compiled(owner: object) -> bool:
    """Say if a function there is compiled: for rows that are not made yet it would be anew."""
    return any(hasattr(one, "_torchdynamo_orig_callable") for one in vars(owner).values())


class Shortcuts:
    """Shows a model rows in faster ways than the plain one, each checked against it once.

    The check is one row that goes through the model in both ways, once for a model and a kind of
    input.

    Args:
        forward: The model.
        signals: What makes rows.
        stem: The stem for these rows.
        known: What is known of the model.
    """

    def __init__(self, forward: Forward, signals: Signals, stem: Stem, known: Known) -> None:
        self._forward, self._known = forward, known
        self._stem: Stem | None = stem
        kind = signals.device.type
        players = len(signals.players)
        self._autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        few = stem.rows_per_example < FEWEST * (1 + players)
        if few or self._autocast is not None or not signals.are_sums:
            self._stem = None  # autocast would round what the stem sums
        self._way = PLAIN

    def rows(
        self, chunk: Chunk, walk: Walk, channels_last: bool, first: bool
    ) -> tuple[Tensor, ...] | None:
        """Return the rows of a chunk behind the stem; None if they are to be made as ever.

        Args:
            chunk: Of the walk.
            walk: Where the next chunk is.
            channels_last: How they lie.
            first: Whether nothing is known of the outputs yet.
        """
        stem, known = self._stem, self._known
        settled = known.formats is None or known.formats.verdict is not None
        if self._way[0] is not channels_last:
            self.forget()
        self._way = channels_last, False
        if stem is None or not settled or (first and len(known.proven) == 1):
            return None
        stem.cost = known.costs.get(channels_last)
        if not (known.stem_holds and stem.pays):
            return None
        self._way = channels_last, True
        stem.forget_before(chunk.first_example)
        return stem.rows(chunk, walk)

    def outputs(
        self, rows: tuple[Tensor, ...], chunk: Chunk, plain: Callable[[], tuple[Tensor, ...]]
    ) -> Any:
        """Return the outputs of rows at the target.

        Args:
            rows: Of the chunk.
            chunk: Which rows these are.
            plain: Makes them in the plain way.
        """
        way = self._way
        if way == PLAIN:
            return self._forward(rows, chunk.examples)
        output = self._if_it_can(rows, chunk.examples)
        self._learn()
        if output is not None:
            if way in self._known.proven:
                return output
            if self._agrees(output, plain(), chunk):
                with self._known.lock:
                    self._known.proven.add(way)
                return output
        self._known.refuse(way)
        return self._forward(plain(), chunk.examples)

    def forget(self) -> None:
        """Drop parts and rows."""
        if self._stem is not None:
            self._stem.forget()

    def settle(self) -> None:
        """Make the rows that the model keeps."""
        if self._stem is not None:
            self._stem.settle()

    def without_stem(self) -> None:
        """Drop the stem, where memory is short."""
        self._stem = None

    def _learn(self) -> None:
        stem, (channels_last, used) = self._stem, self._way
        if stem is None or not used:
            return
        with self._known.lock:
            self._known.stem_holds &= stem.holds
            if stem.cost is not None:
                self._known.costs.setdefault(channels_last, stem.cost)

    def _if_it_can(self, rows: tuple[Tensor, ...], examples: RowExamples) -> Any:
        """Return the outputs of rows; None where the model cannot do with them."""
        try:
            return self._forward(rows, examples)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return None

    def _agrees(self, output: Any, rows: tuple[Tensor, ...], chunk: Chunk) -> bool:
        """Say whether the last row has the output of the plain way, to rounding.

        Coalitions grow: the first one may be the empty one, a signal of zeros that shows little.
        """
        last = tuple(x[-1:] for x in rows)
        one = self._if_it_can(last, lambda device: chunk.examples(device)[-1:])
        if not (isinstance(output, Tensor) and isinstance(one, Tensor) and output.dim() > 0):
            return False
        if one.shape != output[-1:].shape or not output.dtype.is_floating_point:
            return False
        dtypes = [output.dtype, rows[0].dtype]
        if self._autocast is not None:
            dtypes.append(self._autocast)
        allowed = max(torch.finfo(dtype).eps for dtype in dtypes) ** 0.5
        largest = torch.maximum(output.abs().max(), one.abs().max())
        return bool((output[-1:] - one).abs().max() <= allowed * largest)
