"""Tiny networks, a textbook oracle, and a model that counts."""

from itertools import combinations
from math import factorial

import torch
from torch import Tensor, nn

from captum_spectral import split_bands


def tiny_cnn(in_channels=3, num_classes=5, seed=0, dtype=torch.float64):
    """A convolutional network for inputs of any size."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(in_channels, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.Flatten(),
        nn.Linear(48, num_classes),
    )
    torch.set_rng_state(generator_state)
    return model.to(dtype).eval()


class Quadratic(nn.Module):
    """A cheap nonlinear model of one or more inputs of any shape: (B, classes)."""

    def __init__(self, *shapes, num_classes=3, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        sizes = [torch.Size(s).numel() for s in shapes]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n, num_classes, generator=generator, dtype=torch.float64))
            for n in sizes
        )
        self.eval()

    def forward(self, *inputs: Tensor) -> Tensor:
        linear = sum(
            x.flatten(1).to(w.dtype) @ w for x, w in zip(inputs, self.weights, strict=True)
        )
        return linear + 0.1 * linear**2 + torch.sin(linear.roll(1, 1))


class Counting(nn.Module):
    """Counts the calls and the rows that go through a model, and keeps the inputs' shapes."""

    def __init__(self, model):
        super().__init__()
        self.model, self.calls, self.rows, self.shapes = model, 0, 0, []
        self.eval()

    def forward(self, *inputs: Tensor):
        self.calls += 1
        self.rows += len(inputs[0])
        self.shapes.append(tuple(inputs[0].shape))
        return self.model(*inputs)


def brute_force(
    forward, inputs, masks, baselines, target, spectral_dims=(-2, -1), additional_forward_args=()
):
    """The textbook sum, one forward pass per coalition and example. All arguments are tuples.

    Bands are made here with complex transforms of input and baseline, not with the package.
    """
    num_bands = 1 + max(int(m.max()) for m in masks)
    num_examples = len(inputs[0])

    def band(x, mask, i):
        spectrum = torch.fft.fftn(x, dim=spectral_dims)
        kept = torch.fft.ifftn(spectrum * (mask == i), dim=spectral_dims)
        assert kept.imag.abs().max() < 1e-9 * (1 + x.abs().max())
        return kept.real

    phi = torch.zeros(num_examples, num_bands, dtype=torch.float64)
    for e in range(num_examples):
        args = tuple(
            a[e : e + 1] if isinstance(a, Tensor) and a.dim() and len(a) == num_examples else a
            for a in additional_forward_args
        )
        values = {}
        for size in range(num_bands + 1):
            for members in combinations(range(num_bands), size):
                signals = []
                for x, mask, b in zip(inputs, masks, baselines, strict=True):
                    own = mask[e : e + 1] if mask.dim() == x.dim() and len(mask) > 1 else mask
                    base = b[e : e + 1] if len(b) > 1 else b
                    signal = torch.zeros_like(x[e : e + 1])
                    for i in range(num_bands):
                        signal += band(x[e : e + 1] if i in members else base, own, i)
                    signals.append(signal)
                with torch.no_grad():
                    out = forward(*signals, *args)
                values[frozenset(members)] = float(out[0, target[e]])
        for i in range(num_bands):
            others = [j for j in range(num_bands) if j != i]
            for size in range(num_bands):
                weight = factorial(size) * factorial(num_bands - size - 1) / factorial(num_bands)
                for members in combinations(others, size):
                    s = frozenset(members)
                    phi[e, i] += weight * (values[s | {i}] - values[s])
    return phi


def linear_oracle(weight, inputs, mask):
    """<w, x_i> per band of a linear model with zero baseline: (B, M)."""
    bands = split_bands(inputs, mask)
    return (bands * weight).flatten(2).sum(2)
