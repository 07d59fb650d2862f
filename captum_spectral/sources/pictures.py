"""Define pictures by index, the form of every data set here, and bundle one of photographs."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from captum_spectral.sources.images import photographs

__all__ = ["Pictures", "shipped_views"]

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

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hex digest that changes when the data changes."""


def shipped_views() -> Pictures:
    """Return five square views of each of the seven bundled photographs, without labels.

    View 0 is the largest square in the middle. Views 1 to 4 are squares in the corners (top left,
    top right, bottom left, bottom right) whose side is 0.7 of the short side.

    Returns:
        The 35 :class:`Pictures`. The fingerprint covers names, views and pixels.

    Raises:
        ImportError: A package is missing, see
            :func:`~captum_spectral.sources.images.photographs`.

    Example::

        >>> pictures = shipped_views()
        >>> len(pictures), pictures.name_of(2), pictures.load(2).size
        (35, 'chelsea, view 2', (210, 210))
    """
    views = [
        (f"{name}, view {k}", image, box)
        for name, image in photographs().items()
        for k, box in enumerate(_view_boxes(*image.size))
    ]
    return _Views("photographs", None, (), views)


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
