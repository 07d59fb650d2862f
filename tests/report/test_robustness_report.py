"""A study of robustness as text, JSON and figures, from tables whose answers are known."""

import json
import math

import pytest
import torch

from captum_spectral.report import robustness as report
from captum_spectral.report.robustness_figures import figures
from captum_spectral.studies import StudiedModels, StudyTable

N = 40


def bits(right):
    return torch.arange(N) < right


def studied(count):
    """Models of a family each; the more a model draws on band 0, the longer its distance."""
    rows, per_image = [], {}
    for i in range(count):
        numbers = {
            ("accuracy", "", None): 0.9 + 0.001 * (i % 3),
            ("corruption accuracy", "fog", 1.0): 0.7,
            ("corruption accuracy", "fog", 2.0): 0.5,
            ("robust accuracy", "linf", 0.1): 0.5 - 0.01 * (i % 4),
            ("robust accuracy", "linf", 0.2): 0.1,
            ("distance", "l2", 3.0): 1.0 + 0.1 * i,
            ("importance signed score", "mean", None): 0.05 * i,
            ("importance band 0", "mean", None): 1.0 + i,
            ("importance band 1", "mean", None): 1.0,
        }
        for (measurement, perturbation, severity), value in numbers.items():
            place = {"measurement": measurement, "perturbation": perturbation}
            of = {"model": f"m{i}", "family": f"f{i}", "seed": 0, "num_images": N}
            rows.append({**of, **place, "severity": severity, "value": value,
                         "standard_error": 0.01})  # fmt: skip
        per_image[f"m{i}", "accuracy"] = bits(36)
        per_image[f"m{i}", "corruption accuracy/fog/1"] = bits(32 if i else 28)
        per_image[f"m{i}", "corruption accuracy/fog/2"] = bits(26 if i else 20)
    return StudiedModels(
        table=StudyTable(rows),
        per_image=per_image,
        reference="m0",
        groups={"fog": "other"},
        recomputed={("m1", "accuracy"): "weights: a there, b here"},
        skipped=[("dark.png", "too dark")],
    )


def test_corruption_errors_are_those_of_the_definition():
    errors = report.corruption_errors(studied(3), num_resamples=50)
    assert float(errors["m0"].mce.value) == float(errors["m0"].relative_mce.value) == 1
    # Errors 8 and 14 of 40 beside 12 and 20; 4 of them on clean images.
    assert float(errors["m1"].mce.value) == pytest.approx(22 / 32)
    assert float(errors["m1"].relative_mce.value) == pytest.approx(14 / 24)
    assert errors["m1"].mce.low <= errors["m1"].mce.value <= errors["m1"].mce.high
    assert errors["m1"].groups == {"other": pytest.approx(58 / 80)}
    assert errors["m1"].undefined == ()


def test_a_reference_without_errors_is_named():
    perfect = studied(2)
    perfect.per_image.update({key: bits(N) for key in perfect.per_image if key[0] == "m0"})
    found = report.findings(perfect, num_resamples=20)
    assert math.isnan(found.errors["m1"].mce.value)
    text = report.to_text(perfect, found)
    assert "m0: relative mCE leaves out fog, under which m0 does not degrade" in text


def test_few_families_get_no_coefficient_and_are_told_so():
    few = studied(7)
    found = report.findings(few, num_resamples=20)
    assert found.predictions is None
    assert "cannot be said from 7 families: it takes 8" in report.to_text(few, found)
    assert json.loads(report.to_json(few, found))["predictions"] is None


def test_a_relation_is_found_and_told_in_text_json_and_figures():
    many = studied(9)
    found = report.findings(many, num_resamples=100)
    of_distance = found.predictions.cells[0][found.predictions.robustness.index("distance/l2")]
    assert of_distance.spearman.value == pytest.approx(1)
    text = report.to_text(many, found)
    assert "Do the spectral scores predict robustness?" in text
    assert "measured again: m1, accuracy (weights: a there, b here)" in text
    assert "not used: dark.png: too dark" in text
    document = json.loads(report.to_json(many, found))
    assert document["predictions"]["scores"] == ["importance signed score/mean"]
    assert document["skipped"] == [["dark.png", "too dark"]]
    drawn = figures(many, found.predictions)
    assert {
        "accuracy-severity-fog.png",
        "accuracy-radius-linf.png",
        "bands-mean.png",
        "embedding-mean.png",
        "correlations.png",
    } < set(drawn)
    assert sum(name.startswith("association-") for name in drawn) == 3
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())


def test_noise_that_misleads_more_than_the_attack_is_suspected():
    masked = studied(2)
    masked.per_image["m1", "robust accuracy/linf/0.1"] = bits(30)
    masked.per_image["m1", "noise accuracy/linf/0.1"] = bits(20)
    text = report.to_text(masked, report.findings(masked, num_resamples=20))
    assert "m1: random noise misleads 25.0% of the images that the attack linf/0.1 does not" in text
