"""Open the published corrupted data sets where the user has them, as lists of pictures."""

from __future__ import annotations

import difflib
import hashlib
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from captum_spectral.sources.folders import open_folder
from captum_spectral.sources.pictures import Pictures

__all__ = ["open_cifar_c", "open_imagenet_c"]

_SEVERITIES = 5  # in one file of CIFAR-10-C, one after the other
_AT_ONCE = 1000  # pictures that are read at once for the fingerprint


def open_imagenet_c(folder: str | os.PathLike[str], corruption: str, severity: int) -> Pictures:
    """Open one corruption and severity of a folder in the layout of ImageNet-C.

    The pictures lie in ``folder/corruption/severity/class/``, as the archives of ImageNet-C,
    Tiny-ImageNet-C and their like unpack. Nothing is downloaded.

    Args:
        folder: The folder that holds one folder for each corruption.
        corruption: Name of one of them, such as ``"gaussian_noise"``.
        severity: Such as 1 to 5.

    Returns:
        The :class:`~captum_spectral.sources.pictures.Pictures`, as
        :func:`~captum_spectral.sources.folders.open_folder` lists those of
        ``folder/corruption/severity``.

    Raises:
        OSError: A folder cannot be read.
        TypeError: A severity that is no integer.
        ValueError: There is no such corruption or severity, or no image.

    Example::

        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "jpeg_compression/3/n02123045").mkdir(parents=True)
        >>> Image.new("RGB", (30, 20)).save(folder / "jpeg_compression/3/n02123045/1.png")
        >>> pictures = open_imagenet_c(folder, "jpeg_compression", 3)
        >>> pictures.classes, pictures.name_of(0), pictures.label(0)
        (('n02123045',), 'n02123045/1.png', 0)

    References:
        D. Hendrycks, T. Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions
        and Perturbations*, ICLR 2019.
    """
    path = os.fspath(folder)
    _check_one_of("corruption", corruption, _folders(path), path)
    path = os.path.join(path, corruption)
    _check_one_of("severity", str(operator.index(severity)), _folders(path), path)
    return open_folder(os.path.join(path, str(operator.index(severity))))


def open_cifar_c(folder: str | os.PathLike[str], corruption: str, severity: int) -> Pictures:
    """Open one corruption and severity of a folder in the layout of CIFAR-10-C.

    ``folder/corruption.npy`` holds the bytes ``(5 N, H, W, 3)`` of ``N`` pictures at severity 1,
    then at severity 2, and so on; ``folder/labels.npy`` their classes ``(5 N,)``. So it is for
    CIFAR-10-C and CIFAR-100-C, with ``N`` = 10,000. Nothing is downloaded or unpickled, and no more
    than one picture is in memory.

    Args:
        folder: The folder that holds ``labels.npy``.
        corruption: Name of a file in it without ``.npy``, such as ``"gaussian_noise"``.
        severity: 1 to 5.

    Returns:
        The ``N`` :class:`~captum_spectral.sources.pictures.Pictures`; ``classes`` is None, as the
        files hold no names. The fingerprint covers all their pixels and labels.

    Raises:
        OSError: The folder or a file cannot be read.
        TypeError: A severity that is no integer.
        ValueError: There is no such corruption or severity, or the files hold something else.

    Example::

        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> np.save(folder / "fog.npy", np.zeros((50, 32, 32, 3), np.uint8))
        >>> np.save(folder / "labels.npy", np.tile(np.arange(10), 5))
        >>> pictures = open_cifar_c(folder, "fog", 2)
        >>> len(pictures), pictures.name_of(3), pictures.label(3), pictures.load(3).size
        (10, 'fog, severity 2 [3]', 3, (32, 32))

    References:
        D. Hendrycks, T. Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions
        and Perturbations*, ICLR 2019.
    """
    root = os.fspath(folder)
    severity = operator.index(severity)
    if not 1 <= severity <= _SEVERITIES:
        raise ValueError(f"severity must be from 1 to {_SEVERITIES}, got {severity}")
    _check_one_of("corruption", corruption, _arrays(root), root)
    path = os.path.join(root, f"{corruption}.npy")
    images, labels = _mapped(path), _mapped(os.path.join(root, "labels.npy"))
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(
            f"{path} must hold bytes (5 N, H, W, 3), got {images.dtype} {images.shape}"
        )
    if len(images) == 0 or len(images) % _SEVERITIES:
        raise ValueError(f"{path} must hold {_SEVERITIES} severities, got {len(images)} pictures")
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),) or labels.min() < 0:
        raise ValueError(
            f"the labels.npy beside {path} must hold {len(images)} classes from 0, got "
            f"{labels.dtype} {labels.shape}"
        )
    length = len(images) // _SEVERITIES
    first = (severity - 1) * length
    return _Arrays(
        name=f"{corruption}, severity {severity}",
        classes=None,
        skipped=(),
        path=os.path.abspath(path),
        first=first,
        labels=[int(label) for label in labels[first : first + length]],
    )


@dataclass(frozen=True, eq=False)
class _Arrays(Pictures):
    """Read pictures from a part of an array in a file."""

    path: str
    first: int
    labels: Sequence[int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def name_of(self, i: int) -> str:
        return f"{self.name} [{i}]"

    def label(self, i: int) -> int | None:
        return self.labels[i]

    def load(self, i: int) -> Image.Image:
        inside = range(self.first, self.first + len(self))
        return Image.fromarray(np.array(_mapped(self.path)[inside[i]]))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.name, self.labels)).encode())
        images = _mapped(self.path)[self.first : self.first + len(self)]
        digest.update(repr(images.shape).encode())
        for start in range(0, len(images), _AT_ONCE):
            digest.update(images[start : start + _AT_ONCE].tobytes())
        return digest.hexdigest()


def _mapped(path: str) -> np.ndarray:
    """Map the array in a file into memory, which reads only what is asked for; unpickle nothing."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:  # cut off, of another format, or of objects
        raise ValueError(f"{path} cannot be read as an array: {error}") from error
    return array


def _folders(path: str) -> list[str]:
    """Return the names of the folders in a folder."""
    with os.scandir(path) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _arrays(path: str) -> list[str]:
    """Return the names of the files of arrays in a folder, without that of the labels."""
    names = (os.path.splitext(name) for name in os.listdir(path))
    return sorted(stem for stem, end in names if end == ".npy" and stem != "labels")


def _check_one_of(argument: str, value: str, there: Sequence[str], path: str) -> None:
    """Raise unless a name is one of those in a folder; a name with a path in it never is."""
    if value in there:
        return
    close = difflib.get_close_matches(str(value), there, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(there)}"
    raise ValueError(f"{path} has no {argument} {value!r}; {hint if there else 'it is empty'}")
