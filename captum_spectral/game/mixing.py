"""The first layer of a game on real weights: from how much there is of each player to signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captum_spectral._captum import EpsilonRule

__all__ = ["Mixing", "OpaqueMixing"]


class OpaqueMixing(nn.Module):
    """Make signals of weights, for a function: no method of Captum's sees through a function.

    LRP knows no rule for this layer and says so.
    """

    def __init__(self, signals_of: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> None:
        super().__init__()
        self._signals_of = signals_of
        self.examples: Tensor | None = None
        self.training = False

    def forward(self, weights: Tensor) -> Any:
        """Return the signals of weights ``(R, P)``, for the examples that were set; one alone."""
        assert self.examples is not None
        signals = self._signals_of(weights, self.examples)
        return signals[0] if len(signals) == 1 else signals


class Mixing(OpaqueMixing):
    """Make signals of weights, for a module. It is linear, so a rule of Captum's LRP fits it.

    Each pixel hands its relevance on to the players in proportion to their parts of it, as in a
    linear layer. LRP deletes the rules of layers when it is done; this one is there again.

    References:
        J. Vielhaben, S. Lapuschkin, G. Montavon, W. Samek, *Explainable AI for time series via
        virtual inspection layers*, Pattern Recognition 2024: relevance of Fourier coefficients.
    """

    _rule: EpsilonRule | None = None

    @property
    def rule(self) -> EpsilonRule:
        """The rule of LRP."""
        if self._rule is None:
            self._rule = EpsilonRule()
        return self._rule

    @rule.deleter
    def rule(self) -> None:
        self._rule = None
