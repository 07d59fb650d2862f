"""The number of rows that go through the model at once, how they lie, and how long they take."""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

__all__ = [
    "AutomaticFormat",
    "AutomaticSize",
    "ChunkSize",
    "Clock",
    "FixedSize",
    "Formats",
    "automatic_size",
    "first_guess",
    "remembered",
]

# The first guess is a number of input bytes per chunk: four 224 x 224 RGB images in float32 on the
# CPU, where small chunks stay in the caches, 64 elsewhere.
CPU_BYTES = 4 * 3 * 224 * 224 * 4
ACCELERATOR_BYTES = 16 * CPU_BYTES
LARGEST_GUESS = 256  # rows; on accelerators 16 times that
SAMPLES = 2  # chunks timed before a size is judged; the fastest counts, as disturbances only add
BETTER = 0.97  # a size must be this much faster to be taken
HOPELESS = {1: 3.0, SAMPLES: 1.4}  # so much slower after so many samples: not timed again. The
# first chunk of a size pays for what the backend prepares for a new shape.
CLOSE = 1.15  # a size that is at most so much slower is worth CLOSE_SAMPLES, which cost little
CLOSE_SAMPLES = 3 * SAMPLES
Method = TypeVar("Method", bound=Callable[..., Any])
FORMAT_SAMPLES = 4  # chunks of each memory format; the first of them pays for what it prepares
RECHECK = 64  # chunks until the first second look at a neighbour; then twice as many, and so on


class ChunkSize(Protocol):
    """Decides how many rows share a forward pass.

    Attributes:
        channels_last: Whether the rows of the next chunk, as :meth:`rows` gave it, lie in memory
            pixel by pixel, where inputs lie channel by channel.
    """

    @property
    def channels_last(self) -> bool:
        """Say how the next rows lie."""

    def rows(self, remaining: int) -> int:
        """Return the rows of the next chunk, of those that remain."""

    def took(self, rows: int, seconds: float, channels_last: bool = False) -> None:
        """Learn how long a chunk took."""

    def too_large(self, rows: int) -> None:
        """Learn that a chunk did not fit in memory."""


class FixedSize:
    """Takes the number that the caller asked for, halved whenever it does not fit."""

    channels_last = False

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def rows(self, remaining: int) -> int:
        """Return the rows of the next chunk, of those that remain."""
        return min(self._rows, remaining)

    def took(self, rows: int, seconds: float, channels_last: bool = False) -> None:
        """Nothing to learn."""

    def too_large(self, rows: int) -> None:
        """Halve."""
        self._rows = max(1, rows // 2)


def _one_at_a_time(method: Method) -> Method:
    """Let one thread at a time in: a size is remembered for a model, which threads may share."""

    @functools.wraps(method)
    def locked(self: AutomaticSize | Formats, *args: Any) -> Any:
        with self.lock:
            return method(self, *args)

    return cast(Method, locked)


class AutomaticSize:
    """Finds the fastest power of two while the chunks do useful work.

    It climbs: the sizes above and below the best known one are timed on ``SAMPLES`` chunks each,
    more of them in a close race, and taken if they are faster per row, until both are slower. Now
    and then a neighbour gets a second look, so that one disturbed measurement does not decide for
    good.
    """

    channels_last = False

    def __init__(self, start: int) -> None:
        self.lock = threading.RLock()
        self._best = start
        self._limit: int | None = None
        self._seconds: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=CLOSE_SAMPLES))
        self._asked: dict[int, int] = defaultdict(int)
        self._since_recheck = 0
        self._recheck = RECHECK
        self._runs = 0
        self._lift_after = 1
        self._lifted = False
        self._fresh = True  # the first chunk of a run is not timed, so it explores nothing

    @property
    def best(self) -> int:
        """Return the best number that is known."""
        return self._best

    @_one_at_a_time
    def start_run(self) -> None:
        """Begin a run: twice of what fitted may fit by now; after each failure try less often."""
        self._fresh = True
        if self._limit is not None:
            self._runs += 1
            if self._runs >= self._lift_after:
                self._limit, self._runs, self._lifted = 2 * self._limit, 0, True

    @_one_at_a_time
    def rows(self, remaining: int) -> int:
        """Return the rows of the next chunk, of those that remain."""
        rows = self._best if self._fresh else self._next()
        if rows > remaining:
            return min(self._best, remaining)
        if not self._fresh:
            self._asked[rows] += 1
        self._fresh = False
        return rows

    @_one_at_a_time
    def took(self, rows: int, seconds: float, channels_last: bool = False) -> None:
        """Learn how long a chunk took; remainders of other sizes tell nothing."""
        if rows == self._best or rows in self._asked:
            self._seconds[rows].append(seconds / rows)
            for size in self._neighbours():
                if self._judged(size) and self._cost(size) < BETTER * self._cost(self._best):
                    self._best = size
                    self._since_recheck, self._recheck = 0, RECHECK

    @_one_at_a_time
    def too_large(self, rows: int) -> None:
        """Stay at half of what did not fit."""
        if self._lifted:
            self._lift_after, self._lifted = 2 * self._lift_after, False
        self._fresh = True
        self._limit = max(1, rows // 2)
        while self._best > self._limit:
            self._best //= 2

    def _next(self) -> int:
        if not self._judged(self._best):
            return self._best
        for size in self._neighbours():
            wanted = CLOSE_SAMPLES if self._close(size) else SAMPLES
            if self._asked[size] < wanted and not self._hopeless(size):
                return size
        self._since_recheck += 1
        if self._since_recheck > self._recheck:
            self._since_recheck, self._recheck = 0, 2 * self._recheck
            return min(self._neighbours(), key=self._asked.__getitem__, default=self._best)
        return self._best

    def _neighbours(self) -> list[int]:
        larger, smaller = 2 * self._best, self._best // 2
        sizes = [larger] if self._limit is None or larger <= self._limit else []
        return [*sizes, smaller] if smaller else sizes

    def _cost(self, size: int) -> float:
        """Return the seconds per row."""
        return min(self._seconds[size])

    def _judged(self, size: int) -> bool:
        return len(self._seconds[size]) >= SAMPLES

    def _close(self, size: int) -> bool:
        return self._judged(size) and self._cost(size) < CLOSE * self._cost(self._best)

    def _hopeless(self, size: int) -> bool:
        samples = min(len(self._seconds[size]), SAMPLES)
        return samples > 0 and self._cost(size) > HOPELESS[samples] * self._cost(self._best)


class Formats:
    """Finds the faster memory format of rows for a model, while the chunks do useful work.

    Convolutions of many backends are faster, by a sixth to a third on CPUs, where the channels of
    a pixel lie together. A few chunks of each format are timed, each of the number of rows that is
    best for it as far as that is known. Where that is close, and before a verdict is changed, each
    format gets a second turn: what disturbs one turn seldom disturbs both. Now and then they race
    again, so that one disturbed measurement does not decide for good.

    Attributes:
        verdict (bool | None): Whether channels_last is faster; None while that is not known.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.verdict: bool | None = None
        self._before: bool | None = None  # the verdict of the last race
        self._seconds: dict[bool, list[float]] = {False: [], True: []}  # per row
        self._refused = False
        self._since = 0
        self._again = 2 * RECHECK

    @_one_at_a_time
    def next(self) -> bool:
        """Say whether the next chunk is channels_last."""
        self._since += self.verdict is not None
        if self._since > self._again and not self._refused:
            self._before, self.verdict = self.verdict, None
            self._since, self._again = 0, 2 * self._again
            self._seconds = {False: [], True: []}
        if self.verdict is not None:
            return self.verdict
        as_they_lie, last = len(self._seconds[False]), len(self._seconds[True])
        turn = FORMAT_SAMPLES if min(as_they_lie, last) < FORMAT_SAMPLES else 2 * FORMAT_SAMPLES
        return as_they_lie >= turn

    @_one_at_a_time
    def took(self, rows: int, seconds: float, channels_last: bool) -> None:
        """Learn how long a chunk took."""
        if self.verdict is None:
            self._seconds[channels_last].append(seconds / rows)
            turns = min(map(len, self._seconds.values())) // FORMAT_SAMPLES
            if not turns:
                return
            as_they_lie, last = min(self._seconds[False]), min(self._seconds[True])
            close = max(as_they_lie, last) < CLOSE * min(as_they_lie, last)
            faster = last < BETTER * as_they_lie
            doubtful = close if self._before is None else faster is not self._before
            if turns > 1 or not doubtful:
                self.verdict = faster

    @_one_at_a_time
    def refuse(self) -> None:
        """Keep to the format of the inputs: the model cannot do with the other one."""
        self.verdict, self._refused = False, True


class AutomaticFormat:
    """Finds the faster memory format, and the fastest number of rows for it.

    Args:
        formats: What is known of the formats.
        sizes: The size of each format, that of the inputs and channels_last.
    """

    def __init__(self, formats: Formats, sizes: tuple[AutomaticSize, AutomaticSize]) -> None:
        self._formats, self._sizes = formats, sizes
        self.channels_last = False

    def rows(self, remaining: int) -> int:
        """Return the rows of the next chunk, of those that remain."""
        self.channels_last = self._formats.next()
        size = self._sizes[self.channels_last]
        return min(size.best, remaining) if self._formats.verdict is None else size.rows(remaining)

    def took(self, rows: int, seconds: float, channels_last: bool = False) -> None:
        """Learn how long a chunk took; remainders tell nothing."""
        size = self._sizes[channels_last]
        if rows == size.best:
            self._formats.took(rows, seconds, channels_last)
        size.took(rows, seconds)

    def too_large(self, rows: int) -> None:
        """Stay at half of what did not fit."""
        for size in self._sizes:
            size.too_large(rows)


class Clock:
    """Measures the seconds between the ends of successive chunks, without waiting for a device.

    On CUDA the ends are events in the stream that are read when the device has passed them; other
    accelerators are not timed. The first chunk has no predecessor and so no time: it pays for the
    warm-up of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ends: deque[tuple[tuple[int, bool], Any]] = deque()

    def chunk_ended(self, rows: int, channels_last: bool = False) -> None:
        """Mark the end of a chunk."""
        chunk = rows, channels_last
        if self._device.type == "cpu":
            self._ends.append((chunk, time.perf_counter()))
        elif self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            self._ends.append((chunk, event))

    def times(self) -> Iterator[tuple[int, float, bool]]:
        """Yield rows, seconds and format of chunks that are known by now, each once."""
        while len(self._ends) > 1:
            before, ((rows, channels_last), end) = self._ends[0][1], self._ends[1]
            if self._device.type == "cpu":
                seconds = end - before
            elif end.query():
                seconds = before.elapsed_time(end) / 1000
            else:
                return
            self._ends.popleft()
            yield rows, seconds, channels_last


_known_lock = threading.Lock()
_known: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()
Fact = TypeVar("Fact")


def remembered(
    forward_func: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    kind: Hashable,
    make: Callable[[], Fact],
) -> Fact:
    """Return what the process knows of a model and a kind of input, made where there is nothing.

    Args:
        forward_func: The model. What cannot be remembered (no weak references) starts anew.
        inputs: Tensors ``(B, ...)``; B does not matter.
        kind: What else it depends on.
        make: Makes it; a name in ``kind`` keeps two of these apart.
    """
    device = inputs[0].device
    owner = getattr(forward_func, "__self__", forward_func)
    owner = getattr(owner, "forward_func", owner)  # of one that only wraps a model
    key = (
        getattr(forward_func, "__name__", None),
        tuple((tuple(x.shape[1:]), x.dtype) for x in inputs),
        kind,
        device,
        torch.is_autocast_enabled(device.type),
        torch.get_num_threads() if device.type == "cpu" else None,
    )
    with _known_lock:
        try:
            known = _known.setdefault(owner, {})
        except TypeError:
            known = {}
        if key not in known:
            known[key] = make()
        return cast(Fact, known[key])


def automatic_size(
    forward_func: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    formats: Hashable,
    gradients: bool = False,
) -> AutomaticSize:
    """Return the automatic size of a model and a kind of input, which the process remembers.

    Args:
        forward_func: The model.
        inputs: Tensors ``(B, ...)``; B does not matter.
        formats: Memory formats of the inputs.
        gradients: Whether rows go through it backwards, too. Default: False
    """
    size = remembered(
        forward_func,
        inputs,
        ("size", formats, gradients),
        lambda: AutomaticSize(first_guess(inputs)),
    )
    size.start_run()
    return size


def first_guess(inputs: tuple[Tensor, ...]) -> int:
    """Return the rows per chunk where nothing has been measured, from sizes and kind of device."""
    row = sum(x[0].numel() for x in inputs) * 4
    on_cpu = inputs[0].device.type == "cpu"
    rows = (CPU_BYTES if on_cpu else ACCELERATOR_BYTES) // row
    largest = LARGEST_GUESS if on_cpu else 16 * LARGEST_GUESS
    return int(2 ** (min(max(rows, 1), largest).bit_length() - 1))
