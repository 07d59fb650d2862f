"""The processes of one run: each does a part, and the parts come together."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

__all__ = ["Processes"]

T = TypeVar("T")

_MEETING = timedelta(minutes=3)


class Processes:
    """This process among those that ``torchrun`` started, or alone.

    Made once, it meets the others, if there are any.

    Args:
        device: Where this process computes.

    Attributes:
        rank (int): Which of them this is; 0 reports and writes.
        count (int): How many there are.
        here (int): How many of them are on this machine.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank = int(os.environ.get("RANK", 0))
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
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
            store, *_ = next(rendezvous("env://", timeout=_MEETING))
        except dist.DistError as error:
            raise ValueError(
                f"WORLD_SIZE={self.count} announces {self.count} processes, and they did not meet "
                f"within {_MEETING.total_seconds():.0f} seconds; start them with torchrun, or "
                f"unset RANK and WORLD_SIZE where there is one ({str(error).splitlines()[0]})"
            ) from error
        return store

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
