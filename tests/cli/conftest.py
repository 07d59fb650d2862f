import sys
import uuid

import numpy as np
import pytest
from explained import NET
from PIL import Image


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
