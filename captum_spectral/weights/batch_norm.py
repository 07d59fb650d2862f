"""Statistics of batch norms estimated anew: the cheapest repair of rounded weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from captum_spectral._captum import progress_bar
from captum_spectral.weights._layers import is_lazy
from captum_spectral.weights.calibration import Calibration, Runner, batches_of
from captum_spectral.weights.changes import module_of
from captum_spectral.weights.rounding import RoundedWeights

__all__ = ["batch_norms", "recalibrate_batch_norm"]

_TOGETHER = 32  # images in a forward pass, at most


@torch.no_grad()
def recalibrate_batch_norm(
    model: nn.Module | RoundedWeights, loader: Calibration, show_progress: bool = False
) -> nn.Module:
    """Return a copy of a model whose batch norms have the statistics of some images.

    Rounded weights move the mean and the scale of what they give, which batch norms go on to
    normalise by the statistics of the model before. Estimating these anew repairs much of that,
    without labels, training or a single further number: what adapters are worth is to be seen
    beside it. Statistics are the mean over all images of those of their batches, whose size they
    depend on a little, as each batch norm sees what those before it make of the same batch. Batch
    norms that the images do not reach keep theirs.

    Args:
        model: With batch norms that keep statistics, or what
            :func:`~captum_spectral.weights.quantize_weights` returned; never changed.
        loader: Images ``(B, ...)``, taken in equal parts of at most 32, or batches of them, alone
            or first in a tuple.
        show_progress: Show a progress bar, in model rows. Default: False

    Returns:
        The copy, in the modes of the model.

    Raises:
        TypeError: A model that is neither, batches of another kind.
        ValueError: No batch norm with statistics, a model in training mode or without weights yet,
            images that are not finite or none at all, a batch that has one value per channel, or
            statistics that overflow.

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
    given = module_of(model, "model")
    for name, module in given.named_modules():
        if is_lazy(module):
            raise ValueError(
                f"{name!r} of model has no weights yet; run one batch through it first"
            )
    copied = copy.deepcopy(given)
    norms = batch_norms(copied)
    if not norms:
        raise ValueError("model must hold a batch norm with running statistics, and holds none")
    run = Runner(copied, "model")
    means = [_Mean(name, norm) for name, norm in norms.items()]
    parts: Any = loader
    if isinstance(loader, Tensor) and loader.dim() and len(loader):
        parts = loader.tensor_split(-(-len(loader) // _TOGETHER))  # none of one image, as a rest is
    with progress_bar(show_progress, "Batch norms", None) as bar:
        for x, _ in batches_of(parts, "loader", run.device):
            run(x)
            bar.update(len(x))
    for mean in means:
        mean.end()
    return copied


def batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch norms of a model that have running statistics, by name."""
    return {
        name: norm
        for name, norm in model.named_modules()
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None
    }


class _Mean:
    """Has a batch norm average the statistics of its calls, each by how many values it had.

    Args:
        name: Of the batch norm, for errors.
        norm: Starts anew with its first call.
    """

    def __init__(self, name: str, norm: _BatchNorm) -> None:
        self._name, self._norm, self._momentum = name, norm, norm.momentum
        self._seen = 0
        self._handle = norm.register_forward_pre_hook(self._before, with_kwargs=True)
        norm.training = True

    def _before(self, norm: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x: Tensor = args[0] if args else kwargs["input"]
        count = x.numel() // x.shape[1]
        if count < 2:
            raise ValueError(
                f"loader has a batch of one image, of which the batch norm {self._name!r} is given "
                "one value per channel; give two images or more at a time (drop_last=True)"
            )
        if not self._seen:
            norm.reset_running_stats()
        self._seen += count
        norm.momentum = count / self._seen

    def end(self) -> None:
        """Leave the batch norm in the state it came in, but for its statistics."""
        self._handle.remove()
        self._norm.momentum, self._norm.training = self._momentum, False
        for statistic in (self._norm.running_mean, self._norm.running_var):
            if statistic is not None and not statistic.isfinite().all():
                raise ValueError(
                    f"the statistics of the batch norm {self._name!r} on loader are not finite: "
                    f"its inputs are too large for {statistic.dtype}"
                )
