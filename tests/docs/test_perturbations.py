"""The page on perturbations runs from top to bottom, and its table is that of the code."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_cnn
from PIL import Image

from captum_spectral.robustness.corruptions import builtin_corruptions

PAGE = (Path(__file__).parents[2] / "docs" / "perturbations.md").read_text(encoding="utf-8")


@pytest.fixture
def names(tmp_path, monkeypatch):
    """Run all code that needs no other package, with a network and images at hand."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "ImageNet-C" / "gaussian_noise" / "3" / "n01440764"
    folder.mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(folder / "1.png")
    (tmp_path / "CIFAR-10-C").mkdir()
    np.save(tmp_path / "CIFAR-10-C" / "fog.npy", np.zeros((10, 32, 32, 3), np.uint8))
    np.save(tmp_path / "CIFAR-10-C" / "labels.npy", np.tile([3, 8], 5))
    images = torch.rand(3, 3, 64, 64)
    network = tiny_cnn(dtype=torch.float32)
    names = {"network": network, "images": images, "labels": torch.tensor([0, 1, 2])}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    other = [block for block in blocks if "imagecorruptions" in block]
    assert len(other) == 1
    for block in blocks:
        if block not in other:
            exec(block, names)
    return names


def test_the_code_of_the_page_runs(names):
    assert len(names["wrong"]) == 40
    assert all(0 <= error <= 1 for error in names["wrong"].values())
    assert names["faded"].shape == names["images"].shape
    assert len(names["pictures"]) == 2
    assert names["found"].kept.shape == (3, 17)


def test_the_table_of_the_page_is_that_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \| .* \| ([\d. ]+) \| ([\d. ]+) \|$", PAGE, re.M)
    told = [
        (name, group, *(tuple(map(float, values.split())) for values in severities))
        for name, group, *severities in rows
    ]
    pairs = zip(builtin_corruptions("large"), builtin_corruptions("small"), strict=True)
    assert told == [(a.name, a.group, a.severities, b.severities) for a, b in pairs]
