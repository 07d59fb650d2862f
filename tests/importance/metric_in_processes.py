"""SpectralImportance in one of several processes of ``torchrun``, for each file of data."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import tiny_cnn

from captum_spectral import SpectralImportance

if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank, count = dist.get_rank(), dist.get_world_size()
    for name in sys.argv[1:]:
        images, labels, *groups = torch.load(name, weights_only=True)
        importance = SpectralImportance(tiny_cnn(), num_bands=4, n_samples=1, num_classes=5)
        for start in range(2 * rank, len(images), 2 * count):
            batch = [x[start : start + 2] for x in (images, labels, *groups)]
            importance.update(*batch)
        result = importance.compute()
        own = importance.result().num_examples  # what the sum took in is given back after it
        Path(f"{name}.{rank}.json").write_text(result.to_json())
        Path(f"{name}.{rank}.own").write_text(str(own))
    dist.barrier()
    os._exit(0)  # leaving the group can hang in older releases of PyTorch
