"""captum-spectral score: whole data sets, bad files, interruptions, several processes."""

import errno
import inspect
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from captum_spectral import ImportanceResult, SpectralImportance
from captum_spectral.cli import main
from captum_spectral.cli.score.loading import Plan
from captum_spectral.sources.checkpoints import read_checkpoint
from captum_spectral.sources.datasets import open_folder
from captum_spectral.sources.models import load_model

NETS = """
import os, signal, time
import torch
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

small = Compose([Resize((16, 20)), ToTensor()])

def net(seed=0, outputs=3):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(16, outputs)).eval(), small

def other():
    return net(1)

def ten():
    return net(0, 10)

class Interrupted(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.net, self.calls, self.kind = net()[0], 0, kind

    def forward(self, x):
        self.calls += 1
        if self.calls == 12 and os.environ.get("INTERRUPT") == "yes":
            if self.kind == "never":
                return self.net(x)
            if self.kind == "error":
                raise RuntimeError("the device is gone")
            os.kill(os.getpid(), self.kind)
            time.sleep(5)
        return self.net(x)

def interrupt():
    return Interrupted(signal.SIGINT), small

def terminate():
    return Interrupted(signal.SIGTERM), small

def fail():
    return Interrupted("error"), small

def fail_second():
    second = os.environ.get("RANK") == "1"
    return Interrupted("error") if second else Interrupted("never"), small

def slow():
    model = net()[0]
    return lambda x: (time.sleep(0.004), model(x))[1], small

def standardise():
    def transform(image):
        x = small(image)
        return (x - x.mean()) / x.std()
    return net()[0], transform

def refuse_black():
    def transform(image):
        x = small(image)
        if x.max() == 0:
            raise ValueError("too dark")
        return x
    return net()[0], transform

def broken():
    def transform(image):
        raise ValueError("the crop is larger than the picture")
    return net()[0], transform

def no_logits():
    return lambda x: x.mean((1, 2, 3)), small

def any_size():
    return net()[0], ToTensor()
"""


def photograph(path, seed=0, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A current folder with 12 photographs of three classes and a module of models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for i in range(12):
        photograph(tmp_path / "data" / "cdb"[i % 3] / f"{i}.png", seed=i)
    name = f"nets_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(NETS)
    return name


def runner():
    """Output and errors apart, which click 8.1 has to be told."""
    apart = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(mix_stderr=False) if apart else CliRunner()


def score(*args):
    result = runner().invoke(main, ["score", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def scored(*args):
    """Scores, and gives the first result, the document and the printed text."""
    result = score(*args)
    assert result.exit_code == 0, result.stderr
    out = args[args.index("--out") + 1] if "--out" in args else "report"
    document = json.loads(Path(out, "importance.json").read_text())
    return (
        ImportanceResult.from_dict(document["models"][0]["result"]),
        document,
        result.output,
    )


def fails(*args):
    result = score(*args)
    assert result.exit_code != 0
    assert "Traceback" not in result.stderr
    return result.stderr


def refuse(*args):
    """What starting a worker does on systems without fork."""
    raise AttributeError("Can't pickle local object 'make.<locals>.transform'")


def in_two_processes(*args):
    torchrun = ["torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    torchrun.append("--rdzv-endpoint=localhost:0")
    return subprocess.run(
        [sys.executable, "-m", *torchrun, "-m", "captum_spectral", "score", *args],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


SMALL = ("--bands", 3, "--batch-size", 4)


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
        "summary.txt",
    ]
    assert Path("report/summary.txt").read_text() in printed


def test_several_models_in_one_table_and_figure(nets):
    _, document, printed = scored(
        "--model", f"{nets}:net", "--model", f"{nets}:other", "--data", "data", *SMALL
    )
    assert [m["model"] for m in document["models"]] == [f"{nets}:net", f"{nets}:other"]
    assert printed.count("signed score") >= 3
    header = next(line for line in printed.splitlines() if line.startswith("band"))
    assert header.index(":net") < header.index(":other")
    with Image.open("report/importance.png") as figure:
        assert figure.width > figure.height > 300
    assert Path("report/importance.svg").read_text().lstrip().startswith("<?xml")


def test_without_data_it_takes_the_photographs_that_come_along(nets):
    result, document, printed = scored("--model", f"{nets}:net", "--bands", 2, "--max-examples", 10)
    assert document["data"]["num_pictures"] == 35
    assert document["settings"]["n_samples"] is None
    assert result.num_rows == 10 * 5
    assert "views of seven photographs" in printed
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


@pytest.mark.parametrize("baseline", ["noise", "donor", "0.5"])
def test_every_baseline(nets, baseline):
    result, document, _ = scored(
        "--model", f"{nets}:net", "--data", "data", "--baseline", baseline, *SMALL
    )
    assert document["settings"]["baseline"] == (0.5 if baseline == "0.5" else baseline)
    assert result.num_examples == 12
    assert abs(result.efficiency_gap) < 1e-6


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


# -------------------------------------------------------------------- bad data


def test_bad_files_are_skipped_counted_and_listed(nets, tmp_path, monkeypatch):
    good, _, _ = scored("--model", f"{nets}:net", "--data", "data", "--out", "clean", *SMALL)
    folder = tmp_path / "data" / "b"
    whole = (folder / "2.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.gif").write_text("not a picture")
    photograph(folder / "bomb.png", size=(300, 300))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)
    photograph(tmp_path / "outside.png")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "loop").symlink_to(tmp_path / "data")
    result, document, printed = scored("--model", f"{nets}:net", "--data", "data", *SMALL)
    reasons = {entry["name"]: entry["reason"] for entry in document["skipped"]}
    assert set(reasons) == {
        f"b/{name}"
        for name in ("truncated.png", "zero.jpg", "text.gif", "bomb.png", "link.png", "loop")
    }
    assert "it is empty" in reasons["b/zero.jpg"]
    assert "decompression bomb" in reasons["b/bomb.png"]
    assert "Pictures that were not used (6):" in printed
    assert result.num_examples == 12
    torch.testing.assert_close(result.attributions, good.attributions)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_names_that_are_no_text(nets, tmp_path):
    folder = os.fsencode(tmp_path / "data" / "b")
    with open(folder + b"/\xff\xfe.png", "wb"):
        pass
    _, document, printed = scored("--model", f"{nets}:net", "--data", "data", *SMALL)
    (entry,) = document["skipped"]
    assert "it is empty" in entry["reason"]
    assert "\\udcff\\udcfe.png" in printed


def test_odd_files_are_converted(nets, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    grey = Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20))
    grey.save(odd / "grey.png")
    grey.convert("CMYK").save(odd / "cmyk.jpg")
    Image.fromarray((257 * np.asarray(grey).astype(np.int32)).astype(np.uint16)).save(
        odd / "sixteen.png"
    )
    grey.save(odd / "moving.gif", save_all=True, append_images=[grey.rotate(90)])
    result, document, _ = scored("--model", f"{nets}:net", "--data", "odd", *SMALL)
    assert result.num_examples == 4
    assert document["skipped"] == []


def test_a_picture_that_the_transform_cannot_take_is_skipped(nets, tmp_path):
    black = np.zeros((24, 20, 3), np.uint8)
    Image.fromarray(black).save(tmp_path / "data" / "b" / "black.png")
    for model, reason in (("standardise", "gives NaN or infinity"), ("refuse_black", "too dark")):
        result, document, _ = scored(
            "--model", f"{nets}:{model}", "--data", "data", "--out", model, *SMALL
        )
        assert result.num_examples == 12
        (entry,) = document["skipped"]
        assert entry["name"] == "b/black.png"
        assert reason in entry["reason"]


def test_a_transform_that_never_works_is_an_error_at_once(nets):
    message = fails("--model", f"{nets}:broken", "--data", "data", *SMALL)
    assert "the crop is larger than the picture" in message


def test_many_bad_files_at_the_front_do_not_hide_the_good_ones(nets, tmp_path):
    for i in range(30):
        (tmp_path / "data" / "b" / f"0{i}.png").write_bytes(b"")
    result, document, _ = scored("--model", f"{nets}:net", "--data", "data", *SMALL)
    assert result.num_examples == 12
    assert len(document["skipped"]) == 30


def test_a_run_without_any_readable_picture_is_an_error(nets, tmp_path):
    (tmp_path / "bad").mkdir()
    for i in range(3):
        (tmp_path / "bad" / f"{i}.png").write_bytes(b"")
    message = fails("--model", f"{nets}:net", "--data", "bad", *SMALL)
    assert "none of the 3 pictures of" in message
    assert "it is empty" in message
    assert not Path("report/importance.json").exists()


def test_a_picture_whose_donor_cannot_be_read_is_skipped(nets, tmp_path):
    for i in range(4):
        photograph(tmp_path / "few" / f"{i}.png", seed=i)
    plan = Plan(4, None, 2, seed=0)
    (tmp_path / "few" / f"{plan.batches[0][0]}.png").write_bytes(b"")
    result, document, _ = scored(
        "--model",
        f"{nets}:net",
        "--data",
        "few",
        "--baseline",
        "donor",
        "--bands",
        3,
        "--batch-size",
        2,
    )
    assert result.num_examples == 2
    assert [entry["reason"][:24] for entry in document["skipped"]][1:] == [
        "no other picture of its "
    ]


# -------------------------------------------------------------------- interruptions


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("interrupt", 130, "of 12 pictures; the state is saved in"),
        ("terminate", 143, "of 12 pictures; the state is saved in"),
        ("fail", 1, "the computation failed: the device is gone"),
    ],
)
@pytest.mark.parametrize(("samples", "done"), [("exact", 2), ("1", 1)])
def test_an_interrupted_run_goes_on_with_the_same_bits(
    nets, monkeypatch, model, code, message, samples, done
):
    args = ("--model", f"{nets}:{model}", "--data", "data", "--samples", samples, *SMALL)
    args = (*args, "--perturbations-per-eval", 1 if samples == "1" else 2)
    whole, _, _ = scored(*args, "--out", "whole")
    monkeypatch.setenv("INTERRUPT", "yes")
    result = score(*args)
    assert result.exit_code == code
    assert message in result.stderr
    (checkpoint,) = Path("report").iterdir()
    assert read_checkpoint(checkpoint).progress["done"] == done
    monkeypatch.setenv("INTERRUPT", "no")
    refused = fails(*args)
    assert "is the state of an interrupted run; add --resume" in refused
    resumed, _, _ = scored(*args, "--resume")
    assert resumed.to_json() == whole.to_json()
    assert not list(Path("report").glob("checkpoint*"))


def test_kill_9_at_random_moments_loses_nothing(nets):
    """Twenty times; what was computed before each is still there, to the last bit."""
    script = Path(__file__).parent / "kill_at_random.py"
    done = subprocess.run(
        [sys.executable, script, f"{nets}:slow"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["kills"] == 20
    assert record["furthest"] > 0
    assert record["same"]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (("--seed", 1), "seed: 0 there, 1 here"),
        (("--bands", 2), "num_bands: 3 there, 2 here"),
        (("--baseline", "noise"), "baseline: 0.0 there, noise here"),
        (("--max-examples", 11), "max_examples: None there, 11 here"),
        ("a picture more", "data: data"),
        ("other weights", "weights: "),
        ("another activation", "outputs: "),
        ("other transform", "prepared picture: "),
    ],
)
def test_a_run_of_something_else_is_not_continued(nets, tmp_path, monkeypatch, change, difference):
    args = ("--model", f"{nets}:interrupt", "--data", "data", *SMALL)
    args = (*args, "--perturbations-per-eval", 1)
    monkeypatch.setenv("INTERRUPT", "yes")
    assert score(*args).exit_code == 130
    (checkpoint,) = Path("report").iterdir()
    before = checkpoint.read_bytes()
    monkeypatch.setenv("INTERRUPT", "no")
    if isinstance(change, tuple):
        args = (*args, *change)
    elif change == "a picture more":
        photograph(tmp_path / "data" / "b" / "new.png")
    else:
        module = tmp_path / f"{nets}.py"
        old, new = {
            "other weights": ("manual_seed(seed)", "manual_seed(seed + 1)"),
            "another activation": ("nn.ReLU()", "nn.Tanh()"),
            "other transform": ("Resize((16, 20))", "Resize((17, 20))"),
        }[change]
        module.write_text(module.read_text().replace(old, new))
        sys.modules.pop(nets)
    message = fails(*args, "--resume")
    assert "is of another run and cannot be continued" in message
    assert difference in message
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "something else"])
def test_a_damaged_state_is_named_and_left_alone(nets, monkeypatch, damage):
    args = ("--model", f"{nets}:interrupt", "--data", "data", *SMALL)
    args = (*args, "--perturbations-per-eval", 1)
    monkeypatch.setenv("INTERRUPT", "yes")
    assert score(*args).exit_code == 130
    (checkpoint,) = Path("report").iterdir()
    whole = checkpoint.read_bytes()
    content = {
        "cut": whole[:-9],
        "flipped": whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:],
        "empty": b"",
        "something else": b"{}" * 40,
    }[damage]
    checkpoint.write_bytes(content)
    message = fails(*args, "--resume")
    assert "is damaged or no checkpoint" in message
    assert "move it away to start from the beginning" in message
    assert checkpoint.read_bytes() == content


def test_a_full_disk_leaves_the_old_state(nets, monkeypatch):
    args = ("--model", f"{nets}:net", "--data", "data", *SMALL, "--save-every", 0)
    replaced = []

    def replace(source, target):
        if len(replaced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        replaced.append(target)
        return real(source, target)

    real = os.replace
    monkeypatch.setattr(os, "replace", replace)
    message = fails(*args)
    assert "cannot be written: No space left on device" in message
    (checkpoint,) = Path("report").iterdir()
    assert read_checkpoint(checkpoint).progress["done"] == 2
    monkeypatch.setattr(os, "replace", real)
    assert scored(*args, "--resume")[0].num_examples == 12


def test_a_folder_that_cannot_be_written(nets):
    Path("report").write_text("a file")
    assert "'report' is a file" in fails("--model", f"{nets}:net", "--data", "data", *SMALL)


def test_what_a_killed_process_left_half_written_is_removed(nets):
    Path("report").mkdir()
    Path("report/.checkpoint-x.safetensors.abc").write_bytes(b"half")
    scored("--model", f"{nets}:net", "--data", "data", *SMALL)
    assert not list(Path("report").glob(".*"))


def test_an_interruption_before_anything_is_done(nets, monkeypatch):
    monkeypatch.setenv("INTERRUPT", "yes")
    args = ("--model", f"{nets}:interrupt", "--data", "data", "--bands", 3, "--batch-size", 12)
    result = score(*args, "--samples", "exact", "--perturbations-per-eval", 1, "--bands", 4)
    assert result.exit_code == 130
    assert result.stderr == "stopped after 0 of 12 pictures\n"
    assert list(Path("report").iterdir()) == []


def test_requests_to_end_do_not_disturb_the_saving(nets, monkeypatch):
    args = ("--model", f"{nets}:interrupt", "--data", "data", *SMALL)
    args = (*args, "--perturbations-per-eval", 1)
    monkeypatch.setenv("INTERRUPT", "yes")
    real = os.replace

    def replace(source, target):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    assert score(*args).exit_code == 130
    (checkpoint,) = Path("report").iterdir()
    assert read_checkpoint(checkpoint).progress["done"] == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_resume_without_a_state_begins_at_the_beginning(nets):
    result, _, _ = scored("--model", f"{nets}:net", "--data", "data", "--resume", *SMALL)
    assert result.num_examples == 12


# -------------------------------------------------------------------- several processes


@pytest.mark.parametrize("samples", ["exact", "1"])
def test_two_processes_give_the_numbers_of_one(nets, tmp_path, samples):
    (tmp_path / "data" / "b" / "bad.png").write_bytes(b"")
    args = ["--model", f"{nets}:net", "--data", "data", "--samples", samples, "--batch-size", "5"]
    args += ["--bands", "3"]
    one, document, _ = scored(*args, "--out", "one")
    done = in_two_processes(*args, "--out", "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Spectral importance on") == 1  # the first process reports
    both = json.loads(Path("two/importance.json").read_text())
    two = ImportanceResult.from_dict(both["models"][0]["result"])
    assert (one.num_examples, two.num_examples) == (12, 12)  # none twice, none lost
    torch.testing.assert_close(two.attributions, one.attributions, atol=1e-6, rtol=0)
    torch.testing.assert_close(two.covariance, one.covariance, atol=1e-6, rtol=0)
    assert both["skipped"] == document["skipped"] != []
    assert (document["processes"], both["processes"]) == (1, 2)


def test_two_processes_stop_where_one_would(nets, tmp_path):
    for i in range(80):
        photograph(tmp_path / "many" / f"{i}.png", seed=i)
    args = ["--model", f"{nets}:net", "--data", "many", "--bands", "3", "--batch-size", "2"]
    args += ["--tolerance", "5"]
    one, _, _ = scored(*args, "--out", "one")
    assert one.num_examples % 4 == 2  # in the middle of a round of two batches
    assert in_two_processes(*args, "--out", "two").returncode == 0
    both = json.loads(Path("two/importance.json").read_text())
    two = ImportanceResult.from_dict(both["models"][0]["result"])
    assert two.num_examples == one.num_examples
    torch.testing.assert_close(two.attributions, one.attributions, atol=1e-6, rtol=0)


def test_when_one_of_two_processes_fails_the_work_is_saved(nets, monkeypatch):
    args = ["--model", f"{nets}:fail_second", "--data", "data", "--bands", "3"]
    args += ["--batch-size", "2", "--perturbations-per-eval", "1", "--samples", "exact"]
    whole, _, _ = scored(*args, "--out", "whole")
    monkeypatch.setenv("INTERRUPT", "yes")
    done = in_two_processes(*args)
    assert done.returncode != 0
    assert "the device is gone" in done.stderr
    (checkpoint,) = Path("report").iterdir()
    assert read_checkpoint(checkpoint).progress["done"] == 2  # the first round
    monkeypatch.setenv("INTERRUPT", "no")
    resumed, _, _ = scored(*args, "--resume")  # one process goes on where two were
    torch.testing.assert_close(resumed.attributions, whole.attributions, atol=1e-6, rtol=0)
    assert resumed.num_examples == 12


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
