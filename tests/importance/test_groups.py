"""Images that are views of one picture: standard errors clustered by picture."""

import copy
import math

import pytest
import torch
from helpers import Counting, tiny_cnn
from hypothesis import given, settings
from hypothesis import strategies as st
from importance_cases import images_and_labels, oracle

from captum_spectral import ImportanceResult, SpectralImportance
from captum_spectral.importance.groups import (
    append_rows,
    clustered_covariance,
    combine,
    empty_table,
    rows_of,
)

GROUPS = torch.tensor([7, -2, 7, 7, 40, -2])


def clustered(phi, groups):
    """The covariance of a mean over groups, written out."""
    ids = sorted(set(groups))
    residuals = [
        sum(x - phi.mean(0) for x, g in zip(phi, groups, strict=True) if g == wanted)
        for wanted in ids
    ]
    total = sum(torch.outer(r, r) for r in residuals)
    return total * len(ids) / (len(ids) - 1) / len(phi) ** 2


def metric(**options):
    return SpectralImportance(tiny_cnn(), num_bands=4, **options)


def updated(groups, parts=(6,), order=None, **options):
    images, labels = images_and_labels()
    order = torch.arange(6) if order is None else torch.tensor(order)
    importance = metric(**options)
    for indices in order.split(list(parts)):
        here = None if groups is None else groups[indices]
        importance.update(images[indices], labels[indices], here)
    return importance


# -------------------------------------------------------------------- the number itself


def test_errors_are_those_of_the_formula_over_brute_force_values():
    images, labels = images_and_labels()
    phi = oracle(tiny_cnn(), images, labels, torch.zeros_like(images))
    result = updated(GROUPS).compute()
    torch.testing.assert_close(result.attributions, phi.mean(0))
    torch.testing.assert_close(result.covariance, clustered(phi, GROUPS.tolist()))
    assert (result.num_examples, result.num_groups) == (6, 3)


def test_groups_of_one_give_the_ordinary_errors():
    ordinary, alone = updated(None).compute(), updated(torch.arange(6)).compute()
    torch.testing.assert_close(alone.covariance, ordinary.covariance, rtol=1e-10, atol=0)
    assert (ordinary.num_groups, alone.num_groups) == (None, 6)
    assert torch.equal(alone.attributions, ordinary.attributions)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=6),
    offset=st.sampled_from([0.0, 1e6]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_any_groups_have_the_covariance_of_the_formula(sizes, offset, seed):
    generator = torch.Generator().manual_seed(seed)
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    phi = torch.randn(len(groups), 3, generator=generator, dtype=torch.float64) + offset
    table = combine([rows_of(phi, torch.zeros(len(phi)), groups)])
    found = clustered_covariance(table, phi.mean(0))
    tolerance = 1e-8 if offset else 1e-12
    torch.testing.assert_close(found, clustered(phi, groups.tolist()), rtol=0, atol=tolerance)


def test_copies_of_an_image_add_nothing_to_what_is_known():
    images, labels = images_and_labels()
    once, thrice, naive = metric(), metric(), metric()
    once.update(images, labels)
    for _ in range(3):
        thrice.update(images, labels, torch.arange(6))
        naive.update(images, labels)
    same = thrice.compute()
    torch.testing.assert_close(same.covariance, once.compute().covariance, rtol=1e-10, atol=0)
    assert (naive.compute().standard_error < 0.7 * same.standard_error).all()


def test_one_group_alone_has_no_error():
    result = updated(torch.zeros(6, dtype=torch.int64)).compute()
    assert result.num_groups == 1
    assert result.standard_error.isnan().all()
    assert math.isnan(result.signed_score().standard_error)


def test_intervals_of_scores_come_from_the_clustered_covariance():
    images, labels = images_and_labels()
    phi = oracle(tiny_cnn(), images, labels, torch.zeros_like(images))
    result = updated(GROUPS).compute()
    expected = ImportanceResult(phi.mean(0), clustered(phi, GROUPS.tolist()), 0.0, 0.0, 6, 96)
    assert tuple(result.score()) == pytest.approx(tuple(expected.score()), rel=1e-4, abs=1e-5)
    assert result.score().low != pytest.approx(updated(None).compute().score().low, rel=1e-4)


def test_classes_are_clustered_each_by_itself():
    images, _ = images_and_labels()
    labels = torch.tensor([0, 0, 0, 1, 1, 0])
    phi = oracle(tiny_cnn(), images, labels, torch.zeros_like(images))
    importance = metric(num_classes=5)
    importance.update(images, labels, GROUPS)
    result = importance.compute()
    torch.testing.assert_close(result.covariance, clustered(phi, GROUPS.tolist()))
    for number, groups in ((0, 2), (1, 2)):
        own = labels == number
        part = result.per_class[number]
        assert part.num_groups == groups
        torch.testing.assert_close(
            part.covariance, clustered(phi[own], GROUPS[own].tolist()), rtol=1e-9, atol=1e-12
        )


# -------------------------------------------------------------------- what must not matter


def test_batches_change_nothing_but_the_rounding_of_the_network():
    whole = updated(GROUPS).compute()
    for parts in ((1,) * 6, (2, 4), (3, 3)):
        other = updated(GROUPS, parts).compute()
        for name in ("attributions", "covariance", "full_value", "empty_value"):
            found, expected = (torch.as_tensor(getattr(one, name)) for one in (other, whole))
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
        assert (other.num_examples, other.num_groups) == (6, 3)


def test_order_and_names_of_groups_change_nothing_but_rounding():
    whole = updated(GROUPS).compute()
    for groups in (GROUPS, GROUPS * 1000 + 5, -GROUPS):
        other = updated(groups, (3, 3), [5, 0, 3, 2, 4, 1]).compute()
        torch.testing.assert_close(other.covariance, whole.covariance, rtol=1e-10, atol=1e-15)


def test_when_rows_are_added_up_does_not_change_a_bit():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(5000, 5, generator=generator, dtype=torch.float64)
    rows[:, :2] = torch.randint(3, (5000, 2), generator=generator).double()
    tables = [empty_table(2)]
    for part in rows.split(37):
        tables = append_rows(tables, part)
        assert sum(map(len, tables)) <= 1024 + 9  # memory grows with the groups alone
    assert torch.equal(combine(tables), combine([rows]))
    assert len(combine(tables)) == 9


MERGES = pytest.mark.skipif(
    not hasattr(SpectralImportance, "merge_state"), reason="this torchmetrics has no merge_state"
)


@MERGES
def test_merged_metrics_are_one():
    whole = updated(GROUPS).compute()
    images, labels = images_and_labels()
    first, second = metric(), metric()
    first.update(images[:4], labels[:4], GROUPS[:4])
    second.update(images[4:], labels[4:], GROUPS[4:])
    first.merge_state(second)
    merged = first.compute()
    torch.testing.assert_close(merged.covariance, whole.covariance)
    assert (merged.num_examples, merged.num_groups) == (6, 3)


def test_the_state_goes_on_where_it_was():
    images, labels = images_and_labels()
    importance = updated(GROUPS)
    state = importance.state_dict()
    assert list(state) == ["moments", "grouped"]
    assert all(isinstance(x, torch.Tensor) for x in state.values())
    other = metric()
    other.load_state_dict(state)
    for each in (importance, other, copy.deepcopy(other)):
        each.update(images[:2], labels[:2], torch.tensor([40, 41]))
        assert each.compute().num_groups == 4
    assert importance.compute() == other.compute()
    other.load_state_dict(updated(None).state_dict())  # without groups, and none are left
    assert other.compute().num_groups is None


def test_reset_forgets_the_groups():
    importance = updated(GROUPS)
    importance.reset()
    images, labels = images_and_labels()
    importance.update(images, labels)
    assert importance.compute() == updated(None).compute()


def test_forward_clusters_its_own_batch():
    images, labels = images_and_labels()
    importance = updated(GROUPS)
    assert importance(images, labels, torch.tensor([1, 1, 2, 2, 3, 4])).num_groups == 4
    assert importance.compute().num_groups == 7


# -------------------------------------------------------------------- in use


def test_a_loader_may_give_groups():
    images, labels = images_and_labels()
    batches = [(images[:4], labels[:4], GROUPS[:4]), (images[4:], labels[4:], GROUPS[4:])]
    assert metric().evaluate(batches, show_progress=False) == updated(GROUPS).compute()
    first = metric().evaluate(batches, max_examples=5, show_progress=False)
    assert (first.num_examples, first.num_groups) == (5, 3)


def test_a_tolerance_counts_groups_and_not_their_views():
    images, labels = images_and_labels()
    for groups, precise in ((torch.arange(6), False), (None, True)):
        importance = metric(tolerance=10.0)
        for _ in range(6):
            importance.update(images, labels, groups)
        assert importance.is_precise == precise


def test_the_result_says_how_many_groups_there_were():
    result = updated(GROUPS).compute()
    assert "over 6 images in 3 groups" in repr(result)
    assert "group" not in repr(updated(None).compute())
    assert ImportanceResult.from_json(result.to_json()) == result
    older = result.to_dict()
    del older["num_groups"]
    assert ImportanceResult.from_dict(older).num_groups is None


@pytest.mark.parametrize(
    ("groups", "error", "match"),
    [
        (torch.zeros(5, dtype=torch.int64), ValueError, r"groups must be \(6,\).*got shape \(5,\)"),
        (torch.zeros(6), TypeError, "groups must be integers.*torch.float32"),
        (["a"] * 6, TypeError, "groups must be integers, one id per image, got"),
        (torch.full((6,), 2**60), ValueError, r"groups must be ids from -2\*\*53 to 2\*\*53"),
    ],
)
def test_wrong_groups_are_refused_before_the_model_runs(groups, error, match):
    images, labels = images_and_labels()
    model = Counting(tiny_cnn())
    with pytest.raises(error, match=match):
        SpectralImportance(model, num_bands=4).update(images, labels, groups)
    assert model.calls == 0


@MERGES
def test_groups_come_with_every_update_or_with_none():
    images, labels = images_and_labels()
    with pytest.raises(ValueError, match="this batch has none and those before had them"):
        updated(GROUPS).update(images, labels)
    ungrouped = updated(None)
    with pytest.raises(ValueError, match="this batch has and those before had none"):
        ungrouped.update(images, labels, GROUPS)
    assert ungrouped.result().num_examples == 6  # nothing was taken in
    ungrouped.merge_state(updated(GROUPS))
    with pytest.raises(ValueError, match="6 of 12 images have groups"):
        ungrouped.compute()
