"""Draw the output, as a line, while more and more features are inserted or deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

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
)
from captum_spectral.visualization._layout import add_legend, place_for, room, settle
from captum_spectral.visualization._style import COLOURS, grid_style, line_colours
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_curves"]

_STYLES = ("-", "--")  # beyond seven lines the colours come again, dashed


class HasCurve(Protocol):
    """An insertion or deletion curve, as :func:`captum_spectral.insertion_curve` gives it."""

    @property
    def fractions(self) -> Array:
        """``(K,)`` shares of the features."""

    @property
    def values(self) -> Array:
        """``(N, K)`` outputs."""


def visualize_curves(
    fractions: Array | HasCurve | Mapping[str, HasCurve],
    values: Mapping[str, Array | HasCurve] | None = None,
    *,
    xlabel: str = "share of the features",
    ylabel: str = "model output",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] = (7.2, 3.4),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw insertion or deletion curves of several methods: the mean over images, and its error.

    A line is the mean over the N images, the shade around it one standard error of that mean. The
    legend gives the area under each line, by the trapezoidal rule, with its standard error over
    images. Errors of lines over the same images are not independent: two shades may overlap
    although one method is ahead on every single image, so compare areas image by image.

    Args:
        fractions: Curves by the name of their method, as :func:`captum_spectral.insertion_curve`
            gives them, or one curve alone; or ``(K,)`` share of the features that are inserted or
            deleted, increasing, with the outputs as ``values``.
        values: Outputs ``(N, K)`` of N images by the name of their method, at most 14. None: those
            of the curves. Default: None
        xlabel: Label of the horizontal axis. Default: "share of the features"
        ylabel: Label of the vertical axis, e.g. ``"probability"``. Default: "model output"
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. Default: (7.2, 3.4)
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, or without names; shares without
            values.
        ValueError: Shapes that do not fit each other, NaN or infinite values, fractions that do not
            increase, no lines or more than 14.

    Example::

        >>> import torch
        >>> fractions = torch.linspace(0, 1, 5)
        >>> falling = torch.tensor([[1.0, 0.5, 0.0, 0.0, 0.0], [0.6, 0.3, 0.0, 0.0, 0.0]])
        >>> figure, axes = visualize_curves(
        ...     fractions, {"Saliency": falling}, ylabel="probability", use_pyplot=False)
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['Saliency: 0.200 ± 0.050']
        >>> from captum_spectral import deletion_curve
        >>> curve = deletion_curve(lambda x: x.sum(1), torch.ones(2, 4), torch.rand(2, 4))
        >>> figure, axes = visualize_curves({"random": curve}, use_pyplot=False)
    """
    lines = _lines(fractions, values)
    figure, axes = place_for(plt_fig_axis, fig_size, use_pyplot)
    across, high = room(axes)
    colours = line_colours(axes)
    drawn: list[Artist] = []
    names: list[str] = []
    for i, (name, (x, y)) in enumerate(lines.items()):
        # y is (N, K): one area per image by the trapezoidal rule, (N,).
        areas = ((y[:, 1:] + y[:, :-1]) / 2 * np.diff(x)).sum(1)
        mean, error = y.mean(0), _standard_error(y)  # (K,) each
        colour, style = colours[i % len(colours)], _STYLES[i // len(colours)]
        label = f"{name}: {areas.mean():.3f}" if name else f"{areas.mean():.3f}"
        if len(y) > 1:
            label += f" ± {_standard_error(areas):.3f}"
            axes.fill_between(x, mean - error, mean + error, color=colour, alpha=0.15, lw=0)
        drawn += axes.plot(x, mean, color=colour, linestyle=style, lw=1.6)
        names.append(label)
    axes.set_xlim(min(x[0] for x, _ in lines.values()), max(x[-1] for x, _ in lines.values()))
    write(axes.set_xlabel(xlabel), across)
    write(axes.set_ylabel(ylabel), high)
    axes.grid(**grid_style(axes))
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the lines, which may be anywhere.
    rows = add_legend(axes, drawn, names, title="area under the curve", beside=True, size=8.0)
    if title:
        across *= 1.0 if rows else 0.65  # a legend beside the axes takes the rest
        set_title(axes, title, across, pad=8 + 1.7 * 8.0 * rows)
    settle(axes)
    show(use_pyplot)
    return figure, axes


class _Line(NamedTuple):
    """Shares ``(K,)`` of the features, and outputs ``(N, K)``."""

    x: Floats
    y: Floats


def _lines(fractions: Any, values: Any) -> dict[str, _Line]:
    """Return the curves by name, of whichever form; one that is alone needs no name."""
    if values is None:
        if _is_curve(fractions):
            fractions = {"": fractions}
        if not isinstance(fractions, Mapping):
            raise TypeError(
                "values must be given where fractions are an array: a dict by name, such as "
                '{"Saliency": curve.values}; or give curves alone: {"Saliency": curve}'
            )
        given, name_of = fractions, "fractions"
        shared = None
    else:
        given, name_of = values, "values"
        if isinstance(fractions, Mapping):
            raise TypeError(
                "values must not be given with a dict of curves as fractions, which hold theirs"
            )
        shared = _shares(getattr(fractions, "fractions", fractions), "fractions")
    check_named(given, name_of, '{"Saliency": curve}')
    most = len(COLOURS) * len(_STYLES)
    if not 1 <= len(given) <= most:
        raise ValueError(f"{name_of} must hold 1 to {most} methods, got {len(given)}")
    return {name: _line(one, f"{name_of}[{name!r}]", shared) for name, one in given.items()}


def _line(given: Any, name: str, shared: Floats | None) -> _Line:
    """Return a curve; raise unless it is as long as its shares."""
    if shared is None and not _is_curve(given):
        raise TypeError(
            f"{name} must be a curve, as insertion_curve gives it, got {type(given).__name__}; "
            "arrays need fractions: visualize_curves(fractions, values)"
        )
    own = _is_curve(given)
    y = to_array(given.values if own else given, name, ("(N, K)",))
    x = _shares(given.fractions, f"{name}.fractions") if own else shared
    assert x is not None
    if shared is not None and own and not np.array_equal(x, shared):
        raise ValueError(f"{name} is a curve of other fractions than those given; leave these out")
    if y.shape[1] != len(x):
        raise ValueError(f"{name} must be (N, {len(x)}), as long as fractions, got shape {y.shape}")
    return _Line(x, y)


def _is_curve(given: Any) -> bool:
    return hasattr(given, "fractions") and hasattr(given, "values")


def _shares(given: Any, name: str) -> Floats:
    x = to_array(given, name, ("(K,)",))
    if len(x) < 2 or (np.diff(x) <= 0).any():
        raise ValueError(f"{name} must increase and have at least two entries")
    return x


def _standard_error(values: Floats) -> Floats:
    """Return the standard error of the mean over dim 0; zero for a single row."""
    if len(values) == 1:
        return np.zeros_like(values[0])
    error: Floats = values.std(0, ddof=1) / np.sqrt(len(values))
    return error
