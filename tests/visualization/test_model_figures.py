"""Figures of many models: points, families, coefficients, epochs."""

import numpy as np
import pytest
import torch
from drawings import legend_texts
from matplotlib.colors import to_rgb
from measured import contrast

from captum_spectral.visualization import (
    visualize_association,
    visualize_correlations,
    visualize_embedding,
    visualize_epochs,
)

X, Y = torch.tensor([0.1, 0.2, 0.4]), torch.tensor([0.5, 0.4, 0.8])
R = torch.tensor([[0.7, -0.2], [torch.nan, 1.0]])


def associated(families=("a", "a", "b"), **options):
    return visualize_association(X, Y, list(families), use_pyplot=False, **options)[1]


def matrix(coefficients=R, **options):
    return visualize_correlations(coefficients, use_pyplot=False, **options)[1]


def test_a_point_is_where_its_model_is():
    lines = associated().get_lines()
    assert [line.get_xdata().tolist() for line in lines] == [
        pytest.approx([0.1, 0.2]), pytest.approx([0.4]),
    ]  # fmt: skip
    assert [line.get_ydata().tolist() for line in lines] == [
        pytest.approx([0.5, 0.4]), pytest.approx([0.8]),
    ]  # fmt: skip


def test_whiskers_are_one_standard_error_long():
    axes = associated(score_error=torch.tensor([0.01, 0.02, 0.0]), robustness_error=torch.ones(3))
    segments = [part.get_segments() for c in axes.containers for part in c.lines[2]]
    first = np.array(segments[0])  # across, of the first family
    np.testing.assert_allclose(first[:, 1, 0] - first[:, 0, 0], [0.02, 0.04], atol=1e-7)
    assert len(segments) == 3  # the second family has no error across
    np.testing.assert_allclose(np.array(segments[2])[0, :, 1], [-0.2, 1.8], atol=1e-6)


def test_49_families_have_a_look_of_their_own_and_7_differ_in_both():
    names = [f"family {i}" for i in range(49)]
    points = torch.rand(49, 2, generator=torch.Generator().manual_seed(0))
    _, axes = visualize_embedding(points, names, use_pyplot=False)
    looks = [(line.get_color(), line.get_marker()) for line in axes.get_lines()]
    assert len(set(looks)) == 49
    for part in (0, 1):
        assert len({look[part] for look in looks[:7]}) == 7
    assert legend_texts(axes) == names
    with pytest.raises(ValueError, match="holds 50 names and at most 49 can be told apart"):
        visualize_embedding(torch.rand(50, 2), [str(i) for i in range(50)], use_pyplot=False)


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({}, "3 models of 2 families"),
        ({"coefficient": -0.5}, "Spearman −0.50\n3 models of 2 families"),
        (
            {"coefficient": 0.5, "interval": (-0.25, 1.0), "title": "a title"},
            "a title\nSpearman +0.50 [−0.25, +1.00]\n3 models of 2 families",
        ),
        ({"coefficient": float("nan")}, "no coefficient\n3 models of 2 families"),
        ({"families": ("a", "a", "a")}, "3 models of 1 family"),
    ],
)
def test_the_title_says_how_many_models_and_how_sure(options, title):
    assert associated(**options).get_title() == title


def test_a_long_title_leaves_the_numbers_whole():
    axes = associated(coefficient=0.5, interval=(-0.3, 0.9), title="x" * 500, fig_size=(2.6, 2.4))
    shown = axes.get_title().replace("\n", " ")
    assert shown.endswith("Spearman +0.50 [−0.30, +0.90] 3 models of 2 families")


def test_axes_say_how_much_of_the_variance_they_show():
    points = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    share = torch.tensor([0.82, torch.nan])
    _, axes = visualize_embedding(points, ["a", "b"], share, axis_name="axis", use_pyplot=False)
    assert axes.get_xlabel() == "axis 1 (82 % of the variance)"
    assert axes.get_ylabel() == "axis 2"
    assert axes.get_aspect() == 1


def test_a_cell_has_its_number_its_interval_and_a_dash_without():
    axes = matrix(low=R - 0.3, high=(R + 0.3).clamp(max=1))
    assert [text.get_text() for text in axes.texts] == [
        *("+0.70", "[+0.40, +1.00]", "−0.20", "[−0.50, +0.10]", "–", "+1.00", "[+0.70, +1.00]"),
        *("example 0", "example 1", "example 0", "example 1"),
    ]


def test_cells_whose_interval_excludes_0_are_framed():
    axes = matrix(low=R - 0.3, high=(R + 0.3).clamp(max=1))
    centres = [(line.get_xdata().mean(), line.get_ydata().mean()) for line in axes.get_lines()]
    assert [(round(x), round(y)) for x, y in centres] == [(0, 0), (1, 1)]


def test_intervals_are_never_shortened():
    r = torch.full((2, 9), 0.5)
    axes = matrix(r, low=-r, high=r, fig_size=(4.0, 2.4))
    intervals = [text for text in axes.texts if text.get_text().startswith("[")]
    assert {text.get_text() for text in intervals} <= {"[−0.50, +0.50]"}
    assert all(text.get_fontsize() >= 5 or not text.get_visible() for text in intervals)


def test_colours_grow_with_the_coefficient_and_numbers_can_be_read_on_them():
    axes = matrix(torch.linspace(-1, 1, 21)[None])
    (image,) = axes.get_images()
    cells = np.asarray(image.get_array())[0]
    assert cells[10] == pytest.approx([1, 1, 1])
    distance = np.abs(cells - 1).sum(1)
    assert (np.diff(distance[:11]) < 0).all()
    assert (np.diff(distance[10:]) > 0).all()
    ink = axes.texts[0].get_color()
    assert min(contrast(to_rgb(ink), tuple(cell)) for cell in cells) > 5.9


def test_a_line_for_every_training():
    epochs, values = torch.arange(1, 4), {"0 %": torch.tensor([1.0, 2.0, torch.nan]), "40 %": X}
    errors = {"40 %": torch.full((3,), 0.1)}
    _, axes = visualize_epochs(epochs, values, errors, legend_title="noise", use_pyplot=False)
    _, first, second = axes.get_lines()  # after the line at 0
    np.testing.assert_array_equal(first.get_ydata(), [1, 2, np.nan])
    assert second.get_xdata().tolist() == [1, 2, 3]
    (shade,) = axes.collections
    assert shade.get_datalim(axes.transData).y0 == pytest.approx(0.0, abs=1e-6)
    assert legend_texts(axes) == ["0 %", "40 %"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: associated(["a"]), ValueError, "families must have one name for each of 3 models"),
        (lambda: associated([1, 2, 3]), TypeError, "families must be a sequence of 3 strings"),
        (lambda: associated(coefficient=1.5), ValueError, r"coefficient must lie in \[-1, 1\], g"),
        (lambda: associated(score_error=-X), ValueError, "score_error must not be negative"),
        (lambda: associated(score_error=X[:2]), ValueError, r"score_error must be \(3,\), one"),
        (lambda: visualize_association(X, Y[:2], ["a"]), ValueError, "of the same models, got 3 a"),
        (lambda: visualize_embedding(torch.ones(2, 3), ["a", "b"]), ValueError, r"must be \(N, 2"),
        (lambda: visualize_embedding(torch.ones(1, 2), ["a"], 3 * torch.ones(2)), ValueError,
         "explained must be two shares from 0 to 1"),
        (lambda: matrix(2 * R), ValueError, r"coefficients must lie in \[-1, 1\]"),
        (lambda: matrix(low=R), ValueError, "low and high must be given together"),
        (lambda: matrix(low=R[:1], high=R[:1]), ValueError, r"low must be \(2, 2\) as coeffic"),
        (lambda: visualize_epochs(X.flip(0), {"a": X}), ValueError, "epochs must increase"),
        (lambda: visualize_epochs(X, {}), ValueError, "values must hold 1 to 7 trainings, got 0"),
        (lambda: visualize_epochs(X, [X]), TypeError, "values must be a dict by name"),
        (lambda: visualize_epochs(X, {"a": X[:2]}), ValueError, r"must be \(3,\), one for each ep"),
        (lambda: visualize_epochs(X, {"a": X / 0}), ValueError, "must not be infinite"),
        (lambda: visualize_epochs(X, {"a": X}, {"b": X}), ValueError, "'b', which is none of"),
        (lambda: visualize_epochs(X, {"a": X}, {"a": -X}), ValueError, "must not be negative"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
