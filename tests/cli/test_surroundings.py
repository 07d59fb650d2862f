"""Terminals, names and places for results, in every combination: nothing lost, everything named."""

import errno
import inspect
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from captum_spectral.cli import main
from captum_spectral.studies import files

FOLDER = os.fsdecode(b"Stra\xdfe")  # Latin-1, and no text in UTF-8
NAMES = ("кот.png", os.fsdecode(b"fl\xfcche.png"), "図\x1b[2J.png")
ENCODINGS = ("ascii", "cp1252", "utf-8")
PLACES = ("new", "link", "pipe", "full disk", "full terminal")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")


@pytest.fixture
def pictures(place):
    """A folder whose name is no text, with three pictures and two broken ones."""
    os.mkdir(FOLDER)
    for i, name in enumerate(("a.png", *NAMES[:2])):
        Image.open("photo.png").rotate(90 * i).save(os.path.join(FOLDER, name))
    for name in (NAMES[2], "б.png"):
        Path(FOLDER, name).write_bytes(b"junk")
    return place


def in_encoding(encoding, *args):
    apart = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    result = CliRunner(charset=encoding, **apart).invoke(main, list(map(str, args)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert b"\x1b" not in result.stdout_bytes + result.stderr_bytes
    return result


def no_space(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("where", PLACES)
def test_explain_in_every_surrounding(pictures, where, encoding, monkeypatch):
    image = os.path.join(FOLDER, NAMES[0] if encoding == "ascii" else NAMES[1])
    args = ["explain", image, "--model", f"{pictures}:net", "--bands", "2", "--json", "x.json"]
    read = []
    if where == "link":
        os.mkdir("there")
        os.symlink("there/y.json", "x.json")
    elif where == "pipe":
        os.mkfifo("x.json")
        reader = threading.Thread(target=lambda: read.append(Path("x.json").read_bytes()))
        reader.start()
    elif where == "full disk":
        os.symlink("/dev/full", "x.json")
    elif where == "full terminal":
        args += ["--out", "x.svg"]
        monkeypatch.setattr("click.echo", no_space)
    result = in_encoding(encoding, *args)
    if where == "full disk":
        assert result.exit_code == 1
        assert "x.json cannot be written: No space left on device" in result.stderr
        assert os.readlink("x.json") == "/dev/full"
        return
    if where == "pipe":
        reader.join(20)
    document = json.loads(read[0] if where == "pipe" else Path("x.json").read_bytes())
    assert document["image"]["file"] == image
    if where == "full terminal":
        assert result.exit_code == 1
        assert "No space left on device" in result.stderr
        assert "<svg" in Path("x.svg").read_text()
        return
    assert result.exit_code == 0, result.stderr
    assert "efficiency gap" in result.stdout
    assert "written x.json" in result.stdout
    if where == "link":
        assert os.path.islink("x.json")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("where", PLACES)
def test_score_in_every_surrounding(pictures, where, encoding, monkeypatch):
    args = ["score", "--data", FOLDER, "--model", f"{pictures}:net", "--bands", "3", "--out", "out"]
    written = {"importance.json", "importance.png", "importance.svg", "report.html", "summary.txt"}
    if encoding != "cp1252":  # once drawn is enough
        quick = {"png": b"png", "svg": b"svg"}
        monkeypatch.setattr("captum_spectral.report.importance.figure", lambda *args: quick)
    if where == "link":
        os.mkdir("there")
        os.symlink("there", "out")
    elif where == "pipe":
        os.mkfifo("out")
        result = in_encoding(encoding, *args)
        assert result.exit_code == 1
        assert "out cannot be made: File exists" in result.stderr
        assert Path("out").is_fifo()
        return
    elif where == "full disk":  # from the figure on
        real, count = os.fsync, []

        def fsync(file):
            count.append(file)
            return no_space() if len(count) > 2 else real(file)

        monkeypatch.setattr(files.os, "fsync", fsync)
        result = in_encoding(encoding, *args)
        assert result.exit_code == 1
        assert "importance.png cannot be written: No space left on device" in result.stderr
        left = set(os.listdir("out"))
        assert left == {"importance.json", f"checkpoint-{pictures}-net.safetensors"}
        monkeypatch.setattr(files.os, "fsync", real)
        args.append("--resume")
    elif where == "full terminal":
        with monkeypatch.context() as patch:
            patch.setattr("click.echo", no_space)
            result = in_encoding(encoding, *args)
        assert result.exit_code == 1
        assert "No space left on device" in result.stderr
        assert set(os.listdir("out")) > written
        args.append("--resume")
    result = in_encoding(encoding, *args)
    assert result.exit_code == 0, result.stderr
    assert set(os.listdir("out")) == written
    assert os.path.islink("out") == (where == "link")
    document = json.loads(Path("out/importance.json").read_text())
    assert {entry["name"] for entry in document["skipped"]} == {"б.png", NAMES[2]}
    assert document["models"][0]["result"]["num_examples"] == 3
    assert document["data"]["name"] == FOLDER
    assert "  б.png: " in Path("out/summary.txt").read_text()
    # A terminal that says that it knows ASCII alone is misconfigured to click, which writes UTF-8.
    printed = result.stdout_bytes.decode("cp1252" if encoding == "cp1252" else "utf-8")
    assert ("\\u0431.png: " if encoding == "cp1252" else "б.png: ") in printed
    assert "\\x1b[2J.png: " in printed


# What the environment says, and how a name in Cyrillic comes out of it.
REAL = [
    ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "\\udcd0\\udcb1.png: "),
    ({"PYTHONIOENCODING": "cp1252"}, "\\u0431.png: "),
]


@pytest.mark.parametrize(("own", "shown"), REAL, ids=["C", "cp1252"])
def test_both_commands_in_a_process_of_their_own(pictures, own, shown):
    """The names are read from a real command line; the JSON document leaves by the output."""
    code = (
        "import sys; from captum_spectral.cli import main\n"
        "for line in (sys.argv[1:6], sys.argv[6:]):\n"
        "    main(line, standalone_mode=False)\n"
    )
    os.symlink("/dev/stdout", "x.json")
    os.mkdir("there")
    os.symlink("there", "out")
    model = ["--model", f"{pictures}:net"]
    first = ["explain", os.path.join(FOLDER, NAMES[0]), *model, "--json=x.json"]
    second = ["score", "--data", FOLDER, *model, "--bands", "3", "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, *first, *second],
        env={**os.environ, **own, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.decode("cp1252" if "PYTHONIOENCODING" in own else "utf-8")
    assert shown in printed
    assert "\\x1b[2J.png: " in printed
    assert "\x1b" not in printed
    document = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    assert os.fsencode(document["image"]["file"]) == os.fsencode(first[1])
    assert os.readlink("x.json") == "/dev/stdout"
    assert os.path.islink("out")
    assert len(os.listdir("there")) == 5
