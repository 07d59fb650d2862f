"""The lowest cut-off of a low-pass filter at which a model still decides the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_count, format_inputs, format_target
from captum_spectral._captum import BaselineType, TargetType
from captum_spectral.game import BandGame
from captum_spectral.robustness._radius import ROUNDING, radius

__all__ = ["LowestCutoff", "lowest_cutoff"]

_STEPS = 16


class LowestCutoff(NamedTuple):
    """The cut-offs of :func:`lowest_cutoff`, as normalised radii: 0 the mean, 1 Nyquist.

    Args:
        stable: ``(B,)`` the smallest cut-off from which on every wider pass-band keeps the
            prediction. NaN where not even the whole input has it.
        first: ``(B,)`` the smallest cut-off that keeps the prediction. NaN where none does.
        kept: ``(B, M + 1)`` boolean, whether the target is predicted at cut-off ``j / M``.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.cutoff import LowestCutoff
        >>> nan = torch.tensor([torch.nan])
        >>> LowestCutoff(nan, torch.tensor([0.5]), torch.tensor([[False, True, False]])).first
        tensor([0.5000])
    """

    stable: Tensor
    first: Tensor
    kept: Tensor


def lowest_cutoff(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor],
    target: TargetType = None,
    *,
    steps: int | None = None,
    baselines: BaselineType = None,
    additional_forward_args: Any = None,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
) -> LowestCutoff:
    r"""Find how narrow a low-pass filter may be before a classifier changes its mind.

    For the cut-offs :math:`c_j = j / M`, :math:`j = 0, \dots, M`, the classifier sees

    .. math::
        x_j = b + \mathcal{F}^{-1}\big[\, 1[r \le c_j] \cdot \mathcal{F}[x - b] \,\big], \qquad
        r = \max_d \frac{2 |k_d|}{n_d}

    For the baseline :math:`b = 0` that is :class:`~captum_spectral.robustness.filters.LowPass` with
    ``removed`` :math:`= 1 - c_j`. The prediction is kept at :math:`j` if
    :math:`\operatorname{argmax} f(x_j)` is the target. Models are not monotone: a prediction may
    come, go and come back with a wider pass-band. So there are two answers,

    .. math::
        \text{stable} = \min \{c_j : \text{kept at all } i \ge j\}, \qquad
        \text{first} = \min \{c_j : \text{kept at } j\}

    Args:
        forward_func: The classifier: outputs ``(B, classes)`` of at least two classes.
        inputs: Real floating ``(B, ..., H, W)`` tensor, or a tuple of one.
        target: The class whose prediction is to be kept: an integer, or one per example. None: what
            is predicted for the whole input. Default: None
        steps: ``M``, how many cut-offs there are above the mean. None: 16, or as many as the
            frequencies of a small input can tell apart. Default: None
        baselines: What is left where frequencies are removed: None (zero), a number, a tensor of
            the input's shape or with first dim 1, or a tuple of it. Default: None
        additional_forward_args: Further arguments of ``forward_func``; tensors with one entry per
            example follow their example. Default: None
        perturbations_per_eval: As in :meth:`~captum_spectral.BandGame.evaluate`. Default: None
        show_progress: Show a progress bar, in rows. Default: False

    Returns:
        The :class:`LowestCutoff`, in the dtype of the outputs (at least float32).

    Raises:
        TypeError: Inputs, target, baselines or steps of a wrong kind.
        ValueError: Several inputs, shapes that do not fit, more steps than frequencies, a target
            that does not exist, outputs that are not ``(B, classes)`` or not finite.

    Cost: ``M + 1`` model rows per example, in one evaluation of nested coalitions of bands.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.cutoff import lowest_cutoff
        >>> from captum_spectral.robustness.filters import LowPass
        >>> stripes = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(4).expand(2, 1, 16, 16)
        >>> def model(x):                       # class 1 needs half of the Nyquist frequency
        ...     contrast = x.amax((1, 2, 3)) - x.amin((1, 2, 3))
        ...     return torch.stack([torch.full_like(contrast, 0.5), contrast], 1)
        >>> found = lowest_cutoff(model, stripes, target=1, steps=4)
        >>> found.stable
        tensor([0.5000, 0.5000])
        >>> model(LowPass().perturb(stripes, removed=1 - 0.5)).argmax(1)
        tensor([1, 1])
    """
    (x, *others) = format_inputs(inputs)
    if others:
        raise ValueError(f"inputs must be one tensor, or a tuple of one, got {1 + len(others)}")
    if x.dim() < 3:
        raise ValueError(f"inputs must be (B, ..., H, W), got shape {tuple(x.shape)}")
    classes, highest = _format_classes(target, len(x))
    rings = _rings(x.shape[-2:], steps)
    game = BandGame(
        forward_func,
        inputs,
        baselines=baselines,
        additional_forward_args=additional_forward_args,
        feature_mask=rings,
    )
    nested = torch.ones(game.num_bands, game.num_bands, dtype=torch.bool, device="cpu").tril()
    outputs = game.evaluate(nested, perturbations_per_eval, show_progress, "Lowest cut-off")
    if outputs.dim() != 3 or len(outputs) != len(x) or outputs.shape[2] < 2:
        raise ValueError(
            "forward_func must return (B, classes) with at least two classes, got values of shape "
            f"{tuple(outputs.shape[2:])} per example"
        )
    if highest is not None and highest >= outputs.shape[2]:
        raise ValueError(
            f"target {highest} does not exist: forward_func returns {outputs.shape[2]} outputs per "
            f"example, 0..{outputs.shape[2] - 1}"
        )
    predicted = outputs.argmax(2)  # (B, M + 1)
    wanted = predicted[:, -1:] if classes is None else classes.to(predicted.device)[:, None]
    kept = predicted == wanted
    from_here_on = kept.flip(1).long().cumprod(1).flip(1).bool()
    return LowestCutoff(_lowest(from_here_on, outputs.dtype), _lowest(kept, outputs.dtype), kept)


def _lowest(kept: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the cut-off of the first of ``(B, M + 1)`` that is true, NaN if none is."""
    cutoffs = kept.long().argmax(1).to(dtype) / (kept.shape[1] - 1)
    return cutoffs.where(kept.any(1), torch.nan)


def _format_classes(target: TargetType, num_examples: int) -> tuple[Tensor | None, int | None]:
    """Return one class per example and the highest; None for the predicted ones."""
    classes, highest = format_target(target, num_examples)
    if classes is None:
        return None, None
    if not isinstance(classes, (int, Tensor)):
        raise TypeError(
            f"target must be the class of each example, integers, for (B, classes); got {target!r}"
        )
    return torch.as_tensor(classes).expand(num_examples), highest


def _rings(sizes: Sequence[int], steps: int | None) -> Tensor:
    """Return the smallest ``j`` with ``r <= j / M`` for every frequency, ``(H, W)`` from 0."""
    plane = radius(sizes)
    wanted = _STEPS if steps is None else check_count("steps", steps)
    for fits in range(min(wanted, max(sizes)), 0, -1):
        rings = (plane * fits - ROUNDING).ceil().long()
        if len(rings.unique()) == fits + 1:
            break
    else:
        raise ValueError(
            f"inputs must have other frequencies than the mean, got sides of {tuple(sizes)}"
        )
    if steps is not None and fits < wanted:
        raise ValueError(
            f"steps={steps} is more than the frequencies of sides of {tuple(sizes)} can tell "
            f"apart; at most steps={fits} fits"
        )
    return rings
