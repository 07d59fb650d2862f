"""Labels drawn anew."""

import pytest
import torch

from captum_spectral.robustness.label_noise import noisy_labels


@pytest.mark.parametrize(("share", "num_classes"), [(0.0, 10), (0.4, 10), (0.8, 4), (1.0, 2)])
def test_a_share_less_its_lucky_draws_is_wrong(share, num_classes):
    count = 20_000
    labels = torch.arange(count) % num_classes
    wrong = float((noisy_labels(labels, share, num_classes) != labels).double().mean())
    expected = share * (1 - 1 / num_classes)
    assert wrong == pytest.approx(expected, abs=4 * (expected / count) ** 0.5)


def test_labels_are_drawn_from_all_classes_evenly():
    drawn = noisy_labels(torch.zeros(20_000, dtype=torch.long), 1.0, 4)
    assert (drawn.bincount(minlength=4) / 20_000).tolist() == pytest.approx([0.25] * 4, abs=0.015)


def test_a_larger_share_adds_to_a_smaller_one():
    labels = torch.arange(1000) % 10
    some, more = (noisy_labels(labels, share, 10, seed=3) for share in (0.2, 0.6))
    changed = some != labels
    assert (more[changed] == some[changed]).all()
    assert (more != labels).sum() > 2 * changed.sum()


def test_the_labels_that_were_given_stay_as_they_are():
    labels = (torch.arange(100) % 10).to(torch.int32)
    before = labels.clone()
    noisy = noisy_labels(labels, 0.5, 10)
    assert (labels == before).all()
    assert noisy.dtype == torch.int32
    assert (noisy_labels(labels, 0.5, 10) == noisy).all()
    assert (noisy_labels(labels, 0.5, 10, seed=1) != noisy).any()


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    noisy_labels(torch.zeros(9, dtype=torch.long), 0.5, 3)
    assert (torch.get_rng_state() == before).all()


def test_no_labels_are_no_labels():
    assert len(noisy_labels(torch.zeros(0, dtype=torch.long), 0.5, 3)) == 0


LABELS = torch.arange(10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((LABELS / 2, 0.5, 10), TypeError, "labels must be a tensor of integers .N,., got torch.f"),
        ((LABELS > 2, 0.5, 10), TypeError, "got torch.bool; use .long()"),
        (([1, 2], 0.5, 10), TypeError, "labels must be a tensor of integers .N,., got list"),
        ((LABELS[None], 0.5, 10), ValueError, r"labels must be .N,., got shape .1, 10."),
        ((LABELS, 1.5, 10), ValueError, "share must be a number from 0 to 1, got 1.5"),
        ((LABELS, float("nan"), 10), ValueError, "share must be a number from 0 to 1, got nan"),
        ((LABELS, 0.5, 9), ValueError, r"labels must lie in 0..8, got 0..9; num_classes=9"),
        ((LABELS, 0.5, 10, -1), ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        noisy_labels(*arguments)
