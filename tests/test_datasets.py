"""Pictures by index: folders of every shape, torchvision's data sets, shipped views, label maps."""

import json
import os
import pickle
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets as torchvision_datasets

from captum_spectral.sources.datasets import open_folder, open_torchvision, shipped_views
from captum_spectral.sources.images import photographs
from captum_spectral.sources.labels import class_ids, read_label_map

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))


def names(pictures):
    return [pictures.name_of(i) for i in range(len(pictures))]


def labels(pictures):
    return [pictures.label(i) for i in range(len(pictures))]


# --------------------------------------------------------------------------- folders


@pytest.fixture
def tree(tmp_path):
    """``tree("cat/1.png", "dog/")`` writes images, and folders, and returns where."""
    root = tmp_path / "data"

    def write(*paths):
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if path.endswith("/"):
                (root / path).mkdir(parents=True, exist_ok=True)
            elif path.endswith((".txt", "README")):
                (root / path).write_text("words")
            else:
                Image.new("L", (4, 3), 50).save(root / path, format="PNG")
        return root

    return write


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


# --------------------------------------------------------------------------- torchvision


def idx(array):
    """An array of bytes in the format of MNIST's files."""
    head = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def fashion(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 3), ("t10k", 5)):
        shades = np.arange(count) * 10
        images = np.broadcast_to(shades[:, None, None], (count, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count)[::-1]))
    return tmp_path


def test_fashion_mnist_is_its_test_part_in_rgb(fashion):
    pictures = open_torchvision("FashionMNIST", fashion)
    assert len(pictures) == 5
    assert pictures.name == "FashionMNIST (test)"
    assert pictures.name_of(4) == "FashionMNIST[4]"
    assert labels(pictures) == [4, 3, 2, 1, 0]
    assert pictures.classes[0] == "T-shirt/top"
    assert len(pictures.classes) == 10
    assert pictures.skipped == ()
    picture = pictures.load(3)
    assert (picture.mode, picture.size) == ("RGB", (28, 28))
    assert picture.getpixel((0, 0)) == (30, 30, 30)
    assert pictures.fingerprint() == open_torchvision("FashionMNIST", str(fashion)).fingerprint()


class Fake(torchvision_datasets.VisionDataset):
    """A data set whose entries, classes and parts a test decides."""

    entries = ()
    parts = ("test",)
    calls = ()

    def __init__(self, root, split="train", download=True):
        self.calls.append((split, download))
        if split not in self.parts:
            raise ValueError(f"Unknown value '{split}' for argument split")

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, i):
        if isinstance(self.entries[i], Exception):
            raise self.entries[i]
        return self.entries[i]


@pytest.fixture
def fake(monkeypatch):
    """``fake(entries, attribute=value, ...)`` is a data set of torchvision of the name Fake."""

    def make(entries, kind=Fake, **attributes):
        made = type("Fake", (kind,), {"entries": entries, "calls": [], **attributes})
        monkeypatch.setattr(torchvision_datasets, "Fake", made, raising=False)
        monkeypatch.setattr(
            torchvision_datasets, "__all__", (*torchvision_datasets.__all__, "Fake")
        )
        return made

    return make


GREY = Image.new("L", (4, 3), 9)


def test_the_part_is_test_and_else_val_and_nothing_is_downloaded(fake, tmp_path):
    made = fake([(GREY, 0)], parts=("train", "test", "val"))
    assert open_torchvision("Fake", tmp_path).name == "Fake (test)"
    assert made.calls == [("test", False)]
    made = fake([(GREY, 0)], parts=("train", "val"))
    assert open_torchvision("Fake", tmp_path).name == "Fake (val)"
    assert made.calls == [("test", False), ("val", False)]
    fake([(GREY, 0)], parts=("train",))
    with pytest.raises(ValueError, match=r"cannot open Fake \(val\) in .*: Unknown value 'val'"):
        open_torchvision("Fake", tmp_path)


class Whole(Fake):
    def __init__(self, root):
        pass


def test_a_data_set_without_parts_is_taken_whole(fake, tmp_path):
    fake([(GREY, 0)], kind=Whole)
    assert open_torchvision("Fake", tmp_path).name == "Fake (all)"


@pytest.mark.parametrize(
    "image",
    [
        GREY,
        Image.new("RGBA", (4, 3), (9, 9, 9, 255)),
        np.full((3, 4), 9, np.uint8),
        np.full((3, 4, 3), 9, np.uint8),
        torch.full((3, 3, 4), 9, dtype=torch.uint8),
        torch.full((1, 3, 4), 9 / 255),
    ],
    ids=["grey", "rgba", "array", "colour array", "tensor", "floating tensor"],
)
def test_images_of_every_type_become_rgb(fake, tmp_path, image):
    fake([(image, 0)])
    picture = open_torchvision("Fake", tmp_path).load(0)
    assert (picture.mode, picture.size) == ("RGB", (4, 3))
    assert picture.getpixel((2, 2)) == (9, 9, 9)


@pytest.mark.parametrize("label", [2, np.int64(2), torch.tensor(2)])
def test_labels_are_plain_integers(fake, tmp_path, label):
    fake([(GREY, label)])
    found = open_torchvision("Fake", tmp_path).label(0)
    assert found == 2
    assert type(found) is int


@pytest.mark.parametrize("label", [None, -1])
def test_labels_may_be_unknown(fake, tmp_path, label):
    fake([(GREY, label)])
    assert open_torchvision("Fake", tmp_path).label(0) is None


@pytest.mark.parametrize("attribute", ["targets", "labels", "_labels"])
def test_labels_at_hand_need_no_image(fake, tmp_path, attribute):
    fake([(GREY, 1), OSError("damaged")], **{attribute: [1, 0]})
    pictures = open_torchvision("Fake", tmp_path)
    assert labels(pictures) == [1, 0]
    with pytest.raises(ValueError, match=r"Fake\[1\] cannot be read: damaged"):
        pictures.load(1)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["cat", "dog"], ("cat", "dog")),
        ([("tench", "Tinca tinca"), ("hen",)], ("tench", "hen")),
        ([("crane", "bird"), ("crane", "lift")], ("crane, bird", "crane, lift")),
        (None, None),
        ("train", None),
    ],
)
def test_classes_are_the_names_of_the_data_set(fake, tmp_path, classes, expected):
    fake([(GREY, 0)], classes=classes)
    assert open_torchvision("Fake", tmp_path).classes == expected


@pytest.mark.parametrize(
    "entry", [GREY, (GREY, {"boxes": []}), (GREY, "a caption"), (GREY, 1, 2), (GREY, 0.5)]
)
def test_data_sets_for_other_tasks_are_refused(fake, tmp_path, entry):
    fake([entry])
    with pytest.raises(ValueError, match="Fake is not a data set for classification"):
        open_torchvision("Fake", tmp_path)


def test_a_damaged_first_picture_is_an_error_of_load(fake, tmp_path):
    fake([OSError("damaged"), (GREY, 3)])
    pictures = open_torchvision("Fake", tmp_path)
    assert pictures.load(1).mode == "RGB"
    with pytest.raises(ValueError, match=r"Fake\[0\] cannot be read: damaged"):
        pictures.load(0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fashionmnist", "no data set 'fashionmnist'; did you mean FashionMNIST"),
        ("CIFAR", "did you mean CIFAR10"),
        ("qqqqqqqq", "no data set 'qqqqqqqq'; see torchvision.datasets"),
        ("utils", "no data set 'utils'"),
        ("FakeData", "no data set 'FakeData'"),  # takes no folder
    ],
)
def test_unknown_data_sets(name, message):
    with pytest.raises(ValueError, match=message):
        open_torchvision(name, ".")


def test_missing_data_says_what_torchvision_said(tmp_path, fake):
    with pytest.raises(OSError, match=r"FashionMNIST \(test\) in .*: Dataset not found.*fetches"):
        open_torchvision("FashionMNIST", tmp_path)
    with pytest.raises(NotADirectoryError, match=r"no folder '.*gone' to look for CIFAR10 in"):
        open_torchvision("CIFAR10", tmp_path / "gone")
    with pytest.raises(ValueError, match=r"cannot open Flickr8k \(all\) in .*ann_file"):
        open_torchvision("Flickr8k", tmp_path)
    fake([])
    with pytest.raises(ValueError, match=r"Fake \(test\) in .* is empty"):
        open_torchvision("Fake", tmp_path)


# --------------------------------------------------------------------------- photographs


def test_shipped_views_are_five_squares_of_every_photograph():
    pictures = shipped_views()
    assert len(pictures) == 35
    assert len(set(names(pictures))) == 35
    assert Counter(name.split(", ")[0] for name in names(pictures)) == dict.fromkeys(
        photographs(), 5
    )
    assert pictures.classes is None
    assert set(labels(pictures)) == {None}
    views = [pictures.load(i) for i in range(35)]
    assert {view.mode for view in views} == {"RGB"}
    assert all(view.width == view.height >= 200 for view in views)
    assert len({view.tobytes() for view in views}) == 35


def test_views_are_cut_from_the_middle_and_the_corners():
    chelsea = photographs()["chelsea"]  # 451 x 300
    pictures = shipped_views()
    assert pictures.name_of(0) == "chelsea, view 0"
    assert pictures.load(0).tobytes() == chelsea.crop((75, 0, 375, 300)).tobytes()
    assert pictures.load(4).tobytes() == chelsea.crop((241, 90, 451, 300)).tobytes()
    assert pictures.fingerprint() == shipped_views().fingerprint()


def test_pictures_read_the_same_in_another_process(tree, fashion):
    for pictures in (
        open_folder(tree("a/1.png")),
        open_torchvision("FashionMNIST", fashion),
        shipped_views(),
    ):
        copy = pickle.loads(pickle.dumps(pictures))
        assert copy.load(0).tobytes() == pictures.load(0).tobytes()
        assert copy.fingerprint() == pictures.fingerprint()
        assert len(repr(copy)) < 300


# --------------------------------------------------------------------------- classes to outputs

CATEGORIES = ["tench", "crane", "hen", "crane"]


@pytest.mark.parametrize(
    ("classes", "options", "expected"),
    [
        (["b", "a"], {"label_map": {"a": 0, "b": 3, "c": 99}}, [3, 0]),
        (["1", "2"], {"label_map": {"1": 2, "2": 2}}, [2, 2]),  # the map comes first
        (["0", "1", "10", "2"], {"num_classes": 11}, [0, 1, 10, 2]),
        (["0003", "0001"], {"categories": CATEGORIES}, [3, 1]),
        (["hen", "tench"], {"categories": CATEGORIES}, [2, 0]),
        (["a", "b", "c", "d"], {}, [0, 1, 2, 3]),
        (["a", "b", "c", "d"], {"categories": CATEGORIES}, [0, 1, 2, 3]),
        (["a", "b", "hen", "crane"], {"categories": CATEGORIES}, [0, 1, 2, 3]),
    ],
)
def test_rules_from_classes_to_outputs(classes, options, expected):
    assert class_ids(classes, **{"num_classes": 4, **options}) == expected


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        (list("abcde"), {"label_map": {"a": 0}}, "no entry for the class b, c, d and 1 more"),
        (["a"], {"label_map": {"a": 4}}, r"class a stands for output 4, .* 4 outputs \(0 to 3\)"),
        (["a"], {"label_map": {"a": -1}}, "stands for output -1"),
        (["1", "4"], {}, "class 4 stands for output 4, .* give a label map"),
        (["hen", "crane"], {"categories": CATEGORIES}, "crane: .* several .* give a label map"),
        (
            ["a", "b", "c"],
            {},
            r"3 classes \(folders: a, b, c\), the model has 4 outputs; give a",
        ),
        (["²", "³"], {}, r"2 classes"),  # digits, but not numbers
        ([], {}, "0 classes"),
        (
            ["a", "hen", "rooster", "tench"],
            {"categories": CATEGORIES},
            "hen is number 1 of the data and 2 of .* have no a, rooster; .* give a label map",
        ),
    ],
)
def test_classes_that_no_rule_settles_ask_for_a_label_map(classes, options, message):
    with pytest.raises(ValueError, match=message):
        class_ids(classes, **{"num_classes": 4, **options})


IMAGENET = {"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("map.json", '{"cat": 3, "golf ball": 0}', {"cat": 3, "golf ball": 0}),
        ("map", '{"cat": 3}', {"cat": 3}),
        ("index.json", json.dumps(IMAGENET), {"n01440764": 0, "n01443537": 1}),
        ("map.txt", "cat 3\ndog\t5\n", {"cat": 3, "dog": 5}),
        ("map.csv", "cat,3\r\ngolf ball, 5\r\na, b,7", {"cat": 3, "golf ball": 5, "a, b": 7}),
        ("map.txt", "\ufeffcat 3\n\n", {"cat": 3}),
        ("map.txt", "0 0\n10 10\n", {"0": 0, "10": 10}),
        (
            "synsets.txt",
            "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n",
            {"n01440764": 0, "n01443537": 1},
        ),
        ("synsets.csv", "n01440764,tench\nn01443537,goldfish", {"n01440764": 0, "n01443537": 1}),
    ],
)
def test_label_maps_of_every_form(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_label_map(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "it is empty"),
        ("a.txt", "cat 1\ndog two\n", "line 2 must end in an integer .* 'dog two'"),
        ("a.csv", "folder,id\ncat,1\n", "line 1 must end in an integer .* 'folder,id'"),
        ("a.txt", "cat 1\n\ndog 2\n", "line 2 must end in an integer"),
        ("a.txt", "cat 1\ncat 2\n", "line 2: the folder cat comes a second time"),
        ("a.txt", "cat -1\n", "line 1: the id must be an integer from 0, got '-1'"),
        ("a.txt", "cat 1.0\n", "line 1: the id must be an integer from 0, got '1.0'"),
        ("a.txt", "n01 5 tench\nn02 7 hen\n", "line 1 has a number and words after the folder"),
        ("a.txt", "n01 tench\nn02\n", "line 2 must be 'folder id', .* got 'n02'"),
        ("a.txt", "n01 tench\n\nn02 hen\n", "line 2 must be"),
        ("a.txt", "n01 tench\nn01 hen\n", "line 2: the folder n01 comes a second"),
        ("a.json", '{"cat": 1,\n "dog": }', "line 2"),
        ("a.json", "[1, 2]", r'it must hold \{"folder": id'),
        ("a.json", "3", "it must hold"),
        ("a.json", "{}", "it must hold"),
        ("a.json", '{"cat": 1.5}', r'entry "cat" must be an integer, or a list .* got 1.5'),
        ("a.json", '{"cat": true}', 'entry "cat": the id must be an integer from 0, got True'),
        ("a.json", '{"cat": -2}', 'entry "cat": the id must be an integer from 0, got -2'),
        ("a.json", '{"cat": {"a": 1}}', 'entry "cat" must be'),
        ("a.json", '{"cat": []}', 'entry "cat" must be'),
        ("a.json", '{"cat": 1, "cat": 2}', 'entry "cat": the folder cat comes a second time'),
        ("a.json", '{"x": ["n01", "tench"]}', "entry \"x\": the id must .* got 'x'"),
        ("a.json", "[" * 100_000, "recursion|Recursion"),
        ("a.txt", b"\xff\xfe\x00", "utf-8"),
    ],
)
def test_bad_label_maps_name_file_and_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"{name} cannot be read as a label map: .*{message}"):
        read_label_map(path)


def test_a_label_map_that_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.json"):
        read_label_map(tmp_path / "nothing.json")
