"""Which band a frequency belongs to."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import SpectralImportance, band_frequencies, band_mask

sizes = st.lists(st.integers(5, 40), min_size=1, max_size=3)
norms = st.sampled_from(["linf", "l2", "l1"])


def radius(shape, norm):
    """Normalised radius of every bin as exact fractions (l2: its square)."""

    def signed(k, n):
        return k if 2 * k <= n else n - k

    radii = {}
    for index in torch.cartesian_prod(*[torch.arange(n) for n in shape]).reshape(-1, len(shape)):
        parts = [Fraction(2 * signed(k, n), n) for k, n in zip(index.tolist(), shape, strict=True)]
        if norm == "linf":
            radii[tuple(index.tolist())] = max(parts)
        elif norm == "l1":
            radii[tuple(index.tolist())] = sum(parts)
        else:
            radii[tuple(index.tolist())] = sum(p * p for p in parts)
    return radii


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("shape", [(16, 16), (15, 9), (12, 25), (24,), (7, 10, 9)])
def test_every_bin_is_on_the_right_side_of_its_edges_exactly(shape, norm):
    num_bands = 3
    mask = band_mask(shape, num_bands, norm)
    for index, r in radius(shape, norm).items():
        power = 2 if norm == "l2" else 1
        expected = sum(r >= Fraction(i, num_bands) ** power for i in range(1, num_bands))
        assert int(mask[index]) == expected, index


def test_an_edge_that_floats_would_miss():
    # Frequency 290 of 1000 has the radius 0.58 = 29 / 50 and opens band 29, but
    # 0.58 * 50 is 28.999999999999996 in floating point: floor would put it a band too low.
    assert math.floor(0.58 * 50) == 28
    mask = band_mask((1000,), 50)
    assert mask[:501].tolist() == [min(k // 10, 49) for k in range(501)]


@given(shape=sizes, norm=norms, num_bands=st.integers(1, 2))
def test_a_frequency_and_its_negative_share_a_band_at_any_size(shape, norm, num_bands):
    mask = band_mask(shape, num_bands, norm)
    dims = tuple(range(len(shape)))
    assert torch.equal(mask, mask.flip(dims).roll([1] * len(dims), dims))
    assert mask.flatten()[0] == 0  # DC is in the lowest band
    assert mask.unique().tolist() == list(range(num_bands))  # no band is empty


def test_the_max_norm_leaves_no_corner_outside_and_makes_nested_squares():
    mask = band_mask((224, 224))
    shifted = torch.fft.fftshift(mask)
    assert shifted[112].eq(0).sum() == 27  # |k| <= 13
    assert torch.equal(mask.unique(), torch.arange(8))


def test_octave_bands_double_in_width():
    mask = band_mask((256,), 5, spacing="octave")[:129]
    edges = [int((mask >= i).nonzero()[0]) for i in range(1, 5)]
    assert edges == [8, 16, 32, 64]  # r = 1/16, 1/8, 1/4, 1/2 of 128


def test_explicit_edges_may_isolate_the_mean():
    mask = band_mask((16, 16), edges=[Fraction(1, 8), 0.5])
    assert mask.eq(0).sum() == 1
    assert mask[0, 0] == 0
    assert mask.unique().tolist() == [0, 1, 2]


def test_a_large_coprime_plane_needs_python_integers_and_stays_exact():
    shape, edge = (1009, 997), Fraction(1, 3) + Fraction(1, 10**12)
    mask = band_mask(shape, norm="l2", edges=[edge])
    row = mask[0, : 997 // 2 + 1]
    assert int(row.eq(0).sum()) == next(k for k in range(997) if Fraction(2 * k, 997) >= edge)


def test_frequencies_of_bands_in_cycles_per_pixel():
    low, high = band_frequencies(band_mask((224, 224), 8)).T
    assert low.tolist() == pytest.approx([i / 16 for i in range(8)])
    assert high[-1] == 0.5
    assert (high[:-1] < low[1:]).all()
    with_gap = band_frequencies(torch.tensor([0, 2, 2, 2]), spectral_dims=(-1,))
    assert with_gap[1].isnan().all()


@pytest.mark.parametrize("shape", [(32, 32), (16, 20), (9, 7), (8, 10, 12)])
@pytest.mark.parametrize(("norm", "power"), [("linf", math.inf), ("l2", 2), ("l1", 1)])
def test_frequencies_are_those_of_the_norm_of_the_mask(shape, norm, power):
    axes = torch.meshgrid(
        *[torch.fft.fftfreq(n, dtype=torch.float64).abs() for n in shape], indexing="ij"
    )
    radius = torch.stack(axes).norm(power, dim=0)
    mask = band_mask(shape, 3, norm)
    dims = tuple(range(-len(shape), 0))
    known = torch.stack(
        [torch.stack([f(radius[mask == i]) for f in (torch.min, torch.max)]) for i in range(3)]
    )
    torch.testing.assert_close(band_frequencies(mask, dims, norm=norm), known)
    torch.testing.assert_close(band_frequencies(mask, dims), known)
    assert (known[:-1, 1] < known[1:, 0]).all()  # the max-norm has rings overlap
    stereo = torch.stack([mask, mask + 3])  # channels with bands of their own
    torch.testing.assert_close(band_frequencies(stereo, dims), known.repeat(2, 1))
    with pytest.raises(ValueError, match="norm must be 'linf', 'l2' or 'l1', or None, got 'max'"):
        band_frequencies(mask, dims, norm="max")


def test_a_measured_model_has_the_frequencies_of_rings():
    mask = band_mask((16, 12), 3, "l2")
    importance = SpectralImportance(torch.nn.Flatten(), feature_mask=mask)
    importance.update(torch.randn(2, 1, 16, 12), torch.tensor([0, 1]))
    torch.testing.assert_close(importance.compute().frequencies, band_frequencies(mask, norm="l2"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_bands": 0}, ValueError, "num_bands must be at least 1, got 0"),
        ({"num_bands": 2.0}, TypeError, "num_bands must be an integer or None, got 2.0"),
        ({"num_bands": True}, TypeError, "num_bands must be an integer or None, got True"),
        ({"num_bands": torch.tensor(True)}, TypeError, "num_bands must be an integer or None"),
        ({"num_bands": torch.tensor([3, 3])}, TypeError, "num_bands must be an integer or None"),
        ({"norm": "max"}, ValueError, "norm must be 'linf', 'l2' or 'l1', got 'max'"),
        ({"spacing": "log"}, ValueError, "'linear', 'octave' or 'mel', got 'log'$"),
        ({"shape": ()}, ValueError, "one or more positive sizes"),
        ({"shape": 16}, TypeError, r"sequence of sizes such as \(H, W\), got 16"),
        ({"num_bands": 9}, ValueError, r"num_bands=9 is more than .* at most num_bands=6 fits"),
        ({"spacing": "octave", "num_bands": 8}, ValueError, "band 1 would be empty; .*=4 fits"),
        ({"edges": [0.5, 0.5]}, ValueError, "strictly increasing"),
        ({"edges": [0.5, float("nan")]}, TypeError, "finite numbers"),
        ({"edges": [0.0, 0.5]}, ValueError, "positive"),
        ({"edges": [0.5, 0.51]}, ValueError, "leave band 1 without any frequency"),
    ],
)
def test_bad_arguments_say_what_would_work(arguments, error, message):
    with pytest.raises(error, match=message):
        band_mask(**{"shape": (10, 10), **arguments})


def test_the_number_of_bands_that_is_said_to_fit_does_fit():
    with pytest.raises(ValueError, match="at most num_bands=6 fits"):
        band_mask((10, 10), 7)
    assert band_mask((10, 10), 6).unique().tolist() == list(range(6))


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.sampled_from(["linf", "l2", "l1"]),
    st.sampled_from(["linear", "octave"]),
)
def test_the_default_fits_every_signal_and_no_further_band_would(shape, norm, spacing):
    mask = band_mask(shape, norm=norm, spacing=spacing)
    count = int(mask.max()) + 1
    assert count <= 8
    assert mask.unique().tolist() == list(range(count))
    if count < 8:
        with pytest.raises(ValueError, match=f"at most num_bands={count} fits"):
            band_mask(shape, 8, norm, spacing)


@pytest.mark.parametrize("count", [np.int64(4), np.uint8(4), torch.tensor(4), torch.tensor([4])])
def test_integers_from_elsewhere_are_counts(count):
    assert torch.equal(band_mask((32, 32), count), band_mask((32, 32), 4))


class TestFrequenciesOfMasksOfAnyForm:
    PLANE = band_mask((20, 12), 3)
    KNOWN = band_frequencies(band_mask((20, 12), 3))

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32])
    def test_of_any_integers(self, dtype):
        assert torch.equal(band_frequencies(self.PLANE.to(dtype)), self.KNOWN)

    def test_with_channels_and_examples_before(self):
        for mask in (self.PLANE[None], self.PLANE[None, None], self.PLANE.expand(3, 20, 12)):
            assert torch.equal(band_frequencies(mask), self.KNOWN)
        per_channel = torch.stack([self.PLANE + 3 * c for c in range(3)])
        assert torch.equal(band_frequencies(per_channel), self.KNOWN.repeat(3, 1))

    def test_with_channels_last(self):
        last = self.PLANE[..., None]
        assert torch.equal(band_frequencies(last, (0, 1)), self.KNOWN)
        assert torch.equal(band_frequencies(last.expand(20, 12, 3), (-3, -2)), self.KNOWN)
        with pytest.raises(ValueError, match=r"\(20, 12, 1\) may be .* its channels last; give"):
            band_frequencies(last)

    def test_of_one_dim(self):
        mask = band_mask((20,), 4)
        assert torch.equal(band_frequencies(mask), band_frequencies(mask, -1))
        assert band_frequencies(mask)[:, 0].tolist() == pytest.approx([0, 0.15, 0.25, 0.4])

    def test_of_three_dims(self):
        volume = band_mask((8, 10, 12), 3)
        low = band_frequencies(volume, (0, 1, 2))[:, 0]
        assert (low.diff() > 0).all()
        with pytest.raises(ValueError, match="may be that of a volume"):
            band_frequencies(volume)

    @pytest.mark.parametrize("dims", [(0, 2), 3, (-3,), ()])
    def test_dims_that_the_mask_does_not_have(self, dims):
        with pytest.raises(ValueError, match="spectral_dims"):
            band_frequencies(self.PLANE, dims)

    def test_a_mask_of_floats(self):
        with pytest.raises(TypeError, match=r"integer band ids, got dtype torch.float32"):
            band_frequencies(self.PLANE.float())
