"""Draw models as points, their families by colour and by marker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from captum_spectral.visualization._drawing import Floats
from captum_spectral.visualization._style import line_colours

__all__ = ["MOST_FAMILIES", "check_families", "draw_families", "height_for"]

_MARKERS = "os^Dv*P"
_LINE = 0.18  # inches of a row of the legend
MOST_FAMILIES = len(_MARKERS) ** 2


def check_families(families: Sequence[str], num_points: int) -> list[str]:
    """Return the family of each point; raise unless there is one for each, and few enough."""
    if isinstance(families, str) or not all(isinstance(family, str) for family in families):
        raise TypeError(f"families must be a sequence of {num_points} strings, got {families!r}")
    if len(families) != num_points:
        raise ValueError(
            f"families must have one name for each of {num_points} models, got {len(families)}"
        )
    if len(set(families)) > MOST_FAMILIES:
        raise ValueError(
            f"families holds {len(set(families))} names and at most {MOST_FAMILIES} can be told "
            "apart"
        )
    return list(families)


def height_for(families: Sequence[str], least: float) -> float:
    """Return the height of a new figure in inches whose legend names all families."""
    return max(least, 0.9 + _LINE * len(set(families)))


def draw_families(
    axes: Axes, x: Floats, y: Floats, families: Sequence[str], *errors: Floats
) -> tuple[list[Artist], list[str]]:
    """Draw points ``(N,)`` and return the entries of the legend.

    ``errors`` are none, or those across and those upwards ``(N,)``; where they are not 0 a whisker
    is drawn.
    """
    colours, names = line_colours(axes), list(dict.fromkeys(families))
    handles: list[Artist] = []
    for i, name in enumerate(names):
        here = np.array([family == name for family in families])
        # The next round of colours meets other markers: 49 pairs, and the first 7 differ in both.
        colour = colours[i % len(colours)]
        marker = _MARKERS[(i + i // len(colours)) % len(_MARKERS)]
        options: dict[str, Any] = {"fmt": "none", "ecolor": colour, "elinewidth": 0.9, "zorder": 2}
        for way, error in zip(("xerr", "yerr"), errors, strict=False):
            if error[here].any():
                axes.errorbar(x[here], y[here], **{way: error[here]}, **options)
        handles += axes.plot(
            x[here],
            y[here],
            linestyle="none",
            marker=marker,
            markersize=8.0 if marker == "*" else 6.0,
            color=colour,
            zorder=3,
        )
    return handles, names
