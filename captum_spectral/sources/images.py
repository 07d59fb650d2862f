"""Read photographs from files, and the few real ones that need no download."""

from __future__ import annotations

import importlib.util
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

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
_LONGEST_SIDE = 50  # in short sides; a thinner strip has no square crop to speak of


def load_photograph(path: str | os.PathLike[str]) -> Image.Image:
    """Read an image file as the 8-bit RGB picture that a viewer would show.

    The orientation in the EXIF data is applied, transparency is laid over white, 16-bit grey is
    scaled to 8 bits, other modes (grey, palette, CMYK, ...) are converted by Pillow, and of several
    frames the first is taken.

    Args:
        path: A file in any format that Pillow reads.

    Returns:
        A ``PIL.Image.Image`` of mode ``"RGB"``, fully read.

    Raises:
        OSError: The file cannot be opened (missing, a folder, no permission).
        ValueError: It is not an image, is truncated, is larger than Pillow takes for safe (twice
            ``PIL.Image.MAX_IMAGE_PIXELS``), holds numbers without an agreed white, or is a strip
            more than 50 times as long as it is wide. The message names the file and the reason.

    Example::

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "grey.png")
        >>> Image.new("L", (30, 20), color=100).save(path)
        >>> load_photograph(path).getpixel((0, 0))
        (100, 100, 100)
    """
    with open(path, "rb") as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on odd metadata, which is not used here
                return _read(file)
        except UnidentifiedImageError:
            file.seek(0, os.SEEK_END)
            reason = "it is in no image format that Pillow reads" if file.tell() else "it is empty"
        except MemoryError:
            raise
        except Exception as error:  # decoders of damaged files raise nearly anything
            reason = str(error) or type(error).__name__
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


def _read(file: BinaryIO) -> Image.Image:
    """Decode an image to RGB, upright and over white."""
    image: Image.Image = Image.open(file)
    image.load()
    image = _eight_bits(ImageOps.exif_transpose(image))
    # Modes with transparency end in A, or in a where colours are premultiplied.
    if image.mode[-1] in "Aa" or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    short, long = sorted(image.size)
    if long > _LONGEST_SIDE * short:
        raise ValueError(f"{image.size[0]} x {image.size[1]} pixels are a strip, not a photograph")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey with more than 8 bits to mode ``"L"``; return anything else as it is."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of which none is agreed as white")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"its pixels reach from {values.min()} to {values.max()}, outside of 16 bits (0..65535)"
        )
    # 65535 is 257 * 255: white stays white, and adding 128 rounds to the nearest.
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
