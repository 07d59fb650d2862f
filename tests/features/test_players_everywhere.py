"""All kinds of players with methods of Captum, several inputs, and rows that the engine makes."""

import pytest
import torch
from captum.attr import IntegratedGradients, KernelShap
from features_case import close, normal
from helpers import Quadratic, tiny_cnn

from captum_spectral import Game, SpectralShapley, band_attribution
from captum_spectral.features import (
    DCT,
    LumaChromaBands,
    Sectors,
    Wavelets,
    channel_bands,
    sector_mask,
)

MEMBERS = {
    "sectors": Sectors(2, 2),
    "wavelets": Wavelets(levels=1),
    "dct": DCT(num_bands=3),
    "blocks": DCT(block_size=4),
    "colour": LumaChromaBands(num_bands=2, num_chroma_bands=1, axes="ycbcr"),
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_integrated_gradients_of_a_linear_model_are_its_shapley_values(kind):
    x, weight = normal((2, 3, 9, 8)), normal((3, 9, 8), 1)

    def model(x):
        return (x * weight).flatten(1).sum(1, keepdim=True)

    options = {"features": MEMBERS[kind], "baselines": 0.3}
    found = band_attribution(IntegratedGradients, model, x, 0, n_steps=4, **options)
    n_samples = 1 if kind == "blocks" else None
    shapley = SpectralShapley(model).attribute(
        x, 0, n_samples=n_samples, return_input_shape=False, **options
    )
    close(found, shapley, atol=1e-10)
    close(shapley.sum(1), (model(x) - model(torch.full_like(x, 0.3)))[:, 0], atol=1e-10)


def test_kernel_shap_plays_sectors():
    x = normal((1, 1, 8, 8))
    torch.manual_seed(0)
    found = band_attribution(KernelShap, tiny_cnn(1), x, 1, features=Sectors(1, 2), n_samples=50)
    expected = SpectralShapley(tiny_cnn(1)).attribute(
        x, 1, features=Sectors(1, 2), return_input_shape=False
    )
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-3)


def test_two_inputs_have_players_of_their_own_kind():
    x, y = normal((2, 3, 8, 8)), normal((2, 1, 10, 6), 1)
    each = Wavelets(levels=1), DCT(torch.arange(60).reshape(10, 6) // 30 + 4)
    model = Quadratic((3, 8, 8), (1, 10, 6))
    values = SpectralShapley(model).attribute((x, y), 1, features=each)
    assert [v.shape for v in values] == [x.shape, y.shape]
    game = Game(model, (x, y), 1, features=each)
    assert game.players.tolist() == [0, 1, 2, 3, 4, 5]
    full = game.evaluate(torch.ones(1, 6, dtype=torch.bool))
    close(full[:, 0], model(x, y)[:, 1], atol=1e-10)


def test_channels_by_sectors_are_painted_on_their_channels():
    x = normal((1, 2, 8, 9))
    mask = channel_bands(sector_mask((8, 9), 1, 2), 2)
    model = tiny_cnn(2)
    values = SpectralShapley(model).attribute(x, 2, feature_mask=mask, return_input_shape=False)
    painted = SpectralShapley(model).attribute(x, 2, feature_mask=mask)
    close(painted, values[0][mask][None])


def test_parts_are_those_of_the_channels_whatever_the_order_in_memory():
    x = normal((2, 3, 9, 8))
    last = x.contiguous(memory_format=torch.channels_last)
    for member in MEMBERS.values():
        close(member.transform(last), member.transform(x))


@pytest.mark.parametrize("kind", MEMBERS)
def test_the_default_device_of_pytorch_is_not_asked(kind):
    x = normal((1, 3, 9, 8))
    torch.set_default_device("meta")  # where no number survives
    try:
        member = MEMBERS[kind]
        ids, back = member.ids(x), member.inverse(member.transform(x), x.shape)
    finally:
        torch.set_default_device(None)
    assert ids.device.type == "cpu"
    close(back, x)
