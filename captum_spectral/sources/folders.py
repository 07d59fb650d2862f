"""List the images of a folder as pictures."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from captum_spectral.sources.images import load_photograph
from captum_spectral.sources.listing import Lister
from captum_spectral.sources.pictures import Pictures

__all__ = ["open_folder"]

# What folders of the parts of a data set are called, not classes.
_PART = re.compile(
    r"(train|val|valid|test|dev|eval)(ing|idation|uation)?[-_ ]?(set|data)?\d*", re.I
)


def open_folder(
    path: str | os.PathLike[str], leave_out: str | os.PathLike[str] | None = None
) -> Pictures:
    """List the images in a folder; its sub folders, if they hold the images, are the classes.

    A file is an image if its extension is that of a format that is read here. One that may be a
    picture of another format, or has no extension, is in ``skipped`` with the reason; texts,
    tables, archives and the like are ignored, and so is everything whose name starts with a dot.
    Links to folders are not followed, links to files only if their target is below ``path``; the
    refused ones are in ``skipped``, too. No file is opened here; ``load`` raises for one that
    cannot be read.

    A folder of train/ and test/ with the classes inside, or of several folders that hold the same
    sub folders and no images, is refused: the classes are one level down.

    Args:
        path: The folder. It holds either the images themselves, which then have no labels, or one
            folder for each class, with its images anywhere below. Classes are sorted by name. A
            class without images stays a class.
        leave_out: A folder anywhere below ``path`` that is none of the data, as that of a report.
            Default: None

    Returns:
        The :class:`Pictures`, sorted; the name of each is its path below ``path``. The fingerprint
        covers names, sizes in bytes, times of the last change and labels.

    Raises:
        OSError: The folder or one below it cannot be read.
        ValueError: There is no image, there are some in the folder and in its sub folders, or the
            sub folders hold the classes instead of being them.

    Example::

        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (path / name).mkdir()
        ...     Image.new("L", (30, 20)).save(path / name / "1.png")
        >>> pictures = open_folder(path)
        >>> pictures.classes, [(pictures.name_of(i), pictures.label(i)) for i in range(2)]
        (('cat', 'dog'), [('cat/1.png', 0), ('dog/1.png', 1)])
    """
    path = os.fspath(path)
    other = None if leave_out is None else os.path.realpath(leave_out)
    lister = Lister(os.path.realpath(path) if path else path, other)
    flat, folders = lister.scan("")
    if flat and (below := next((f for f in folders if any(lister.walk(f))), None)):
        raise ValueError(
            f"{path} holds images ({flat[0].name}) and folders with images ({below}): for pictures "
            "without labels move the folders elsewhere, for one folder per class the images"
        )
    classes = None if flat else tuple(folders)
    names, labels, digest = [], [], hashlib.sha256(repr(classes).encode())
    for label, entries in enumerate([flat] if flat else map(lister.walk, folders)):
        for name, size, changed in entries:
            names.append(name)
            labels.append(None if flat else label)
            words = f"{name}\0{size}\0{changed}\0{label}\0"
            digest.update(words.encode("utf-8", "surrogatepass"))
    skipped = tuple(lister.skipped)
    if not names:
        refused = f"; refused: {skipped[0][0]}, {skipped[0][1]}" if skipped else ""
        raise ValueError(f"there is no image in {path} or its sub folders{refused}")
    if classes is not None:
        _check_layout(path, names)
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


def _check_layout(path: str, names: Sequence[str]) -> None:
    """Raise if the folders in ``path`` are parts of a data set and hold its classes."""
    inside: dict[str, set[str]] = {}  # class -> its sub folders with images
    bare = set()  # classes with images of their own
    for name in names:
        top, *below = name.split("/", 2)
        if len(below) == 1:
            bare.add(top)
        else:
            inside.setdefault(top, set()).add(below[0])
    nested = [top for top in inside if top not in bare and len(inside[top]) > 1]
    if not nested:
        return
    parts = all(_PART.fullmatch(top) for top in (*inside, *bare))
    # Numbers are as often those of films and persons within a class.
    alike = len(nested) == len(inside) > 1 and not bare
    alike = alike and len({frozenset(folders) for folders in inside.values()}) == 1
    if parts or (alike and not all(folder.isdigit() for folder in inside[nested[0]])):
        folders = sorted(inside[nested[0]])
        raise ValueError(
            f"{path} holds folders of folders ({nested[0]}/{folders[0]}, {nested[0]}/{folders[1]}, "
            "...), so the classes seem to be one level down; give "
            f"{os.path.join(path, nested[0])}, or put the images straight into a folder per class"
        )
