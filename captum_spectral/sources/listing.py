"""Walk through folders and pick the files that are pictures; open none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from captum_spectral.sources.formats import extensions, why_not_listed

__all__ = ["Entry", "Lister"]

# What the commands write beside their figures: a folder with one of these is a report, and its
# figures are no pictures of the data.
_REPORTS = ("importance.json", "comparison.json", "layers.json", "study.json")


class Entry(NamedTuple):
    """A picture in a folder.

    Attributes:
        name: Its path below the folder.
        size: In bytes; -1 if it vanished.
        changed: Time of its last change in nanoseconds; -1 if it vanished.
    """

    name: str
    size: int
    changed: int


@dataclass
class Lister:
    """List folders below ``root``, a path without links; a million files take seconds.

    Folders that hold a report of one of the commands are passed over.

    Attributes:
        root: The folder.
        leave_out: A folder anywhere below that is passed over, without links. Default: None
        skipped: The (name, reason) of every file that was refused and may be a picture, and of
            links to folders.
    """

    root: str
    leave_out: str | None = None
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._extensions = extensions()

    def scan(self, folder: str) -> tuple[list[Entry], list[str]]:
        """Return the images and the folders in ``root/folder``, both sorted."""
        path = os.path.join(self.root, folder) if folder else self.root
        try:
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            raise type(error)(f"the folder {path!r} cannot be read: {error.strerror}") from error
        files, folders = [], []
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if os.path.join(self.root, name) != self.leave_out and not _is_report(entry):
                    folders.append(name)
            elif self._is_image(entry, name):
                files.append(_entry(entry, name))
        return files, folders

    def walk(self, folder: str) -> Iterator[Entry]:
        """Yield all images below ``root/folder``, those of a folder before those of its folders."""
        waiting = [folder]  # no recursion: folders can be deeper than Python's stack
        while waiting:
            files, folders = self.scan(waiting.pop())
            yield from files
            waiting += reversed(folders)

    def _is_image(self, entry: os.DirEntry[str], name: str) -> bool:
        """Return whether to take a file; note in ``skipped`` why one that may be a picture is not.

        A link counts as what it points to.
        """
        fits = os.path.splitext(entry.name)[1].lower() in self._extensions
        reason = None if fits else why_not_listed(entry.name)
        if not entry.is_symlink():
            if not entry.is_file():  # a pipe or a socket
                return False
        else:
            target = os.path.realpath(entry.path)
            if os.path.isdir(target):
                reason = "a link to a folder; these are not followed"
            elif not fits and reason is None:
                return False
            elif not Path(target).is_relative_to(self.root):
                reason = "a link to a file outside of the folder"
            elif not os.path.isfile(target):
                reason = "a link to a file that is not there"
        if reason is not None:
            self.skipped.append((name, reason))
        return fits and reason is None


def _is_report(folder: os.DirEntry[str]) -> bool:
    return any(os.path.isfile(os.path.join(folder.path, name)) for name in _REPORTS)


def _entry(entry: os.DirEntry[str], name: str) -> Entry:
    """Return a file with its size and the time of its last change."""
    try:
        status = entry.stat()
    except OSError:  # it vanished since it was listed; load will say so
        return Entry(name, -1, -1)
    return Entry(name, status.st_size, status.st_mtime_ns)
