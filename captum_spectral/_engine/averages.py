"""Gradients at the signals of coalitions, averaged over the coalitions of each example."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import has_float64
from captum_spectral._engine.evaluation import Coalitions, OfCoalitions
from captum_spectral._engine.forward import Forward, gradients
from captum_spectral._engine.outputs import looks_like
from captum_spectral._engine.rows import Chunk, Tile
from captum_spectral._engine.signals import Signals
from captum_spectral.features.features import signal_dtype

__all__ = ["GradientAverage", "Moments"]


class Moments:
    """Keeps mean and spread over samples (Welford), entry by entry, without keeping the samples.

    The samples of an example are added in their order, so that nothing depends on how rows were
    cut into chunks.

    Args:
        x: ``(B, ...)`` like the values of a sample.
        spread: Whether a standard error will be asked for.
    """

    def __init__(self, x: Tensor, spread: bool) -> None:
        dtype = torch.float64 if has_float64(x.device) else torch.float32
        self._dtype = signal_dtype(x.dtype)
        self._mean = torch.zeros(x.shape, dtype=dtype, device=x.device)
        self._squares = torch.zeros_like(self._mean) if spread else None

    def add(self, values: Tensor, tile: Tile) -> None:
        """Add the values ``(rows of the chunk, ...)`` of a tile."""
        of_tile = tile.view(values)  # (b, k, ...)
        mean = self._mean[tile.examples]
        for k, sample in enumerate(range(tile.coalitions.start, tile.coalitions.stop)):
            new = of_tile[:, k].to(mean)
            change = new - mean
            mean += change / (sample + 1)
            if self._squares is not None:
                self._squares[tile.examples] += change * (new - mean)

    def mean(self, what: str = "gradient") -> Tensor:
        """Return the means.

        Raises:
            ValueError: One is not finite.
        """
        finite = self._mean.isfinite()
        if not finite.all():
            raise ValueError(
                f"the {what} of forward_func is not finite (NaN or infinite) for example "
                f"{int((~finite).nonzero()[0, 0])}, at one of its samples; is the model finite "
                "and differentiable where a suppressed feature holds its baseline? Give other "
                "baselines"
            )
        return self._mean.to(self._dtype)

    def standard_error(self, num_samples: int) -> Tensor:
        """Return the standard errors of the means."""
        assert self._squares is not None
        return (self._squares / (num_samples - 1) / num_samples).sqrt().to(self._dtype)


class GradientAverage(OfCoalitions):
    """Averages the gradients of each row's output with respect to the row.

    Args:
        signals: What makes the rows.
        coalitions: ``(K, P)``, the samples.
        forward: The model.
        inputs: ``(B, ...)`` what the averages look like.
        absolute: Average absolute values.
        spread: Keep what the standard error needs.
        confident: Average the softmax probability of the target as well.

    Attributes:
        moments (tuple[Moments, ...]): Of the gradients, for each input.
        confidence (Moments): Of the probabilities, where asked for.
    """

    def __init__(
        self,
        signals: Signals,
        coalitions: Coalitions,
        forward: Forward,
        inputs: tuple[Tensor, ...],
        *,
        absolute: bool,
        spread: bool,
        confident: bool,
    ) -> None:
        super().__init__(signals, coalitions)
        self._forward, self._inputs = forward, inputs
        self._absolute, self._spread, self._confident = absolute, spread, confident
        self.start_over()

    def start_over(self) -> None:
        """Forget all samples."""
        super().start_over()
        self.moments = tuple(Moments(x, self._spread) for x in self._inputs)
        self.confidence = Moments(self._inputs[0].new_zeros(self.num_examples), spread=False)

    def take(self, signals: tuple[Tensor, ...], chunk: Chunk) -> torch.device:
        """Add the gradients of a chunk."""
        leaves = tuple(s.detach().requires_grad_() for s in signals)
        with torch.enable_grad():
            # A copy: a first layer may work in place, which autograd forbids on a leaf.
            outputs = self._forward.outputs(tuple(leaf.clone() for leaf in leaves), chunk.examples)
            values = self._one_per_row(self._forward.at_target(outputs, chunk.examples), chunk)
        confidence = self._confidence_of(outputs, chunk) if self._confident else None
        slopes = gradients(values, leaves)
        for tile in chunk.tiles():
            for moments, slope in zip(self.moments, slopes, strict=True):
                moments.add(slope.abs() if self._absolute else slope, tile)
            if confidence is not None:
                self.confidence.add(confidence, tile)
        self.nothing_kept = False
        return values.device

    def _one_per_row(self, output: Any, chunk: Chunk) -> Tensor:
        results = self.results_of(output, chunk)
        if results.numel() != len(results):
            raise ValueError(
                f"forward_func gives shape {tuple(results.shape)} at "
                f"target={self._forward.target!r}; a gradient needs one number per example: choose "
                "it with target"
            )
        return results

    def _confidence_of(self, outputs: Tensor, chunk: Chunk) -> Tensor:
        """Return the softmax probability of each row's class."""
        if outputs.dim() != 2 or len(outputs) != chunk.rows or outputs.shape[1] < 2:
            raise ValueError(
                "return_confidence needs a forward_func that returns the logits (B, classes) of at "
                f"least two classes, got {outputs.dtype} {tuple(outputs.shape)} for {chunk.rows} "
                "rows"
            )
        logits = outputs.detach()
        if self.nothing_kept and looks_like(logits) == "probabilities":
            raise ValueError(
                "return_confidence takes the softmax of logits, and forward_func returns "
                "probabilities (rows that are not negative and sum to 1): leave its softmax out"
            )
        probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
        picked: Tensor = self._forward.at_target(probabilities, chunk.examples)
        return picked
