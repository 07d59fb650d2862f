"""Values behind the affine beginning of a model, and what goes through it."""

import pytest
import torch
import torchvision
from helpers import Counting
from stems import (
    ALL,
    PARTS,
    ROWS,
    Own,
    Passed,
    X,
    agree,
    behind_the_stem,
    classified,
    warmed,
)
from torch import nn

from captum_spectral import BandGame, SpectralImportance

pytestmark = pytest.mark.usefixtures("formats")


class Normalized(nn.Module):
    def __init__(self, model, how):
        super().__init__()
        self.model, self.how = model, how
        self.register_buffer("mean", torch.rand(1, 3, 1, 1))
        self.eval()

    def forward(self, x):
        return self.model(self.how(x, self.mean))


NORMALISATIONS = {
    "operators": lambda x, mean: (x - mean) / 0.25,
    "methods": lambda x, mean: x.sub(mean).div(torch.tensor([0.2, 0.3, 0.4])[:, None, None]),
    "in place": lambda x, mean: x.clone().sub_(mean).div_(0.25),
    "in place, on the input": lambda x, mean: x.sub_(mean).mul_(4),
    "from the right": lambda x, mean: 1 - 2 * x,
    "torchvision": lambda x, mean: torchvision.transforms.functional.normalize(
        x, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    ),
}
PADDED = ("zeros", "reflect", "replicate", "circular")
STEMS = {
    "a convolution": lambda: classified(nn.Conv2d(3, 6, 3)),
    "without bias": lambda: classified(nn.Conv2d(3, 6, 3, bias=False)),
    "with stride and groups": lambda: classified(nn.Conv2d(3, 6, 3, stride=2, groups=3)),
    **{
        f"padded by {mode}": lambda mode=mode: classified(
            nn.Conv2d(3, 6, 3, padding=2, padding_mode=mode)
        )
        for mode in PADDED
    },
    "a layer for padding": lambda: classified(nn.ConstantPad2d(2, 0.7), nn.Conv2d(3, 6, 3)),
    "batch norm behind it": lambda: classified(warmed(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6))),
    "batch norm before it": lambda: classified(warmed(nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3))),
    "identity and dropout": lambda: classified(nn.Identity(), nn.Dropout(), nn.Conv2d(3, 6, 3)),
    "a linear layer": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(432, 20), nn.Tanh(), nn.Linear(20, 3)
    ).eval(),
    "parametrised": lambda: classified(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 6, 3).eval())
    ),
    "weight norm": lambda: classified(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3))),
    "in place behind it": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(600, 3)
    ).eval(),
    "pixels unshuffled": lambda: classified(nn.PixelUnshuffle(2), nn.Conv2d(12, 6, 3)),
    "enlarged": lambda: classified(
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 6, 3)
    ),
    **{
        f"normalised by {name}": lambda how=how: Normalized(classified(nn.Conv2d(3, 6, 3)), how)
        for name, how in NORMALISATIONS.items()
    },
}


@pytest.mark.parametrize("create", STEMS.values(), ids=STEMS)
def test_values_behind_a_stem_are_those_of_the_plain_way(create):
    model = create()
    agree(model)
    assert behind_the_stem(model)


def test_a_vision_transformer_begins_with_its_patches():
    model = torchvision.models.VisionTransformer(12, 4, 2, 2, 16, 32, num_classes=3).eval()
    nn.init.normal_(model.heads.head.weight)
    agree(model)
    assert behind_the_stem(model)


def test_the_parts_of_an_example_go_through_the_stem_and_not_its_rows():
    game = BandGame(classified(nn.Conv2d(3, 6, 3)), X, 1, num_bands=4)
    game.evaluate(ALL)
    with Passed() as passed:
        game.evaluate(ALL)
    # The constant, the parts of both examples, and the four rows of a chunk that are compared.
    assert sorted(passed.rows) == [1, 4, 2 * PARTS]


def test_a_model_is_asked_for_no_row_twice_but_the_ones_that_are_checked():
    counting = Counting(classified(nn.Conv2d(3, 6, 3)))
    game = BandGame(counting, X, 1, num_bands=4)
    game.evaluate(ALL)
    assert behind_the_stem(counting)
    assert 0 < counting.rows - 2 * ROWS <= 2  # one for each way
    counting.rows = 0
    game.evaluate(ALL)
    assert counting.rows == 2 * ROWS


def test_several_inputs_have_a_stem_each():
    model = Own(lambda m, x, y: m.conv(x) * m.other(y))
    agree(model, (X, X.flip(0)), num_bands=2)
    assert behind_the_stem(model)


def test_arguments_follow_the_rows():
    model = Own(lambda m, x, scale: m.conv(x) * scale)
    agree(model, additional_forward_args=torch.rand(2, 1, 1, 1))
    assert behind_the_stem(model)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_have_the_values_of_the_plain_way(dtype):
    model = classified(nn.Conv2d(3, 6, 3)).to(dtype)
    agree(model, X.to(dtype), tolerance=1e-12 if dtype is torch.float64 else 0.05)
    assert behind_the_stem(model) == (dtype is torch.float64)


def test_under_autocast_there_is_no_stem():
    model = classified(nn.Conv2d(3, 6, 3))
    with torch.autocast("cpu", torch.bfloat16):
        agree(model, tolerance=0.05)
    assert not behind_the_stem(model)


@pytest.mark.parametrize("dims", [1, 3])
def test_signals_and_volumes_have_a_stem(dims):
    conv, pool = (
        (nn.Conv1d, nn.AdaptiveAvgPool1d) if dims == 1 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
    )
    model = nn.Sequential(conv(2, 4, 3), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    x = torch.rand(2, 2, *[10] * dims)
    agree(model, x, spectral_dims=tuple(range(-dims, 0)))
    assert behind_the_stem(model)


def test_whole_models_are_scored_through_the_stem():
    model = classified(nn.Conv2d(3, 6, 3))
    labels = torch.tensor([1, 0])
    found = SpectralImportance(model, num_bands=4)
    plain = SpectralImportance(model, num_bands=4, perturbations_per_eval=2)
    for metric in (found, plain):
        metric.update(X, labels)
        metric.update(X.flip(-1), labels)
    torch.testing.assert_close(found.compute().attributions, plain.compute().attributions)
    assert behind_the_stem(model)
