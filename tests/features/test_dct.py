"""The cosine transform of images and of blocks."""

import math

import pytest
import torch
from features_case import FeaturesCase, close, normal, shapes
from helpers import tiny_cnn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft

from captum_spectral import Game, SpectralShapley, band_mask
from captum_spectral._engine import signals as engine
from captum_spectral.features import DCT, dct_mask, zigzag_mask
from captum_spectral.features.features import assign, split
from captum_spectral.features.products import apply_along


class TestDCT(FeaturesCase):
    def create(self):
        return DCT(num_bands=3, norm="l2")


class TestDCTWithAMaskForEveryChannel(FeaturesCase):
    def create(self):
        class PerChannel(DCT):
            def ids(self, inputs):
                mask = dct_mask(inputs.shape[-2:], 2)
                steps = torch.arange(inputs.shape[1])[:, None, None]
                return DCT(2 * steps + mask).ids(inputs)

        return PerChannel()


class TestZigzagOfBlocks(FeaturesCase):
    def create(self):
        return DCT(zigzag_mask(edges=[1, 3]), block_size=8)


@pytest.mark.filterwarnings("ignore:feature_mask is missing")  # of an image smaller than a block
class TestBlocksOfJpeg(FeaturesCase):
    few_players = False

    def create(self):
        return DCT(block_size=8)


class TestSmallBlocks(FeaturesCase):
    def create(self):
        return DCT(num_bands=3, block_size=3, norm="l1")


@shapes
def test_coefficients_of_an_image_are_those_of_scipy(shape):
    x = normal(shape)
    expected = torch.from_numpy(fft.dctn(x.numpy(), axes=(2, 3), norm="ortho"))
    close(DCT().transform(x), expected)
    close(DCT().inverse(expected, x.shape), x)


def test_blocks_and_what_is_left_of_them_have_transforms_of_their_own():
    x = normal((2, 3, 19, 16))
    found = DCT(block_size=8).transform(x)
    for rows in (slice(0, 8), slice(8, 16), slice(16, 19)):
        for columns in (slice(0, 8), slice(8, 16)):
            block = x[..., rows, columns].numpy()
            expected = torch.from_numpy(fft.dctn(block, axes=(2, 3), norm="ortho"))
            close(found[..., rows, columns], expected)
    ids = DCT(block_size=8).ids(x)[0, 0]
    table = torch.arange(64).reshape(8, 8)
    assert torch.equal(ids[8:16, 8:], table)
    assert torch.equal(ids[16:, :8], table[[0, 2, 5]])  # floor(8 u / 3)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([None, 1, 2, 5, 8]))
def test_any_size_keeps_energies_and_comes_back(height, width, block_size):
    member, x = DCT(block_size=block_size), normal((1, 2, height, width))
    coefficients = member.transform(x)
    close(coefficients.square().sum(), x.square().sum(), atol=1e-10)
    close(member.inverse(coefficients, x.shape), x, atol=1e-11)
    assert member.ids(x).shape[2:] == x.shape[2:]


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (224, 224)])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_bands_hold_the_coefficients_between_their_edges(size, norm):
    mask = dct_mask(size, 4, norm)
    u, v = (torch.arange(n, dtype=torch.float64) / n for n in size)
    radius = {
        "linf": torch.maximum(u[:, None], v),
        "l2": torch.hypot(u[:, None], v[None]),
        "l1": u[:, None] + v,
    }[norm]
    assert torch.equal(mask, (radius * 4 + 1e-12).floor().long().clamp(max=3))


def test_a_default_fits_small_images_and_a_number_that_does_not_is_refused():
    assert dct_mask((3, 5)).unique().tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"num_bands=8 is more than .* at most num_bands=5 fits"):
        dct_mask((3, 5), 8)


# Figure A.6 of the standard, ISO/IEC 10918-1.
ZIGZAG = """
     0  1  5  6 14 15 27 28
     2  4  7 13 16 26 29 42
     3  8 12 17 25 30 41 43
     9 11 18 24 31 40 44 53
    10 19 23 32 39 45 52 54
    20 22 33 38 46 51 55 60
    21 34 37 47 50 56 59 61
    35 36 48 49 57 58 62 63
"""


def test_the_zigzag_is_that_of_jpeg():
    expected = torch.tensor([int(number) for number in ZIGZAG.split()]).reshape(8, 8)
    assert torch.equal(zigzag_mask(64), expected)
    assert torch.equal(zigzag_mask(), torch.arange(8)[:, None] + torch.arange(8))
    assert zigzag_mask(7).unique(return_counts=True)[1].tolist() == [10, 9, 9, 9, 9, 9, 9]
    assert torch.equal(zigzag_mask(edges=[1, 6]), (expected >= 1).long() + (expected >= 6))


def test_64_coefficients_are_masked_and_63_mixed_to_the_same_values():
    x, model = normal((2, 1, 16, 19)), tiny_cnn(1)
    coalitions = torch.rand(5, 64, generator=torch.Generator().manual_seed(0)) < 0.5
    every = Game(model, x, 1, features=DCT(block_size=8), baselines=0.2)
    assert type(every.signals._sources[0]) is engine._Masked
    first = torch.arange(64).clamp(min=1).reshape(8, 8) - 1  # 0 and 1 together: 63 players
    fewer = Game(model, x, 1, features=DCT(first, block_size=8), baselines=0.2)
    assert type(fewer.signals._sources[0]) is engine._Mixed
    coalitions[:, 1] = coalitions[:, 0]
    close(every.evaluate(coalitions), fewer.evaluate(coalitions[:, 1:]), atol=1e-11)


def test_the_mean_of_an_image_is_its_first_coefficient_and_of_blocks_their_means():
    x = normal((1, 1, 16, 16))
    whole = DCT(torch.arange(256).reshape(16, 16).clamp(max=1))
    (mean,) = split(whole, x, whole.ids(x), torch.tensor([0])).unbind(1)
    close(mean, x.mean().expand_as(x))
    blocks = DCT(block_size=8)
    (means,) = split(blocks, x, blocks.ids(x), torch.tensor([0])).unbind(1)
    close(means[..., ::8, ::8], torch.nn.functional.avg_pool2d(x, 8))


def test_a_cosine_is_one_coefficient_and_in_the_band_of_its_frequency():
    u, size = 6, 32
    x = torch.cos(math.pi * (2 * torch.arange(size).double() + 1) * u / (2 * size))
    x = x.expand(1, 1, size, size)
    coefficients = DCT().transform(x)[0, 0]
    assert (coefficients.abs() > 1e-10).nonzero().tolist() == [[0, u]]
    # 6 / 64 cycles/pixel: the wave k = 3 of the Fourier plane.
    assert dct_mask((size, size), 8)[0, u] == band_mask((size, size), 8)[0, 3]


def test_half_precision_and_channels_last_get_the_values_of_float32():
    x = normal((2, 3, 16, 16), dtype=torch.float32)
    model = tiny_cnn(dtype=torch.float32)
    explainer, member = SpectralShapley(model), DCT(num_bands=3)
    values = explainer.attribute(x, 1, features=member, return_input_shape=False)
    last = x.contiguous(memory_format=torch.channels_last)
    again = explainer.attribute(last, 1, features=member, return_input_shape=False)
    torch.testing.assert_close(again, values, rtol=1e-4, atol=1e-5)
    half = SpectralShapley(lambda x: model(x.float())).attribute(
        x.bfloat16(), 1, features=member, return_input_shape=False
    )
    torch.testing.assert_close(half, values, rtol=0.1, atol=0.01)


def test_products_keep_their_digits_where_the_network_may_lose_some(monkeypatch):
    x, matrix = normal((4, 50), dtype=torch.float32), normal((50, 50), 1)
    expected = (x.double() @ matrix.T).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(apply_along(matrix, x, -1), expected, atol=1e-4)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert torch.equal(apply_along(matrix, x, -1), expected)  # by way of float64


@pytest.mark.filterwarnings("ignore:feature_mask is missing")
def test_a_small_image_says_which_coefficients_it_lacks():
    _, (ids,) = assign(DCT(block_size=8), (normal((1, 1, 4, 8)),))
    assert ids.unique().tolist() == [8 * u + v for u in (0, 2, 4, 6) for v in range(8)]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DCT([[0]]), TypeError, "feature_mask must be a torch.Tensor, got list"),
        (lambda: DCT(num_bands=0), ValueError, "num_bands must be at least 1"),
        (lambda: DCT(block_size=2.5), TypeError, "block_size must be an integer"),
        (lambda: DCT(norm="l3"), ValueError, "norm must be .* got 'l3'"),
        (lambda: DCT(torch.zeros(2, 2).long(), num_bands=2), ValueError, "both say what"),
        (
            lambda: DCT(torch.zeros(4, 4).long(), block_size=8),
            ValueError,
            r"feature_mask must be \(8, 8\) or \(C, 8, 8\).* got shape \(4, 4\)",
        ),
        (lambda: DCT(num_bands=9, block_size=8), ValueError, "num_bands=9 is more than"),
        (
            lambda: DCT(torch.zeros(2, 8, 8).long(), block_size=8).ids(torch.rand(1, 3, 8, 8)),
            ValueError,
            r"feature_mask of shape \(2, 8, 8\) is not that of a block, \(8, 8\)",
        ),
        (
            lambda: DCT(torch.zeros(4, 4).long()).ids(torch.rand(1, 3, 8, 8)),
            ValueError,
            r"feature_mask of shape \(4, 4\) fits neither",
        ),
        (lambda: DCT().ids(torch.rand(2, 8)), ValueError, "touches dim 0"),
        (lambda: zigzag_mask(65), ValueError, "num_groups=65 is more than the 64 coefficients"),
        (lambda: zigzag_mask(edges=[3, 3]), ValueError, "edges must increase strictly"),
        (lambda: zigzag_mask(edges=[64]), ValueError, "to below 64"),
        (lambda: zigzag_mask(edges=[0.5]), TypeError, "edges must be an integer"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
