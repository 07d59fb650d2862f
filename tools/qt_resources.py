"""Read the files in a Qt resource file (``.rcc``), which is one archive with a tree of names."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["read_resources"]

_COMPRESSED, _FOLDER, _ZSTANDARD = 1, 2, 4


def read_resources(path: Path) -> dict[str, bytes]:
    """Return name to content of every file in a Qt resource file.

    The header is ``qres``, the version and the offsets of tree, data and names. A node of the tree
    is the offset of its name, flags, and for a folder the number and the index of its children,
    for a file its language (4 bytes, not read) and the offset of its data; since version 2 a time
    follows. All numbers are big-endian.

    Raises:
        ValueError: It is no such file, or holds a file that is compressed with Zstandard.
    """
    content = path.read_bytes()
    if content[:4] != b"qres":
        raise ValueError(f"{path} is no Qt resource file: it begins with {content[:4]!r}")
    version, tree, data, names = struct.unpack_from(">4I", content, 4)
    node_size = 22 if version >= 2 else 14

    def name_at(offset: int) -> str:
        (length,) = struct.unpack_from(">H", content, names + offset)
        start = names + offset + 6  # after the length and a hash
        return content[start : start + 2 * length].decode("utf-16-be")

    def data_at(name: str, flags: int, offset: int) -> bytes:
        (length,) = struct.unpack_from(">I", content, data + offset)
        start = data + offset + 4
        held = content[start : start + length]
        if flags & _ZSTANDARD:
            raise ValueError(f"{path}: {name} is compressed with Zstandard, which is not read here")
        return zlib.decompress(held[4:]) if flags & _COMPRESSED else held

    def files_below(index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        node = tree + index * node_size
        name_offset, flags = struct.unpack_from(">IH", content, node)
        name = folder + name_at(name_offset) if index else ""
        if flags & _FOLDER:
            count, first = struct.unpack_from(">2I", content, node + 6)
            for child in range(first, first + count):
                yield from files_below(child, f"{name}/" if index else "")
        else:
            (offset,) = struct.unpack_from(">I", content, node + 10)
            yield name, data_at(name, flags, offset)

    return dict(files_below(0, ""))
