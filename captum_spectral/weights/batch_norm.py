"""Statistics of batch norms estimated anew: the cheapest repair of rounded weights."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from captum_spectral._captum import progress_bar
from captum_spectral.weights.calibration import Calibration, Runner, batches_of
from captum_spectral.weights.changes import module_of
from captum_spectral.weights.rounding import RoundedWeights

__all__ = ["batch_norms", "recalibrate_batch_norm"]


@torch.no_grad()
def recalibrate_batch_norm(
    model: nn.Module | RoundedWeights, loader: Calibration, show_progress: bool = False
) -> nn.Module:
    """Return a copy of a model whose batch norms have the statistics of some images.

    Rounded weights move the mean and the scale of what they give, which batch norms go on to
    normalise by the statistics of the model before. Estimating these anew repairs much of that,
    without labels, training or a single further number: what adapters are worth is to be seen
    beside it. Statistics are the plain mean of those of the batches, whose size they depend on a
    little, as each batch norm sees what those before it make of the same batch.

    Args:
        model: With batch norms that keep statistics, or what
            :func:`~captum_spectral.weights.quantize_weights` returned; never changed.
        loader: Images ``(B, ...)``, taken 32 at a time, or batches of them, alone or first in a
            tuple.
        show_progress: Show a progress bar, in model rows. Default: False

    Returns:
        The copy, in the modes of the model.

    Raises:
        TypeError: A model that is neither, batches of another kind.
        ValueError: No batch norm with statistics, a model in training mode, images that are not
            finite or none at all.

    Cost: a model row per image.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import recalibrate_batch_norm
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
        >>> images = torch.rand(64, 3, 8, 8)
        >>> new = recalibrate_batch_norm(model, images)
        >>> torch.allclose(new(images).mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
        True
    """
    copied = copy.deepcopy(module_of(model, "model"))
    norms = batch_norms(copied)
    if not norms:
        raise ValueError("model must hold a batch norm with running statistics, and holds none")
    run = Runner(copied, "model")
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.training = True
    with progress_bar(show_progress, "Batch norms", None) as bar:
        for x, _ in batches_of(loader, "loader", run.device):
            run(x)
            bar.update(len(x))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.training = False
    return copied


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of a model that have running statistics."""
    return [
        norm
        for norm in model.modules()
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None
    ]
