"""Results in the forms of other libraries hold the same numbers."""

import sys

import pytest
import torch

from captum_spectral import ImportanceResult
from captum_spectral.coalitions import InteractionResult

PHI = torch.tensor([2.0, 0.5, -0.5], dtype=torch.float64)
ENDS = torch.tensor([[0.0, 0.1], [0.1, 0.3], [0.3, 0.5]], dtype=torch.float64)


def result(**changes):
    fields = {
        "attributions": PHI, "covariance": 0.04 * torch.eye(3), "full_value": -1.0,
        "empty_value": -3.0, "num_examples": 10, "num_rows": 80, "frequencies": ENDS,
    }  # fmt: skip
    return ImportanceResult(**{**fields, **changes})


def test_scalars_have_every_number_under_its_name():
    numbers = result(accuracy=0.7).scalars("val/")
    assert numbers["val/signed_score"] == pytest.approx(result().signed_score().value)
    assert numbers["val/score"] == pytest.approx(result().score().value)
    assert [numbers[f"val/band_{i}"] for i in range(3)] == PHI.tolist()
    assert [numbers[f"val/share_{i}"] for i in range(3)] == [0.8, 0.2, 0.0]
    assert (numbers["val/full_value"], numbers["val/accuracy"]) == (-1.0, 0.7)
    assert all(type(x) is float for x in numbers.values())


def test_scalars_leave_out_what_there_is_not():
    named = result(frequencies=None, names=["a", "b", "c"]).scalars()
    assert not {"accuracy", "score", "signed_score"} & set(named)
    nothing = result(attributions=-PHI.abs()).scalars()
    assert not any(name.startswith("share") for name in nothing)
    many = ImportanceResult(torch.ones(12), torch.eye(12), 0.0, -12.0, 5, 5).scalars()
    bands = [name for name in many if name.startswith("band")]
    assert bands == sorted(bands)


def test_a_frame_has_a_row_for_every_band():
    pytest.importorskip("pandas")
    frame = result().to_frame()
    assert list(frame.columns) == ["band", "low", "high", "value", "standard_error", "share"]
    assert frame.value.tolist() == PHI.tolist()
    assert frame.standard_error.tolist() == pytest.approx([0.2] * 3)
    assert frame[["low", "high"]].to_numpy().tolist() == ENDS.tolist()
    assert frame.attrs == {"unit": "nats", "num_examples": 10}
    named = result(frequencies=None, names=["a", "b", "c"]).to_frame()
    assert named.name.tolist() == ["a", "b", "c"]


def test_shap_gets_values_that_sum_to_the_whole_from_its_base():
    pytest.importorskip("shap")
    explanation = result().to_shap()
    assert explanation.values.tolist() == PHI.tolist()
    assert explanation.base_values + explanation.values.sum() == pytest.approx(-1.0)
    assert explanation.feature_names[1] == "band 1 (0.100 to 0.300 cycles/pixel)"
    named = result(frequencies=None, names=["a", "b", "c"]).to_shap()
    assert named.feature_names == ["a", "b", "c"]


def test_shapiq_gets_values_of_order_one():
    pytest.importorskip("shapiq")
    values = result().to_shapiq()
    assert [values[(i,)] for i in range(3)] == PHI.tolist()
    assert values[()] == values.baseline_value == -3.0
    assert (values.index, values.n_players, values.estimation_budget) == ("SV", 3, 80)


def test_interactions_become_a_frame_too():
    pytest.importorskip("pandas")
    values = torch.arange(6, dtype=torch.float64)[None]
    found = InteractionResult(
        values=values, standard_error=values / 10, empty_value=torch.tensor([1.0]),
        full_value=torch.tensor([9.0]), index="k-SII", order=2, num_players=3, num_rows=8,
        estimated=False,
    )  # fmt: skip
    frame = found.to_frame()
    assert frame.players.tolist() == [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    assert frame["size"].tolist() == [1, 1, 1, 2, 2, 2]
    assert frame.value.tolist() == values[0].tolist()
    assert frame.attrs == {"index": "k-SII", "empty_value": 1.0, "full_value": 9.0}


@pytest.mark.parametrize(
    ("library", "method"), [("pandas", "to_frame"), ("shap", "to_shap"), ("shapiq", "to_shapiq")]
)
def test_a_missing_library_is_named(monkeypatch, library, method):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=f"{method} needs {library}: pip install {library}"):
        getattr(result(), method)()
