"""Sectors of the Fourier plane: radius by orientation."""

import cmath
import math

import pytest
import torch
from features_case import FeaturesCase, close, normal
from helpers import brute_force, tiny_cnn
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spectral import SpectralShapley, band_mask
from captum_spectral.features import FourierBands, Sectors, sector_mask
from captum_spectral.features.features import split


class TestSectors(FeaturesCase):
    def create(self):
        return Sectors(2, 2)


class TestOctavesOfSectorsAroundADisc(FeaturesCase):
    def create(self):
        return Sectors(2, 3, spacing="octave", centre="disc", norm="linf")


class TestAsManySectorsAsFit(FeaturesCase):
    few_players = False

    def create(self):
        return Sectors(centre="mean")


def signed(k, n):
    return k - n if 2 * k > n else k


def wave(shape, f_y, f_x, phase=0.3):
    y, x = (torch.arange(n, dtype=torch.float64) for n in shape)
    return torch.cos(2 * math.pi * (f_y * y[:, None] + f_x * x) + phase)[None, None]


@pytest.mark.parametrize("shape", [(16, 16), (15, 21), (12, 30)])
@pytest.mark.parametrize("centre", ["first", "mean", "disc"])
def test_every_frequency_lies_within_the_geometry_of_its_sector(shape, centre):
    sectors = Sectors(3, 3, centre=centre, first_angle=-17.0)
    mask, geometry = sectors.mask(shape), sectors.geometry(shape)
    assert len(geometry) == int(mask.max()) + 1 == {"first": 9, "mean": 10, "disc": 7}[centre]
    for (i, j), number in zip(
        [(i, j) for i in range(shape[0]) for j in range(shape[1])], mask.flatten().tolist(),
        strict=True,
    ):  # fmt: skip
        f = complex(signed(j, shape[1]) / shape[1], -signed(i, shape[0]) / shape[0])
        low, high, begin, end = geometry[number].tolist()
        if not f:
            assert number == 0
            continue
        assert low - 1e-12 <= abs(f) < high
        if 2 * i == shape[0] or 2 * j == shape[1]:  # both signs: the angle up to 90 degrees
            f = complex(abs(f.real), abs(f.imag))
        degrees = math.degrees(cmath.phase(f))
        assert any(begin - 1e-9 <= degrees + turn < end for turn in (-180, 0, 180, 360))


@pytest.mark.parametrize(
    ("f_y", "f_x", "orientation"), [(0, 3, 0), (-3, 3, 1), (3, 0, 2), (3, 3, 3), (-1, 4, 0)]
)
def test_stripes_of_an_orientation_are_in_its_sector_alone(f_y, f_x, orientation):
    # 45 degrees: brighter towards the upper right; rows run downwards.
    x = wave((16, 16), f_y / 16, f_x / 16)
    sectors = Sectors(1, 4)
    (ids,) = (sectors.ids(x),)
    energies = split(sectors, x, ids, torch.arange(4)).square().flatten(2).sum(2)[0]
    close(energies[orientation], x.square().sum())
    assert energies.sum() - energies[orientation] < 1e-20


def test_orientations_are_those_of_the_pixels_of_an_image_that_is_not_square():
    x = wave((12, 48), -2 / 12, 8 / 48)  # 45 degrees, though bin (-2, 8) is not on the diagonal
    sectors = Sectors(1, 4)
    part = split(sectors, x, sectors.ids(x), torch.tensor([1]))[:, 0]
    close(part, x)


def test_mirroring_an_image_mirrors_the_orientations():
    shape = (10, 12)
    mask = Sectors(2, 4).mask(shape)
    mirrored = mask.flip(1).roll(1, 1)
    nyquist = torch.zeros(shape, dtype=torch.bool)
    nyquist[5], nyquist[:, 6] = True, True  # these are their own mirror images
    expected = mask // 4 * 4 + (-mask % 4)
    assert torch.equal(mirrored[~nyquist], expected[~nyquist])
    assert torch.equal(mirrored[:, 6], mask[:, 6])


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["first", "mean", "disc"]),
    st.sampled_from(["l1", "l2", "linf"]),
    st.sampled_from(["linear", "octave"]),
)
def test_a_default_fits_any_size_and_k_goes_with_minus_k(shape, centre, norm, spacing):
    if shape == (1, 1) and centre == "mean":
        return  # one frequency, two players: see below
    mask = sector_mask(shape, centre=centre, norm=norm, spacing=spacing)
    assert torch.equal(mask, mask.flip(0, 1).roll((1, 1), (0, 1)))
    assert torch.equal(mask.unique(), torch.arange(int(mask.max()) + 1))
    if min(shape) >= 32 and spacing == "linear":
        assert int(mask.max()) + 1 == {"first": 12, "mean": 13, "disc": 10}[centre]


def test_one_orientation_is_rings_and_edges_are_those_of_bands():
    for options in ({"norm": "l1"}, {"spacing": "octave"}, {"edges": [0.1, 0.7]}):
        rings = sector_mask((24, 20), 3, 1, **options)
        bands = band_mask((24, 20), 3, **{"norm": "l2"} | options)
        assert torch.equal(rings, bands)


def test_a_disc_is_the_innermost_ring_and_the_mean_one_frequency():
    whole, disc, mean = (sector_mask((20, 20), 3, 4, centre=c) for c in ("first", "disc", "mean"))
    assert torch.equal(disc == 0, whole < 4)
    assert torch.equal(disc[whole >= 4], whole[whole >= 4] - 3)
    assert (mean == 0).sum() == 1
    assert mean[0, 0] == 0
    rest = mean.flatten()[1:]
    assert torch.equal(rest, whole.flatten()[1:] + 1)


def test_shapley_values_of_sectors_are_those_of_the_textbook():
    x, model = normal((1, 1, 7, 8)), tiny_cnn(1)
    mask = sector_mask((7, 8), 2, 2)
    by_mask = SpectralShapley(model).attribute(x, 1, feature_mask=mask, return_input_shape=False)
    by_features = SpectralShapley(model).attribute(
        x, 1, features=Sectors(2, 2), return_input_shape=False
    )
    expected = brute_force(model, (x,), (mask,), (torch.zeros_like(x),), [1])
    close(by_mask, expected, atol=1e-10)
    close(by_features, by_mask)


def test_sectors_over_other_dims_go_through_the_mask():
    x = normal((2, 9, 8, 3))  # channels last
    features = FourierBands(sector_mask((9, 8), 2, 2), spectral_dims=(1, 2))
    assert features.ids(x).shape == (1, 9, 8, 1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sector_mask((8,)), ValueError, r"shape must be \(H, W\).*got \(8,\)"),
        (lambda: sector_mask(8), TypeError, "shape must be a sequence of sizes"),
        (lambda: sector_mask((8, 8), 0), ValueError, "num_radial must be at least 1, got 0"),
        (lambda: sector_mask((8, 8), 2, 1.5), TypeError, "num_angular must be an integer"),
        (lambda: Sectors(norm="l3"), ValueError, "norm must be .* got 'l3'"),
        (lambda: Sectors(spacing="log"), ValueError, "spacing must be .* got 'log'"),
        (lambda: Sectors(centre="own"), ValueError, "centre must be 'first', 'mean' or 'disc'"),
        (lambda: Sectors(first_angle="0"), TypeError, "first_angle must be a number of degrees"),
        (lambda: Sectors(edges=[0.5, 0.5]), ValueError, "edges must be positive and strictly"),
        (
            lambda: sector_mask((8, 8), 4, 3),
            ValueError,
            r"4 rings of 3 orientations are more than the frequencies of an image of \(8, 8\) can "
            r"fill: sector 1 \(ring 0, orientation 1\) would be empty; at most num_angular=1 with "
            "4 rings or num_radial=2 with 3 orientations fits",
        ),
        (
            lambda: sector_mask((16, 16), 3, 90, centre="mean"),
            ValueError,
            r"sector 2 \(ring 0, orientation 1\)",
        ),
        (lambda: sector_mask((1, 1), centre="mean"), ValueError, "use fewer of both"),
    ],
)
def test_bad_sectors_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
