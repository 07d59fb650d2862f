"""Attributions of a distributed model, in one of several processes with images of its own."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import tiny_cnn

from captum_spectral import BoundarySaliency, FeatureSuppression, SpectralShapley, find_boundary

COUNTS = [1, 5]  # of images in each process


def network():
    """A model with buffers, which DistributedDataParallel sends around in every forward pass."""
    norm = nn.BatchNorm2d(3).double()
    norm.running_mean += torch.tensor([0.2, 0.4, 0.6])
    norm.running_var *= torch.tensor([0.5, 1.0, 2.0])
    return nn.Sequential(norm, tiny_cnn(seed=4)).eval()


def images(rank):
    start = sum(COUNTS[:rank])
    generator = torch.Generator().manual_seed(0)
    every = torch.rand(sum(COUNTS), 3, 12, 10, generator=generator, dtype=torch.float64)
    return every[start : start + COUNTS[rank]]


def explain(model, x):
    """All methods, whose numbers of forward passes differ with the number of images."""
    with torch.no_grad():
        target = network()(x).argmax(1)
    options = {"internal_batch_size": 2}
    boundary = find_boundary(model, x, target, **options)
    samples = FeatureSuppression(model).attribute(
        x, target, n_samples=3, generator=torch.Generator().manual_seed(1), **options
    )
    return {
        "points": boundary.points,
        "distances": boundary.distances,
        "at the boundary": BoundarySaliency(model).attribute(x, target, **options),
        "of samples": samples,
        "bands": SpectralShapley(model).attribute(x, target, num_bands=3, perturbations_per_eval=2),
    }


if __name__ == "__main__":
    # Waiting for another process is an error soon, where it would last for half an hour.
    dist.init_process_group("gloo", timeout=timedelta(seconds=20))
    rank = dist.get_rank()
    model = nn.parallel.DistributedDataParallel(network()).eval()
    torch.save(explain(model, images(rank)), f"{sys.argv[1]}.{rank}")
    dist.barrier()
    os._exit(0)  # leaving the group can hang in older releases of PyTorch
