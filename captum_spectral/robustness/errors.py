"""Errors under corruptions beside those of a reference model; functions of error rates alone.

Intervals of them come from :func:`~captum_spectral.robustness.bootstrap.paired_bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "GroupMean",
    "MeanCorruptionError",
    "corruption_error",
    "mean_corruption_error",
    "relative_corruption_error",
    "relative_mean_corruption_error",
]

# Error rates of the severities of each corruption, by its name.
Errors = Mapping[str, Tensor | Sequence[float]]


def corruption_error(errors: Tensor, reference_errors: Tensor) -> Tensor:
    r"""Compute the error under a corruption relative to that of a reference model.

    .. math:: \mathrm{CE}(f, c) = \frac{\sum_s e(f, c, s)}{\sum_s e(g, c, s)}

    with :math:`e` the error rate at severity :math:`s` of the model :math:`f` and the reference
    :math:`g`. Below 1 the model is better than the reference.

    Args:
        errors: ``(..., S)`` error rates of the model at S severities.
        reference_errors: ``(..., S)`` those of the reference, at the same severities.

    Returns:
        ``(...)`` float64. NaN where the reference makes no errors.

    Raises:
        TypeError: Errors that are no tensors or sequences of real numbers.
        ValueError: Error rates that are not from 0 to 1, or another number of severities.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.errors import corruption_error
        >>> corruption_error(torch.tensor([0.1, 0.3]), torch.tensor([0.2, 0.6]))
        tensor(0.5000, dtype=torch.float64)

    References:
        D. Hendrycks, T. Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions
        and Perturbations*, ICLR 2019.
    """
    own, reference = _rates(errors, "errors"), _rates(reference_errors, "reference_errors")
    _check_severities(own, reference)
    return _ratio(own.sum(-1), reference.sum(-1))


def relative_corruption_error(
    errors: Tensor,
    clean_error: Tensor | float,
    reference_errors: Tensor,
    reference_clean_error: Tensor | float,
) -> Tensor:
    r"""Compute what a corruption adds to the error, relative to what it adds to a reference's.

    .. math::
        \mathrm{relative\ CE}(f, c) = \frac{\sum_s (e(f, c, s) - e(f))}{\sum_s (e(g, c, s) - e(g))}

    with :math:`e(f)` the error rate on clean images. It tells robustness from accuracy, and says
    little where the reference hardly degrades: its denominator is then small and uncertain.

    Args:
        errors: ``(..., S)`` error rates of the model at S severities.
        clean_error: ``(...)`` that on clean images.
        reference_errors: ``(..., S)`` those of the reference.
        reference_clean_error: ``(...)`` its on clean images.

    Returns:
        ``(...)`` float64. NaN where the reference does not degrade.

    Raises:
        TypeError: Errors that are no tensors or sequences of real numbers.
        ValueError: Error rates that are not from 0 to 1, or another number of severities.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.errors import relative_corruption_error
        >>> errors, reference = torch.tensor([0.2, 0.4]), torch.tensor([0.3, 0.9])
        >>> relative_corruption_error(errors, 0.1, reference, 0.2)
        tensor(0.5000, dtype=torch.float64)

    References:
        D. Hendrycks, T. Dietterich, ICLR 2019.
    """
    own, reference = _rates(errors, "errors"), _rates(reference_errors, "reference_errors")
    _check_severities(own, reference)
    clean = _rates(clean_error, "clean_error", dims=0)
    reference_clean = _rates(reference_clean_error, "reference_clean_error", dims=0)
    added = (own - clean[..., None]).sum(-1)
    return _ratio(added, (reference - reference_clean[..., None]).sum(-1))


class GroupMean(NamedTuple):
    """A mean over corruptions.

    Args:
        value: The mean over those that have a ratio; NaN if none has.
        num_corruptions: How many these are.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> from captum_spectral.robustness.errors import GroupMean
        >>> GroupMean(0.9, 3).num_corruptions
        3
    """

    value: float
    num_corruptions: int


class MeanCorruptionError(NamedTuple):
    """Errors under corruptions, relative to a reference model, and their mean.

    Args:
        value: The mean over corruptions that have a ratio; NaN if none has.
        num_corruptions: How many these are.
        reference: Name of the reference model.
        by_corruption: The ratio of each corruption, NaN where the reference has no error to divide
            by.
        undefined: Names of these.
        by_group: The mean of each group.
        mean_error: The plain mean error of the model: over severities, then over all corruptions.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> from captum_spectral.robustness.errors import mean_corruption_error
        >>> result = mean_corruption_error(
        ...     {"noise": [0.2], "contrast": [0.1]}, {"noise": [0.4], "contrast": [0.0]}, "plain")
        >>> result.value, result.num_corruptions, result.undefined
        (0.5, 1, ('contrast',))
    """

    value: float
    num_corruptions: int
    reference: str
    by_corruption: dict[str, float]
    undefined: tuple[str, ...]
    by_group: dict[str, GroupMean]
    mean_error: float

    def __str__(self) -> str:
        """Say the mean, what it is relative to, and what is missing."""
        counted = f"{self.num_corruptions} of {len(self.by_corruption)} corruptions"
        missing = f"; undefined for {', '.join(self.undefined)}" if self.undefined else ""
        return f"{self.value:.4g} relative to {self.reference}, over {counted}{missing}"


def mean_corruption_error(
    errors: Errors,
    reference_errors: Errors,
    reference: str,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> MeanCorruptionError:
    r"""Average the corruption errors of a model, relative to a named reference: mCE.

    .. math:: \mathrm{mCE}(f) = \frac1{|C|} \sum_{c \in C} \mathrm{CE}(f, c)

    Published values are relative to AlexNet, on the fifteen corruptions of ImageNet-C; a mean over
    other corruptions or relative to another model is a number of another kind. Groups of
    corruptions can move in opposite directions and cancel in the mean: look at them.

    Args:
        errors: Error rates ``(S,)`` of the model at the severities of each corruption, by name.
        reference_errors: Those of the reference.
        reference: Its name.
        groups: Names of corruptions by the name of their group, for means of their own.
            Default: None

    Returns:
        :class:`MeanCorruptionError`: ``value``, ``num_corruptions``, ``by_corruption``,
        ``undefined``, ``by_group``, ``mean_error``.

    Raises:
        TypeError: Errors that are no dicts of real numbers.
        ValueError: Corruptions or severities that differ, unknown names in ``groups``, rates that
            are not from 0 to 1.

    Example::

        >>> from captum_spectral.robustness.errors import mean_corruption_error
        >>> errors = {"noise": [0.2, 0.4], "blur": [0.1, 0.2], "contrast": [0.3, 0.6]}
        >>> reference = {"noise": [0.4, 0.8], "blur": [0.2, 0.4], "contrast": [0.2, 0.4]}
        >>> result = mean_corruption_error(
        ...     errors, reference, "plain", groups={"light": ["contrast"]})
        >>> print(f"{result.value:.3f} {result.by_group['light'].value:.3f}")
        0.833 1.500

    References:
        D. Hendrycks, T. Dietterich, ICLR 2019.
    """
    _check_tables(errors, reference_errors)
    ratios = {
        name: float(corruption_error(*_of(name, errors, reference_errors))) for name in errors
    }
    return _averaged(ratios, errors, reference, groups)


def relative_mean_corruption_error(
    errors: Errors,
    clean_error: float,
    reference_errors: Errors,
    reference_clean_error: float,
    reference: str,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> MeanCorruptionError:
    r"""Average the relative corruption errors of a model: relative mCE.

    .. math:: \frac1{|C|} \sum_{c \in C} \mathrm{relative\ CE}(f, c)

    Args:
        errors: Error rates ``(S,)`` of the model at the severities of each corruption, by name.
        clean_error: That on clean images.
        reference_errors: Those of the reference.
        reference_clean_error: Its on clean images.
        reference: Its name.
        groups: Names of corruptions by the name of their group. Default: None

    Returns:
        :class:`MeanCorruptionError`, as :func:`mean_corruption_error`.

    Raises:
        TypeError, ValueError: As :func:`mean_corruption_error`.

    Example::

        >>> from captum_spectral.robustness.errors import relative_mean_corruption_error
        >>> result = relative_mean_corruption_error(
        ...     {"noise": [0.2, 0.4], "blur": [0.1, 0.1]}, 0.1,
        ...     {"noise": [0.3, 0.9], "blur": [0.2, 0.2]}, 0.2, "plain")
        >>> print(result)
        0.5 relative to plain, over 1 of 2 corruptions; undefined for blur

    References:
        D. Hendrycks, T. Dietterich, ICLR 2019.
    """
    _check_tables(errors, reference_errors)
    ratios = {}
    for name in errors:
        own, others = _of(name, errors, reference_errors)
        ratios[name] = float(
            relative_corruption_error(own, clean_error, others, reference_clean_error)
        )
    return _averaged(ratios, errors, reference, groups)


def _rates(values: Tensor | Sequence[float] | float, name: str, dims: int = 1) -> Tensor:
    """Return error rates in float64 on the CPU, checked."""
    try:
        rates = torch.as_tensor(values, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must hold error rates, got {values!r}") from None
    if rates.dtype.is_complex or rates.dtype is torch.bool:
        raise TypeError(f"{name} must hold error rates, got dtype {rates.dtype}")
    rates = rates.double()
    if rates.dim() < dims or rates.numel() == 0:
        raise ValueError(
            f"{name} must be (..., S) error rates of one severity or more, got shape "
            f"{tuple(rates.shape)}"
        )
    if not ((rates >= -_ROUNDING) & (rates <= 1 + _ROUNDING)).all():
        raise ValueError(
            f"{name} must be error rates from 0 to 1, got {float(rates.min()):.4g} to "
            f"{float(rates.max()):.4g}; percentages must be divided by 100"
        )
    return rates


def _check_severities(errors: Tensor, reference: Tensor) -> None:
    if errors.shape[-1] != reference.shape[-1]:
        raise ValueError(
            "errors and reference_errors must be of the same severities, got "
            f"{errors.shape[-1]} and {reference.shape[-1]}"
        )


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide; NaN where the denominator is not positive beyond the rounding of its sum."""
    positive = denominator > _ROUNDING
    return torch.where(positive, numerator / denominator, math.nan)


# Sums of differences below it are the rounding of rates in float32; those of N images are
# multiples of 1/N.
_ROUNDING = 5e-7


def _check_tables(errors: Errors, reference_errors: Errors) -> None:
    for name, table in (("errors", errors), ("reference_errors", reference_errors)):
        if not isinstance(table, Mapping):
            raise TypeError(
                f'{name} must be a dict by corruption, such as {{"noise": [0.1, 0.2]}}, got '
                f"{type(table).__name__}"
            )
    if not errors or set(errors) != set(reference_errors):
        raise ValueError(
            "errors and reference_errors must be of the same corruptions, one or more; got "
            f"{sorted(errors)} and {sorted(reference_errors)}"
        )


def _of(name: str, errors: Errors, reference_errors: Errors) -> tuple[Tensor, Tensor]:
    own = _rates(errors[name], f"errors[{name!r}]")
    reference = _rates(reference_errors[name], f"reference_errors[{name!r}]")
    if own.dim() != 1 or own.shape != reference.shape:
        raise ValueError(
            f"errors[{name!r}] and reference_errors[{name!r}] must be (S,), of the same "
            f"severities, got shapes {tuple(own.shape)} and {tuple(reference.shape)}"
        )
    return own, reference


def _averaged(
    ratios: dict[str, float],
    errors: Errors,
    reference: str,
    groups: Mapping[str, Sequence[str]] | None,
) -> MeanCorruptionError:
    groups = groups or {}
    unknown = sorted({name for names in groups.values() for name in names} - set(ratios))
    if unknown:
        raise ValueError(f"groups name {unknown}, which are not among {sorted(ratios)}")
    whole = _mean(ratios, list(ratios))
    return MeanCorruptionError(
        value=whole.value,
        num_corruptions=whole.num_corruptions,
        reference=reference,
        by_corruption=ratios,
        undefined=tuple(name for name, ratio in ratios.items() if math.isnan(ratio)),
        by_group={group: _mean(ratios, names) for group, names in groups.items()},
        mean_error=sum(float(_rates(e, "errors").mean()) for e in errors.values()) / len(errors),
    )


def _mean(ratios: dict[str, float], names: Sequence[str]) -> GroupMean:
    known = [ratios[name] for name in names if not math.isnan(ratios[name])]
    return GroupMean(sum(known) / len(known) if known else math.nan, len(known))
