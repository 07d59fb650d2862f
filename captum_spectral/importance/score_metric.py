"""SpectralScore: one number over a data set, for loggers, collections and bootstraps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from captum_spectral.importance.metric import SpectralImportance
from captum_spectral.importance.result import ImportanceResult
from captum_spectral.importance.scores import signed_spectral_score, spectral_score

__all__ = ["SpectralScore"]


class SpectralScore(SpectralImportance):
    r"""Score a model by the frequencies that it relies on, as one number: a scalar metric.

    It is :class:`SpectralImportance` of which :meth:`compute` gives the score alone, so that it
    works wherever torchmetrics expects a number: ``self.log("score", metric)`` in Lightning,
    ``MetricCollection``, ``metric.plot()``, ``BootStrapper``, ``MetricTracker``. With shares
    :math:`p` of the bands and weights :math:`\beta^i` see
    :func:`~captum_spectral.signed_spectral_score`: 1 for all power in the lowest band, 0 for an
    even spread, negative for high frequencies. ``"signed"`` is NaN where no band is positive, as
    there is nothing to share then: labels that the model does not know, or in another order than
    its outputs, images prepared in another way. See to these first; :meth:`result` has the bands
    themselves, and ``score="authors"`` a number unless all bands are equal.

    ``BootStrapper`` copies a metric with its model; a function is not copied:
    ``SpectralScore(lambda x: model(x))``.

    Args:
        forward_func: As in :class:`SpectralImportance`.
        score: ``"signed"``, or ``"authors"`` for :func:`~captum_spectral.spectral_score`.
            Default: "signed"
        beta: Decay of the weights. Default: 0.75
        **options: Further arguments of :class:`SpectralImportance`, such as ``num_bands``,
            ``n_samples`` and ``seed``.

    Raises:
        TypeError: Arguments of a wrong kind.
        ValueError: An unknown score, ``beta`` outside of (0, 1), and as in
            :class:`SpectralImportance`.

    Cost: that of :class:`SpectralImportance`.

    Example::

        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4)).eval()
        >>> metric = SpectralScore(model, num_bands=3, n_samples=1)
        >>> metric.update(torch.rand(8, 3, 8, 8), torch.randint(4, (8,)))
        >>> metric.compute().shape, metric.result().num_examples
        (torch.Size([]), 8)

    References:
        R. Luo, J. McDermott, C. O'Riordan, *Interpreting Global Perturbation Robustness of Image
        Models using Axiomatic Spectral Importance Decomposition*, TMLR 2024.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        *,
        score: Literal["signed", "authors"] = "signed",
        beta: float = 0.75,
        **options: Any,
    ) -> None:
        if score not in ("signed", "authors"):
            raise ValueError(f"score must be 'signed' or 'authors', got {score!r}")
        if not isinstance(beta, (int, float)) or not 0 < beta < 1:
            raise ValueError(f"beta must be between 0 and 1, got {beta!r}")
        if options.get("features") is not None:
            raise ValueError(
                "SpectralScore is for bands in the order of their frequencies, and features= are "
                "other players; use SpectralImportance(features=...) and result.scalars()"
            )
        super().__init__(forward_func, **options)
        self._score, self._beta = score, float(beta)

    def forward(  # type: ignore[override]
        self, images: Tensor, labels: Tensor | None = None, groups: Tensor | None = None
    ) -> Tensor:
        """Take in a batch and return the score of the batch alone, of this process."""
        return self._number(super().forward(images, labels, groups))

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the score over all images so far; :meth:`result` has the bands behind it.

        Raises:
            ValueError: There are no images yet.
        """
        return self._number(self.result())

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the score, or several of them over steps, as torchmetrics draws a number.

        Args:
            val: A score or a sequence of them; None: :meth:`compute`. Default: None
            ax: Matplotlib axes to draw in. Default: None

        Returns:
            Figure and axes.
        """
        return self._plot(val, ax)

    def _number(self, result: ImportanceResult) -> Tensor:
        score = signed_spectral_score if self._score == "signed" else spectral_score
        value = score(result.attributions, self._beta)
        return value.to(self.moments.device, torch.get_default_dtype())
