"""The spectrum of a signal, with the attributions of its frequencies behind the line."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.image import AxesImage

from captum_spectral.visualization._drawing import Floats, centred

__all__ = ["draw_signal"]

_DECIBELS = 120.0  # below the largest magnitude; what is lower is a rounding error
_HEADROOM = 0.06  # of the axes, above the largest magnitude


def draw_signal(
    axes: Axes,
    line: Floats,
    magnitude: Floats,
    rate: float,
    *,
    cmap: str | Colormap,
    alpha_overlay: float,
) -> AxesImage:
    """Draw the magnitudes of one half of a spectrum over its coloured frequencies.

    Args:
        axes: Where.
        line: ``(T,)`` attributions, unshifted.
        magnitude: ``(T,)`` magnitudes, unshifted.
        rate: Samples per unit of time.
        cmap: Diverging colour map.
        alpha_overlay: Opacity of the colours.

    Returns:
        The colours, for a colour bar.
    """
    bins = len(line) // 2 + 1
    half = rate / (2 * len(line))  # bins are rate / T apart and centred on their frequencies
    frequencies = np.arange(bins) * 2 * half
    share = magnitude[:bins] / (magnitude.max() or 1.0)
    decibels = 20 * np.log10(share.clip(10 ** (-_DECIBELS / 20)))
    low, high = float(decibels.min()), 0.0
    low = min(low, -20.0)
    high += _HEADROOM * (high - low)
    colours = axes.imshow(
        line[None, :bins],
        cmap=cmap,
        norm=centred(line),
        alpha=alpha_overlay,
        extent=(-half, frequencies[-1] + half, low, high),
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_facecolor("white")  # the colours look as in the colour bar, and the line is seen
    axes.plot(frequencies, decibels, color="black", linewidth=1.0)
    axes.set_xlim(-half, frequencies[-1] + half)
    axes.set_ylim(low, high)
    axes.grid(False)
    return colours
