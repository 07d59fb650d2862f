"""A score shows a network its inputs as they are fast, and the same in every process."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from captum_spectral.sources.datasets import open_folder
from captum_spectral.sources.models import LoadedModel, load_model
from captum_spectral.studies import ImportanceSettings, ImportanceStudy
from captum_spectral.studies.logits import fast_format, logits_of


class Views(nn.Module):
    """A network that cannot take another format: it views what its convolution makes."""

    def __init__(self):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 5)

    def forward(self, x):
        return self.head(self.convolution(x).view(len(x), -1))


def convolutional():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))


def loaded(module):
    return LoadedModel("net", module.eval(), lambda image: image, None, lambda x: x)


def format_for(module, x):
    model = loaded(module)
    return fast_format(model, x, logits_of(model, x))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
def test_convolutions_on_a_cpu_get_channels_last():
    assert format_for(convolutional(), torch.randn(1, 3, 8, 8)) is torch.channels_last


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(192, 5)),
        Views(),
        nn.Sequential(nn.GroupNorm(1, 3), convolutional()),
    ],
    ids=["no Conv2d", "views", "group norm, which is imprecise there"],
)
def test_other_networks_keep_the_format_of_the_inputs(module):
    assert format_for(module, torch.randn(1, 3, 8, 8)) is torch.contiguous_format


def test_signals_keep_theirs():
    module = nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 4, 3), nn.Flatten(1))
    network = nn.Sequential(module, nn.LazyLinear(5))
    x = torch.randn(1, 8, 8)
    network(x)
    assert format_for(network, x) is torch.contiguous_format


def test_a_score_takes_that_format(nets, monkeypatch):
    seen = []
    model = load_model(f"{nets}:net")
    convolution = nn.Conv2d(3, 3, 1)
    module = nn.Sequential(convolution, model.module).eval()
    convolution.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    settings = ImportanceSettings(num_bands=3, n_samples=1, batch_size=4)
    pictures = open_folder("data")
    found = ImportanceStudy(replace(model, module=module), pictures, settings).run()
    assert seen[-1] is torch.backends.mkldnn.is_available()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    seen.clear()
    plain = ImportanceStudy(replace(model, module=module), pictures, settings).run()
    assert not seen[-1]
    torch.testing.assert_close(
        found.result.attributions, plain.result.attributions, rtol=1e-4, atol=1e-5
    )
