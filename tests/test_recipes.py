"""The recipes of CONTRIBUTING.md run to the letter, and what they make is right."""

import re
from pathlib import Path

import pytest
import torch
from captum.attr import NoiseTunnel, ShapleyValues
from helpers import tiny_cnn

from captum_spectral import BandGame, SpectralShapley, split_bands
from captum_spectral.studies import RobustnessStudy

X = torch.rand(2, 3, 16, 16, dtype=torch.float64)


@pytest.fixture(scope="module")
def recipes():
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    return names


def test_your_own_attribution_method(recipes):
    model = tiny_cnn()
    method = recipes["BandAblation"](model)
    values = method.attribute(X, [3, 1], num_bands=4)
    bands = split_bands(X, num_bands=4)
    with torch.no_grad():
        lost = model(X) - model(X - bands[:, 2])
    torch.testing.assert_close(values[:, 2], lost[[0, 1], [3, 1]])
    tunnel = NoiseTunnel(method).attribute(X, target=[3, 1], num_bands=4, nt_samples=2)
    assert tunnel.shape == (2, 4)


def test_your_own_features(recipes):
    channels = torch.arange(3).reshape(1, 3, 1, 1)
    ours = SpectralShapley(tiny_cnn()).attribute(X, 1, features=recipes["Channels"]())
    theirs = ShapleyValues(tiny_cnn()).attribute(X, target=1, feature_mask=channels)
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-4, atol=1e-6)


def test_your_own_estimator(recipes):
    # In a game of two players Banzhaf and Shapley values are the same.
    game = BandGame(tiny_cnn(), X, 1, num_bands=2)
    shapley = SpectralShapley(tiny_cnn()).attribute(X, 1, num_bands=2, return_input_shape=False)
    torch.testing.assert_close(game.solve(recipes["Banzhaf"](2)).values, shapley)


def test_your_own_measurement(recipes):
    model, labels = tiny_cnn(dtype=torch.float32), torch.tensor([3, 1])
    confidence = recipes["Confidence"](temperature=2.0)
    found = RobustnessStudy({"a": model}, X.float(), labels, measurements=[confidence]).run()
    (row,) = found.table
    with torch.no_grad():
        expected = (model(X.float()) / 2).softmax(1)[[0, 1], labels]
    assert row["measurement"] == "confidence"
    assert row["value"] == pytest.approx(float(expected.mean()))
    torch.testing.assert_close(found.per_image["a", "confidence/2"], expected)
