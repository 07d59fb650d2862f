"""Scores: the band attributions of a whole model in one number."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "Normalization",
    "normalize",
    "signed_spectral_score",
    "spectral_score",
]

Normalization = Literal["min_shift", "positive"]


def normalize(attributions: Tensor, normalization: Normalization) -> Tensor:
    r"""Band attributions as shares that sum to 1.

    .. math::
        p_i = \frac{\phi_i - \min_j \phi_j}{\sum_k (\phi_k - \min_j \phi_j)}
        \;(\text{min\_shift}), \qquad
        p_i = \frac{\max(\phi_i, 0)}{\sum_k \max(\phi_k, 0)} \;(\text{positive})

    ``min_shift`` is the authors'. It moves all bands up when one is negative, so that bands without
    any effect get a share; ``positive`` leaves them at 0.

    Args:
        attributions: ``(..., M)`` band attributions.
        normalization: "min_shift" or "positive".

    Returns:
        ``(..., M)`` shares; NaN where they would be 0/0 (``min_shift``: all bands equal;
        ``positive``: none above 0).

    Raises:
        TypeError: ``attributions`` is not a real floating tensor.
        ValueError: An unknown normalization, a tensor without bands.

    Example::

        >>> normalize(torch.tensor([3.0, 1.0, 0.0, -1.0]), "positive")
        tensor([0.7500, 0.2500, 0.0000, 0.0000])
    """
    if not isinstance(attributions, Tensor) or not attributions.dtype.is_floating_point:
        got = getattr(attributions, "dtype", type(attributions).__name__)
        raise TypeError(f"attributions must be a real floating tensor (..., M), got {got}")
    if attributions.dim() == 0 or attributions.shape[-1] == 0:
        raise ValueError(f"attributions must be (..., M), got shape {tuple(attributions.shape)}")
    if normalization == "min_shift":
        power = attributions - attributions.amin(-1, keepdim=True)
    elif normalization == "positive":
        power = attributions.clamp(min=0)
    else:
        raise ValueError(f"normalization must be 'min_shift' or 'positive', got {normalization!r}")
    return power / power.sum(-1, keepdim=True)


def spectral_score(
    attributions: Tensor, beta: float = 0.75, normalization: Normalization = "min_shift"
) -> Tensor:
    r"""The spectral robustness score of the authors of I-ASIDE.

    With the shares :math:`p` of :func:`normalize` and the weights :math:`b_k = \beta^k`,

    .. math::
        S = \frac{\big| \langle b / \|b\|_2,\, p \rangle - \eta \big|}{|1 - \eta|}, \qquad
        \eta = \frac{\|b\|_1}{M \|b\|_2}

    0 for equal shares, larger the more the power sits at one end of the spectrum. It was meant to
    lie in [0, 1] and does not: with 8 bands it is at most 0.5217, with all power in the lowest
    band; and the modulus gives 0.3002 to a model with all power in the *highest* band. Read it
    together with :func:`signed_spectral_score`.

    Args:
        attributions: ``(..., M)`` band attributions, low frequencies first.
        beta: Decay of the weights, in (0, 1). Default: 0.75
        normalization: See :func:`normalize`. Default: "min_shift", the authors'

    Returns:
        ``(...)`` scores, differentiable in ``attributions``; NaN where the shares are.

    Raises:
        TypeError: ``attributions`` is not a real floating tensor.
        ValueError: ``beta`` outside of (0, 1), fewer than two bands, an unknown normalization.

    Example::

        >>> import torch
        >>> from captum_spectral import spectral_score
        >>> lowest, highest = torch.eye(8)[[0, 7]]
        >>> round(float(spectral_score(lowest)), 4), round(float(spectral_score(highest)), 4)
        (0.5217, 0.3002)

    References:
        R. Luo, J. McDermott, C. O'Riordan, *Interpreting Global Perturbation Robustness of Image
        Models using Axiomatic Spectral Importance Decomposition*, TMLR 2024.
    """
    shares = normalize(attributions, normalization)
    weights = _weights(shares, beta)
    unit = weights / weights.norm()
    uniform = unit.mean()
    score: Tensor = ((shares * unit).sum(-1) - uniform).abs() / (1 - uniform).abs()
    return score


def signed_spectral_score(
    attributions: Tensor, beta: float = 0.75, normalization: Normalization = "positive"
) -> Tensor:
    r"""Tell where in the spectrum a model's power sits: 1 lowest band, 0 even, negative high.

    With the shares :math:`p` of :func:`normalize` and the weights :math:`b_k = \beta^k`,

    .. math::
        S_\pm = \frac{\langle b, p \rangle - \|b\|_1 / M}{1 - \|b\|_1 / M}

    1 says that all power is in the lowest band, 0 that it is spread evenly, and a negative number
    that the model leans on high frequencies (-0.575 for 8 bands with all power in the highest).

    Args:
        attributions: ``(..., M)`` band attributions, low frequencies first.
        beta: Decay of the weights, in (0, 1). Default: 0.75
        normalization: See :func:`normalize`. Default: "positive"

    Returns:
        ``(...)`` scores, differentiable in ``attributions``; NaN where the shares are.

    Raises:
        TypeError: ``attributions`` is not a real floating tensor.
        ValueError: ``beta`` outside of (0, 1), fewer than two bands, an unknown normalization.

    Example::

        >>> import torch
        >>> from captum_spectral import signed_spectral_score
        >>> lowest, highest = torch.eye(8)[[0, 7]]
        >>> scores = [signed_spectral_score(p) for p in (lowest, torch.ones(8), highest)]
        >>> [round(float(score), 3) + 0.0 for score in scores]
        [1.0, 0.0, -0.575]
    """
    shares = normalize(attributions, normalization)
    weights = _weights(shares, beta)
    uniform = weights.mean()
    return ((shares * weights).sum(-1) - uniform) / (1 - uniform)


def _weights(shares: Tensor, beta: float) -> Tensor:
    num_bands = shares.shape[-1]
    if not 0 < beta < 1:
        raise ValueError(f"beta must lie between 0 and 1, got {beta!r}")
    if num_bands < 2:
        raise ValueError("a score needs attributions of at least 2 bands, got 1")
    return beta ** torch.arange(num_bands, dtype=shares.dtype, device=shares.device)
