"""captum-spectral layers: the frequency response of the layers of a model."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from explained import read_json, run
from PIL import Image
from torch import nn

from captum_spectral.report import layers as report
from captum_spectral.sources.models import load_model
from captum_spectral.weights import layer_responses

NETS = """
import torch
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

small = Compose([Resize((24, 32)), ToTensor()])

def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 1), nn.ConvTranspose2d(4, 2, 2, stride=2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 5, 1), nn.Flatten()).eval(), small

def function():
    return lambda x: x.mean((2, 3)), small

def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 32, 5)).eval(), small
"""


@pytest.fixture
def nets(place):
    Path(f"{place}.py").write_text(NETS)
    return place


@pytest.mark.filterwarnings("ignore:.*RANDOM weights")
def test_the_numbers_are_those_of_the_function(nets):
    result = run("layers", "--model", f"{nets}:net", "--bands", "4", "--out", "out")
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir("out")) == ["layers.json", "layers.png", "layers.svg", "summary.txt"]
    assert Path("out/summary.txt").read_text() in result.output
    document = read_json("out/layers.json")
    model = load_model(f"{nets}:net")
    found = layer_responses(model.module, torch.zeros(1, 3, 24, 32), 4)
    assert document["model"]["input_shape"] == [3, 24, 32]
    assert [layer["name"] for layer in document["layers"]] == [layer.name for layer in found]
    for told, layer in zip(document["layers"], found, strict=True):
        assert told["norm"] == pytest.approx(layer.norm, rel=1e-6)
        assert (told["norm_bound"] is None) == (layer.norm_bound is None) == (told["name"] == "5")
        assert told["norm_bound"] == layer.norm_bound or (
            told["norm_bound"] == pytest.approx(layer.norm_bound, rel=1e-6)
        )
        assert [b["max_gain"] for b in told["bands"]] == pytest.approx(layer.max_gain.tolist())
        assert [b["rms_gain"] for b in told["bands"]] == pytest.approx(layer.rms_gain.tolist())
        ends = [b["frequencies"] for b in told["bands"]]
        torch.testing.assert_close(torch.tensor(ends).double(), layer.frequencies)
    first = document["layers"][0]
    assert first["batch_norm"] == "1"
    assert first["aliasing"]["white"] == pytest.approx(found[0].aliasing)
    assert 0 < first["aliasing"]["1/f^2"] < first["aliasing"]["white"]
    with Image.open("out/layers.png") as figure:
        assert figure.width > 600


def test_the_table_has_a_row_for_each_layer(nets):
    printed = run("layers", "--model", f"{nets}:net").output
    rows = {line.split()[0]: line for line in printed.splitlines() if re.match(r"\d ", line)}
    assert list(rows) == ["0", "3", "4", "5", "7"]
    assert re.search(r"24 x 32 +3 x 3 +2 x 2 .*%", rows["0"])
    assert re.search(r"12 x 16 .* 0\.0 dB$", rows["3"])
    assert "/ 2 x 2" in rows["4"]
    assert re.search(r" - +[-+]\d", rows["5"])  # no bound for reflected borders
    assert "numbers of 1 layers" in printed
    bare = run("layers", "--model", f"{nets}:net", "--no-fuse").output
    assert "numbers of 0 layers" in bare
    assert Path("layers/summary.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "function"), "model must be an nn.Module, got function"),
        (("--model", "linear"), "model calls no convolution along the dims (24, 32)"),
        (("--model", "net", "--bands", "17"), "17 is not in the range 1<=x<=16"),
        ((), "Missing option '--model'"),
    ],
)
def test_wrong_command_lines_end_in_one_line(nets, arguments, message):
    named = [f"{nets}:{x}" if i == 1 else x for i, x in enumerate(arguments)]
    result = run("layers", *named)
    assert result.exit_code in (1, 2)
    assert message in result.stderr.splitlines()[-1]


def test_a_layer_that_passes_nothing_is_told_as_null():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2)).eval()
    nn.init.zeros_(model[0].weight)
    layers = layer_responses(model, torch.zeros(1, 1, 8, 8))
    told = json.loads(report.to_json(layers, model="nothing"))["layers"][0]
    assert told["aliasing"] == {"white": None, "1/f^2": None}
    assert told["norm"] == 0
    assert re.search(r" 0 +0 +- +- +-$", report.table(layers))
    assert set(report.figure(layers, "nothing")) == {"png", "svg"}
