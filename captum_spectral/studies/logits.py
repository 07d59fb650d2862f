"""The logits of a user's model for one input, and every failure of it as one clear error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from captum_spectral.sources.models import LoadedModel

__all__ = ["failures_of", "logits_of"]


def logits_of(model: LoadedModel, x: Tensor) -> Tensor:
    """Return what a model makes of one input, ``(1, classes)``.

    Raises:
        ValueError: It fails, or gives something else.

    Cost: a model row.
    """
    with failures_of(model, x), torch.no_grad():
        logits = model.module(x)
    if isinstance(logits, Tensor) and logits.dim() == 2 and len(logits) == 1:
        return logits
    got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
    raise ValueError(
        f"{model.name} must give one logit per class, (B, classes), and gives outputs of {got} "
        "for one image"
    )


@contextlib.contextmanager
def failures_of(model: LoadedModel, x: Tensor) -> Iterator[None]:
    """Turn whatever a model fails with into one clear error."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"{model.name} fails on an input of shape {tuple(x.shape)} with "
            f"{type(error).__name__}: {reason}"
        ) from error
