"""Folders of pictures: classes, links, damaged files, fingerprints."""

import os
from pathlib import Path

import numpy as np
import pytest
from listed import labels, names
from PIL import Image

from captum_spectral.sources.datasets import open_folder

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))


def test_sub_folders_are_classes_sorted_by_name(tree):
    pictures = open_folder(tree("dog/b.png", "cat/2.png", "cat/1.png", "cat/deep/er/0.png"))
    assert pictures.classes == ("cat", "dog")
    assert names(pictures) == ["cat/1.png", "cat/2.png", "cat/deep/er/0.png", "dog/b.png"]
    assert labels(pictures) == [0, 0, 0, 1]
    assert pictures.skipped == ()
    for i in (3, 0, 2):
        assert pictures.load(i).getpixel((0, 0)) == (50, 50, 50)


def test_a_class_without_images_keeps_its_number(tree):
    pictures = open_folder(tree("ant/", "bee/1.png", "cow/notes.txt", "dog/1.png"))
    assert pictures.classes == ("ant", "bee", "cow", "dog")
    assert labels(pictures) == [1, 3]


def test_a_flat_folder_has_no_labels(tree):
    pictures = open_folder(tree("b.png", "a.png", "empty/", "text/notes.txt"))
    assert pictures.classes is None
    assert names(pictures) == ["a.png", "b.png"]
    assert labels(pictures) == [None, None]


def test_only_images_that_are_not_hidden_are_listed(tree):
    root = tree(
        "a.PNG", "b.JpEg", "README", "notes.txt", "c.pdf", "d.h5", "noextension",
        ".hidden.png", ".cache/x.png", "folder.png/",
    )  # fmt: skip
    assert names(open_folder(root)) == ["a.PNG", "b.JpEg"]


def test_images_beside_folders_of_images_are_ambiguous(tree):
    with pytest.raises(ValueError, match=r"holds images \(a.png\) and folders with images \(c\)"):
        open_folder(tree("a.png", "b/", "c/deep/1.png"))


def test_a_folder_without_images_is_refused(tree):
    root = tree("cat/notes.txt", "dog/")
    with pytest.raises(ValueError, match=r"there is no image in .*data or its sub folders$"):
        open_folder(root)
    (root / "dog" / "a.png").symlink_to("/nowhere.png")
    with pytest.raises(ValueError, match=r"no image .*refused: dog/a.png, a link to a file outs"):
        open_folder(root)


def test_a_folder_that_cannot_be_read_is_an_os_error(tree, monkeypatch):
    root = tree("cat/1.png")
    with pytest.raises(FileNotFoundError, match=r"the folder '.*nothing' cannot be read: No such"):
        open_folder(root / "nothing")
    with pytest.raises(FileNotFoundError, match=r"the folder '' cannot be read"):
        open_folder("")
    with pytest.raises(NotADirectoryError, match=r"1.png' cannot be read: Not a dir"):
        open_folder(root / "cat" / "1.png")

    def locked(path, scandir=os.scandir):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(PermissionError, match=r"data/cat' cannot be read: Permission denied"):
        open_folder(root)


def test_links_are_followed_to_files_inside_only(tree, tmp_path):
    root = tree("cat/1.png", "dog/1.png")
    NOISE.save(tmp_path / "secret.png")
    for name, target in {
        "inside.png": root / "dog" / "1.png",
        "relative.png": "../dog/1.png",
        "outside.png": tmp_path / "secret.png",
        "broken.png": "gone.png",
        "self.png": "self.png",
        "notes.txt": tmp_path / "secret.png",
        "loop": root,
        "zoo": root / "dog",
    }.items():
        (root / "cat" / name).symlink_to(target)
    pictures = open_folder(root)
    assert names(pictures) == ["cat/1.png", "cat/inside.png", "cat/relative.png", "dog/1.png"]
    reasons = dict(pictures.skipped)
    assert {name for name, reason in reasons.items() if "link to a folder" in reason} == {
        "cat/loop",
        "cat/zoo",
    }
    assert "outside" in reasons["cat/outside.png"]
    assert "not there" in reasons["cat/broken.png"]
    assert set(reasons) == {
        "cat/loop", "cat/zoo", "cat/outside.png", "cat/broken.png", "cat/self.png",
    }  # fmt: skip


def test_the_folder_itself_may_be_a_link(tree, tmp_path):
    root = tree("cat/1.png")
    (root / "cat" / "2.png").symlink_to(root / "cat" / "1.png")
    (tmp_path / "link").symlink_to(root)
    pictures = open_folder(tmp_path / "link")
    assert names(pictures) == ["cat/1.png", "cat/2.png"]
    assert pictures.fingerprint() == open_folder(root).fingerprint()


def test_links_beside_a_flat_folder_are_reported_once(tree, tmp_path):
    root = tree("a.png", "more/notes.txt")
    (root / "more" / "b.png").symlink_to(tmp_path / "b.png")
    assert [name for name, _ in open_folder(root).skipped] == ["more/b.png"]


def test_names_need_not_be_unicode(tree):
    root = tree("a/1.png")
    try:
        (root / "a" / "1.png").rename(root / "a" / "\udcff.png")
    except OSError:
        pytest.skip("this file system takes only names in Unicode")
    pictures = open_folder(root)
    assert names(pictures) == ["a/\udcff.png"]
    assert pictures.load(0).size == (4, 3)


def test_the_fingerprint_follows_names_sizes_and_labels(tree, tmp_path):
    root = tree("a/1.png", "b/2.png")
    first = open_folder(root).fingerprint()
    assert first == open_folder(root).fingerprint()
    seen = {first}
    (root / "a" / "1.png").rename(root / "a" / "3.png")
    seen.add(open_folder(root).fingerprint())
    NOISE.save(root / "b" / "2.png")
    seen.add(open_folder(root).fingerprint())
    tree("Z/")  # shifts every label
    seen.add(open_folder(root).fingerprint())
    tree("Z/1.png")
    seen.add(open_folder(root).fingerprint())
    assert len(seen) == 5
    assert all(set(each) <= set("0123456789abcdef") for each in seen)


# What a file is and how the picture, or the complaint, looks.
READABLE = {
    "cmyk.jpg": (lambda p: Image.new("CMYK", (8, 8)).save(p), (255, 255, 255)),
    "deep.png": (
        lambda p: Image.fromarray(np.full((8, 8), 25700, np.uint16)).save(p),
        (100, 100, 100),
    ),
    "grey.png": (lambda p: Image.new("L", (8, 8), 77).save(p), (77, 77, 77)),
    "film.gif": (
        lambda p: Image.new("L", (8, 8), 40).save(
            p, save_all=True, append_images=[Image.new("L", (8, 8), 200)]
        ),
        (40, 40, 40),
    ),
    "clear.png": (lambda p: Image.new("RGBA", (8, 8)).save(p), (255, 255, 255)),
}


def half(path):
    NOISE.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


UNREADABLE = {
    "half.jpg": (half, "truncated"),
    "empty.png": (Path.touch, "it is empty"),
    "text.png": (lambda p: p.write_text("not an image"), "no image format"),
    "huge.png": (lambda p: Image.new("1", (200, 200)).save(p), "decompression bomb"),
}


@pytest.mark.parametrize("name", READABLE)
def test_every_kind_of_file_is_an_rgb_picture(tmp_path, name):
    write, pixel = READABLE[name]
    write(tmp_path / name)
    picture = open_folder(tmp_path).load(0)
    assert picture.mode == "RGB"
    assert picture.getpixel((0, 0)) == pixel


@pytest.mark.parametrize("name", UNREADABLE)
def test_damaged_files_are_listed_and_refused_when_read(tmp_path, monkeypatch, name):
    write, reason = UNREADABLE[name]
    write(tmp_path / name)
    Image.new("L", (8, 8)).save(tmp_path / "whole.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    pictures = open_folder(tmp_path)
    assert names(pictures) == [name, "whole.png"]
    with pytest.raises(ValueError, match=rf"{name} cannot be read as an image: .*{reason}"):
        pictures.load(0)
    assert pictures.load(1).size == (8, 8)


def test_files_that_vanish_are_errors_of_load(tree):
    root = tree("a/1.png", "a/2.png")
    pictures = open_folder(root)
    (root / "a" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"a/1.png"):
        pictures.load(0)
    assert pictures.load(1).size == (4, 3)


def test_nothing_is_opened_while_listing(tree, monkeypatch):
    root = tree("a/1.png", "b/2.png")

    def refuse(*args, **kwargs):
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    assert len(open_folder(root)) == 2


# ------------------------------------------------------------------ folders of folders


@pytest.mark.parametrize(
    ("paths", "advice"),
    [
        (["train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png"], "data/test"),
        (["Training/0/1.png", "Training/1/1.png", "Testing/0/1.png"], "data/Training"),
        (["train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png"], "data/train"),
        (["train2017/a/deep/1.png", "train2017/b/1.png", "val2017/x.txt"], "data/train2017"),
        (["test-set/a/1.png", "test-set/b/1.png"], "data/test-set"),
        (["north/cat/1.png", "north/dog/1.png", "south/cat/1.png", "south/dog/2.png"], "north"),
    ],
)
def test_the_folder_above_the_classes_is_refused_with_advice(tree, paths, advice):
    with pytest.raises(ValueError, match=rf"holds folders of folders .* give .*{advice}, or put"):
        open_folder(tree(*paths))


@pytest.mark.parametrize(
    "paths",
    [
        ["train/1.png", "test/1.png"],  # classes of what a picture shows
        ["train/steam/1.png", "bus/red/1.png", "bus/blue/1.png"],
        ["run/film1/1.png", "run/film2/1.png", "jump/film3/1.png", "jump/film4/1.png"],
        ["cat/01/1.png", "cat/02/1.png", "dog/01/1.png", "dog/02/1.png"],  # films by number
        ["cat/young/1.png", "cat/old/1.png", "dog/young/1.png", "dog/old/1.png", "dog/2.png"],
    ],
)
def test_classes_with_folders_of_their_own_stay_classes(tree, paths):
    pictures = open_folder(tree(*paths))
    assert pictures.classes == tuple(sorted({path.split("/")[0] for path in paths}))
    assert len(pictures) == len(paths)


@pytest.mark.parametrize("name", ["1.bmp", "1.ppm", "1.tif"])
def test_the_fingerprint_sees_other_content_of_the_same_size(tmp_path, name):
    NOISE.save(tmp_path / name)
    before, size = open_folder(tmp_path).fingerprint(), (tmp_path / name).stat().st_size
    time = (tmp_path / name).stat().st_mtime_ns
    NOISE.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / name)
    os.utime(tmp_path / name, ns=(time, time + 1))
    assert (tmp_path / name).stat().st_size == size
    assert open_folder(tmp_path).fingerprint() != before
