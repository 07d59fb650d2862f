"""Settings of the whole suite."""

import os

import matplotlib
import pytest
import torch
from hypothesis import HealthCheck, settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels run on the CPU; Triton reads it when imported
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
