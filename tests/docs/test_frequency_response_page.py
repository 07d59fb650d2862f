"""The page on the frequency response of layers runs."""

import re
from pathlib import Path

import torch
from torch import nn

PAGE = (Path(__file__).parents[2] / "docs" / "frequency-response.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs():
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    names = {
        "layer": layer,
        "other_weight": layer.weight.detach() + 0.01,
        "model": nn.Sequential(layer, nn.ReLU(), nn.Conv2d(4, 4, 3)).eval(),
        "images": torch.rand(2, 3, 32, 32),
    }
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    assert [found.name for found in names["layers"]] == ["0", "2"]
    assert names["response"].size == (64, 64)
