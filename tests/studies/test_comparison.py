"""Two sets of weights of one network compared, as study, report and command."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from weights.changed import network, rounded

from captum_spectral.report import comparison as report
from captum_spectral.sources.models import LoadedModel
from captum_spectral.sources.pictures import Pictures
from captum_spectral.studies.comparison import ComparisonSettings, compare


class Plain(Pictures):
    """Grey levels and a gradient; the second one cannot be read."""

    def __init__(self):
        super().__init__("plain", None, [])

    def __len__(self):
        return 4

    def name_of(self, i):
        return f"{i}.png"

    def label(self, i):
        return None

    def load(self, i):
        if i == 1:
            raise OSError("it is broken")
        return Image.linear_gradient("L").rotate(90 * i).resize((12, 12)).convert("RGB")

    def fingerprint(self):
        return "plain"


def two_channels(image):
    pixels = torch.from_numpy(np.array(image.convert("L")))[None] / 255
    return torch.cat([pixels, pixels.flip(-1)]).double()


def loaded(module, name="net"):
    return LoadedModel(name, module, two_channels, None, lambda x: x)


MODEL = network()
OTHER = rounded(MODEL)


@pytest.mark.parametrize(("most_exact", "method", "gap"), [(6, "Shapley", 1e-12), (0, "Int", 0.02)])
def test_the_layers_sum_to_the_change_of_the_logit(most_exact, method, gap):
    settings = ComparisonSettings(most_exact=most_exact)
    found = compare(loaded(MODEL), loaded(OTHER, "old"), Plain(), settings)
    x = torch.stack([two_channels(Plain().load(i)) for i in (0, 2, 3)])
    with torch.no_grad():
        classes = MODEL(x).argmax(1)
        change = (MODEL(x) - OTHER(x)).gather(1, classes[:, None])[:, 0]
        same = (OTHER(x).argmax(1) == classes).double().mean()
    assert found.num_examples == 3
    assert found.skipped == [("1.png", "it is broken")]
    assert found.agreement == same
    assert found.logit_change == pytest.approx(float(change.mean()))
    assert found.standard_error == pytest.approx(float(change.std() / math.sqrt(3)))
    assert found.method.startswith(method)
    assert abs(found.gap) <= gap * abs(change).max()
    assert [layer.name for layer in found.layers] == ["0", "1", "3", "7"]
    assert sum(layer.value for layer in found.layers) - found.logit_change == pytest.approx(
        found.gap, abs=1e-12
    )
    assert [layer.responses is not None for layer in found.layers] == [True, False, True, False]
    weights = torch.cat([p.detach().flatten() for p in OTHER[7].parameters()])
    moved = torch.cat([p.detach().flatten() for p in MODEL[7].parameters()]) - weights
    assert found.layers[3].relative_change == pytest.approx(float(moved.norm() / weights.norm()))

    text = report.to_text(found, "new", "old")
    assert "From old to new, over 3 pictures" in text
    assert "skipped 1.png: it is broken" in text
    document = json.loads(report.to_json(found, seed=0))
    assert document["layers"][0]["response"]["model"]["norm"] > 0
    assert document["layers"][1]["response"] is None
    assert report.figure(found, "old to new").startswith(b"\x89PNG")


def test_functions_equal_weights_and_unreadable_pictures_are_refused():
    with pytest.raises(TypeError, match=r"net must be a torch.nn.Module, to compare"):
        compare(loaded(lambda x: x), loaded(OTHER), Plain())
    with pytest.raises(ValueError, match="must differ from the model"):
        compare(loaded(MODEL), loaded(MODEL), Plain())
    other = nn.Sequential(nn.Flatten(), nn.Linear(288, 3)).double().eval()
    with pytest.raises(ValueError, match="must have the weights of the model: missing"):
        compare(loaded(MODEL), loaded(other), Plain())

    class Broken(Plain):
        def load(self, i):
            raise OSError("it is broken")

    with pytest.raises(ValueError, match="none of the 4 pictures can be read"):
        compare(loaded(MODEL), loaded(OTHER), Broken())
