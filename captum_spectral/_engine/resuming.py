"""Evaluations that go on where an exception ended them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from captum_spectral._captum import progress_bar
from captum_spectral._engine.evaluation import Evaluation, Work
from captum_spectral._engine.forward import Forward

__all__ = ["Resuming"]

WorkT = TypeVar("WorkT", bound=Work)


class _Unfinished(NamedTuple):
    """An evaluation that an exception ended, and what it was of."""

    coalitions: Any
    rows_at_once: int | None
    state: str
    work: Any
    evaluation: Evaluation


class Resuming(Generic[WorkT]):
    """Runs evaluations of one model, one at a time, and keeps the one that an exception ended.

    Args:
        forward: The model. What is kept is of use while its state is the same.

    Attributes:
        lock: Held while an evaluation runs: another thread would share its rows.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self.lock = threading.RLock()
        self._unfinished: _Unfinished | None = None

    def run(
        self,
        coalitions: Any,
        rows_at_once: int | None,
        begin: Callable[[], tuple[WorkT, Evaluation]],
        *,
        show_progress: bool,
        description: str,
    ) -> WorkT:
        """Evaluate coalitions, from where an evaluation of the same ones was interrupted.

        Args:
            coalitions: A tensor, or what makes coalitions as they are needed.
            rows_at_once: As the user said it.
            begin: Makes a new evaluation.
            show_progress: Show a progress bar, in rows.
            description: Title of the progress bar.
        """
        with self.lock:
            work, evaluation = self._continued(coalitions, rows_at_once) or begin()
            self._unfinished = None
            try:
                self._run(evaluation, show_progress, description)
            except BaseException:
                state = self._forward.state()
                if state is not None:
                    # A copy: what the caller does to it must not make it another one's.
                    own = coalitions.clone() if isinstance(coalitions, Tensor) else coalitions
                    self._unfinished = _Unfinished(own, rows_at_once, state, work, evaluation)
                raise
        return work

    def _continued(
        self, coalitions: Any, rows_at_once: int | None
    ) -> tuple[WorkT, Evaluation] | None:
        """Return the evaluation that an exception ended, if it was of the same values."""
        left = self._unfinished
        if left is None or left.rows_at_once != rows_at_once:
            return None
        if left.state != self._forward.state():
            return None
        before = left.coalitions
        if isinstance(before, Tensor) and isinstance(coalitions, Tensor):
            same = before.device == coalitions.device and torch.equal(before, coalitions)
        else:
            same = before is coalitions
        return (left.work, left.evaluation) if same else None

    @staticmethod
    def _run(evaluation: Evaluation, show_progress: bool, description: str) -> None:
        bar = progress_bar(show_progress, description, evaluation.total)
        # Values and parts outlive the call; tensors of inference mode are of no use outside of it.
        with bar, torch.inference_mode(False), torch.no_grad():
            if evaluation.remaining < evaluation.total:
                bar.update(evaluation.total - evaluation.remaining)
            evaluation.run(bar)
