"""Choose colours that can be seen on the background at hand, whatever style is in force."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure, SubFigure

Colour = tuple[float, float, float]

__all__ = [
    "COLOURS",
    "LEAST_CONTRAST",
    "Colour",
    "contrast",
    "faded",
    "grid_style",
    "ink",
    "inside",
    "line_colours",
    "outside",
    "visible",
]

# Okabe and Ito's colours, told apart by readers of every colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
LEAST_CONTRAST = 3.0  # of lines, marks and large text, by WCAG 2


def outside(figure: Figure | SubFigure) -> Colour:
    """Return the colour behind what stands outside of the axes."""
    # A subfigure is transparent by default, and so are figures in some notebooks.
    for one in (figure, figure.figure):
        red, green, blue, opacity = to_rgba(one.get_facecolor())
        if opacity > 0.5:
            return red, green, blue
    return _opposite(to_rgb(rcParams["text.color"]))  # a page on which the style's text is read


def inside(axes: Axes) -> Colour:
    """Return the colour behind the lines and bars of ``axes``."""
    red, green, blue, opacity = to_rgba(axes.get_facecolor())
    return (red, green, blue) if opacity > 0.5 else outside(axes.figure)


def ink(background: Colour) -> Colour:
    """Return the style's colour of text, or black or white where that would not be seen."""
    colour: Colour = to_rgb(rcParams["text.color"])
    enough = contrast(colour, background) >= LEAST_CONTRAST
    return colour if enough else _opposite(background)


def faded(background: Colour, least: float = LEAST_CONTRAST) -> Colour:
    """Return the faintest mix of ink and background with a contrast of at least ``least``."""
    return _mixed(background, ink(background), background, least)


def visible(colour: Any, background: Colour) -> Colour:
    """Return the colour, mixed with as much ink as it needs to be seen on the background."""
    return _mixed(to_rgb(colour), ink(background), background, LEAST_CONTRAST)


def line_colours(axes: Axes) -> list[Colour]:
    """Return seven colours for lines on ``axes``, told apart and visible."""
    # Yellow and ink come close on paper: the seventh line has the colour of a note.
    ground = inside(axes)
    return [*(visible(colour, ground) for colour in COLOURS[:6]), faded(ground, 9.0)]


def grid_style(axes: Axes) -> dict[str, Any]:
    """Return the look of grid lines: dotted, to be seen and yet to stay behind the data."""
    return {"color": faded(inside(axes)), "linestyle": (0, (1, 4)), "linewidth": 0.6}


def contrast(a: Colour, b: Colour) -> float:
    """Return the contrast of two colours by WCAG 2, from 1 (equal) to 21 (black and white)."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Colour) -> float:
    """Return the relative luminance of an sRGB colour, by the formula of WCAG 2."""
    parts = np.asarray(colour)
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def _opposite(colour: Colour) -> Colour:
    """Return black or white, whichever is seen better on ``colour``."""
    black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return max(black, white, key=lambda candidate: contrast(candidate, colour))


def _mixed(start: Colour, end: Colour, background: Colour, least: float) -> Colour:
    """Return the first mix on the way from ``start`` to ``end`` that is seen on the background."""
    for share in np.linspace(0, 1, 41):
        red, green, blue = ((1 - share) * np.array(start) + share * np.array(end)).tolist()
        if contrast((red, green, blue), background) >= least:
            return red, green, blue
    return end
