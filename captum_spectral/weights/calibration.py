"""Run calibration images through a model, and see what its layers are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.data import Dataset

from captum_spectral._arguments import format_inputs
from captum_spectral._captum import progress_bar
from captum_spectral._engine import loaders
from captum_spectral._engine.forward import Forward, is_random
from captum_spectral._engine.outputs import class_logits
from captum_spectral.weights._pairs import like

__all__ = ["Calibration", "Runner", "batches_of", "second_moments"]

# Images, or batches of them in any form that a loader gives.
Calibration = Tensor | Iterable[Any]

_MOST_LISTED = 5  # of layers, in a message
_PATCH_BYTES = 2**26  # of the patches that are looked at together


class Runner:
    """Runs a model, or the model on other weights, on batches of any length.

    Args:
        model: The model.
        argument: Its name in errors.

    Raises:
        ValueError: It is in training mode: its batch norms would learn from the batches.
    """

    def __init__(self, model: nn.Module, argument: str) -> None:
        if is_random(model):
            raise ValueError(
                f"{argument}, or a part of it, is in training mode: dropout and batch statistics "
                "make its values random; call .eval() first"
            )
        first = next(iter((*model.parameters(), *model.buffers())), torch.zeros(()))
        self.device = first.device
        self._forward = Forward(model, 1, self.device)

    def __call__(self, x: Tensor, instead: Callable[..., Any] | None = None) -> Any:
        """Return the outputs of a batch ``(B, ...)``."""
        zeros = torch.zeros(len(x), dtype=torch.long)
        return self._forward.outputs((x,), zeros.to, instead)

    def logits(
        self, x: Tensor, whose: str = "models must give", instead: Callable[..., Any] | None = None
    ) -> Tensor:
        """Return the logits ``(B, classes)`` of a batch; a single logit is that of two classes.

        Raises:
            ValueError: They are of another shape, or not finite.
        """
        outputs = class_logits(self(x, instead))
        if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != len(x):
            got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(f"{whose} logits ({len(x)}, classes), got {got}")
        if not outputs.isfinite().all():
            raise ValueError(f"{whose} logits that are finite")
        return outputs


def batches_of(
    calibration: Calibration, argument: str, device: torch.device
) -> Iterator[tuple[Tensor, Any]]:
    """Yield batches of images, checked and on the device, with the labels beside them or None.

    Raises:
        TypeError: Anything but images or batches of them.
        ValueError: Images that are not finite, none at all.
    """
    if not isinstance(calibration, Iterable | Dataset):
        raise TypeError(
            f"{argument} must be images (B, ...) or a loader of them, got "
            f"{type(calibration).__name__}"
        )
    given: Iterable[Any] = calibration.split(32) if isinstance(calibration, Tensor) else calibration
    empty = True
    for batch in loaders.batches_of(given, argument=argument):
        (x,) = format_inputs(batch.images, argument)
        empty = False
        yield x.to(device), batch.labels
    if empty:
        raise ValueError(f"{argument} must hold at least one image, and is empty")


@torch.no_grad()
def second_moments(
    model: nn.Module, layers: dict[str, nn.Module], calibration: Calibration, show_progress: bool
) -> dict[str, Tensor]:
    r"""Return the second moments of what layers multiply their weights with.

    For a convolution the patches of its input, for a linear layer its input: :math:`C_g = E x x^T`
    of each group, ``(G, q, q)`` float64 on the CPU with ``q`` the inputs of one output.

    Raises:
        TypeError, ValueError: As :func:`batches_of`, and fewer patches than a patch is long.
    """
    run = Runner(model, "model")
    seen = {name: _Moments(layer) for name, layer in layers.items()}
    handles = [
        layer.register_forward_pre_hook(seen[name].add, with_kwargs=True)
        for name, layer in layers.items()
    ]
    images = 0
    try:
        with progress_bar(show_progress, "Calibration", None) as bar:
            for x, _ in batches_of(calibration, "calibration", run.device):
                run(x)
                images += len(x)
                bar.update(len(x))
    finally:
        for handle in handles:
            handle.remove()
    for name, moments in seen.items():
        if not moments.count:
            raise ValueError(f"the layer {name!r} did not run on the calibration images; skip it")
    _check_enough(seen, images)
    for name, moments in seen.items():
        if not moments.sums.isfinite().all():
            raise ValueError(f"the inputs of the layer {name!r} are not finite on calibration")
    return {name: moments.sums / moments.count for name, moments in seen.items()}


def _check_enough(seen: dict[str, _Moments], images: int) -> None:
    """Check that every layer was given as many patches as a patch is long."""
    short = {
        name: (moments.count, moments.size)
        for name, moments in seen.items()
        if moments.count < moments.size
    }
    if short:
        listed = "; ".join(
            f"{name!r} has {count} patches, of {size} numbers each"
            for name, (count, size) in list(short.items())[:_MOST_LISTED]
        )
        more = f"; and {len(short) - _MOST_LISTED} more" if len(short) > _MOST_LISTED else ""
        enough = max(-(-size * images // count) for count, size in short.values())
        raise ValueError(
            f"calibration is too small for {len(short)} of {len(seen)} layers: with its {images} "
            f"images {listed}{more}. Give {enough} images of this size, which are enough for all; "
            "or leave these layers out with skip=, which takes patterns such as 'layer3*'; or use "
            "metric='plain'"
        )


class _Moments:
    """Adds up the products of the patches that one layer is given."""

    def __init__(self, layer: nn.Module) -> None:
        weight: Any = layer.weight
        self._groups = layer.groups if isinstance(layer, _ConvNd) else 1
        self._patches: nn.Module | None = None
        if isinstance(layer, _ConvNd) and not layer.transposed:
            self._patches = _patches_of(layer)
            self.size = weight[0].numel()
        else:  # a transposed convolution spreads each place of its input by itself
            self.size = weight.shape[0] // self._groups
            if isinstance(layer, nn.Linear):
                self.size = weight.shape[1]
        self.sums = torch.zeros(self._groups, self.size, self.size, dtype=torch.float64)
        self.count = 0

    def add(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take in the input of one call; a hook."""
        x: Tensor = args[0] if args else kwargs["input"]
        if isinstance(layer, _ConvNd):
            x = x if x.dim() == len(layer.kernel_size) + 2 else x[None]
        else:
            x = x.reshape(-1, x.shape[-1])
        # As many rows of float64 patches as fit, roughly: a patch for each place of the input.
        places = x[0].numel() // x.shape[1]
        at_once = max(1, _PATCH_BYTES // (8 * places * self.size * self._groups))
        for part in x.split(at_once):
            rows = part if self._patches is None else self._patches(part)
            # (B, G, q, places) -> (G, q, B places)
            rows = rows.reshape(len(rows), self._groups, self.size, -1).cpu().double()
            rows = rows.permute(1, 2, 0, 3).flatten(2)
            self.sums += rows @ rows.mT
            self.count += rows.shape[2]


def _patches_of(layer: _ConvNd) -> nn.Module:
    """Return the layer with unit vectors for filters: its outputs are the patches it looks at.

    A copy of the layer pads and strides as the layer does, whatever its class.
    """
    size = layer.weight[0].numel()
    unit = torch.eye(size).reshape(size, *layer.weight.shape[1:])
    patches: nn.Module = like(layer, unit.repeat(layer.groups, *[1] * (layer.weight.dim() - 1)))
    patches.out_channels = layer.groups * size  # type: ignore[assignment]
    return patches
