"""Photographs of every mode become RGB; damaged ones are named."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captum_spectral.sources.images import load_photograph, photographs


@pytest.fixture
def save(tmp_path):
    def save(image, name="image.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("RGB", (4, 3), (10, 20, 30)), (10, 20, 30)),
        (Image.new("L", (4, 3), 77), (77, 77, 77)),
        (Image.new("1", (4, 3), 1), (255, 255, 255)),
        (Image.new("P", (4, 3), 0), (0, 0, 0)),
        (Image.new("LA", (4, 3), (0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 3), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 3), (255, 0, 0, 255)), (255, 0, 0)),
        (Image.fromarray(np.full((3, 4), 65535, np.uint16)), (255, 255, 255)),
        (Image.fromarray(np.full((3, 4), 25700, np.uint16)), (100, 100, 100)),
    ],
)
def test_every_mode_becomes_rgb(save, image, pixel):
    photograph = load_photograph(save(image))
    assert photograph.mode == "RGB"
    assert photograph.size == (4, 3)
    assert photograph.getpixel((0, 0)) == pixel


def test_cmyk_palette_transparency_and_several_frames(save):
    cmyk = load_photograph(save(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "a.jpg"))
    assert cmyk.getpixel((0, 0)) == (255, 255, 255)
    palette = save(Image.new("P", (8, 8), 0), "b.png", transparency=0)
    assert load_photograph(palette).getpixel((0, 0)) == (255, 255, 255)
    clear = Image.new("L", (8, 8), 40)
    clear.paste(90, (0, 0, 4, 8))
    film = load_photograph(save(clear, "b.gif", transparency=40))
    assert (film.getpixel((0, 0)), film.getpixel((7, 0))) == ((90, 90, 90), (255, 255, 255))
    frames = [Image.new("L", (8, 8), grey) for grey in (40, 200)]
    film = save(frames[0], "c.tif", save_all=True, append_images=frames[1:])
    assert load_photograph(film).getpixel((0, 0)) == (40, 40, 40)


def test_exif_orientation_is_applied(save):
    image = Image.new("RGB", (6, 4))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated clockwise
    photograph = load_photograph(save(image, exif=exif))
    assert photograph.size == (4, 6)
    assert photograph.getpixel((3, 0)) == (255, 255, 255)


def test_damaged_files_are_named_with_the_reason(save, tmp_path, monkeypatch):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    whole = save(noise, "whole.jpg").read_bytes()
    for name, content, reason in [
        ("empty.jpg", b"", "it is empty"),
        ("text.jpg", b"not an image", "no image format"),
        ("half.jpg", whole[: len(whole) // 2], "truncated"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} cannot be read as an image: .*{reason}"):
            load_photograph(tmp_path / name)
    half = save(noise, "whole.png").read_bytes()[:5000]
    (tmp_path / "half.png").write_bytes(half)
    with pytest.raises(ValueError, match=r"half.png cannot be read as an image"):
        load_photograph(tmp_path / "half.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"whole.jpg cannot .* decompression bomb"):
        load_photograph(tmp_path / "whole.jpg")


def test_numbers_without_a_white_and_strips_are_refused(save):
    with pytest.raises(ValueError, match="floating-point"):
        load_photograph(save(Image.new("F", (4, 4), 0.5), "a.tif"))
    with pytest.raises(ValueError, match="signed integers of 32 bits, of which none is agreed"):
        load_photograph(save(Image.new("I", (4, 4), 100_000), "b.tif"))
    with pytest.raises(ValueError, match="1 x 51 pixels are a strip"):
        load_photograph(save(Image.new("L", (1, 51)), "c.png"))


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.png"):
        load_photograph(tmp_path / "nothing.png")
    with pytest.raises(IsADirectoryError):
        load_photograph(tmp_path)


def test_shipped_photographs_need_no_import_of_their_packages():
    pictures = photographs()
    assert list(pictures) == [
        "chelsea", "coffee", "motorcycle", "rocket", "camera", "china", "flower",
    ]  # fmt: skip
    assert {picture.mode for picture in pictures.values()} == {"RGB"}
    assert min(min(picture.size) for picture in pictures.values()) >= 224


def test_missing_photographs_say_how_to_install_them(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r'scikit-image is not .*"captum-spectral\[demo\]"'):
            photographs()
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    with pytest.raises(ImportError, match=r"scikit-image is installed without data/chelsea.png"):
        photographs()
