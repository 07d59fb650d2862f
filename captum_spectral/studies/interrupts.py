"""Requests to end: an exception where the state can be saved, and silence while it is."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

__all__ = ["Terminated", "sigterm_as_exception", "undisturbed"]


class Terminated(BaseException):
    """Somebody asked this process to end (SIGTERM)."""


def sigterm_as_exception() -> contextlib.AbstractContextManager[None]:
    """Let SIGTERM end the run like Ctrl-C."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    return _handled(terminate, signal.SIGTERM)


def undisturbed() -> contextlib.AbstractContextManager[None]:
    """Ignore both: torchrun and the terminal may each send one."""
    return _handled(signal.SIG_IGN, signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def _handled(handler: Callable[..., Any] | signal.Handlers, *numbers: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only that one may ask
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
