"""List the images of a folder as pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from captum_spectral.sources.images import load_photograph
from captum_spectral.sources.pictures import Pictures

__all__ = ["open_folder"]

# Pillow only recognises these; it has no pixels for them without help from outside.
_NO_PIXELS = ("BUFR", "GRIB", "HDF5", "MPEG")


def open_folder(path: str | os.PathLike[str]) -> Pictures:
    """List the images in a folder; its sub folders, if they hold the images, are the classes.

    A file is an image if Pillow reads files of its extension. Other files are ignored, and so is
    everything whose name starts with a dot. Links to folders are not followed, links to files only
    if their target is below ``path``; the refused ones are in ``skipped``. No file is opened here;
    ``load`` raises for one that cannot be read.

    Args:
        path: The folder. It holds either the images themselves, which then have no labels, or one
            folder for each class, with its images anywhere below. Classes are sorted by name. A
            class without images stays a class.

    Returns:
        The :class:`Pictures`, sorted; the name of each is its path below ``path``. The fingerprint
        covers names, sizes in bytes and labels.

    Raises:
        OSError: The folder or one below it cannot be read.
        ValueError: There is no image, or there are some in the folder and in its sub folders.

    Example::

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (path / name).mkdir()
        ...     Image.new("L", (30, 20)).save(path / name / "1.png")
        >>> pictures = open_folder(path)
        >>> pictures.classes, [(pictures.name_of(i), pictures.label(i)) for i in range(2)]
        (('cat', 'dog'), [('cat/1.png', 0), ('dog/1.png', 1)])
    """
    path = os.fspath(path)
    lister = _Lister(os.path.realpath(path) if path else path)
    flat, folders = lister.scan("")
    if flat and (below := next((f for f in folders if any(lister.walk(f))), None)):
        raise ValueError(
            f"{path} holds images ({flat[0][0]}) and folders with images ({below}): for pictures "
            "without labels move the folders elsewhere, for one folder per class the images"
        )
    classes = None if flat else tuple(folders)
    names, labels, digest = [], [], hashlib.sha256(repr(classes).encode())
    for label, entries in enumerate([flat] if flat else map(lister.walk, folders)):
        for name, size in entries:
            names.append(name)
            labels.append(None if flat else label)
            digest.update(f"{name}\0{size}\0{label}\0".encode("utf-8", "surrogatepass"))
    skipped = tuple(lister.skipped)
    if not names:
        refused = f"; refused: {skipped[0][0]}, {skipped[0][1]}" if skipped else ""
        raise ValueError(f"there is no image in {path} or its sub folders{refused}")
    return _Folder(
        name=path,
        classes=classes,
        skipped=skipped,
        root=lister.root,
        names=names,
        labels=labels,
        digest=digest.hexdigest(),
    )


@dataclass(frozen=True, eq=False)
class _Folder(Pictures):
    """Read the listed images of a folder."""

    root: str
    names: Sequence[str] = field(repr=False)
    labels: Sequence[int | None] = field(repr=False)
    digest: str

    def __len__(self) -> int:
        return len(self.names)

    def name_of(self, i: int) -> str:
        return self.names[i]

    def label(self, i: int) -> int | None:
        return self.labels[i]

    def load(self, i: int) -> Image.Image:
        return load_photograph(os.path.join(self.root, self.names[i]))

    def fingerprint(self) -> str:
        return self.digest


@dataclass
class _Lister:
    """List folders below ``root``, a path without links; a million files take seconds."""

    root: str
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        known = Image.registered_extensions().items()
        self.extensions = {
            extension
            for extension, kind in known
            if kind in Image.OPEN and kind not in _NO_PIXELS  # others can only be written
        }

    def scan(self, folder: str) -> tuple[list[tuple[str, int]], list[str]]:
        """Return the images (name, size) and the folders in ``root/folder``, both sorted."""
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
                folders.append(name)
            elif self._is_image(entry, name):
                files.append((name, _size(entry)))
        return files, folders

    def walk(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield all images below ``root/folder``, those of a folder before those of its folders."""
        waiting = [folder]  # no recursion: folders can be deeper than Python's stack
        while waiting:
            files, folders = self.scan(waiting.pop())
            yield from files
            waiting += reversed(folders)

    def _is_image(self, entry: os.DirEntry[str], name: str) -> bool:
        """Return whether to take a file; note in ``skipped`` why a link is refused."""
        fits = os.path.splitext(entry.name)[1].lower() in self.extensions
        if not entry.is_symlink():
            return fits and entry.is_file()
        target = os.path.realpath(entry.path)
        if os.path.isdir(target):
            reason = "a link to a folder; these are not followed"
        elif not fits:
            return False
        elif not Path(target).is_relative_to(self.root):
            reason = "a link to a file outside of the folder"
        elif not os.path.isfile(target):
            reason = "a link to a file that is not there"
        else:
            return True
        self.skipped.append((name, reason))
        return False


def _size(entry: os.DirEntry[str]) -> int:
    """Return the size of a file in bytes."""
    try:
        return entry.stat().st_size
    except OSError:  # it vanished since it was listed; load will say so
        return -1
