"""Box: the range of valid inputs, such as that of normalised pixels, and moves inside it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from captum_spectral._arguments import detached

__all__ = ["ROUNDING", "Box", "Clip", "check_pair"]

NEWTON_STEPS = 8
# How far, in units of rounding, pixels may be from the range that they were normalised with.
ROUNDING = 4

Bound = float | Sequence[float] | Tensor
# The smallest and the largest valid value.
Clip = tuple[Bound, Bound]


class Box:
    """Values between ``low`` and ``high``, or all of them for ``clip=None``.

    Args:
        clip: Two of: a number, one number per channel (dim 1), or a tensor that broadcasts to the
            inputs. Where both are equal nothing may change.
        inputs: ``(B, ...)``, must lie inside to rounding.
        dtype: The inputs' own; the bounds are rounded to it so that no point rounds out of them.
        name: Of the user's argument that the inputs come from, for messages. Default: "inputs"
    """

    def __init__(
        self, clip: Clip | None, inputs: Tensor, dtype: torch.dtype, name: str = "inputs"
    ) -> None:
        self._bounds: tuple[Tensor, Tensor] | None = None
        if clip is None:
            return
        low, high = (_bound(bound, inputs, dtype) for bound in clip)
        if not (low <= high).all():
            raise ValueError(f"clip must be (low, high) with low <= high everywhere, got {clip!r}")
        slack = _slack(low, high, dtype)
        outside = ((inputs < low - slack) | (inputs > high + slack)).flatten(1).any(1)
        if outside.any():
            listed = ", ".join(
                f"{e} ({float(inputs[e].min()):.4g} to {float(inputs[e].max()):.4g})"
                for e in outside.nonzero().flatten().tolist()
            )
            raise ValueError(
                f"{name} must lie inside clip={clip!r}, but these examples do not: {listed}; "
                f"give the range of the {name} as the model sees them, after normalisation"
            )
        self._bounds = low, high

    def of(self, examples: Tensor) -> Box:
        """Return the box of some of the examples, each row of which is one of theirs."""
        if self._bounds is None or all(len(bound) == 1 for bound in self._bounds):
            return self
        box = copy(self)
        low, high = (bound if len(bound) == 1 else bound[examples] for bound in self._bounds)
        box._bounds = low, high
        return box

    def width(self, like: Tensor) -> Tensor:
        """Return how far pixels can move ``(1 or B, ...)``, infinite where nothing limits them."""
        if self._bounds is None:
            return torch.full_like(like, torch.inf)
        low, high = self._bounds
        return (high - low).expand(max(len(low), len(high)), *like.shape[1:])

    def clamp(self, points: Tensor) -> Tensor:
        """Move points ``(R, ...)`` to the nearest ones inside."""
        if self._bounds is None:
            return points
        low, high = self._bounds
        return points.maximum(low).minimum(high)

    def move(self, points: Tensor, unit: Tensor, distances: Tensor) -> Tensor:
        r"""Move points along unit vectors, to the nearest points inside that are as far that way.

        Without bounds :math:`z = x + d u`. With bounds the nearest :math:`z` with
        :math:`u \cdot (z - x) = d` is :math:`x + \lambda u`, clamped; Newton's method finds
        :math:`\lambda`, as the component is concave in it. Where the box ends before that, as far
        as it goes.

        Args:
            points: ``(R, ...)`` inside.
            unit: ``(R, ...)`` of length 1.
            distances: ``(R,)`` not negative.
        """
        wide = (-1, *[1] * (points.dim() - 1))
        reach = distances
        moved = self.clamp(points + reach.reshape(wide) * unit)
        if self._bounds is None:
            return moved
        for _ in range(NEWTON_STEPS):
            lacking = distances - (unit * (moved - points)).flatten(1).sum(1)
            free = self.without_blocked(moved, unit).flatten(1).square().sum(1)
            reach = torch.where(free > 0, reach + lacking / free, reach)
            moved = self.clamp(points + reach.reshape(wide) * unit)
        return moved

    def without_blocked(self, points: Tensor, direction: Tensor) -> Tensor:
        """Zero the coordinates of directions ``(R, ...)`` in which the box allows no move."""
        if self._bounds is None:
            return direction
        low, high = self._bounds
        blocked = ((points <= low) & (direction < 0)) | ((points >= high) & (direction > 0))
        return direction.masked_fill(blocked | (low == high), 0)


def check_pair(clip: object) -> None:
    """Check that bounds come as a pair; all else about them depends on the inputs."""
    if not isinstance(clip, (tuple, list)) or len(clip) != 2:
        raise TypeError(f"clip must be None or a pair (low, high), got {clip!r}")


def _slack(low: Tensor, high: Tensor, dtype: torch.dtype) -> Tensor:
    """Return how far outside the bounds inputs may be, which is the rounding of the bounds."""
    size = torch.maximum(low.nan_to_num(0, 0, 0).abs(), high.nan_to_num(0, 0, 0).abs())
    # Images in float64, too, mostly were float32 before.
    return ROUNDING * max(torch.finfo(d).eps for d in (dtype, torch.float32)) * size


def _bound(bound: Bound, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Round a bound to ``dtype``, and give it the rank of the inputs: ``(1 or B, ...)``."""
    if not isinstance(bound, Tensor):
        bound = torch.tensor(bound, dtype=torch.float64, device="cpu")
    tensor = detached(bound).to(dtype).to(inputs)
    if tensor.dim() == 1 and len(tensor) == inputs.shape[1]:  # one number per channel
        tensor = tensor.reshape(1, -1, *[1] * (inputs.dim() - 2))
    shape = inputs.shape
    if tensor.dim() > len(shape) or any(
        n not in (1, m) for n, m in zip(reversed(tensor.shape), reversed(shape), strict=False)
    ):
        raise ValueError(
            "clip must hold numbers, one number per channel, or tensors that broadcast to the "
            f"inputs of shape {tuple(shape)}, got shape {tuple(tensor.shape)}"
        )
    return tensor.reshape([1] * (len(shape) - tensor.dim()) + list(tensor.shape))
