"""Bands of channels, and of lightness and colour."""

import numpy as np
import pytest
import torch
from features_case import FeaturesCase, close, normal
from helpers import brute_force, tiny_cnn

from captum_spectral import SpectralShapley, band_mask
from captum_spectral.features import LumaChromaBands, channel_bands, sector_mask
from captum_spectral.features.features import split


class TestLumaAndChroma(FeaturesCase):
    def create(self):
        return LumaChromaBands(num_bands=2)


class TestEveryAxisByItself(FeaturesCase):
    def create(self):
        return LumaChromaBands(num_bands=2, num_chroma_bands=1, separate=True)


class TestObliqueAxes(FeaturesCase):
    self_adjoint = False

    def create(self):
        class Oblique(LumaChromaBands):
            def _matrix(self, num_channels):
                return torch.eye(num_channels).double() + normal((num_channels,) * 2, 3) / 5

        return Oblique(num_bands=2)


def parts_of(member, x):
    ids = member.ids(x)
    return split(member, x, ids, torch.arange(int(ids.max()) + 1))


@pytest.mark.parametrize("axes", ["opponent", "ycbcr"])
def test_grey_has_no_chroma_and_without_chroma_a_picture_is_grey(axes):
    member = LumaChromaBands(num_bands=3, num_chroma_bands=2, axes=axes)
    grey = normal((2, 1, 9, 8)).expand(2, 3, 9, 8)
    assert parts_of(member, grey)[:, 3:].abs().max() < 1e-12
    luma = parts_of(member, normal((2, 3, 9, 8)))[:, :3]
    close(luma, luma.mean(2, keepdim=True).expand_as(luma))


def test_the_lightness_of_each_kind_of_axes():
    x = normal((1, 3, 8, 8))
    for axes, weights in (("opponent", [1 / 3] * 3), ("ycbcr", [0.299, 0.587, 0.114])):
        luma = parts_of(LumaChromaBands(num_bands=1, axes=axes), x)[0, 0, 0]
        close(luma, torch.einsum("chw,c->hw", x[0], torch.tensor(weights, dtype=torch.float64)))


def test_jpegs_axes_are_those_of_pillow():
    image = pytest.importorskip("PIL.Image")
    rgb = torch.randint(256, (20, 20, 3), generator=torch.Generator().manual_seed(0)).byte()
    theirs = np.array(image.fromarray(rgb.numpy()).convert("YCbCr"))
    member = LumaChromaBands(axes="ycbcr")
    ours = member._turned(rgb.double().permute(2, 0, 1)[None], member._matrix(3))[0]
    offsets = torch.tensor([0.0, 128, 128]).double()[:, None, None]
    assert (
        ours + offsets - torch.from_numpy(theirs).permute(2, 0, 1)
    ).abs().max() < 1.01  # theirs are rounded


def test_opponent_axes_are_orthonormal_for_any_number_of_channels():
    for count in (1, 2, 3, 7):
        matrix = LumaChromaBands()._matrix(count)
        close(matrix @ matrix.T, torch.eye(count).double())


def test_chroma_players_are_shared_or_of_each_axis():
    x = normal((1, 3, 8, 8))
    joint = LumaChromaBands(band_mask((8, 8), 3), sector_mask((8, 8), 1, 2))
    apart = LumaChromaBands(band_mask((8, 8), 3), sector_mask((8, 8), 1, 2), separate=True)
    assert joint.ids(x).unique().tolist() == [0, 1, 2, 3, 4]
    assert apart.ids(x).unique().tolist() == [0, 1, 2, 3, 4, 5, 6]
    a, b = parts_of(joint, x), parts_of(apart, x)
    close(a[:, 3:], b[:, 3:5] + b[:, 5:])


def test_an_image_of_one_channel_has_the_bands_of_luma_alone():
    x = normal((2, 1, 8, 8))
    values, bands = (
        SpectralShapley(tiny_cnn(1)).attribute(x, 1, return_input_shape=False, **players)
        for players in ({"features": LumaChromaBands(num_bands=3)}, {"num_bands": 3})
    )
    close(values, bands)


def test_values_of_channels_by_bands_are_those_of_the_textbook():
    x, model = normal((1, 2, 6, 7)), tiny_cnn(2)
    mask = channel_bands(band_mask((6, 7), 2), 2)
    values = SpectralShapley(model).attribute(x, 3, feature_mask=mask, return_input_shape=False)
    close(values, brute_force(model, (x,), (mask,), (torch.zeros_like(x),), [3]), atol=1e-10)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: channel_bands(torch.zeros(3, 4, 4).long()), ValueError, r"must be \(H, W\)"),
        (lambda: channel_bands(torch.zeros(4, 4)), TypeError, "feature_mask must hold integer"),
        (lambda: channel_bands(torch.zeros(4, 4).long(), 0), ValueError, "num_channels must be"),
        (
            lambda: LumaChromaBands(torch.zeros(4, 4).long(), num_bands=2),
            ValueError,
            "feature_mask and num_bands both",
        ),
        (lambda: LumaChromaBands(num_chroma_bands=0), ValueError, "num_chroma_bands must be"),
        (lambda: LumaChromaBands(chroma_mask=[0]), TypeError, "chroma_mask must be a torch.Tensor"),
        (lambda: LumaChromaBands(axes="hsv"), ValueError, "axes must be .* got 'hsv'"),
        (lambda: LumaChromaBands(axes=3), TypeError, "axes must be .* got int"),
        (lambda: LumaChromaBands(axes=torch.ones(2, 3)), ValueError, r"axes must be \(C, C\)"),
        (lambda: LumaChromaBands(axes=torch.ones(3, 3)), ValueError, "must have an inverse"),
        (
            lambda: LumaChromaBands(axes="ycbcr").ids(torch.rand(1, 2, 8, 8)),
            ValueError,
            "axes are those of 3 channels, and the input has 2",
        ),
        (
            lambda: LumaChromaBands().ids(torch.rand(1, 8, 8)),
            ValueError,
            r"needs inputs \(B, C, H, W\).* got shape \(1, 8, 8\)",
        ),
        (
            lambda: LumaChromaBands(torch.arange(64).reshape(8, 8)).ids(torch.rand(1, 3, 8, 8)),
            ValueError,
            "must give a frequency and its negative the same band",
        ),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
