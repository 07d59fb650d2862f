"""The published corrupted data sets, read as they lie on disk."""

import pickle

import numpy as np
import pytest
from PIL import Image

from captum_spectral.sources.corrupted import open_cifar_c, open_imagenet_c

CLASSES = ("n01440764", "n02123045")


@pytest.fixture
def imagenet_c(tmp_path):
    """Two corruptions with two severities of two classes; the grey level says which."""
    for a, corruption in enumerate(("gaussian_noise", "jpeg_compression")):
        for severity in (1, 2):
            for b, name in enumerate(CLASSES):
                path = tmp_path / corruption / str(severity) / name
                path.mkdir(parents=True)
                for i in range(2):
                    level = 100 * a + 10 * severity + 2 * b + i
                    Image.new("L", (24, 20), level).save(path / f"ILSVRC2012_val_{i}.png")
    return tmp_path


@pytest.fixture
def cifar_c(tmp_path):
    """Three pictures at five severities: the first byte is the severity, the second the picture."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (15, 32, 32, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.repeat([1, 2, 3, 4, 5], 3)
    images[:, 0, 0, 1] = np.tile([0, 1, 2], 5)
    np.save(tmp_path / "fog.npy", images)
    np.save(tmp_path / "motion_blur.npy", images[::-1])
    np.save(tmp_path / "labels.npy", np.tile(np.array([7, 0, 3]), 5))
    return tmp_path


def test_a_corruption_and_severity_of_imagenet_c_is_a_folder_of_classes(imagenet_c):
    pictures = open_imagenet_c(imagenet_c, "jpeg_compression", 2)
    assert pictures.classes == CLASSES
    assert [pictures.label(i) for i in range(len(pictures))] == [0, 0, 1, 1]
    assert pictures.name_of(3) == "n02123045/ILSVRC2012_val_1.png"
    levels = [pictures.load(i).getpixel((0, 0))[0] for i in range(4)]
    assert levels == [120, 121, 122, 123]
    other = open_imagenet_c(str(imagenet_c), "jpeg_compression", np.int64(1))
    assert other.load(0).getpixel((0, 0))[0] == 110
    assert other.fingerprint() != pictures.fingerprint()


def test_a_severity_of_cifar_10_c_is_a_fifth_of_its_array(cifar_c):
    for severity in (1, 2, 3, 4, 5):
        pictures = open_cifar_c(cifar_c, "fog", severity)
        assert len(pictures) == 3
        assert [pictures.label(i) for i in range(3)] == [7, 0, 3]
        assert pictures.classes is None
        assert [pictures.load(i).getpixel((0, 0))[:2] for i in range(3)] == [
            (severity, 0),
            (severity, 1),
            (severity, 2),
        ]
    assert pictures.name_of(2) == "fog, severity 5 [2]"
    whole = np.load(cifar_c / "fog.npy")
    np.testing.assert_array_equal(np.asarray(pictures.load(1)), whole[13])
    assert pictures.load(-1).getpixel((0, 0))[:2] == (5, 2)  # of this severity
    with pytest.raises(IndexError):
        pictures.load(3)


def test_the_fingerprint_of_cifar_10_c_covers_pixels_labels_and_severity(cifar_c):
    def fingerprints():
        return [open_cifar_c(cifar_c, "fog", s).fingerprint() for s in (1, 2, 3, 4, 5)]

    before = fingerprints()
    assert len(set(before)) == 5
    images = np.load(cifar_c / "fog.npy")
    images[4, 31, 31, 2] ^= 1  # the second picture of severity 2
    np.save(cifar_c / "fog.npy", images)
    assert [a == b for a, b in zip(before, fingerprints(), strict=True)] == [
        True,
        False,
        True,
        True,
        True,
    ]
    np.save(cifar_c / "labels.npy", np.tile([7, 0, 4], 5))
    assert not set(before) & set(fingerprints())


def test_pictures_of_an_array_travel_to_other_processes(cifar_c):
    pictures = open_cifar_c(cifar_c, "fog", 4)
    travelled = pickle.loads(pickle.dumps(pictures))
    assert travelled.fingerprint() == pictures.fingerprint()
    assert len(pickle.dumps(pictures)) < 2000  # without the pixels


@pytest.mark.parametrize(
    ("corruption", "severity", "message"),
    [
        ("jpeg", 1, "has no corruption 'jpeg'; there are: gaussian_noise, jpeg_compression"),
        ("jpeg_compresion", 1, "'jpeg_compresion'; did you mean jpeg_compression"),
        ("../x", 1, "has no corruption '../x'"),
        ("gaussian_noise", 3, "gaussian_noise has no severity '3'; there are: 1, 2"),
    ],
)
def test_what_imagenet_c_does_not_have_is_named(imagenet_c, corruption, severity, message):
    with pytest.raises(ValueError, match=message):
        open_imagenet_c(imagenet_c, corruption, severity)


@pytest.mark.parametrize(
    ("corruption", "severity", "message"),
    [
        ("labels", 1, "has no corruption 'labels'; there are: fog, motion_blur"),
        ("motion-blur", 1, "did you mean motion_blur"),
        ("fog", 0, "severity must be from 1 to 5, got 0"),
        ("fog", 6, "severity must be from 1 to 5, got 6"),
    ],
)
def test_what_cifar_10_c_does_not_have_is_named(cifar_c, corruption, severity, message):
    with pytest.raises(ValueError, match=message):
        open_cifar_c(cifar_c, corruption, severity)


BROKEN = {
    "floats": (
        "fog.npy",
        np.zeros((15, 32, 32, 3)),
        r"must hold bytes \(5 N, H, W, 3\), got float",
    ),
    "grey": ("fog.npy", np.zeros((15, 32, 32), np.uint8), r"must hold bytes .* \(15, 32, 32\)"),
    "sixteen": ("fog.npy", np.zeros((16, 4, 4, 3), np.uint8), "hold 5 severities, got 16 pictures"),
    "empty": ("fog.npy", np.zeros((0, 4, 4, 3), np.uint8), "hold 5 severities, got 0 pictures"),
    "objects": ("fog.npy", np.array([{}]), "fog.npy cannot be read as an array: .*objects"),
    "few labels": (
        "labels.npy",
        np.zeros(3, int),
        r"must hold 15 classes from 0, got int64",
    ),
    "no labels": ("labels.npy", np.zeros(15), "must hold 15 classes from 0, got float64"),
    "unknown": ("labels.npy", np.full(15, -1), "must hold 15 classes from 0"),
}


@pytest.mark.parametrize(("file", "array", "message"), BROKEN.values(), ids=list(BROKEN))
def test_files_that_hold_something_else_are_named(cifar_c, file, array, message):
    np.save(cifar_c / file, array)
    with pytest.raises(ValueError, match=message):
        open_cifar_c(cifar_c, "fog", 1)


def test_files_that_are_cut_off_or_missing_are_named(cifar_c):
    content = (cifar_c / "fog.npy").read_bytes()
    for size in (0, 60, 1000):
        (cifar_c / "fog.npy").write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"fog.npy cannot be read as an array"):
            open_cifar_c(cifar_c, "fog", 1)
    (cifar_c / "fog.npy").write_bytes(content)
    (cifar_c / "labels.npy").unlink()
    with pytest.raises(OSError, match=r"labels.npy"):
        open_cifar_c(cifar_c, "fog", 1)
    with pytest.raises(OSError, match="nowhere"):
        open_cifar_c(cifar_c / "nowhere", "fog", 1)
    with pytest.raises(OSError, match="nowhere"):
        open_imagenet_c(cifar_c / "nowhere", "fog", 1)


def test_severities_must_be_integers(cifar_c, imagenet_c):
    for opened in (open_cifar_c, open_imagenet_c):
        with pytest.raises(TypeError, match="float"):
            opened(cifar_c, "fog" if opened is open_cifar_c else "gaussian_noise", 1.0)
