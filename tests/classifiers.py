"""Classifiers whose nearest boundary is known, or missing."""

import pytest
import torch
from torch import nn

from captum_spectral.attr import BoundaryIntegratedGradients, BoundarySaliency
from captum_spectral.boundary import BoundarySearch

SEARCHES = pytest.mark.parametrize("search", ["deepfool", "pgd"])
OR_NAN = BoundarySearch(on_missing="nan")
BOTH = pytest.mark.parametrize("method", [BoundarySaliency, BoundaryIntegratedGradients])


def images(n=3, channels=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, 10, 12, generator=generator, dtype=dtype)


def decided(model, x):
    with torch.no_grad():
        return model(x).argmax(1)


class Linear(nn.Module):
    """f = W x + b on images, in float64."""

    def __init__(self, classes=4, size=120, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(
            torch.randn(classes, size, generator=generator, dtype=torch.float64)
        )
        self.bias = nn.Parameter(torch.randn(classes, generator=generator, dtype=torch.float64))
        self.eval()

    def forward(self, x):
        return x.flatten(1) @ self.weight.T + self.bias


class Constant(nn.Module):
    """Class 0, whatever the input."""

    def __init__(self):
        super().__init__()
        self.eval()

    def forward(self, x):
        zero = 0 * x.flatten(1).sum(1)
        return torch.stack([zero + 1, zero], 1)


class OnlySome(nn.Module):
    """Examples whose first pixel is below 0 have no boundary, the others a near one."""

    def __init__(self):
        super().__init__()
        self.eval()

    def forward(self, x):
        rest = x.flatten(1)[:, 1:].sum(1) * (x.flatten(1)[:, 0].detach() > 0)
        return torch.stack([rest, 0 * rest - 1], 1)
