"""Measure how much of a map of attributions lies on the object."""

from __future__ import annotations

from torch import Tensor

from captum_spectral.metrics._maps import format_map, format_region

__all__ = ["energy_in_box", "positive_percentage"]


def energy_in_box(attributions: Tensor | tuple[Tensor], region: Tensor) -> Tensor:
    r"""Compute the share of the positive attribution in a region, such as the object's box.

    .. math:: \frac{\sum_{p \in R} \max(a_p, 0)}{\sum_p \max(a_p, 0)}

    It is 1 if all of it lies there. An even map gets the region's share of the area, so compare
    small objects with small ones. A high share does not prove that the model looks at the object: a
    map that lies there for any other reason, such as an edge detector's, gets the same.

    Args:
        attributions: ``(B, C, H, W)`` or ``(B, H, W)`` in the pixels of the input, or a tuple of
            one such tensor. Channels are summed first: :math:`a_p` is the attribution of a pixel.
        region: ``(H, W)`` or ``(B, H, W)`` boolean mask, or ``(4,)`` or ``(B, 4)`` integer boxes
            ``(x1, y1, x2, y2)`` in pixels, the order of torchvision, half-open: x1 and y1 belong
            to the box, x2 and y2 do not.

    Returns:
        ``(B,)`` in [0, 1], in the dtype of the attributions (float32 for half precision). NaN for
        an example without positive attribution.

    Raises:
        TypeError: Attributions or a region of a wrong kind.
        ValueError: Attributions that are not finite or are no maps, a region of another shape,
            empty, or not within the map.

    Example::

        >>> import torch
        >>> from captum_spectral import energy_in_box
        >>> attributions = torch.tensor([[[3.0, 1.0, -9.0], [0.0, 0.0, 4.0]]])
        >>> energy_in_box(attributions, torch.tensor([0, 0, 2, 1]))   # the upper left two pixels
        tensor([0.5000])

    References:
        Z. Wang, M. Fredrikson, A. Datta, *Robust Models Are More Interpretable Because
        Attributions Look Normal*, ICML 2022, after the energy-based pointing game of H. Wang et
        al., *Score-CAM*, CVPR workshops 2020.
    """
    a = format_map(attributions)
    inside = format_region(region, a)
    positive = a.clamp(min=0)
    return (positive * inside).sum((1, 2)) / positive.sum((1, 2))


def positive_percentage(attributions: Tensor | tuple[Tensor], region: Tensor) -> Tensor:
    r"""Compute the positive share of the attribution in a region, such as the object's box.

    .. math:: \frac{\sum_{p \in R} \max(a_p, 0)}{\sum_{p \in R} |a_p|}

    It is 1 if everything there speaks for the target; in spite of the paper's name it is a share,
    not a percentage. Unsigned attributions get 1 by construction. Attributions outside the region
    do not count.

    Args:
        attributions: ``(B, C, H, W)`` or ``(B, H, W)`` in the pixels of the input, or a tuple of
            one such tensor. Channels are summed first: :math:`a_p` is the attribution of a pixel.
        region: Boolean mask or integer boxes, as in :func:`energy_in_box`.

    Returns:
        ``(B,)`` in [0, 1], in the dtype of the attributions (float32 for half precision). NaN for
        an example without attribution in its region.

    Raises:
        TypeError: Attributions or a region of a wrong kind.
        ValueError: As :func:`energy_in_box`.

    Example::

        >>> import torch
        >>> from captum_spectral import positive_percentage
        >>> attributions = torch.tensor([[[3.0, -1.0, -9.0], [0.0, 0.0, 4.0]]])
        >>> positive_percentage(attributions, torch.tensor([0, 0, 2, 1]))
        tensor([0.7500])

    References:
        Z. Wang, M. Fredrikson, A. Datta, *Robust Models Are More Interpretable Because
        Attributions Look Normal*, ICML 2022.
    """
    a = format_map(attributions)
    inside = a * format_region(region, a)
    return inside.clamp(min=0).sum((1, 2)) / inside.abs().sum((1, 2))
