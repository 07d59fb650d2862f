"""Wrong options, files and models are one clear line."""

import os
from pathlib import Path

import pytest
from explained import run

from captum_spectral.studies import files


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "{net}:net", "--target", "5"], "net has the classes 0 to 4, and no 5"),
        (["--model", "{net}:net", "--target", "-1"], "--target"),
        (["--model", "{net}:net", "--bands", "0"], "--bands"),
        (["--model", "{net}:net", "--bands", "40", "--samples", "2"], "at most num_bands="),
        (["--model", "{net}:net", "--bands", "17"], "2^17 model rows; add --budget 256 (as many"),
        (["--model", "{net}:net", "--samples", "2", "--budget", "8"], "model rows: give one"),
        (["--model", "{net}:net", "--budget", "3"], "--budget"),
        (["--model", "{net}:net", "--samples", "1"], "--samples"),
        (["--model", "{net}:net", "--seed", str(2**64)], "0<=x<=18446744073709551615"),
        (["--model", "{net}:net", "--norm", "l3"], "--norm"),
        (["--model", "{net}:net", "--device", "quantum"], "'quantum' cannot be used here"),
        (["--model", "{net}:net", "--device", "meta"], "'meta' cannot be used here"),
        (["--model", "{net}:net", "--weights", "no.pt"], "File 'no.pt' does not exist"),
        (["--model", "{net}:net", "--weights", "photo.png"], "photo.png cannot be read as weights"),
        (["--model", "{net}:nothing"], "has no 'nothing'"),
        (["--model", "no_such_nets:net"], "there is no module 'no_such_nets'"),
        (["--model", "resnet18"], "no model 'resnet18'; a name is 'efficientnet-lite0' (or 1, 2)"),
        (["--model", "torchvision:resnet81"], "did you mean"),
        (
            ["--model", "{net}:one_number"],
            "one logit per class, (B, classes), and gives outputs of",
        ),
        (
            ["--model", "{net}:infinite"],
            "infinite gives logits that are NaN or infinite for this image",
        ),
        (["--model", "{net}:wrong_shape"], "with RuntimeError: "),
        (["--model", "{net}:key_error"], "with KeyError: 'logits'"),
        (["--model", "{net}:never"], "never failed with RuntimeError: the model was loaded"),
        ([], "Missing option '--model'"),
    ],
)
def test_wrong_options_are_one_line(place, options, message):
    result = run("explain", "photo.png", *[option.format(net=place) for option in options])
    assert result.exit_code != 0
    assert result.stdout == ""
    *usage, error = result.stderr.splitlines()
    assert error.startswith("Error: ")
    assert message in error
    assert all(line.startswith(("Usage:", "Try ", "")) for line in usage)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "x.txt"], "--out x.txt must end in one of .png, .pdf"),
        (["--out", "x"], "--out x must end in one of"),
        (["--out", "no/x.png"], "nothing can be written in no: it does not exist"),
        (["--json", "photo.png/x.json"], "nothing can be written in photo.png: it is not a folder"),
        (["--out", "."], "'.' is a directory"),
        (["--json", "photo.png"], "must be different files"),
        (["--json", "net.py", "--weights", "./net.py"], "must be different files"),
        (["--out", "x.png", "--json", "./x.png"], "must be different files"),
    ],
)
def test_doubts_about_the_outputs_come_before_the_model(place, options, message):
    Path("net.py").touch()
    result = run("explain", "photo.png", "--model", f"{place}:never", *options)
    assert result.exit_code != 0
    assert message in result.stderr.splitlines()[-1]


def test_an_unwritable_folder_is_reported_before_the_model(place, monkeypatch):
    def refuse(**kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "NamedTemporaryFile", refuse)
    result = run("explain", "photo.png", "--model", f"{place}:never", "--out", "x.png")
    assert result.stderr == "Error: nothing can be written in .: Permission denied\n"


@pytest.mark.parametrize("image", ["nothing.png", ".", "{net}.py"])
def test_what_is_no_photograph(place, image):
    image = image.format(net=place)
    result = run("explain", image, "--model", f"{place}:never")
    assert result.exit_code != 0
    assert image in result.stderr.splitlines()[-1]


def test_a_failed_run_leaves_no_half_file(place, monkeypatch):
    before = sorted(os.listdir())

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    result = run("explain", "photo.png", "--model", f"{place}:net", "--json", "x.json")
    assert result.exit_code == 1
    assert result.stderr == "Error: x.json cannot be written: No space left on device\n"
    assert sorted(set(os.listdir()) - {"__pycache__"}) == before


@pytest.mark.parametrize("word", ["\x1b[2J.png", "--\x1b[2J", "a\rb", "\x07"])
@pytest.mark.parametrize("command", [["explain", "photo.png", "--model", "x:y"], ["score"], []])
def test_words_of_a_wrong_command_line_do_not_act_on_a_terminal(place, command, word):
    result = run(*command, word)
    if not command and result.exit_code == 0:
        pytest.skip("this click shows the help instead of the word")
    assert result.exit_code == 2
    assert not {"\x1b", "\r", "\x07"} & set(result.stderr)
    assert repr(word)[1:-1] in result.stderr
