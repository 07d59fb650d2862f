"""Interactions from the table of all coalitions, against definitions and shapiq."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from coalitions.small_games import codes, game_of_order, smooth_game

from captum_spectral.coalitions import (
    INDICES,
    all_coalitions,
    banzhaf_from_table,
    interactions_from_table,
    moebius_transform,
    shapley_from_table,
    subsets_of,
    walsh_transform,
)

TABLE = smooth_game(6, noise=0.3)


def close(actual, expected, atol=1e-11):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def code(players):
    return sum(1 << i for i in players)


def within(players):
    return [s for k in range(len(players) + 1) for s in combinations(players, k)]


def moebius_of(table, players):
    return sum((-1) ** (len(players) - len(s)) * float(table[code(s)]) for s in within(players))


def test_sets_come_by_size_and_in_order():
    sets = subsets_of(5, 3)
    assert sets == sorted(sets, key=lambda s: (len(s), s))
    assert len(sets) == len(set(sets)) == 5 + 10 + 10


def test_walsh_coefficients_are_those_of_the_definition():
    members = all_coalitions(6)
    signs = (-1.0) ** (members.double() @ members.double().T)
    close(walsh_transform(TABLE[None])[0], signs @ TABLE / 64)


def test_moebius_coefficients_are_those_of_the_definition():
    expected = [moebius_of(TABLE, row.nonzero()[:, 0].tolist()) for row in all_coalitions(6)]
    close(moebius_transform(TABLE[None])[0], torch.tensor(expected, dtype=torch.float64))


def test_values_are_not_written_to():
    before = TABLE.clone()
    walsh_transform(TABLE[None]), moebius_transform(TABLE[None])
    assert torch.equal(TABLE, before)


def definition(index, order, table=TABLE, num_players=6):
    """Averages of discrete derivatives, term by term, with no transform."""
    players = range(num_players)
    found = []
    for s in subsets_of(num_players, order):
        k, total = len(s), 0.0
        for t in within([i for i in players if i not in s]):
            derivative = sum((-1) ** (k - len(u)) * float(table[code(u + t)]) for u in within(s))
            n, m = num_players - k, len(t)
            weight = {
                "SII": 1 / ((n + 1) * math.comb(n, m)),
                "BII": 2.0**-n,
                "Moebius": float(m == 0),
                "STII": float(m == 0)
                if k < order
                else k / num_players / math.comb(num_players - 1, m),
            }[index]
            total += weight * derivative
        found.append(total)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("index", ["SII", "BII", "STII", "Moebius"])
def test_indices_are_the_averages_of_their_definitions(index, order):
    close(interactions_from_table(TABLE[None], index, order)[0], definition(index, order))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("index", INDICES)
def test_indices_are_those_of_shapiq(index, order):
    shapiq = pytest.importorskip("shapiq")
    table = TABLE.numpy()
    computer = shapiq.ExactComputer(lambda x: table[codes(torch.from_numpy(x)).numpy()], 6)
    peer = computer(index=index, order=order)
    expected = torch.tensor([peer[s] for s in subsets_of(6, order)], dtype=torch.float64)
    close(interactions_from_table(TABLE[None], index, order)[0], expected)


def test_single_players_have_shapley_and_banzhaf_values():
    close(interactions_from_table(TABLE[None], "SII", 2)[..., :6], shapley_from_table(TABLE[None]))
    close(interactions_from_table(TABLE[None], "BII", 2)[..., :6], banzhaf_from_table(TABLE[None]))
    for index in ("k-SII", "STII"):
        single = interactions_from_table(TABLE[None], index, 1)
        close(single, shapley_from_table(TABLE[None]))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("index", ["k-SII", "STII"])
def test_shares_in_sets_sum_to_shapley_values_and_all_to_what_all_add(index, order):
    found = interactions_from_table(TABLE[None], index, order)[0]
    shares = torch.zeros(6, dtype=torch.float64)
    for s, value in zip(subsets_of(6, order), found, strict=True):
        shares[list(s)] += value / len(s)
    close(shares, shapley_from_table(TABLE[None])[0])
    close(found.sum(), TABLE[-1] - TABLE[0])


def test_interactions_are_weighted_sums_of_moebius_and_of_walsh_coefficients():
    members = all_coalitions(6)
    m, c = (transform(TABLE[None])[0] for transform in (moebius_transform, walsh_transform))
    sets = subsets_of(6, 3)
    for index in ("SII", "BII"):
        found = interactions_from_table(TABLE[None], index, 3)[0]
        for value, s in zip(found, sets, strict=True):
            above = members[:, list(s)].all(1)
            extra = members.sum(1)[above].double() - len(s)
            weight = 1 / (extra + 1) if index == "SII" else 0.5**extra
            close(value, (weight * m[above]).sum())
            if index == "BII":
                close(value, (-2.0) ** len(s) * c[code(s)])


def test_the_top_order_of_stii_of_all_players_is_their_moebius_coefficient():
    found = interactions_from_table(TABLE[None, :8], "STII", 3)[0]
    close(found, moebius_transform(TABLE[None, :8])[0, [code(s) for s in subsets_of(3, 3)]])


def test_a_game_of_order_two_has_its_products_as_interactions_and_no_others():
    table = game_of_order(2, 6)
    pairs = [moebius_of(table, s) for s in combinations(range(6), 2)]
    pairs = torch.tensor(pairs, dtype=torch.float64)
    for index in INDICES:
        found = interactions_from_table(table[None], index, 3)[0]
        close(found[6:21], pairs)
        assert found[21:].abs().max() < 1e-11


def test_players_who_change_nothing_interact_with_nobody():
    members = all_coalitions(6)[:, [0, 1, 3, 4]]
    small = smooth_game(4)
    table = small[codes(members)]
    sets = subsets_of(6, 3)
    alive = [all(i not in (2, 5) for i in s) for s in sets]
    for index in INDICES:
        found = interactions_from_table(table[None], index, 3)[0]
        close(found[alive], interactions_from_table(small[None], index, 3)[0])
        assert found[[not a for a in alive]].abs().max() < 1e-11


def test_examples_and_outputs_are_transformed_by_themselves():
    tables = torch.stack([smooth_game(5, seed) for seed in range(6)])
    together = tables.reshape(2, 3, 32).movedim(2, 1)
    for index in INDICES:
        found = interactions_from_table(together, index, 2)
        assert found.shape == (2, 3, 15)
        close(found.reshape(6, 15), interactions_from_table(tables, index, 2))


def test_rounding_of_float32_values_is_not_made_larger_by_walsh_forms():
    table = smooth_game(12) + 100
    noise = (table.float().double() - table).abs().max()
    for index in ("SII", "BII"):
        exact = interactions_from_table(table[None], index)
        assert (interactions_from_table(table[None].float(), index) - exact).abs().max() < noise


@pytest.mark.parametrize("num_players", [0, 1, 2])
def test_few_players_have_the_sets_there_are(num_players):
    table = torch.tensor(np.arange(2**num_players) ** 2.0)
    for index in INDICES:
        found = interactions_from_table(table[None], index, 3)[0]
        assert len(found) == 2**num_players - 1
