"""What a forward function may not return where a curve is drawn."""

from __future__ import annotations

from torch import Tensor

from captum_spectral._captum import TargetType

__all__ = ["not_one_per_row"]


def not_one_per_row(results: Tensor, rows: int, target: TargetType) -> ValueError:
    """The error for outputs at the target that are no values of a curve."""
    return ValueError(
        f"forward_func gives shape {tuple(results.shape)} for {rows} rows at target={target!r}; a "
        "curve needs one number per row: choose it with target, and keep the examples apart"
    )
