"""A score against robustness: coefficients, intervals, p, and when there are none."""

import json
import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from study_tables import CLEAN, ROBUST, SCORE, column, drawn, row, table_of

from captum_spectral.robustness.association import association
from captum_spectral.robustness.matrix import associations

FEW = {"num_resamples": 300}
PAIRED = [f"family {i // 2}" for i in range(24)]


def associated(columns, families=None, errors=None, **options):
    return association(table_of(columns, families, errors), SCORE, ROBUST, **{**FEW, **options})


@pytest.mark.parametrize("ties", [False, True])
def test_coefficients_are_those_of_scipy(ties):
    columns = drawn(14, ties=ties)
    found = associated(columns)
    a, b, _ = columns.values()
    assert found.spearman.value == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert found.pearson.value == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-12)
    assert found.kendall.value == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)


def test_the_partial_coefficient_is_the_correlation_of_what_accuracy_leaves_of_the_ranks():
    columns = drawn(20)
    a, b, c = (stats.rankdata(x) for x in columns.values())
    given = np.stack([np.ones(20), c], 1)
    rest = [x - given @ np.linalg.lstsq(given, x, rcond=None)[0] for x in (a, b)]
    oracle = stats.pearsonr(*rest).statistic
    assert associated(columns).partial.value == pytest.approx(oracle, abs=1e-12)


def test_a_monotone_transform_changes_spearman_by_nothing():
    columns = drawn(16)
    one = associated(columns)
    other = associated({**columns, SCORE: np.exp(3 * columns[SCORE]) - 5})
    assert one.spearman == other.spearman
    assert one.kendall == other.kendall
    assert one.partial == other.partial
    assert one.p_value == other.p_value
    assert one.pearson != other.pearson


def test_the_interval_is_the_percentile_bootstrap_of_families():
    columns = drawn(24)
    found = associated(columns, PAIRED)
    generator = np.random.default_rng([0])
    resampled = []
    for _ in range(300):
        families = generator.integers(12, size=12)
        models = [2 * f + i for f in families for i in (0, 1)]
        a, b = (columns[name][models] for name in (SCORE, ROBUST))
        resampled.append(stats.spearmanr(a, b).statistic)
    oracle = np.percentile(resampled, [2.5, 97.5])
    assert found.spearman.over_families == pytest.approx(tuple(oracle), abs=1e-12)


def test_seeds_are_no_models():
    """Two copies of every model say no more than one of them."""
    columns = drawn(12)
    twice = {name: np.repeat(x, 2) for name, x in columns.items()}
    one = associated(columns, num_resamples=4000)
    two = associated(twice, PAIRED, num_resamples=4000)
    assert two.spearman.value == pytest.approx(one.spearman.value)
    assert two.spearman.over_families == pytest.approx(one.spearman.over_families, abs=1e-12)
    assert two.p_value == pytest.approx(one.p_value, abs=1e-12)

    def width(interval):
        return interval[1] - interval[0]

    assert width(two.spearman.over_models) < 0.85 * width(two.spearman.over_families)
    assert width(one.spearman.over_models) == width(one.spearman.over_families)


def test_p_of_blocks_is_that_of_all_permutations_of_families():
    columns, families = drawn(16, seed=3, slope=0.3), [f"family {i % 8}" for i in range(16)]
    found = associated(columns, families, num_resamples=50_000)
    a, b = (stats.rankdata(columns[name]) - 8.5 for name in (SCORE, ROBUST))
    orders = np.array(list(permutations(range(8))))
    sizes = np.abs(a[np.concatenate([orders, orders + 8], 1)] @ b)
    assert found.permuted == "blocks of families"
    assert found.p_value == pytest.approx(np.mean(sizes >= abs(a @ b) - 1e-9), abs=1e-12)


def test_families_of_several_sizes_are_permuted_by_their_means():
    columns, families = drawn(9, seed=4), [f"family {min(i, 7)}" for i in range(9)]
    found = associated(columns, families, num_resamples=50_000)
    a, b = (stats.rankdata([*x[:7], x[7:].mean()]) - 4.5 for x in (columns[SCORE], columns[ROBUST]))
    sizes = np.abs(a[np.array(list(permutations(range(8))))] @ b)
    assert found.permuted == "means of families"
    assert found.p_value == pytest.approx(np.mean(sizes >= abs(a @ b) - 1e-9), abs=1e-12)


def test_p_is_uniform_where_there_is_no_relation():
    generator = np.random.default_rng(0)
    p = []
    for _ in range(200):
        columns = dict(zip((SCORE, ROBUST), generator.normal(size=(2, 10)), strict=True))
        p.append(associated(columns, given=None, num_resamples=99).p_value)
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_without_each_family_by_hand():
    columns = drawn(24)
    found = associated(columns, PAIRED)
    rest = {}
    for family in dict.fromkeys(PAIRED):
        kept = [i for i, f in enumerate(PAIRED) if f != family]
        rest[family] = stats.spearmanr(columns[SCORE][kept], columns[ROBUST][kept]).statistic
    assert found.without_one_family == pytest.approx((min(rest.values()), max(rest.values())))
    assert found.decisive == (min(rest, key=rest.get), max(rest, key=rest.get))


def test_errors_of_measurement_widen_the_interval():
    columns = {SCORE: np.arange(12.0), ROBUST: np.arange(12.0)}
    sure = associated(columns, given=None)
    unsure = associated(columns, given=None, errors={SCORE: 4.0})
    assert sure.spearman.over_families == pytest.approx((1.0, 1.0))
    assert unsure.spearman.value == pytest.approx(1.0)
    assert unsure.spearman.over_families[0] < 0.9


def test_the_errors_are_those_of_the_points_of_the_figure():
    points = associated(drawn(12), errors={SCORE: 0.5, ROBUST: 0.25}).points
    assert points.score_error.tolist() == [0.5] * 12
    assert points.robustness_error.tolist() == [0.25] * 12
    assert points.score.tolist() == drawn(12)[SCORE].tolist()
    assert points.families[3] == "family 3"


@pytest.mark.parametrize("count", [1, 2, 7])
def test_below_eight_models_there_is_no_coefficient(count):
    found = associated(drawn(count))
    for kind in ("spearman", "pearson", "kendall", "partial"):
        assert math.isnan(getattr(found, kind).value)
        assert all(map(math.isnan, getattr(found, kind).over_families))
    assert math.isnan(found.p_value)
    assert f"of {count} model" in found.reason
    assert "at least 8 families are needed" in found.reason
    assert "no coefficient: " in str(found)


def test_fourteen_seeds_of_seven_recipes_are_seven():
    found = associated(drawn(14), PAIRED[:14])
    assert (found.num_models, found.num_families) == (14, 7)
    assert found.reason == (
        "7 families of 14 models, and at least 8 families are needed; families='model' if each "
        "stands for itself"
    )
    table = table_of(drawn(14), PAIRED[:14])
    assert association(table, SCORE, ROBUST, families="model", **FEW).reason == ""


@pytest.mark.parametrize(("count", "few"), [(8, True), (11, True), (12, False)])
def test_below_twelve_it_is_marked(count, few):
    found = associated(drawn(count))
    assert math.isfinite(found.spearman.value)
    assert found.too_few == few
    assert ("too few" in str(found)) == few


@pytest.mark.parametrize("constant", [SCORE, ROBUST])
def test_a_constant_is_no_zero(constant):
    found = associated({**drawn(12), constant: np.full(12, 0.1)})
    assert math.isnan(found.spearman.value)
    assert found.reason == f"{constant} is constant, 0.1 for all 12 models"
    assert math.isnan(found.p_value)


@pytest.mark.parametrize("given", [np.full(12, 0.5), drawn(12)[ROBUST]])
def test_what_is_given_must_leave_something(given):
    found = associated({**drawn(12), CLEAN: given})
    assert math.isfinite(found.spearman.value)
    assert math.isnan(found.partial.value)
    assert found.partial_reason.startswith("not defined, accuracy is constant or in the order of")
    assert found.partial_reason in str(found)


def test_accuracy_given_accuracy_is_not_defined():
    found = association(table_of(drawn(12)), SCORE, CLEAN, **FEW)
    assert math.isfinite(found.spearman.value)
    assert math.isnan(found.partial.value)


def test_nothing_is_given_if_nothing_is_asked_for():
    found = associated(drawn(12), given=None)
    assert math.isnan(found.partial.value)
    assert "given" not in str(found)


def test_a_model_without_a_number_is_left_out_of_all_and_named():
    table = [*table_of(drawn(12)), row("broken", SCORE, math.nan), row("broken", CLEAN, 1.0)]
    found = association(table, SCORE, ROBUST, **FEW)
    assert found.num_models == 12
    assert found.left_out == {"broken": f"{SCORE} is nan"}
    assert f"left out: broken, {SCORE} is nan" in str(found)


def test_the_same_seed_gives_the_same_and_the_order_of_rows_matters_only_for_the_draws():
    table = table_of(drawn(12), errors={SCORE: 0.1})
    one, again = (association(table, SCORE, ROBUST, **FEW) for _ in range(2))
    assert one.to_dict() == again.to_dict()
    other = association(table[::-1], SCORE, ROBUST, **FEW)
    assert other.spearman.value == pytest.approx(one.spearman.value, abs=1e-12)


def test_by_family_is_one_point_for_each():
    columns = drawn(24)
    found = associated(columns, PAIRED, by="family")
    means = [columns[name].reshape(12, 2).mean(1) for name in (SCORE, ROBUST)]
    assert found.num_models == found.num_families == 12
    assert found.spearman.value == pytest.approx(stats.spearmanr(*means).statistic, abs=1e-12)
    assert found.permuted == "models"


def test_a_dictionary_is_ready_for_json():
    for count in (5, 12):
        content = json.loads(json.dumps(associated(drawn(count)).to_dict(), allow_nan=False))
        assert content["num_models"] == count
        assert (content["spearman"]["value"] is None) == (count == 5)


def test_the_text_says_it_all():
    lines = str(associated(drawn(24), PAIRED)).splitlines()
    assert lines[0] == f"{SCORE} against {ROBUST}: 24 models of 12 families"
    starts = ("Spearman  +0.", "Pearson   +0.", "Kendall   +0.", "Spearman given accuracy: ")
    for line, start in zip(lines[1:], starts, strict=False):
        assert line.strip().startswith(start)
    assert "over families" in lines[1]
    assert "(permuted: blocks of families)" in lines[1]
    assert lines[5].startswith("  Spearman without one family: ")


MANY = ["total power", SCORE], [ROBUST, "distance"]


def matrix(**options):
    generator = np.random.default_rng(5)
    columns = {**drawn(12), "total power": generator.normal(size=12)}
    columns["distance"] = generator.normal(size=12)
    table = table_of(columns, errors={SCORE: 0.2})
    return table, associations(table, *MANY, **FEW, **options)


def test_a_cell_of_the_matrix_is_what_it_is_alone():
    table, found = matrix()
    for i, score in enumerate(MANY[0]):
        for j, measure in enumerate(MANY[1]):
            alone = association(table, score, measure, **FEW)
            cell = found.cells[i][j]
            for kind in ("spearman", "pearson", "kendall", "partial"):
                one, other = (getattr(x, kind) for x in (cell, alone))
                assert one.value == pytest.approx(other.value, abs=1e-12)
                assert one.over_families == pytest.approx(other.over_families, abs=1e-12)
                assert one.over_models == pytest.approx(other.over_models, abs=1e-12)
            assert cell.p_value == alone.p_value
            assert float(found.spearman[i, j]) == cell.spearman.value
            assert (float(found.low[i, j]), float(found.high[i, j])) == cell.spearman.over_families


def test_a_matrix_is_adjusted_for_all_it_shows():
    _, found = matrix()
    p = np.sort([cell.p_value for row in found.cells for cell in row])
    adjusted = np.maximum.accumulate(p * [4, 3, 2, 1]).clip(max=1)
    assert np.sort(found.adjusted.flatten()) == pytest.approx(adjusted)


def test_cells_without_a_coefficient_are_no_tests():
    columns = {**drawn(12), "total power": np.zeros(12)}
    found = associations(table_of(columns), ["total power", SCORE], [ROBUST], **FEW)
    assert math.isnan(found.adjusted[0, 0])
    assert float(found.adjusted[1, 0]) == found.cells[1][0].p_value
    assert "Holm over 1 test\n" in str(found)
    assert "none" in str(found)
    assert "total power is constant" in str(found)


def test_cells_may_be_of_different_models():
    table = [*table_of(drawn(12)), row("more", SCORE, 0.0), row("more", CLEAN, 0.0)]
    table += [row(f"model {i}", "distance", float(i), f"family {i}") for i in range(10)]
    found = associations(table, [SCORE], [ROBUST, "distance"], **FEW)
    assert [cell.num_models for cell in found.cells[0]] == [12, 10]
    assert column(table, "distance").tolist() == list(range(10))
    assert "over 10 to 12 models" in str(found)


def test_the_matrix_is_a_table_to_read():
    _, found = matrix()
    lines = str(found).splitlines()
    assert lines[0] == (
        "Spearman over 12 models of 12 families; 95 % interval over families; p by permutation, "
        "Holm over 4 tests"
    )
    assert lines[1].split() == [*ROBUST.split(), "distance"]
    assert lines[2].startswith("total power")
    assert len(lines) == 4
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["scores"] == MANY[0]


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        ("score", TypeError, "scores must be a sequence of selectors such as"),
        ([], ValueError, "scores must hold at least one selector"),
        ([SCORE, SCORE], ValueError, "and none twice"),
    ],
)
def test_wrong_lists_of_scores_are_named(scores, error, message):
    with pytest.raises(error, match=message):
        associations(table_of(drawn(12)), scores, [ROBUST])


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        associated(drawn(12), num_resamples=0)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        associated(drawn(12), seed=-1)
    with pytest.raises(ValueError, match="'accuracy' matches no row"):
        associated({SCORE: [1.0], ROBUST: [1.0]})
