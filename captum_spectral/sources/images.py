"""Read photographs from files, and the few real ones that need no download."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from captum_spectral.sources.decoding import decode
from captum_spectral.sources.formats import foreign_kind, formats

__all__ = ["load_photograph", "photographs"]

# name -> (package, file in it). Only files that the wheels themselves contain.
_SHIPPED = {
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "camera": ("skimage", "data/camera.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}
_WHEELS = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


def load_photograph(path: str | os.PathLike[str]) -> Image.Image:
    """Read an image file as the 8-bit RGB picture that a viewer would show.

    The orientation in the EXIF data is applied, transparency is laid over white, an ICC profile is
    converted to sRGB (a broken one is ignored), grey of 1 to 16 bits is scaled to 8, other modes
    (palette, CMYK, LAB, ...) are converted, and of several frames the first is taken. Nothing in a
    file is executed, and its content alone says which format it is. Warnings of Pillow about odd
    metadata are passed on.

    Args:
        path: A file in one of the formats of :func:`~captum_spectral.sources.formats.formats`:
            JPEG, PNG, WebP, TIFF, GIF, BMP, AVIF, JPEG 2000, PNM, PSD, QOI, SGI, PCX and TGA, as
            far as the installed Pillow reads them.

    Returns:
        A ``PIL.Image.Image`` of mode ``"RGB"``, fully read.

    Raises:
        OSError: The file cannot be opened (missing, a folder, no permission).
        ValueError: It is in none of these formats, is truncated, has more than 128 million pixels
            (or twice ``PIL.Image.MAX_IMAGE_PIXELS``), holds numbers without an agreed white, or is
            a strip more than 50 times as long as it is wide. The message names the file and the
            reason.

    Example::

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "grey.png")
        >>> Image.new("L", (30, 20), color=100).save(path)
        >>> load_photograph(path).getpixel((0, 0))
        (100, 100, 100)
    """
    with open(path, "rb") as file:
        try:
            return decode(file)
        except UnidentifiedImageError:
            file.seek(0)
            reason = _unidentified(file.read(32))
        except MemoryError:
            raise
        except Exception as error:  # decoders of damaged files raise nearly anything
            reason = " ".join(str(error).split()) or type(error).__name__
    raise ValueError(f"{os.fspath(path)} cannot be read as an image: {reason}")


def photographs() -> dict[str, Image.Image]:
    """Read the bundled photographs: real ones in the wheels of scikit-image and scikit-learn.

    They show a cat, a cup of coffee, a motorcycle, a rocket, a photographer (grey), a palace and a
    flower; ImageNet has a class for something in each of them. Nothing is downloaded, and neither
    package is imported.

    Returns:
        Name to ``PIL.Image.Image`` of mode ``"RGB"``, always in the same order.

    Raises:
        ImportError: A package is missing, or is installed without its pictures.

    Example::

        >>> {name: image.size for name, image in photographs().items()}["chelsea"]
        (451, 300)
    """
    return {name: load_photograph(_shipped(*where)) for name, where in _SHIPPED.items()}


def _shipped(package: str, file: str) -> Path:
    """Return the path of a file in an installed package; the package is not imported."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder, file)).is_file():
            return path
    what = "is not installed" if spec is None else f"is installed without {file}"
    raise ImportError(
        "the photographs are those of scikit-image and scikit-learn, and "
        f"{_WHEELS[package]} {what}; "
        'pip install "captum-spectral[demo]" installs both',
        name=package,
    )


def _unidentified(head: bytes) -> str:
    """Return why a file that begins with ``head`` is in no format that is read."""
    if not head:
        return "it is empty"
    kind = foreign_kind(head)
    what = f"it is {kind}, in" if kind else "it is damaged or in"
    return f"{what} no image format that is read here ({', '.join(formats())})"
