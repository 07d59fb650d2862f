"""``SpectralInteractions``: whose values its numbers are, what they cost, and what is refused."""

import json

import pytest
import torch
from helpers import Counting, tiny_cnn
from torch import nn

from captum_spectral import SpectralShapley
from captum_spectral.attr import SpectralBanzhaf, SpectralInteractions
from captum_spectral.coalitions import (
    InteractionResult,
    all_coalitions,
    interactions_from_table,
    subsets_of,
)
from captum_spectral.features import Pixels
from captum_spectral.game import BandGame
from captum_spectral.importance.interactions import MeanInteractions

X = torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def seeded():
    return torch.Generator().manual_seed(5)


def found(model, x=X, target=0, **arguments):
    arguments = {"num_bands": 6, "generator": seeded(), **arguments}
    return SpectralInteractions(model).attribute(x, target, **arguments)


@pytest.mark.parametrize("index", ["k-SII", "SII", "STII", "BII", "Moebius"])
@pytest.mark.parametrize("order", [1, 3])
def test_exact_values_are_those_of_the_table(index, order):
    model = Counting(tiny_cnn(1))
    result = found(model, target=None, index=index, order=order, num_bands=4)
    assert model.rows == 3 * 16
    table = BandGame(tiny_cnn(1), X, num_bands=4).evaluate(all_coalitions(4))
    expected = interactions_from_table(table, index, order)
    torch.testing.assert_close(result.values, expected)
    assert result.values.shape == (3, 5, len(subsets_of(4, order)))
    assert not result.standard_error.any()
    assert not result.estimated
    torch.testing.assert_close(result.full_value, table[:, -1])
    torch.testing.assert_close(result.empty_value, table[:, 0])


@pytest.mark.parametrize("budget", [None, 40])
def test_rows_of_the_matrix_sum_to_shapley_values_of_the_same_rows(budget):
    model = tiny_cnn(1)
    result = found(model, budget=budget)
    values = SpectralShapley(model).attribute(
        X, 0, num_bands=6, budget=budget, return_input_shape=False, generator=seeded()
    )
    for b in range(3):
        torch.testing.assert_close(result.matrix(b).sum(1), values[b])
        assert torch.equal(result.matrix(b), result.matrix(b).T)
    assert result.estimated == (budget is not None)


def test_single_players_of_bii_are_banzhaf_values():
    model = tiny_cnn(1)
    values = SpectralBanzhaf(model).attribute(
        X, 0, num_bands=6, budget=40, return_input_shape=False, generator=seeded()
    )
    torch.testing.assert_close(found(model, index="BII", budget=40).values[:, :6], values)


@pytest.mark.parametrize("budget", [4, 5, 15, 40, 63, 64, 1000])
def test_a_model_never_sees_more_rows_than_the_budget(budget):
    model = Counting(tiny_cnn(1))
    result = found(model, budget=budget, perturbations_per_eval=3)
    expected = min(budget, 64)
    assert 3 * (expected - 1) <= model.rows <= 3 * expected
    assert model.rows == 3 * result.num_rows
    assert result.estimated == (budget < 64)


@pytest.mark.parametrize("index", ["k-SII", "SII", "BII"])
def test_exact_values_are_within_four_standard_errors(index):
    model = tiny_cnn(1)
    few, exact = (found(model, index=index, budget=budget) for budget in (40, None))
    assert ((few.values - exact.values).abs() <= 4 * few.standard_error + 1e-9).all()
    assert (few.standard_error > 0).all()


def test_batch_order_and_chunks_change_nothing():
    model = tiny_cnn(1)
    whole = found(model, budget=40).values
    torch.testing.assert_close(found(model, X.flip(0), budget=40).values.flip(0), whole)
    alone = found(model, X[1:2], budget=40, perturbations_per_eval=7).values
    torch.testing.assert_close(alone, whole[1:2])
    every = found(model, target=None, budget=40).values
    torch.testing.assert_close(every[:, 0], whole)


class Products(nn.Module):
    """A game of known interactions: channels 0 and 1 need each other, 2 and 3 repeat each other."""

    def forward(self, x):
        m = x.flatten(2).mean(2)
        return m[:, :1] * m[:, 1:2] - torch.minimum(1 - m[:, 2], 1 - m[:, 3])[:, None]


@pytest.mark.parametrize("budget", [None, 30])
def test_features_that_need_or_repeat_each_other_say_so(budget):
    x = torch.ones(1, 5, 2, 2, dtype=torch.float64)
    ids = torch.arange(5)[:, None, None].expand(5, 2, 2)
    features = Pixels(ids)
    result = found(Products().eval(), x, num_bands=None, features=features, budget=budget)
    sets = result.subsets
    values = dict(zip(sets, result.values[0].tolist(), strict=True))
    assert values[0, 1] > 0.5
    assert values[2, 3] < -0.5
    assert abs(values[0, 2]) < 0.3
    if budget is None:
        assert values[0, 1] == pytest.approx(1)
        assert values[2, 3] == pytest.approx(-1)
        assert values[4,] == pytest.approx(0)
        assert {s for s, _, _ in result.top(2)} == {(0, 1), (2, 3)}


@pytest.mark.parametrize("budget", [None, 10, 40])
def test_features_that_are_the_baselines_interact_with_nobody(budget):
    x = torch.rand(2, 6, 2, 2, generator=seeded(), dtype=torch.float64)
    x[1, 2] = 0.0
    features = Pixels(torch.arange(6)[:, None, None].expand(6, 2, 2))
    model = Counting(tiny_cnn(6))
    result = found(model, x, num_bands=None, features=features, budget=budget)
    without = [2 in s for s in result.subsets]
    assert result.values[1, without].abs().max() < 1e-12
    assert not result.standard_error[1, without].any()
    if budget:
        assert model.rows <= 2 * budget


def test_bands_without_a_frequency_take_part_in_nothing():
    mask = torch.zeros(12, 12, dtype=torch.long)
    mask[0, 0], mask[6, 6] = 2, 3
    with pytest.warns(UserWarning, match="no frequency|missing|empty"):
        result = found(tiny_cnn(1), num_bands=None, feature_mask=mask)
    assert result.num_players == 4
    assert not result.values[:, [1 in s for s in result.subsets]].any()
    torch.testing.assert_close(result.values.sum(1), result.full_value - result.empty_value)


def test_one_number_per_batch_is_one_game():
    result = found(lambda x: tiny_cnn(1)(x).sum(), target=None, num_bands=3, budget=4)
    assert result.values.shape == (1, 6)


BAD = [
    ({"index": "FSII"}, ValueError, r"index must be one of 'k-SII'.*got 'FSII': shapiq computes"),
    ({"index": "sii"}, ValueError, r"index must be one of 'k-SII', 'SII', 'STII'.*got 'sii'$"),
    ({"index": 2}, TypeError, r"index must be one of 'k-SII'.*got int"),
    ({"order": 0}, ValueError, r"order must be at least 1, got 0"),
    ({"order": 4}, ValueError, r"order must be at most 3, the players of an interaction, got 4"),
    ({"order": 2.0}, TypeError, r"order must be an integer or None, got 2.0"),
    ({"budget": 3}, ValueError, r"budget must be at least 4, got 3"),
    ({"estimator": "orderings", "budget": 9}, ValueError, r"'orderings' gives values of single"),
    ({"estimator": "best", "budget": 9}, ValueError, r"estimator must be one of.*got 'best'"),
    ({"estimator": "gaussian_process"}, ValueError, r"needs a budget"),
    ({"prior": "steep", "budget": 9}, ValueError, r"prior must be 'energy', 'flat' or weights"),
    ({"perturbations_per_eval": 0}, ValueError, r"perturbations_per_eval must be at least 1"),
    ({"num_bands": None, "features": Pixels()}, ValueError, r"144 bands need 2\^144.*pass budget"),
    *(
        (
            {**options, "budget": 63},
            ValueError,
            r"needs the values of all 2\^6 = 64 coalitions of 6 players, more than 63 model rows: "
            r"use index='k-SII', 'SII' or 'BII' with order=2",
        )
        for options in ({"index": "STII"}, {"index": "Moebius", "order": 1}, {"order": 3})
    ),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_what_cannot_be_is_refused_before_any_forward_pass(options, kind, message):
    model = Counting(tiny_cnn(1))
    with pytest.raises(kind, match=message):
        found(model, **options)
    assert model.rows == 0


# ------------------------------------------------------------------ results


@pytest.mark.parametrize("target", [0, None])
def test_json_gives_an_equal_result_and_names_players(target):
    result = found(tiny_cnn(1), target=target, budget=20)
    text = result.to_json()
    assert InteractionResult.from_json(text) == result
    part = json.loads(text)["interactions"][0]["values"]
    assert list(part)[:2] == ["Empty", "0"]
    assert "0,3" in part
    other = found(tiny_cnn(1), target=target, budget=22)
    assert other != result
    assert result != "a result"


def test_what_is_no_result_is_not_read():
    with pytest.raises(ValueError, match="not the JSON of an InteractionResult"):
        InteractionResult.from_json("{")
    with pytest.raises(ValueError, match=r"an InteractionResult needs .*index, order"):
        InteractionResult.from_json("{}")
    content = json.loads(found(tiny_cnn(1), num_bands=2).to_json())
    del content["interactions"][0]["values"]["0,1"]
    with pytest.raises(ValueError, match="interactions must hold '0,1'"):
        InteractionResult.from_json(json.dumps(content))


@pytest.mark.parametrize(("order", "index"), [(1, "SV"), (2, "k-SII"), (3, "k-SII")])
def test_shapiq_has_the_same_interactions(order, index):
    shapiq = pytest.importorskip("shapiq")
    result = found(tiny_cnn(1), target=None, num_bands=4, order=order)
    peer = result.to_shapiq(1, 2)
    assert isinstance(peer, shapiq.InteractionValues)
    assert (peer.index, peer.max_order, peer.estimated) == (index, order, False)
    assert [peer[s] for s in result.subsets] == pytest.approx(result.values[1, 2].tolist())
    assert peer[()] == pytest.approx(float(result.empty_value[1, 2]))
    if order == 2:
        whole = peer.get_n_order_values(2)
        halves = torch.as_tensor(whole).double() / 2
        off = result.matrix(1, 2) - result.matrix(1, 2).diag().diag()
        torch.testing.assert_close(halves, off)


def test_shapiq_reads_its_own_json_of_it(tmp_path):
    shapiq = pytest.importorskip("shapiq")
    result = found(tiny_cnn(1), budget=20)
    peer = result.to_shapiq(2)
    assert peer.estimated
    assert peer.estimation_budget == 20
    peer.to_json_file(tmp_path / "values.json")
    again = shapiq.InteractionValues.from_json_file(tmp_path / "values.json")
    assert [again[s] for s in result.subsets] == pytest.approx(result.values[2].tolist())


def test_an_output_that_is_not_there_is_refused():
    result = found(tiny_cnn(1), target=None, num_bands=3)
    with pytest.raises(ValueError, match=r"index for each dim of the outputs \(5,\), got \(\)"):
        result.matrix(0)
    with pytest.raises(ValueError, match="order=1 are of single players"):
        found(tiny_cnn(1), num_bands=3, order=1).matrix()


# ------------------------------------------------------------------ means


def test_means_over_images_have_the_error_of_the_mean_however_images_are_split():
    result = found(tiny_cnn(1), target=None, num_bands=3)
    model = tiny_cnn(1)
    parts = [found(model, x, target=None, num_bands=3) for x in (X[:1], X[1:])]
    whole, first, second = MeanInteractions(), MeanInteractions(), MeanInteractions()
    whole.update(result)
    first.update(parts[0])
    second.update(parts[1])
    first.merge(second)
    first.merge(MeanInteractions())
    for mean in (whole.compute(), first.compute()):
        torch.testing.assert_close(mean.values, result.values.mean(0, keepdim=True))
        torch.testing.assert_close(mean.full_value, result.full_value.mean(0, keepdim=True))
        error = result.values.std(0, keepdim=True) / 3**0.5
        torch.testing.assert_close(mean.standard_error, error)
        assert mean.num_examples == 3
    assert InteractionResult.from_json(whole.compute().to_json()) == whole.compute()


def test_a_mean_takes_no_other_kind():
    mean = MeanInteractions()
    with pytest.raises(ValueError, match="no images were added"):
        mean.compute()
    mean.update(found(tiny_cnn(1), X[:1], num_bands=3))
    assert mean.compute().standard_error.isnan().all()
    assert InteractionResult.from_json(mean.compute().to_json()) == mean.compute()
    with pytest.raises(ValueError, match=r"result has .*'num_players': 4.*before .*3"):
        mean.update(found(tiny_cnn(1), num_bands=4))
    two = MeanInteractions()
    two.update(found(tiny_cnn(1), num_bands=3))
    with pytest.raises(ValueError, match="a mean over images already"):
        mean.update(two.compute())


def test_an_example_or_output_that_is_not_there_is_named():
    result = found(tiny_cnn(1), target=None, num_bands=3)
    for arguments, message in (
        ({"example": 3, "output": 0}, r"example=3 does not exist: there are 3, 0\.\.2"),
        ({"output": 5}, r"output=5 does not exist: there are 5, 0\.\.4"),
    ):
        for read in (result.matrix, result.to_frame):
            with pytest.raises(IndexError, match=message):
                read(**arguments)
