"""The games that the benchmarks of estimators are measured on have the values that they claim."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from captum_spectral.coalitions import (
    all_coalitions,
    interactions_from_table,
    shapley_from_table,
)

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_are_importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])


@pytest.mark.parametrize("kind", ["Network", "Polynomial"])
def test_exact_values_of_made_up_games_are_those_of_their_tables(kind):
    import games

    for seed in range(3):
        game = getattr(games, kind)(9, seed)
        table = game(all_coalitions(9))[None]
        torch.testing.assert_close(game.exact(), shapley_from_table(table)[0], rtol=0, atol=1e-12)


def test_exact_interactions_of_the_peers_are_those_of_the_package():
    pytest.importorskip("shapiq")
    import estimator_peers

    table = torch.randn(2**5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values, pairs = estimator_peers.interaction_indices(table.numpy())
    first, second = torch.triu_indices(5, 5, 1)
    ours = interactions_from_table(table[None], "SII", 2)[0]
    torch.testing.assert_close(torch.from_numpy(values), ours[:5])
    torch.testing.assert_close(torch.from_numpy(pairs)[first, second], ours[5:])


def test_rows_to_an_error_are_where_the_line_in_logarithms_crosses_it():
    import estimators

    assert estimators.rows_to(0.1, [32, 128], [0.2, 0.05]) == "64"
    assert estimators.rows_to(0.1, [32, 128], [0.05, 0.02]) == "< 32"
    assert estimators.rows_to(0.1, [32, 128], [float("nan"), 0.2]) == "> 128"


@pytest.mark.parametrize("name", ["gaussian_process", "cross_fitted", "regression", "orderings"])
def test_a_replay_of_a_table_is_the_estimate_of_its_rows(name):
    import estimators
    import games

    _, made = next(games.made_up(6, count=2))
    estimator = estimators.OURS[name](40, made, 1)
    run = estimators.Replay(lambda *_: estimator, made, 40, seeds=1)
    found = estimator.estimate(made(estimator.coalitions)).values
    torch.testing.assert_close(run.misses[0], found - made.exact)
    exact = games.Tables(made.names, made.energies, made.exact, made(all_coalitions(6)))
    torch.testing.assert_close(exact(estimator.coalitions), made(estimator.coalitions))
    relative = run.relative(made)
    torch.testing.assert_close(relative, run.misses[0].norm(dim=-1) / made.exact.norm(dim=-1))
