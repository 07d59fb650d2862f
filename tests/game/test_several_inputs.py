"""Inputs of different kinds at once: each with its dims, without a spectrum, or no player."""

from collections import UserDict

import pytest
import torch
from helpers import Quadratic
from torch import nn

from captum_spectral import (
    BandGame,
    FeatureSuppression,
    SpectralBanzhaf,
    SpectralImportance,
    SpectralInteractions,
    SpectralShapley,
    band_attribution,
    band_mask,
    split_bands,
)
from captum_spectral.features import FourierBands, Pixels

GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.rand(3, 2, 8, 6, generator=GENERATOR, dtype=torch.float64)
SOUND = torch.rand(3, 1, 20, generator=GENERATOR, dtype=torch.float64)
DATA = torch.rand(3, 4, generator=GENERATOR, dtype=torch.float64)
INPUTS = (IMAGE, SOUND, DATA)
DIMS = ((-2, -1), (-1,), None)
MODEL = Quadratic((2, 8, 6), (1, 20), (4,))
OPTIONS = {"num_bands": 3, "spectral_dims": DIMS, "return_input_shape": False}


def test_each_input_has_its_dims_and_one_without_is_one_player():
    game = BandGame(MODEL, INPUTS, 1, num_bands=3, spectral_dims=DIMS)
    assert game.players.tolist() == list(range(7))
    assert game.feature_masks[2].tolist() == [[6]]
    of_image, of_sound = (
        FourierBands(first + band_mask(size, 3), spectral_dims=dims)
        for first, size, dims in ((0, (8, 6), (-2, -1)), (3, (20,), (-1,)))
    )
    by_hand = (of_image, of_sound, Pixels(torch.tensor([6])))
    explainer = SpectralShapley(MODEL)
    known = explainer.attribute(INPUTS, 1, features=by_hand, return_input_shape=False)
    torch.testing.assert_close(explainer.attribute(INPUTS, 1, **OPTIONS), known)


def test_of_an_additive_model_each_input_has_the_values_it_has_alone():
    parts = [Quadratic(x.shape[1:], seed=i) for i, x in enumerate(INPUTS)]
    found = SpectralShapley(lambda *xs: sum(f(x) for f, x in zip(parts, xs, strict=True)))
    alone = [
        SpectralShapley(f).attribute(
            x, 2, num_bands=3, spectral_dims=dims, return_input_shape=False
        )
        for f, x, dims in zip(parts[:2], INPUTS, DIMS, strict=False)
    ]
    whole = (parts[2](DATA) - parts[2](0 * DATA))[:, 2:].detach()
    torch.testing.assert_close(found.attribute(INPUTS, 2, **OPTIONS), torch.cat([*alone, whole], 1))


def test_the_values_are_painted_on_each_input():
    painted = SpectralShapley(MODEL).attribute(INPUTS, 1, **OPTIONS | {"return_input_shape": True})
    assert [p.shape for p in painted] == [x.shape for x in INPUTS]
    bands = SpectralShapley(MODEL).attribute(INPUTS, 1, **OPTIONS)
    assert torch.equal(painted[2], bands[:, 6:].expand(3, 4))
    _, delta = SpectralShapley(MODEL).attribute(
        INPUTS, 1, num_bands=3, spectral_dims=DIMS, return_convergence_delta=True
    )
    assert delta.abs().max() < 1e-12
    again = SpectralShapley(MODEL).compute_convergence_delta(
        painted, None, INPUTS, 1, num_bands=3, spectral_dims=DIMS
    )
    assert again.abs().max() < 1e-12


def test_every_method_takes_dims_of_each():
    from captum.attr import IntegratedGradients

    of_all = {"num_bands": 2, "spectral_dims": DIMS}
    assert SpectralBanzhaf(MODEL).attribute(INPUTS, 1, **of_all)[1].shape == SOUND.shape
    assert SpectralInteractions(MODEL).attribute(INPUTS, 1, **of_all).values.shape[0] == 3
    by_frequency = FeatureSuppression(MODEL).attribute(
        INPUTS, 1, domain="frequency", n_samples=2, **of_all
    )
    assert by_frequency[2].shape == DATA.shape
    assert band_attribution(IntegratedGradients, MODEL, INPUTS, 1, **of_all).shape == (3, 5)
    split = split_bands(INPUTS, **of_all)
    for bands, x in zip(split, INPUTS, strict=True):
        torch.testing.assert_close(bands.sum(1), x)


def test_masks_may_share_players_between_inputs_of_different_dims():
    masks = (band_mask((8, 6), 2), band_mask((20,), 2), torch.tensor([0, 0, 1, 1]))
    game = BandGame(MODEL, INPUTS, 1, feature_mask=masks, spectral_dims=DIMS)
    assert game.players.tolist() == [0, 1]


@pytest.mark.parametrize("dims", [((-2, -1),), ((-2, -1), None), ((-1,),) * 4])
def test_an_entry_for_each_input(dims):
    with pytest.raises(ValueError, match=rf"one entry per input: got {len(dims)} for 3 inputs"):
        BandGame(MODEL, INPUTS, 1, spectral_dims=dims)


def test_a_wrong_entry_is_refused_like_dims_for_all():
    with pytest.raises(ValueError, match=r"spectral_dims=\(-4,\) is out of range"):
        BandGame(MODEL, INPUTS, 1, spectral_dims=((-2, -1), (-4,), None))
    with pytest.raises(TypeError, match=r"one or more integers"):
        BandGame(MODEL, INPUTS, 1, spectral_dims=((-2, -1), (0.5,), None))


class Described(nn.Module):
    """An image model that takes metadata in a dict."""

    def forward(self, x, fields, pair=(None, 1.0)):
        return MODEL(x, SOUND[:1].expand(len(x), 1, 20), fields["data"]) * pair[1] + (
            0 if pair[0] is None else pair[0][:, None]
        )


def test_none_among_the_baselines_is_zero():
    explainer, mean = SpectralShapley(MODEL), IMAGE.mean(0, keepdim=True)
    found, known = (
        explainer.attribute(INPUTS, 1, baselines=(mean, absent, absent), **OPTIONS)
        for absent in (None, 0)
    )
    torch.testing.assert_close(found, known, rtol=0, atol=0)
    assert not torch.allclose(found, explainer.attribute(INPUTS, 1, **OPTIONS))


@pytest.mark.parametrize("kind", [dict, UserDict])
def test_metadata_that_is_no_player_follows_its_image_in_a_dict(kind):
    fields = kind(data=DATA, name="of no image")
    explainer = SpectralShapley(Described().eval())
    options = {"num_bands": 3, "return_input_shape": False, "additional_forward_args": fields}
    found = explainer.attribute(IMAGE, 1, **options)
    for i in range(3):
        part = slice(i, i + 1)
        options["additional_forward_args"] = {"data": DATA[part]}
        torch.testing.assert_close(explainer.attribute(IMAGE[part], 1, **options), found[part])
    assert fields["data"] is DATA


def test_a_tuple_among_the_arguments_follows_its_image():
    pair = (DATA[:, 0], 2.0)
    options = {"num_bands": 2, "return_input_shape": False}
    found = SpectralShapley(Described().eval()).attribute(
        IMAGE, 1, additional_forward_args=({"data": DATA}, pair), **options
    )
    plain = SpectralShapley(Described().eval()).attribute(
        IMAGE, 1, additional_forward_args={"data": DATA}, **options
    )
    torch.testing.assert_close(found, 2 * plain)


@pytest.mark.parametrize(
    ("shape", "likely"),
    [
        ((1, 64, 48, 3), r"\(-3, -2\), for its channels"),
        ((1, 2, 64), r"\(-1,\), for it seems"),
        ((1, 1, 4, 6, 8), r"\(-3, -2, -1\), for it seems to be a volume"),
    ],
)
def test_default_dims_over_channels_are_remarked_upon(shape, likely):
    x = torch.rand(shape)
    with pytest.warns(UserWarning, match=f"you may want {likely}.*-1, -2. says so"):
        BandGame(lambda x: x.flatten(1).sum(1), x, num_bands=2)
    BandGame(lambda x: x.flatten(1).sum(1), x, num_bands=2, spectral_dims=(-1, -2))


@pytest.mark.parametrize(
    "shape", [(1, 3, 64, 48), (1, 1, 64), (1, 80, 64), (1, 3, 8, 3), (1, 1, 64, 1)]
)
def test_what_may_be_meant_is_not_remarked_upon(shape):
    BandGame(lambda x: x.flatten(1).sum(1), torch.rand(shape))


def test_a_mask_over_a_volume_is_remarked_upon_and_one_over_its_slices_is_not():
    def model(x):
        return x.flatten(1).sum(1, keepdim=True)

    x, volume = torch.rand(1, 1, 4, 6, 8), band_mask((4, 6, 8), edges=[0.2, 0.4], norm="l2")
    likely = r"you may want \(-3, -2, -1\), for it seems to be a volume"
    for mask in (volume, volume[None, None]):
        with pytest.warns(UserWarning, match=likely):
            BandGame(model, x, feature_mask=mask)
    with pytest.warns(UserWarning, match=likely):
        SpectralImportance(model, feature_mask=volume, value=lambda out, _: out[:, 0]).update(x)
    BandGame(model, x, feature_mask=volume, spectral_dims=(-3, -2, -1))
    BandGame(model, x, feature_mask=volume, spectral_dims=(-1, -2))
    BandGame(model, x, feature_mask=band_mask((6, 8), 2))
    frames = torch.arange(4).reshape(4, 1, 1) * 2 + band_mask((6, 8), 2)  # bands of each frame
    BandGame(model, x, feature_mask=frames)
