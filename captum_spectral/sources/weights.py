"""Read weights from files as tensors only; nothing in a file is ever executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torch.nn.parameter import is_lazy

from captum_spectral.sources.parameters import drop_unused_heads, shared_names

__all__ = ["load_weights", "read_state_dict"]

_NAMED = 3  # how many keys an error names before it counts the rest


def read_state_dict(path: str | os.PathLike[str]) -> OrderedDict[str, Tensor]:
    """Read the tensors of a checkpoint, on the CPU.

    Args:
        path: A ``.safetensors`` file, or one written by ``torch.save``: a state dict or
            ``{"state_dict": a state dict, ...}``. A ``module.`` that ``DataParallel`` put before
            every key is taken off.

    Returns:
        Key to tensor, with the versions of the modules (``_metadata``) if the file has them, as in
        ``Module.state_dict()``.

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
        head = file.read(2)
    if not head:
        raise ValueError(f"{path} cannot be read as weights: it is empty")
    content: object
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        elif _is_torchscript(path):
            raise ValueError(
                "it is a program (TorchScript); save model.state_dict() with torch.save"
            )
        elif head[:1] == b"\x80" and head[1:] != b"\x02":  # torch would warn, then refuse it
            raise pickle.UnpicklingError
        else:
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
    state: OrderedDict[str, Tensor] = OrderedDict(content)
    if _are_versions(versions := getattr(content, "_metadata", None)):
        state._metadata = versions  # type: ignore[attr-defined]
    if state and all(key.startswith("module.") for key in state):
        consume_prefix_in_state_dict_if_present(state, "module.")
    return state


def load_weights(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict into a network, in place; if any of it does not fit, raise and name it.

    Two differences are none. Tensors that the network shares under several names may be there under
    one of them, as ``safetensors.torch.save_model`` writes them. Auxiliary heads of torchvision's
    GoogLeNet and Inception, which only training uses, may be there or not; a network without
    weights for its heads loses them.

    Args:
        module: The network. After an error it may hold a part of the weights.
        state: Key to tensor. Without ``_metadata`` it is taken for one of the present versions of
            the modules, and if it does not fit so, for one of before there were versions.
        source: Name of the state dict in an error, e.g. the path of its file.

    Raises:
        ValueError: Keys are missing, unexpected or of another shape, or differ though the network
            shares them; the message names them.

    Example::

        >>> load_weights(nn.Linear(3, 2), {"weight": torch.zeros(2, 3)}, "half.pt")
        Traceback (most recent call last):
        ...
        ValueError: half.pt does not fit the model Linear: missing bias
    """
    given = OrderedDict(state)
    unused = drop_unused_heads(module, given)
    given = OrderedDict((key, x) for key, x in given.items() if not key.startswith(unused))
    own = module.state_dict()
    versions = getattr(state, "_metadata", None)
    attempts = [versions] if versions is not None else [getattr(own, "_metadata", None), None]
    reasons: list[str] = []
    for each in attempts:
        if not (reason := _load(module, given, own, each)):
            return
        reasons.append(reason)
    raise ValueError(f"{source} does not fit the model {type(module).__name__}: {reasons[0]}")


def _load(
    module: nn.Module, state: Mapping[str, Tensor], own: Mapping[str, object], versions: object
) -> str:
    """Load a state dict of some versions; return what does not fit, "" if all does."""
    given = OrderedDict(state)
    if versions is not None:
        given._metadata = versions  # type: ignore[attr-defined]
    shared = shared_names(own)
    try:
        missing, unexpected = module.load_state_dict(given, strict=False)
        failure = ""
    except Exception as error:  # modules have their own rules, for older formats and shapes
        missing = [key for key in own if key not in state]
        unexpected = [key for key in state if key not in own]
        failure = " ".join(str(error).split())
    missing = [key for key in missing if not any(name in state for name in shared.get(key, ()))]
    torn = [
        f"{key} and {name}"
        for key, names in shared.items()
        for name in names
        if key < name
        and key in state
        and name in state
        and state[key].shape == state[name].shape
        and not torch.equal(state[key], state[name].to(state[key].dtype))
    ]
    complaints = [
        f"{what} {_few(keys)}"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("other shape:", _other_shapes(state, own)),
            ("different, though the model has one tensor for both:", torn),
        )
        if keys
    ]
    return "; ".join(complaints) or failure


def _other_shapes(state: Mapping[str, Tensor], own: Mapping[str, object]) -> list[str]:
    """Name the tensors of another shape than the model's."""
    return [
        f"{key} of shape {tuple(value.shape)} (the model's is {tuple(mine.shape)})"
        for key, value in state.items()
        if isinstance(mine := own.get(key), Tensor)
        and not is_lazy(mine)
        and mine.shape != value.shape
    ]


def _is_torchscript(path: Path) -> bool:
    """Return whether a file is an archive of ``torch.jit.save``, of which ``torch.load`` warns."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _are_versions(content: object) -> bool:
    """Return whether ``content`` is of the form of a state dict's ``_metadata``."""
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(entry, Mapping) for name, entry in content.items()
    )


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
