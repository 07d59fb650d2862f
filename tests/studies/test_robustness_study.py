"""A study of robustness: one table, whatever ends a run, whoever shares it, in whatever order."""

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from captum_spectral.robustness.corruptions import Corruption, builtin_corruptions
from captum_spectral.studies import RobustnessStudy, StudyModel, StudyTable
from captum_spectral.studies.measurements import (
    AttackAccuracy,
    CleanAccuracy,
    CorruptionAccuracy,
    DistanceToBoundary,
    NoiseAccuracy,
)
from captum_spectral.studies.spectral_measurements import (
    CutoffOfPredictions,
    ImportanceOfBands,
    SensitivityOfBands,
)

X = torch.rand(14, 1, 16, 16, generator=torch.Generator().manual_seed(1))
Y = torch.arange(14) % 3
NOISE, *_, BRIGHTNESS = builtin_corruptions("small")
CHEAP = [CleanAccuracy(), CorruptionAccuracy(NOISE, 5), ImportanceOfBands("mean", num_bands=3)]
ALL = [
    *CHEAP,
    AttackAccuracy("linf", 0.02, steps=3),
    NoiseAccuracy("linf", 0.02),
    AttackAccuracy("l2", 0.3, steps=3, max_images=5),
    DistanceToBoundary(cap=2.0, max_images=4),
    ImportanceOfBands("noise", num_bands=3),
    SensitivityOfBands(2.0, num_bands=3),
    CutoffOfPredictions(steps=3),
]


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(36, 3)).eval()


def models(*seeds):
    return {f"net {s}": StudyModel(lambda s=s: network(s), "nets", s) for s in seeds or (0, 1)}


def comparable(table):
    return table.without("seconds", "model_rows")


@pytest.fixture(scope="module")
def whole():
    return RobustnessStudy(models(), X, Y, measurements=ALL).run()


class TestTheTable:
    def test_it_has_a_row_for_every_number_of_every_model(self, whole):
        named = {(row["measurement"], row["perturbation"], row["severity"]) for row in whole.table}
        assert {
            ("accuracy", "", None),
            ("corruption accuracy", "gaussian_noise", 5.0),
            ("robust accuracy", "linf", 0.02),
            ("noise accuracy", "linf", 0.02),
            ("distance", "l2", 2.0),
            ("importance signed score", "mean", None),
            ("importance band 2", "noise", None),
            ("sensitivity of band 0", "band", 2.0),
            ("lowest cut-off", "low-pass", None),
        } <= named
        assert len(whole.table) == 2 * len(named)
        assert {row["family"] for row in whole.table} == {"nets"}

    def test_accuracies_are_those_of_the_model(self, whole):
        for seed in (0, 1):
            right = network(seed)(X).argmax(1) == Y
            (row,) = [
                r
                for r in whole.table
                if r["model"] == f"net {seed}" and r["measurement"] == "accuracy"
            ]
            assert row["value"] == pytest.approx(float(right.double().mean()))
            p, n = row["value"], len(Y)
            assert row["standard_error"] == pytest.approx(math.sqrt(p * (1 - p) / (n - 1)))
            assert row["model_rows"] == n
            assert torch.equal(whole.per_image[f"net {seed}", "accuracy"], right)

    def test_all_models_see_the_same_corrupted_images(self):
        seen = {}

        def spying(name):
            def model(x):
                seen.setdefault(name, []).append(x.clone())
                return network(0)(x)

            return model

        named = {name: spying(name) for name in "ab"}
        RobustnessStudy(named, X, Y, measurements=[CorruptionAccuracy(NOISE, 3)], seed=4).run()
        assert torch.equal(torch.cat(seen["a"]), torch.cat(seen["b"]))
        expected = NOISE(X, 3, seed=4)
        assert torch.equal(torch.cat(seen["a"])[-14:], expected)

    def test_the_order_of_the_models_changes_nothing(self, whole):
        other = RobustnessStudy(models(1, 0), X, Y, measurements=ALL).run()
        rows = sorted(map(repr, comparable(whole.table)))
        assert sorted(map(repr, comparable(other.table))) == rows

    def test_the_batch_size_changes_nothing_beyond_rounding(self, whole):
        other = RobustnessStudy(models(), X, Y, measurements=ALL, batch_size=4).run()
        for a, b in zip(whole.table, other.table, strict=True):
            assert a["measurement"] == b["measurement"]
            assert b["value"] == pytest.approx(a["value"], rel=1e-4, abs=1e-6, nan_ok=True)

    def test_without_labels_a_prediction_is_kept_or_not(self):
        found = RobustnessStudy(models(), X, measurements=CHEAP).run()
        clean = [row["value"] for row in found.table if row["measurement"] == "accuracy"]
        assert clean == [1, 1]

    def test_a_model_may_have_images_of_its_own_size(self):
        larger = torch.nn.functional.interpolate(X, scale_factor=2)
        named = models(0) | {"large": StudyModel(lambda: network(0), images=larger)}
        found = RobustnessStudy(named, X, Y, measurements=CHEAP).run()
        assert {row["error"] for row in found.table} == {""}

    def test_it_is_written_and_read_without_loss(self, whole):
        assert StudyTable.from_json(whole.table.to_json()) == whole.table
        lines = whole.table.to_csv().splitlines()
        assert len(lines) == len(whole.table) + 1
        assert lines[0].startswith("model,family,seed,measurement,perturbation,severity,value,")
        assert whole.table[:2].models == ["net 0"]
        assert repr(whole.table).endswith("2 models")

    def test_rows_of_another_kind_are_refused(self):
        with pytest.raises(ValueError, match="got 'modell', too"):
            StudyTable([{"modell": "a"}])
        with pytest.raises(TypeError, match="rows must be mappings, got str"):
            StudyTable(["a"])
        with pytest.raises(ValueError, match="document must be"):
            StudyTable.from_json("[]")


@dataclass(frozen=True)
class Spied(CleanAccuracy):
    """A measurement of one's own, which says what was measured and can be interrupted."""

    title: str
    measured: ClassVar[list[str]] = []
    stop: ClassVar[str] = ""

    @property
    def name(self):
        return self.title

    def of(self, subject):
        self.measured.append(self.title)
        if self.title == self.stop:
            raise KeyboardInterrupt
        return super().of(subject)


class Failing(nn.Module):
    def __init__(self, calls=0, kind=RuntimeError):
        super().__init__()
        self.net, self.calls, self.kind = network(0), calls, kind
        self.eval()

    def forward(self, x):
        self.calls -= 1
        if self.calls < 0:
            raise self.kind("the device is gone")
        return self.net(x)


class TestFailures:
    def test_a_cell_that_fails_is_a_row_and_the_others_go_on(self):
        broken = Corruption("broken", lambda x, value, generator: x[:, :0], (1.0,))
        measurements = [*CHEAP, CorruptionAccuracy(broken, 1)]
        table = RobustnessStudy(models(), X, Y, measurements=measurements).run().table
        failed = [row for row in table if row["error"]]
        assert [row["model"] for row in failed] == ["net 0", "net 1"]
        assert (failed[0]["perturbation"], failed[0]["severity"]) == ("broken", 1)
        assert "must keep the shape" in failed[0]["error"]
        assert math.isnan(failed[0]["value"])
        assert len(table) - len(failed) == len(
            RobustnessStudy(models(), X, Y, measurements=CHEAP).run().table
        )

    def test_a_model_that_cannot_be_loaded_fails_in_all_its_cells(self):
        def missing():
            raise OSError("no such weights")

        named = {"gone": StudyModel(missing)} | models(0)
        table = RobustnessStudy(named, X, Y, measurements=CHEAP).run().table
        assert [r["error"] for r in table if r["model"] == "gone"] == 3 * [
            "OSError: no such weights"
        ]
        assert not any(r["error"] for r in table if r["model"] == "net 0")

    def test_outputs_that_are_not_finite_are_named(self):
        named = {"nan": lambda x: network(0)(x) * math.nan}
        table = RobustnessStudy(named, X, Y, measurements=CHEAP).run().table
        assert all("not finite" in row["error"] for row in table)

    def test_what_failed_is_tried_again(self, tmp_path):
        flaky = Failing(calls=1)
        study = RobustnessStudy({"a": flaky}, X, Y, measurements=CHEAP)
        assert all(row["error"] for row in study.run(tmp_path).table)
        flaky.calls = 1000
        assert not any(row["error"] for row in study.run(tmp_path).table)

    @pytest.mark.parametrize("folder", [True, False])
    def test_ctrl_c_loses_one_cell_at_most(self, tmp_path, folder):
        cells = tmp_path if folder else None
        named = [Spied("first"), Spied("second"), Spied("third")]
        study = RobustnessStudy(models(0), X, Y, measurements=named)
        Spied.measured, Spied.stop = [], "second"
        with pytest.raises(KeyboardInterrupt):
            study.run(cells)
        Spied.stop = ""
        assert len(study.run(cells).table) == 3
        assert Spied.measured == ["first", "second", "second", "third"]


class TestStoredCells:
    def test_they_are_used_again(self, tmp_path):
        first = RobustnessStudy(models(), X, Y, measurements=CHEAP).run(tmp_path)
        again = RobustnessStudy(models(), X, Y, measurements=CHEAP).run(tmp_path)
        assert first.table == again.table  # the seconds, too
        assert again.recomputed == {}
        assert all(torch.equal(x, again.per_image[key]) for key, x in first.per_image.items())

    @pytest.mark.parametrize(
        ("change", "cells", "named"),
        [
            ({"models": {"net 0": network(0), "net 1": network(7)}}, 3, "weights"),
            ({"images": X.flip(-1)}, 6, "images"),
            ({"seed": 1}, 6, "seed: 0 there, 1 here"),
            ({"measurements": [*CHEAP[:2], ImportanceOfBands("mean", 3, n_samples=2)]}, 2,
             "measurement"),
        ],
    )  # fmt: skip
    def test_what_has_changed_is_measured_again_and_named(self, tmp_path, change, cells, named):
        arguments = {"models": models(), "images": X, "labels": Y, "measurements": CHEAP}
        RobustnessStudy(**arguments).run(tmp_path)
        found = RobustnessStudy(**(arguments | change)).run(tmp_path)
        assert len(found.recomputed) == cells
        assert all(named in reason for reason in found.recomputed.values())
        fresh = RobustnessStudy(**(arguments | change)).run()
        assert comparable(found.table) == comparable(fresh.table)

    def test_a_damaged_cell_is_measured_again_and_named(self, tmp_path):
        first = RobustnessStudy(models(), X, Y, measurements=CHEAP).run(tmp_path)
        path = sorted(tmp_path.glob("*.safetensors"))[0]
        path.write_bytes(path.read_bytes()[:-20])
        again = RobustnessStudy(models(), X, Y, measurements=CHEAP).run(tmp_path)
        (reason,) = again.recomputed.values()
        assert "is damaged or no checkpoint" in reason
        assert comparable(first.table) == comparable(again.table)

    def test_names_that_no_file_can_have_are_kept_apart(self, tmp_path):
        named = {"a/b": network(0), "a b": network(1), "модель": network(2), "..": network(3)}
        table = RobustnessStudy(named, X, Y, measurements=CHEAP[:1]).run(tmp_path).table
        assert table.models == list(named)
        assert len(list(tmp_path.glob("*.safetensors"))) == 4


BAD = [
    ({"models": {}}, ValueError, "models must name at least one model"),
    ({"models": {"a": 3}}, TypeError, "models must be callable or StudyModel; 'a' is 3"),
    ({"images": X * 255}, ValueError, "images must be pixels from 0 to 1, .* put the normalis"),
    ({"images": X[0]}, ValueError, r"images must be \(N, C, H, W\)"),
    ({"images": (X * 255).byte()}, TypeError, "images must be a floating tensor"),
    ({"labels": Y[:3]}, ValueError, r"labels must be \(14,\) integers"),
    ({"labels": Y.float()}, ValueError, r"labels must be \(14,\) integers"),
    ({"measurements": []}, ValueError, "measurements must hold at least one"),
    ({"measurements": [CHEAP[0], CHEAP[0]]}, ValueError, "got accuracy twice"),
    ({"reference": "b"}, ValueError, "reference must be one of the models net 0, net 1, got 'b'"),
    ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), BAD)
def test_bad_arguments_are_named_before_any_model_runs(wrong, error, message):
    arguments = {"models": models(), "images": X, "labels": Y, "measurements": CHEAP}
    with pytest.raises(error, match=message):
        RobustnessStudy(**(arguments | wrong))
