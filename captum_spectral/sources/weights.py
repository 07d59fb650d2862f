"""Read weights from files as tensors only; nothing in a file is ever executed."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

__all__ = ["load_weights", "read_state_dict"]

_NAMED = 3  # how many keys an error names before it counts the rest


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, on the CPU.

    Args:
        path: A ``.safetensors`` file, or one written by ``torch.save``: a state dict or
            ``{"state_dict": a state dict, ...}``. A ``module.`` that ``DataParallel`` put before
            every key is taken off.

    Returns:
        Key to tensor.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is damaged, holds something else, or is a pickle of more than tensors and
            plain values (``torch.load`` runs with ``weights_only=True``, always). The message names
            the file and the reason.

    Example::

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "layer.pt")
        >>> torch.save({"state_dict": nn.Linear(3, 2).state_dict(), "epoch": 7}, path)
        >>> {key: tuple(value.shape) for key, value in read_state_dict(path).items()}
        {'weight': (2, 3), 'bias': (2,)}
    """
    path = Path(path)
    with open(path, "rb") as file:
        if not file.read(1):
            raise ValueError(f"{path} cannot be read as weights: it is empty")
    content: object
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of pickles that it then refuses
                content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise ValueError(f"{path} cannot be read as weights: {_reason(error)}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not _is_state_dict(content):
        raise ValueError(
            f"{path} must hold a state dict (names of parameters and their tensors) or "
            f'{{"state_dict": ...}}, {_what(content)}'
        )
    state = dict(content)
    if state and all(key.startswith("module.") for key in state):
        consume_prefix_in_state_dict_if_present(state, "module.")
    return state


def load_weights(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict into a network, in place; if any of it does not fit, raise and name it.

    Args:
        module: The network.
        state: Key to tensor.
        source: Name of the state dict in an error, e.g. the path of its file.

    Raises:
        ValueError: Keys are missing, unexpected or of another shape; the message names them.

    Example::

        >>> load_weights(nn.Linear(3, 2), {"weight": torch.zeros(2, 3)}, "half.pt")
        Traceback (most recent call last):
        ...
        ValueError: half.pt does not fit the model Linear: missing bias
    """
    own = module.state_dict()
    shapes = [
        f"{key} of shape {tuple(value.shape)} (the model's is {tuple(own[key].shape)})"
        for key, value in state.items()
        if isinstance(own.get(key), Tensor) and own[key].shape != value.shape
    ]
    complaints = [
        f"{what} {_few(keys)}"
        for what, keys in (
            ("missing", [key for key in own if key not in state]),
            ("unexpected", [key for key in state if key not in own]),
            ("other shape:", shapes),
        )
        if keys
    ]
    try:
        module.load_state_dict(state)
    except RuntimeError as error:  # the module decides, because it may know older formats
        reason = "; ".join(complaints) or " ".join(str(error).split())
        raise ValueError(
            f"{source} does not fit the model {type(module).__name__}: {reason}"
        ) from error


def _reason(error: Exception) -> str:
    """Say in one line why a file cannot be read."""
    if isinstance(error, pickle.UnpicklingError):
        return (
            "it holds more than tensors and could run a program when read, which is refused, or it "
            "is damaged; save model.state_dict() with torch.save, or a .safetensors file"
        )
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _is_state_dict(content: Mapping[object, object]) -> bool:
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())


def _what(content: object) -> str:
    """Describe the content of a file that holds no state dict."""
    if not isinstance(content, Mapping):
        return f"got {type(content).__name__}"
    return f"got {type(content).__name__} with the keys {_few([str(key) for key in content])}"


def _few(keys: Sequence[str]) -> str:
    """Name the first few and count the rest."""
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more
