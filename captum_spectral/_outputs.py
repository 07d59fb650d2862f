"""What a forward function may return, and what a target picks from it."""

from __future__ import annotations

import numbers
from typing import Any

import torch
from torch import Tensor

from captum_spectral._captum import TargetType, select_targets

__all__ = ["as_results", "check_finite", "select"]


def as_results(output: Any) -> Tensor:
    """A forward output as a real tensor whose dim 0 counts results; a number is one result."""
    if isinstance(output, numbers.Real):
        return torch.tensor([float(output)], dtype=torch.float64)
    if not isinstance(output, Tensor) or output.dtype.is_complex:
        raise TypeError(
            "forward_func must return a tensor of real numbers or a number, got "
            f"{output.dtype if isinstance(output, Tensor) else type(output).__name__}"
        )
    return output.reshape(1) if output.dim() == 0 else output


def select(output: Any, target: TargetType) -> Any:
    """What the target picks, as Captum does it; a class that does not exist is named.

    Captum leaves an index out of range to the indexing, which on a GPU ends the process.
    """
    if target is None:
        return output
    if not isinstance(output, Tensor) or output.dim() == 0:
        raise ValueError(
            f"target={target!r} cannot be selected: forward_func returns one number, so there is "
            "nothing to choose from; use target=None"
        )
    ids = target if isinstance(target, (int, Tensor)) else None
    if isinstance(target, list) and all(isinstance(t, int) for t in target):
        ids = torch.tensor(target)
    if ids is not None and output.dim() > 1:
        highest = int(torch.as_tensor(ids).max())
        if highest >= output.shape[1]:
            raise ValueError(
                f"target {highest} does not exist: forward_func returns {output.shape[1]} outputs "
                f"per example, 0..{output.shape[1] - 1}"
            )
    return select_targets(output, target)


def check_finite(values: Tensor, coalitions: Tensor, first_example: int = 0) -> None:
    """Name the example and the coalition of the first value that is NaN or infinite.

    Args:
        values: ``(b, K, *outputs)``.
        coalitions: ``(K, M)`` or ``(b, K, M)``.
        first_example: Which example row 0 of ``values`` is.
    """
    finite = torch.isfinite(values).flatten(2).all(2) if values.dim() > 2 else values.isfinite()
    if finite.all():
        return
    example, k = (~finite).nonzero()[0].tolist()
    members = coalitions[k] if coalitions.dim() == 2 else coalitions[example, k]
    raise ValueError(
        f"forward_func gave a value that is not finite (NaN or infinite) for example "
        f"{first_example + example} with the coalition of bands "
        f"{members.nonzero().flatten().tolist()} out of {len(members)}, the other bands those of "
        "the baseline; Shapley values need finite values: does the model accept its baseline?"
    )
