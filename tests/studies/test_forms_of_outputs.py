"""Studies of models that return dicts, arrays, one logit or probabilities."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from captum_spectral.sources.models import LoadedModel
from captum_spectral.studies import RobustnessStudy, band_integrated_gradients, explain
from captum_spectral.studies.measurements import AttackAccuracy, CleanAccuracy
from captum_spectral.studies.spectral_measurements import ImportanceOfBands

X = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
Y = torch.arange(6) % 2
PICTURE = Image.fromarray((X[0] * 255).byte().permute(1, 2, 0).numpy())


def network(outputs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(36, outputs)).eval()


class Returning(nn.Module):
    def __init__(self, form, outputs=2):
        super().__init__()
        self.network, self.form = network(outputs), form
        self.eval()

    def forward(self, x):
        return self.form(self.network(x))


def loaded(form, outputs=2):
    def transform(image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255

    return LoadedModel("a model", Returning(form, outputs), transform, None, lambda x: x)


def two(z):
    """The two logits of one."""
    return torch.cat([-z, z], 1) / 2


def explained(model):
    found = explain(model, PICTURE)
    return found, band_integrated_gradients(model, found, n_steps=4)


def test_a_photograph_is_explained_whatever_holds_the_logits():
    known, gradients = explained(loaded(lambda y: y))
    for form in (lambda y: {"logits": y}, lambda y: (y, "cached")):
        found, others = explained(loaded(form))
        assert torch.equal(found.values, known.values)
        assert torch.equal(others, gradients)
        assert found.probability == known.probability


def test_a_model_of_one_logit_has_two_classes():
    found, gradients = explained(loaded(lambda z: z, outputs=1))
    known, others = explained(loaded(two, outputs=1))
    assert found.target == known.target
    assert found.probability == known.probability
    torch.testing.assert_close(found.values, known.values)
    torch.testing.assert_close(gradients, others)
    assert found.values.abs().max() > 0


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_softmax_at_the_end_is_refused_and_not_explained_several_times_too_small(outputs):
    with pytest.raises(ValueError, match=r"a model gives probabilities .*leave its softmax out"):
        explain(loaded(lambda y: y.softmax(1), outputs), PICTURE)


def test_a_study_has_the_rows_of_the_logits_whatever_holds_them():
    models = {
        "two logits": Returning(two, 1),
        "one logit": Returning(lambda z: z, 1),
        "dict": Returning(lambda z: {"logits": two(z)}, 1),
    }
    measurements = [
        CleanAccuracy(),
        ImportanceOfBands("mean", num_bands=2),
        AttackAccuracy("linf", 0.02, steps=2),
    ]
    table = RobustnessStudy(models, X, Y, measurements=measurements).run().table
    rows = {name: [] for name in models}
    for row in table:
        assert not row["error"]
        rows[row["model"]].append((row["measurement"], row["perturbation"], row["value"]))
    assert rows["two logits"]
    for others in ("one logit", "dict"):
        for (*named, value), (*known, expected) in zip(
            rows[others], rows["two logits"], strict=True
        ):
            assert named == known
            assert value == pytest.approx(expected)
