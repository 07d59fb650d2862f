"""captum-spectral score: whole data sets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scores import SMALL, fails, photograph, refuse, scored

from captum_spectral import SpectralImportance
from captum_spectral.sources.datasets import open_folder
from captum_spectral.sources.models import load_model
from captum_spectral.studies.loading import Plan

# -------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("samples", ["exact", "1", "3"])
def test_the_numbers_are_those_of_the_metric(nets, samples):
    result, document, printed = scored(
        "--model", f"{nets}:net", "--data", "data", "--samples", samples, *SMALL
    )
    model = load_model(f"{nets}:net")
    pictures = open_folder("data")
    images = torch.cat([model.prepare(pictures.load(i)) for i in range(12)])
    labels = torch.tensor([pictures.label(i) for i in range(12)])
    n_samples = None if samples == "exact" else int(samples)
    importance = SpectralImportance(model.module, num_bands=3, n_samples=n_samples)
    importance.update(images, labels)
    expected = importance.compute()
    torch.testing.assert_close(result.attributions, expected.attributions, atol=1e-6, rtol=0)
    torch.testing.assert_close(result.covariance, expected.covariance, atol=1e-6, rtol=0)
    assert result.accuracy == expected.accuracy
    assert result.num_rows == expected.num_rows
    assert document["models"][0]["labels"] == "data"
    assert f"{float(result.attributions[0]):+.4f}" in printed
    assert sorted(os.listdir("report")) == [
        "importance.json",
        "importance.png",
        "importance.svg",
        "report.html",
        "summary.txt",
    ]
    assert Path("report/summary.txt").read_text() in printed


def test_several_models_in_one_table_and_figure(nets):
    _, document, printed = scored(
        "--model", f"{nets}:net", "--model", f"{nets}:other", "--data", "data", *SMALL
    )
    assert [m["model"] for m in document["models"]] == [f"{nets}:net", f"{nets}:other"]
    assert "signed score" in printed
    assert all(printed.count(f"{nets}:{name}: ") == 1 for name in ("net", "other"))  # its sentence
    header = next(line for line in printed.splitlines() if line.startswith("band"))
    assert header.index(":net") < header.index(":other")
    with Image.open("report/importance.png") as figure:
        assert figure.width > figure.height > 300
    assert Path("report/importance.svg").read_text().lstrip().startswith("<?xml")


def test_without_data_it_takes_the_photographs_that_come_along(nets):
    result, document, printed = scored("--model", f"{nets}:net", "--bands", 2, "--max-examples", 10)
    assert document["data"]["num_pictures"] == 87
    assert document["settings"]["n_samples"] == 1
    assert result.num_rows == 10 * 5  # with two bands an ordering and its reverse are exact
    assert (result.num_examples, result.num_groups) == (10, None)
    assert "in 10 groups" not in printed
    assert "the label of a picture is the model's own prediction" in printed
    assert result.accuracy is None


def test_a_flat_folder_is_labelled_by_the_model(nets, tmp_path):
    for i in range(4):
        photograph(tmp_path / "flat" / f"{i}.jpg", seed=i)
    result, document, _ = scored("--model", f"{nets}:net", "--data", "flat", *SMALL)
    assert document["models"][0]["labels"] == "predictions"
    assert result.num_examples == 4


def test_a_torchvision_data_set(nets, tmp_path):
    raw = tmp_path / "root" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 3), ("t10k", 8)):
        images = np.random.default_rng(0).integers(0, 255, (count, 28, 28), np.uint8)
        head = b"".join(n.to_bytes(4, "big") for n in (0x803, count, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = b"".join(n.to_bytes(4, "big") for n in (0x801, count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + bytes(range(count)))
    result, document, _ = scored(
        "--model", f"{nets}:ten", "--data", "FashionMNIST", "--root", "root", "--per-class", *SMALL
    )
    assert document["data"]["name"] == "FashionMNIST (test)"
    assert result.num_examples == 8
    assert sorted(result.per_class) == list(range(8))
    mean = sum(part.attributions for part in result.per_class.values()) / 8
    torch.testing.assert_close(mean, result.attributions)


@pytest.fixture
def signs(nets):
    """Six traffic signs of three classes without names."""
    folder = Path("root/gtsrb/GTSRB/Final_Test/Images")
    folder.mkdir(parents=True)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for i in range(6):
        photograph(folder / f"{i:05d}.ppm", seed=i)
        rows.append(f"{i:05d}.ppm;50;40;0;0;50;40;{i % 3}")
    Path("root/gtsrb/GT-final_test.csv").write_text("\n".join(rows))
    return nets


def test_a_label_map_holds_for_classes_without_names(signs):
    Path("map.json").write_text(json.dumps({"0": 5, "1": 6, "2": 7}))
    result, document, _ = scored(
        "--model", f"{signs}:ten", "--data", "GTSRB", "--root", "root",
        "--label-map", "map.json", "--per-class", *SMALL,
    )  # fmt: skip
    assert document["models"][0]["labels"] == "data"
    assert sorted(result.per_class) == [5, 6, 7]


def test_classes_without_names_are_the_outputs_or_need_a_label_map(signs):
    printed = fails("--model", f"{signs}:ten", "--data", "GTSRB", "--root", "root", *SMALL)
    assert "labels go up to 2, the 10 outputs of the model to 9; give a label map" in printed
    Path("map.json").write_text(json.dumps({"0": 5, "1": 6}))
    printed = fails(
        "--model", f"{signs}:ten", "--data", "GTSRB", "--root", "root",
        "--label-map", "map.json", *SMALL,
    )  # fmt: skip
    assert "the label map has no entry for the class 2" in printed


def test_a_label_map_says_which_output_a_folder_is(nets):
    Path("map.txt").write_text("b 2\nc 1\nd 7\n")
    mapped, _, _ = scored(
        "--model", f"{nets}:ten", "--data", "data", "--label-map", "map.txt", "--per-class", *SMALL
    )
    assert sorted(mapped.per_class) == [1, 2, 7]
    assert "data has 3 classes" in fails("--model", f"{nets}:ten", "--data", "data", *SMALL)


def test_the_tolerance_stops_early(nets, tmp_path):
    for i in range(80):
        photograph(tmp_path / "many" / f"{i}.png", seed=i)
    result, document, printed = scored(
        "--model", f"{nets}:net", "--data", "many", "--tolerance", 5, *SMALL
    )
    assert 30 <= result.num_examples < 80
    assert document["models"][0]["stopped_early"]
    assert "stopped when the tolerance was reached" in printed


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("baseline", ["noise", "donor", "0.5"])
def test_every_baseline(nets, baseline):
    result, document, _ = scored(
        "--model", f"{nets}:net", "--data", "data", "--baseline", baseline, *SMALL
    )
    assert document["settings"]["baseline"] == (0.5 if baseline == "0.5" else baseline)
    assert result.num_examples == 12
    assert abs(result.efficiency_gap) < 1e-6


@pytest.mark.usefixtures("undrawn")
def test_reading_ahead_in_other_processes_changes_nothing(nets):
    args = ("--model", f"{nets}:net", "--data", "data", *SMALL)
    here, _, _ = scored(*args)
    ahead, _, _ = scored(*args, "--workers", 2)
    assert here == ahead


def test_a_transform_that_cannot_be_sent_to_other_processes(nets, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.utils.data.dataloader.DataLoader.__iter__", refuse)
    message = fails("--model", f"{nets}:net", "--data", "data", "--workers", 2, *SMALL)
    assert "cannot be sent to the 2 processes" in message
    assert "use --workers 0" in message


def test_a_sample_of_the_data_is_a_random_one():
    plan = Plan(1000, 100, 32, seed=0)
    chosen = [i for batch in plan.batches for i in batch]
    assert len(set(chosen)) == plan.num_examples == 100
    assert 400 < np.mean(chosen) < 600  # not the first folder
    assert sorted(map(len, plan.batches)) == [25] * 4
    assert Plan(1000, None, 32, seed=0).num_examples == 1000
    everything = [i for batch in Plan(1000, None, 7, seed=1).batches for i in batch]
    assert sorted(everything) == list(range(1000))
    for count in range(2, 40):
        for batch_size in range(2, 9):
            sizes = [len(batch) for batch in Plan(count, None, batch_size, seed=0).batches]
            assert min(sizes) >= 2  # a donor is another picture of the batch
            assert max(sizes) <= max(batch_size, 3)
            assert sum(sizes) == count
    assert Plan(5, None, 1, seed=0).ends == [1, 2, 3, 4, 5]


# -------------------------------------------------------------------- bad options


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--data", "FashionMNIS", "--root", "."], "did you mean FashionMNIST"),
        (["--data", "CIFAR10"], "CIFAR10 is a data set of torchvision; say with --root"),
        (["--root", "."], "are of no use without --data"),
        (["--per-class"], "are of no use without --data"),
        (["--data", "flat", "--per-class"], "has no labels, so --label-map and --per-class"),
        (["--data", "data", "--baseline", "donor", "--batch-size", "1"], "a larger --batch-size"),
        (["--data", "data", "--seed", str(2**64)], "0<=x<=18446744073709551615"),
        (["--data", "data", "--samples", "0"], "neither a positive number nor 'exact'"),
        (["--data", "data", "--baseline", "blur"], "neither a number nor 'noise' or 'donor'"),
        (["--data", "data", "--baseline", "nan"], "neither a number nor"),
        (["--data", "data", "--bands", "17", "--samples", "exact"], "2^17"),
        (["--data", "data", "--bands", "99"], "at most num_bands="),
        (["--data", "data", "--label-map", "missing.txt"], "does not exist"),
        (["--data", "data", "--tolerance", "0"], "--tolerance"),
        (["--data", "data", "--weights", "photo.pt"], "does not exist"),
    ],
)
def test_bad_options_are_one_clear_line(nets, tmp_path, args, message):
    photograph(tmp_path / "flat" / "0.png")
    assert message in fails("--model", f"{nets}:net", *args)
    assert not Path("report/importance.json").exists()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["no_logits"], "must give one logit per class"),
        (["net", "net"], "up to 7 different models"),
        (["net", "other"], "--weights goes with one --model"),
        (["any_size"], "must give inputs of one size"),
    ],
)
def test_bad_models_are_one_clear_line(nets, tmp_path, models, message):
    photograph(tmp_path / "data" / "b" / "large.png", size=(40, 30))
    args = [x for name in models for x in ("--model", f"{nets}:{name}")]
    if "weights" in message:
        Path("w.pt").touch()
        args += ["--weights", "w.pt"]
    assert message in fails(*args, "--data", "data", "--bands", 3, "--batch-size", 13)


# ----------------------------------------------------------------------------- surroundings


@pytest.mark.parametrize(
    ("encoding", "written", "name"),
    [
        ("cp1252", "cp1252", r"\u0441\u043d\u0438\u043c\u043e\u043a.png"),
        ("ascii", "utf-8", "снимок.png"),  # which click takes for a terminal that is not set up
    ],
)
def test_a_terminal_of_another_encoding_shows_what_it_can(nets, tmp_path, encoding, written, name):
    photograph(tmp_path / "flat" / "0.png")
    (tmp_path / "flat" / "снимок.png").write_bytes(b"not a picture")
    run = subprocess.run(
        [sys.executable, "-m", "captum_spectral", "score", "--model", f"{nets}:net",
         "--data", "flat", *map(str, SMALL)],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert name in run.stdout.decode(written)
    assert not list(Path("report").glob("checkpoint*"))


def test_names_of_files_do_not_act_on_the_terminal(nets, tmp_path):
    photograph(tmp_path / "flat" / "0.png")
    (tmp_path / "flat" / "a\x1b[2J\nok.png").write_bytes(b"not a picture")
    *_, printed = scored("--model", f"{nets}:net", "--data", "flat", *SMALL)
    assert r"  a\x1b[2J\nok.png: " in printed
    assert "\x1b" not in Path("report/summary.txt").read_text()


def test_models_whose_names_differ_in_other_letters_keep_states_of_their_own(nets, tmp_path):
    source = (tmp_path / f"{nets}.py").read_text()
    (tmp_path / f"{nets}.py").write_text(source + "\nмодель, сеть = net, other\n")
    result = scored(
        "--model", f"{nets}:модель", "--model", f"{nets}:сеть", "--data", "data", *SMALL
    )
    assert len(result[1]["models"]) == 2


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("out", ["data/b/report", "data/b/deep/er", "data/report"])
def test_a_report_anywhere_below_the_pictures_is_none_of_them(nets, out):
    args = ("--model", f"{nets}:net", "--data", "data", "--out", out, *SMALL)
    (first, document, _), (second, again, _) = scored(*args), scored(*args)
    assert first.to_json() == second.to_json()
    assert document == again
    assert document["data"]["num_classes"] == 3
    assert document["skipped"] == []


@pytest.mark.parametrize("out", ["data", "data/b", "./data/../data/c"])
def test_a_report_among_the_pictures_is_refused_before_the_run(nets, out):
    before = sorted(Path("data").rglob("*"))
    message = fails("--model", f"{nets}:net", "--data", "data", "--out", out, *SMALL)
    assert f"--out {Path(out)} holds pictures of --data" in message
    assert "choose another one" in message
    assert sorted(Path("data").rglob("*")) == before


@pytest.mark.usefixtures("undrawn")
def test_the_report_of_an_earlier_run_is_no_picture_of_a_later_one(nets, tmp_path):
    for i in range(3):
        photograph(tmp_path / "flat" / f"{i}.png", seed=i)
    for out in ("flat/first", "flat/second", "elsewhere"):
        args = ("--data", "flat", "--out", out, *SMALL)
        document = scored("--model", f"{nets}:net", *args)[1]
        photograph(Path(out) / "importance.png", seed=9)  # the figure, which is not drawn here
        assert document["data"]["num_pictures"] == 3
        assert document["skipped"] == []


@pytest.mark.usefixtures("undrawn")
def test_a_report_below_the_pictures_is_none_of_them(nets, tmp_path):
    for i in range(3):
        photograph(tmp_path / "flat" / f"{i}.png", seed=i)
    for folder, count in (("flat", 3), ("data", 12)):
        for _ in range(2):
            args = ("--data", folder, "--out", f"{folder}/report")
            document = scored("--model", f"{nets}:net", *args, *SMALL)[1]
            assert document["data"]["num_pictures"] == count
            assert document["data"]["num_classes"] == (3 if folder == "data" else None)
