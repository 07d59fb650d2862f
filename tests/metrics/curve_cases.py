"""Inputs, rankings and a linear model for the tests of curves and maps."""

import math

import pytest
import torch
from hypothesis import strategies as st
from torch import nn

from captum_spectral import band_mask, deletion_curve, insertion_curve

seeds = st.integers(0, 2**31 - 1)
CURVES = [insertion_curve, deletion_curve]
TARGETS = [0, 3, 1]
BLOCKS = (torch.arange(10)[:, None] // 5) * 3 + torch.arange(12) // 4  # (10, 12), 6 groups
MASK = band_mask((10, 12), 3)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


X = normal(3, 2, 10, 12)
MAPS = normal(3, 2, 10, 12, seed=1)
BAND_VALUES = normal(3, 3, seed=2)
WAYS = [
    pytest.param(MAPS, {}, id="pixels"),
    pytest.param(MAPS, {"feature_mask": BLOCKS}, id="blocks"),
    pytest.param(BAND_VALUES, {"domain": "frequency", "num_bands": 3}, id="bands"),
]


class Linear(nn.Module):
    """``<w, x>`` of inputs of any shape."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.eval()

    def forward(self, x):
        return (x * self.weight).flatten(1).sum(1)


def nan_at(tensor, *index):
    tensor = tensor.clone()
    tensor[index] = math.nan
    return tensor
