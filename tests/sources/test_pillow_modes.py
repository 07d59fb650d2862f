"""Every mode of Pillow and every kind of coloured TIFF, pixel by pixel against slow references."""

import colorsys
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import over_white, tiff
from PIL import Image

from captum_spectral.sources.decoding import to_rgb
from captum_spectral.sources.images import load_photograph


def lab(L, a, b):
    """A colour of CIE L*a*b* (a and b from -128) as sRGB, in the words of both standards."""
    fy = (L / 255 * 100 + 16) / 116

    def inverse(t):
        return t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29)

    white = 0.96422, 1.0, 0.82521  # D50
    f = fy + (a - 256 * (a > 127)) / 500, fy, fy - (b - 256 * (b > 127)) / 200
    xyz = np.array([w * inverse(t) for w, t in zip(white, f, strict=True)])
    to_linear = np.array(  # from XYZ of D50, adapted after Bradford
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    linear = (to_linear @ xyz).clip(0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


def ycc(y, cb, cr):
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    return np.clip([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue], 0, 255)


# How one pixel of a mode looks over white.
SHOWN = {
    "1": lambda v: [255 * bool(v)] * 3,
    "L": lambda v: [v] * 3,
    "LA": lambda v, a: over_white(np.full(3, v), np.array(a / 255)),
    "La": lambda v, a: [v + 255 - a] * 3,
    "RGB": lambda *c: c,
    "RGBX": lambda r, g, b, x: (r, g, b),
    "RGBA": lambda r, g, b, a: over_white(np.array([r, g, b]), np.array(a / 255)),
    "RGBa": lambda r, g, b, a: np.array([r, g, b]) + 255 - a,
    "CMYK": lambda c, m, y, k: (255 - np.array([c, m, y])) * (255 - k) / 255,
    "YCbCr": ycc,
    "LAB": lab,
    "HSV": lambda *c: 255 * np.array(colorsys.hsv_to_rgb(*(x / 255 for x in c))),
    "I": lambda v: [v / 257] * 3,
    "I;16": lambda v: [v / 257] * 3,
    "I;16B": lambda v: [v / 257] * 3,
    "I;16L": lambda v: [v / 257] * 3,
    "I;16N": lambda v: [v / 257] * 3,
}
PALETTES = ("P", "PA")


def test_there_is_a_reference_for_every_mode():
    assert set(Image.MODES) <= {*SHOWN, *PALETTES, "F"}


def in_memory(mode, random, size):
    """An image with random pixels, and these."""
    height, width = size
    if mode.startswith("I"):
        pixels = random.integers(0, 65536, (height, width))
        native = "<u2" if sys.byteorder == "little" else ">u2"
        kind = {"I": "i4", "I;16B": ">u2", "I;16N": native}.get(mode, "<u2")
        return Image.frombytes(mode, (width, height), pixels.astype(kind).tobytes()), pixels
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = random.integers(0, 256, (height, width, channels))
    if mode in ("La", "RGBa"):
        pixels = np.minimum(pixels, pixels[..., -1:])
    if mode == "LAB":  # colours well inside of what a screen shows; Pillow has coarse tables
        pixels[..., 0] = random.integers(110, 230, (height, width))
        pixels[..., 1:] = random.integers(-12, 13, (height, width, 2)) % 256
    if mode == "1":
        image = Image.fromarray((pixels[..., 0] > 127).astype(np.uint8) * 255).convert("1")
        return image, pixels[..., 0] > 127
    return Image.frombytes(mode, (width, height), pixels.astype(np.uint8).tobytes()), pixels


@given(st.sampled_from(sorted(SHOWN)), st.integers(0, 2**32 - 1))
def test_every_mode_looks_as_it_is_defined(mode, seed):
    random = np.random.default_rng(seed)
    image, pixels = in_memory(mode, random, random.integers(1, 6, 2))
    expected = [[SHOWN[mode](*np.atleast_1d(pixel)) for pixel in row] for row in pixels.tolist()]
    got = np.asarray(to_rgb(image), float)
    assert np.abs(got - np.array(expected, float)).max() <= (1.5 if mode == "LAB" else 1.01)


@given(st.sampled_from(PALETTES), st.sampled_from(["", "RGBA", "one", "each"]), st.integers(0, 999))
def test_palettes_look_as_their_entries(mode, transparency, seed):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 6, 2)
    index = random.integers(0, 16, (height, width)).astype(np.uint8)
    colours, opacity = random.integers(0, 256, (256, 3)), np.full(256, 255)
    own = np.full((height, width), 255)
    image = Image.fromarray(index)
    if mode == "PA":  # each pixel has an opacity of its own
        own = random.integers(0, 256, (height, width))
        image = Image.merge("LA", (image, Image.fromarray(own.astype(np.uint8))))
        transparency = ""
    if transparency:
        opacity[:16] = random.integers(0, 256, 16) if transparency != "one" else 255
    if transparency == "one":
        opacity[3] = 0
    palette = np.concatenate([colours, opacity[:, None]], 1) if transparency == "RGBA" else colours
    image.putpalette(
        palette.astype(np.uint8).tobytes(), "RGBA" if transparency == "RGBA" else "RGB"
    )
    assert image.mode == mode
    if transparency == "each":
        image.info["transparency"] = bytes(opacity[:16].tolist())
    elif transparency == "one":
        image.info["transparency"] = 3
    alpha = opacity[index] * own / 255 / 255
    got = np.asarray(to_rgb(image), float)
    assert np.abs(got - over_white(colours[index], alpha)).max() <= 1.01


@given(st.sampled_from(["1", "L", "RGB", "I;16", "I"]), st.integers(0, 999))
def test_one_transparent_colour_is_white_and_no_other(mode, seed):
    random = np.random.default_rng(seed)
    image, pixels = in_memory(mode, random, (4, 5))
    key = pixels[0, 0].tolist()
    image.info["transparency"] = tuple(key) if mode == "RGB" else int(np.ravel(key)[0])
    if mode == "1":
        image.info["transparency"] = 255 * bool(key)
    expected = [
        [
            (255,) * 3 if (pixel == pixels[0, 0]).all() else SHOWN[mode](*np.atleast_1d(pixel))
            for pixel in row
        ]
        for row in pixels
    ]
    got = np.asarray(to_rgb(image), float)
    assert np.abs(got - np.array(expected, float)).max() <= 1.01


@pytest.mark.parametrize("value", [0.5, 1.0, 255.0, float("nan")])
def test_floating_point_numbers_have_no_white(value):
    with pytest.raises(ValueError, match="floating-point numbers, of which none is agreed"):
        to_rgb(Image.new("F", (2, 2), value))


@pytest.mark.parametrize("value", [-1, 65536, 2**31 - 1])
def test_whole_numbers_beyond_16_bits_have_no_white(value):
    with pytest.raises(ValueError, match=r"its pixels reach from .*outside of 16 bits"):
        to_rgb(Image.new("I", (2, 2), value))


def shown_tiff(samples, bits, photometric, palette):
    levels = samples / (2**bits - 1) * 255
    if photometric == 2:
        return levels
    if photometric == 3:
        return palette[samples[..., 0]] / 257
    if photometric == 6:
        return np.array([[ycc(*pixel) for pixel in row] for row in levels])
    return (255 - levels[..., :3]) * (255 - levels[..., 3:]) / 255  # 5: separated inks


COLOURS = {2: 3, 3: 1, 5: 4, 6: 3}
READ = {(2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (5, 8), (5, 16), (6, 8)}


@given(
    st.sampled_from(sorted(COLOURS)),
    st.sampled_from([1, 2, 4, 8, 12, 16]),
    st.sampled_from("<>"),
    st.integers(0, 999),
)
def test_every_coloured_tiff_is_right_or_refused(path, photometric, bits, order, seed):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 6, 2)
    samples = random.integers(0, 2**bits, (height, width, COLOURS[photometric]))
    palette = random.integers(0, 65536, (2**bits, 3))
    more = [(320, 3, palette.T.ravel().tolist())] if photometric == 3 and bits <= 8 else []
    path.write_bytes(tiff(samples, bits, photometric, order=order, more=more))
    if (photometric, bits) not in READ:
        with pytest.raises(ValueError, match=r"picture\.tif cannot be read as an image"):
            load_photograph(path)
        return
    got = np.asarray(load_photograph(path), float)
    assert np.abs(got - shown_tiff(samples, bits, photometric, palette)).max() <= 1.7


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tiff") / "picture.tif"
