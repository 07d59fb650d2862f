"""What a forward function may return, and what a target picks from it."""

from __future__ import annotations

import numbers
from typing import Any

import torch
from torch import Tensor

from captum_spectral._captum import TargetType, select_targets

__all__ = ["as_results", "first_not_finite", "not_finite", "select"]


def as_results(output: Any) -> Tensor:
    """A forward output as a real tensor whose dim 0 counts results; a number is one result."""
    if isinstance(output, numbers.Real):
        return torch.tensor([float(output)], dtype=torch.float64, device="cpu")
    if not isinstance(output, Tensor) or output.dtype.is_complex:
        raise TypeError(
            "forward_func must return a tensor of real numbers or a number, got "
            f"{output.dtype if isinstance(output, Tensor) else type(output).__name__}"
        )
    return output.reshape(1) if output.dim() == 0 else output


def select(output: Any, target: TargetType, highest: int | None = None) -> Any:
    """What the target picks, as Captum does it; a class that does not exist is named.

    Captum leaves an index out of range to the indexing, which on a GPU ends the process.

    Args:
        output: What the forward function gave.
        target: The targets of its rows.
        highest: The largest class in the target, known beforehand because looking for it in a
            tensor would wait for its device. None where the target names no single class.
    """
    if target is None:
        return output
    if not isinstance(output, Tensor) or output.dim() == 0:
        raise ValueError(
            f"target={target!r} cannot be selected: forward_func returns one number, so there is "
            "nothing to choose from; use target=None"
        )
    if highest is not None and output.dim() > 1 and highest >= output.shape[1]:
        raise ValueError(
            f"target {highest} does not exist: forward_func returns {output.shape[1]} outputs "
            f"per example, 0..{output.shape[1] - 1}"
        )
    return select_targets(
        output, target.to(output.device) if isinstance(target, Tensor) else target
    )


def first_not_finite(values: Tensor) -> int | None:
    """The first row of ``values (N, *outputs)`` that holds a NaN or an infinity."""
    finite = values.isfinite().flatten(1).all(1) if values.dim() > 1 else values.isfinite()
    return None if finite.all() else int((~finite).nonzero()[0, 0])


def not_finite(example: int, members: Tensor) -> ValueError:
    """The error for a value that is not finite.

    Args:
        example: Whose value it is.
        members: ``(M,)`` boolean, the coalition.
    """
    return ValueError(
        "forward_func gave a value that is not finite (NaN or infinite) for example "
        f"{example} with the coalition of bands "
        f"{members.nonzero().flatten().tolist()} out of {len(members)}, the other bands those of "
        "the baseline; Shapley values need finite values: does the model accept its baseline?"
    )
