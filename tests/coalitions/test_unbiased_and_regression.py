"""Cross-fitted values are right on average; regression is weighted least squares."""

import pytest
import torch
from coalitions.small_games import codes, exact, game_of_order, smooth_game, values_of

from captum_spectral.coalitions import CrossFitted, Regression, half_width, leverage_pairs

REVERSED = 1 / torch.linspace(1, 50, 7, dtype=torch.float64)[None]


@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
@pytest.mark.parametrize("relevance", [None, REVERSED, 1 / REVERSED])
def test_cross_fitted_values_are_unbiased_and_know_their_error(index, relevance):
    table = smooth_game(7, noise=0.2)
    truth = exact(table, index)
    errors, ratios = [], []
    for seed in range(120):
        estimator = CrossFitted(7, 20, relevance, index, seed)
        found = estimator.estimate(values_of(table, estimator))
        errors.append(found.values[0] - truth)
        ratios.append(errors[-1] / found.standard_error[0])
    errors, ratios = torch.stack(errors), torch.stack(ratios)
    assert (errors.mean(0).abs() < 4 * errors.std(0) / len(errors) ** 0.5).all()
    assert 0.8 < ratios.square().mean().sqrt() < 1.3


def test_a_smooth_guess_makes_the_error_smaller():
    table = smooth_game(9)
    errors = {}
    for cls in (CrossFitted, Regression):
        found = []
        for seed in range(10):
            estimator = cls(9, 100, seed=seed)
            found.append(estimator.estimate(values_of(table, estimator)).values[0] - exact(table))
        errors[cls] = float(torch.stack(found).norm())
    assert errors[CrossFitted] < errors[Regression]


@pytest.mark.parametrize("num_pairs", [17, 40, 63])
def test_cross_fitted_values_sum_to_what_all_players_add(num_pairs):
    table = smooth_game(7, noise=1.0)
    estimator = CrossFitted(7, num_pairs)
    found = estimator.estimate(values_of(table, estimator))
    torch.testing.assert_close(found.values.sum(1), (table[-1] - table[0])[None])


@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
@pytest.mark.parametrize("cls", [CrossFitted, Regression])
@pytest.mark.parametrize("num_players", [6, 7])
def test_all_pairs_give_the_exact_values(cls, index, num_players):
    table = smooth_game(num_players, noise=0.3)
    estimator = cls(num_players, 2 ** (num_players - 1) - 1, index=index)
    found = estimator.estimate(values_of(table, estimator))
    torch.testing.assert_close(found.values[0], exact(table, index), rtol=0, atol=1e-10)
    if cls is CrossFitted:
        assert not found.standard_error.any()


@pytest.mark.parametrize("num_players", [6, 7])
def test_regression_is_weighted_least_squares_that_sums_right(num_players):
    """The constrained problem on single coalitions, solved by its Lagrange equations."""
    table = smooth_game(num_players, noise=0.3)
    estimator = Regression(num_players, 15, seed=4)
    found = estimator.estimate(values_of(table, estimator)).values[0]
    inner = estimator.coalitions[2:]
    size = inner.sum(1)
    drawn = size.bincount(minlength=num_players)
    weights = 1.0 / (size * (num_players - size) * drawn[size]).double()
    design, y = inner.double(), table[codes(inner)] - table[0]
    system = torch.zeros(num_players + 1, num_players + 1, dtype=torch.float64)
    system[:-1, :-1] = design.T * weights @ design
    system[:-1, -1] = system[-1, :-1] = 1
    right = torch.cat([design.T * weights @ y, (table[-1] - table[0])[None]])
    torch.testing.assert_close(found, torch.linalg.solve(system, right)[:-1])


def test_games_of_order_two_are_exact_by_regression_as_by_orderings():
    table = game_of_order(2, 8)
    estimator = Regression(8, 12)
    found = estimator.estimate(values_of(table, estimator))
    torch.testing.assert_close(found.values[0], exact(table), rtol=0, atol=1e-10)
    assert found.standard_error.isnan().all()


def test_too_few_pairs_are_refused_with_a_budget_that_is_enough():
    with pytest.raises(ValueError, match=r"two pairs.*leave 1 sizes.*budget=36 or more"):
        CrossFitted(12, 16)
    assert CrossFitted(12, 17).coalitions.shape == (36, 12)
    with pytest.raises(ValueError, match=r"'regression' of 9 players needs budget=20 or more"):
        Regression(9, 5)
    assert Regression(9, 9).coalitions.shape == (20, 9)
    assert leverage_pairs(12, 17, 0).drawn[6] == 2


@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
def test_pairs_that_happen_to_say_the_same_are_drawn_again(index):
    """Of 100 draws of 15 pairs of 12 players, 6 leave a value open."""
    table = game_of_order(1, 12)
    for seed in range(100):
        estimator = Regression(12, 15, index, seed)
        found = estimator.estimate(values_of(table, estimator)).values[0]
        torch.testing.assert_close(found, exact(table, index), rtol=0, atol=1e-8)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_half_widths_are_quantiles_of_students_t(confidence):
    stats = pytest.importorskip("scipy.stats")
    for degrees in (*range(1, 31), 99, 1000):
        quantile = stats.t.ppf((1 + confidence) / 2, degrees)
        assert abs(half_width(degrees, confidence) / quantile - 1) < 1e-8
    normal = stats.norm.ppf((1 + confidence) / 2)
    assert abs(half_width(confidence=confidence) / normal - 1) < 1e-9
    assert abs(half_width(20_000, confidence) / normal - 1) < 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"degrees_of_freedom": 0}, "degrees_of_freedom must be at least 1, got 0"),
        ({"degrees_of_freedom": float("nan")}, "at least 1, got nan"),
        ({"confidence": 1}, "between 0 and 1, got 1"),
    ],
)
def test_half_widths_of_nothing(arguments, message):
    with pytest.raises(ValueError, match=message):
        half_width(**arguments)
