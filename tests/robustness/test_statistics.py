"""Many correlations at once, against SciPy one by one."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from captum_spectral.robustness import statistics
from captum_spectral.robustness.statistics import (
    KINDS,
    average_ranks,
    correlations,
    family_weights,
    holm,
    permutation_p,
    spearman,
)

ORACLES = {
    "spearman": stats.spearmanr,
    "pearson": stats.pearsonr,
    "kendall": stats.kendalltau,
}


def columns(seed, ties):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(5, 3, 11)) + generator.normal(size=(5, 1, 11))
    return x.round() if ties else x


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_copies_of_a_model(kind, ties):
    values, generator = columns(1, ties), np.random.default_rng(2)
    weights = generator.integers(0, 3, size=(5, 11)).astype(float)
    found = correlations(values, weights)[kind]
    for sample, (x, w) in enumerate(zip(values, weights, strict=True)):
        copied = x.repeat(w.astype(int), axis=1)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            oracle = ORACLES[kind](copied[i], copied[j]).statistic
            assert found[sample, i, j] == pytest.approx(oracle, abs=1e-12)
            assert found[sample, j, i] == pytest.approx(oracle, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e150])
def test_the_scale_of_values_does_not_matter(scale):
    values = columns(3, False)
    one, other = (correlations(x, np.ones((5, 11))) for x in (values, scale * values))
    for kind in KINDS:
        np.testing.assert_allclose(one[kind], other[kind], atol=1e-12)


def test_ranks_are_those_of_scipy():
    x = np.random.default_rng(0).integers(0, 4, size=(6, 9)).astype(float)
    ours = average_ranks(x, np.ones_like(x))
    np.testing.assert_array_equal(ours, stats.rankdata(x, axis=1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_has_no_coefficient(kind):
    values = columns(4, False)
    values[:, 1] = 0.1  # whose mean is another number, by rounding
    found = correlations(values, np.ones((5, 11)))[kind]
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, 0, 2]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_is_constant_if_only_one_model_is_drawn(kind):
    weights = np.zeros((5, 11))
    weights[:, 3] = 11
    assert np.isnan(correlations(columns(5, False), weights)[kind]).all()


def test_all_of_a_family_are_drawn_together_and_as_many_families_as_there_are():
    families = ["a", "b", "a", "c", "c", "c"]
    weights = family_weights(families, 400, np.random.default_rng(0))
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    # Each is drawn once on average; sd of the mean of 400 is sqrt(2/3) / 20, 0.04.
    assert weights.mean(0) == pytest.approx([1.0] * 6, abs=0.2)


@pytest.mark.parametrize("count", [3, 4, 5, 6])
def test_p_of_few_models_is_that_of_all_permutations(count):
    generator = np.random.default_rng(count)
    x, y = generator.normal(size=(2, count))
    every = np.array(list(permutations(range(count))))
    sizes = [abs(stats.spearmanr(x[list(order)], y).statistic) for order in every]
    oracle = np.mean(np.array(sizes) >= abs(stats.spearmanr(x, y).statistic) - 1e-9)

    def size(orders):
        ones = np.ones((1, count))
        return np.abs([spearman(x[order], y, ones)[0] for order in orders])

    assert permutation_p(size, count, 10_000, 0) == pytest.approx(oracle, abs=1e-12)


def test_several_statistics_share_their_permutations():
    x = np.random.default_rng(0).normal(size=(2, 9))

    def sums(orders):
        return np.stack([(x[0][orders] * x[1]).sum(1), orders[:, 0] * 1.0], 1)

    both = permutation_p(sums, 9, 500, 3)
    alone = permutation_p(lambda orders: sums(orders)[:, 0], 9, 500, 3)
    assert both.shape == (2,)
    assert both[0] == alone


def test_holm_by_hand():
    p = np.array([[0.01, 0.04, np.nan], [0.03, 0.005, 0.9]])
    # Sorted: .005 * 5, .01 * 4, .03 * 3, .04 * 2 (raised to .09), .9.
    np.testing.assert_allclose(holm(p), [[0.04, 0.09, np.nan], [0.09, 0.025, 0.9]])
    np.testing.assert_allclose(holm(np.array([0.7, 0.6])), [1.0, 1.0])


def test_holm_keeps_false_alarms_below_the_level():
    p = np.random.default_rng(0).uniform(size=(2000, 10))
    alarms = np.mean([(holm(row) < 0.05).any() for row in p])
    assert alarms == pytest.approx(1 - 0.995**10, abs=0.015)  # three standard errors


PACKAGES = [("scipy.stats", "SciPy"), ("sklearn.manifold", "scikit-learn")]


@pytest.mark.parametrize(("module", "package"), PACKAGES)
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, module, package):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(statistics, "import_module", missing)
    with pytest.raises(ImportError, match=rf'this needs {package}.*captum-spectral\[study\]"'):
        statistics.module_for(module, "this")
