"""Which files are pictures, by name and by content; none is a program that is run."""

import os
import stat

import pytest
from listed import names
from PIL import EpsImagePlugin, Image

from captum_spectral.sources.folders import open_folder
from captum_spectral.sources.formats import extensions, formats
from captum_spectral.sources.images import load_photograph

LOOP = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n{} loop\n",
    b"\xc5\xd0\xd3\xc6" + b"\x20\0\0\0" * 7,  # EPS with a preview
    b"\xd7\xcd\xc6\x9a" + bytes(40),
)


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program ``gs`` that leaves a trace; the path of the trace."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "gs"
    program.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/trace\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", str(program))
    return tmp_path / "trace"


@pytest.mark.parametrize("content", LOOP)
@pytest.mark.parametrize("name", ["logo.eps", "cat.jpg", "cat.png", "cat"])
def test_no_program_in_a_file_is_run_whatever_its_name(tmp_path, ghostscript, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} cannot .* a program, in no image format that"):
        load_photograph(tmp_path / name)
    assert not ghostscript.exists()


def test_the_formats_are_data_only_and_give_the_extensions():
    assert {"JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"} <= set(formats())
    assert not {"EPS", "WMF", "HDF5", "GRIB", "BUFR", "MPEG", "FITS", "FLI", "PCD"} & set(formats())
    known = Image.registered_extensions()
    assert {known[extension] for extension in extensions()} <= {*formats(), "MPO"}
    assert {".jpg", ".jpeg", ".png", ".tif", ".webp", ".mpo"} <= extensions()
    assert not {".eps", ".ps", ".wmf", ".pdf", ".h5", ".mpg"} & extensions()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(30), "it is HEIC, in no image format that is read here"),
        (b"\0\0\0\x18ftypmif1" + bytes(30), "it is HEIF, in no"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "it is JPEG XL, in no"),
        (b"%PDF-1.7", "it is PDF, in no"),
        (b"<svg/>", "it is damaged or in no image format that is read here .JPEG, PNG, "),
    ],
)
def test_foreign_pictures_are_called_by_their_name(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    if "HEI" in reason and "HEIF" in formats():
        pytest.skip("a plugin reads it")
    with pytest.raises(ValueError, match=rf"a.jpg cannot be read as an image: {reason}"):
        load_photograph(tmp_path / "a.jpg")


def test_what_may_be_a_picture_is_named_and_what_is_none_is_ignored(tree):
    root = tree(
        "a.png", "IMG_1.HEIC", "IMG_2.heif", "raw.CR2", "x.jxl", "scan", "logo.eps", "v.svg",
        "notes.txt", "README",
    )  # fmt: skip
    for name in (
        "LICENSE",
        "labels.csv",
        "a.xmp",
        "data.h5",
        "all.zip",
        "film.mp4",
        ".hidden.heic",
    ):
        (root / name).write_bytes(b"")
    pictures = open_folder(root)
    assert names(pictures) == ["a.png"]
    assert {name for name, _ in pictures.skipped} == {
        "IMG_1.HEIC", "IMG_2.heif", "raw.CR2", "x.jxl", "scan", "logo.eps", "v.svg",
    }  # fmt: skip
    reasons = dict(pictures.skipped)
    assert reasons["IMG_1.HEIC"].startswith(".heic is no extension of a format that is read here")
    assert reasons["scan"] == (
        "its name has no extension; rename it, to .jpg for instance, if it is a picture"
    )


def test_a_folder_of_foreign_pictures_alone_says_what_was_refused(tree):
    with pytest.raises(
        ValueError, match=r"no image .*; refused: cat/1.heic, .heic is no extension"
    ):
        open_folder(tree("cat/1.heic", "dog/2.heic"))


def test_links_to_foreign_pictures_are_named_once(tree, tmp_path):
    root = tree("a.png", "b.heic")
    (root / "c.heic").symlink_to(root / "b.heic")
    (root / "d.txt").symlink_to(tmp_path / "gone.txt")
    assert [name for name, _ in open_folder(root).skipped] == ["b.heic", "c.heic"]


def test_a_pipe_is_no_picture_and_is_not_waited_for(tree):
    root = tree("a.png")
    os.mkfifo(root / "b.png")
    assert names(open_folder(root)) == ["a.png"]
