"""The page on interactions runs from top to bottom."""

import re
from pathlib import Path

import pytest
import torch
from helpers import tiny_cnn

PAGE = (Path(__file__).parents[2] / "docs" / "interactions.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs(capsys):
    pytest.importorskip("shapiq")
    images = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    names = {
        "model": tiny_cnn(1, dtype=torch.float32),
        "inputs": images,
        "target": 1,
        "loader": [(images, torch.tensor([0, 1]))] * 2,
    }
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    few = names["few"]
    assert few.values.shape == few.standard_error.shape == (2, 55)
    assert (few.standard_error > 0).all()
    assert not names["exact"].standard_error.any()
    assert capsys.readouterr().out.count("±") == 3
    assert names["model_wide"].num_examples == 4
    assert type(few).from_json(names["text"]) == few
    assert names["shapiq_values"].n_players == 10
