"""Define pictures by index, the form of every data set here, and bundle photographs as one."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from PIL import Image

from captum_spectral.sources.decoding import decode
from captum_spectral.sources.images import photographs

__all__ = ["Pictures", "shipped_photographs", "shipped_views"]

_CORNER = 0.7  # side of a corner view, in short sides of its photograph


@dataclass(frozen=True, eq=False)
class Pictures(ABC):
    """Give pictures by index; nothing is held open, so a copy in another process reads the same.

    Attributes:
        name: The name of the data set.
        classes: The names of its classes; None if the pictures have no labels or the names are not
            known.
        skipped: The (name, reason) of every file that was refused while listing.
    """

    name: str
    classes: tuple[str, ...] | None
    skipped: tuple[tuple[str, str], ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name_of(self, i: int) -> str:
        """Return the name of picture ``i``."""

    @abstractmethod
    def label(self, i: int) -> int | None:
        """Return the class of picture ``i``, an index into ``classes``; None if it is not known."""

    @abstractmethod
    def load(self, i: int) -> Image.Image:
        """Read picture ``i`` in mode ``"RGB"``; ValueError or OSError say why it cannot be read."""

    def group(self, i: int) -> int | None:
        """Return the id of what picture ``i`` is a view of; None: all pictures are independent.

        Standard errors are clustered by these ids. Either all pictures have one or none has.
        """
        return None

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hex digest that changes when the data changes."""


def shipped_photographs(consensus: float | None = None) -> Pictures:
    """Return the bundled data set: 87 independent photographs, in the public domain or under CC0.

    Buildings, landscapes, animals and a few things, 288 px or a little more on the short side, most
    of them from Wikimedia Commons by way of GCompris. ``ATTRIBUTION.md`` and ``index.json`` in the
    folder ``captum_spectral/sources/photographs`` name author, licence and source of each, and
    ``tools/ship_photographs.py`` in the repository made them. They have been JPEG more than once,
    which thins their highest frequencies.

    Nobody has labelled them. 62 have a *consensus*: EfficientNet-Lite0, 1 and 2 put the same class
    of ImageNet first. That is what these networks say, and no ground truth: the hedgehog is a
    "porcupine" to all three. The accuracy of any of the three on it is 1 by construction.

    Args:
        consensus: None: all photographs, without labels. A probability: those alone on whose class
            the three networks agree with at least this mean probability, labelled with it (0.0:
            62 photographs of 42 classes, 0.5: 36). Default: None

    Returns:
        The :class:`Pictures`, sorted by name. ``classes`` are names as torchvision has them for
        ImageNet. The fingerprint covers names, labels and the content of the files.

    Raises:
        ValueError: ``consensus`` outside of 0 to 1, or so high that no photograph is left.

    Example::

        >>> pictures = shipped_photographs()
        >>> len(pictures), pictures.name_of(60), pictures.load(60).size, pictures.label(60)
        (87, 'neuschwanstein-castle', (432, 288), None)
        >>> agreed = shipped_photographs(consensus=0.5)
        >>> len(agreed), agreed.name_of(0), agreed.classes[agreed.label(0)]
        (36, 'arles-amphitheater', 'monastery')
    """
    entries = json.loads((_FOLDER / "index.json").read_bytes())["photographs"]
    if consensus is None:
        return _Photographs("bundled photographs", None, (), [(e["name"], None) for e in entries])
    if not 0 <= consensus <= 1:
        raise ValueError(f"consensus must be a probability from 0 to 1, got {consensus!r}")
    agreed = [
        (e["name"], e["consensus"]["category"])
        for e in entries
        if e["consensus"] and e["consensus"]["probability"] >= consensus
    ]
    if not agreed:
        raise ValueError(
            f"on no photograph do the networks agree with a mean probability of {consensus}; give "
            "consensus=0.5, say"
        )
    classes = tuple(sorted({category for _, category in agreed}))
    listed = [(name, classes.index(category)) for name, category in agreed]
    return _Photographs("bundled photographs with a consensus", classes, (), listed)


# A Traversable, and not a path: a package may lie in an archive.
_FOLDER: Any = files("captum_spectral.sources") / "photographs"


@dataclass(frozen=True, eq=False)
class _Photographs(Pictures):
    """Read photographs from the package."""

    listed: Sequence[tuple[str, int | None]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.listed)

    def name_of(self, i: int) -> str:
        return self.listed[i][0]

    def label(self, i: int) -> int | None:
        return self.listed[i][1]

    def load(self, i: int) -> Image.Image:
        with (_FOLDER / f"{self.name_of(i)}.jpg").open("rb") as file:
            return decode(file)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.classes, self.listed)).encode())
        for name, _ in self.listed:
            digest.update((_FOLDER / f"{name}.jpg").read_bytes())
        return digest.hexdigest()


def shipped_views() -> Pictures:
    """Return five square views of each of seven photographs in other wheels, without labels.

    View 0 is the largest square in the middle. Views 1 to 4 are squares in the corners (top left,
    top right, bottom left, bottom right) whose side is 0.7 of the short side.

    Views of one photograph resemble each other, so ``group`` says which photograph each is of, and
    standard errors over them are clustered. Seven are few: :func:`shipped_photographs` has 87.

    Returns:
        The 35 :class:`Pictures`. The fingerprint covers names, views and pixels.

    Raises:
        ImportError: A package is missing, see
            :func:`~captum_spectral.sources.images.photographs`.

    Example::

        >>> pictures = shipped_views()
        >>> len(pictures), pictures.name_of(2), pictures.load(2).size, pictures.group(7)
        (35, 'chelsea, view 2', (210, 210), 1)
    """
    views = [
        (f"{name}, view {k}", image, box)
        for name, image in photographs().items()
        for k, box in enumerate(_view_boxes(*image.size))
    ]
    return _Views("views of photographs", None, (), views)


@dataclass(frozen=True, eq=False)
class _Views(Pictures):
    """Crop views from photographs in memory."""

    views: Sequence[tuple[str, Image.Image, tuple[int, int, int, int]]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.views)

    def name_of(self, i: int) -> str:
        return self.views[i][0]

    def label(self, i: int) -> int | None:
        return None

    def load(self, i: int) -> Image.Image:
        _, image, box = self.views[i]
        return image.crop(box)

    def group(self, i: int) -> int | None:
        shown = [id(image) for _, image, _ in self.views]
        return list(dict.fromkeys(shown)).index(shown[i])

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr([(n, box) for n, _, box in self.views]).encode())
        # Each photograph once, not once for each of its views.
        for photograph in {id(image): image for _, image, _ in self.views}.values():
            digest.update(photograph.tobytes())
        return digest.hexdigest()


def _view_boxes(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Return the five boxes (left, top, right, bottom) in pixels, the one in the middle first."""
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    side = round(_CORNER * short)
    corners = [(x, y) for y in (0, height - side) for x in (0, width - side)]
    return [
        (left, top, left + short, top + short),
        *((x, y, x + side, y + side) for x, y in corners),
    ]
