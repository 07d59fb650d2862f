"""Fingerprints of a run: all that its numbers depend on, to tell one run from another."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

import captum_spectral
from captum_spectral.sources.digests import digest_of

__all__ = ["check_same", "differences", "digest_of_module", "some_of", "versions"]


def versions() -> dict[str, str]:
    """Return the releases that may change a number."""
    others = {name: version(name) for name in ("torch", "torchvision", "pillow")}
    return {"captum_spectral": captum_spectral.__version__, **others}


def check_same(there: dict[str, Any], here: dict[str, Any], where: str) -> None:
    """Refuse to go on with the state of another run.

    Raises:
        ValueError: Something differs; the message names it.
    """
    if different := differences(there, here):
        raise ValueError(f"{where} is of another run and cannot be continued ({different})")


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Say in which entries two fingerprints differ; "" where they are of the same."""
    keys = [key for key in {**there, **here} if not _agree(there.get(key), here.get(key))]
    return ", ".join(f"{k}: {there.get(k)} there, {here.get(k)} here" for k in keys)


def _agree(there: Any, here: Any) -> bool:
    """Compare; lists of numbers up to what another device makes of them."""
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        largest = max(map(abs, [*there, *here]), default=0.0)
        return all(abs(a - b) <= 1e-2 * largest for a, b in zip(there, here, strict=True))
    return bool(there == here)


def some_of(logits: Tensor) -> list[float]:
    """Return a few outputs, which tell models apart whose weights are the same, or not known."""
    flat = logits.detach().to("cpu", torch.float64).flatten()
    return [float(x) for x in flat[:: max(1, len(flat) // 16)]]


def digest_of_module(module: Callable[..., Any]) -> str | None:
    """Return a digest of the weights, None where a function has them somewhere else."""
    if not isinstance(module, nn.Module):
        return None
    state = module.state_dict()
    return digest_of([x for _, x in sorted(state.items()) if isinstance(x, Tensor)])
