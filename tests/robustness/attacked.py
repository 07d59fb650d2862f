"""A classifier whose robust accuracy is known, and a trained one with images new to it."""

import functools
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


class TwoClasses(nn.Module):
    """The sign of <w, x> + b, in float64: all is known of it."""

    def __init__(self, size=120, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(size, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(-self.weight.detach().sum() / 2)  # grey is on the boundary
        self.eval()

    def forward(self, x):
        score = x.flatten(1).to(self.weight.dtype) @ self.weight + self.bias
        return torch.stack([-score, score], 1)

    def lead(self, x, y):
        """How far the true classes are ahead, in the scale of <w, x>."""
        with torch.no_grad():
            return self(x)[:, 1] * (2 * y - 1)


@functools.cache
def digits(count=200):
    """A trained CNN, digits (count, 1, 8, 8) in [0, 1], and which they are; 95 % are right."""
    from sklearn.datasets import load_digits

    sys.path.insert(0, BENCHMARKS)
    try:
        from nearest_boundary import digits as trained
    finally:
        sys.path.remove(BENCHMARKS)
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    return trained()[0], x[1500 : 1500 + count], torch.tensor(data.target)[1500 : 1500 + count]


@functools.cache
def foolbox():
    """The package, or None; what it imports warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import foolbox
        except ImportError:
            return None
    return foolbox
