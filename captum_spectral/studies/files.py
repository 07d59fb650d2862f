"""Results on disk: doubts before the computation, whole files or none after it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path

__all__ = ["check_file", "check_folder", "file_name", "make_folder", "remove_left_over", "write"]

_LONGEST = 150  # letters of a name

_UNFINISHED = (
    r"\.[a-z0-9_]{8}"  # what tempfile puts behind the name of a file that is not whole yet
)


def file_name(name: str) -> str:
    """Return a name of letters that any file system takes, another one for every name."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST].lstrip(".")
    if plain == name == name.lower():
        return plain
    # Also where only the case differs, which some file systems do not see.
    return f"{plain}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, and see that files can be made in it.

    Raises:
        OSError: It cannot be; the message names the folder and the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder} cannot be made: {error.strerror or error}") from error
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """See that files can be made in a folder.

    Raises:
        OSError: They cannot; the message names the folder and the reason.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise NotADirectoryError(f"nothing can be written in {folder}: it {what}")
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"nothing can be written in {folder}: {error.strerror or error}") from error


def check_file(path: Path) -> None:
    """See that a file can be written: in its folder, or where it is a pipe or a device, into it.

    Raises:
        OSError: It cannot; the message names the file or its folder and the reason.
    """
    if not _is_stream(path):
        check_folder((path.resolve() if path.is_symlink() else path).parent)
    elif not os.access(path, os.W_OK):
        raise PermissionError(f"{path} cannot be written")


def write(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for half of it.

    A link goes on to lead where it led; a pipe or a device gets the content.
    """
    try:
        if _is_stream(path):
            with path.open("ab") as stream:
                stream.write(content)
            return
        target = path.resolve()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # or a power cut may leave the name and no content
            os.chmod(name, 0o666 & ~_umask())  # mkstemp lets nobody else read
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def remove_left_over(path: Path) -> None:
    """Remove what a process that was killed in :func:`write` has left beside this one file."""
    target = path.resolve()
    unfinished = re.compile(re.escape(f".{target.name}") + _UNFINISHED)
    for left in target.parent.iterdir():
        if unfinished.fullmatch(left.name) and left.is_file() and not left.is_symlink():
            left.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Return whether a path is something to write into, as /dev/stdout is, also when redirected."""
    absolute = os.path.abspath(path)
    return absolute.startswith(("/dev/std", "/dev/fd/", "/proc/")) or (
        path.exists() and not path.is_file()
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
