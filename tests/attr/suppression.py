"""Inputs, ways to suppress features, and models that keep their samples."""

import pytest
import torch
from torch import nn

from captum_spectral import FeatureSuppression

X = torch.rand(3, 2, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
X += 0.5  # no pixel is 0, so a suppressed one is seen
TARGETS = [0, 3, 1]
BLOCKS = (torch.arange(10)[:, None] // 5) * 3 + torch.arange(12) // 4  # (10, 12), 6 groups
BANDS = {"domain": "frequency", "num_bands": 3}
WAYS = [
    pytest.param({}, id="pixels"),
    pytest.param({"feature_mask": BLOCKS[None, None]}, id="blocks"),
    pytest.param(BANDS, id="bands"),
]
FULL_PRECISION = {"rtol": 1e-10, "atol": 1e-12}


class Recording(nn.Module):
    """Keeps the inputs that it is given."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []
        self.eval()

    def forward(self, *inputs):
        self.seen.append(tuple(x.detach().clone() for x in inputs))
        return self.model(*inputs)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def run(model, inputs=X, target=TARGETS, seed=0, **arguments):
    return FeatureSuppression(model).attribute(
        inputs, target, generator=seeded(seed), **{"n_samples": 6, **arguments}
    )


def samples_of(model, inputs=X, target=TARGETS, **arguments):
    """The samples the model saw, ``(n_samples, B, ...)``."""
    recording = Recording(model)
    run(recording, inputs, target, **arguments)
    rows = torch.cat([seen[0] for seen in recording.seen])  # example by example
    return rows.unflatten(0, (len(inputs), -1)).movedim(1, 0)
