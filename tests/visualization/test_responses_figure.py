"""The figure of layers over frequency: what it shows, and what it refuses."""

import math

import numpy as np
import pytest
import torch

from captum_spectral.visualization import visualize_responses

ENDS = torch.tensor([[0.0, 0.2], [0.25, 0.5]])
FREQUENCIES = torch.stack([ENDS, ENDS / 2])
GAINS = torch.tensor([[1.0, 0.1], [4.0, 4.0]])


def draw(gains=GAINS, frequencies=FREQUENCIES, *more, **options):
    return visualize_responses(gains, frequencies, *more, use_pyplot=False, **options)[1]


def boxes(collection):
    """Left, right and row of every cell, rounded."""
    corners = [path.vertices for path in collection.get_paths()]
    return [(c[:, 0].min(), c[:, 0].max(), c[:, 1].mean().round()) for c in corners]


def test_bands_meet_on_a_logarithmic_axis_and_the_lowest_reaches_to_its_end():
    axes = draw()
    (cells,) = axes.collections
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == pytest.approx((0.125 / 2, 0.5))
    expected = [(0.0625, 0.25, 0), (0.25, 0.5, 0), (0.0625, 0.125, 1), (0.125, 0.25, 1)]
    np.testing.assert_allclose(boxes(cells), expected)
    low, high = axes.get_ylim()
    assert low > high  # the first layer is on top


def test_colours_are_decibels_below_the_largest_of_the_layer():
    axes = draw(dynamic_range=20.0, cmap="gray")
    (cells,) = axes.collections
    np.testing.assert_allclose(cells.get_facecolors()[:, 0], [1, 0, 1, 1], atol=0.01)
    (bar,) = axes.child_axes
    assert bar.get_ylim() == (-20, 0)
    half = draw(torch.tensor([[1.0, 0.1**0.5], [4.0, 0.0]]), dynamic_range=20.0, cmap="gray")
    np.testing.assert_allclose(
        half.collections[0].get_facecolors()[:, 0], [1, 0.5, 1, 0], atol=0.01
    )


def test_colours_compare_layers_where_asked_to():
    axes = draw(dynamic_range=40.0, cmap="gray", relative=False)
    (bar,) = axes.child_axes
    top = 20 * math.log10(4)
    assert bar.get_ylim() == pytest.approx((top - 40, top))
    assert bar.get_ylabel() == "gain (dB)"
    expected = [1 - top / 40, 0.5 - top / 40, 1, 1]
    np.testing.assert_allclose(axes.collections[0].get_facecolors()[:, 0], expected, atol=0.01)


def test_strides_are_marked_and_what_they_fold_is_hatched():
    axes = draw(GAINS, FREQUENCIES, ["a", "b"], [2, 1], [0.28, 0.0])
    _, hatched = axes.collections
    assert hatched.get_hatch()
    assert boxes(hatched) == [(0.25, 0.5, 0)]
    assert [text.get_text() for text in axes.texts] == ["a", "b", "÷ 2, 28 %"]
    plain = draw(GAINS, FREQUENCIES, None, [1, 1])
    assert len(plain.collections) == 1
    assert plain.get_legend() is None
    assert [text.get_text() for text in plain.texts] == ["layer 0", "layer 1"]


def test_a_band_without_gain_or_frequencies_is_grey_or_not_there():
    gains, frequencies = GAINS.clone(), FREQUENCIES.clone()
    gains[0, 1], frequencies[1, 1] = math.nan, math.nan
    (cells,) = draw(gains, frequencies).collections
    assert len(boxes(cells)) == 3
    assert cells.get_facecolors()[1].tolist() == [0.6, 0.6, 0.6, 1]


def test_of_many_layers_every_few_have_a_name():
    names = [f"layer {i}" for i in range(200)]
    gains, frequencies = GAINS[:1].expand(200, 2), FREQUENCIES[:1].expand(200, 2, 2)
    shown = [text.get_text() for text in draw(gains, frequencies, names, fig_size=(6, 4)).texts]
    assert shown[0] == "layer 0"
    assert 10 < len(shown) < 100


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((-GAINS,), {}, ValueError, "gains must be amplitudes: finite and not negative"),
        ((GAINS / 0,), {}, ValueError, "gains must be amplitudes"),
        ((GAINS[0],), {}, ValueError, r"gains must be \(N, M\), got shape \(2,\)"),
        ((GAINS.tolist(),), {}, TypeError, "gains must be a torch.Tensor"),
        ((GAINS, ENDS), {}, ValueError, r"frequencies must be \(N, M, 2\)"),
        ((GAINS, FREQUENCIES[:1]), {}, ValueError, r"here \(2, 2, 2\), got shape \(1, 2, 2\)"),
        ((GAINS, 0 * FREQUENCIES), {}, ValueError, "frequencies must hold one above 0"),
        ((GAINS, FREQUENCIES, ["a"]), {}, ValueError, "labels must have one name for each"),
        ((GAINS, FREQUENCIES, None, [1]), {}, ValueError, "strides must have .* 2 layers, got 1"),
        ((GAINS, FREQUENCIES, None, [0, 1]), {}, ValueError, "strides must lie from 1 to inf"),
        ((GAINS, FREQUENCIES, None, None, [0, 28]), {}, ValueError,
         "aliasing must lie from 0 to 1, got 28"),
        ((), {"dynamic_range": 0}, ValueError, "dynamic_range must be positive decibels, got 0"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        draw(*arguments, **options)
