"""From values of coalitions to Shapley values, on games without images."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral.coalitions import (
    Orderings,
    all_coalitions,
    sample_orderings,
    shapley_from_table,
    shapley_weights,
)

games = st.integers(1, 5).flatmap(
    lambda m: st.lists(st.floats(-10, 10), min_size=2**m, max_size=2**m).map(
        lambda v: torch.tensor([v], dtype=torch.float64)
    )
)


def by_definition(table):
    """Mean marginal contribution over all orderings."""
    m = table.shape[1].bit_length() - 1
    phi = torch.zeros(m, dtype=torch.float64)
    orders = list(permutations(range(m)))
    for order in orders:
        code = 0
        for player in order:
            phi[player] += table[0, code | 1 << player] - table[0, code]
            code |= 1 << player
    return phi / len(orders)


@given(table=games)
def test_the_linear_map_is_the_mean_over_all_orderings(table):
    torch.testing.assert_close(
        shapley_from_table(table)[0], by_definition(table), rtol=0, atol=1e-12
    )


@given(table=games)
def test_efficiency(table):
    gain = table[0, -1] - table[0, 0]
    assert abs(shapley_from_table(table).sum() - gain) < 1e-10


@given(table=games, other=st.integers(0, 1000), factor=st.floats(-3, 3))
def test_linearity_in_the_game(table, other, factor):
    second = torch.randn(table.shape, generator=torch.Generator().manual_seed(other)).double()
    torch.testing.assert_close(
        shapley_from_table(factor * table + second),
        factor * shapley_from_table(table) + shapley_from_table(second),
        rtol=0,
        atol=1e-10,
    )


@given(table=games)
def test_a_dummy_is_worth_what_it_adds(table):
    with_dummy = torch.cat([table, table + 1.5], 1)  # the new last player always adds 1.5
    phi = shapley_from_table(with_dummy)[0]
    assert abs(phi[-1] - 1.5) < 1e-10
    torch.testing.assert_close(phi[:-1], shapley_from_table(table)[0], rtol=0, atol=1e-10)


@given(table=games)
def test_symmetry_renaming_players_renames_values(table):
    m = table.shape[1].bit_length() - 1
    reverse = all_coalitions(m).flip(1).long() @ (2 ** torch.arange(m))
    torch.testing.assert_close(
        shapley_from_table(table[:, reverse]), shapley_from_table(table).flip(1), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("m", [1, 4, 10])
def test_weights_are_those_of_a_probability(m):
    weights = shapley_weights(m)
    members = all_coalitions(m).T
    torch.testing.assert_close((weights * members).sum(1), torch.ones(m, dtype=torch.float64))
    torch.testing.assert_close(weights.sum(1), torch.zeros(m, dtype=torch.float64))


def test_values_of_many_outputs():
    table = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    phi = shapley_from_table(table)
    assert phi.shape == (2, 3, 4, 3)
    torch.testing.assert_close(phi[1, 2, 3], shapley_from_table(table[1:, :, 2, 3])[0])


def looked_up(orderings, table):
    codes = orderings.coalitions.long() @ (2 ** torch.arange(orderings.coalitions.shape[1]))
    return table[:, codes]


def test_an_ordering_and_its_reverse_by_hand():
    table = torch.randn(1, 16, dtype=torch.float64)
    orderings = Orderings(torch.tensor([[2, 0, 3, 1], [3, 2, 1, 0]]))
    phi, error = orderings.estimate(looked_up(orderings, table))[:2]
    pairs = []
    for order in ([2, 0, 3, 1], [3, 2, 1, 0]):
        pair = torch.zeros(2, 4, dtype=torch.float64)
        for j, direction in enumerate((order, order[::-1])):
            code = 0
            for player in direction:
                pair[j, player] = table[0, code | 1 << player] - table[0, code]
                code |= 1 << player
        pairs.append(pair.mean(0))
    torch.testing.assert_close(phi[0], (pairs[0] + pairs[1]) / 2)
    torch.testing.assert_close(error[0], (pairs[0] - pairs[1]).abs() / 2)  # s / sqrt(2), n = 2


def test_each_coalition_is_met_once_and_the_budget_holds():
    orderings = sample_orderings(9, 7)
    assert len(orderings.coalitions) == len(orderings.coalitions.unique(dim=0))
    assert len(orderings.coalitions) <= 2 * 7 * 8 + 2
    sizes = orderings.coalitions.sum(1)
    assert sizes.min() == 0
    assert sizes.max() == 9


def test_reversed_pairs_are_exact_for_two_players_and_for_additive_games():
    table = torch.randn(1, 4, dtype=torch.float64)
    one = sample_orderings(2, 1)
    torch.testing.assert_close(
        one.estimate(looked_up(one, table)).values, shapley_from_table(table)
    )
    worth = torch.randn(6, dtype=torch.float64)
    additive = (all_coalitions(6).double() @ worth)[None]
    one = sample_orderings(6, 1)
    torch.testing.assert_close(one.estimate(looked_up(one, additive)).values[0], worth)


def test_once_every_coalition_is_met_the_values_are_exact_with_no_error():
    table = torch.randn(2, 8, 3, dtype=torch.float64)
    orderings = sample_orderings(3, 50)
    phi, error = orderings.estimate(looked_up(orderings, table))[:2]
    torch.testing.assert_close(phi, shapley_from_table(table))
    assert not error.any()


def test_sampling_is_unbiased_and_its_standard_error_is_the_spread_of_the_estimates():
    table = torch.randn(1, 2**6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(0)
    estimates, errors = [], []
    for _ in range(600):
        orderings = sample_orderings(6, 4, generator)
        phi, error = orderings.estimate(looked_up(orderings, table))[:2]
        estimates.append(phi[0])
        errors.append(error[0])
    estimates, errors = torch.stack(estimates), torch.stack(errors)
    spread = estimates.std(0)
    bias = estimates.mean(0) - shapley_from_table(table)[0]
    assert (bias.abs() < 4 * spread / 600**0.5).all()
    ratio = errors.square().mean(0).sqrt() / spread  # the variance estimate is what is unbiased
    assert (ratio - 1).abs().max() < 0.1


def test_a_seed_reproduces_and_the_global_generator_is_the_default():
    def draw():
        return sample_orderings(8, 3).coalitions

    torch.manual_seed(5)
    first = draw()
    torch.manual_seed(5)
    assert torch.equal(first, draw())
    seeded = [sample_orderings(8, 3, torch.Generator().manual_seed(1)).coalitions for _ in "ab"]
    assert torch.equal(*seeded)
