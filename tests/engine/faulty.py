"""A model whose calls fail, and the ways in which memory runs out."""

import torch
from torch import nn


def real_allocation_failure():
    torch.empty(2**55)  # fails at once on any machine


def cuda_allocation_failure():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Faulty(nn.Module):
    """Fails before some calls, and counts the rows that went through."""

    def __init__(self, model, fails, fault):
        super().__init__()
        self.model, self.fails, self.fault, self.calls, self.rows = model, fails, fault, 0, 0
        self.eval()

    def forward(self, x, *args):
        self.calls += 1
        if self.fails(self.calls, len(x)):
            self.fault()
        self.rows += len(x)
        return self.model(x, *args)
