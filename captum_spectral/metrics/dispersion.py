"""Measure how widely a map of attributions is spread."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spectral.metrics._maps import format_map

__all__ = ["concentration", "normalized_entropy"]


def concentration(attributions: Tensor | tuple[Tensor]) -> Tensor:
    r"""Compute the mean distance of the positive attribution from its centre of mass, in pixels.

    .. math::
        \sum_p w_p\, |r_p - c|_2, \qquad w_p = \frac{\max(a_p, 0)}{\sum_q \max(a_q, 0)}, \qquad
        c = \sum_p w_p\, r_p

    with :math:`r_p` the position of pixel :math:`p`. **Smaller is more concentrated**: 0 for a
    single pixel, about 0.38 of the side for an even square map. Two small spots far apart count as
    spread out. The weights sum to 1, so the scale of the attributions does not matter.

    Args:
        attributions: ``(B, C, H, W)`` or ``(B, H, W)`` in the pixels of the input, or a tuple of
            one such tensor. Channels are summed first: :math:`a_p` is the attribution of a pixel.

    Returns:
        ``(B,)`` in the dtype of the attributions (float32 for half precision). NaN for an example
        without positive attribution.

    Raises:
        TypeError: Attributions of a wrong kind.
        ValueError: Attributions that are not finite, or are no maps.

    Example::

        >>> import torch
        >>> from captum_spectral import concentration
        >>> attributions = torch.zeros(2, 3, 64, 64)
        >>> attributions[0, :, 8, 40:42] = 1.0      # two pixels, each half a pixel from the centre
        >>> attributions[1] = 1.0
        >>> concentration(attributions).round(decimals=1)
        tensor([ 0.5000, 24.5000])

    References:
        After the concentration of Z. Wang, M. Fredrikson, A. Datta, *Robust Models Are More
        Interpretable Because Attributions Look Normal*, ICML 2022.
    """
    positive = format_map(attributions).clamp(min=0)
    weight = positive / positive.sum((1, 2), keepdim=True)  # (B, H, W), NaN where all are 0
    height, width = weight.shape[1:]
    y = torch.arange(height, device=weight.device).to(weight)[:, None]
    x = torch.arange(width, device=weight.device).to(weight)
    # Offsets from the centre of mass, (B, H, 1) and (B, 1, W).
    from_y = y - (weight * y).sum((1, 2), keepdim=True)
    from_x = x - (weight * x).sum((1, 2), keepdim=True)
    return (weight * torch.hypot(from_y, from_x)).sum((1, 2))


def normalized_entropy(attributions: Tensor | tuple[Tensor]) -> Tensor:
    r"""Measure how evenly the absolute attribution is spread over the pixels, wherever they are.

    .. math::
        -\frac{1}{\log n} \sum_p w_p \log w_p, \qquad w_p = \frac{|a_p|}{\sum_q |a_q|}

    for :math:`n` pixels. It is 0 if one pixel has all of it and 1 if all pixels have the same. It
    is a diagnostic of this package and no score: neither end is better, and shuffling the pixels
    does not change it.

    Args:
        attributions: ``(B, C, H, W)`` or ``(B, H, W)`` in the pixels of the input, or a tuple of
            one such tensor. Channels are summed first, with their signs: :math:`a_p` is the
            attribution of a pixel, as in the other functions here.

    Returns:
        ``(B,)`` in [0, 1], in the dtype of the attributions (float32 for half precision). NaN for
        a map of zeros, and for maps of a single pixel.

    Raises:
        TypeError: Attributions of a wrong kind.
        ValueError: Attributions that are not finite, or are no maps.

    Example::

        >>> import torch
        >>> from captum_spectral import normalized_entropy
        >>> attributions = torch.zeros(3, 3, 8, 8)
        >>> attributions[0, :, 2, 5] = -1.0
        >>> attributions[1, :, :4, :2] = 1.0        # 8 of 64 pixels: log 8 / log 64
        >>> attributions[2] = 1.0
        >>> normalized_entropy(attributions).round(decimals=4)
        tensor([0.0000, 0.5000, 1.0000])

    References:
        The entropy itself is the complexity of U. Bhatt, A. Weller, J. Moura, *Evaluating and
        Aggregating Feature-based Model Explanations*, IJCAI 2020; the division is ours.
    """
    size = format_map(attributions).abs().flatten(1)
    weight = size / size.sum(1, keepdim=True)
    most = math.log(size.shape[1]) or math.nan  # one pixel has no spread to measure
    entropy: Tensor = torch.special.entr(weight).sum(1)
    return (entropy / most).clamp(0, 1)  # rounding must not lead beyond
