"""Draw a painted attribution over the spectrum of its image, signal or volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from captum_spectral.visualization._drawing import (
    Array,
    Floats,
    centred,
    show,
    to_array,
    with_unit,
)
from captum_spectral.visualization._layout import add_colour_bar, place_for, room, settle
from captum_spectral.visualization._signals import draw_signal
from captum_spectral.visualization._style import faded, outside
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_spectrum"]

_DYNAMIC_RANGE = 1e-6  # magnitudes below this share of the largest are rounding errors
_FIVE_TICKS = 2.6  # inches that five tick labels need
_LIGHT = 0.4  # room under the darkest bin: on a light grey, the colours look as in the colour bar


def visualize_spectrum(
    painted: Array,
    image: Array,
    *,
    unit: str = "model output",
    sample_rate: float | Sequence[float] | None = None,
    frequency_unit: str | None = None,
    cmap: str | Colormap = "coolwarm",
    alpha_overlay: float = 0.65,
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] = (5.2, 4.4),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Lay a painted attribution over the spectrum of its image, signal or volume.

    Of an image zero frequency is in the centre; of a signal ``(C, T)`` one half of the spectrum is
    drawn as a line in decibels, with the attributions behind it; of a volume ``(C, D, H, W)`` the
    plane through zero frequency along ``D`` (turn the volume for another).

    The grey layer is the logarithm of the magnitude
    :math:`\big(\sum_c |\mathcal{F}[x_c]|^2\big)^{1/2}`, bright where the image has energy. The
    colour layer is the attribution, transparent, with 0 in the middle of the colour map.

    A painted attribution lives on the Fourier plane, which is why it belongs over a spectrum and
    never over the photograph. A bin has the value of its whole band: large areas are wide bands,
    not important ones, and the sum over the plane means nothing. Directions are those of the
    photograph: energy on the horizontal axis comes from vertical edges. The Nyquist
    frequency of an even size is one bin that is both -0.5 and 0.5; it is drawn on both sides.

    Args:
        painted: ``(H, W)`` or ``(C, H, W)`` attribution in the layout of ``torch.fft.fft2``
            (unshifted), as ``attribute(...)[0]`` of :class:`~captum_spectral.SpectralShapley`
            gives. The mean over channels is drawn; pass ``painted[c]`` where channels have bands of
            their own. ``(T,)`` or ``(C, T)`` of a signal, ``(D, H, W)`` or ``(C, D, H, W)`` of a
            volume.
        image: ``(C, H, W)``, in any range; ``(C, T)`` for a signal, ``(C, D, H, W)`` for a volume.
        unit: Unit of the attribution, e.g. ``"logits"`` or ``"nats"``; ``""`` for a pure number.
            Default: "model output"
        sample_rate: Samples per second of a signal, or per mm: one number, or one for each of the
            transformed dims. None: 1. Default: None
        frequency_unit: Unit of the axes, e.g. ``"cycles/mm"``. None: "cycles/pixel", and for a
            signal "cycles/sample"; with a ``sample_rate``, whose unit is not known, "cycles per
            unit of length", and for a signal "Hz". Default: None
        cmap: Diverging colour map; 0 gets its middle. Default: "coolwarm" (red raises the output,
            blue lowers it; safe for colour-blind readers)
        alpha_overlay: Opacity of the colour layer in [0, 1]. Default: 0.65
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. Default: (5.2, 4.4)
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes; vertical frequency downwards.

    Raises:
        TypeError: Values that are not a real tensor or array.
        ValueError: Shapes that do not fit each other, NaN or infinite values, an opacity outside
            [0, 1], a sample rate that is not positive.

    Example::

        >>> import torch
        >>> painted = torch.zeros(16, 20)
        >>> painted[0, 0] = 2.0
        >>> figure, axes = visualize_spectrum(painted, torch.rand(3, 16, 20), use_pyplot=False)
        >>> axes.get_xlabel()
        'horizontal frequency (cycles/pixel)'
        >>> grey, colour = axes.get_images()
        >>> float(colour.get_array()[8, 10])
        2.0
    """
    values, magnitude = _check(painted, image)
    if not 0 <= alpha_overlay <= 1:
        raise ValueError(f"alpha_overlay must be between 0 and 1, got {alpha_overlay!r}")
    rates = _rates(sample_rate, values.ndim)
    is_signal = values.ndim == 1
    if frequency_unit is None:
        per_sample = "cycles/sample" if is_signal else "cycles/pixel"
        per_unit = "Hz" if is_signal else "cycles per unit of length"
        frequency_unit = per_sample if sample_rate is None else per_unit
    figure, axes = place_for(plt_fig_axis, fig_size, use_pyplot)
    across, down = room(axes)
    note = "grey: log magnitude of the image's spectrum"
    if is_signal:
        side, note = down, "line: magnitude of the signal's spectrum"
        colours = draw_signal(
            axes, values, magnitude, rates[0], cmap=cmap, alpha_overlay=alpha_overlay
        )
        write(axes.set_xlabel(with_unit("frequency", frequency_unit)), across)
        write(axes.set_ylabel("magnitude (dB)"), down)
    else:
        side = min(across, down)  # inches
        if values.ndim == 3:
            values, magnitude, rates = values[0], magnitude[0], rates[1:]
            note = "grey: log magnitude at depth frequency 0"
        colours = _draw_plane(
            axes, values, magnitude, rates, cmap=cmap, alpha_overlay=alpha_overlay
        )
        few = sample_rate is not None or side <= _FIVE_TICKS  # numbers with units are longer
        ticks = np.array([-0.5, 0, 0.5] if few else [-0.5, -0.25, 0, 0.25, 0.5])
        axes.set_xticks(ticks * rates[1])
        axes.set_yticks(ticks * rates[0])
        write(axes.set_xlabel(with_unit("horizontal frequency", frequency_unit)), side)
        write(axes.set_ylabel(with_unit("vertical frequency", frequency_unit)), side)
    beside = axes.inset_axes((1.04, 0, 0.05, 1))
    add_colour_bar(figure, colours, inches=side, cax=beside)
    beside.set_facecolor("white")  # as light as the grey layer, in dark styles, too
    write(beside.set_ylabel(with_unit("attribution", unit)), side)
    colour = faded(outside(axes.figure), 7.0)
    below = axes.text(0, 1.015, note, transform=axes.transAxes, fontsize=8, color=colour)
    lines = write(below, side).get_text().count("\n")
    if title:
        set_title(axes, title, across, pad=18 + 10 * lines)
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _draw_plane(
    axes: Axes,
    plane: Floats,
    magnitude: Floats,
    rates: list[float],
    *,
    cmap: str | Colormap,
    alpha_overlay: float,
) -> AxesImage:
    """Draw the colours of a plane ``(H, W)`` over its grey magnitudes, both unshifted."""
    # Bins are 1 / n apart and centred on their frequencies. Of an odd size they end at 0.5; of an
    # even one, with Nyquist on both sides, half a bin beyond.
    height, width = (
        rate * (0.5 + 0.5 / n if n % 2 == 0 else 0.5)
        for n, rate in zip(plane.shape, rates, strict=True)
    )
    extent = (-width, width, height, -height)  # left, right, bottom, top: rows run downwards
    grey = np.log10(magnitude.clip(magnitude.max() * _DYNAMIC_RANGE or 1.0))
    low, high = np.quantile(grey, [0.01, 0.999])  # a few bins must not take all the contrast
    low -= _LIGHT * (high - low)
    axes.imshow(_shift(grey), cmap="gray", vmin=low, vmax=high, extent=extent)
    axes.grid(False)  # some styles have one, which would lie on the colours
    return axes.imshow(
        _shift(plane),
        cmap=cmap,
        norm=centred(plane),
        alpha=alpha_overlay,
        extent=extent,
        interpolation="nearest",
    )


def _check(painted: Array, image: Array) -> tuple[Floats, Floats]:
    """Return attribution and magnitude, both unshifted and without channels; raise unless they fit.

    ``(T,)`` of a signal, ``(H, W)`` of an image, ``(D, H, W)`` of a volume.
    """
    picture = to_array(
        image,
        "image",
        ("(C, H, W)", "(C, T)", "(C, D, H, W)"),
        hint="; one image at a time, with channels",
    )
    form = {2: "T", 3: "H, W", 4: "D, H, W"}[picture.ndim]
    forms = (f"({form},)" if form == "T" else f"({form})", f"(C, {form})")
    values = to_array(painted, "painted", forms, hint="; one example at a time: painted[0]")
    dims = picture.ndim - 1
    fits = values.shape[-dims:] == picture.shape[-dims:]
    if not fits or (values.ndim == picture.ndim and len(values) not in (1, len(picture))):
        raise ValueError(
            f"painted must have the {forms[0]} or {forms[1]} of image, {picture.shape}, got shape "
            f"{values.shape}"
        )
    # Over channels: the root of the summed power of the image, the mean of the attribution.
    spectrum = np.fft.fftn(picture, axes=tuple(range(-dims, 0)))
    magnitude = np.sqrt((np.abs(spectrum) ** 2).sum(0))
    return values.mean(0) if values.ndim == picture.ndim else values, magnitude


def _rates(sample_rate: float | Sequence[float] | None, dims: int) -> list[float]:
    """Return samples per unit of each dim."""
    rates = np.ravel(np.asarray(1.0 if sample_rate is None else sample_rate, dtype=np.float64))
    if len(rates) not in (1, dims) or not (rates > 0).all():
        raise ValueError(
            f"sample_rate must be positive, one number or one for each of {dims} dims, got "
            f"{sample_rate!r}"
        )
    return [float(rate) for rate in np.broadcast_to(rates, dims)]


def _shift(plane: Floats) -> Floats:
    """Move zero frequency to the centre; repeat Nyquist bins of an even size on the far side."""
    repeat = [(0, 1 - n % 2) for n in plane.shape]  # one more row, one more column
    return np.pad(np.fft.fftshift(plane), repeat, mode="wrap")
