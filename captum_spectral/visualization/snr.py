"""Draw the signal-to-noise ratio of perturbations over frequency."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spectral.visualization._drawing import (
    Array,
    Floats,
    check_named,
    show,
    to_array,
    to_frequencies,
)
from captum_spectral.visualization._layout import add_legend, place_for, plain_numbers, room, settle
from captum_spectral.visualization._style import (
    COLOURS,
    faded,
    grid_style,
    ink,
    inside,
    line_colours,
)
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_snr"]

_NYQUIST = 0.5
_TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def visualize_snr(
    frequencies: Array,
    decibel: Mapping[str, Array],
    band_frequencies: Array | None = None,
    band_decibel: Mapping[str, Array] | None = None,
    *,
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] = (7.2, 3.6),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw radial curves of the signal-to-noise ratio, one for each perturbation.

    Frequency is logarithmic and the ratio in decibel, so that a power law is a straight line. At
    0 dB the perturbation is as strong as the image. The rings beyond 0.5 cycles/pixel, which hold
    diagonal frequencies alone, are shaded and their curves dotted. Pale steps behind the curves are
    the ratios of whole bands.

    A ratio says what is left of an image, not what a model makes of it. Points that are infinite or
    unknown, where nothing was changed, are left out.

    Args:
        frequencies: ``(Q,)`` of the rings, positive and increasing, in cycles/pixel.
        decibel: Ratios ``(Q,)`` by the name of the perturbation, at most 7.
        band_frequencies: ``(M, 2)`` lowest and highest frequency of every band, NaN for an empty
            one. Default: None
        band_decibel: Ratios ``(M,)`` of bands for each name in ``decibel``. Default: None
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. Default: (7.2, 3.6)
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, or without names.
        ValueError: Shapes that do not fit each other, frequencies that do not increase from above
            0, no perturbation or more than 7, only one of both arguments for bands.

    Example::

        >>> import torch
        >>> f = torch.arange(1, 17) / 24
        >>> noise = {"noise": -20 * f.log10(), "contrast": torch.full((16,), 6.0)}
        >>> figure, axes = visualize_snr(f, noise, use_pyplot=False)
        >>> axes.get_ylabel()
        'signal-to-noise ratio (dB)'
    """
    f = to_array(frequencies, "frequencies", ("(Q,)",))
    if len(f) < 2 or f[0] <= 0 or (np.diff(f) <= 0).any():
        raise ValueError("frequencies must be positive, increase, and have at least two entries")
    curves = _curves(decibel, len(f), "decibel", "frequencies")
    steps, ranges = _steps(band_frequencies, band_decibel, curves)
    figure, axes = place_for(plt_fig_axis, fig_size, use_pyplot)
    across, high = room(axes)
    ground = inside(axes)
    colours = line_colours(axes)
    last = f[-1] * 1.02
    axes.set_xscale("log")
    if last > _NYQUIST:
        axes.axvspan(_NYQUIST, last, color=faded(ground, 1.3), lw=0, zorder=0)
    handles: list[Artist] = []
    drawn = [0.0]
    within = f <= _NYQUIST
    corners = f >= f[within][-1] if within.any() else ~within  # joined to the last ring within
    for colour, (name, y) in zip(colours, curves.items(), strict=False):
        if name in steps and ranges is not None:
            left = ranges[:, 0].clip(f[0])
            right = np.maximum(ranges[:, 1], left)
            known = np.isfinite(steps[name]) & np.isfinite(left)
            axes.hlines(
                steps[name][known], left[known], right[known], color=colour, alpha=0.35, lw=5
            )
            drawn += steps[name][known].tolist()
        shown = np.where(np.isfinite(y), y, np.nan)
        handles += axes.plot(f[within], shown[within], color=colour, lw=1.6)
        axes.plot(f[corners], shown[corners], color=colour, lw=1.2, linestyle=":")
        drawn += shown[np.isfinite(shown)].tolist()
    axes.axhline(0, color=ink(ground), lw=0.8, zorder=1.5)
    low, top = min(drawn), max(drawn)
    margin = 0.06 * (top - low) or 1.0
    axes.set_ylim(low - margin, top + margin)
    axes.set_xlim(f[0] / 1.02, last)
    ticks = [tick for tick in _TICKS if f[0] / 1.02 <= tick <= last]
    ticks = ticks if len(ticks) > 1 else [f[0], f[-1]]
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(plain_numbers(max(abs(low), abs(top))))
    write(axes.set_xlabel("frequency (cycles/pixel)"), across)
    write(axes.set_ylabel("signal-to-noise ratio (dB)"), high)
    axes.grid(**grid_style(axes))
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    rows = add_legend(axes, handles, list(curves), beside=True, size=8.0)
    if title:
        across *= 1.0 if rows else 0.65  # a legend beside the axes takes the rest
        set_title(axes, title, across, pad=8 + 1.7 * 8.0 * rows)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _curves(values: Mapping[str, Array], length: int, name: str, like: str) -> dict[str, Floats]:
    """Return curves by name; raise unless each has ``length`` entries."""
    check_named(values, name, '{"noise": snr.radial.decibel}')
    if not 1 <= len(values) <= len(COLOURS):
        raise ValueError(f"{name} must hold 1 to {len(COLOURS)} perturbations, got {len(values)}")
    found = {}
    for key, y in values.items():
        found[key] = to_array(y, f"{name}[{key!r}]", ("(Q,)",), finite=False)
        if len(found[key]) != length:
            raise ValueError(
                f"{name}[{key!r}] must be ({length},), as long as {like}, got shape "
                f"{found[key].shape}"
            )
    return found


def _steps(
    band_frequencies: Array | None,
    band_decibel: Mapping[str, Array] | None,
    curves: Mapping[str, Floats],
) -> tuple[dict[str, Floats], Floats | None]:
    """Return the ratios of bands by name, and the bands."""
    if band_frequencies is None and band_decibel is None:
        return {}, None
    if band_frequencies is None or band_decibel is None:
        raise ValueError("band_frequencies and band_decibel go together; give both or none")
    count = len(band_frequencies)
    steps = _curves(band_decibel, count, "band_decibel", "band_frequencies")
    unknown = [name for name in steps if name not in curves]
    if unknown:
        raise ValueError(f"band_decibel has names that decibel does not have: {unknown}")
    return steps, to_frequencies(band_frequencies, count)
