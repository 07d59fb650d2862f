"""What the derivatives of singular values are compared with, and matrices to do it on."""

import math

import mpmath
import torch

DTYPES = [torch.float64, torch.complex128]
SHAPES = [(4, 4), (5, 3), (3, 5)]


def matrix_with(values, m, n, dtype=torch.float64):
    """A matrix with these singular values and random singular vectors."""
    p = len(values)
    left = torch.linalg.qr(torch.randn(m, p, dtype=dtype))[0]
    right = torch.linalg.qr(torch.randn(n, p, dtype=dtype))[0]
    return (left * torch.tensor(values, dtype=torch.float64)) @ right.mH


def by_autograd(weight, direction, order):
    """Every order up to ``order`` of every value, ``(order, p)``, by nested reverse mode.

    Copy k of the matrix has a parameter of its own and contributes value k.
    """
    p = min(weight.shape)
    t = torch.zeros(p, dtype=torch.float64, requires_grad=True)
    value = torch.linalg.svdvals(weight + t[:, None, None] * direction).diagonal().sum()
    found = []
    for _ in range(order):
        (each,) = torch.autograd.grad(value, t, create_graph=True)
        found.append(each.detach())
        value = each.sum()
    return torch.stack(found)


def by_jvp(weight, direction, order):
    """One order of every value, ``(p,)``, by nested forward mode; its first call is slow."""

    def along(function):
        return lambda t: torch.func.jvp(function, (t,), (torch.ones_like(t),))[1]

    found = lambda t: torch.linalg.svdvals(weight + t * direction)  # noqa: E731
    for _ in range(order):
        found = along(found)
    return found(torch.zeros((), dtype=weight.real.dtype))


def by_pymablock(weight, direction, order):
    """Every order of every value, ``(order, p)``, by pymablock from [[0, A], [A^H, 0]]."""
    import pymablock

    m, n = weight.shape

    def dilated(x):
        whole = torch.zeros(m + n, m + n, dtype=x.dtype)
        whole[:m, m:], whole[m:, :m] = x, x.mH
        return whole

    values, vectors = torch.linalg.eigh(dilated(weight))
    moved = vectors.mH @ dilated(direction) @ vectors
    found = torch.zeros(order, min(m, n), dtype=torch.float64)
    for k in range(min(m, n)):
        alone = [int(i != m + n - 1 - k) for i in range(m + n)]  # eigh sorts upwards
        series, *_ = pymablock.block_diagonalize(
            [values.diag().numpy(), moved.numpy()], subspace_indices=alone
        )
        for j in range(1, order + 1):
            found[j - 1, k] = float(series[0, 0, j].real.item()) * math.factorial(j)
    return found


def by_differences(weight, direction, members, order):
    """Every order of the mean of some values, from central differences with 60 digits."""
    with mpmath.workdps(60):
        a, e = mpmath.matrix(weight.tolist()), mpmath.matrix(direction.tolist())
        step, half = mpmath.mpf("1e-8"), order // 2 + 2
        points = range(-half, half + 1)
        means = []
        for i in points:
            moved = a + i * step * e
            squares = mpmath.eigh(moved.H * moved, eigvals_only=True)
            values = sorted((mpmath.sqrt(x) for x in squares), reverse=True)
            means.append(mpmath.fsum(values[j] for j in members) / len(members))
        powers = mpmath.matrix([[mpmath.mpf(i) ** r for i in points] for r in range(len(points))])
        found = []
        for n in range(1, order + 1):
            wanted = mpmath.matrix(len(points), 1)
            wanted[n] = mpmath.factorial(n) / step**n
            weights = mpmath.lu_solve(powers, wanted)
            found.append(float(mpmath.fsum(w * f for w, f in zip(weights, means, strict=True))))
    return torch.tensor(found, dtype=torch.float64)


def inner(x, y):
    """The real inner product of matrices."""
    return (x.conj() * y).real.sum((-2, -1))


def units(m, n):
    """All unit directions, ``(m, n, m, n)``."""
    return torch.eye(m * n, dtype=torch.float64).reshape(m, n, m, n)
