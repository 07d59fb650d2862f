"""Which coalitions are asked for: pairs by leverage, and pairs by design."""

import math

import pytest
import torch
from coalitions.small_games import (
    codes,
    covariance_of_all,
    exact,
    map_of,
    smooth_game,
    values_of,
)

from captum_spectral.coalitions import GaussianProcess, designed_pairs, leverage_pairs, pairs
from captum_spectral.coalitions.pairs import fewest_leverage_pairs, with_ends


@pytest.mark.parametrize("num_players", [2, 3, 5, 8, 13, 33, 200])
@pytest.mark.parametrize("num_pairs", [1, 3, 15, 127])
def test_pairs_are_distinct_and_hold_player_0(num_players, num_pairs):
    for members in (
        leverage_pairs(num_players, num_pairs, 7).members,
        designed_pairs(num_players, num_pairs, 7),
    ):
        assert members.shape == (min(num_pairs, 2 ** (num_players - 1) - 1), num_players)
        assert members[:, 0].all()
        assert not members.all(1).any()
        both = with_ends(members)
        assert len(both.unique(dim=0)) == len(both) == 2 * len(members) + 2


def test_every_size_gets_as_many_coalitions_and_the_rest_of_those_that_are_complete():
    drawn = leverage_pairs(10, 80, 0)  # sizes 1 .. 4 have 10, 45, 120, 210 pairs, and halves 126
    assert drawn.existing.tolist() == [0, 10, 45, 120, 210, 126]
    assert drawn.drawn.tolist() == [0, 10, 20, 20, 20, 10]
    size = with_ends(drawn.members)[2:].sum(1)
    assert size.bincount()[1:].tolist() == [10, 20, 20, 20, 20, 20, 20, 20, 10]
    assert drawn.enumerated.sum() == 10


def test_within_a_size_pairs_are_uniform():
    draws = 1000
    seen = torch.zeros(64)
    for seed in range(draws):
        members = leverage_pairs(6, 7, seed).members  # 2.8 of 6, 2.8 of 15, 1.4 of 10 pairs
        seen.index_add_(0, codes(members), torch.ones(7))
    for h, count in ((1, 6), (2, 15), (3, 10)):
        drawn = leverage_pairs(6, 7, 0).drawn[h]
        size = torch.tensor([min(c.bit_count(), 6 - c.bit_count()) for c in range(64)])
        own = seen[(size == h) & (torch.arange(64) % 2 == 1)]
        share = float(drawn / count)
        assert len(own) == count
        deviation = math.sqrt(draws * share * (1 - share))
        assert ((own - draws * share).abs() < 4.5 * deviation).all()


def test_coalitions_depend_on_players_pairs_and_seed_alone():
    again = [designed_pairs.__wrapped__(9, 20, seed) for seed in (1, 1, 2)]
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], again[2])


def test_each_designed_pair_leaves_the_least_doubt():
    """Sum of variances after each step, by brute force over the whole table."""
    num_players, num_pairs = 5, 6
    chosen = designed_pairs(num_players, num_pairs, 0)
    # With 4 times as many candidates as pairs all 15 pairs of the game are candidates.
    candidates = leverage_pairs(num_players, 15, 0).members
    lambdas = torch.full((num_players,), 1.6 / num_players, dtype=torch.float64)
    covariance = covariance_of_all(lambdas, 1.6, 0.03)
    target = map_of("shapley", num_players)

    def doubt(members):
        places = codes(with_ends(members)).reshape(-1, 2)
        picked = torch.zeros(len(places), 2**num_players, dtype=torch.float64)
        picked[torch.arange(len(places)), places[:, 0]] = 0.5
        picked[torch.arange(len(places)), places[:, 1]] = -0.5
        across = target @ covariance @ picked.T
        inside = picked @ covariance @ picked.T
        left = target @ covariance @ target.T - across @ torch.linalg.solve(inside, across.T)
        return float(left.trace())

    for step in range(num_pairs):
        so_far = chosen[:step]
        left = [
            doubt(torch.cat([so_far, one[None]]))
            for one in candidates
            if not (so_far == one).all(1).any()
        ]
        assert abs(doubt(chosen[: step + 1]) - min(left)) < 1e-9


def test_twelve_players_come_one_by_one_first():
    members = designed_pairs(12, 40, 3)
    smaller = torch.minimum(members.sum(1), 12 - members.sum(1))
    assert (smaller[:12] == 1).all()
    assert (smaller[12:] > 3).double().mean() > 0.8


def test_designs_beat_draws():
    table = smooth_game(10, noise=0.05)
    errors = {"designed": [], "drawn": []}
    for seed in range(8):
        for name in errors:
            estimator = GaussianProcess(10, 31, seed=seed)
            if name == "drawn":
                estimator.coalitions = with_ends(leverage_pairs(10, 31, seed).members)
                estimator._members = estimator.coalitions[::2]
            found = estimator.estimate(values_of(table, estimator)).values[0]
            errors[name].append(float((found - exact(table)).norm()))
    assert sum(errors["designed"]) < sum(errors["drawn"])


def test_beyond_the_largest_design_the_rest_is_drawn(monkeypatch):
    whole = designed_pairs.__wrapped__(24, 60, 0)
    monkeypatch.setattr(pairs, "_MOST_DESIGNED", 40)
    members = designed_pairs.__wrapped__(24, 60, 0)
    assert torch.equal(members[:40], whole[:40])
    assert members.shape == (60, 24)
    assert len(members.unique(dim=0)) == 60


@pytest.mark.parametrize("num_players", [2, 3, 7, 12, 32])
def test_the_fewest_pairs_that_hold_two_of_every_size(num_players):
    fewest = fewest_leverage_pairs(num_players)
    enough = leverage_pairs(num_players, fewest, 0)
    assert ((enough.drawn >= 2) | (enough.drawn == enough.existing)).all()
    if fewest > 1:
        less = leverage_pairs(num_players, fewest - 1, 0)
        assert ((less.drawn < 2) & (less.drawn < less.existing)).any()
