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
