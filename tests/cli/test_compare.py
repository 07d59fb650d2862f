"""captum-spectral compare: what it prints and writes."""

import json

import pytest
from explained import run

NETS = """
import torch
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

def net(step=None):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 5))
    for weight in model.parameters() if step else ():
        weight.data = (weight.data / step).round() * step
    return model, Compose([Resize((24, 24)), ToTensor()])

def rounded():
    return net(1 / 8)
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"{tmp_path.name.replace('-', '_')}_weights"
    (tmp_path / f"{name}.py").write_text(NETS)
    return name


def test_compare_says_which_layers_made_the_difference(nets, tmp_path):
    options = ("--model", f"{nets}:net", "--against", f"{nets}:rounded", "--max-examples", 3)
    result = run("compare", *options)
    assert result.exit_code == 0, result.output
    assert "over 3 pictures" in result.output
    document = json.loads((tmp_path / "compared/comparison.json").read_text())
    assert [layer["name"] for layer in document["layers"]] == ["0", "4"]
    total = sum(layer["value"] for layer in document["layers"])
    assert total == pytest.approx(document["logit_change"], abs=1e-6)
    again = run("compare", "--model", f"{nets}:net", "--against", f"{nets}:net", "--out", "c")
    assert again.exit_code == 1
    assert "must differ from the model" in again.stderr


def test_compare_rounds_and_repairs_a_model(nets, tmp_path):
    options = "--model", f"{nets}:net", "--bits", 2, "--budget", 0.4, "--max-examples", 3
    result = run("compare", *options, "--per-tensor", "--clip", "mse")
    assert result.exit_code == 0, result.output
    assert "rounded to 2 bits per tensor, clip mse" in result.output
    assert "noise after" in result.output
    document = json.loads((tmp_path / "compared/comparison.json").read_text())
    assert [repair["name"] for repair in document["repairs"]] == ["rounded", "adapters"]
    assert document["repairs"][1]["size"] <= 0.4
    total = sum(layer["value"]["value"] for layer in document["layers"])
    assert total == pytest.approx(document["change"]["value"], abs=1e-6)
    for name in ("comparison.png", "bands.png", "summary.txt"):
        assert (tmp_path / "compared" / name).stat().st_size > 100
    tiny = run("compare", *options[:4], "--budget", 0.0001, "--out", "c")
    assert tiny.exit_code == 1
    assert "below one rank of any layer" in tiny.stderr


@pytest.mark.parametrize("other", [("--against", "{}:rounded"), ("--bits", 3)])
def test_one_picture_has_no_standard_error_and_is_no_error(nets, tmp_path, other):
    other = [part.format(nets) if isinstance(part, str) else part for part in other]
    result = run("compare", "--model", f"{nets}:net", *other, "--max-examples", 1)
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "compared/comparison.json").read_text())
    text = json.dumps(document["layers"])
    assert "null" in text
    assert "nan" not in result.output.lower()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give either --against, another network, or --bits"),
        (("--bits", 4, "--against", "a"), "give either --against"),
        (("--bits", 4, "--against-weights", __file__), "goes with --against"),
        (("--against", "a", "--budget", 0.1), "go with --bits"),
        (("--bits", 4, "--clip", "max"), "--clip takes a number or mse, got 'max'"),
        (("--bits", 9), "9 is not in the range 1<=x<=8"),
        (("--bits", 4, "--budget", 1), "1.0 is not in the range 0<x<1"),
    ],
)
def test_options_that_do_not_go_together_are_named(nets, options, message):
    result = run("compare", "--model", f"{nets}:net", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
