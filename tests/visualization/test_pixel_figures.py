"""Figures of attribution maps and of insertion and deletion curves."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from captum_spectral import Curve
from captum_spectral.visualization import visualize_curves, visualize_maps

IMAGES = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
MAP = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(1))
X = torch.linspace(0, 1, 5)
Y = torch.tensor([[1.0, 0.5, 0.0, 0.0, 0.0], [0.6, 0.3, 0.0, 0.0, 0.0]])


CURVE = Curve(X, Y, torch.trapezoid(Y, X))
SHORT = Curve(X[::2], Y[:, ::2], torch.trapezoid(Y[:, ::2], X[::2]))


def maps(images=IMAGES, attributions=None, **options):
    attributions = {"Saliency": MAP} if attributions is None else attributions
    return visualize_maps(images, attributions, use_pyplot=False, **options)


def curves(fractions=X, values=None, **options):
    values = {"Saliency": Y} if values is None else values
    return visualize_curves(fractions, values, use_pyplot=False, **options)


def test_pyplot_is_left_alone_or_shows_the_figure(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(1))
    plt.close("all")  # of tests before this one
    maps()
    curves()
    assert plt.get_fignums() == []
    assert shown == []
    visualize_maps(IMAGES, {"a": MAP})
    visualize_curves(X, {"a": Y})
    assert len(plt.get_fignums()) == len(shown) == 2
    plt.close("all")


def test_a_row_for_each_image_and_a_column_for_each_method():
    _, axes = maps(attributions={"Saliency": MAP, "other": -MAP}, labels=["cat", "dog"])
    assert axes.shape == (2, 3)
    assert [ax.get_title() for ax in axes[0]] == ["image", "Saliency", "other"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["cat", "dog"]
    np.testing.assert_allclose(axes[1, 0].get_images()[0].get_array(), IMAGES[1].permute(1, 2, 0))


def test_panels_are_sums_over_channels_on_a_scale_of_their_own():
    _, axes = maps(attributions={"a": MAP, "1024 a": 1024 * MAP}, outlier_perc=0)
    summed = MAP.double().sum(1)
    for row in range(2):
        a, b = (ax.get_images()[0] for ax in axes[row, 1:])
        np.testing.assert_allclose(a.get_array(), summed[row] / summed[row].abs().max())
        np.testing.assert_allclose(a.get_array(), b.get_array())
        assert (a.norm.vmin, a.norm.vmax) == (-1, 1)


def test_outliers_do_not_make_the_rest_pale():
    spike = torch.ones(1, 1, 10, 10)
    spike[..., 0, 0] = 1e6
    _, axes = maps(IMAGES[:1, :, :10, :10], {"spike": spike})
    assert float(np.median(axes[0, 1].get_images()[0].get_array().data)) == 1


def test_a_map_of_few_pixels_and_a_map_of_zeros_are_drawn():
    single = torch.zeros(2, 1, 12, 16)
    single[0, 0, 3, 4] = -2
    _, axes = maps(attributions={"single": single})
    assert float(axes[0, 1].get_images()[0].get_array()[3, 4]) == -1
    assert not axes[1, 1].get_images()[0].get_array().any()


def test_long_names_are_broken_and_panels_do_not_overlap():
    figure, axes = maps(
        attributions={"BoundaryIntegratedGradients": MAP, "a name of many small words": MAP},
        labels=["first", "second"],
        title="a title",
    )
    figure.canvas.draw()
    titles = [ax.title for ax in axes[0]]
    assert titles[1].get_text() == "BoundaryIntegrated\nGradients"
    assert titles[2].get_text().count("\n") == 1
    boxes = [title.get_window_extent() for title in titles]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
    assert figure.get_suptitle() == "a title"
    assert figure._suptitle.get_window_extent().y0 > max(box.y1 for box in boxes)
    inside = figure.bbox
    for ax in figure.axes:
        box = ax.get_tightbbox()
        assert inside.x0 <= box.x0
        assert box.x1 <= inside.x1
        assert inside.y0 <= box.y0
        assert box.y1 <= inside.y1


def test_grey_images():
    _, axes = maps(IMAGES[:, :1])
    assert axes[0, 0].get_images()[0].get_cmap().name == "gray"


def test_lines_are_means_and_shades_their_standard_errors():
    _, axes = curves()
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), [0.8, 0.4, 0, 0, 0], atol=1e-7)
    (shade,) = axes.collections
    error = 0.4 / 2**0.5 / 2**0.5  # of two values 0.4 apart
    heights = shade.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(0.8 + error)


def test_a_single_image_has_neither_shade_nor_error():
    _, axes = curves(values={"one": Y[:1]})
    assert len(axes.collections) == 0
    assert axes.get_legend().get_texts()[0].get_text() == "one: 0.250"


def test_fourteen_lines_are_told_apart():
    _, axes = curves(values={f"method {i}": Y for i in range(14)})
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}
    assert len(looks) == 14


def test_curves_are_drawn_where_asked_with_their_labels():
    figure = Figure()
    ax = figure.add_subplot()
    given = curves(
        plt_fig_axis=(figure, ax), xlabel="share", ylabel="probability", title="deletion"
    )
    assert given == (figure, ax)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == (
        "share",
        "probability",
        "deletion",
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"attributions": [MAP]},
            TypeError,
            "maps must be a dict by name, .*Saliency.*got list",
        ),
        ({"attributions": {}}, ValueError, "maps is empty"),
        ({"attributions": {"a": MAP[:1]}}, ValueError, r"maps\['a'\] must be .* got shape \(1, 3"),
        ({"attributions": {"a": MAP * torch.nan}}, ValueError, r"maps\['a'\] must be finite"),
        ({"attributions": {"a": MAP[0]}}, ValueError, r"maps\['a'\] must be \(N, C, H, W\)"),
        ({"images": IMAGES * 255}, ValueError, r"images must be in display range \[0, 1\]"),
        ({"images": IMAGES[:, :2]}, ValueError, "images must have 1 or 3 channels"),
        ({"labels": ["one"]}, ValueError, "labels must have one name for each of the 2 rows"),
        ({"outlier_perc": 100}, ValueError, "outlier_perc must be at least 0 and below 100"),
        ({"fig_size": (1.0, 0.5)}, ValueError, r"fig_size=\(1.0, 0.5\) has no room for 2 by 2"),
    ],
)
def test_bad_maps_are_explained(arguments, error, message):
    with pytest.raises(error, match=message):
        maps(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"values": Y}, TypeError, "values must be a dict by name, such as .*Saliency.*got Tensor"),
        ({"values": {}}, ValueError, "values must hold 1 to 14 methods, got 0"),
        ({"values": {"a": Y[:, :4]}}, ValueError, r"values\['a'\] must be \(N, 5\)"),
        ({"values": {"a": Y * torch.inf}}, ValueError, r"values\['a'\] must be finite"),
        ({"fractions": X.flip(0)}, ValueError, "fractions must increase"),
        ({"fractions": X[:1]}, ValueError, "at least two entries"),
        ({"values": CURVE}, TypeError, "values must be a dict by name, .* got Curve"),
        ({"fractions": {"a": CURVE}}, TypeError, "values must not be given with a dict of curves"),
        ({"fractions": X, "values": {"a": SHORT}}, ValueError, r"'a'\] is a curve of other fract"),
    ],
)
def test_bad_curves_are_explained(arguments, error, message):
    with pytest.raises(error, match=message):
        curves(**arguments)


def test_curves_are_taken_as_they_are_returned():
    _, known = curves()
    for given in (
        ({"Saliency": CURVE},),
        (X, {"Saliency": CURVE}),
        (CURVE, {"Saliency": CURVE}),
        (CURVE, {"Saliency": Y}),
    ):
        _, axes = visualize_curves(*given, use_pyplot=False)
        for a, b in zip(axes.lines, known.lines, strict=True):
            np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())
        assert legend_of(axes) == legend_of(known) == ["Saliency: 0.200 ± 0.050"]
    _, alone = visualize_curves(CURVE, use_pyplot=False)
    assert legend_of(alone) == ["0.200 ± 0.050"]
    _, two = visualize_curves({"Saliency": CURVE, "coarse": SHORT}, use_pyplot=False)
    assert [len(line.get_xdata()) for line in two.lines] == [5, 3]


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("given", [X, [CURVE], {"a": Y}, None])
def test_what_is_no_curve_is_named(given):
    with pytest.raises(TypeError, match=r"values must be given|fractions\['a'\] must be a curve"):
        visualize_curves(given, use_pyplot=False)
