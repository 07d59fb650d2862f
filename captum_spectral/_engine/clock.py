"""How long chunks take, without waiting for a device."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["Clock"]


class Clock:
    """Seconds between the ends of successive chunks.

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
        """Rows and seconds of chunks that are known by now, each once."""
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
