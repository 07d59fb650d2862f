"""The public surface: every name is documented as the project promises."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from helpers import tiny_cnn

import captum_spectral

CALLABLES = [n for n in captum_spectral.__all__ if callable(getattr(captum_spectral, n))]
FIGURES = [f"visualization.{n}" for n in captum_spectral.visualization.__all__]


def test_the_promised_names_are_there():
    promised = ["SpectralShapley", "BandGame", "band_mask", "split_bands", "paint", "visualization"]
    promised += ["SpectralImportance", "ImportanceResult"]
    promised += ["spectral_score", "signed_spectral_score"]
    assert set(promised) <= set(captum_spectral.__all__)


@pytest.mark.parametrize("name", [*CALLABLES, *FIGURES])
def test_docstrings_say_what_a_user_needs(name):
    thing = captum_spectral
    for part in name.split("."):
        thing = getattr(thing, part)
    text = inspect.getdoc(thing)
    for section in ("Args:", "Example::", ">>> "):
        assert section in text, f"{name} has no {section}"
    whole = text + (inspect.getdoc(thing.attribute) if hasattr(thing, "attribute") else "")
    assert "Raises:" in whole or (inspect.isclass(thing) and issubclass(thing, Exception))
    assert re.search("Returns:", whole) or inspect.isclass(thing)
    if name in CALLABLES:
        assert "Cost" in whole, f"{name} does not say what it costs in model rows"


def test_the_version_is_the_installed_one():
    assert re.match(r"\d+\.\d+", captum_spectral.__version__)


def test_the_code_of_the_readme_runs(monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    inputs, target = torch.rand(2, 3, 32, 32), torch.tensor([3, 1])
    names = {"model": tiny_cnn(dtype=torch.float32), "inputs": inputs, "target": target}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 4
    assert names["result"].num_examples == 2
    assert names["bands"].shape == (2, 8)
    assert names["slopes"].shape == names["where"].shape == inputs.shape
