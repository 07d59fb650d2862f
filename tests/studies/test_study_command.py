"""The command study: a file that says what to measure, cells that outlive every end."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from scores import forked

from captum_spectral.cli import main
from captum_spectral.sources.models import in_pixels, load_model
from captum_spectral.studies import StudyTable
from captum_spectral.studies.config import read_config, study_of

STUDY = """
data = "data"
max_images = 9
reference = "first"

[[model]]
name = "first"
model = "{nets}:net"
family = "nets"

[[model]]
name = "second"
model = "{nets}:other"
family = "nets"
seed = 1

[measure]
corruptions = ["gaussian_noise", "contrast"]
severities = [2, 4]
linf = [0.02]
l2 = [0.3]
attacked = 4
cap = 2
bands = 3
sensitivity = 2
"""


def command(*args):
    return CliRunner().invoke(main, ["study", *map(str, args)])


def written(nets, text=STUDY, name="study.toml"):
    Path(name).write_text(text.replace("{nets}", nets))
    return name


def in_processes(count, *args, **options):
    torchrun = ["torch.distributed.run", f"--nproc-per-node={count}", "--rdzv-backend=c10d"]
    torchrun.append("--rdzv-endpoint=localhost:0")
    return subprocess.run(
        [sys.executable, "-m", *torchrun, "-m", "captum_spectral", "study", *args],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def in_forks(count, *args):
    return forked(count, "study", *args)


def rows(out):
    found = list(csv.DictReader(io.StringIO(Path(out, "table.csv").read_text())))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


@pytest.fixture
def studied(nets):
    result = command(written(nets))
    assert result.exit_code == 0, result.output
    return nets, result.output


def test_it_writes_a_table_a_document_a_summary_and_figures(studied):
    _, printed = studied
    table = rows("robustness")
    assert {row["model"] for row in table} == {"first", "second"}
    assert not any(row["error"] for row in table)
    assert {row["num_images"] for row in table} == {"9", "4"}
    document = json.loads(Path("robustness/study.json").read_text())
    assert document["reference"] == "first"
    assert document["corruption_errors"]["first"]["mce"]["value"] == 1
    assert len(StudyTable(document["rows"])) == len(table)
    text = Path("robustness/summary.txt").read_text()
    assert text in printed
    assert "mCE is relative to first" in text
    for word in ("clean", "noise", "contrast and brightness", "linf 0.02", "l2 0.3", "distance"):
        assert word in text
    figures = [path.name for path in Path("robustness").glob("*.png")]
    assert figures
    assert all(name in printed for name in figures)


@pytest.mark.usefixtures("undrawn")
def test_the_same_command_again_measures_nothing(studied):
    nets, _ = studied
    before = Path("robustness/table.csv").read_text()
    again = command("study.toml")
    assert "measured again" not in again.output
    assert Path("robustness/table.csv").read_text() == before  # the seconds, too
    module = Path(f"{nets}.py")
    module.write_text(module.read_text().replace("return net(1)", "return net(2)"))
    sys.modules.pop(nets)
    changed = command("study.toml").output
    assert "measured again: second, accuracy (weights: " in changed
    assert "measured again: first" not in changed


@pytest.mark.usefixtures("undrawn")
def test_several_processes_write_the_table_of_one(studied):
    for count, start in ((2, in_processes), (3, in_forks)):
        done = start(count, "study.toml", "--out", f"of {count}")
        assert done.returncode == 0, done.stderr
        assert rows(f"of {count}") == rows("robustness")


@pytest.mark.usefixtures("undrawn")
def test_ctrl_c_keeps_the_cells_and_says_so(nets, monkeypatch):
    monkeypatch.setenv("INTERRUPT", "yes")
    text = STUDY.replace(":net", ":interrupt").replace(":other", ":other")
    stopped = command(written(nets, text))
    assert stopped.exit_code == 130
    assert "cells are kept in robustness/cells, the same command goes on" in stopped.output
    kept = {p.name: p.stat().st_mtime_ns for p in Path("robustness/cells").iterdir()}
    assert kept
    monkeypatch.setenv("INTERRUPT", "no")
    sys.modules.pop(nets)
    assert command("study.toml").exit_code == 0
    after = {p.name: p.stat().st_mtime_ns for p in Path("robustness/cells").iterdir()}
    assert kept.items() <= after.items()


def test_kill_9_at_random_moments_loses_nothing(nets):
    script = Path(__file__).parent / "kill_study_at_random.py"
    written(nets, STUDY.replace(":net", ":slow"))
    done = subprocess.run(
        [sys.executable, script, "study.toml"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["kills"] == 20
    assert record["cells lost"] == 0
    assert record["same"]


def test_networks_get_pixels_with_their_normalisation_inside(rgb_picture):
    model = load_model("efficientnet-lite0")
    pixels = in_pixels(model)
    x = pixels.prepare(rgb_picture)
    assert 0 <= x.min() < x.max() <= 1
    with torch.no_grad():
        torch.testing.assert_close(
            pixels.module(x), model.module(model.prepare(rgb_picture)), rtol=1e-3, atol=1e-3
        )


@pytest.fixture
def rgb_picture():
    from captum_spectral.sources.images import photographs

    return photographs()["chelsea"]


WRONG = {
    "reference = 3": "reference in study.toml must be text, got 3",
    "max_image = 3": "study.toml has an entry 'max_image'; did you mean 'max_images'?",
    'reference = "third"': "reference 'third' of study.toml is none of first, second",
    "max_images = 0": "max_images must be at least 1, got 0",
    "measure = 3": "[measure] of study.toml must be a table, got 3",
    "x = ": "study.toml is no TOML",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_in_the_file_is_named(nets, line):
    text = STUDY.replace('reference = "first"', line).replace("max_images = 9", "")
    if line.startswith("measure"):
        text = text[: text.index("[measure]")]
    result = command(written(nets, text))
    assert result.exit_code == 1
    assert WRONG[line] in result.output
    assert not Path("robustness").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("severities = [2, 4]", "severities = 2", "severities in [measure] of study.toml must be"),
        ("severities = [2, 4]", 'severities = ["2"]', "must be a list, each an integer"),
        ("attacked = 4", "attacked = true", "attacked in [measure] of study.toml must be an"),
        ("linf =", "linfty =", "of study.toml has an entry 'linfty'; did you mean 'linf'?"),
        ('"contrast"]', '"contast"]', "corruptions has an entry 'contast'; did you mean 'cont"),
        ("cap = 2", 'only = ["acuracy"]', "only has an entry 'acuracy'; did you mean 'accuracy'?"),
        ('name = "second"', 'name = "first"', "[[model]] 2 of study.toml must have a name of its"),
        ('model = "{nets}:other"', "weight = 3", "[[model]] 2 of study.toml has an entry 'weight'"),
        ("{nets}:other", "{nets}:nothing", "has no 'nothing'"),
        ('data = "data"', 'data = "nowhere"', "nowhere"),
    ],
)  # fmt: skip
def test_wrong_entries_and_models_are_named(nets, old, new, message):
    result = command(written(nets, STUDY.replace(old, new)))
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.splitlines()) == 1


def test_without_models_it_says_how_to_name_one(nets):
    result = command(written(nets, 'data = "data"'))
    assert "study.toml must have a [[model]] table for each model" in result.output


def test_only_the_kinds_that_are_asked_for_are_measured(nets):
    only = 'only = ["corruption accuracy", "noise accuracy"]'
    config = read_config(Path(written(nets, STUDY.replace("cap = 2", only))))
    assert list(study_of(config).measurements) == [
        *(
            f"corruption accuracy/{name}/{k}"
            for name in ("gaussian_noise", "contrast")
            for k in (2, 4)
        ),
        *("noise accuracy/linf/0.02", "noise accuracy/l2/0.3"),
    ]


@pytest.mark.usefixtures("undrawn")
def test_a_picture_that_cannot_be_read_is_named(nets):
    Path("data/b/0.png").write_bytes(b"no picture")
    Path("data/b/1.png").write_bytes(b"no picture")
    text = STUDY.replace("max_images = 9", "")
    result = command(written(nets, text))
    assert result.exit_code == 0, result.output
    skipped = json.loads(Path("robustness/study.json").read_text())["skipped"]
    assert sorted(name for name, _ in skipped) == ["b/0.png", "b/1.png"]
    assert "not used: b/0.png: " in result.output
