"""The figure of accuracy over the size of a perturbation: what it shows, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from drawings import legend_texts

from captum_spectral.visualization import visualize_accuracy

X = torch.tensor([0.0, 0.1, 0.2])
Y = {"a": torch.tensor([0.9, 0.5, 0.1]), "b": torch.tensor([0.8, 0.8, 0.7])}


def draw(levels=X, accuracy=Y, *more, **options):
    return visualize_accuracy(levels, accuracy, *more, use_pyplot=False, **options)[1]


def test_lines_are_the_accuracies_and_controls_are_dashed_in_their_colours():
    control = {"b": torch.tensor([0.8, 0.79, 0.78])}
    axes = draw(X, Y, None, control, control_name="noise")
    a, dashed, b = axes.get_lines()
    assert a.get_ydata().tolist() == pytest.approx(Y["a"].tolist())
    assert b.get_ydata().tolist() == pytest.approx(Y["b"].tolist())
    assert dashed.get_ydata().tolist() == pytest.approx(control["b"].tolist())
    assert dashed.get_linestyle() == "--"
    assert dashed.get_color() == b.get_color() != a.get_color()
    assert legend_texts(axes) == ["a", "b", "noise"]
    low, high = axes.get_ylim()
    assert low < 0 < 1 < high


def test_the_shade_is_one_error_and_stays_between_0_and_1():
    errors = {"a": torch.tensor([0.2, 0.1, math.nan])}
    (shade,) = draw(X, Y, errors).collections
    corners = shade.get_paths()[0].vertices
    at = {x: corners[np.isclose(corners[:, 0], x), 1] for x in (0.0, 0.1)}
    assert at[0.0].min() == pytest.approx(0.7)
    assert at[0.0].max() == 1
    assert (at[0.1].min(), at[0.1].max()) == pytest.approx((0.4, 0.6))


def test_a_logarithmic_axis_has_plain_numbers():
    axes = draw(torch.tensor([0.01, 0.1, 0.5]), xscale="log")
    axes.figure.draw_without_rendering()
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert "0.1" in labels
    assert not any("$" in label for label in labels)


def test_severities_have_whole_numbers():
    axes = draw(torch.tensor([1, 2, 3]))
    axes.figure.draw_without_rendering()
    low, high = axes.get_xlim()
    assert [t for t in axes.get_xticks() if low <= t <= high] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X[:1],), {}, ValueError, "levels must increase and have at least two"),
        ((X.flip(0),), {}, ValueError, "levels must increase"),
        (
            (X,),
            {"xscale": "log"},
            ValueError,
            "levels must be positive on a logarithmic axis, got 0",
        ),
        (
            (X,),
            {"xscale": "symlog"},
            ValueError,
            'xscale must be "linear" or "log", got \'symlog\'',
        ),
        ((X, {}), {}, ValueError, "accuracy must hold 1 to 14 models, got 0"),
        ((X, {str(i): X for i in range(15)}), {}, ValueError, "got 15"),
        ((X, [X]), {}, TypeError, "accuracy must be a dict by name.*got list"),
        ((X, {"a": X[:2]}), {}, ValueError, r"accuracy\['a'\] must be \(3,\), as long as levels"),
        ((X, {"a": 100 * X}), {}, ValueError, r"accuracy\['a'\] must be from 0 to 1, got 0 to 20"),
        ((X, {"a": X * math.nan}), {}, ValueError, "must be finite"),
        ((X, {"a": [0.1]}), {}, TypeError, r"accuracy\['a'\] must be a torch.Tensor"),
        ((X, Y, {"c": X}), {}, ValueError, r"standard_errors has \['c'\], which accuracy does not"),
        ((X, Y, None, {"c": X}), {}, ValueError, r"controls has \['c'\]"),
    ],
)
def test_wrong_arguments_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        draw(*arguments, **options)
