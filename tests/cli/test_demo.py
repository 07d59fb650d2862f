"""The program itself, and captum-spectral demo."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from explained import explain, read_json, rows_of, run
from PIL import Image

import captum_spectral
from captum_spectral import BandGame, SpectralShapley
from captum_spectral.cli import demo as demonstration
from captum_spectral.sources.images import photographs
from captum_spectral.sources.models import load_model


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
    assert [document["full_value"], document["empty_value"]] == expected
    assert abs(document["efficiency_gap"]) < 1e-4
    with Image.open("x.png") as figure:
        assert min(figure.size) > 500


@pytest.fixture
def small_demo(place, monkeypatch):
    """The demo with two photographs and a small network."""
    network = load_model(f"{place}:net")
    monkeypatch.setattr("captum_spectral.sources.models.load_model", lambda *args: network)
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
