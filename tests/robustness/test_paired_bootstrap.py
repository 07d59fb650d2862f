"""Packed bits, and intervals of statistics of models on the same images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral.robustness.bootstrap import pack_bits, paired_bootstrap, unpack_bits
from captum_spectral.robustness.errors import corruption_error, relative_corruption_error


def bits_of(*shape, share=0.7, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share


class TestBits:
    @given(st.lists(st.booleans(), min_size=1, max_size=40))
    def test_come_back(self, listed):
        bits = torch.tensor(listed)
        packed = pack_bits(bits)
        assert len(packed) == math.ceil(len(listed) / 8)
        assert torch.equal(unpack_bits(packed, len(listed)), bits)

    @pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
    def test_are_packed_as_numpy_packs_them(self, count):
        bits = bits_of(3, 2, count)
        expected = np.packbits(bits.numpy(), axis=-1, bitorder="little")
        assert torch.equal(pack_bits(bits), torch.from_numpy(expected))
        assert torch.equal(unpack_bits(torch.from_numpy(expected), count), bits)

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: pack_bits(torch.ones(3)), TypeError, "boolean tensor, got torch.float32"),
            (lambda: pack_bits([True]), TypeError, "boolean tensor, got list"),
            (lambda: pack_bits(torch.ones(0).bool()), ValueError, r"got shape \(0,\)"),
            (lambda: unpack_bits(torch.ones(2), 9), TypeError, "uint8 tensor"),
            (lambda: unpack_bits(pack_bits(bits_of(9)), 17), ValueError, r"must be \(..., 3\)"),
            (lambda: unpack_bits(pack_bits(bits_of(9)), 0), ValueError, "num_images must be at"),
        ],
    )
    def test_others_are_refused(self, call, error, message):
        with pytest.raises(error, match=message):
            call()


def brute_force(statistic, bits, num_resamples, seed):
    """Resample image by image, in Python."""
    generator = torch.Generator().manual_seed(seed)
    count = bits[0].shape[-1]
    drawn = []
    for _ in range(num_resamples):
        images = torch.randint(count, (count,), generator=generator)
        drawn.append(float(statistic(*(b[..., images].double().mean(-1) for b in bits))))
    return torch.tensor(drawn, dtype=torch.float64)


def ratio(own, reference):
    return corruption_error(1 - own, 1 - reference)


class TestIntervals:
    def test_are_those_of_the_resamples_written_out(self):
        own, reference = bits_of(3, 90, seed=1), bits_of(3, 90, share=0.5, seed=2)
        result = paired_bootstrap(ratio, own, reference, num_resamples=150, seed=7)
        drawn = brute_force(ratio, (own, reference), 150, 7)
        assert float(result.value) == pytest.approx(
            float((~own).double().sum() / (~reference).double().sum())
        )
        assert float(result.low) == pytest.approx(float(drawn.quantile(0.025)))
        assert float(result.high) == pytest.approx(float(drawn.quantile(0.975)))
        assert float(result.standard_error) == pytest.approx(float(drawn.std()))
        assert result.num_undefined == 0

    def test_that_of_a_share_is_the_binomial_one(self):
        bits = torch.arange(400) < 300
        result = paired_bootstrap(lambda a: a, bits, num_resamples=4000)
        expected = math.sqrt(0.75 * 0.25 / 400)
        assert float(result.standard_error) == pytest.approx(expected, rel=0.05)
        assert float(result.low) == pytest.approx(0.75 - 1.96 * expected, abs=0.006)
        assert float(result.high) == pytest.approx(0.75 + 1.96 * expected, abs=0.006)

    def test_agree_with_scipy(self):
        stats = pytest.importorskip("scipy.stats")
        own = bits_of(200, seed=1)
        reference = own & bits_of(200, seed=2)

        def of_samples(a, b, axis=-1):
            return (1 - a.mean(axis=axis)) / (1 - b.mean(axis=axis))

        theirs = stats.bootstrap(
            (own.double().numpy(), reference.double().numpy()),
            of_samples,
            paired=True,
            vectorized=True,
            n_resamples=4000,
            method="percentile",
            rng=np.random.default_rng(0),
        )
        ours = paired_bootstrap(ratio_of_one, own, reference, num_resamples=4000)
        assert float(ours.standard_error) == pytest.approx(theirs.standard_error, rel=0.06)
        assert float(ours.low) == pytest.approx(theirs.confidence_interval.low, abs=0.03)
        assert float(ours.high) == pytest.approx(theirs.confidence_interval.high, abs=0.03)

    def test_of_models_that_fail_on_the_same_images_have_no_width(self):
        bits = bits_of(2, 100)
        result = paired_bootstrap(ratio, bits, bits.clone())
        assert (result.value, result.low, result.high, result.standard_error) == (1, 1, 1, 0)

    def test_cover_the_truth_about_as_often_as_they_say(self):
        """400 data sets of 150 images; the share has a standard error of .011."""
        generator = torch.Generator().manual_seed(0)
        hits = 0
        for i in range(400):
            u = torch.rand(150, generator=generator)
            result = paired_bootstrap(ratio_of_one, u < 0.7, u < 0.5, num_resamples=200, seed=i)
            hits += bool(result.low <= 0.6 <= result.high)
        assert 0.91 <= hits / 400 <= 0.98

    def test_of_several_numbers_come_together(self):
        bits = bits_of(4, 80)
        result = paired_bootstrap(lambda a: torch.stack([a[0], a[1] - a[2]]), bits)
        assert result.low.shape == result.num_undefined.shape == (2,)
        assert (result.low <= result.value).all()
        assert (result.value <= result.high).all()

    def test_may_be_of_any_numbers(self):
        x = torch.rand(60, generator=torch.Generator().manual_seed(0))
        result = paired_bootstrap(lambda mean: mean, x, num_resamples=3000)
        expected = float(x.std(unbiased=False)) / math.sqrt(60)
        assert float(result.standard_error) == pytest.approx(expected, rel=0.06)

    def test_say_how_often_there_was_no_number(self):
        """A reference that hardly degrades does not do so at all in many resamples."""
        clean, corrupted = torch.ones(50).bool(), torch.ones(1, 50).bool()
        corrupted[0, :1] = False

        def relative(clean, corrupted):
            return relative_corruption_error(1 - corrupted, 1 - clean, 1 - corrupted, 1 - clean)

        result = paired_bootstrap(relative, clean, corrupted)
        # the image is missing in (1 - 1/50)^50 of the resamples
        assert 300 < int(result.num_undefined) < 430
        assert result.low == result.high == 1

    def test_of_no_number_at_all_are_undefined(self):
        result = paired_bootstrap(lambda a: math.nan, bits_of(5), num_resamples=10)
        assert result.num_undefined == 10
        assert result.low.isnan()
        assert result.standard_error.isnan()

    def test_depend_on_the_seed_alone(self):
        bits = bits_of(100)
        before = torch.get_rng_state()
        first, again, other = (
            paired_bootstrap(lambda a: a, bits, num_resamples=70, seed=s) for s in (1, 1, 2)
        )
        assert first == again
        assert first != other
        assert torch.equal(torch.get_rng_state(), before)


def ratio_of_one(own, reference):
    return (1 - own) / (1 - reference)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3, bits_of(5)), {}, TypeError, "statistic must be a function, got int"),
        ((float,), {}, ValueError, "bits must be one tensor .* or more, got none"),
        ((float, [True]), {}, TypeError, r"bits\[0\] must be a real tensor, got list"),
        ((float, bits_of(5), bits_of(6)), {}, ValueError, r"same N images.*\(6,\) beside \(5,\)"),
        ((float, torch.tensor([math.inf])), {}, ValueError, r"bits\[0\] must be finite"),
        ((float, bits_of(5)), {"level": 95}, ValueError, "level must be between 0 and 1, got 95"),
        ((float, bits_of(5)), {"num_resamples": 0}, ValueError, "num_resamples must be at least"),
    ],
)
def test_wrong_arguments_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        paired_bootstrap(*arguments, **options)
