"""Where a map lies and how it is spread."""

import math

import numpy as np
import pytest
import torch
from curve_cases import MAPS, nan_at, normal, seeds
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import concentration, energy_in_box, normalized_entropy, positive_percentage


def test_the_share_of_the_positive_attribution_in_a_box():
    a = torch.tensor([[[[4.0, -1.0, 0.0], [1.0, 2.0, -5.0]]]]).double()
    assert energy_in_box(a, torch.tensor([0, 0, 1, 2])).tolist() == [5 / 7]
    assert energy_in_box(a, torch.tensor([[1, 1, 3, 2]])).tolist() == [2 / 7]
    assert positive_percentage(a, torch.tensor([0, 0, 2, 2])).tolist() == [7 / 8]
    assert positive_percentage(a, torch.tensor([1, 1, 3, 2])).tolist() == [2 / 7]


def test_channels_are_summed_first():
    a = normal(2, 3, 5, 6)
    region = torch.tensor([1, 1, 4, 5])
    for metric in (energy_in_box, positive_percentage):
        torch.testing.assert_close(metric(a, region), metric(a.sum(1), region))
        torch.testing.assert_close(metric((a,), region), metric(a.sum(1), region))
    for metric in (concentration, normalized_entropy):
        torch.testing.assert_close(metric(a), metric(a.sum(1)))
        torch.testing.assert_close(metric((a,)), metric(a.sum(1)))


@given(seeds, st.data())
def test_a_box_is_the_mask_of_its_pixels(seed, data):
    a = normal(3, 5, 7, seed=seed)
    boxes, masks = [], torch.zeros(3, 5, 7, dtype=torch.bool)
    for e in range(3):
        x1, y1 = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 4))
        x2, y2 = data.draw(st.integers(x1 + 1, 7)), data.draw(st.integers(y1 + 1, 5))
        boxes.append((x1, y1, x2, y2))
        masks[e, y1:y2, x1:x2] = True
    for metric in (energy_in_box, positive_percentage):
        torch.testing.assert_close(metric(a, torch.tensor(boxes)), metric(a, masks))
        one = metric(a, torch.tensor(boxes[0]))
        torch.testing.assert_close(one, metric(a, masks[0]))


@given(seeds)
def test_a_region_and_the_rest_share_the_energy(seed):
    a = normal(2, 1, 6, 6, seed=seed)
    region = normal(6, 6, seed=seed + 1) > 0
    region[0, 0], region[5, 5] = True, False
    whole = energy_in_box(a, region) + energy_in_box(a, ~region)
    torch.testing.assert_close(whole, torch.ones(2, dtype=torch.float64))
    assert torch.equal(energy_in_box(a, region | True), torch.ones(2, dtype=torch.float64))


@given(seeds, st.floats(1e-6, 1e6))
def test_the_scale_of_a_map_does_not_matter(seed, scale):
    a, region = normal(2, 1, 6, 6, seed=seed), torch.tensor([1, 2, 4, 6])
    for metric in (energy_in_box, positive_percentage):
        torch.testing.assert_close(metric(scale * a, region), metric(a, region))
    for metric in (concentration, normalized_entropy):
        torch.testing.assert_close(metric(scale * a), metric(a))


@given(seeds, st.integers(0, 5), st.integers(0, 7))
def test_the_spread_does_not_depend_on_the_place(seed, down, right):
    patch = normal(1, 3, 4, seed=seed)
    a, moved = torch.zeros(2, 1, 8, 11, dtype=torch.float64)
    a[:, :3, :4] = patch
    moved[:, down : down + 3, right : right + 4] = patch
    torch.testing.assert_close(concentration(moved), concentration(a))
    torch.testing.assert_close(normalized_entropy(moved), normalized_entropy(a))


def test_a_single_pixel_has_no_spread():
    a = torch.zeros(1, 3, 9, 7)
    a[0, :, 4, 5] = 2.0
    assert concentration(a).tolist() == [0]
    assert normalized_entropy(a).tolist() == [0]
    assert normalized_entropy(-a).tolist() == [0]


def test_two_equal_pixels_are_half_their_distance_from_the_centre():
    a = torch.zeros(1, 9, 9)
    a[0, 1, 2] = a[0, 4, 6] = 3.0  # 5 apart
    a[0, 8, 8] = -100.0
    torch.testing.assert_close(concentration(a), torch.tensor([2.5]))


def test_an_even_square_is_0_38_of_its_side_wide():
    expected = (math.sqrt(2) + math.log(1 + math.sqrt(2))) / 6  # the mean over a unit square
    assert expected == pytest.approx(0.3826, abs=1e-4)
    assert float(concentration(torch.ones(1, 224, 224))) == pytest.approx(224 * expected, rel=1e-4)


@given(seeds, st.integers(2, 8), st.integers(1, 8))
def test_entropy_is_that_of_the_shares(seed, height, width):
    a = normal(2, height, width, seed=seed)
    shares = a.abs().flatten(1).numpy() / a.abs().sum((1, 2)).numpy()[:, None]
    expected = -(shares * np.log(shares)).sum(1) / np.log(height * width)
    np.testing.assert_allclose(normalized_entropy(a).numpy(), expected, atol=1e-12)
    even = normalized_entropy(a.sign())
    torch.testing.assert_close(even, torch.ones(2, dtype=torch.float64))


def test_where_there_is_nothing_to_divide_by_it_is_nan():
    a = torch.zeros(3, 4, 4)
    a[1], a[2, 0, 0] = -1.0, 1.0  # nothing; nothing positive; nothing in the box
    box = torch.tensor([2, 2, 4, 4])
    nan = math.nan
    for found, expected in (
        (energy_in_box(a, box), [nan, nan, 0.0]),
        (positive_percentage(a, box), [nan, 0.0, nan]),
        (concentration(a), [nan, nan, 0.0]),
        (normalized_entropy(a), [nan, 1.0, 0.0]),
    ):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert normalized_entropy(torch.ones(1, 1, 1)).isnan().all()


def test_maps_in_half_precision_are_measured_in_single():
    a, box = torch.rand(2, 3, 8, 8).bfloat16(), torch.tensor([2, 2, 4, 4])
    for metric in (energy_in_box, positive_percentage):
        torch.testing.assert_close(metric(a, box), metric(a.float(), box))
    for metric in (concentration, normalized_entropy):
        torch.testing.assert_close(metric(a), metric(a.float()))


@pytest.mark.parametrize(
    ("region", "error", "message"),
    [
        ((0, 0, 2, 2), TypeError, "region must be a torch.Tensor, got tuple"),
        (
            torch.rand(4),
            TypeError,
            "mask, or boxes .* of integers, got dtype torch.float32",
        ),
        (torch.ones(10, 12).long(), ValueError, r"box \(4,\) or boxes \(3, 4\) .* mask.bool\(\)"),
        (torch.ones(2, 4).long(), ValueError, r"got shape \(2, 4\)"),
        (torch.ones(2, 10, 12).bool(), ValueError, r"a mask \(10, 12\) or \(3, 10, 12\)"),
        (torch.zeros(10, 12).bool(), ValueError, "the mask of example 0 is empty"),
        (torch.tensor([0, 0, 13, 4]), ValueError, r"x2 <= 12 .* y2 <= 10, got .*\(0, 0, 13, 4\)"),
        (torch.tensor([0, 0, 4, 11]), ValueError, "must lie in the map and hold a pixel"),
        (torch.tensor([-1, 0, 4, 4]), ValueError, "must lie in the map and hold a pixel"),
        (torch.tensor([0, -1, 4, 4]), ValueError, "must lie in the map and hold a pixel"),
        (torch.tensor([3, 0, 3, 4]), ValueError, "must lie in the map and hold a pixel"),
        (torch.tensor([[0, 0, 1, 1], [0, 4, 2, 2], [0, 0, 1, 1]]), ValueError, "of example 1"),
    ],
)
def test_bad_regions_are_named(region, error, message):
    for metric in (energy_in_box, positive_percentage):
        with pytest.raises(error, match=message):
            metric(MAPS, region)


@pytest.mark.parametrize(
    ("attributions", "error", "message"),
    [
        (MAPS.long(), TypeError, "attributions must be a real floating tensor"),
        (nan_at(MAPS, 1), ValueError, "attributions must be finite: example 1"),
        (MAPS[0, 0], ValueError, r"\(B, C, H, W\) or \(B, H, W\), .* got \(10, 12\)"),
        ((MAPS, MAPS), ValueError, "got a tuple of 2"),
    ],
)
def test_bad_maps_are_named(attributions, error, message):
    box = torch.tensor([0, 0, 1, 1])
    for metric in (concentration, normalized_entropy, lambda a: energy_in_box(a, box)):
        with pytest.raises(error, match=message):
            metric(attributions)
    with pytest.raises(error, match=message):
        positive_percentage(attributions, box)
