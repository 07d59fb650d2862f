"""The law of the samples that lack random features, and of the estimate they give."""

from itertools import product
from math import factorial

import pytest
import torch
from helpers import Counting, tiny_cnn
from suppression import BANDS, BLOCKS, FULL_PRECISION, TARGETS, WAYS, X, run, samples_of, seeded

from captum_spectral import FeatureSuppression, SpectralShapley, band_mask, split_bands

# ------------------------------------------------------------------------------- the samples


def test_a_pixel_is_kept_or_holds_the_baseline_in_all_channels_and_examples():
    b = -X
    kept = samples_of(tiny_cnn(2), baselines=b) == X
    assert torch.equal(samples_of(tiny_cnn(2), baselines=b), torch.where(kept, X, b))
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept))
    assert len(kept[:, 0, 0].flatten(1).unique(dim=0)) == 6


def test_a_group_is_suppressed_as_a_whole_and_groups_differ_between_channels_if_asked():
    samples = samples_of(tiny_cnn(2), feature_mask=torch.stack([BLOCKS, BLOCKS + 6]))
    kept = (samples == X)[:, 0]
    values = []
    for group in range(6):
        for channel in range(2):
            places = kept[:, channel, group == BLOCKS]
            assert torch.equal(places, places[:, :1].expand_as(places))
            values.append(places[:, 0])
    patterns = torch.stack(values, 1)
    assert (patterns[:, ::2] != patterns[:, 1::2]).any()


def test_only_which_places_share_an_id_matters():
    a = run(tiny_cnn(2), feature_mask=BLOCKS)
    torch.testing.assert_close(run(tiny_cnn(2), feature_mask=10**12 + 7 * BLOCKS), a)


def test_samples_of_bands_are_sums_of_the_bands_of_split_bands():
    b = X.flip(0) ** 2
    samples = samples_of(tiny_cnn(2), baselines=b, suppress=0.5, **BANDS)
    bands = split_bands(X - b, num_bands=3)
    seen = set()
    for sample in samples:
        fits = [
            m
            for m in product([0.0, 1.0], repeat=3)
            if torch.allclose(
                sample, b + torch.einsum("m,bm...->b...", torch.tensor(m).to(b), bands)
            )
        ]
        assert len(fits) == 1  # one coalition of bands, the same in all examples
        seen.add(fits[0])
    assert len(seen) > 1
    given_mask = samples_of(
        tiny_cnn(2),
        baselines=b,
        suppress=0.5,
        domain="frequency",
        feature_mask=band_mask((10, 12), 3),
    )
    assert torch.equal(given_mask, samples)


@pytest.mark.parametrize(
    ("suppress", "expected"), [(0.7, 0.7), (0.1, 0.1), ((0.4, 1.0), 0.7), ((0, 1), 0.5)]
)
def test_the_share_of_suppressed_features_is_the_ratio(suppress, expected):
    x = torch.ones(1, 1, 40, 40)
    samples = samples_of(tiny_cnn(1, dtype=torch.float32), x, 0, suppress=suppress, n_samples=200)
    share = (samples == 0).double().flatten(1).mean(1)
    if isinstance(suppress, tuple):  # each sample has its own
        lo, hi = suppress
        assert share.min() < lo + 0.1 * (hi - lo) + 0.05
        assert share.max() > hi - 0.1 * (hi - lo) - 0.05
        assert abs(share.mean() - expected) < 5 * (hi - lo) / (12 * 200) ** 0.5
    else:
        assert abs(share.mean() - expected) < 5 * (expected * (1 - expected) / 320_000) ** 0.5


def test_a_larger_ratio_suppresses_the_same_and_more():
    some, more = (samples_of(tiny_cnn(2), suppress=r) == 0 for r in (0.3, (0.6, 0.6)))
    assert bool((some <= more).all())
    assert more.sum() > some.sum()


@pytest.mark.parametrize("way", WAYS)
def test_the_seed_decides_and_a_given_generator_leaves_the_global_one_alone(way):
    state = torch.get_rng_state()
    first, again, other = (run(tiny_cnn(2), seed=seed, **way) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    explainer = FeatureSuppression(tiny_cnn(2))
    torch.manual_seed(1)
    assert torch.equal(explainer.attribute(X, TARGETS, n_samples=6, **way), first)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 100])
def test_internal_batch_size_bounds_the_rows_and_changes_nothing_else(way, size):
    model = Counting(tiny_cnn(2))
    arguments = {"return_standard_error": True, "baselines": X.flip(0), **way}
    for ours, whole in zip(
        run(model, internal_batch_size=size, **arguments),
        run(tiny_cnn(2), **arguments),
        strict=True,
    ):
        torch.testing.assert_close(ours, whole, **FULL_PRECISION)
    assert max(shape[0] for shape in model.shapes) == min(size, 18)
    assert model.rows == 18


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_equals_its_examples_one_at_a_time_from_the_same_seed(way):
    b = X.flip(0)
    together = run(tiny_cnn(2), baselines=b, **way)
    for e in range(3):
        alone = run(tiny_cnn(2), X[e : e + 1], TARGETS[e], baselines=b[e : e + 1], **way)
        torch.testing.assert_close(together[e : e + 1], alone, **FULL_PRECISION)


@pytest.mark.parametrize(
    "masks",
    [
        torch.stack([BLOCKS, BLOCKS.flip(0), BLOCKS.flip(1)])[:, None],
        torch.stack([band_mask((10, 12), 3, norm) for norm in ("linf", "l2", "l1")])[:, None],
    ],
)
def test_masks_may_differ_between_examples(masks):
    domain = "pixel" if int(masks.max()) == 5 else "frequency"
    together = run(tiny_cnn(2), feature_mask=masks, domain=domain, internal_batch_size=2)
    for e in range(3):
        alone = run(
            tiny_cnn(2), X[e : e + 1], TARGETS[e], feature_mask=masks[e : e + 1], domain=domain
        )
        torch.testing.assert_close(together[e : e + 1], alone, **FULL_PRECISION)


# ------------------------------------------------------------------------------- the estimate


def test_the_standard_error_is_the_spread_over_repetitions_and_falls_as_one_over_root_n():
    x = X[:1]
    typical = {}
    for n in (10, 90):
        runs = [
            run(tiny_cnn(2), x, 0, seed, n_samples=n, return_standard_error=True)
            for seed in range(40)
        ]
        spread = torch.stack([z for z, _ in runs]).var(0).mean().sqrt()
        typical[n] = torch.stack([error for _, error in runs]).square().mean().sqrt()
        assert 0.9 < typical[n] / spread < 1.1
    assert 2.8 < typical[10] / typical[90] < 3.2  # 3 = sqrt(90 / 10)


def shapley(value, num_players):
    """The textbook sum over orderings' weights: value takes a tuple of 0 and 1."""
    phi = [0.0] * num_players
    for coalition in product([0, 1], repeat=num_players):
        size = sum(coalition)
        for i in range(num_players):
            if not coalition[i]:
                w = factorial(size) * factorial(num_players - size - 1) / factorial(num_players)
                joined = (*coalition[:i], 1, *coalition[i + 1 :])
                phi[i] += w * (value(joined) - value(coalition))
    return torch.tensor(phi, dtype=torch.float64)


def test_signed_with_uniform_ratio_it_estimates_shapley_values_of_a_multilinear_model():
    def multilinear(x):
        a, b, c, d = x.flatten(1).unbind(1)
        return 2 * a * b * c - b * d + 0.5 * a * c * d + 3 * d

    x = torch.tensor([1.0, -2.0, 0.5, 1.5], dtype=torch.float64).reshape(1, 1, 4)
    b = torch.tensor([0.2, 0.5, -1.0, 0.1], dtype=torch.float64).reshape(1, 1, 4)
    expected = shapley(lambda m: float(multilinear(torch.where(torch.tensor(m) > 0, x, b))), 4)
    z, error = FeatureSuppression(multilinear).attribute(
        x,
        baselines=b,
        suppress=(0, 1),
        absolute=False,
        n_samples=4000,
        internal_batch_size=500,
        generator=seeded(),
        return_standard_error=True,
    )
    phi, sigma = ((x - b) * z).flatten(), ((x - b).abs() * error).flatten()
    assert bool(((phi - expected).abs() < 4 * sigma).all())
    assert sigma.max() < 0.05 * expected.abs().max()


def test_signed_with_uniform_ratio_bands_agree_with_spectral_shapley_on_a_multilinear_model():
    x = X[:1, :1]
    weights = split_bands(torch.randn(1, 1, 10, 12, generator=seeded(3)).double(), num_bands=3)[0]

    def multilinear(signals):  # in the bands: every factor sees one of them
        a, b, c = (signals.flatten(1) @ weights.flatten(1).T).unbind(1)
        return a * b - 0.3 * b * c + 0.1 * a * b * c + 2 * c

    expected = SpectralShapley(multilinear).attribute(x, num_bands=3, return_input_shape=False)
    bands = split_bands(x, num_bands=3)[0]
    estimates = torch.stack(
        [
            (
                bands
                * run(
                    multilinear,
                    x,
                    None,
                    seed,
                    suppress=(0, 1),
                    absolute=False,
                    n_samples=200,
                    internal_batch_size=200,
                    **BANDS,
                )
            )
            .flatten(1)
            .sum(1)
            for seed in range(20)
        ]
    )
    sigma = estimates.std(0) / 20**0.5
    assert bool(((estimates.mean(0) - expected[0]).abs() < 4 * sigma + 1e-9).all())
    assert sigma.max() < 0.05 * expected.abs().max()
