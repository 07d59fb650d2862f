"""The bundled photographs: what they are, who made them, and what networks say they show."""

import io
import json
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from captum_spectral.sources.datasets import shipped_photographs, shipped_views
from captum_spectral.sources.labels import class_ids
from captum_spectral.sources.models import load_model

ROOT = Path(__file__).parents[2]
FOLDER = files("captum_spectral.sources") / "photographs"
INDEX = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))


def test_at_least_80_different_pictures_of_one_view_each():
    pictures = shipped_photographs()
    assert len(pictures) >= 80
    images = [pictures.load(i) for i in range(len(pictures))]
    assert {image.mode for image in images} == {"RGB"}
    assert all(256 <= min(image.size) <= 288 for image in images)
    assert len({image.tobytes() for image in images}) == len(pictures)
    assert len({pictures.name_of(i) for i in range(len(pictures))}) == len(pictures)
    assert {pictures.group(i) for i in range(len(pictures))} == {None}
    assert {pictures.label(i) for i in range(len(pictures))} == {None}


def test_every_file_has_an_author_a_free_licence_and_a_source():
    shipped = {path.name for path in FOLDER.iterdir()}
    listed = {f"{entry['name']}.jpg" for entry in INDEX["photographs"]}
    assert shipped == listed | {"index.json", "ATTRIBUTION.md"}
    attribution = (FOLDER / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for entry in INDEX["photographs"]:
        assert entry["licence"] in ("public domain", "CC0-1.0")
        assert entry["source"].startswith("https://")
        assert entry["author"]
        row = [entry[key] for key in ("author", "licence", "source", "obtained")]
        assert f"| {entry['name']}.jpg | {' | '.join(row)} |" in attribution


def test_together_they_stay_small():
    assert sum(len(path.read_bytes()) for path in FOLDER.iterdir()) < 3_000_000


def test_a_consensus_is_what_the_network_says():
    model = load_model("efficientnet-lite0")
    pictures = shipped_photographs(consensus=0.75)
    outputs = class_ids(pictures.classes, 1000, model.categories)
    consensus = {e["name"]: e["consensus"] for e in INDEX["photographs"]}
    for i in range(len(pictures)):
        output = outputs[pictures.label(i)]
        assert output == consensus[pictures.name_of(i)]["class"]
        assert consensus[pictures.name_of(i)]["probability"] >= 0.75
        assert int(model.module(model.prepare(pictures.load(i))).argmax()) == output


def test_a_consensus_labels_all_pictures_or_leaves_them_out():
    for least in (0.0, 0.5):
        pictures = shipped_photographs(consensus=least)
        agreed = [e for e in INDEX["photographs"] if e["consensus"]]
        names = [e["name"] for e in agreed if e["consensus"]["probability"] >= least]
        assert [pictures.name_of(i) for i in range(len(pictures))] == names
        labels = {pictures.label(i) for i in range(len(pictures))}
        assert labels == set(range(len(pictures.classes)))
    with pytest.raises(ValueError, match=r"a probability from 0 to 1, got 1\.5"):
        shipped_photographs(consensus=1.5)
    with pytest.raises(ValueError, match=r"mean probability of 1\.0; give consensus=0\.5"):
        shipped_photographs(consensus=1.0)


def test_they_read_the_same_in_another_process():
    pictures = shipped_photographs()
    copy = pickle.loads(pickle.dumps(pictures))
    assert copy.load(3).tobytes() == pictures.load(3).tobytes()
    assert copy.fingerprint() == pictures.fingerprint()
    assert shipped_photographs(consensus=0.0).fingerprint() != pictures.fingerprint()
    assert len(repr(copy)) < 300


def test_views_of_a_photograph_are_one_group():
    for pictures in (shipped_views(), pickle.loads(pickle.dumps(shipped_views()))):
        groups = [pictures.group(i) for i in range(35)]
        assert groups == [i // 5 for i in range(35)]


# -------------------------------------------------------------------- how they were made


def resource_file(files, version):
    """A Qt resource file of ``folder/NAME`` for every name, as the compiler of Qt lays it out."""
    texts = ["folder", *files]
    names, offsets = b"", []
    for text in texts:
        offsets.append(len(names))
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
    data, starts = b"", []
    for _, (held, _) in files.items():
        starts.append(len(data))
        data += struct.pack(">I", len(held)) + held
    time = bytes(8) if version >= 2 else b""
    tree = struct.pack(">IHII", 0, 2, 1, 1) + time  # the root
    tree += struct.pack(">IHII", offsets[0], 2, len(files), 2) + time
    for offset, start, (_, flags) in zip(offsets[1:], starts, files.values(), strict=True):
        tree += struct.pack(">IHII", offset, flags, 0, start) + time
    head = 20
    places = head, head + len(tree), head + len(tree) + len(data)
    return b"qres" + struct.pack(">IIII", version, *places) + tree + data + names


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_resource_files_are_read(tools, tmp_path, version):
    from qt_resources import read_resources

    packed = struct.pack(">I", 500) + zlib.compress(b"long " * 100)
    path = tmp_path / "x.rcc"
    path.write_bytes(resource_file({"ä.txt": (b"short", 0), "b": (packed, 1)}, version))
    assert read_resources(path) == {"folder/ä.txt": b"short", "folder/b": b"long " * 100}
    path.write_bytes(resource_file({"c": (b"?", 4)}, version))
    with pytest.raises(ValueError, match="folder/c is compressed with Zstandard"):
        read_resources(path)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="is no Qt resource file"):
        read_resources(path)


README = """Copyright: A, 2020
License: CC0-1.0
Source: https://example.org/a
Files:
theHouse.webp
small.webp

Files: b.webp
License: CC-BY-SA 4.0
Copyright: B
"""


def test_only_free_and_large_photographs_are_taken(tools, tmp_path):
    import ship_photographs as ship

    def webp(*size):
        file = io.BytesIO()
        Image.new("RGB", size, (10, 200, 30)).save(file, "WEBP", lossless=True)
        return file.getvalue(), 0

    held = {"README": (README.encode(), 0), "theHouse.webp": webp(600, 400)}
    held |= {"small.webp": webp(300, 255), "b.webp": webp(600, 400)}
    for game in ship._GAMES:
        content = held if game == "erase" else {"README": (b"", 0)}
        (tmp_path / f"{game}.rcc").write_bytes(resource_file(content, 2))
    (taken,) = ship.of_gcompris(tmp_path)
    assert (taken.name, taken.author, taken.licence) == ("the-house", "A, 2020", "CC0-1.0")
    assert (taken.source, taken.obtained) == (
        "https://example.org/a",
        "GCompris 3.1, erase/theHouse.webp",
    )
    assert ship.scaled(taken.image).size == (432, 288)
    assert ship.scaled(Image.new("RGB", (270, 260))).size == (270, 260)  # never enlarged


def test_the_wheel_holds_them(tmp_path):
    source = tmp_path / "source"  # building leaves folders behind
    shutil.copytree(ROOT / "captum_spectral", source / "captum_spectral")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q"]
    built = subprocess.run(
        [*pip, "-w", tmp_path, source], capture_output=True, text=True, timeout=300
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    here = "captum_spectral/sources/photographs"
    assert {f"{here}/{path.name}" for path in FOLDER.iterdir()} <= names
