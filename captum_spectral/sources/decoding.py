"""Turn an opened image of any depth, mode and colour space into 8-bit RGB over white."""

from __future__ import annotations

import functools
import io
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms

from captum_spectral.sources.formats import formats

__all__ = ["decode", "to_rgb"]

_MOST_PIXELS = 128_000_000  # no camera's photograph has more; 0.5 GB as RGB in memory
_LONGEST_SIDE = 50  # in short sides; a thinner strip has no square crop to speak of
_STRIP = 1 << 20  # pixels of deep grey that are scaled at once
_PNG_DEPTH = 24  # offset of the bits per sample in a PNG file
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _ORIENTATION = 258, 262, 339, 274  # tags of TIFF and EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(file: BinaryIO) -> Image.Image:
    """Decode an image to 8-bit RGB, upright, in sRGB and over white.

    Nothing in the file is executed: only formats that hold pixels are opened. Grey of more than 8
    bits takes three bytes per pixel on its way to 8.

    Args:
        file: Opened for reading in binary mode.

    Returns:
        A ``PIL.Image.Image`` of mode ``"RGB"``, fully read.

    Raises:
        PIL.UnidentifiedImageError: It is in no format that is read here.
        ValueError: It has more than 128 million pixels, numbers without an agreed white, or is a
            strip more than 50 times as long as it is wide.
        Exception: Decoders of damaged files raise nearly anything.
    """
    depth = _png_depth(file)
    return to_rgb(_opened(file), depth)  # not held here: what is replaced on the way is freed


def to_rgb(image: Image.Image, depth: int | None = None) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB, upright, in sRGB and over white.

    Args:
        image: As ``Image.open`` gives it, or made in memory.
        depth: Bits per sample of the PNG file that it is from; they tell which colour is the
            transparent one. Default: None, 8 bits

    Returns:
        A ``PIL.Image.Image`` of mode ``"RGB"``, fully read.

    Raises:
        ValueError: It holds numbers without an agreed white.
    """
    white, inverted = _white(image)
    image.load()
    profile, orientation = image.info.get("icc_profile"), _orientation(image)
    if _is_deep(image):
        image = _eight_bits(image, white, inverted)
    elif image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of which none is agreed as white")
    else:
        image = _with_alpha(image, depth)
    image = _over_white(_to_srgb(image, profile))
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _opened(file: BinaryIO) -> Image.Image:
    """Open an image without decoding it; raise if it is too large or too thin."""
    image: Image.Image = Image.open(file, formats=formats())
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise ValueError(
            f"it has {width} x {height} pixels, and at most {_MOST_PIXELS // 10**6} million are "
            "read; scale it down"
        )
    short, long = sorted(image.size)
    if long > _LONGEST_SIDE * short:
        raise ValueError(f"{width} x {height} pixels are a strip, not a photograph")
    return image


# ------------------------------------------------------------------ depth


def _png_depth(file: BinaryIO) -> int | None:
    """Return the bits per sample of a PNG file, which Pillow does not tell; None for others."""
    head = file.read(_PNG_DEPTH + 1)
    file.seek(0)
    return head[_PNG_DEPTH] if head.startswith(b"\x89PNG") and len(head) > _PNG_DEPTH else None


def _is_deep(image: Image.Image) -> bool:
    """Return whether an image is grey of more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;16")


def _white(image: Image.Image) -> tuple[int, bool]:
    """Return the number of white in grey of more than 8 bits, and whether 0 is white instead."""
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None or not _is_deep(image):
        return 65535, False  # Pillow scales the others (PGM, JPEG 2000) to 16 bits
    bits, signed = tags.get(_BITS, (1,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0] != 1
    if signed or bits > 16:
        raise ValueError(
            f"its pixels are {'signed ' * signed}integers of {bits} bits, of which none is agreed "
            "as white; save it with 8 bits, or with 16 bits without sign"
        )
    return (1 << bits) - 1, tags.get(_PHOTOMETRIC) == 0


def _eight_bits(image: Image.Image, white: int, inverted: bool) -> Image.Image:
    """Scale grey of more than 8 bits to mode ``"L"``, or ``"LA"`` where one grey is transparent."""
    width, height = image.size
    levels = np.arange(white + 1, dtype=np.uint32)
    # Half of white is added to round to the nearest; white itself gives 255.
    table = ((levels * 255 + white // 2) // white).astype(np.uint8)
    if inverted:
        table = table[::-1]
    transparent = image.info.get("transparency")
    alpha = None if transparent is None else np.full((height, width), 255, np.uint8)
    grey = np.empty((height, width), np.uint8)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):  # strips, so that no copy of the whole is made
        values = np.asarray(image.crop((0, top, width, min(height, top + rows))))
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > white:
            raise ValueError(
                f"its pixels reach from {low} to {high}, outside of {white.bit_length()} bits "
                f"(0..{white})"
            )
        grey[top : top + rows] = table[values]
        if alpha is not None:
            alpha[top : top + rows][values == transparent] = 0
    scaled = Image.fromarray(grey)
    return scaled if alpha is None else Image.merge("LA", (scaled, Image.fromarray(alpha)))


# ------------------------------------------------------------------ transparency


def _with_alpha(image: Image.Image, depth: int | None) -> Image.Image:
    """Return ``image`` with its transparency, however it is stored, as a channel."""
    transparent = image.info.get("transparency")
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    # Modes with transparency end in A, or in a where colours are premultiplied.
    if transparent is None and image.mode[-1] not in "Aa" and not palette.endswith("A"):
        return image
    if image.mode == "1":
        image = image.convert("L")
    if transparent is not None and depth is not None and image.mode in ("L", "RGB"):
        # PNG names a colour at the depth of the file, and the pixels are at 8 bits by now.
        image.info["transparency"] = (
            tuple(_at_eight_bits(x, depth) for x in transparent)
            if isinstance(transparent, tuple)
            else _at_eight_bits(transparent, depth)
        )
    return image.convert("LA" if image.mode in ("La", "LA") else "RGBA")


def _at_eight_bits(level: int, depth: int) -> int:
    """Return a level of a PNG file as Pillow gives it: the high byte, or scaled up."""
    level &= (1 << depth) - 1  # the bits above are to be ignored
    return level >> 8 if depth == 16 else level * 255 // ((1 << depth) - 1)


def _over_white(image: Image.Image) -> Image.Image:
    """Lay an image over white; return mode ``"RGB"``."""
    if image.mode[-1] == "A":
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


# ------------------------------------------------------------------ colours and orientation


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Convert colours to sRGB by the ICC profile in the file; a broken one is ignored."""
    is_lab = image.mode == "LAB"  # which has a meaning of its own and no conversion in Pillow
    if not is_lab and not isinstance(profile, bytes):
        return image
    if image.mode in ("P", "PA", "YCbCr", "RGBX", "HSV"):
        image = image.convert("RGB")
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image if alpha is None else image.convert(image.mode[:-1])
    transform = _transform(profile if isinstance(profile, bytes) else b"", colours.mode)
    if transform is None:
        return image
    converted = ImageCms.applyTransform(colours, transform)
    assert converted is not None  # only a conversion in place gives nothing
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


@functools.lru_cache(maxsize=8)  # a transform takes longer than a small picture, and most share one
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform of pixels to sRGB; None if they are to stay as stored."""
    srgb = ImageCms.createProfile("sRGB")
    if mode == "LAB":
        return ImageCms.buildTransform(ImageCms.createProfile("LAB"), srgb, mode, "RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB")
        return None if mode == "RGB" and _changes_little(transform) else transform
    except MemoryError:
        raise
    except Exception:  # damaged, or not of the channels that the pixels have
        return None


def _changes_little(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a transform is that of sRGB up to rounding, so that pixels stay as stored."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3)
    converted = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform), np.int16)
    return bool(np.abs(converted - grid).max() <= 2)


def _orientation(image: Image.Image) -> int:
    """Return the orientation in the EXIF data, 1 if there is none or it is damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # viewers show a picture with damaged EXIF data as it is stored
        return 1
