"""Draw a score against a measure of robustness, a point for every model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spectral.visualization._drawing import Array, Floats, show, to_array
from captum_spectral.visualization._families import check_families, draw_families, height_for
from captum_spectral.visualization._layout import add_legend, place_for, plain_numbers, room, settle
from captum_spectral.visualization._style import grid_style
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_association"]

_LEGEND_SIZE = 8.5  # points
_TITLE_SIZE = 10.0


def visualize_association(
    score: Array,
    robustness: Array,
    families: Sequence[str],
    score_error: Array | None = None,
    robustness_error: Array | None = None,
    *,
    coefficient: float | None = None,
    interval: tuple[float, float] | None = None,
    coefficient_name: str = "Spearman",
    xlabel: str = "score",
    ylabel: str = "robustness",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw a score against a measure of robustness: a point for every model, with both errors.

    Families have a colour *and* a marker. Whiskers are one standard error over images. The line
    over the axes gives the coefficient with its interval over models, and how many models and
    families there are: whiskers say how well each point is known, the interval how well the
    relation is. Neither says anything about the other.

    Args:
        score: ``(N,)`` of N models.
        robustness: ``(N,)`` likewise.
        families: ``N`` names, at most 49 different ones.
        score_error: ``(N,)`` standard errors, 0 for none. Default: None
        robustness_error: ``(N,)`` likewise. Default: None
        coefficient: Coefficient over the models. NaN: there is none, which the figure says. None:
            it is not mentioned. Default: None
        interval: Ends of its interval. Default: None
        coefficient_name: Its name. Default: "Spearman"
        xlabel: Label of the horizontal axis. Default: "score"
        ylabel: Label of the vertical axis. Default: "robustness"
        title: Title above that line. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. None: to fit the families.
            Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, families that are not strings.
        ValueError: Shapes that do not fit each other, NaN or infinite values, negative errors, a
            coefficient outside of [-1, 1], too many families.

    Example::

        >>> import torch
        >>> figure, axes = visualize_association(
        ...     torch.tensor([0.1, 0.2, 0.4]), torch.tensor([0.5, 0.4, 0.8]), ["a", "a", "b"],
        ...     coefficient=0.5, interval=(-0.3, 0.9), use_pyplot=False)
        >>> axes.get_title()
        'Spearman +0.50 [−0.30, +0.90]\n3 models of 2 families'
    """
    x, y = (to_array(v, n, ("(N,)",)) for n, v in (("score", score), ("robustness", robustness)))
    if len(x) != len(y):
        raise ValueError(
            f"score and robustness must be (N,) of the same models, got {len(x)} and {len(y)}"
        )
    errors = (
        _errors(score_error, "score_error", x),
        _errors(robustness_error, "robustness_error", y),
    )
    names = check_families(families, len(x))
    headline = _headline(coefficient, interval, coefficient_name, names)
    fitting = (6.4, height_for(names, 3.9))
    figure, axes = place_for(plt_fig_axis, fig_size or fitting, use_pyplot)
    across, high = room(axes)
    handles, entries = draw_families(axes, x, y, names, *errors)
    write(axes.set_xlabel(xlabel), across)
    write(axes.set_ylabel(ylabel), high)
    axes.xaxis.set_major_formatter(plain_numbers(np.abs(x).max()))
    axes.yaxis.set_major_formatter(plain_numbers(np.abs(y).max()))
    axes.locator_params(axis="x", nbins=max(2, int(across / 0.9)))
    axes.grid(**grid_style(axes))
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    rows = add_legend(axes, handles, entries, title="family", beside=True, size=_LEGEND_SIZE)
    across *= 1.0 if rows else 0.65  # a legend beside the axes takes the rest
    options: dict[str, Any] = {"pad": 8 + 1.7 * _LEGEND_SIZE * rows, "fontsize": _TITLE_SIZE}
    parts = [(title, 2)] if title else []
    # Fitted apart: a long title is shortened, the numbers are at most broken into lines.
    fitted = [
        set_title(axes, part, across, lines, **options).get_text()
        for part, lines in (*parts, (headline, 6))
    ]
    write(axes.set_title("\n".join(fitted), **options))
    settle(axes)
    show(use_pyplot)
    return figure, axes


def _headline(
    coefficient: float | None,
    interval: tuple[float, float] | None,
    name: str,
    families: list[str],
) -> str:
    """Write the coefficient, its interval, and of how many models."""
    models, count = len(families), len(set(families))
    numbers = f"{models} model{'s' if models > 1 else ''} of {count} "
    numbers += "families" if count > 1 else "family"
    if coefficient is None:
        return numbers
    if np.isnan(coefficient):
        return f"no coefficient\n{numbers}"
    if not -1 <= coefficient <= 1:
        raise ValueError(f"coefficient must lie in [-1, 1], got {coefficient!r}")
    text = f"{name} {_signed(coefficient)}"
    if interval is not None:
        text += f" [{_signed(interval[0])}, {_signed(interval[1])}]"
    return f"{text}\n{numbers}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _errors(errors: Array | None, name: str, values: Floats) -> Floats:
    """Return errors ``(N,)``; zeros for none."""
    if errors is None:
        return np.zeros_like(values)
    found = to_array(errors, name, ("(N,)",))
    if found.shape != values.shape:
        raise ValueError(f"{name} must be {values.shape}, one for each model, got {found.shape}")
    if found.min() < 0:
        raise ValueError(f"{name} must not be negative, got {found.min():g}")
    return found
