"""The command explain in a folder with a photograph and a module of models."""

import inspect
import json
import re
from pathlib import Path

from click.testing import CliRunner

from captum_spectral.cli import main

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

def tiny():
    return net()[0], Compose([Resize((8, 8)), ToTensor()])

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

def untrained():
    return nn.Sequential(net()[0][0], nn.BatchNorm2d(4), *net()[0][1:]), small

def never():
    raise RuntimeError("the model was loaded")
"""


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
