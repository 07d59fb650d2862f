"""Fingerprints of a run: all that its numbers depend on, to tell one run from another."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

import captum_spectral
from captum_spectral.sources.contents import contents_of
from captum_spectral.sources.digests import digest_of
from captum_spectral.sources.models import LoadedModel

__all__ = ["check_same", "check_seen", "differences", "fingerprint_of", "identity_of", "versions"]

_ELSEWHERE = 1e-4  # of the largest output: what another device makes of the same numbers
_SHOWN = 8  # entries of a list of numbers in a message


def versions() -> dict[str, str]:
    """Return the releases that may change a number."""
    others = {name: version(name) for name in ("torch", "torchvision", "pillow")}
    return {"captum_spectral": captum_spectral.__version__, **others}


def fingerprint_of(model: LoadedModel, x: Tensor, logits: Tensor) -> dict[str, Any]:
    """Return what tells a model from others, in JSON types.

    Everything that it and its transform hold, and what it makes of one picture: to the last bit
    where the same computation runs in the same place, to rounding elsewhere.

    Args:
        model: The classifier.
        x: ``(1, C, H, W)`` a prepared picture.
        logits: ``(1, classes)`` its outputs.
    """
    own, transform = identity_of(model.module, logits), contents_of(model.transform)
    return {
        "model": model.name,
        **own,
        "transform": f"{transform.tensors} {transform.rest}",
        "prepared picture": digest_of([x]),
        "unseen": [*own["unseen"], *transform.unseen],
    }


def identity_of(model: Callable[..., Any], logits: Tensor) -> dict[str, Any]:
    """Return what tells a model without a transform from others, in JSON types.

    Args:
        model: A module or function.
        logits: Its outputs for some input.
    """
    held = contents_of(model)
    return {
        "weights": held.tensors,
        "attributes or code of the model": held.rest,
        "outputs": _some_of(logits),
        "all outputs": digest_of([logits]),
        "place": _place(logits.device),
        "unseen": list(held.unseen),
    }


def check_same(there: dict[str, Any], here: dict[str, Any], where: str) -> None:
    """Refuse to go on with the state of another run.

    Raises:
        ValueError: Something differs; the message names it.
    """
    if different := differences(there, here):
        raise ValueError(f"{where} is of another run and cannot be continued ({different})")


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Say in which entries two fingerprints differ; "" where they are of the same."""
    same_place = there.get("place") == here.get("place")
    left_out = {"place", "unseen"} if same_place else {"place", "unseen", "all outputs"}
    keys = [
        key
        for key in {**there, **here}
        if key not in left_out and not _agree(there.get(key), here.get(key), exactly=same_place)
    ]
    return ", ".join(
        f"{key}: {_shown(there.get(key))} there, {_shown(here.get(key))} here" for key in keys
    )


def check_seen(fingerprint: dict[str, Any], where: str) -> None:
    """Refuse to go on where two models could differ in what no fingerprint sees.

    Raises:
        ValueError: The model holds such things; the message names them.
    """
    if unseen := fingerprint.get("unseen"):
        raise ValueError(
            f"{where} cannot be continued: {fingerprint['model']} holds {', '.join(unseen[:3])}, "
            "which cannot be compared, so that nothing tells whether it still is the model that "
            "this state is of; start from the beginning"
        )


def _agree(there: Any, here: Any, exactly: bool) -> bool:
    """Compare; lists of numbers up to what another device makes of them, unless exactly."""
    if exactly or not (isinstance(there, list) and isinstance(here, list)):
        return bool(there == here)
    if len(there) != len(here):
        return False
    finite = [abs(x) for x in (*there, *here) if math.isfinite(x)]
    within = _ELSEWHERE * max(finite, default=0.0)
    return all(a == b or abs(a - b) <= within for a, b in zip(there, here, strict=True))


def _some_of(logits: Tensor) -> list[float]:
    """Return a few outputs, which tell models apart on other devices, too."""
    flat = logits.detach().to("cpu", torch.float64).flatten()
    return [float(x) for x in flat[:: max(1, len(flat) // 16)]]


def _place(device: torch.device) -> str:
    """Return words for all that decides the last bits of a result, of one program."""
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        kind = torch.backends.cpu.get_cpu_capability()
        return f"cpu, {kind}, {torch.get_num_threads()} threads"
    return device.type


def _shown(x: Any) -> Any:
    """Shorten a list for a message."""
    return [*x[:_SHOWN], ...] if isinstance(x, list) and len(x) > _SHOWN else x
