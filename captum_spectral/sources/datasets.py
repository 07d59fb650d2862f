"""Open torchvision's data sets as lists of pictures; pass on folders and photographs."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from captum_spectral.sources.decoding import to_rgb
from captum_spectral.sources.folders import open_folder
from captum_spectral.sources.pictures import Pictures, shipped_photographs, shipped_views

__all__ = [
    "Pictures",
    "open_data",
    "open_folder",
    "open_torchvision",
    "shipped_photographs",
    "shipped_views",
]

# Where torchvision's data sets keep their labels, or pairs of a picture and its label.
_LABELS = ("targets", "labels", "_labels", "y")
_PAIRS = ("samples", "_samples")
_COMPARED = 8  # pictures of a data set whose content is in its fingerprint


def open_data(
    data: str | None,
    root: str | os.PathLike[str] | None = None,
    *,
    leave_out: str | os.PathLike[str] | None = None,
) -> Pictures:
    """Open what a user calls the data.

    Args:
        data: A folder, see :func:`~captum_spectral.sources.folders.open_folder`; with ``root`` the
            name of a data set, see :func:`open_torchvision`; None: the shipped photographs.
        root: The folder in which torchvision looks. Default: None
        leave_out: A folder below ``data`` that is none of the data. Default: None

    Returns:
        The :class:`Pictures`.

    Raises:
        ImportError, OSError, ValueError: As those functions; a data set of torchvision without
            ``root``.
    """
    if data is None:
        return shipped_photographs()
    if root is not None:
        return open_torchvision(data, root)
    from torchvision import datasets

    if data.partition(":")[0] in datasets.__all__ and not os.path.exists(data):
        raise ValueError(f"{data} is a data set of torchvision; say with --root where it is")
    return open_folder(data, leave_out=leave_out)


def open_torchvision(name: str, root: str | os.PathLike[str]) -> Pictures:
    """Open the test part of a data set for classification from ``torchvision.datasets``.

    The test part is what ``train=False`` gives, or else ``split="test"``, or else ``split="val"``;
    a data set without parts is taken whole. ``"NAME:PART"`` asks for another one: ``train`` or
    ``test``, or a value of ``split``. Of a data set with both, such as EMNIST, ``split`` must be
    given and the test part of it is taken. Nothing is downloaded.

    Args:
        name: A class of ``torchvision.datasets`` that gives pairs of an image and a class, e.g.
            ``"FashionMNIST"``, ``"SVHN:extra"`` or ``"EMNIST:balanced"``.
        root: The folder in which torchvision looks for the data.

    Returns:
        The :class:`Pictures`. If torchvision has several names for a class, ``classes`` has the
        first, or all of them if the first is not unique. The fingerprint covers name, part, length,
        classes, all labels that are at hand, and eight pictures spread over the data set.

    Raises:
        ImportError: The data set needs a package that is missing.
        OSError: The data is not below ``root``, or cannot be read.
        ValueError: There is no such data set or part, or it is not one for classification.

    Example::

        >>> open_torchvision("FashionMNIS", ".")
        Traceback (most recent call last):
        ...
        ValueError: torchvision has no data set 'FashionMNIS'; did you mean FashionMNIST...
    """
    name, _, wanted = name.partition(":")
    parameters = _parameters(name)
    root = os.path.expanduser(root)
    if not os.path.isdir(root):  # some data sets would make it
        raise NotADirectoryError(f"there is no folder {root!r} to look for {name} in")
    part, data = _construct(name, root, parameters, wanted)
    if len(data) == 0:
        raise ValueError(f"{name} ({part}) in {root} is empty")
    try:
        first = data[0]
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
        digest = hashlib.sha256(repr((self.name, len(self), self.classes)).encode())
        digest.update(repr(self.labels).encode())
        last = len(self) - 1
        for i in sorted({last * k // (_COMPARED - 1) for k in range(_COMPARED)}):
            try:
                image, label = self._read(i)
                digest.update(f"{image.size} {label}".encode() + image.tobytes())
            except ValueError as error:
                digest.update(str(error).encode("utf-8", "replace"))
        return digest.hexdigest()

    def _read(self, i: int) -> tuple[Image.Image, int | None]:
        try:
            image, label = _check_pair(self.short, self.data[i])
            return _rgb(image), label
        except MemoryError:
            raise
        except Exception as error:  # decoders of damaged files raise nearly anything
            raise ValueError(f"{self.name_of(i)} cannot be read: {error}") from error


def _parameters(name: str) -> set[str]:
    """Return the names of a data set's arguments; raise if there is none that takes ``root``."""
    from torchvision import datasets

    known = {
        each: names
        for each in datasets.__all__
        if inspect.isclass(kind := getattr(datasets, each))
        and issubclass(kind, datasets.VisionDataset)
        and "root" in (names := _arguments(kind))
    }
    if name not in known:
        lower = {each.lower(): each for each in known}
        close = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=3)]
        hint = f"did you mean {' or '.join(close)}?" if close else "see torchvision.datasets"
        raise ValueError(f"torchvision has no data set {name!r}; {hint}")
    return known[name]


def _arguments(kind: type) -> set[str]:
    """Return the names of all arguments of a class, those that it passes to its bases included."""
    names: set[str] = set()
    for base in inspect.getmro(kind):
        if base is not object and "__init__" in vars(base):
            parameters = inspect.signature(base).parameters
            names.update(parameters)
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                break
    return names


def _construct(
    name: str, root: str, parameters: Collection[str], wanted: str = ""
) -> tuple[str, Any]:
    """Open a part of a data set; return the name of the part and the data set."""
    from torchvision import datasets

    never = {"download": False} if "download" in parameters else {}  # for some True is the default
    choices = _choices(name, parameters, wanted)
    for part, choice in choices.items():
        try:
            return part, getattr(datasets, name)(root, **choice, **never)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, ValueError) and part != list(choices)[-1]:
                continue  # no part of this name: try the next
            message = f"torchvision cannot open {name} ({part}) in {root}: {error}"
            if not isinstance(error, (OSError, RuntimeError)):
                if "split" in parameters:
                    message += f"; say which part, as in {name}:PART"
                raise ValueError(message) from error
            how = f"; torchvision.datasets.{name}({root!r}, ..., download=True) fetches it"
            raise OSError(message + how * bool(never)) from error
    raise AssertionError("the last part returns or raises")


def _choices(name: str, parameters: Collection[str], wanted: str) -> dict[str, dict[str, Any]]:
    """Return the parts to try, in this order: what each is called and the arguments for it."""
    if "split" in parameters:
        test = {"train": False} if "train" in parameters else {}
        return {part: {"split": part, **test} for part in ([wanted] if wanted else ["test", "val"])}
    if "train" in parameters and wanted in ("", "test", "train"):
        return {wanted or "test": {"train": wanted == "train"}}
    if wanted:
        has = "train and test" if "train" in parameters else "none"
        raise ValueError(f"{name} has no part {wanted!r}; its parts: {has}")
    return {"all": {}}


def _rgb(image: Any) -> Image.Image:
    """Return an image, a tensor or an array as a picture of mode ``"RGB"``."""
    from torchvision.transforms.functional import to_pil_image

    picture: Image.Image = image if isinstance(image, Image.Image) else to_pil_image(image)
    return to_rgb(picture)


def _check_pair(name: str, entry: Any) -> tuple[Any, int | None]:
    """Return the image and the label of an entry; raise unless it is such a pair."""
    try:
        image, label = entry
        return image, None if label is None else _integer(label)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is not a data set for classification: it gives something else than pairs of "
            "an image and the number of its class"
        ) from error


def _integer(label: Any) -> int:
    """Return the number of a class, of any type of integer and also as an array of one element."""
    array = np.asarray(label)
    if array.size != 1 or array.dtype.kind not in "biu":
        raise TypeError(f"{label!r} is no integer")
    return int(array.reshape(-1)[0])


def _labels(data: Any) -> list[int] | None:
    """Return all labels if the data set has them at hand, else None; read no image."""
    for attribute in _LABELS:
        values = getattr(data, attribute, None)
        if values is not None and len(values) == len(data):
            array = np.asarray(values)
            if array.size == len(data) and array.dtype.kind in "biu":  # a column of labels as well
                return [int(value) for value in array.reshape(-1)]
    for attribute in _PAIRS:
        pairs = getattr(data, attribute, None)
        if isinstance(pairs, (list, tuple)) and len(pairs) == len(data):
            try:
                return [_integer(label) for _, label in pairs]
            except (TypeError, ValueError):
                continue
    return None


def _class_names(data: Any) -> tuple[str, ...] | None:
    """Return one name per class: the first of its names, or all where the first are not unique."""
    classes = getattr(data, "classes", None)
    if not isinstance(classes, (list, tuple)):
        return None
    several = [[str(n) for n in c] if isinstance(c, (list, tuple)) else [str(c)] for c in classes]
    first = tuple(names[0] for names in several)
    return first if len(set(first)) == len(first) else tuple(", ".join(n) for n in several)
