"""Scores and results: what they say, and that nothing is lost on the way to a file."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import ImportanceResult, signed_spectral_score, spectral_score
from captum_spectral.importance.scores import normalize

numbers = st.floats(-50, 50).filter(lambda x: x == 0 or abs(x) > 1e-3)
attributions = st.lists(numbers, min_size=2, max_size=12).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


def result(phi, covariance=None, **options):
    phi = torch.as_tensor(phi, dtype=torch.float64)
    if covariance is None:
        covariance = 0.01 * torch.eye(len(phi), dtype=torch.float64)
    known = {"full_value": -0.5, "empty_value": -3.0, "num_examples": 10, "num_rows": 160}
    return ImportanceResult(phi, covariance, **{**known, **options})


# -------------------------------------------------------------------- scores


def test_the_range_of_the_authors_score_with_eight_bands():
    lowest, highest = torch.eye(8, dtype=torch.float64)[[0, 7]]
    assert float(spectral_score(lowest)) == pytest.approx(0.5217, abs=5e-5)
    assert float(spectral_score(highest)) == pytest.approx(0.3002, abs=5e-5)


def test_the_score_of_the_figures_in_the_paper_s_terms():
    p = torch.tensor([0.598, 0.184, 0.126, 0.045, 0.028, 0.008, 0, 0.011], dtype=torch.float64)
    assert float(spectral_score(p)) == pytest.approx(0.368, abs=5e-4)
    b = 0.75 ** torch.arange(8, dtype=torch.float64)
    eta = b.sum() / (8 * b.norm())
    direct = ((b / b.norm()) @ p - eta).abs() / (1 - eta).abs()
    assert float(spectral_score(p)) == pytest.approx(float(direct))
    assert float(signed_spectral_score(p)) == pytest.approx(
        float((b @ p - b.sum() / 8) / (1 - b.sum() / 8))
    )


@given(attributions)
def test_the_signed_score_is_one_at_the_lowest_band_and_falls_from_there(phi):
    score = signed_spectral_score(phi)
    if phi.max() <= 0:
        assert score.isnan()
        return
    m = len(phi)
    lowest, highest = (signed_spectral_score(torch.eye(m).double()[i]) for i in (0, m - 1))
    assert float(lowest) == pytest.approx(1)
    assert highest - 1e-9 <= score <= lowest + 1e-9
    assert float(signed_spectral_score(7 * phi)) == pytest.approx(float(score))
    assert float(signed_spectral_score(torch.ones(m))) == pytest.approx(0, abs=1e-6)


@given(attributions)
def test_shares_sum_to_one_and_keep_the_order(phi):
    for normalization in ("min_shift", "positive"):
        shares = normalize(phi, normalization)
        if shares.isnan().any():
            assert phi.max() <= 0 or phi.max() == phi.min()
            continue
        assert float(shares.sum()) == pytest.approx(1)
        assert shares.min() >= 0
        assert (shares[phi.argsort()].diff() >= 0).all()


def test_bands_without_effect_have_a_share_only_after_a_shift():
    phi = torch.tensor([3.0, 0.0, 0.0, -1.0])
    assert normalize(phi, "positive").tolist() == [1, 0, 0, 0]
    assert normalize(phi, "min_shift")[1] > 0.1


@pytest.mark.parametrize("name", ["score", "signed_score"])
def test_the_delta_method_agrees_with_a_simulation(name):
    generator = torch.Generator().manual_seed(0)
    phi = torch.tensor([3.0, 1.0, 0.8, 0.5, 0.3, 0.1], dtype=torch.float64)
    root = 0.02 * torch.randn(6, 6, generator=generator, dtype=torch.float64)
    covariance = root @ root.T + 1e-5 * torch.eye(6)
    estimate = getattr(result(phi, covariance), name)()
    noise = torch.randn(20_000, 6, generator=generator, dtype=torch.float64)
    draws = phi + noise @ torch.linalg.cholesky(covariance).T
    function = spectral_score if name == "score" else signed_spectral_score
    assert estimate.value == pytest.approx(float(function(phi)))
    assert estimate.standard_error == pytest.approx(float(function(draws).std()), rel=0.1)


def test_scores_of_nothing_are_unknown():
    flat = result([0.0, 0.0, 0.0])
    assert all(math.isnan(x) for x in (*flat.score(), *flat.signed_score()))
    harmful = result([-2.0, -1.0], torch.eye(2))  # no band is positive: no power to share
    assert math.isnan(harmful.signed_score().value)
    assert math.isfinite(harmful.signed_score(normalization="min_shift").value)
    assert math.isfinite(harmful.score().value)
    alone = result([2.0, 1.0], torch.full((2, 2), math.nan), num_examples=1)
    assert alone.signed_score().value > 0
    assert math.isnan(alone.signed_score().standard_error)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spectral_score([1.0, 2.0]), TypeError, r"real floating tensor .*got list"),
        (lambda: spectral_score(torch.tensor([1, 2])), TypeError, "got torch.int64"),
        (lambda: spectral_score(torch.tensor(1.0)), ValueError, r"must be \(\.\.\., M\)"),
        (lambda: spectral_score(torch.tensor([1.0])), ValueError, "at least 2 bands, got 1"),
        (lambda: spectral_score(torch.ones(3), beta=1), ValueError, "beta must lie between"),
        (lambda: signed_spectral_score(torch.ones(3), beta=0), ValueError, "got 0"),
        (lambda: result([1.0, 2.0]).normalized("max"), ValueError, "'min_shift' or 'positive'"),
        (lambda: result([1.0, 2.0], torch.eye(3)), ValueError, r"covariance \(M, M\)"),
        (lambda: result([1.0], frequencies=torch.zeros(2, 2)), ValueError, r"must be \(1, 2\)"),
        (lambda: ImportanceResult.from_json("{"), ValueError, "not the JSON of an"),
        (lambda: ImportanceResult.from_json("{}"), ValueError, "needs attributions, covariance"),
        (lambda: ImportanceResult.from_json("[1]"), ValueError, "needs attributions"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


# -------------------------------------------------------------------- results


@given(attributions, st.booleans(), st.none() | st.floats(0, 1))
def test_json_loses_nothing(phi, alone, accuracy):
    covariance = torch.full((len(phi),) * 2, math.nan) if alone else None
    frequencies = torch.linspace(0, 0.5, 2 * len(phi)).reshape(-1, 2)
    part = result(phi / 3, covariance, frequencies=frequencies, accuracy=accuracy)
    whole = result(phi, frequencies=frequencies, per_class={3: part, 11: part})
    again = ImportanceResult.from_json(whole.to_json())
    assert again == whole
    assert hash(again) == hash(whole)
    assert torch.equal(again.attributions, whole.attributions)
    assert torch.equal(again.covariance, whole.covariance)
    assert again.per_class[11].accuracy == accuracy
    assert json.loads(part.to_json())["standard_error"][0] == (None if alone else 0.1)


def test_a_result_cannot_be_changed():
    fixed = result([1.0, 2.0])
    with pytest.raises(AttributeError, match="is immutable, full_value cannot be set"):
        fixed.full_value = 0.0
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del fixed.accuracy
    assert fixed != result([1.0, 2.5])
    assert fixed != "something else"


def test_a_result_reads_well():
    text = repr(result([3.0, -0.25], frequencies=torch.tensor([[0, 0.25], [0.25, 0.5]])))
    assert text.splitlines() == [
        "ImportanceResult over 10 images, 160 model rows, in nats",
        "  band  0  0.000-0.250    +3.0000 ± 0.1000",
        "  band  1  0.250-0.500    -0.2500 ± 0.1000",
        "  v(full) -0.5000, v(empty) -3.0000, efficiency gap +2.5e-01",
        "  signed score 1.000 ± 0.002, authors' score 0.333 ± 0.000",
    ]


def test_the_plot_shows_values_and_errors():
    known = result([3.0, 0.5, -0.25], frequencies=torch.tensor([[0, 0.1], [0.1, 0.3], [0.3, 0.5]]))
    _, axes = known.plot(title="a network", num_standard_errors=2, use_pyplot=False)
    assert [bar.get_height() for bar in axes.patches] == [3.0, 0.5, -0.25]
    assert axes.get_ylabel() == "attribution (nats)"
    assert axes.get_title() == "a network"
    assert "±2 standard errors" in [text.get_text() for text in axes.get_legend().get_texts()]
    alone = result([3.0, 0.5], torch.full((2, 2), math.nan), num_examples=1)
    _, axes = alone.plot(use_pyplot=False)
    assert len(axes.containers) == 1  # bars, no whiskers


def test_bars_of_sounds_are_in_hertz():
    sounds = result([3.0, 0.5], frequencies=torch.tensor([[0, 0.2], [0.25, 0.5]]))
    _, axes = sounds.plot(sample_rate=8000, use_pyplot=False)
    assert axes.get_xlabel() == "band and its frequencies (Hz)"
    assert "2000" in axes.get_xticklabels()[1].get_text()
    with pytest.raises(ValueError, match="sample_rate must be positive and finite, got 0"):
        sounds.plot(sample_rate=0, use_pyplot=False)
