import sys
import uuid

import pytest
from scores import NETS, photograph


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are drawn, and looked at, in other tests."""
    files = {"png": b"png", "svg": b"svg"}
    monkeypatch.setattr("captum_spectral.report.importance.figure", lambda *args: files)
    monkeypatch.setattr("captum_spectral.report.robustness_figures.figures", lambda *args: {})


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A current folder with 12 photographs of three classes and a module of models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for i in range(12):
        photograph(tmp_path / "data" / "cdb"[i % 3] / f"{i}.png", seed=i)
    name = f"nets_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(NETS)
    return name
