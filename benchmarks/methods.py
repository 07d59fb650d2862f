"""The pixel attributions that are compared, with the settings of the papers, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from agi import adversarial_gradient_integration
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor, nn

from captum_spectral import BoundaryIntegratedGradients, BoundarySaliency, FeatureSuppression

# Of the inputs of EfficientNet-Lite0: (x - 127) / 128 for x in 0..255.
LIMITS = (-127 / 128, 1.0)
WIDTH = LIMITS[1] - LIMITS[0]
SAMPLES = 50
BATCH = 4  # rows in a forward pass; what the network is fastest with on a CPU

# One example (1, C, H, W) and its class to attributions of its shape.
Method = Callable[[nn.Module, Tensor, int], Tensor]


class CountingRows(nn.Module):
    """A model that counts the rows that go through it, forward and back."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forward_rows = self.backward_rows = 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """The model's outputs."""
        self.forward_rows += len(x)
        outputs: Tensor = self.model(x)
        if outputs.requires_grad:
            outputs.register_hook(self._count)
        return outputs

    def _count(self, gradient: Tensor) -> None:
        self.backward_rows += len(gradient)


class Cost(NamedTuple):
    """Of one attribution."""

    seconds: float
    forward_rows: int
    backward_rows: int


def costed(method: Method, model: nn.Module, x: Tensor, target: int) -> tuple[Tensor, Cost]:
    """Attributions, and what they took."""
    counting = CountingRows(model)
    begin = time.perf_counter()
    attributions = method(counting, x, target)
    seconds = time.perf_counter() - begin
    return attributions.detach(), Cost(seconds, counting.forward_rows, counting.backward_rows)


def saliency(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """The signed gradient."""
    return Saliency(model).attribute(x.clone().requires_grad_(), target, abs=False)


def integrated_gradients(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """From mid-grey."""
    return IntegratedGradients(model).attribute(
        x, target=target, n_steps=SAMPLES, internal_batch_size=BATCH
    )


def smooth_grad(model: nn.Module, x: Tensor, target: int, seed: int = 0) -> Tensor:
    """Noise of 0.15 of the range of the inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NoiseTunnel(Saliency(model)).attribute(
            x.clone().requires_grad_(),
            target=target,
            abs=False,
            nt_samples=SAMPLES,
            nt_samples_batch_size=BATCH,
            stdevs=0.15 * WIDTH,
        )


def boundary_saliency(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """The gradient at the nearest boundary inside the valid range."""
    return BoundarySaliency(model).attribute(x, target, clip=LIMITS)


def boundary_integrated_gradients(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """From the nearest boundary inside the valid range."""
    return BoundaryIntegratedGradients(model).attribute(
        x, target, clip=LIMITS, n_steps=SAMPLES, internal_batch_size=BATCH
    )


def suppression(
    model: nn.Module,
    x: Tensor,
    target: int,
    ratio: float,
    domain: str = "pixel",
    absolute: bool = True,
    seed: int = 0,
) -> Tensor:
    """Pixels, or eight frequency bands, suppressed to mid-grey."""
    return FeatureSuppression(model).attribute(
        x,
        target,
        domain=domain,
        n_samples=SAMPLES,
        suppress=ratio,
        absolute=absolute,
        internal_batch_size=BATCH,
        generator=torch.Generator().manual_seed(seed),
    )


def agi(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """Steps of 0.05 of the range, 20 false classes, 20 steps."""
    return adversarial_gradient_integration(
        model, x, target, step=0.05 * WIDTH, limits=LIMITS, batch=BATCH
    )


METHODS: dict[str, Method] = {
    "Saliency": saliency,
    "IntegratedGradients": integrated_gradients,
    "SmoothGrad": smooth_grad,
    "BoundarySaliency": boundary_saliency,
    "BoundaryIntegratedGradients": boundary_integrated_gradients,
    **{f"FeatureSuppression r={r}": partial(suppression, ratio=r) for r in (0.3, 0.5, 0.7, 0.9)},
    "FeatureSuppression, 8 bands": partial(suppression, ratio=0.7, domain="frequency"),
    "AGI (peer)": agi,
}
