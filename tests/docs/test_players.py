"""The page on players runs as it is written, on small images."""

import re
from pathlib import Path

import pytest
import torch
from helpers import tiny_cnn

from captum_spectral import SpectralShapley

PAGE = Path(__file__).parents[2] / "docs" / "players.md"


def test_the_code_of_the_page_runs(monkeypatch):
    pytest.importorskip("pywt")
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    model, images = tiny_cnn(dtype=torch.float32), torch.rand(4, 3, 16, 16)
    labels = torch.tensor([0, 1, 1, 2])
    names = {
        "model": model,
        "explainer": SpectralShapley(model),
        "inputs": images[:2],
        "target": labels[:2],
        "dataloader": [(images, labels)],
    }
    for block in blocks:
        code = re.sub(r"n_samples=\d+", "n_samples=2", block.replace("224, 224", "16, 16"))
        exec(code, names)
    assert names["details"].shape == (2, 3, 3)
    assert names["by_channel"].unique().numel() == 12
    assert names["values"].shape == (2, 6)
    assert names["table"].values.shape == (3, 12)
