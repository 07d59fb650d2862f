"""JSON documents: numbers keep all their digits, and NaN, which JSON lacks, becomes null."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["from_nulls", "printable", "to_document", "to_nulls"]


def to_document(content: dict[str, Any]) -> str:
    """Write a JSON document that ends in a newline.

    Raises:
        ValueError: A number that is NaN or infinite; see :func:`to_nulls`.
    """
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def printable(text: str) -> str:
    r"""Return a text in which control characters are escaped, so that none acts on a terminal.

    Example::

        >>> print(printable("a" + chr(27) + "[2J" + chr(10) + "b"))
        a\x1b[2J\nb
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def to_nulls(x: Any) -> Any:
    """Return a tensor, a number, or lists and dicts of any depth, as plain Python, None for NaN.

    Example::

        >>> import torch
        >>> to_nulls(torch.tensor([[1.0, float("nan")]]))
        [[1.0, None]]
    """
    if hasattr(x, "tolist"):  # a tensor; the command line escapes names without torch
        return to_nulls(x.tolist())
    if isinstance(x, list):
        return [to_nulls(y) for y in x]
    if isinstance(x, dict):
        return {key: to_nulls(y) for key, y in x.items()}
    return None if isinstance(x, float) and math.isnan(x) else x


def from_nulls(x: Any) -> Any:
    """Undo :func:`to_nulls` for numbers and lists of them."""
    if isinstance(x, list):
        return [from_nulls(y) for y in x]
    return math.nan if x is None else x
