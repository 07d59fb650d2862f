"""Measure a drawn figure: what is cut off, what overlaps, what cannot be seen."""

import io
from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

SLACK = 1.5  # pixels of anti-aliasing


def contrast(a, b):
    """The contrast of WCAG 2, written down once more."""

    def luminance(colour):
        parts = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def texts_of(figure):
    """Every text that is drawn, with the axes it belongs to or None."""
    found = [(text, None) for one in [figure, *figure.subfigs] for text in one.texts]
    for ax in every_axes(figure):
        found += [(text, ax) for text in [ax.title, *ax.texts]]
        for axis in (ax.xaxis, ax.yaxis):
            ticks = axis._update_ticks()  # those in view
            labels = [t for tick in ticks for t in (tick.label1, tick.label2)]
            found += [(text, ax) for text in [axis.label, axis.get_offset_text(), *labels]]
        if ax.get_legend():
            legend = ax.get_legend()
            found += [(text, ax) for text in [*legend.get_texts(), legend.get_title()]]
    return [(text, ax) for text, ax in found if text.get_visible() and text.get_text().strip()]


def every_axes(figure):
    own = [ax for one in [figure, *figure.subfigs] for ax in one.axes]
    own = list(dict.fromkeys(own))
    return [*own, *(child for ax in own for child in ax.child_axes)]


def faults(figure):
    """What is wrong with a figure, as sentences; nothing if all is well."""
    root = figure.figure if not isinstance(figure, Figure) else figure
    canvas = FigureCanvasAgg(root)
    file = io.BytesIO()
    root.savefig(file, format="raw", dpi=root.dpi)  # the first drawing: it settles the layout
    first = [ax.get_window_extent().bounds for ax in every_axes(root)]
    pixels = np.frombuffer(file.getvalue(), dtype=np.uint8)
    width, height = canvas.get_width_height()
    pixels = pixels.reshape(height, width, 4).astype(int)
    edges = [pixels[:, 0], pixels[:, -1], pixels[0], pixels[-1]]
    found = [
        f"ink on the {side} edge"
        for side, edge in zip(("left", "right", "upper", "lower"), edges, strict=True)
        if (np.abs(edge - edge[0]).max(-1) > 30).sum() > 2
    ]
    texts = texts_of(root)
    boxes = [text.get_window_extent() for text, _ in texts]
    for (text, owner), box in zip(texts, boxes, strict=True):
        name = repr(text.get_text())
        if min(box.x0, box.y0, root.bbox.x1 - box.x1, root.bbox.y1 - box.y1) < -SLACK:
            found.append(f"{name} is cut off")
        if "$" in name and text.get_parse_math():
            found.append(f"{name} is mathematics")
        behind = text.figure.get_facecolor()
        behind = behind if behind[3] else root.get_facecolor()
        if contrast(text.get_color(), behind) < 3:
            found.append(f"{name} cannot be seen")
        for ax in every_axes(root):
            if ax is not owner and ax.axison and _overlap(box, ax.get_window_extent()):
                found.append(f"{name} lies on axes at {ax.get_position().bounds}")
    for (i, a), (j, b) in combinations(enumerate(boxes), 2):
        if _overlap(a, b):
            found.append(f"{texts[i][0].get_text()!r} lies on {texts[j][0].get_text()!r}")
    for ax in every_axes(root):
        found += [f"{what} cannot be seen" for what in _pale(ax, root)]
        if min(ax.get_window_extent().width, ax.get_window_extent().height) < 4:
            found.append("axes without room")
    if all(ax.get_aspect() == "auto" for ax in every_axes(root)):
        return found  # matplotlib settles these in one drawing
    root.draw_without_rendering()
    second = [ax.get_window_extent().bounds for ax in every_axes(root)]
    if not np.allclose(first, second, atol=1.5):
        found.append(
            f"the second drawing differs by {np.abs(np.subtract(first, second)).max():.1f}"
        )
    return found


def _overlap(a, b):
    across = min(a.x1, b.x1) - max(a.x0, b.x0)
    return across > SLACK and min(a.y1, b.y1) - max(a.y0, b.y0) > SLACK


def _pale(ax, root):
    """Lines, grids, whiskers and edges of bars that cannot be told from what is behind them."""
    behind = ax.get_facecolor() if ax.get_facecolor()[3] else root.get_facecolor()
    lines = [(f"line {line.get_color()}", line.get_color()) for line in ax.lines]
    for axis in (ax.xaxis, ax.yaxis):
        grid = [tick.gridline for tick in axis.get_major_ticks() if tick.gridline.get_visible()]
        lines += [("grid", line.get_color()) for line in grid]
    for container in ax.containers:
        if isinstance(container, ErrorbarContainer):
            lines += [("whisker", c) for part in container.lines[2] for c in part.get_colors()]
        for patch in getattr(container, "patches", []):
            if patch.get_linewidth():
                lines.append(("edge of a bar", patch.get_edgecolor()))
    return {name for name, colour in lines if contrast(colour, behind) < 3}
