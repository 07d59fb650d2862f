"""Corruption errors against tables made by hand, and against the definition written out."""

import math

import pytest
import torch

from captum_spectral.robustness.errors import (
    corruption_error,
    mean_corruption_error,
    relative_corruption_error,
    relative_mean_corruption_error,
)

MODEL = {"noise": [0.2, 0.3, 0.4], "blur": [0.1, 0.2, 0.3], "contrast": [0.4, 0.5, 0.9]}
PLAIN = {"noise": [0.4, 0.5, 0.9], "blur": [0.1, 0.1, 0.2], "contrast": [0.2, 0.2, 0.5]}
GROUPS = {"textures": ["noise", "blur"], "light": ["contrast"]}


def tables(num_corruptions=4, num_severities=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rates = torch.rand(2, num_corruptions, num_severities, generator=generator).double()
    clean = 0.2 * torch.rand(2, generator=generator).double()
    return rates, clean


def test_a_table_made_by_hand():
    result = mean_corruption_error(MODEL, PLAIN, "plain", GROUPS)
    assert result.by_corruption == pytest.approx({"noise": 0.5, "blur": 1.5, "contrast": 2.0})
    assert result.value == pytest.approx(4 / 3)
    assert result.num_corruptions == 3
    assert result.by_group["textures"].value == pytest.approx(1.0)
    assert result.by_group["light"] == (pytest.approx(2.0), 1)
    assert result.mean_error == pytest.approx((0.3 + 0.2 + 0.6) / 3)
    assert result.reference == "plain"
    assert str(result) == "1.333 relative to plain, over 3 of 3 corruptions"


def test_a_relative_table_made_by_hand():
    result = relative_mean_corruption_error(MODEL, 0.1, PLAIN, 0.1, "plain", groups=GROUPS)
    # (.9 - .3) / (1.8 - .3), (.6 - .3) / (.4 - .3), (1.8 - .3) / (.9 - .3)
    assert result.by_corruption == pytest.approx({"noise": 0.4, "blur": 3.0, "contrast": 2.5})
    assert result.value == pytest.approx((0.4 + 3.0 + 2.5) / 3)


def test_the_reference_has_an_error_of_one():
    (_, rates), (_, clean) = tables()
    table = {f"c{i}": row for i, row in enumerate(rates)}
    mean = mean_corruption_error(table, table, "itself")
    relative = relative_mean_corruption_error(table, clean, table, clean, "itself")
    for result in (mean, relative):
        assert result.value == pytest.approx(1)
        assert all(v == pytest.approx(1) for v in result.by_corruption.values())


def test_all_is_as_the_definition_written_out():
    (own, reference), (clean, reference_clean) = tables(seed=3)
    ce, relative = [], []
    for c in range(4):
        sums = [sum(float(rates[c, s]) for s in range(5)) for rates in (own, reference)]
        ce.append(sums[0] / sums[1])
        added = [sums[0] - 5 * float(clean), sums[1] - 5 * float(reference_clean)]
        relative.append(added[0] / added[1])
    assert corruption_error(own, reference).tolist() == pytest.approx(ce)
    found = relative_corruption_error(own, clean, reference, reference_clean)
    assert found.tolist() == pytest.approx(relative)


def test_many_models_at_once_give_what_each_gives():
    (own, reference), (clean, reference_clean) = tables(seed=5)
    both = relative_corruption_error(
        torch.stack([own, reference]),
        torch.stack([clean, reference_clean])[:, None],
        reference,
        reference_clean,
    )
    assert both.shape == (2, 4)
    torch.testing.assert_close(
        both[0], relative_corruption_error(own, clean, reference, reference_clean)
    )
    torch.testing.assert_close(both[1], torch.ones(4).double())


class TestWhatHasNoRatio:
    def test_a_reference_without_errors_has_none(self):
        result = mean_corruption_error({"a": [0.1], "b": [0.2]}, {"a": [0.0], "b": [0.1]}, "plain")
        assert math.isnan(result.by_corruption["a"])
        assert result.undefined == ("a",)
        assert result.value == pytest.approx(2)
        assert result.num_corruptions == 1
        assert str(result) == "2 relative to plain, over 1 of 2 corruptions; undefined for a"

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_reference_that_does_not_degrade_has_none(self, dtype):
        """Beyond the rounding of .3 + .1 - 2 * .2."""
        reference = torch.tensor([0.3, 0.1], dtype=dtype)
        own = torch.tensor([0.5, 0.5], dtype=dtype)
        for clean in (0.2, 0.25):  # as good as on clean images; better
            found = relative_corruption_error(own, 0.1, reference, torch.tensor(clean, dtype=dtype))
            assert found.isnan()

    def test_no_ratio_at_all_has_no_mean(self):
        result = mean_corruption_error({"a": [0.1]}, {"a": [0.0]}, "plain", {"group": ["a"]})
        assert math.isnan(result.value)
        assert result.num_corruptions == 0
        assert result.by_group["group"].num_corruptions == 0
        assert math.isnan(result.by_group["group"].value)
        assert result.mean_error == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("errors", "reference", "error", "message"),
    [
        ({"a": [0.1]}, {"b": [0.1]}, ValueError, r"same corruptions.*\['a'\] and \['b'\]"),
        ({}, {}, ValueError, "one or more"),
        ([0.1], {"a": [0.1]}, TypeError, "errors must be a dict by corruption.*got list"),
        ({"a": [0.1]}, [0.1], TypeError, "reference_errors must be a dict"),
        ({"a": [0.1, 0.2]}, {"a": [0.1]}, ValueError, r"same severities, got shapes \(2,\)"),
        ({"a": [12.0]}, {"a": [50.0]}, ValueError, "from 0 to 1, got 12 to 12; percentages"),
        ({"a": [math.nan]}, {"a": [0.5]}, ValueError, r"errors\['a'\] must be error rates"),
        ({"a": []}, {"a": []}, ValueError, r"one severity or more, got shape \(0,\)"),
        ({"a": "much"}, {"a": [0.5]}, TypeError, r"errors\['a'\] must hold error rates"),
        ({"a": torch.tensor([True])}, {"a": [0.5]}, TypeError, "torch.bool"),
    ],
)
def test_wrong_tables_are_refused(errors, reference, error, message):
    with pytest.raises(error, match=message):
        mean_corruption_error(errors, reference, "plain")


def test_groups_of_unknown_corruptions_are_refused():
    with pytest.raises(ValueError, match=r"groups name \['fog'\].*\['blur', 'contrast', 'noise'\]"):
        mean_corruption_error(MODEL, PLAIN, "plain", {"weather": ["fog"]})


def test_other_severities_are_refused():
    with pytest.raises(ValueError, match="same severities, got 3 and 2"):
        corruption_error(torch.rand(2, 3), torch.rand(2, 2))
