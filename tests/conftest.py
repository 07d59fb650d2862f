"""Settings of the whole suite."""

import matplotlib
import pytest
import torch
from hypothesis import HealthCheck, settings

matplotlib.use("Agg")
torch.set_num_threads(1)  # tiny tensors run far slower on contended threads

settings.register_profile(
    "suite",
    deadline=None,  # the first forward pass of a process is slow
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
