"""Every depth, mode, transparency and colour space against references that do not use Pillow."""

import struct
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import CHANNELS, over_white, png, shown_png, tiff
from PIL import Image, ImageCms

from captum_spectral.sources import decoding
from captum_spectral.sources.images import load_photograph

DEPTHS = [(0, d) for d in (1, 2, 4, 8, 16)] + [(3, d) for d in (1, 2, 4, 8)]
DEPTHS += [(kind, d) for kind in (2, 4, 6) for d in (8, 16)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures") / "picture"


def read(path, content):
    path.write_bytes(content)
    return np.asarray(load_photograph(path)).astype(float)


@given(st.sampled_from(DEPTHS), st.booleans(), st.integers(0, 2**32 - 1))
def test_every_png_is_shown_as_its_standard_says(path, what, has_transparency, seed):
    kind, depth = what
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 12, 2)
    samples = random.integers(0, 2**depth, (height, width, CHANNELS[kind]))
    if depth == 16 and kind == 2:  # Pillow keeps the high bytes, which alone tell colours apart
        samples = samples // 257 * 257
    palette = random.integers(0, 256, (2**depth, 3)) if kind == 3 else None
    transparent = None
    if has_transparency and kind == 3:
        transparent = bytes(random.integers(0, 256, random.integers(1, 2**depth + 1)).tolist())
    elif has_transparency and kind in (0, 2):
        transparent = struct.pack(f">{CHANNELS[kind]}H", *samples[0, 0].tolist())
    options = {"palette": palette, "transparent": transparent}
    expected = shown_png(samples, depth, kind, **options)
    got = read(path, png(samples, depth, kind, **options))
    # Pillow also cuts opacities of 16 bits to their high byte.
    assert np.abs(got - expected).max() <= (2.51 if depth == 16 and kind in (4, 6) else 1.01)


GREYS = [(b, p, o) for b in (1, 2, 4, 8, 12, 16) for p in (0, 1) for o in "<>"]
# Pillow does not open these: an error, and never a wrong picture.
UNREAD = {(12, 0, "<"), (12, 0, ">"), (12, 1, ">"), (16, 0, ">")}


@given(st.sampled_from(GREYS), st.integers(0, 2**32 - 1))
def test_every_grey_tiff_has_its_white(path, what, seed):
    bits, photometric, order = what
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 12, 2)
    samples = random.integers(0, 2**bits, (height, width, 1))
    samples[0, 0] = 2**bits - 1
    content = tiff(samples, bits, photometric, order=order)
    if what in UNREAD:
        with pytest.raises(ValueError, match="no image format"):
            read(path, content)
        return
    levels = samples / (2**bits - 1) * 255
    expected = np.repeat(levels if photometric else 255 - levels, 3, -1)
    assert np.abs(read(path, content) - expected).max() <= 0.501


def test_tiffs_with_an_opacity_are_laid_over_white(path):
    random = np.random.default_rng(0)
    samples = random.integers(0, 256, (9, 7, 4))
    alpha = samples[..., 3] / 255
    got = read(path, tiff(samples, 8, 2, extra=2))
    assert np.abs(got - over_white(samples[..., :3], alpha)).max() <= 1.01
    associated = np.minimum(samples, samples[..., 3:])  # colours times opacity
    got = read(path, tiff(associated, 8, 2, extra=1))
    assert np.abs(got - (associated[..., :3] + 255 - samples[..., 3:])).max() <= 1.51
    grey = associated[..., [0, 3]]
    got = read(path, tiff(grey, 8, 1, extra=1))
    assert np.abs(got - (associated[..., [0, 0, 0]] + 255 - samples[..., 3:])).max() <= 1.51
    grey = samples[..., [0, 3]]
    got = read(path, tiff(grey, 8, 1, extra=2))
    assert np.abs(got - over_white(grey[..., [0, 0, 0]], alpha)).max() <= 1.01


@pytest.mark.parametrize(
    ("bits", "sample_format", "reason"),
    [
        (16, 2, "signed integers of 16 bits"),
        (32, 1, "its pixels are integers of 32 bits"),
        (
            32,
            2,
            "signed integers of 32 bits, of which none is agreed as white; save it with 8 bits",
        ),
        (32, 3, "floating-point"),
    ],
)
def test_numbers_without_an_agreed_white_are_refused(path, bits, sample_format, reason):
    with pytest.raises(ValueError, match=reason):
        read(path, tiff(np.full((3, 3, 1), 900), bits, 1, sample_format=sample_format))


# Mode, a pixel, the format to save it in, and how it looks.
MODES = [
    ("1", 1, "PNG", (255, 255, 255)),
    ("L", 40, "PNG", (40, 40, 40)),
    ("P", 9, "GIF", (3, 3, 3)),
    ("RGB", (1, 2, 3), "BMP", (1, 2, 3)),
    ("RGB", (1, 2, 3), "TGA", (1, 2, 3)),
    ("RGB", (1, 2, 3), "PPM", (1, 2, 3)),
    ("RGB", (1, 2, 3), "PCX", (1, 2, 3)),
    ("RGB", (1, 2, 3), "SGI", (1, 2, 3)),
    ("RGB", (1, 2, 3), "QOI", (1, 2, 3)),
    ("RGBA", (0, 100, 200, 51), "TGA", (204, 224, 244)),
    ("RGBA", (0, 100, 200, 51), "QOI", (204, 224, 244)),
    ("RGBA", (0, 100, 200, 51), "WEBP", (204, 224, 244)),
    ("RGBA", (0, 100, 200, 51), "JPEG2000", (204, 224, 244)),
    ("LA", (100, 51), "PNG", (224, 224, 224)),
    ("LA", (100, 51), "TGA", (224, 224, 224)),
    ("RGBX", (1, 2, 3, 9), "TIFF", (1, 2, 3)),
    ("CMYK", (255, 0, 0, 0), "TIFF", (0, 255, 255)),
    ("YCbCr", (128, 128, 128), "TIFF", (128, 128, 128)),
    ("LAB", (255, 128, 128), "TIFF", (255, 255, 255)),
    ("LAB", (0, 128, 128), "TIFF", (0, 0, 0)),
    ("I;16", 25700, "PNG", (100, 100, 100)),
    ("I;16", 25700, "TIFF", (100, 100, 100)),
    ("I;16B", 25700, "TIFF", (100, 100, 100)),
    ("I;16", 25700, "JPEG2000", (100, 100, 100)),
    ("I;16", 25700, "PPM", (100, 100, 100)),
    ("I", 25700, "PPM", (100, 100, 100)),
]


@pytest.mark.parametrize(("mode", "pixel", "kind", "expected"), MODES)
def test_every_mode_of_pillow_in_a_file(path, mode, pixel, kind, expected):
    if kind not in decoding.formats():
        pytest.skip(f"this Pillow reads no {kind}")
    image = Image.new(mode, (8, 8), pixel)
    if mode == "P":
        image.putpalette([i // 9 for i in range(768)])  # entry i has the grey i // 3
    image.save(path, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    got = load_photograph(path)
    assert (got.mode, got.size) == ("RGB", (8, 8))
    assert np.abs(np.array(got.getpixel((4, 4))) - expected).max() <= 1


@pytest.mark.parametrize("maxval", [1, 100, 255, 1023, 4095, 65535])
def test_pgm_files_are_scaled_to_their_largest_number(path, maxval):
    width = 2 if maxval > 255 else 1
    pixels = b"".join(x.to_bytes(width, "big") for x in (maxval, maxval // 2, 0, maxval))
    got = read(path, b"P5 2 2 %d\n" % maxval + pixels)
    assert np.abs(got[..., 0].ravel() - [255, maxval // 2 / maxval * 255, 0, 255]).max() <= 1


# ------------------------------------------------------------------ colours, orientation, size


def swapped_profile():
    """A profile of sRGB in which red and blue change places."""
    p = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    starts = range(132, 132 + 12 * struct.unpack(">I", p[128:132])[0], 12)
    tags = {bytes(p[a : a + 4]): struct.unpack(">II", p[a + 4 : a + 12]) for a in starts}
    (r, n), (b, _) = tags[b"rXYZ"], tags[b"bXYZ"]
    p[r : r + n], p[b : b + n] = p[b : b + n], p[r : r + n]
    return bytes(p)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_profile_is_converted_to_srgb(path, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.new("RGB", (16, 16), (220, 30, 30))
    image.save(path, format=kind, icc_profile=swapped_profile(), **options)
    assert np.abs(np.array(load_photograph(path).getpixel((0, 0))) - (30, 30, 220)).max() <= 2


def test_a_profile_leaves_transparency_and_palettes_in_place(path):
    image = Image.new("RGBA", (4, 4), (220, 30, 30, 0))
    image.paste((220, 30, 30, 255), (0, 0, 2, 4))
    image.save(path, format="PNG", icc_profile=swapped_profile())
    got = load_photograph(path)
    assert got.getpixel((3, 0)) == (255, 255, 255)
    assert np.abs(np.array(got.getpixel((0, 0))) - (30, 30, 220)).max() <= 2
    samples, palette = np.zeros((2, 2, 1), int), np.array([[220, 30, 30], [0, 0, 0]])
    got = read(path, png(samples, 1, 3, palette=palette, profile=swapped_profile()))
    assert np.abs(got[0, 0] - (30, 30, 220)).max() <= 2


@pytest.mark.parametrize("profile", [b"", b"broken", swapped_profile()[:200]])
def test_a_broken_profile_and_one_of_other_channels_are_ignored(path, profile):
    Image.new("RGB", (4, 4), (220, 30, 30)).save(path, format="PNG", icc_profile=profile)
    assert load_photograph(path).getpixel((0, 0)) == (220, 30, 30)
    Image.new("L", (4, 4), 30).save(path, format="PNG", icc_profile=swapped_profile())
    assert load_photograph(path).getpixel((0, 0)) == (30, 30, 30)


def test_a_profile_of_srgb_leaves_pixels_as_they_are(path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    Image.fromarray(pixels).save(path, format="PNG", icc_profile=srgb)
    assert (np.asarray(load_photograph(path)) == pixels).all()


@pytest.mark.parametrize("orientation", range(1, 10))
def test_pictures_are_upright(path, orientation):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(path, format="PNG", exif=exif)
    upright = {
        2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.T,
        6: pixels[::-1].T, 7: pixels[::-1, ::-1].T, 8: pixels[:, ::-1].T,
    }  # fmt: skip
    got = np.asarray(load_photograph(path))[..., 0]
    assert (got == upright.get(orientation, pixels)).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_data_leaves_a_picture_as_it_is_stored(path):
    Image.new("L", (4, 3), 50).save(path, format="JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load_photograph(path).size == (4, 3)


def test_a_picture_of_too_many_pixels_says_so(path, monkeypatch):
    Image.new("1", (200, 100)).save(path, format="PNG")
    monkeypatch.setattr(decoding, "_MOST_PIXELS", 10_000)
    with pytest.raises(
        ValueError, match=r"picture cannot .*: it has 200 x 100 pixels, and at most"
    ):
        load_photograph(path)


def test_threads_leave_the_filters_of_warnings_alone(path):
    Image.new("P", (30, 30), 0).save(path, format="PNG", transparency=b"\x80")
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [load_photograph(path) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
