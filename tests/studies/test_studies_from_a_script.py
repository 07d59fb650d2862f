"""Studies from a script: the page of the documentation, and what interrupts a script."""

import json
import re
from pathlib import Path

import pytest
import torch
from scores import photograph

from captum_spectral import ImportanceResult, SpectralImportance
from captum_spectral.report import importance as report
from captum_spectral.sources.datasets import open_folder, shipped_views
from captum_spectral.sources.models import load_model
from captum_spectral.studies import ImportanceSettings, ImportanceStudy

PAGE = Path(__file__).parents[2] / "docs" / "studies.md"
SETTINGS = ImportanceSettings(num_bands=3, n_samples=1, batch_size=4)


def study_of(nets, name="net", checkpoint=None, settings=SETTINGS):
    model = load_model(f"{nets}:{name}")
    return ImportanceStudy(model, open_folder("data"), settings, checkpoint=checkpoint)


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("cat", "dog", "tree")):
        photograph(tmp_path / "photos" / f"{name}.png", seed=i)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert names["found"].result.num_examples == 3
    assert "Spectral importance on photos" in Path("importance.txt").read_text()
    document = json.loads(Path("importance.json").read_text())
    assert ImportanceResult.from_dict(document["models"][0]["result"]) == names["found"].result
    assert (document["data"]["num_pictures"], document["processes"]) == (3, 1)
    assert "v(full) - v(empty)" in capsys.readouterr().out
    document = json.loads(Path("cat.json").read_text())
    assert document["image"] == {"file": "photos/cat.png", "width": None, "height": None}
    assert document["model"]["device"] == "cpu"
    for figure in ("importance.png", "cat.png"):
        assert Path(figure).read_bytes().startswith(b"\x89PNG")
    assert names["importance"].compute().num_examples == 6


def test_making_a_study_reads_and_runs_nothing(nets):
    study = study_of(nets, "broken")
    (Path("data") / "b" / "2.png").unlink()  # nothing was read
    assert (study.num_done, study.num_examples) == (0, 12)
    with pytest.raises(ValueError, match="the crop is larger than the picture"):
        study.run()


@pytest.mark.parametrize("name", ["max_examples", "batch_size", "perturbations_per_eval"])
def test_wrong_settings_are_refused_before_there_is_a_study(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        ImportanceSettings(**{name: 0})


def test_an_interrupted_study_goes_on_to_the_same_bits_and_is_not_written_over(nets, monkeypatch):
    settings = ImportanceSettings(3, batch_size=4, perturbations_per_eval=2)
    whole = study_of(nets, "interrupt", settings=settings).run()
    monkeypatch.setenv("INTERRUPT", "yes")
    study = study_of(nets, "interrupt", "state", settings)
    with pytest.raises(KeyboardInterrupt):
        study.run()
    assert (study.num_done, study.num_examples) == (8, 12)
    monkeypatch.setenv("INTERRUPT", "no")
    before = Path("state").read_bytes()
    with pytest.raises(FileExistsError, match="state is the state of an earlier run; resume=True"):
        study_of(nets, "interrupt", "state", settings).run()
    assert Path("state").read_bytes() == before
    resumed = study_of(nets, "interrupt", "state", settings).run(resume=True)
    assert resumed == whole
    again = study_of(nets, "interrupt", "state", settings).run(resume=True)  # of the finished one
    assert again == whole


def test_views_of_a_photograph_are_clustered(nets):
    pictures, model = shipped_views(), load_model(f"{nets}:net")
    study = ImportanceStudy(model, pictures, SETTINGS, checkpoint="state")
    found = study.run()
    images = torch.cat([model.prepare(pictures.load(i)) for i in range(35)])
    importance = SpectralImportance(model.module, num_bands=3, n_samples=1)
    importance.update(images, groups=torch.arange(35) // 5)
    expected = importance.compute()
    assert found.result.num_groups == 7
    torch.testing.assert_close(found.result.covariance, expected.covariance, rtol=1e-4, atol=1e-9)
    assert (
        json.loads(report.to_json([found], SETTINGS, pictures))["models"][0]["result"]["num_groups"]
        == 7
    )
    assert "The pictures come in 7 groups" in report.to_text([found], pictures)
    again = ImportanceStudy(model, pictures, SETTINGS, checkpoint="state").run(resume=True)
    assert again == found


def test_an_interrupted_study_of_views_goes_on_to_the_same_bits(nets, monkeypatch):
    pictures = shipped_views()

    def study(checkpoint=None):
        model = load_model(f"{nets}:interrupt")
        settings = ImportanceSettings(3, batch_size=4, perturbations_per_eval=2)
        return ImportanceStudy(model, pictures, settings, checkpoint=checkpoint)

    whole = study().run()
    monkeypatch.setenv("INTERRUPT", "yes")
    first = study("state")
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert 0 < first.num_done < 35
    monkeypatch.setenv("INTERRUPT", "no")
    assert study("state").run(resume=True) == whole
    assert whole.result.num_groups == 7


def test_a_study_can_be_run_again_and_keeps_nothing_of_the_run_before(nets):
    study = study_of(nets)
    assert study.run() == study.run()
    assert study.num_done == 12


def test_a_study_without_a_checkpoint_leaves_no_file(nets):
    before = sorted(Path().rglob("*.*"))
    study_of(nets).run(resume=True)
    after = [path for path in sorted(Path().rglob("*.*")) if path.suffix != ".pyc"]
    assert after == before


def test_models_that_were_studied_apart_are_told_together(nets):
    found = [study_of(nets, name).run() for name in ("net", "other")]
    assert not torch.equal(found[0].result.attributions, found[1].result.attributions)
    text = report.to_text(found, open_folder("data"))
    assert text.index(":net") < text.index(":other")


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"num_bands": 0}, ValueError, "num_bands must be at least 1"),
        ({"num_bands": None}, TypeError, "num_bands must be an integer"),
        ({"num_bands": 17}, ValueError, "exact values of 17 bands need"),
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1"),
        ({"baseline": "nois"}, ValueError, "'noise' or 'donor', got 'nois'"),
        ({"baseline": float("nan")}, ValueError, "baseline must be finite"),
        ({"baseline": [0.0]}, TypeError, "baseline must be a number, 'noise' or 'donor', got list"),
        ({"baseline": None}, TypeError, "baseline must be a number, 'noise' or 'donor', got None"),
        ({"tolerance": -1.0}, ValueError, "tolerance must be positive"),
        ({"tolerance": "2 %"}, TypeError, "tolerance must be a number"),
        ({"confidence": 95}, ValueError, "confidence must lie between 0 and 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_wrong_settings_are_refused_before_any_picture_is_read(wrong, error, message):
    with pytest.raises(error, match=message):
        ImportanceSettings(**wrong)
