"""One run is told from another by all that changes its numbers, and by nothing else."""

import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torchvision.transforms import Compose, Lambda, Resize, ToTensor

from captum_spectral.sources.models import LoadedModel
from captum_spectral.studies.identity import check_same, check_seen, fingerprint_of


def loaded(module, transform=None):
    return LoadedModel("nets:net", module, transform or ToTensor(), None, lambda x: x)


def fingerprint(module, transform=None):
    torch.manual_seed(0)
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        return fingerprint_of(loaded(module, transform), x, module(x))


def quantised(seed):
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).eval(), {nn.Linear}
        )


def hidden(temperature):
    """Whose outputs are the same: 0 times what it holds."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 5, bias=False)).eval()
    module[1].weight.data.fill_(0.5)
    module.temperature = temperature
    return module


def masked(x):
    return torch.cat([x.mean((2, 3)), torch.full((len(x), 1), -torch.inf)], 1)


@pytest.mark.parametrize(
    ("there", "here", "difference"),
    [
        (quantised(0), quantised(1), "weights: "),
        (hidden(1.0), hidden(2.0), "attributes or code of the model: "),
        (hidden(torch.ones(1)), hidden(torch.zeros(1)), "weights: "),
        (lambda x: x.mean((2, 3)), lambda x: x.mean((2, 3)).clamp(-9, 9), "code of the model: "),
    ],
)
def test_models_that_differ_in_anything_are_told_apart(there, here, difference):
    with pytest.raises(ValueError, match=f"state is of another run .*{difference}"):
        check_same(fingerprint(there), fingerprint(here), "state")


@pytest.mark.parametrize("module", [quantised(0), hidden(1.0), masked])
def test_the_same_model_is_the_same(module):
    here = fingerprint(module)
    check_same(here, copy.deepcopy(here), "state")
    assert here["unseen"] == []


def test_transforms_that_treat_one_picture_alike_are_told_apart():
    module = hidden(1.0)
    there, here = (Compose([Resize(size), ToTensor(), Lambda(abs)]) for size in (8, 9))
    with pytest.raises(ValueError, match=r"continued \(transform: "):
        check_same(fingerprint(module, there), fingerprint(module, here), "state")


def outputs(*numbers, place="cpu"):
    return {"outputs": list(numbers), "place": place}


def test_outputs_are_compared_to_the_last_bit_in_one_place():
    check_same(outputs(10.0, -math.inf), outputs(10.0, -math.inf), "state")
    for changed in (math.nextafter(10.0, 11.0), 10.001, math.inf, math.nan):
        with pytest.raises(ValueError, match="outputs: "):
            check_same(outputs(10.0, 0.05), outputs(changed, 0.05), "state")


def test_another_device_may_round_otherwise_and_no_more():
    there, elsewhere = outputs(10.0, 0.05, -math.inf), {"place": "cuda"}
    check_same(there, outputs(10.0005, 0.0502, -math.inf, **elsewhere), "state")
    for changed in ((10.0, -0.04, -math.inf), (10.002, 0.05, -math.inf), (10.0, 0.05, -9.0),
                    (10.0, 0.05), (10.0, math.nan, -math.inf)):  # fmt: skip
        with pytest.raises(ValueError, match="outputs: "):
            check_same(there, outputs(*changed, **elsewhere), "state")


def test_a_model_that_is_not_seen_whole_is_not_continued():
    module = hidden(i for i in "ab")
    here = fingerprint(module)
    check_same(here, fingerprint(module), "state")
    with pytest.raises(ValueError, match=r"cannot .*\.temperature \(builtins.generator\), wh"):
        check_seen(here, "state")
