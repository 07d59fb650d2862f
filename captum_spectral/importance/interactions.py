"""Interactions averaged over a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_spectral.coalitions import InteractionResult

__all__ = ["MeanInteractions"]


class MeanInteractions:
    r"""Mean interactions over images, with the standard errors of the means.

    What is added are results of batches. The standard error is that over images,
    :math:`\sqrt{\mathrm{Var}_n / N}`, and holds what the images differ by as well as what single
    estimates are off by at random. Moments merge exactly (Chan, Golub and LeVeque 1979), so any
    split over batches or processes gives the same to rounding.

    Example::

        >>> import torch
        >>> from captum_spectral.attr import SpectralInteractions
        >>> from captum_spectral.importance import MeanInteractions
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 5)).eval()
        >>> explainer, mean = SpectralInteractions(model), MeanInteractions()
        >>> for images in torch.rand(3, 4, 1, 16, 16):
        ...     mean.update(explainer.attribute(images, 1, num_bands=4))
        >>> result = mean.compute()
        >>> result.num_examples, result.values.shape
        (12, torch.Size([1, 10]))
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._scatter = torch.zeros(())
        self._like: InteractionResult | None = None

    def update(self, result: InteractionResult) -> None:
        """Add the images of a result.

        Args:
            result: Of :class:`~captum_spectral.attr.SpectralInteractions`.

        Raises:
            ValueError: It is of another index, order or number of players than those before, or
                a mean itself; nothing is added.
        """
        if result.num_examples != 1:
            raise ValueError("result is a mean over images already; use merge of what made it")
        kind = _kind_of(result)
        if self._like is not None and kind != _kind_of(self._like):
            raise ValueError(f"result has {kind}, those before {_kind_of(self._like)}")
        own = _flat(result)  # (B, V)
        mean = own.mean(0)
        self._add(len(own), mean, (own - mean).square().sum(0), result)

    def merge(self, other: MeanInteractions) -> None:
        """Add all images of another mean, of another process, say.

        Args:
            other: Which keeps its own.

        Raises:
            ValueError: It is of another index, order or number of players.
        """
        if other._like is None:
            return
        if self._like is not None and _kind_of(other._like) != _kind_of(self._like):
            raise ValueError(f"other has {_kind_of(other._like)}, this {_kind_of(self._like)}")
        self._add(other._count, other._mean, other._scatter, other._like)

    def compute(self) -> InteractionResult:
        """Return the means ``(1, *outputs, S)`` and their standard errors, NaN for one image.

        Raises:
            ValueError: Nothing was added.
        """
        if self._like is None:
            raise ValueError("no images were added; call update first")
        like, count = self._like, self._count
        spread = count * (count - 1)
        error = (
            (self._scatter / spread).sqrt() if spread else torch.full_like(self._mean, torch.nan)
        )
        outputs = like.empty_value.shape[1:]
        mean = self._mean.reshape(1, *outputs, -1)
        return replace(
            like,
            values=mean[..., 2:],
            standard_error=error.reshape(1, *outputs, -1)[..., 2:],
            empty_value=mean[..., 0],
            full_value=mean[..., 1],
            num_examples=count,
        )

    def _add(self, count: int, mean: Tensor, scatter: Tensor, result: InteractionResult) -> None:
        before = self._count
        if self._like is None:
            self._like, self._mean, self._scatter = result, mean, scatter
        else:
            estimated = self._like.estimated or result.estimated
            most = max(self._like.num_rows, result.num_rows)
            self._like = replace(self._like, estimated=estimated, num_rows=most)
            change = mean - self._mean
            share = count / (before + count)
            self._scatter = self._scatter + scatter + before * share * change.square()
            self._mean = self._mean + share * change
        self._count = before + count


def _flat(result: InteractionResult) -> Tensor:
    """Return all values of each image, ``(B, outputs * (S + 2))``."""
    ends = torch.stack([result.empty_value, result.full_value], -1)
    return torch.cat([ends, result.values], -1).flatten(1)


def _kind_of(result: InteractionResult) -> dict[str, Any]:
    return {
        "index": result.index,
        "order": result.order,
        "num_players": result.num_players,
        "outputs": tuple(result.empty_value.shape[1:]),
    }
