"""Formats of pictures: those that are only data, told by name and by content."""

from __future__ import annotations

import os

from PIL import Image

__all__ = ["extensions", "foreign_kind", "formats", "why_not_listed"]

# Formats of pixels and nothing else: none is a program (as EPS and WMF are, which Pillow hands to
# others), none needs a viewer of its own (FITS, GRIB), none is made of files (ICO, ICNS). TGA comes
# last, having no signature. HEIF and JXL are there when a plugin for Pillow has added them.
_FORMATS = (
    "JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "MPO", "AVIF", "HEIF", "JXL", "JPEG2000",
    "PPM", "PSD", "QOI", "SGI", "PCX", "TGA",
)  # fmt: skip

# What stands beside pictures without being one, passed over in silence: extensions and whole names.
_BESIDE = """
.txt .text .md .rst .csv .tsv .json .jsonl .ndjson .xml .yaml .yml .toml .ini .cfg .conf .html
.htm .css .js .log .lst .list .py .pyc .ipynb .sh .bat .m .r .c .cpp .h .h5 .hdf .hdf5 .mat .npy
.npz .pkl .pickle .pt .pth .ckpt .safetensors .onnx .parquet .arrow .feather .tfrecord .record
.lmdb .mdb .db .sqlite .idx .bin .zip .tar .gz .tgz .bz2 .xz .7z .rar .pdf .doc .docx .xls .xlsx
.ppt .pptx .odt .ods .rtf .tex .bib .xmp .aae .thm .url .lnk .tmp .bak .md5 .sha1 .sha256 .crc
.torrent .mp3 .wav .flac .ogg .m4a .mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv
readme license licence copying notice authors changelog makefile dockerfile contents index
checksums md5sums sha256sums
"""
_IGNORED = frozenset(_BESIDE.split())
_SIGNATURES = (
    (0, b"%!PS", "PostScript, which is a program"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript, which is a program"),
    (0, b"%PDF", "PDF"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypavif", "AVIF"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF, which is a program"),
)


def formats() -> tuple[str, ...]:
    """Return the names of the formats that are read, as Pillow calls them.

    Returns:
        Those of a fixed list that this Pillow, or a plugin that was imported, can open.

    Example::

        >>> "JPEG" in formats(), "EPS" in formats()
        (True, False)
    """
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def extensions() -> frozenset[str]:
    """Return the extensions of the formats that are read, in lower case and with their dot.

    Example::

        >>> ".jpg" in extensions(), ".eps" in extensions()
        (True, False)
    """
    readable = {*formats(), "MPO"}  # Pillow opens MPO as a JPEG
    known = Image.registered_extensions().items()
    return frozenset(extension for extension, kind in known if kind in readable)


def why_not_listed(name: str) -> str | None:
    """Return why a file is not taken for a picture; None if it plainly is none, such as a text.

    Args:
        name: Name of a file whose extension is not one of :func:`extensions`.

    Example::

        >>> why_not_listed("IMG_1.HEIC"), why_not_listed("notes.txt")
        ('.heic is no extension of a format that is read here; convert it to JPEG or PNG', None)
    """
    stem, extension = os.path.splitext(name)
    extension = extension.lower()
    if (extension or stem.lower()) in _IGNORED:
        return None
    if not extension:
        return "its name has no extension; rename it, to .jpg for instance, if it is a picture"
    return f"{extension} is no extension of a format that is read here; convert it to JPEG or PNG"


def foreign_kind(head: bytes) -> str | None:
    """Return what a file is that begins with ``head`` and is in none of :func:`formats`, if known.

    Example::

        >>> foreign_kind(b"%!PS-Adobe-3.0")
        'PostScript, which is a program'
    """
    return next((kind for at, mark, kind in _SIGNATURES if head[at:].startswith(mark)), None)
