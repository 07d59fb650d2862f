"""The posterior mean of a Gaussian process over coalitions, against brute force."""

import pytest
import torch
from coalitions.small_games import (
    covariance_of_all,
    exact,
    game_of_order,
    posterior,
    smooth_game,
    values_of,
)

from captum_spectral.coalitions import GaussianProcess, all_coalitions, gaussian_process
from captum_spectral.coalitions.gaussian_process import Candidate, Posterior
from captum_spectral.coalitions.prior import prior_of

RELEVANCE = torch.tensor([1.0, 5.0, 0.2, 2.0, 0.0, 1.5], dtype=torch.float64)


def close(actual, expected, atol=1e-8):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
@pytest.mark.parametrize("relevance", [None, RELEVANCE])
@pytest.mark.parametrize("num_pairs", [1, 4, 13, 25])
def test_mean_and_error_are_those_of_the_posterior(index, relevance, num_pairs):
    table = smooth_game(6, noise=0.1)
    estimator = GaussianProcess(6, num_pairs, None if relevance is None else relevance[None], index)
    scale = 0.4 if relevance is None else 1.6
    prior = prior_of(6, relevance, scale, 0.03)
    covariance = covariance_of_all(prior.lambdas, scale, 0.03)
    mean, variance, errors, precisions = posterior(table, covariance, estimator.coalitions, index)
    found = estimator.estimate(values_of(table, estimator))
    close(found.values[0], mean)
    close(found.standard_error[0].square(), (errors.square() * precisions).mean() * variance, 1e-9)


def test_the_errors_a_prior_is_chosen_by_are_those_of_leaving_out():
    table = smooth_game(6, noise=0.1)
    estimator = GaussianProcess(6, 20)
    members = estimator.coalitions[::2]
    d = (table - table.flip(0))[(members.long() << torch.arange(6)).sum(1)][:, None] / 2
    scores = {}
    for candidate in (Candidate(False, 0.1, 0.003), Candidate(True, 3.2, 0.03)):
        found = Posterior(candidate, RELEVANCE, members, estimator._semivalue).left_out(d)[0]
        prior = prior_of(6, RELEVANCE if candidate.differ else None, *candidate[1:3])
        covariance = covariance_of_all(prior.lambdas, *candidate[1:3])
        errors = posterior(table, covariance, estimator.coalitions, "shapley")[2]
        close(found, errors.square().mean()[None])
        scores[candidate] = float(found)
    assert len(set(scores.values())) == 2


def test_free_main_effects_are_the_limit_of_effects_without_a_prior():
    table = smooth_game(6, noise=0.1)
    estimator = GaussianProcess(6, 20)
    members, scale = estimator.coalitions[::2], 0.4
    d = (table - table.flip(0))[(members.long() << torch.arange(6)).sum(1)][:, None] / 2
    free = Posterior(Candidate(False, scale, 0.03, True), None, members, estimator._semivalue)
    prior = prior_of(6, None, scale, 0.03)
    signs = 2.0 * all_coalitions(6).double() - 1
    wide = covariance_of_all(prior.lambdas, scale, 0.03) + 1e6 * signs @ signs.T
    mean, variance, errors, precisions = posterior(table, wide, estimator.coalitions, "shapley")
    values, error = free.values(d)
    close(values[0], mean, 1e-4)
    close(free.left_out(d)[0], errors.square().mean()[None], 1e-4)
    scale_of_errors = (errors.square() * precisions).mean()
    close(error[0], (scale_of_errors * variance.clamp(min=0)).sqrt(), 1e-3)


@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
def test_all_pairs_give_the_exact_values(index):
    table = smooth_game(7, noise=0.3)
    estimator = GaussianProcess(7, 63, index=index)
    found = estimator.estimate(values_of(table, estimator))
    close(found.values[0], exact(table, index), 1e-10)
    assert found.standard_error.max() < 1e-5


@pytest.mark.parametrize(("order", "num_players"), [(1, 9), (2, 9), (2, 40)])
def test_games_of_order_two_and_less_are_exact_once_the_prior_is_chosen(order, num_players):
    num_pairs = max(31, num_players + 4)
    estimator = GaussianProcess(num_players, num_pairs)
    generator = torch.Generator().manual_seed(3)
    main = torch.randn(num_players, generator=generator, dtype=torch.float64)
    two = torch.randn(num_players, num_players, generator=generator, dtype=torch.float64).triu(1)
    two = two * (order - 1)
    members = estimator.coalitions.double()
    values = members @ main + ((members @ two) * members).sum(1) + 0.5
    expected = main + (two.sum(0) + two.sum(1)) / 2
    found = estimator.estimate(values[None])
    close(found.values[0], expected)
    assert found.standard_error.max() < 1e-7


@pytest.mark.parametrize("num_pairs", [1, 7, 40, 150])
def test_values_sum_to_what_all_players_add(num_pairs):
    table = smooth_game(11, noise=1.0)
    estimator = GaussianProcess(11, num_pairs, torch.rand(1, 11).double())
    found = estimator.estimate(values_of(table, estimator))
    close(found.values.sum(1), (table[-1] - table[0])[None], 1e-9)


def test_a_game_of_order_three_is_within_its_errors():
    table = game_of_order(3, 10)
    truth = exact(table)
    inside = []
    for seed in range(20):
        estimator = GaussianProcess(10, 40, seed=seed)
        found = estimator.estimate(values_of(table, estimator))
        inside.append((found.values[0] - truth).abs() < 1.96 * found.standard_error[0])
    assert torch.stack(inside).double().mean() > 0.9


def test_outputs_and_examples_are_estimated_by_themselves():
    tables = torch.stack([smooth_game(8, seed, noise=0.2) for seed in range(6)])
    relevance = torch.rand(2, 8, generator=torch.Generator().manual_seed(1)).double()
    estimator = GaussianProcess(8, 40, relevance)
    together = torch.stack([values_of(t, estimator)[0] for t in tables]).reshape(2, 3, -1).mT
    found = estimator.estimate(together)
    assert found.values.shape == found.standard_error.shape == (2, 3, 8)
    for b in range(2):
        alone = GaussianProcess(8, 40, relevance[b : b + 1])
        for o in range(3):
            one = alone.estimate(together[b : b + 1, :, o])
            close(found.values[b, o], one.values[0], 1e-10)
            close(found.standard_error[b, o], one.standard_error[0], 1e-10)


def test_a_bad_prior_costs_little_once_there_are_pairs_to_choose_by():
    table = smooth_game(10)
    good = torch.stack([exact(table).abs()])
    errors = {}
    for name, relevance in (("good", good), ("reversed", 1 / good), ("flat", None)):
        estimator = GaussianProcess(10, 63, relevance)
        found = estimator.estimate(values_of(table, estimator)).values[0]
        errors[name] = float((found - exact(table)).norm())
    assert errors["reversed"] < 2 * errors["flat"]


def test_of_many_pairs_the_prior_is_chosen_by_some_and_used_with_all(monkeypatch):
    monkeypatch.setattr(gaussian_process, "_MOST_TO_CHOOSE", 50)
    table = smooth_game(10, noise=0.1)
    errors = []
    for num_pairs in (50, 200):
        estimator = GaussianProcess(10, num_pairs)
        found = estimator.estimate(values_of(table, estimator)).values[0]
        errors.append(float((found - exact(table)).norm()))
    assert errors[1] < 0.6 * errors[0]


def test_a_constant_game_is_worth_nothing_to_anybody():
    estimator = GaussianProcess(6, 10)
    found = estimator.estimate(torch.full((1, 22), 3.0))
    assert not found.values.any()
    assert not found.standard_error.any()
