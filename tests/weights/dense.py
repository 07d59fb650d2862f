"""Convolutions as dense matrices on a ring, written out by loops over outputs and taps."""

import itertools
import math

import numpy as np
import torch
from torch import nn

KINDS = {
    (1, False): nn.Conv1d, (2, False): nn.Conv2d, (3, False): nn.Conv3d,
    (1, True): nn.ConvTranspose1d, (2, True): nn.ConvTranspose2d, (3, True): nn.ConvTranspose3d,
}  # fmt: skip


def convolution(channels, kernel, transposed=False, seed=0, **options):
    """A layer of float64 with random weights; `channels` are those in and out."""
    torch.manual_seed(seed)
    return KINDS[len(kernel), transposed](*channels, kernel, bias=False, **options).double()


def dense(layer, size):
    """The matrix of a layer with circular padding, from input (C, *size) to output, flattened."""
    if layer.transposed:
        fine = [n * s for n, s in zip(size, layer.stride, strict=True)]
        return _dense(layer.weight, layer, fine).T
    return _dense(layer.weight, layer, size)


def _dense(weight, layer, fine):
    w = weight.detach().numpy()
    coarse = [n // s for n, s in zip(fine, layer.stride, strict=True)]
    groups, rows, columns = layer.groups, w.shape[0], w.shape[1] * layer.groups
    matrix = np.zeros((rows, *coarse, columns, *fine))
    for row in range(rows):
        group = row // (rows // groups)
        for y in itertools.product(*map(range, coarse)):
            for tap in itertools.product(*map(range, w.shape[2:])):
                x = tuple(
                    (s * i + d * a) % n
                    for i, a, s, d, n in zip(
                        y, tap, layer.stride, layer.dilation, fine, strict=True
                    )
                )
                for j in range(w.shape[1]):
                    column = group * w.shape[1] + j
                    matrix[(row, *y, column, *x)] += w[(row, j, *tap)]
    return matrix.reshape(rows * math.prod(coarse), columns * math.prod(fine))


def waves(inside, channels):
    """An orthonormal basis of the signals (C, *size) whose frequencies are `inside`, as columns."""
    size = inside.shape
    basis = []
    for channel in range(channels):
        for k in np.argwhere(inside):
            spectrum = np.zeros((channels, *size), complex)
            spectrum[(channel, *k)] = math.sqrt(math.prod(size))
            basis.append(np.fft.ifftn(spectrum, axes=range(1, len(size) + 1)).ravel())
    return np.stack(basis, 1)
