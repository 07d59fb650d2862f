"""Draw models as points in the plane of their spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spectral.visualization._drawing import Array, show, to_array
from captum_spectral.visualization._families import check_families, draw_families, height_for
from captum_spectral.visualization._layout import add_legend, place_for, plain_numbers, room, settle
from captum_spectral.visualization._style import grid_style
from captum_spectral.visualization._text import set_title, write

__all__ = ["visualize_embedding"]

_LEGEND_SIZE = 8.5  # points


def visualize_embedding(
    coordinates: Array,
    families: Sequence[str],
    explained: Array | None = None,
    *,
    axis_name: str = "component",
    title: str | None = None,
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    r"""Draw a point for every model where its spectrum places it, families by colour and marker.

    Both axes have the same scale, so distances in the picture are distances between models, as far
    as two axes show them: the labels say how much of the variance that is. Whether families are
    neighbours is a question for a number
    (:func:`captum_spectral.robustness.embedding.nearest_family`), not for the eye.

    Args:
        coordinates: ``(N, 2)`` of N models.
        families: ``N`` names, at most 49 different ones.
        explained: ``(2,)`` share of the variance along each axis, as
            :func:`captum_spectral.robustness.embedding.pca` gives. None: the labels do not say.
            Default: None
        axis_name: Name of an axis, before its number. Default: "component"
        title: Title of the axes. Default: None
        plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
        fig_size: Width and height of a new figure in inches. None: to fit the families.
            Default: None
        use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
            Default: True

    Returns:
        Figure and axes.

    Raises:
        TypeError: Values that are not a real tensor or array, families that are not strings.
        ValueError: Shapes that do not fit each other, NaN or infinite values, shares outside of
            [0, 1], too many families.

    Example::

        >>> import torch
        >>> figure, axes = visualize_embedding(
        ...     torch.tensor([[0.0, 1.0], [2.0, 0.0]]), ["a", "b"], torch.tensor([0.8, 0.15]),
        ...     use_pyplot=False)
        >>> axes.get_xlabel()
        'component 1 (80 % of the variance)'
    """
    points = to_array(coordinates, "coordinates", ("(N, 2)",))
    if points.shape[1] != 2:
        raise ValueError(f"coordinates must be (N, 2), got shape {points.shape}")
    names = check_families(families, len(points))
    labels = [f"{axis_name} 1", f"{axis_name} 2"]
    if explained is not None:
        shares = to_array(explained, "explained", ("(2,)",), finite=False)
        if shares.shape != (2,) or (shares < 0).any() or (shares > 1 + 1e-6).any():
            raise ValueError(f"explained must be two shares from 0 to 1, got {shares.tolist()}")
        labels = [
            label if np.isnan(share) else f"{label} ({100 * share:.0f} % of the variance)"
            for label, share in zip(labels, shares, strict=True)
        ]
    fitting = (6.4, height_for(names, 3.9))
    figure, axes = place_for(plt_fig_axis, fig_size or fitting, use_pyplot)
    across, high = room(axes)
    handles, entries = draw_families(axes, points[:, 0], points[:, 1], names)
    axes.set_aspect("equal", adjustable="datalim")
    write(axes.set_xlabel(labels[0]), across)
    write(axes.set_ylabel(labels[1]), high)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(plain_numbers(np.abs(points).max()))
    axes.locator_params(axis="x", nbins=max(2, int(across / 0.9)))
    axes.grid(**grid_style(axes))
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    rows = add_legend(axes, handles, entries, title="family", beside=True, size=_LEGEND_SIZE)
    if title:
        across *= 1.0 if rows else 0.65  # a legend beside the axes takes the rest
        set_title(axes, title, across, pad=8 + 1.7 * _LEGEND_SIZE * rows)
    settle(axes)
    show(use_pyplot)
    return figure, axes
