"""The command line: what it prints and writes, and one clear line for everything that is wrong."""

import inspect
import json
import math
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

import captum_spectral
from captum_spectral import BandGame, SpectralShapley, band_frequencies, band_mask
from captum_spectral.cli import demo as demonstration
from captum_spectral.cli import files, main
from captum_spectral.sources.images import photographs
from captum_spectral.sources.models import load_model

NET = """
import torch
from torch import nn
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

small = Compose([Resize((24, 32)), ToTensor(), Normalize([0.5] * 3, [0.25] * 3)])

def net():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    return nn.Sequential(*layers), small

def plain():
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5))

def one_number():
    return lambda x: x.mean((1, 2, 3))

def infinite():
    return lambda x: x.mean((2, 3)) / 0

def wrong_shape():
    return nn.Linear(7, 3)

def key_error():
    return lambda x: {}["logits"]

def four_channels():
    return lambda x: x.mean((2, 3)), lambda image: torch.rand(4, 24, 32)

def never():
    raise RuntimeError("the model was loaded")
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A current folder with a photograph and a module of models, whose name this is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    name = f"nets_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(NET)
    return name


def runner():
    """Output and errors apart, which click 8.1 has to be told."""
    apart = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(mix_stderr=False) if apart else CliRunner()


def run(*args):
    result = runner().invoke(main, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def explain(place, *args, model="net"):
    result = run("explain", "photo.png", "--model", f"{place}:{model}", *args)
    assert result.exit_code == 0, result.output
    return result.output


def read_json(name):
    return json.loads(Path(name).read_text(encoding="utf-8"))


def rows_of(output):
    """Band, lowest and highest frequency, and the columns of numbers of every row."""
    rows = re.findall(r"^ *(\d+)   (\d\.\d+) to (\d\.\d+)((?: +[-+]?[\d.]+)+)$", output, re.M)
    return [(int(i), float(lo), float(hi), *map(float, x.split())) for i, lo, hi, x in rows]


# --------------------------------------------------------------------------- explain


def test_explain_prints_what_the_api_gives(place):
    output = explain(place)
    network = load_model(f"{place}:net")
    x = network.prepare(Image.open("photo.png"))
    logits = network.module(x)[0]
    target = int(logits.argmax())
    phi, delta = SpectralShapley(network.module).attribute(
        x, target, return_input_shape=False, return_convergence_delta=True
    )
    rows = rows_of(output)
    assert [row[0] for row in rows] == list(range(8))
    expected = torch.cat([band_frequencies(band_mask((24, 32))), phi.T], 1)
    np.testing.assert_allclose([row[1:] for row in rows], expected.detach(), atol=6e-4)
    assert "photo.png (80 x 60 pixels)" in output
    assert "input of 3 x 24 x 32" in output
    probability = logits.softmax(0)[target]
    assert f"class   {target}, probability {probability:.3g} (the model's pred" in output
    assert re.search(r"v\(all\) - v\(none\) +[-+]\d", output)
    assert (
        f"efficiency gap {float(delta):+.1e}".split()
        == re.search(r"efficiency gap +\S+", output).group().split()
    )


def test_columns_are_aligned(place):
    lines = explain(place, "--samples", 4).splitlines()
    start = lines.index("Values in logits") + 1
    head, *table = lines[start : start + 9]
    assert head.split()[2:] == ["Shapley", "value", "standard", "error"]
    ends = [head.index("value") + len("value"), len(head)]
    for line in table:
        assert [number.end() for number in re.finditer(r"[-+]?\d+\.\d+", line)][2:] == ends


def test_json_holds_everything(place):
    save_file(load_model(f"{place}:net").module.state_dict(), "w.safetensors")
    output = explain(
        place, "--json", "x.json", "--bands", 3, "--target", 2, "--weights", "w.safetensors"
    )
    document = read_json("x.json")
    assert "written x.json" in output
    assert document["image"] == {"file": "photo.png", "width": 80, "height": 60}
    assert document["model"] == {
        "name": f"{place}:net",
        "weights": "w.safetensors",
        "input_shape": [3, 24, 32],
        "device": "cpu",
    }
    assert document["method"] == {
        "name": "SpectralShapley",
        "num_bands": 3,
        "norm": "linf",
        "spacing": "linear",
        "exact": True,
        "n_samples": None,
        "seed": None,
    }
    assert (document["unit"], document["frequency_unit"]) == ("logits", "cycles/pixel")
    assert document["versions"].keys() >= {"captum_spectral", "captum", "torch", "torchvision"}
    assert document["versions"]["captum_spectral"] == captum_spectral.__version__

    network = load_model(f"{place}:net")
    x = network.prepare(Image.open("photo.png"))
    phi = SpectralShapley(network.module).attribute(x, 2, num_bands=3, return_input_shape=False)
    bands = document["bands"]
    assert [band["band"] for band in bands] == [0, 1, 2]
    assert [band["standard_error"] for band in bands] == [None] * 3
    np.testing.assert_allclose([band["value"] for band in bands], phi[0].detach(), rtol=1e-5)
    frequencies = band_frequencies(band_mask((24, 32), 3))
    np.testing.assert_allclose([band["frequencies"] for band in bands], frequencies)
    with torch.no_grad():
        ends = torch.cat([network.module(x), network.module(torch.zeros_like(x))])
    assert document["class"]["id"] == 2
    assert document["class"]["name"] is None
    assert document["class"]["is_prediction"] == (int(ends[0].argmax()) == 2)
    assert document["class"]["probability"] == pytest.approx(float(ends[0].softmax(0)[2]))
    values = document["value_all"], document["value_none"]
    assert values == pytest.approx(tuple(ends[:, 2].tolist()), abs=1e-5)
    gap = math.fsum(band["value"] for band in bands) - (values[0] - values[1])
    assert document["efficiency_gap"] == pytest.approx(gap, abs=1e-6)


def test_sampling_gives_standard_errors_and_follows_the_seed(place):
    def sampled(seed):
        explain(place, "--samples", 3, "--bands", 6, "--seed", seed, "--json", "s.json")
        return read_json("s.json")

    first, again, other = sampled(5), sampled(5), sampled(6)
    assert first == again
    assert first["bands"] != other["bands"]
    assert first["method"]["exact"] is False
    assert (first["method"]["n_samples"], first["method"]["seed"]) == (3, 5)
    network = load_model(f"{place}:net")
    phi, error = SpectralShapley(network.module).attribute(
        network.prepare(Image.open("photo.png")),
        first["class"]["id"],
        num_bands=6,
        n_samples=3,
        generator=torch.Generator().manual_seed(5),
        return_input_shape=False,
        return_standard_error=True,
    )
    bands = first["bands"]
    np.testing.assert_allclose([band["value"] for band in bands], phi[0].detach(), rtol=1e-5)
    np.testing.assert_allclose(
        [band["standard_error"] for band in bands], error[0].detach(), rtol=1e-4, atol=1e-9
    )


def test_norm_and_spacing_make_the_mask(place):
    explain(place, "--bands", 3, "--norm", "l2", "--spacing", "octave", "--json", "x.json")
    bands = read_json("x.json")["bands"]
    expected = band_frequencies(band_mask((24, 32), 3, "l2", "octave"))
    np.testing.assert_allclose([band["frequencies"] for band in bands], expected)


@pytest.mark.parametrize(
    ("name", "magic", "options"),
    [
        ("x.png", b"\x89PNG", ["--samples", 2]),
        ("X.PDF", b"%PDF", ["--bands", 1]),
        ("x.svg", b"<?xml", ["--bands", 5, "--norm", "l1"]),
    ],
)
def test_figures_in_every_format(place, name, magic, options):
    assert f"written {name}" in explain(place, "--out", name, *options)
    assert Path(name).read_bytes().startswith(magic)
    assert set(os.listdir()) - {"__pycache__"} == {name, "photo.png", f"{place}.py"}


def test_a_name_that_looks_like_mathematics_is_a_title_too(place):
    os.rename("photo.png", "a$b_{$.png")
    result = run("explain", "a$b_{$.png", "--model", f"{place}:net", "--out", "x.png")
    assert result.exit_code == 0, result.output


def test_a_model_without_transform_sees_the_imagenet_preset(place):
    assert "input of 3 x 224 x 224" in explain(place, "--bands", 2, model="plain")


def test_progress_goes_to_the_error_stream_when_asked_for(place):
    args = ["explain", "photo.png", "--model", f"{place}:net", "--bands", "2"]
    assert runner().invoke(main, args).stderr == ""
    result = runner().invoke(main, [*args, "--progress"])
    assert "attribution" in result.stderr
    assert "attribution" not in result.stdout


# --------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "{net}:net", "--target", "5"], "net has the classes 0 to 4, and no 5"),
        (["--model", "{net}:net", "--target", "-1"], "--target"),
        (["--model", "{net}:net", "--bands", "0"], "--bands"),
        (["--model", "{net}:net", "--bands", "40", "--samples", "2"], "at most num_bands="),
        (["--model", "{net}:net", "--bands", "17"], "2^17 model rows; add --samples 32 (at most 1"),
        (["--model", "{net}:net", "--samples", "1"], "--samples"),
        (["--model", "{net}:net", "--norm", "l3"], "--norm"),
        (["--model", "{net}:net", "--device", "quantum"], "'quantum' cannot be used here"),
        (["--model", "{net}:net", "--device", "meta"], "'meta' cannot be used here"),
        (["--model", "{net}:net", "--weights", "no.pt"], "File 'no.pt' does not exist"),
        (["--model", "{net}:net", "--weights", "photo.png"], "photo.png cannot be read as weights"),
        (["--model", "{net}:nothing"], "has no 'nothing'"),
        (["--model", "no_such_nets:net"], "there is no module 'no_such_nets'"),
        (["--model", "resnet18"], "no model 'resnet18'; a name is 'efficientnet-lite0' (or 1, 2)"),
        (["--model", "torchvision:resnet81"], "did you mean"),
        (
            ["--model", "{net}:one_number"],
            "one logit per class, (B, classes), and gives outputs of",
        ),
        (
            ["--model", "{net}:infinite"],
            "infinite fails on an input of shape (1, 3, 224, 224) with",
        ),
        (["--model", "{net}:wrong_shape"], "with RuntimeError: "),
        (["--model", "{net}:key_error"], "with KeyError: 'logits'"),
        (["--model", "{net}:never"], "never failed with RuntimeError: the model was loaded"),
        ([], "Missing option '--model'"),
    ],
)
def test_wrong_options_are_one_line(place, options, message):
    result = run("explain", "photo.png", *[option.format(net=place) for option in options])
    assert result.exit_code != 0
    assert result.stdout == ""
    *usage, error = result.stderr.splitlines()
    assert error.startswith("Error: ")
    assert message in error
    assert all(line.startswith(("Usage:", "Try ", "")) for line in usage)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "x.txt"], "--out x.txt must end in one of .png, .pdf"),
        (["--out", "x"], "--out x must end in one of"),
        (["--out", "no/x.png"], "nothing can be written in no: it does not exist"),
        (["--json", "photo.png/x.json"], "nothing can be written in photo.png: it is not a folder"),
        (["--out", "."], "'.' is a directory"),
        (["--json", "photo.png"], "must be different files"),
        (["--out", "x.png", "--json", "./x.png"], "must be different files"),
    ],
)
def test_doubts_about_the_outputs_come_before_the_model(place, options, message):
    result = run("explain", "photo.png", "--model", f"{place}:never", *options)
    assert result.exit_code != 0
    assert message in result.stderr.splitlines()[-1]


def test_an_unwritable_folder_is_reported_before_the_model(place, monkeypatch):
    def refuse(**kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "NamedTemporaryFile", refuse)
    result = run("explain", "photo.png", "--model", f"{place}:never", "--out", "x.png")
    assert result.stderr == "Error: nothing can be written in .: Permission denied\n"


@pytest.mark.parametrize("image", ["nothing.png", ".", "{net}.py"])
def test_what_is_no_photograph(place, image):
    image = image.format(net=place)
    result = run("explain", image, "--model", f"{place}:never")
    assert result.exit_code != 0
    assert image in result.stderr.splitlines()[-1]


def test_a_failed_run_leaves_no_half_file(place, monkeypatch):
    before = sorted(os.listdir())

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    result = run("explain", "photo.png", "--model", f"{place}:net", "--json", "x.json")
    assert result.exit_code == 1
    assert result.stderr == "Error: x.json cannot be written: No space left on device\n"
    assert sorted(set(os.listdir()) - {"__pycache__"}) == before


def test_a_picture_that_cannot_be_drawn_is_reported(place):
    assert "class" in explain(place, model="four_channels")
    result = run("explain", "photo.png", "--model", f"{place}:four_channels", "--out", "x.png")
    assert result.exit_code == 1
    assert "image must have 1 or 3 channels" in result.stderr
    assert not os.path.exists("x.png")


# --------------------------------------------------------------------------- program, demo


def test_version_and_help():
    assert run("--version").output == f"captum-spectral, version {captum_spectral.__version__}\n"
    for command in ([], ["explain"], ["demo"]):
        output = run(*command, "--help").output
        assert "Example" in output
        assert "captum-spectral demo" in output or "captum-spectral explain" in output


def test_python_m_is_the_same_program_and_imports_from_the_current_folder(place):
    root = os.path.dirname(os.path.dirname(captum_spectral.__file__))
    command = [sys.executable, "-m", "captum_spectral", "explain", "photo.png", "--model"]
    done = subprocess.run(
        [*command, f"{place}:net", "--bands", "2"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path[1:]])},
        check=True,
    )
    assert done.stdout == explain(place, "--bands", 2)
    assert done.stderr == ""


def test_efficientnet_explains_a_real_photograph(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = photographs()["coffee"]
    picture.save("coffee.png")
    args = ["--model", "efficientnet-lite0", "--bands", 3, "--out", "x.png", "--json", "x.json"]
    result = run("explain", "coffee.png", *args)
    assert "967 espresso, probability 0.9" in result.stdout
    assert result.stderr == ""
    document = read_json("x.json")
    assert document["class"] == {
        "id": 967,
        "name": "espresso",
        "probability": document["class"]["probability"],
        "is_prediction": True,
    }
    network = load_model("efficientnet-lite0")
    x = network.prepare(picture)
    phi = SpectralShapley(network.module).attribute(x, 967, num_bands=3, return_input_shape=False)
    values = [band["value"] for band in document["bands"]]
    np.testing.assert_allclose(values, phi[0].detach(), atol=1e-3)
    game = BandGame(network.module, x, num_bands=3)
    ends = game.evaluate(torch.tensor([[True] * 3, [False] * 3]))[0, :, 967]
    expected = pytest.approx(ends.tolist(), abs=1e-3)
    assert [document["value_all"], document["value_none"]] == expected
    assert abs(document["efficiency_gap"]) < 1e-4
    with Image.open("x.png") as figure:
        assert min(figure.size) > 500


@pytest.fixture
def small_demo(place, monkeypatch):
    """The demo with two photographs and a small network."""
    network = load_model(f"{place}:net")
    monkeypatch.setattr("captum_spectral.cli.options.load_model", lambda *args: network)
    monkeypatch.setattr(demonstration, "_NAMES", ("chelsea", "camera"))


def test_demo_prints_values_and_leaves_figures(small_demo):
    result = run("demo", "--out", "a/folder")
    assert result.exit_code == 0, result.output
    assert "[1/2] chelsea" in result.output
    assert "[2/2] camera" in result.output
    assert result.output.count("IntegratedGradients") == 2
    assert result.output.count("efficiency gap") == 2
    assert [row[0] for row in rows_of(result.output)] == [*range(8), *range(8)]
    assert "The figures are in a/folder: summary.png" in result.output
    assert "How to read them: a bar above zero" in result.output
    assert sorted(os.listdir("a/folder")) == ["camera.png", "chelsea.png", "summary.png"]
    for name in os.listdir("a/folder"):
        with Image.open(f"a/folder/{name}") as figure:
            assert min(figure.size) > 300
    for sums in re.findall(r"sum of the bands +(\S+) +(\S+)\n", result.output):
        shapley, integrated = map(float, sums)
        assert integrated == pytest.approx(shapley, abs=0.02 * max(1, abs(shapley)))


@pytest.mark.parametrize(
    ("folder", "message"),
    [("photo.png", "'photo.png' is a file"), ("photo.png/x", "photo.png/x cannot be made: Not a")],
)
def test_a_demo_that_has_no_folder(small_demo, folder, message):
    result = run("demo", "--out", folder)
    assert result.exit_code != 0
    assert message in result.stderr.splitlines()[-1]


def test_a_demo_that_is_not_installed_says_how_to(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    result = run("demo")
    assert result.exit_code == 1
    assert 'pip install "captum-spectral[demo]"' in result.stderr
