"""Models in the plane, and whether families are neighbours."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from study_tables import row

from captum_spectral.robustness.embedding import band_shares, nearest_family, pca, tsne


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(12, 8), (4, 8), (30, 2)])
def test_components_are_those_of_scikit_learn(shape):
    x = random(*shape)
    ours, oracle = pca(x), SklearnPCA(2).fit(x.numpy())
    assert ours.explained.numpy() == pytest.approx(oracle.explained_variance_ratio_)
    for found, known in (
        (ours.coordinates, oracle.transform(x.numpy())),
        (ours.components, oracle.components_),
    ):
        np.testing.assert_allclose(found.abs().numpy(), np.abs(known), atol=1e-12)


def test_all_components_give_the_rows_back():
    x = random(9, 5)
    found = pca(x, 5)
    assert torch.allclose(found.coordinates @ found.components + found.mean, x)
    assert float(found.explained.sum()) == pytest.approx(1)
    assert (found.components.max(1).values == found.components.abs().max(1).values).all()


def test_equal_rows_explain_nothing():
    assert pca(torch.ones(4, 3)).explained.isnan().all()


def test_shares_are_positive_and_come_from_one_baseline():
    rows = [
        row(model, f"importance band {i}", value, "x", perturbation=baseline)
        for baseline, bands in (("mean", (3.0, 1.0, -1.0)), ("black", (1.0, 1.0, 2.0)))
        for model in ("a", "b")
        for i, value in enumerate(bands)
    ]
    found = band_shares(rows, "mean")
    assert found.shares.tolist() == [[0.75, 0.25, 0.0]] * 2
    assert (found.names, found.families) == (["a", "b"], ["x", "x"])
    assert band_shares(rows, "black").shares[0].tolist() == [0.25, 0.25, 0.5]
    assert band_shares(rows).shares[0].tolist() == pytest.approx([2 / 3.5, 1 / 3.5, 0.5 / 3.5])


def test_bands_come_in_the_order_of_their_numbers():
    rows = [row("a", f"importance band {i}", float(i)) for i in reversed(range(12))]
    assert band_shares(rows).shares[0].tolist() == pytest.approx([i / 66 for i in range(12)])


def test_models_without_all_bands_or_without_power_are_left_out():
    rows = [row("a", f"importance band {i}", 1.0) for i in (0, 1)]
    rows += [row("b", "importance band 0", 1.0)]
    rows += [row("c", f"importance band {i}", -1.0) for i in (0, 1)]
    found = band_shares(rows)
    assert found.names == ["a"]
    assert found.left_out == {"b": "has no importance band 1", "c": "no band is above 0"}


FAMILIES = ["a"] * 3 + ["b"] * 4 + ["c"] * 5


def test_the_accuracy_is_that_of_scikit_learn():
    x = random(12, 4)
    oracle = cross_val_score(
        KNeighborsClassifier(1), x.numpy(), np.array(FAMILIES), cv=LeaveOneOut()
    ).mean()
    assert nearest_family(x, FAMILIES, 99).accuracy == pytest.approx(oracle)


def test_p_of_few_models_is_that_of_all_permutations():
    x, families = random(6, 2, seed=4), np.array(list("aabbcd"))
    found = nearest_family(x, families.tolist())
    distance = torch.cdist(x, x).fill_diagonal_(torch.inf).argmin(1).numpy()
    every = [families[list(order)] for order in permutations(range(6))]
    accuracies = np.array([np.mean((f[distance] == f)[np.isin(f, ["a", "b"])]) for f in every])
    assert found.num_models == 4
    assert found.accuracy == pytest.approx(accuracies[0])
    assert found.p_value == pytest.approx(np.mean(accuracies >= accuracies[0] - 1e-9))
    assert found.expected == pytest.approx(accuracies.mean())


def test_families_far_apart_are_found_and_random_ones_are_not():
    apart = random(12, 3) + 9 * torch.tensor([ord(f) - 97 for f in FAMILIES])[:, None]
    found = nearest_family(apart, FAMILIES, 999)
    assert found.accuracy == 1.0
    assert found.p_value <= 0.002
    p = [nearest_family(random(12, 3, seed=i), FAMILIES, 99).p_value for i in range(60)]
    assert np.mean(np.array(p) <= 0.1) < 0.25  # 3.9 standard errors above .1


def test_equally_near_models_count_in_part():
    x = torch.tensor([[0.0], [1.0], [-1.0]])
    # The first has both as its nearest, one of its family; the second has the first.
    assert nearest_family(x, ["a", "a", "b"]).accuracy == pytest.approx((0.5 + 1) / 2)


def test_moving_turning_and_scaling_change_no_neighbour():
    x = random(12, 3)
    turned = 7 * x.flip(1) + 3
    assert nearest_family(x, FAMILIES, 99) == nearest_family(turned, FAMILIES, 99)


def test_tsne_keeps_groups_together_and_its_seed():
    x = torch.cat([random(16, 4), 5 + random(16, 4, seed=1)])
    placed = tsne(x, seed=1)
    assert placed.shape == (32, 2)
    assert nearest_family(placed, ["a"] * 16 + ["b"] * 16, 9).accuracy == 1.0
    assert torch.equal(placed, tsne(x, seed=1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pca([1]), TypeError, r"x must be a real tensor \(N, M\), got list"),
        (lambda: pca(torch.ones(3)), ValueError, r"x must be \(N, M\).*got shape \(3,\)"),
        (lambda: pca(torch.tensor([[1.0], [torch.nan]])), ValueError, "x must be finite"),
        (lambda: pca(random(3, 2), 3), ValueError, r"at most min\(N, M\) = 2, got 3"),
        (lambda: tsne(random(29, 2)), ValueError, r"at least 30 rows for t-SNE, got 29; use pca"),
        (lambda: tsne(random(31, 2), 11), ValueError, r"from 1 to \(N - 1\) / 3 = 10 for 31 rows"),
        (lambda: nearest_family(random(3, 2), "abc"), ValueError, "one name for each of 3 rows"),
        (lambda: nearest_family(random(3, 2), ["a"]), ValueError, "for each of 3 rows, got 1"),
        (lambda: nearest_family(random(2, 2), ["a", "b"]), ValueError, "2 families of one each"),
        (lambda: band_shares([row("a", "accuracy", 1)]), ValueError, "its measurements are acc"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
