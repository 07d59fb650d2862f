"""Functions of singular values with two derivatives, also where values are tied."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spectral.weights._matrices import format_matrix, unit_of
from captum_spectral.weights._spectral_sums import (
    INVERSE,
    LOGARITHM,
    ONE,
    power,
    spectral_sum,
)

__all__ = ["log_volume", "nuclear_norm", "schatten_norm", "spectral_entropy"]


def nuclear_norm(weight: Tensor) -> Tensor:
    r"""Compute the nuclear norm :math:`\sum_k s_k`; autograd differentiates it twice, at ties too.

    The gradient is :math:`U V^H`, the Hessian along :math:`E`, with :math:`M = U^H E V`,
    :math:`U \big[ (M_{ik} - \bar M_{ki}) / (s_i + s_k) \big] V^H` and the part outside of both
    spans over :math:`s`. Singular vectors are not differentiated, so ties do no harm. At values
    that are 0 to within rounding the gradient is the shortest of the subgradients.

    Args:
        weight: ``(..., m, n)``, real or complex, with or without a graph. Half precision is
            computed in float32.

    Returns:
        ``(...)``, real.

    Raises:
        TypeError: A weight that is no floating or complex tensor.
        ValueError: A weight that is not finite or is no matrix.

    Cost: one decomposition, O(mnp), and O(mnp) for each derivative; p^2 entries are kept. No model
    rows.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import nuclear_norm
        >>> weight = 2 * torch.eye(2)                      # a tie
        >>> nuclear_norm(weight)
        tensor(4.)
        >>> H = torch.autograd.functional.hessian(nuclear_norm, weight)
        >>> H[0, 1, 0, 1], H[0, 1, 1, 0]
        (tensor(0.2500), tensor(-0.2500))
    """
    return spectral_sum(format_matrix(weight), lambda s: s, ONE)


def log_volume(weight: Tensor) -> Tensor:
    r"""Compute :math:`\sum_k \log s_k`, half the log-determinant of the smaller Gram matrix.

    The logarithm of the factor by which the weight scales volumes: its gradient is the transposed
    pseudo-inverse, :math:`U S^{-1} V^H`. Autograd differentiates it twice, at ties too.

    Args:
        weight: ``(..., m, n)`` of full rank, real or complex. Half precision is computed in
            float32.

    Returns:
        ``(...)``, real. Minus infinity where a value is 0; derivatives have no meaning there, and
        none that can be relied on where a value is 0 to within rounding.

    Raises:
        TypeError: A weight that is no floating or complex tensor.
        ValueError: A weight that is not finite or is no matrix.

    Cost: as :func:`nuclear_norm`.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import log_volume
        >>> weight = 2 * torch.eye(3, dtype=torch.float64)
        >>> log_volume(weight)                             # 3 log 2
        tensor(2.0794, dtype=torch.float64)
        >>> torch.autograd.functional.jacobian(log_volume, weight).diag()
        tensor([0.5000, 0.5000, 0.5000], dtype=torch.float64)
    """
    return spectral_sum(format_matrix(weight), torch.log, INVERSE)


def schatten_norm(weight: Tensor, q: float) -> Tensor:
    r"""Compute the Schatten norm :math:`(\sum_k s_k^q)^{1/q}`, differentiable twice, at ties too.

    ``q=1`` is the nuclear norm, ``q=2`` Frobenius'; as ``q`` grows it nears the largest value. At
    values that are 0 to within rounding, derivatives are those among matrices of the same rank for
    ``q < 2``, the limit for ``q >= 2``.

    Args:
        weight: ``(..., m, n)``, real or complex. Half precision is computed in float32.
        q: The exponent, from 1; finite. The largest value itself has no derivatives at ties:
            ``SingularValues(weight).gradient(0)`` is about it.

    Returns:
        ``(...)``, real. The gradient at a matrix of zeros is 0.

    Raises:
        TypeError: A weight that is no floating or complex tensor, ``q`` that is no number.
        ValueError: A weight that is not finite or is no matrix, ``q`` below 1 or infinite.

    Cost: as :func:`nuclear_norm`.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import schatten_norm
        >>> weight = torch.diag(torch.tensor([3.0, 4.0]))
        >>> schatten_norm(weight, 2), schatten_norm(weight, 1)
        (tensor(5.), tensor(7.))
    """
    if isinstance(q, bool) or not isinstance(q, (int, float)):
        raise TypeError(f"q must be a number, got {q!r}")
    if not 1 <= q < math.inf:
        raise ValueError(
            f"q must be from 1 and finite, got {q}; the largest singular value is "
            "SingularValues(weight).values[..., 0]"
        )
    weight = format_matrix(weight)
    if q == 1:
        return nuclear_norm(weight)
    scaled, unit = _scaled(weight)
    total = spectral_sum(scaled, lambda s: s**q, power(float(q)))
    none = total == 0
    root: Tensor = torch.where(none, 1, total) ** (1 / q)
    return unit * torch.where(none, 0, root)


def spectral_entropy(weight: Tensor) -> Tensor:
    r"""Compute the entropy of the singular values, in nats; differentiable twice, at ties too.

    .. math:: -\sum_k p_k \log p_k, \qquad p_k = \frac{s_k}{\sum_i s_i}

    From 0 for a matrix of rank 1 to :math:`\log p`, where all are equal; its exponential is the
    effective rank. The scale of the weight does not matter. At values that are 0 to within
    rounding, derivatives are those among matrices of the same rank: any other direction raises the
    entropy infinitely fast.

    Args:
        weight: ``(..., m, n)``, real or complex. Half precision is computed in float32.

    Returns:
        ``(...)``, real. NaN for a matrix of zeros.

    Raises:
        TypeError: A weight that is no floating or complex tensor.
        ValueError: A weight that is not finite or is no matrix.

    Cost: two decompositions, else as :func:`nuclear_norm`.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import spectral_entropy
        >>> print(f"{float(spectral_entropy(torch.eye(4)).exp()):.3f}")   # the effective rank
        4.000

    References:
        O. Roy, M. Vetterli, *The Effective Rank: A Measure of Effective Dimensionality*, EUSIPCO
        2007.
    """
    scaled, _ = _scaled(format_matrix(weight))
    total = nuclear_norm(scaled)
    return total.log() - spectral_sum(scaled, _s_log_s, LOGARITHM) / total


def _scaled(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight over a power of two near its size, and that power, ``(...)``."""
    unit = unit_of(weight.detach().abs().amax((-2, -1)))
    return weight / unit[..., None, None], unit


def _s_log_s(s: Tensor) -> Tensor:
    found: Tensor = torch.xlogy(s, s)
    return found
