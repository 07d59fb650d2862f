"""Interactions of two players from few coalitions, against brute force over the whole table."""

from itertools import combinations

import pytest
import torch
from coalitions import small_games as games
from coalitions.small_games import (
    covariance_of_all,
    game_of_order,
    posterior,
    smooth_game,
    values_of,
)

from captum_spectral.coalitions import (
    ExactInteractions,
    GaussianProcess,
    PairInteractions,
    interactions_from_table,
    subsets_of,
)
from captum_spectral.coalitions.gaussian_process import Candidate
from captum_spectral.coalitions.interactions import EvenPosterior
from captum_spectral.coalitions.prior import prior_of

RELEVANCE = torch.tensor([1.0, 5.0, 0.2, 2.0, 0.0, 1.5], dtype=torch.float64)
PAIRS = {"shapley": "SII", "banzhaf": "BII"}


def close(actual, expected, atol=1e-8):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def exact(table, index="k-SII"):
    return interactions_from_table(table[None], index)[0]


def pairs_and_sums(index, num_players):
    """The linear map of the table to interactions of two, and to their sums for each player."""
    every = torch.eye(2**num_players, dtype=torch.float64)
    two = interactions_from_table(every, PAIRS[index])[:, num_players:].T
    players = list(combinations(range(num_players), 2))
    sums = [two[[i in s for s in players]].sum(0) for i in range(num_players)]
    return torch.cat([two, torch.stack(sums)])


@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
@pytest.mark.parametrize("relevance", [None, RELEVANCE])
@pytest.mark.parametrize("num_pairs", [1, 4, 13, 25])
def test_mean_and_error_are_those_of_the_posterior(index, relevance, num_pairs, monkeypatch):
    monkeypatch.setattr(games, "map_of", pairs_and_sums)
    table = smooth_game(6, noise=0.1) + 50
    estimator = PairInteractions(6, num_pairs, index=PAIRS[index])
    members = estimator.coalitions[::2]
    e = (table + table.flip(0))[games.codes(members)][:, None] / 2
    candidate = Candidate(relevance is not None, 1.6, 0.03)
    found, error = EvenPosterior(candidate, relevance, members, estimator._semivalue).values(e)
    prior = prior_of(6, relevance, 1.6, 0.03)
    free = 1e6 * torch.ones(64, 64, dtype=torch.float64)
    covariance = covariance_of_all(prior.lambdas, 1.6, 0.03)
    # A constant without a prior is the limit of a wide one; rounding leaves fewer digits there.
    mean, variance, errors, precisions = posterior(
        table - 50, covariance + free, estimator.coalitions, index, 0.5
    )
    close(found[0], mean, 1e-5)
    close(error[0].square(), (errors.square() * precisions).mean() * variance, 1e-5)


@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
@pytest.mark.parametrize("free", [False, True])
def test_mean_and_error_are_those_of_generalised_least_squares(index, free):
    """The same to all digits: the constant, or all products, solved for beside the prior."""
    table = smooth_game(6, noise=0.1)
    members = PairInteractions(6, 22).coalitions[::2]
    rows = torch.zeros(len(members), 64, dtype=torch.float64)
    for row, own in zip(rows, games.codes(members).tolist(), strict=True):
        row[own] = row[63 - own] = 0.5
    covariance = covariance_of_all(prior_of(6, RELEVANCE, 1.6, 0.03).lambdas, 1.6, 0.03)
    target = pairs_and_sums(index, 6)
    signs = 2.0 * games.all_coalitions(6).double() - 1
    basis = [torch.ones(64, dtype=torch.float64)]
    if free:
        basis += [signs[:, i] * signs[:, j] for i, j in combinations(range(6), 2)]
    basis = torch.stack(basis, 1)
    inside, seen = rows @ covariance @ rows.T, rows @ basis
    # Lagrange multipliers make the estimate unbiased for every function of the basis.
    size = basis.shape[1]
    zeros = torch.zeros(size, size, dtype=torch.float64)
    system = torch.cat([torch.cat([inside, seen], 1), torch.cat([seen.T, zeros], 1)])
    across = target @ covariance @ rows.T
    solved = torch.linalg.solve(system, torch.cat([across.T, (target @ basis).T]))
    weights, multipliers = solved[: len(rows)], solved[len(rows) :]
    e = rows @ table
    variance = (target @ covariance @ target.T).diagonal() - (across * weights.T).sum(1)
    variance = variance - (multipliers * (target @ basis).T).sum(0)
    semivalue = PairInteractions(6, 22, index=PAIRS[index])._semivalue
    found = EvenPosterior(Candidate(True, 1.6, 0.03, free), RELEVANCE, members, semivalue)
    mean, error = found.values(e[:, None])
    close(mean[0], weights.T @ e)
    close(error[0].square(), found.left_out(e[:, None])[1] * variance)


@pytest.mark.parametrize("index", ["k-SII", "SII", "BII"])
def test_all_pairs_give_the_exact_interactions(index):
    table = smooth_game(6, noise=0.3)
    estimator = PairInteractions(6, 31, index=index)
    found = estimator.estimate(values_of(table, estimator))
    close(found.values[0], exact(table, index))
    assert found.standard_error.max() < 1e-5


def test_the_table_gives_the_exact_interactions_without_error():
    table = smooth_game(6, noise=0.3)
    for index in ("k-SII", "STII", "Moebius"):
        estimator = ExactInteractions(6, index, 3)
        found = estimator.estimate(values_of(table, estimator))
        assert torch.equal(found.values, interactions_from_table(table[None], index, 3))
        assert not found.standard_error.any()
    with pytest.raises(ValueError, match=r"17 bands need 2\^17"):
        ExactInteractions(17)


@pytest.mark.parametrize("index", ["k-SII", "SII", "BII"])
@pytest.mark.parametrize("num_pairs", [3, 35])
def test_players_of_an_additive_game_do_not_interact(index, num_pairs):
    table = game_of_order(1, 9)
    estimator = PairInteractions(9, num_pairs, index=index)
    found = estimator.estimate(values_of(table, estimator))
    close(found.values[0, 9:], torch.zeros(36, dtype=torch.float64))
    assert found.standard_error[0, 9:].max() < 1e-7


@pytest.mark.parametrize("index", ["k-SII", "SII", "BII"])
def test_games_of_order_two_are_exact_once_products_may_be_free(index):
    table = game_of_order(2, 9)
    estimator = PairInteractions(9, 9 * 8 // 2 + 4, index=index)
    found = estimator.estimate(values_of(table, estimator))
    close(found.values[0], exact(table, index))
    assert found.standard_error.max() < 1e-7


def test_single_players_of_sii_and_bii_have_the_values_of_the_same_rows():
    table = smooth_game(9, noise=0.1)
    relevance = torch.rand(1, 9, generator=torch.Generator().manual_seed(1)).double()
    for index, semivalue in (("SII", "shapley"), ("BII", "banzhaf")):
        estimator = PairInteractions(9, 40, relevance, index, seed=3)
        alone = GaussianProcess(9, 40, relevance, semivalue, seed=3)
        assert torch.equal(estimator.coalitions, alone.coalitions)
        found = estimator.estimate(values_of(table, estimator))
        expected = alone.estimate(values_of(table, alone))
        close(found.values[..., :9], expected.values, 1e-12)
        close(found.standard_error[..., :9], expected.standard_error, 1e-12)


@pytest.mark.parametrize("num_pairs", [1, 7, 40])
def test_k_sii_sums_to_what_all_players_add_and_rows_to_shapley_values(num_pairs):
    table = smooth_game(9, noise=1.0)
    estimator = PairInteractions(9, num_pairs, torch.rand(1, 9).double())
    found = estimator.estimate(values_of(table, estimator)).values[0]
    sii = PairInteractions(9, num_pairs, estimator._relevance, "SII")
    phi = sii.estimate(values_of(table, sii)).values[0, :9]
    rows = found[:9].clone()
    for s, value in zip(subsets_of(9, 2)[9:], found[9:], strict=True):
        rows[list(s)] += value / 2
    close(rows, phi)
    close(found.sum(), table[-1] - table[0])


@pytest.mark.parametrize("index", ["k-SII", "SII", "BII"])
def test_exact_interactions_are_within_their_errors(index):
    inside = []
    for seed in range(10):
        table = smooth_game(8, seed, noise=0.1)
        estimator = PairInteractions(8, 30, index=index, seed=seed)
        found = estimator.estimate(values_of(table, estimator))
        off = (found.values[0] - exact(table, index)).abs()
        inside.append(off < 1.96 * found.standard_error[0])
    assert 0.9 < torch.stack(inside).double().mean() <= 1


def test_outputs_and_examples_are_estimated_by_themselves():
    tables = torch.stack([smooth_game(7, seed, noise=0.2) for seed in range(4)])
    relevance = torch.rand(2, 7, generator=torch.Generator().manual_seed(1)).double()
    estimator = PairInteractions(7, 33, relevance)
    together = torch.stack([values_of(t, estimator)[0] for t in tables]).reshape(2, 2, -1).mT
    found = estimator.estimate(together)
    assert found.values.shape == found.standard_error.shape == (2, 2, 28)
    for b in range(2):
        alone = PairInteractions(7, 33, relevance[b : b + 1])
        for o in range(2):
            one = alone.estimate(together[b : b + 1, :, o])
            close(found.values[b, o], one.values[0], 1e-10)
            close(found.standard_error[b, o], one.standard_error[0], 1e-10)
