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

from captum_spectral import (
    BoundaryIntegratedGradients,
    BoundarySaliency,
    BoundarySearch,
    FeatureSuppression,
)
from captum_spectral.sources.models import load_model

SAMPLES = 50
BATCH = 4  # rows in a forward pass; what EfficientNet-Lite0 is fastest with on a CPU


class Network(nn.Module):
    """A model that counts the rows that go through it, forward and back.

    Args:
        model: Of ``(B, classes)`` outputs.
        limits: The range of its inputs.
        absent: What a pixel holds that is not there.
    """

    def __init__(self, model: nn.Module, limits: tuple[float, float], absent: float) -> None:
        super().__init__()
        self.model, self.limits, self.absent = model, limits, absent
        self.forward_rows = self.backward_rows = 0
        self.eval()

    @property
    def width(self) -> float:
        """Of the range of the inputs."""
        return self.limits[1] - self.limits[0]

    def forward(self, x: Tensor) -> Tensor:
        """The model's outputs."""
        self.forward_rows += len(x)
        outputs: Tensor = self.model(x)
        if outputs.requires_grad:
            outputs.register_hook(self._count)
        return outputs

    def _count(self, gradient: Tensor) -> None:
        self.backward_rows += len(gradient)


def efficientnet_lite0() -> Network:
    """Its inputs are (x - 127) / 128 for x in 0..255; absent pixels are mid-grey."""
    return Network(load_model("efficientnet-lite0").module, (-127 / 128, 1.0), 0.0)


# One example (1, C, H, W) and its class to attributions of its shape.
Method = Callable[[Network, Tensor, int], Tensor]


class Cost(NamedTuple):
    """Of one attribution."""

    seconds: float
    forward_rows: int
    backward_rows: int


def costed(method: Method, network: Network, x: Tensor, target: int) -> tuple[Tensor, Cost]:
    """Attributions, and what they took."""
    network.forward_rows = network.backward_rows = 0
    begin = time.perf_counter()
    attributions = method(network, x, target)
    seconds = time.perf_counter() - begin
    return attributions.detach(), Cost(seconds, network.forward_rows, network.backward_rows)


def saliency(network: Network, x: Tensor, target: int) -> Tensor:
    """The signed gradient."""
    return Saliency(network).attribute(x.clone().requires_grad_(), target, abs=False)


def integrated_gradients(network: Network, x: Tensor, target: int) -> Tensor:
    """From an empty input."""
    return IntegratedGradients(network).attribute(
        x, baselines=network.absent, target=target, n_steps=SAMPLES, internal_batch_size=BATCH
    )


def smooth_grad(network: Network, x: Tensor, target: int, seed: int = 0) -> Tensor:
    """Noise of 0.15 of the range of the inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NoiseTunnel(Saliency(network)).attribute(
            x.clone().requires_grad_(),
            target=target,
            abs=False,
            nt_samples=SAMPLES,
            nt_samples_batch_size=BATCH,
            stdevs=0.15 * network.width,
        )


def boundary_saliency(network: Network, x: Tensor, target: int) -> Tensor:
    """The gradient at the nearest boundary inside the valid range."""
    search = BoundarySearch("deepfool", clip=network.limits)
    return BoundarySaliency(network).attribute(x, target, search=search)


def boundary_integrated_gradients(network: Network, x: Tensor, target: int) -> Tensor:
    """From the nearest boundary inside the valid range."""
    search = BoundarySearch("deepfool", clip=network.limits)
    return BoundaryIntegratedGradients(network).attribute(
        x, target, search=search, n_steps=SAMPLES, internal_batch_size=BATCH
    )


def suppression(
    network: Network,
    x: Tensor,
    target: int,
    ratio: float,
    domain: str = "pixel",
    absolute: bool = True,
    seed: int = 0,
) -> Tensor:
    """Pixels, or eight frequency bands, suppressed."""
    return FeatureSuppression(network).attribute(
        x,
        target,
        baselines=network.absent,
        domain=domain,
        n_samples=SAMPLES,
        suppress=ratio,
        absolute=absolute,
        internal_batch_size=BATCH,
        generator=torch.Generator().manual_seed(seed),
    )


def agi(network: Network, x: Tensor, target: int) -> Tensor:
    """Steps of 0.05 of the range, 20 false classes, 20 steps."""
    return adversarial_gradient_integration(
        network, x, target, step=0.05 * network.width, limits=network.limits, batch=BATCH
    )


METHODS: dict[str, Method] = {
    "Saliency": saliency,
    "IntegratedGradients": integrated_gradients,
    "SmoothGrad": smooth_grad,
    "BoundarySaliency": boundary_saliency,
    "BoundaryIntegratedGradients": boundary_integrated_gradients,
    **{f"FeatureSuppression r={r}": partial(suppression, ratio=r) for r in (0.3, 0.5, 0.7, 0.9)},
    "FeatureSuppression r=0.7, signed": partial(suppression, ratio=0.7, absolute=False),
    "FeatureSuppression r=0.7, 8 bands": partial(suppression, ratio=0.7, domain="frequency"),
    "AGI (peer)": agi,
}
