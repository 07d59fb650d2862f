"""The processes of one run: each does a part, and the parts come together."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

__all__ = ["Processes"]

T = TypeVar("T")

_MEETING = timedelta(minutes=3)
_PATIENCE = 5.0  # seconds without a word; processes that start together meet sooner


class Processes:
    """This process among those that ``torchrun`` started, or alone.

    Made once, it meets the others, if there are any; where they are late it says on the error
    stream what it waits for.

    Args:
        device: Where this process computes.

    Raises:
        ValueError: The variables of ``torchrun`` in the environment contradict each other, or the
            processes that they announce did not come within 3 minutes.

    Attributes:
        rank (int): Which of them this is; 0 reports and writes.
        count (int): How many there are.
        here (int): How many of them are on this machine.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank = _variable("RANK", 0)
        self.count = _variable("WORLD_SIZE", 1)
        self.here = max(1, _variable("LOCAL_WORLD_SIZE", 1))
        if self.rank >= self.count:
            raise ValueError(
                f"RANK={self.rank} is not one of WORLD_SIZE={self.count} processes, 0 to "
                f"{self.count - 1}; start them with torchrun, or unset both where there is one"
            )
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if self.count > 1:
            # What is exchanged lies on the CPU; NCCL is there for a model that wants it.
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            # One process may work on a large batch while the others wait for it; if one fails,
            # torchrun ends the others. That all are there is seen much earlier.
            dist.init_process_group(
                backend,
                store=self._meet(),
                rank=self.rank,
                world_size=self.count,
                timeout=timedelta(days=7),
            )

    def _meet(self) -> Any:
        """Wait for the other processes that the environment announces; return their store."""
        try:
            with self._said_after(_PATIENCE):
                store, *_ = next(rendezvous("env://", timeout=_MEETING))
        except dist.DistError as error:
            raise ValueError(
                f"WORLD_SIZE={self.count} announces {self.count} processes, and they did not meet "
                f"within {_MEETING.total_seconds():g} seconds; start them with torchrun, or "
                f"unset RANK and WORLD_SIZE where there is one ({str(error).splitlines()[0]})"
            ) from error
        return store

    @contextlib.contextmanager
    def _said_after(self, seconds: float) -> Iterator[None]:
        """Say what is waited for once ``seconds`` have passed: the variables may be left over."""
        others = self.count - 1
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        sentence = (
            f"waiting for {others} more process{'es' * (others > 1)} (RANK={self.rank}, "
            f"WORLD_SIZE={self.count}) at {where}; unset RANK and WORLD_SIZE if there is only this "
            "one"
        )
        stream = sys.stderr
        timer = threading.Timer(seconds, lambda: print(sentence, file=stream, flush=True))
        timer.daemon = True  # an interruption must not wait for it
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @classmethod
    def alone(cls) -> Processes:
        """Return this process without others, whatever the environment says."""
        processes = cls.__new__(cls)
        processes.rank, processes.count, processes.here = 0, 1, 1
        return processes

    @property
    def is_first(self) -> bool:
        """True for the process that reports and writes."""
        return self.rank == 0

    def gather(self, part: T) -> list[T]:
        """Give every process the parts of all, in the order of their ranks."""
        if self.count == 1:
            return [part]
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, part)
        return parts

    def from_first(self, what: T) -> T:
        """Give every process what the first has."""
        if self.count == 1:
            return what
        box = [what]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def leave(self) -> None:
        """Leave together; not after an error, where others may never come."""
        if self.count > 1:
            dist.barrier()
            dist.destroy_process_group()


def _variable(name: str, default: int) -> int:
    """Return a count that ``torchrun`` gives to its processes."""
    value = os.environ.get(name, "").strip()
    if value and not value.isdecimal():
        raise ValueError(
            f"the environment variable {name} must be a whole number, as torchrun sets it, got "
            f"{value!r}; unset it where there is one process"
        )
    return int(value or default)
