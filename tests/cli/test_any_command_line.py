"""Any command line ends in a result or in one named error, soon, and touches its outputs alone.

``CAPTUM_SPECTRAL_FUZZ=20000 python -m pytest tests/cli/test_any_command_line.py`` runs for longer,
with other lines each time.
"""

import hashlib
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from explained import NET, runner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from captum_spectral.cli import main

LONGER = int(os.environ.get("CAPTUM_SPECTRAL_FUZZ", "0"))
NETS = "nets_of_any_command_line"
MODELS = [
    f"{NETS}:{name}" for name in ("net", "net", "one_number", "key_error", "never", "nothing")
]
MODELS += [
    "",
    ":",
    f"{NETS}:",
    f"./{NETS}.py:net",
    "torchvision:",
    "torchvision:no",
    "a:b:c",
    "é:ü",
]
PATHS = ["photo.png", "data", "data/cat", "map.json", "w.pt", "no.png", "", ".", "..", "/dev/null"]
PATHS += ["/dev/full", "out", "out/x.png", "x.png", "x.svg", "x.json", "link.png", "a\nb.png"]
NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "1.5",
    "nan",
    "1e9",
    "99999999999999999999",
    "exact",
    "noise",
    "",
]
FILES = ("--weights", "--out", "--json", "--data", "--root", "--label-map")
COUNTED = (
    "--target", "--bands", "--samples", "--seed", "--max-examples", "--tolerance", "--confidence",
    "--baseline", "--batch-size", "--perturbations-per-eval", "--save-every",
)  # fmt: skip
OPTIONS = {
    "--model": MODELS,
    **dict.fromkeys(FILES, PATHS),
    **dict.fromkeys(COUNTED, NUMBERS),
    "--workers": ["0", "-1", "x"],
    "--norm": ["linf", "l2", "l3"],
    "--spacing": ["linear", "octave", ""],
    "--device": ["cpu", "cuda:99", "meta", "quantum"],
}  # fmt: skip
FLAGS = [
    "--resume",
    "--strict",
    "--per-class",
    "--progress",
    "--no-progress",
    "--no-fuse",
    "--help",
]

pairs = st.sampled_from(sorted(OPTIONS)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(OPTIONS[name]))
)
text = st.text(max_size=6).filter(lambda x: "\0" not in x)  # no system passes that on
words = pairs | (st.sampled_from(FLAGS) | text).map(lambda x: (x,))
BEGINNINGS = [
    ("explain", "photo.png", "--model", MODELS[0], "--bands", "2"),
    ("score", "--data", "data", "--model", MODELS[0], "--bands", "2"),
    ("score", "--model", MODELS[0], "--samples", "1"),
    ("explain",),
    ("layers", "--model", MODELS[0], "--bands", "2"),
    ("demo", "--out", "photo.png"),
    (),
]
lines = st.tuples(st.sampled_from(BEGINNINGS), st.lists(words, max_size=5)).map(
    lambda line: [*line[0], *(word for words in line[1] for word in words)]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A current folder of pictures, a label map, damaged weights and models."""
    root = tmp_path_factory.mktemp("line")
    before, path = Path.cwd(), sys.path.copy()
    os.chdir(root)
    Path(f"{NETS}.py").write_text(NET)
    random = np.random.default_rng(0)
    for name in ("photo.png", "data/cat/1.png", "data/cat/2.png", "data/dog/1.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (24, 30, 3), np.uint8)).save(name)
    Path("map.json").write_text('{"cat": 1, "dog": 0}')
    Path("w.pt").write_bytes(b"no weights")
    Path("link.png").symlink_to("photo.png")
    yield root
    os.chdir(before)
    sys.path[:] = path
    sys.modules.pop(NETS, None)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Figures are drawn elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        files = {"png": b"png", "svg": b"svg"}
        patch.setattr("captum_spectral.report.importance.figure", lambda *args: files)
        patch.setattr("captum_spectral.report.layers.figure", lambda *args: files)
        patch.setattr("captum_spectral.report.figures.figure_of_explanation", lambda *args: b"x")
        patch.setattr("captum_spectral.cli.demo.run", lambda *args: None)
        yield


def seen(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).digest()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def outputs_of(line):
    """The places that a line says may be written; by default a folder of the command."""
    named = [line[i + 1] for i, word in enumerate(line[:-1]) if word in ("--out", "--json")]
    named += [w.split("=", 1)[1] for w in line if w.startswith(("--out=", "--json="))]
    return {os.path.normpath(name) for name in [*named, "report", "layers"]}


@settings(
    max_examples=LONGER or 100, derandomize=not LONGER, suppress_health_check=list(HealthCheck)
)
@given(line=lines)
def test_any_command_line(folder, line):
    before = seen(folder)

    def too_long(*args):
        raise AssertionError("more than 60 s")

    old = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    try:
        result = runner().invoke(main, line)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1, 2)
    assert "Traceback" not in result.stderr
    if result.exit_code:
        assert result.stderr.strip(), "an error without a word"
        assert "\x1b" not in result.stderr
    after = seen(folder)
    allowed = outputs_of(line)
    changed = {name for name in {**before, **after} if before.get(name) != after.get(name)}
    for name in changed:
        assert any(name == out or name.startswith(f"{out}/") or out == "." for out in allowed), name
    inputs = {name: content for name, content in before.items() if name.startswith("data/")}
    assert {name: after.get(name) for name in inputs} == inputs, "a picture is another one now"
    for name in changed:
        (folder / name).unlink(missing_ok=True)
    assert (folder / "photo.png").read_bytes()[:4] == b"\x89PNG"
