"""Damaged files: an error with the name of the file, no hang, and nothing else is touched.

``CAPTUM_SPECTRAL_FUZZ=20000 python -m pytest tests/sources/test_fuzz.py`` runs for longer, with
other files each time.
"""

import io
import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_files import png, tiff
from PIL import Image
from safetensors.torch import save
from torch import nn

from captum_spectral.sources.checkpoints import Checkpoint, read_checkpoint, to_bytes
from captum_spectral.sources.formats import formats
from captum_spectral.sources.images import load_photograph
from captum_spectral.sources.labels import read_label_map
from captum_spectral.sources.weights import load_weights, read_state_dict

LONGER = int(os.environ.get("CAPTUM_SPECTRAL_FUZZ", "0"))
fuzz = settings(
    max_examples=LONGER or 300,
    derandomize=not LONGER,
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.filterwarnings("ignore")  # of Pillow and PyTorch, on what is odd in a file


@contextmanager
def only_named_errors(path, content, seconds=20):
    """Write a file; whatever reads it may raise an error that names it, soon, and touch nothing."""
    path.write_bytes(content)

    def too_long(*args):
        raise TimeoutError(f"more than {seconds} s")

    before = os.listdir(path.parent), path.stat().st_mtime_ns
    message = str(path)
    old = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    except TimeoutError:  # an OSError, too
        raise
    except (ValueError, OSError) as error:
        message = str(error)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert str(path) in message
    assert "\n" not in message
    assert (os.listdir(path.parent), path.stat().st_mtime_ns) == before
    assert path.read_bytes() == content


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@st.composite
def damaged(draw, files):
    """One of ``files`` with bytes changed, cut off, taken out or put in."""
    content = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        # Most of what decides how to read a file is at its beginning.
        at = at % 64 if draw(st.booleans()) else at
        piece = draw(st.binary(max_size=6) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f"]))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            content[at : at + len(piece)] = piece
        elif kind == 1:
            content[at:at] = piece
        elif kind == 2:
            del content[at : at + draw(st.integers(1, 30))]
        else:
            del content[at + draw(st.integers(0, len(content))) :]
    return bytes(content)


def pictures():
    """A small file of every format that Pillow writes and of every kind of PNG and TIFF."""
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 255, (9, 8, 3), np.uint8))
    found = []
    for kind in formats():
        with io.BytesIO() as file:
            try:
                image.save(file, format=kind)
            except (KeyError, OSError):  # it can only be read
                continue
            found.append(file.getvalue())
    grey = random.integers(0, 2, (5, 6, 1))
    found += [png(grey, depth, 0, transparent=b"\0\1") for depth in (1, 2, 4, 8, 16)]
    found.append(png(grey, 1, 3, palette=np.zeros((2, 3)), transparent=b"\0"))
    found.append(png(grey, 8, 0, profile=random.bytes(200)))
    found += [tiff(grey, bits, white) for bits in (1, 8, 12, 16) for white in (0, 1)]
    exif = Image.Exif()
    exif[274] = 6
    with io.BytesIO() as file:
        image.save(file, format="JPEG", exif=exif, icc_profile=random.bytes(200))
        found.append(file.getvalue())
    return found


@fuzz
@given(damaged(pictures()) | st.binary(max_size=200))
def test_any_file_as_a_picture(folder, content):
    path = folder / "picture.png"
    with only_named_errors(path, content):
        assert load_photograph(path).mode == "RGB"


def weights():
    """State dicts in every form of file."""
    found = []
    state = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).state_dict()
    for content, options in (
        (state, {}),
        ({"state_dict": state, "epoch": 3}, {}),
        (state, {"_use_new_zipfile_serialization": False}),
        (state, {"pickle_protocol": 4}),
    ):
        with io.BytesIO() as file:
            torch.save(content, file, **options)
            found.append(file.getvalue())
    return found


class Touching:
    """A payload that leaves a file behind when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@fuzz
@given(
    damaged([*weights(), save(nn.Linear(2, 2).state_dict())]),
    st.sampled_from(["pt", "safetensors"]),
)
def test_any_file_as_weights(folder, content, suffix):
    path = folder / f"weights.{suffix}"
    with only_named_errors(path, content):
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        load_weights(model, read_state_dict(path), str(path))


@fuzz
@given(st.data())
def test_no_damage_sets_a_payload_free(folder, data):
    marker = folder / "ran"
    with io.BytesIO() as file:
        torch.save({"weight": Touching(marker)}, file)
        content = data.draw(damaged([file.getvalue()]))
    with only_named_errors(folder / "payload.pt", content):
        read_state_dict(folder / "payload.pt")
    assert not marker.exists()


@fuzz
@given(damaged([to_bytes(Checkpoint({"seed": 0}, {"done": 3}, {"sum": torch.ones(2)}))]))
def test_any_file_as_a_saved_state(folder, content):
    path = folder / "state.safetensors"
    with only_named_errors(path, content):
        assert read_checkpoint(path).progress == {"done": 3}  # the digest covers everything


LABEL_MAPS = (
    b'{"cat": 3, "golf ball": 0}',
    json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}).encode(),
    b"cat 3\ndog\t5\n",
    "caf\u00e9,3\r\ngolf ball, 5\r\n".encode(),
    b"n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
)


@fuzz
@given(
    damaged(LABEL_MAPS)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["json", "txt"]),
)
def test_any_file_as_a_label_map(folder, content, suffix):
    path = folder / f"map.{suffix}"
    with only_named_errors(path, content):
        found = read_label_map(path)
        assert all(isinstance(name, str) and type(i) is int and i >= 0 for name, i in found.items())
