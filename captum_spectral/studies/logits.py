"""The logits of a user's model for one input, and every failure of it as one clear error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from captum_spectral._engine.outputs import class_logits, looks_like, tensor_of
from captum_spectral._engine.shortcuts import is_for_both_formats
from captum_spectral.sources.models import LoadedModel

__all__ = ["are_usable", "failures_of", "fast_format", "logits_of"]


# Of the largest logit. One input alone takes the same way twice, but for what a device adds up in
# no order; in a batch it takes another, whose rounding in half precision is larger.
_ROUNDING = {True: 1e-4, False: 2e-2}


def logits_of(model: LoadedModel, x: Tensor) -> Tensor:
    """Return what a model makes of one input, ``(1, classes)`` of at least two.

    Raises:
        ValueError: It fails, gives something else, or something else each time; probabilities.

    Cost: 2 model rows.
    """
    # A copy: a first layer may work in place.
    with failures_of(model, x), torch.no_grad():
        outputs = tensor_of(model.module(x.clone()))
        logits, again = class_logits(outputs), class_logits(model.module(x.clone()))
    if isinstance(logits, Tensor) and logits.dim() == 2 and len(logits) == 1:
        precise = torch.finfo(logits.dtype).eps < 1e-4 if logits.is_floating_point() else True
        check_repeats(model, logits, again, alone=precise)
        if logits.is_floating_point() and looks_like(outputs) == "probabilities":
            raise ValueError(
                f"{model.name} gives probabilities (numbers that are not negative and sum to 1), "
                "and logits are needed; leave its softmax out"
            )
        return logits
    got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
    raise ValueError(
        f"{model.name} must give one logit per class, (B, classes), and gives outputs of {got} "
        "for one image"
    )


def fast_format(model: LoadedModel, x: Tensor, logits: Tensor) -> torch.memory_format:
    """Return the memory format for the inputs of many passes.

    On a CPU convolutions are faster where the channels of a pixel lie together, if their backend
    is oneDNN. No clock decides it: every run and every process has to decide alike.

    Args:
        model: The classifier.
        x: ``(1, C, H, W)`` an input.
        logits: ``(1, classes)`` what :func:`logits_of` gave for it.

    Cost: 1 model row.
    """
    module, plain, other = model.module, torch.contiguous_format, torch.channels_last
    parts = module.modules() if isinstance(module, nn.Module) and x.dim() == 4 else ()
    here = x.device.type == "cpu" and torch.backends.mkldnn.is_available()
    if not here or not is_for_both_formats(parts, x.device):
        return plain
    try:
        with torch.no_grad():
            found = class_logits(module(x.clone(memory_format=other)))
        check_repeats(model, logits, found)
    except Exception:  # a view of what lies otherwise, for one
        return plain
    return other


def are_usable(logits: Tensor) -> bool:
    """Say whether logits tell classes apart: numbers, or minus infinity for classes ruled out."""
    return not bool(logits.isnan().any()) and bool(logits.amax().isfinite())


def check_repeats(model: LoadedModel, first: Tensor, again: Tensor, alone: bool = False) -> None:
    """Raise if a model gives other outputs for the same input the second time, beyond rounding.

    Args:
        model: The classifier.
        first: ``(1, classes)`` logits.
        again: ``(1, classes)`` logits.
        alone: Whether both are of a batch of one, in single precision or better. Default: False

    Raises:
        ValueError: They differ.
    """
    finite = first[first.isfinite()].abs()
    change = (again - first).nan_to_num(0.0, 0.0, 0.0).abs()  # infinite where both are, as a rule
    if len(finite) and float(change.max()) > _ROUNDING[alone] * float(finite.max()):
        at = int(change.argmax())
        raise ValueError(
            f"{model.name} gives other outputs for the same input ({float(first[0, at]):.6g} and "
            f"{float(again[0, at]):.6g}): it is random, also in eval mode, and so would the values "
            "be; look for dropout without training=self.training, or noise"
        )


@contextlib.contextmanager
def failures_of(model: LoadedModel, x: Tensor) -> Iterator[None]:
    """Turn whatever a model fails with into one clear error."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"{model.name} fails on an input of shape {tuple(x.shape)} with "
            f"{type(error).__name__}: {reason}"
        ) from error
