"""Games without images, and their posterior by brute force over the table of all coalitions."""

import torch

from captum_spectral.coalitions import all_coalitions, banzhaf_from_table, shapley_from_table


def codes(coalitions):
    """Rows of ``all_coalitions``."""
    return (coalitions.long() << torch.arange(coalitions.shape[-1])).sum(-1)


def smooth_game(num_players, seed=0, noise=0.0):
    """The table of a sum of ridge functions, which has interactions of all orders."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(num_players, 4, generator=generator, dtype=torch.float64)
    members = all_coalitions(num_players).double()
    table = torch.tanh(members @ weights - 0.3).sum(1)
    return table + noise * torch.randn(len(table), generator=generator, dtype=torch.float64)


def game_of_order(order, num_players, seed=0):
    """A table with main effects and products of up to ``order`` players."""
    generator = torch.Generator().manual_seed(seed)
    members = all_coalitions(num_players).double()
    table = torch.full((2**num_players,), 0.7, dtype=torch.float64)
    for _ in range(order * num_players):
        some = torch.randperm(num_players, generator=generator)[:order]
        table = table + float(torch.randn((), generator=generator)) * members[:, some].prod(1)
    return table + members @ torch.randn(num_players, generator=generator, dtype=torch.float64)


def exact(table, index="shapley"):
    return {"shapley": shapley_from_table, "banzhaf": banzhaf_from_table}[index](table[None])[0]


def values_of(table, estimator):
    return table[codes(estimator.coalitions)][None]


def covariance_of_all(lambdas, scale, noise):
    """Cov(v(S), v(T)) of all coalitions, as it is defined."""
    members = all_coalitions(len(lambdas))
    rho = (1 - lambdas) / (1 + lambdas)
    differ = members[:, None] != members
    one = torch.ones((), dtype=torch.float64)
    covariance = torch.where(differ, rho, one).prod(-1) / scale
    inner = torch.full((len(members),), 2 * noise, dtype=torch.float64)
    inner[0] = inner[-1] = 0.0
    return covariance + inner.diag()


def map_of(index, num_players):
    """The linear map ``(M, 2^M)`` of the table to the values."""
    return torch.stack([exact(unit, index) for unit in torch.eye(2**num_players).double()], 1)


def posterior(table, covariance, coalitions, index, half=-0.5):
    """Posterior mean, variance, and leave-one-out errors and their precisions, by definition.

    ``half`` is -1/2 for the odd parts of pairs, in the order of coalitions, and 1/2 for the even.
    """
    num_players = coalitions.shape[1]
    picked = torch.zeros(len(coalitions) // 2, len(table), dtype=torch.float64)
    pairs = codes(coalitions).reshape(-1, 2)
    for row, (first, second) in zip(picked, pairs.tolist(), strict=True):
        row[first], row[second] = 0.5, half
    target = map_of(index, num_players)
    inside = picked @ covariance @ picked.T
    across = target @ covariance @ picked.T
    solve = torch.linalg.solve(inside, across.T)
    d = picked @ table
    variance = (target @ covariance @ target.T).diagonal() - (across * solve.T).sum(1)
    errors, precisions = [], []
    for j in range(1, len(d)):
        rest = [i for i in range(len(d)) if i != j]
        own = torch.linalg.solve(inside[rest][:, rest], inside[rest, j])
        errors.append(d[j] - own @ d[rest])
        precisions.append(1 / (inside[j, j] - own @ inside[rest, j]))
    return solve.T @ d, variance, torch.stack(errors), torch.stack(precisions)
