"""When the errors are small enough to stop."""

from __future__ import annotations

from statistics import NormalDist

from torch import Tensor

from captum_spectral.importance.moments import statistics

__all__ = ["Tolerance"]

MIN_EXAMPLES = 30  # fewer say little about their own spread


class Tolerance:
    """Whether all bands are known well enough.

    Args:
        relative: Largest half width of a band's confidence interval, as a share of the largest
            attribution.
        confidence: Level of the interval.

    Raises:
        TypeError: No numbers.
        ValueError: A tolerance that is not positive, a confidence outside of (0, 1).
    """

    def __init__(self, relative: float, confidence: float) -> None:
        for name, number in (("tolerance", relative), ("confidence", confidence)):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise TypeError(f"{name} must be a number, got {number!r}")
        if not relative > 0:
            raise ValueError(f"tolerance must be positive, 0.02 for 2 %, say, got {relative!r}")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, 0.95, say, got {confidence!r}")
        self._relative = relative
        self._widths = NormalDist().inv_cdf((1 + confidence) / 2)

    def is_reached(self, moments: Tensor) -> bool:
        """Whether the images of moments ``(V, V)`` suffice."""
        if float(moments[0, 0]) < MIN_EXAMPLES:
            return False
        found = statistics(moments)
        half_width = self._widths * float(found.covariance.diagonal().max().sqrt())
        return half_width <= self._relative * float(found.attributions.abs().max())
