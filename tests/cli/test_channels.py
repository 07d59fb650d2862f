"""Models of other than 1 or 3 channels get a figure that says what it shows."""

from pathlib import Path

import pytest
import torch
from explained import explain, read_json, run
from PIL import Image

from captum_spectral.report.figures import _as_picture


@pytest.mark.parametrize(
    ("channels", "remark"),
    [
        (1, ""),
        (2, "(shown: the mean of its 2 channels)"),
        (3, ""),
        (4, "(shown: the first 3 of its 4 channels)"),
        (7, "(shown: the first 3 of its 7 channels)"),
    ],
)
def test_a_figure_of_any_number_of_channels(place, channels, remark):
    with open(f"{place}.py", "a") as module:
        module.write(
            "\ndef other():\n    return lambda x: x.mean((2, 3)).repeat(1, 2), "
            f"lambda image: torch.rand({channels}, 24, 32)\n"
        )
    output = explain(place, "--out", "x.svg", "--json", "x.json", "--bands", 2, model="other")
    assert "written x.svg" in output
    assert read_json("x.json")["model"]["input_shape"] == [channels, 24, 32]
    drawn = Path("x.svg").read_text()
    assert "<svg" in drawn
    picture, said = _as_picture(torch.rand(channels, 4, 5))
    assert said.strip() == remark
    assert len(picture) in (1, 3)


def test_a_picture_of_two_channels_is_their_mean_and_of_four_the_first_three():
    x = torch.rand(4, 5, 6)
    assert torch.equal(_as_picture(x[:2])[0], x[:2].mean(0, keepdim=True))
    assert torch.equal(_as_picture(x)[0], x[:3])


def test_a_figure_that_fails_loses_neither_the_document_nor_the_table(place, monkeypatch):
    def broken(*args):
        raise ValueError("no canvas")

    monkeypatch.setattr("captum_spectral.report.figures.figure_of_explanation", broken)
    arguments = ["--model", f"{place}:net", "--out", "x.png", "--json", "x.json"]
    result = run("explain", "photo.png", *arguments)
    assert result.exit_code == 1
    assert "no canvas" in result.stderr
    assert "efficiency gap" in result.stdout
    assert read_json("x.json")["bands"]


def test_greys_are_pictures_too(place):
    Image.new("L", (30, 20), 90).save("grey.png")
    result = run("explain", "grey.png", "--model", f"{place}:net", "--bands", 2, "--out", "x.png")
    assert result.exit_code == 0, result.stderr
