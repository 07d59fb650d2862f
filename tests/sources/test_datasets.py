"""Pictures by index: torchvision's data sets and the views that are shipped."""

import pickle
import struct
from collections import Counter

import numpy as np
import pytest
import torch
from listed import labels, names
from PIL import Image
from torchvision import datasets as torchvision_datasets

from captum_spectral.sources.datasets import open_folder, open_torchvision, shipped_views
from captum_spectral.sources.images import photographs

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


class Emnist(torchvision_datasets.MNIST):
    """A data set with both a split and a train, most of whose arguments are those of its base."""

    calls = ()

    def __init__(self, root, split, **kwargs):
        self.calls.append((split, kwargs))
        if split not in ("balanced", "letters"):
            raise ValueError(f"Unknown value '{split}' for argument split")

    def __len__(self):
        return 1

    def __getitem__(self, i):
        return GREY, 0


def test_a_data_set_of_several_asks_for_one_and_takes_the_test_part_of_it(fake, tmp_path):
    made = fake((), kind=Emnist)
    with pytest.raises(
        ValueError, match=r"Unknown value 'val' .*; say which part, as in Fake:PART"
    ):
        open_torchvision("Fake", tmp_path)
    made.calls.clear()
    assert open_torchvision("Fake:balanced", tmp_path).name == "Fake (balanced)"
    assert made.calls == [("balanced", {"train": False, "download": False})]
    with pytest.raises(ValueError, match=r"Fake \(other\) .* 'other'"):
        open_torchvision("Fake:other", tmp_path)


def test_another_part_can_be_asked_for(fake, fashion, tmp_path):
    made = fake([(GREY, 0)], parts=("train", "extra"))
    pictures = open_torchvision("Fake:extra", tmp_path)
    assert (pictures.name, pictures.name_of(0)) == ("Fake (extra)", "Fake[0]")
    assert made.calls == [("extra", False)]
    assert len(open_torchvision("FashionMNIST:train", fashion)) == 3
    assert len(open_torchvision("FashionMNIST:test", fashion)) == 5
    with pytest.raises(
        ValueError, match=r"FashionMNIST has no part 'val'; its parts: train and test"
    ):
        open_torchvision("FashionMNIST:val", fashion)
    fake([(GREY, 0)], kind=Whole)
    with pytest.raises(ValueError, match=r"Fake has no part 'test'; its parts: none"):
        open_torchvision("Fake:test", tmp_path)


def test_emnist_itself_says_which_parts_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"cannot open EMNIST .*balanced.*as in EMNIST:PART"):
        open_torchvision("EMNIST", tmp_path)
    with pytest.raises(OSError, match=r"cannot open EMNIST \(balanced\) .*Dataset not found"):
        open_torchvision("EMNIST:balanced", tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 0], np.uint16), np.array([1, 0], np.uint64), np.array([[1], [0]], np.uint8),
        np.array([True, False]), torch.tensor([1, 0], dtype=torch.uint16),
        torch.tensor([[1], [0]]), [np.uint16(1), np.uint16(0)],
        torch.tensor([[1], [0]]).unbind(),
    ],
    ids=repr,
)  # fmt: skip
def test_labels_of_every_type_of_integer(fake, tmp_path, values):
    entries = [(GREY, values[0]), (GREY, values[1])]
    fake(entries, targets=values)
    assert labels(open_torchvision("Fake", tmp_path)) == [1, 0]
    fake(entries)
    found = labels(open_torchvision("Fake", tmp_path))
    assert found == [1, 0]
    assert {type(label) for label in found} == {int}


def test_the_fingerprint_sees_labels_and_pictures(fake, tmp_path):
    def fingerprint(entries, **attributes):
        fake(entries, **attributes)
        return open_torchvision("Fake", tmp_path).fingerprint()

    shades = [(Image.new("L", (4, 3), i), i % 3) for i in range(30)]
    first = fingerprint(shades)
    assert first == fingerprint(list(shades))
    seen = {first}
    for i in (0, 4, 29):  # of those that are compared
        seen.add(fingerprint([*shades[:i], (Image.new("L", (4, 3), 200), i % 3), *shades[i + 1 :]]))
    seen.add(fingerprint([*shades[:29], (shades[29][0], 0)]))
    seen.add(fingerprint([*shades[:29], (OSError("damaged"), 0)]))
    targets = [i % 3 for i in range(30)]
    seen.add(fingerprint(shades, targets=targets))
    seen.add(fingerprint(shades, targets=[*targets[:5], 1, *targets[6:]]))  # of any picture
    assert len(seen) == 8


def test_transparent_pictures_of_a_data_set_are_laid_over_white(fake, tmp_path):
    clear = Image.new("RGBA", (4, 3), (0, 0, 0, 0))
    fake([(clear, 0), (Image.fromarray(np.full((3, 4), 25700, np.uint16)), 0)])
    pictures = open_torchvision("Fake", tmp_path)
    assert pictures.load(0).getpixel((0, 0)) == (255, 255, 255)
    assert pictures.load(1).getpixel((0, 0)) == (100, 100, 100)


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


def test_the_fingerprint_of_the_views_sees_their_pixels(monkeypatch):
    before = shipped_views().fingerprint()
    other = {**photographs(), "coffee": Image.new("RGB", (600, 400))}
    monkeypatch.setattr("captum_spectral.sources.pictures.photographs", lambda: other)
    assert shipped_views().fingerprint() != before


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
