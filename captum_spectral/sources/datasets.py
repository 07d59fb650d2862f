"""Open torchvision's data sets as lists of pictures; pass on folders and photographs."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import operator
import os
import warnings
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from captum_spectral.sources.folders import open_folder
from captum_spectral.sources.pictures import Pictures, shipped_views

__all__ = ["Pictures", "open_folder", "open_torchvision", "shipped_views"]

_LABELS = ("targets", "labels", "_labels")  # where torchvision's data sets keep theirs


def open_torchvision(name: str, root: str | os.PathLike[str]) -> Pictures:
    """Open the test part of a data set for classification from ``torchvision.datasets``.

    The test part is what ``train=False`` gives, or else ``split="test"``, or else ``split="val"``;
    a data set without parts is taken whole. Nothing is downloaded.

    Args:
        name: A class of ``torchvision.datasets`` that gives pairs of an image and a class, e.g.
            ``"FashionMNIST"``.
        root: The folder in which torchvision looks for the data.

    Returns:
        The :class:`Pictures`. If torchvision has several names for a class, ``classes`` has the
        first, or all of them if the first is not unique. The fingerprint covers name, part, length
        and classes.

    Raises:
        ImportError: The data set needs a package that is missing.
        OSError: The data is not below ``root``, or cannot be read.
        ValueError: There is no such data set, or it is not one for classification.

    Example::

        >>> open_torchvision("FashionMNIS", ".")
        Traceback (most recent call last):
        ...
        ValueError: torchvision has no data set 'FashionMNIS'; did you mean FashionMNIST...
    """
    parameters = _parameters(name)
    root = os.path.expanduser(root)
    if not os.path.isdir(root):  # some data sets would make it
        raise NotADirectoryError(f"there is no folder {root!r} to look for {name} in")
    part, data = _construct(name, root, parameters)
    if len(data) == 0:
        raise ValueError(f"{name} ({part}) in {root} is empty")
    try:
        first = _entry(data, 0)
    except Exception:
        pass  # load(0) will report it; the other pictures may be fine
    else:
        _check_pair(name, first)
    return _Torchvision(
        name=f"{name} ({part})",
        classes=_class_names(data),
        skipped=(),
        short=name,
        data=data,
        labels=_labels(data),
    )


@dataclass(frozen=True, eq=False)
class _Torchvision(Pictures):
    """Read pictures and labels from a data set of torchvision."""

    short: str
    data: Any = field(repr=False)
    labels: Sequence[int] | None = field(repr=False)  # None: only known with the image

    def __len__(self) -> int:
        return len(self.data)

    def name_of(self, i: int) -> str:
        return f"{self.short}[{i}]"

    def label(self, i: int) -> int | None:
        label = self._read(i)[1] if self.labels is None else self.labels[i]
        return None if label is None or label < 0 else label  # -1 is torchvision's for unknown

    def load(self, i: int) -> Image.Image:
        return self._read(i)[0]

    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.name, len(self), self.classes)).encode()).hexdigest()

    def _read(self, i: int) -> tuple[Image.Image, int | None]:
        try:
            image, label = _check_pair(self.short, _entry(self.data, i))
            return _rgb(image), label
        except MemoryError:
            raise
        except Exception as error:  # decoders of damaged files raise nearly anything
            raise ValueError(f"{self.name_of(i)} cannot be read: {error}") from error


def _parameters(name: str) -> set[str]:
    """Return the names of a data set's arguments; raise if there is none that takes ``root``."""
    from torchvision import datasets

    known = {
        each: signature
        for each in datasets.__all__
        if inspect.isclass(kind := getattr(datasets, each))
        and issubclass(kind, datasets.VisionDataset)
        and "root" in (signature := set(inspect.signature(kind).parameters))
    }
    if name not in known:
        lower = {each.lower(): each for each in known}
        close = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=3)]
        hint = f"did you mean {' or '.join(close)}?" if close else "see torchvision.datasets"
        raise ValueError(f"torchvision has no data set {name!r}; {hint}")
    return known[name]


def _construct(name: str, root: str, parameters: Container[str]) -> tuple[str, Any]:
    """Open the test part of a data set; return the name of the part and the data set."""
    from torchvision import datasets

    parts: dict[str, dict[str, Any]] = {"all": {}}
    if "train" in parameters:
        parts = {"test": {"train": False}}
    elif "split" in parameters:
        parts = {part: {"split": part} for part in ("test", "val")}
    downloads = "download" in parameters
    never = {"download": False} if downloads else {}  # for some True is the default
    for part, choice in parts.items():
        try:
            return part, getattr(datasets, name)(root, **choice, **never)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, ValueError) and part != list(parts)[-1]:
                continue  # no part of this name: try the next
            message = f"torchvision cannot open {name} ({part}) in {root}: {error}"
            if not isinstance(error, (OSError, RuntimeError)):
                raise ValueError(message) from error
            how = f"; torchvision.datasets.{name}({root!r}, download=True) fetches it"
            raise OSError(message + how * downloads) from error
    raise AssertionError("the last part returns or raises")


def _entry(data: Any, i: int) -> Any:
    """Read one entry without the warnings of its decoder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on odd metadata, which is not used here
        return data[i]


def _rgb(image: Any) -> Image.Image:
    """Return an image, a tensor or an array as a picture of mode ``"RGB"``."""
    from torchvision.transforms.functional import to_pil_image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older torchvision calls what newer Pillow deprecates
        picture: Image.Image = image if isinstance(image, Image.Image) else to_pil_image(image)
        return picture.convert("RGB")


def _check_pair(name: str, entry: Any) -> tuple[Any, int | None]:
    """Return the image and the label of an entry; raise unless it is such a pair."""
    try:
        image, label = entry
        return image, None if label is None else operator.index(label)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is not a data set for classification: it gives something else than pairs of "
            "an image and the number of its class"
        ) from error


def _labels(data: Any) -> list[int] | None:
    """Return all labels if the data set has them at hand, else None; read no image."""
    for attribute in _LABELS:
        values = getattr(data, attribute, None)
        if values is not None and len(values) == len(data):
            array = np.asarray(values)
            if array.ndim == 1 and array.dtype.kind in "iu":
                return [int(value) for value in array]
    return None


def _class_names(data: Any) -> tuple[str, ...] | None:
    """Return one name per class: the first of its names, or all where the first are not unique."""
    classes = getattr(data, "classes", None)
    if not isinstance(classes, (list, tuple)):
        return None
    several = [[str(n) for n in c] if isinstance(c, (list, tuple)) else [str(c)] for c in classes]
    first = tuple(names[0] for names in several)
    return first if len(set(first)) == len(first) else tuple(", ".join(n) for n in several)
