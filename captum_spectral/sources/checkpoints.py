"""Saved state of a long computation: one file of tensors and JSON, whole or not there at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from captum_spectral.sources.digests import digest_of

__all__ = ["Checkpoint", "read_checkpoint", "to_bytes"]

_FORMAT = "captum_spectral checkpoint 1"


class Checkpoint(NamedTuple):
    """The content of a checkpoint.

    Attributes:
        fingerprint: What the computation is of. One with another fingerprint is another one.
        progress: How far it is, in JSON types.
        tensors: What is computed so far.
    """

    fingerprint: dict[str, Any]
    progress: dict[str, Any]
    tensors: dict[str, Tensor]


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as the content of a safetensors file.

    The JSON part is in the header of the file, with a digest over everything.

    Args:
        checkpoint: What to save; tensors on the CPU.

    Returns:
        The content.

    Cost: no model rows.

    Example::

        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp(), "run.safetensors")
        >>> _ = path.write_bytes(
        ...     to_bytes(Checkpoint({"seed": 0}, {"done": 3}, {"sum": torch.ones(2)})))
        >>> read_checkpoint(path).progress
        {'done': 3}
    """
    tensors = {name: x.contiguous() for name, x in checkpoint.tensors.items()}
    text = json.dumps([checkpoint.fingerprint, checkpoint.progress])
    header = {"format": _FORMAT, "content": text, "digest": _digest(text, tensors)}
    return save(tensors, metadata=header)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint back.

    Args:
        path: The file.

    Returns:
        The checkpoint.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is damaged or something else.

    Cost: no model rows.

    Example::

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "run.safetensors")
        >>> _ = path.write_bytes(b"half of")
        >>> read_checkpoint(path)
        Traceback (most recent call last):
        ...
        ValueError: ...run.safetensors is damaged or no checkpoint: ...
    """
    content = path.read_bytes()  # at once, for a run that goes on replaces the file
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    if header.get("format") != _FORMAT:
        raise _damaged(path, f"its format is {header.get('format')!r}, not {_FORMAT!r}")
    text = header.get("content", "")
    if header.get("digest") != _digest(text, tensors):
        raise _damaged(path, "its content does not match its digest")
    fingerprint, progress = json.loads(text)
    return Checkpoint(fingerprint, progress, tensors)


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path} is damaged or no checkpoint: {reason}; move it away to start from the beginning"
    )


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    names = sorted(tensors)
    return digest_of((tensors[name] for name in names), f"{names} {text}")
