"""Interrupted and resumed runs, and runs of several processes."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
from scores import SMALL, fails, forked, in_two_processes, photograph, score, scored

from captum_spectral import ImportanceResult
from captum_spectral.sources.checkpoints import read_checkpoint
from captum_spectral.studies import processes

pytestmark = pytest.mark.usefixtures("undrawn")

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


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_of_others(nets):
    own = f".checkpoint-{nets}-net.safetensors"
    others = {
        f".checkpoint-{nets}-other.safetensors.abcdefgh",  # another run shares the folder
        f"{own}.abcdefgh.safetensors",
        f"{own}.old",
        f"x{own}.abcdefgh",
        ".notes",
    }
    Path("report").mkdir()
    for name in (*others, f"{own}.a1_bcdef", f"{own}.zzzzzzzz"):
        Path("report", name).write_bytes(b"half")
    scored("--model", f"{nets}:net", "--data", "data", *SMALL)
    ours = {"importance.json", "importance.png", "importance.svg", "report.html", "summary.txt"}
    assert set(os.listdir("report")) - ours == others


@pytest.mark.parametrize(("rank", "count"), [(0, 3), (1, 2)])
def test_processes_that_never_come_are_named_soon_and_then_an_error(nets, monkeypatch, rank, count):
    monkeypatch.setattr(processes, "_MEETING", timedelta(seconds=0.5))
    monkeypatch.setattr(processes, "_PATIENCE", 0.05)
    left = {"RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "localhost"}
    for name, value in left.items():
        monkeypatch.setenv(name, str(value))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MASTER_PORT", str(port))
    printed = fails("--model", f"{nets}:net", "--data", "data", *SMALL)
    first, last = printed.strip().splitlines()
    others = "1 more process" if count == 2 else "2 more processes"
    assert first.startswith(f"waiting for {others} (RANK={rank}, WORLD_SIZE={count}) at localhost:")
    assert f"announces {count} processes, and they did not meet within 0.5 seconds" in last


@pytest.mark.parametrize(
    ("left", "message"),
    [
        (
            {"WORLD_SIZE": "two"},
            "WORLD_SIZE must be a whole number, as .* got 'two'",
        ),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "RANK must be a whole number, .* got '-1'"),
        ({"RANK": "1"}, "RANK=1 is not one of WORLD_SIZE=1 processes"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2 is not one of WORLD_SIZE=2 processes, 0 to 1"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "environment variable MASTER_ADDR expected"),
    ],
)
def test_variables_that_contradict_each_other_are_an_error_at_once(monkeypatch, left, message):
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        processes.Processes(torch.device("cpu"))


@pytest.mark.parametrize("value", ["", "1", " 1 "])
def test_an_empty_variable_is_one_that_is_not_set(monkeypatch, value):
    monkeypatch.setenv("WORLD_SIZE", value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "0")
    alone = processes.Processes(torch.device("cpu"))
    assert (alone.rank, alone.count, alone.here) == (0, 1, 1)


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
    start = in_two_processes if samples == "exact" else partial(forked, 2, "score")
    done = start(*args, "--out", "two")
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
    assert forked(2, "score", *args, "--out", "two").returncode == 0
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
