"""One quantity of every model, out of the table of a study."""

import math

import pytest
from study_tables import row

from captum_spectral.robustness.selection import families_of, select

CELLS = [("blur", 1), ("blur", 2), ("noise", 1), ("noise", 2)]
CORRUPTED = {"a": (0.8, 0.6, 0.7, 0.4), "b": (0.7, 0.5, 0.2, 0.1)}
TABLE = [
    row("a", "accuracy", 0.9, standard_error=0.01),
    row("b", "accuracy", 0.8, standard_error=0.02),
]
for name, numbers in CORRUPTED.items():
    for (kind, severity), number in zip(CELLS, numbers, strict=True):
        where = {"perturbation": kind, "severity": severity, "standard_error": 0.03}
        TABLE.append(row(name, "corruption accuracy", number, **where))


@pytest.mark.parametrize(
    ("selector", "values"),
    [
        ("accuracy", [0.9, 0.8]),
        ("accuracy/", [0.9, 0.8]),
        ("corruption accuracy", [2.5 / 4, 1.5 / 4]),
        ("corruption accuracy/blur", [0.7, 0.6]),
        ("corruption accuracy/noise/2", [0.4, 0.1]),
        ("corruption accuracy/noise/2.0", [0.4, 0.1]),
    ],
)
def test_a_selector_takes_the_mean_over_the_rows_it_matches(selector, values):
    column = select(TABLE, selector)
    assert column.names == ["a", "b"]
    assert column.values.tolist() == pytest.approx(values, rel=1e-15)
    assert column.left_out == {}


def test_errors_are_those_of_a_mean_of_independent_numbers():
    assert select(TABLE, "accuracy").errors.tolist() == [0.01, 0.02]
    assert select(TABLE, "corruption accuracy").errors.tolist() == pytest.approx([0.03 / 2] * 2)


def test_severity_none_is_no_number():
    with pytest.raises(ValueError, match=r"selector 'accuracy//0' matches no row"):
        select(TABLE, "accuracy//0")


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, ""])
def test_a_model_without_a_finite_number_is_left_out_and_named(missing):
    rows = [*TABLE[:2], row("c", "accuracy", missing)]
    column = select(rows, "accuracy")
    assert column.names == ["a", "b"]
    assert column.left_out == {"c": f"accuracy is {missing}"}


def test_a_failed_cell_leaves_its_model_out_with_its_reason():
    rows = [*TABLE[:2], row("c", "accuracy", 0.5, error="out of memory")]
    assert select(rows, "accuracy").left_out == {"c": "accuracy failed: out of memory"}


def test_means_over_different_rows_are_not_compared():
    column = select(TABLE[:-1], "corruption accuracy")
    assert column.names == ["a"]
    assert column.left_out == {"b": "has no corruption accuracy/noise/2"}
    assert select(TABLE[:-2], "corruption accuracy").left_out == {
        "b": "has no corruption accuracy/noise/1 and 1 more"
    }
    assert select(TABLE[:-1], "corruption accuracy/blur").names == ["a", "b"]


def test_seeds_of_one_name_are_averaged_and_each_needs_every_row():
    rows = [row("a", "accuracy", 0.5, seed=0), row("a", "accuracy", 0.7, seed=1)]
    assert select(rows, "accuracy").values.tolist() == pytest.approx([0.6])
    rows += [row("a", "distance", 1.0, seed=0, severity=s) for s in (1, 2)]
    rows += [row("a", "distance", 1.0, seed=1, severity=1)]
    assert select(rows, "distance").left_out == {"a": "has no distance//2"}


def test_by_family_means_over_its_models():
    rows = [row("a0", "accuracy", 0.5, "a"), row("a1", "accuracy", 0.7, "a")]
    column = select([*rows, row("b", "accuracy", 0.1)], "accuracy", by="family")
    assert column.names == ["a", "b"]
    assert column.values.tolist() == pytest.approx([0.6, 0.1])


def test_a_model_without_a_family_is_one_of_its_own():
    rows = [row("a", "accuracy", 0.5, "x"), {"model": "b", "measurement": "accuracy", "value": 1}]
    assert families_of(rows) == {"a": "x", "b": "b"}


def test_the_table_may_be_any_iterable():
    assert select(iter(TABLE), "accuracy").names == ["a", "b"]


@pytest.mark.parametrize(
    ("table", "selector", "error", "message"),
    [
        ({"a": 1}, "x", TypeError, "table must be a sequence of rows, each a mapping, got dict"),
        ([], "x", ValueError, "table is empty"),
        (["x"], "x", TypeError, "table must hold mappings, row 0 is a str"),
        ([{"model": "a"}], "x", ValueError, "table must have the key 'measurement' in every row"),
        (TABLE, 3, TypeError, "a selector must be a string such as"),
        (TABLE, "acuracy", ValueError, "'acuracy' matches no row; the measurements of the table "
         "are accuracy, corruption accuracy"),
        (TABLE, "corruption accuracy/blur/x", ValueError, "must end in a number, the severity"),
        ([*TABLE, TABLE[0]], "accuracy", ValueError, "two rows for accuracy of model 'a', seed 0"),
        ([row("a", "x", 1, standard_error=-1)], "x", ValueError, "must not be negative, got -1"),
    ],
)  # fmt: skip
def test_wrong_tables_and_selectors_are_named(table, selector, error, message):
    with pytest.raises(error, match=message):
        select(table, selector)


def test_a_model_of_two_families_is_refused():
    rows = [row("a", "accuracy", 1, "x"), row("a", "distance", 1, "y")]
    with pytest.raises(ValueError, match="model 'a' is of the families 'x' and 'y'"):
        families_of(rows)
