"""Pictures for which a model gives NaN or infinity: named, skipped, counted, or the end."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scores import SMALL, fails, forked, photograph, score, scored

from captum_spectral import ImportanceResult, SpectralImportance
from captum_spectral.sources.checkpoints import read_checkpoint
from captum_spectral.sources.folders import open_folder
from captum_spectral.studies.loading import Plan

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def data(nets, tmp_path):
    """A folder of 12 photographs and three of white paper, and the name of the module."""
    for i, folder in enumerate("bcd"):
        white = np.full((20, 24, 3), 255, np.uint8)
        Image.fromarray(white).save(tmp_path / "data" / folder / f"scan_{i}.png")
    return nets


SCANS = ["b/scan_0.png", "c/scan_1.png", "d/scan_2.png"]


def test_a_picture_that_breaks_the_model_is_skipped_and_named(data):
    args = ("--data", "data", "--samples", "exact", *SMALL)
    result, document, printed = scored("--model", f"{data}:overflow", *args)
    assert sorted(entry["name"] for entry in document["skipped"]) == SCANS
    reasons = {entry["reason"] for entry in document["skipped"]}
    assert reasons == {f"{data}:overflow gives NaN or infinity for it"}
    assert "Pictures that were not used (3):" in printed
    assert f"scan_1.png: {data}:overflow gives NaN or infinity for it" in printed
    assert result.num_examples == 12
    for path in Path("data").rglob("scan*"):
        path.unlink()
    without, _, _ = scored("--model", f"{data}:overflow", *args)
    torch.testing.assert_close(result.attributions, without.attributions)
    torch.testing.assert_close(result.covariance, without.covariance)
    assert result.num_rows == without.num_rows
    assert result.accuracy == pytest.approx(without.accuracy)


@pytest.mark.parametrize("samples", ["1", "exact"])
def test_a_flat_folder_too_where_the_label_is_the_prediction(data, samples):
    for path in Path("data").rglob("*.png"):
        path.rename(Path("data") / path.name)
    for folder in "bcd":
        (Path("data") / folder).rmdir()
    args = ("--data", "data", "--samples", samples, *SMALL)
    result, document, _ = scored("--model", f"{data}:overflow", *args)
    assert sorted(e["name"] for e in document["skipped"]) == [s[2:] for s in SCANS]
    assert result.num_examples == 12


def test_two_processes_and_a_resumed_run_skip_the_same(data):
    pictures = open_folder("data")
    seed = next(  # with which the first batch has no white paper
        seed
        for seed in range(99)
        if not any("scan" in pictures.name_of(i) for i in Plan(15, None, 4, seed).batches[0])
    )
    args = ["--model", f"{data}:overflow", "--data", "data", "--bands", "3", "--batch-size", "4"]
    args += ["--seed", str(seed)]
    _, document, _ = scored(*args, "--out", "one")
    assert forked(2, "score", *args, "--out", "two").returncode == 0
    first, rest = score(*args, "--out", "parts", "--strict"), (*args, "--out", "parts", "--resume")
    assert first.exit_code == 1
    (checkpoint,) = Path("parts").iterdir()
    assert 0 < read_checkpoint(checkpoint).progress["done"] < 4
    scored(*rest)
    for out in ("two", "parts"):
        other = json.loads(Path(out, "importance.json").read_text())
        assert other["skipped"] == document["skipped"]
        one, both = (
            ImportanceResult.from_dict(d["models"][0]["result"]) for d in (document, other)
        )
        torch.testing.assert_close(both.attributions, one.attributions, atol=1e-6, rtol=0)


def test_the_run_ends_at_the_first_one_where_that_is_asked_for(data):
    message = fails("--model", f"{data}:overflow", "--data", "data", "--strict", *SMALL)
    assert any(
        message == f"Error: {scan} cannot be used: {data}:overflow gives NaN or infinity for it\n"
        for scan in SCANS
    )


@pytest.mark.parametrize("kind", ["unreadable", "refused by its name"])
def test_so_it_does_for_files_that_cannot_be_read(nets, kind):
    name = "bad.png" if kind == "unreadable" else "bad.heic"
    Path("data", "b", name).write_bytes(b"\0\0\0\x18ftypheic")
    message = fails("--model", f"{nets}:net", "--data", "data", "--strict", *SMALL)
    assert message.startswith(f"Error: b/{name} cannot be used: ")


def test_the_others_of_the_batch_keep_their_bits_and_no_row_is_run_twice():
    torch.manual_seed(0)
    images, labels = torch.rand(5, 3, 8, 8), torch.arange(5) % 2
    rows = []

    def net(x, instead):
        rows.append(len(x))
        odd = x.mean((1, 2, 3)) > 0.97
        return torch.where(odd[:, None], instead, (3 * x[:, :2]).mean((2, 3)))

    images[2] = 1.0
    found = []
    for instead in (torch.nan, torch.inf, 0.0):
        rows.clear()
        metric = SpectralImportance(lambda x, y=instead: net(x, y), num_bands=3, n_samples=1)
        records = metric.measure(images, labels, keep_not_finite=True)
        found.append((sum(rows), records))
    assert found[0][0] == found[1][0] == found[2][0]
    for _, records in found[:2]:
        assert records.usable.tolist() == [True, True, False, True, True]
        assert torch.equal(records.of(records.usable).values, found[2][1].values[records.usable])
        with pytest.raises(ValueError, match=r"records of the images \[2\] are not finite"):
            metric.add(records)
    metric.add(records.of(records.usable))
    assert metric.compute().num_examples == 4


@pytest.mark.parametrize("batch", [2, 5])
def test_an_image_of_a_loader_is_counted_from_its_beginning(batch):
    images = torch.rand(6, 3, 8, 8) / 2
    images[4] = 1.0

    def net(x):
        return torch.where(x.mean((1, 2, 3))[:, None] > 0.97, torch.nan, x.mean((2, 3)))

    loader = [(x, torch.zeros(len(x), dtype=torch.long)) for x in images.split(batch)]
    with pytest.raises(ValueError, match="over the whole dataloader it is image 4") as caught:
        SpectralImportance(net, num_bands=2).evaluate(loader, show_progress=False)
    assert caught.value.example == 4


def test_a_model_that_takes_no_baseline_ends_soon(nets, tmp_path):
    for i in range(60):
        photograph(tmp_path / "many" / f"{i}.png", seed=i)
    args = ("--data", "many", "--bands", 3, "--batch-size", 4, "--save-every", 0)
    message = fails("--model", f"{nets}:never_at_zero", *args)
    assert "each of the first 20 pictures was of no use, and so would be the others" in message
    assert "gives NaN or infinity for it when bands of it are absent; does the model" in message
    white = Image.new("RGB", (24, 20), "white")
    for path in Path("many").iterdir():
        white.save(path)
    message = fails("--model", f"{nets}:overflow", *args)
    assert "gives NaN or infinity for it, as for each of the first 20 pictures" in message


def test_a_set_of_nothing_else_is_an_error_that_says_why(nets, tmp_path):
    (tmp_path / "white").mkdir()
    for i in range(3):
        Image.new("RGB", (24, 20), "white").save(tmp_path / "white" / f"{i}.png")
    message = fails("--model", f"{nets}:overflow", "--data", "white", *SMALL)
    assert "none of the 3 pictures of white that were tried can be used: " in message
    assert "gives NaN or infinity for it" in message


def test_classes_that_are_ruled_out_are_no_breakage(nets, tmp_path):
    (tmp_path / "flat").mkdir()
    for path in (tmp_path / "data").rglob("*.png"):
        os.rename(path, tmp_path / "flat" / path.name)
    results = [
        scored("--model", f"{nets}:{model}", "--data", "flat", *SMALL)[0]
        for model in ("net", "masked")
    ]
    torch.testing.assert_close(results[0].attributions, results[1].attributions)
    assert results[1].num_examples == 12


def test_a_random_model_is_refused(nets):
    message = fails("--model", f"{nets}:noisy", "--data", "data", *SMALL)
    assert "noisy gives other outputs for the same input (" in message
