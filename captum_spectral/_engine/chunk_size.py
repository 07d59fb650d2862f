"""The number of rows that go through the model at once, and how long they take."""

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

__all__ = ["AutomaticSize", "ChunkSize", "Clock", "FixedSize", "automatic_size", "first_guess"]

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
RECHECK = 64  # chunks until the first second look at a neighbour; then twice as many, and so on


class ChunkSize(Protocol):
    """Decides how many rows share a forward pass."""

    def rows(self, remaining: int) -> int:
        """Return the rows of the next chunk, of those that remain."""

    def took(self, rows: int, seconds: float) -> None:
        """Learn how long a chunk took."""

    def too_large(self, rows: int) -> None:
        """Learn that a chunk did not fit in memory."""


class FixedSize:
    """Takes the number that the caller asked for, halved whenever it does not fit."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def rows(self, remaining: int) -> int:
        """Return the rows of the next chunk, of those that remain."""
        return min(self._rows, remaining)

    def took(self, rows: int, seconds: float) -> None:
        """Nothing to learn."""

    def too_large(self, rows: int) -> None:
        """Halve."""
        self._rows = max(1, rows // 2)


def _one_at_a_time(method: Method) -> Method:
    """Let one thread at a time in: a size is remembered for a model, which threads may share."""

    @functools.wraps(method)
    def locked(self: AutomaticSize, *args: Any) -> Any:
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
    def took(self, rows: int, seconds: float) -> None:
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


class Clock:
    """Measures the seconds between the ends of successive chunks, without waiting for a device.

    On CUDA the ends are events in the stream that are read when the device has passed them; other
    accelerators are not timed. The first chunk has no predecessor and so no time: it pays for the
    warm-up of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ends: deque[tuple[int, Any]] = deque()

    def chunk_ended(self, rows: int) -> None:
        """Mark the end of a chunk."""
        if self._device.type == "cpu":
            self._ends.append((rows, time.perf_counter()))
        elif self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            self._ends.append((rows, event))

    def times(self) -> Iterator[tuple[int, float]]:
        """Yield rows and seconds of chunks that are known by now, each once."""
        while len(self._ends) > 1:
            before, (rows, end) = self._ends[0][1], self._ends[1]
            if self._device.type == "cpu":
                seconds = end - before
            elif end.query():
                seconds = before.elapsed_time(end) / 1000
            else:
                return
            self._ends.popleft()
            yield rows, seconds


_sizes_lock = threading.Lock()
_sizes: WeakKeyDictionary[Any, dict[Hashable, AutomaticSize]] = WeakKeyDictionary()


def automatic_size(
    forward_func: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    formats: Hashable,
    gradients: bool = False,
) -> AutomaticSize:
    """Return the automatic size of a model and a kind of input, which the process remembers.

    Args:
        forward_func: The model. What cannot be remembered (no weak references) starts anew.
        inputs: Tensors ``(B, ...)``; B does not matter.
        formats: Memory formats of the inputs.
        gradients: Whether rows go through it backwards, too. Default: False
    """
    device = inputs[0].device
    owner = getattr(forward_func, "__self__", forward_func)
    owner = getattr(owner, "forward_func", owner)  # of one that only wraps a model
    key = (
        getattr(forward_func, "__name__", None),
        tuple((tuple(x.shape[1:]), x.dtype) for x in inputs),
        formats,
        gradients,
        device,
        torch.is_autocast_enabled(device.type),
        torch.get_num_threads() if device.type == "cpu" else None,
    )
    with _sizes_lock:
        try:
            known = _sizes.setdefault(owner, {})
        except TypeError:
            known = {}
        size = known.setdefault(key, AutomaticSize(first_guess(inputs)))
    size.start_run()
    return size


def first_guess(inputs: tuple[Tensor, ...]) -> int:
    """Return the rows per chunk where nothing has been measured, from sizes and kind of device."""
    row = sum(x[0].numel() for x in inputs) * 4
    on_cpu = inputs[0].device.type == "cpu"
    rows = (CPU_BYTES if on_cpu else ACCELERATOR_BYTES) // row
    largest = LARGEST_GUESS if on_cpu else 16 * LARGEST_GUESS
    return int(2 ** (min(max(rows, 1), largest).bit_length() - 1))
