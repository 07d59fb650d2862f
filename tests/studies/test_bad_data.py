"""Damaged, odd and unreadable pictures in a whole data set."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scores import SMALL, fails, photograph, scored

from captum_spectral.studies.loading import Plan


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
    assert "can be used" in message
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
