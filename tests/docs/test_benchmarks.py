"""The benchmark scripts run and report; what they measure decides nothing here."""

import gzip
import json
import struct
import sys
import warnings
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.datasets import FashionMNIST

from captum_spectral.coalitions import all_coalitions
from captum_spectral.sources.models import load_model

FOLDER = Path(__file__).parents[2] / "benchmarks"
SMALL = ["--networks", "MobileNetV3-small", "--bands", "2", "--rounds", "1"]


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(FOLDER)

    def main(name, *options):
        monkeypatch.setattr(sys, "argv", [name, *options, "--json", str(tmp_path / "out.json")])
        __import__(name).main()
        record = tmp_path / "out.json"
        return capsys.readouterr().out, json.loads(record.read_text()) if record.exists() else None

    return main


@pytest.fixture
def stand_in(run, monkeypatch):
    """A network of two layers in the place of EfficientNet-Lite0, whose pictures it gets."""
    torch.manual_seed(0)
    layers = nn.AvgPool2d(8), nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
    network = nn.Sequential(*layers, nn.Linear(128, 10)).eval()
    loaded = replace(load_model("efficientnet-lite0"), module=network)
    for module in ("attribution_tables", "common", "data", "methods", "research_recipe"):
        monkeypatch.setattr(f"{module}.load_model", lambda name: loaded)
    return run


def test_overhead(run):
    printed, record = run("overhead", *SMALL, "--images", "1")
    assert "| network | images | rows |" in printed
    (row,) = record["rows"]
    assert row["rows"] == 4
    assert row["ratio"] > 0
    assert {"date", "CPU", "GPU", "torch", "captum"} <= set(record["environment"])


def test_chunk_size(run):
    _, record = run("chunk_size", *SMALL)
    assert record["rows"][0]["best"] in (1, 2, 4, 8, 16, 32, 64)


def test_frequency_response(run):
    printed, record = run(
        "frequency_response", "--layers", "1", "--cases", "1", "--steps", "2", "--size", "8",
        "--rounds", "1",
    )  # fmt: skip
    assert "| layer | kernel | stride |" in printed
    assert record["rows"][0]["holds"]
    assert float(record["speed"][0]["largest difference"]) < 1e-5


def test_memory_of_one_case(run, capsys):
    sys.modules.pop("memory", None)
    printed, _ = run("memory", "--case", "1", "2", "--chunk", "2")
    assert set(json.loads(printed.splitlines()[-1])) == {"bare", "attribute"}


def test_without_a_gpu_nothing_is_claimed(run, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    printed, record = run("gpu")
    assert printed == (
        "Not measured: no CUDA device. Where there is one: python benchmarks/gpu.py\n"
    )
    assert record is None


@pytest.fixture
def fashion(tmp_path):
    """A folder as that of Fashion-MNIST, with 40 random images in each half."""
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for half in ("train", "t10k"):
        for name, sizes, limit in (("images-idx3", (40, 28, 28), 256), ("labels-idx1", (40,), 10)):
            content = torch.randint(limit, sizes, generator=generator, dtype=torch.uint8)
            head = struct.pack(f">{len(sizes) + 1}i", 0x0800 + len(sizes), *sizes)
            (folder / f"{half}-{name}-ubyte").write_bytes(head + content.numpy().tobytes())
    return ["--root", str(tmp_path), "--epochs", "1", "--bands", "2"]


def test_fashion_mnist_is_the_same_compressed_or_not(fashion, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from data import FASHION_MEAN, FASHION_STD, fashion_mnist

    root = Path(fashion[1])
    images, labels, _ = fashion_mnist(root)
    whole = FashionMNIST(root, train=False)
    assert torch.equal(images, (whole.data[:, None] / 255 - FASHION_MEAN) / FASHION_STD)
    assert torch.equal(labels, whole.targets)
    for file in (root / "FashionMNIST" / "raw").iterdir():  # as Debian has them
        (root / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert torch.equal(fashion_mnist(root).images, images)


def test_views_are_distinct_and_the_same_every_time(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from data import crops

    made = crops(20)
    assert len({image.tobytes() for image in made}) == 20
    assert [image.tobytes() for image in made] == [image.tobytes() for image in crops(20)]


def test_rows_to_error(run, fashion, tmp_path):
    cache = ["--cache", str(tmp_path / "values.safetensors")]
    options = [*fashion, "--views", "9", "--images", "12", "--samples", "1", "2", *cache]
    printed, record = run("rows_to_error", *options)
    assert "The CNN classifies" in printed
    assert [(row["N"], row["n_samples"]) for row in record["rows"]] == [
        *((9, 1), (9, 2), (7, 1), (7, 2)),  # views, and one of each photograph
        *((12, 1), (12, 2)),
    ]
    # Two orderings of two bands are all there are: nothing is missed, and rows decide.
    assert [row["rows per image"] for row in record["rows"][:2]] == [4, 6]
    assert [row["band 0"] for row in record["rows"][:2]] == [1.0, 0.7]
    _, again = run("rows_to_error", *options)
    for row in (*record["rows"], *again["rows"]):
        # Values of the metric depend on the chunk, which is measured, in the last bits.
        row.pop("off the table by")
    assert again["rows"] == record["rows"]


def test_calibration(run, fashion):
    printed, record = run("calibration", *fashion, "--repetitions", "5", "--images", "10")
    assert len(record["rows"]) == 2
    assert all(ratio > 0 for ratio in record["reported / true"])
    assert "standard errors off the exact mean" in printed


def test_research_recipe(stand_in):
    options = ["--bands", "2", "--images", "3", "--seeds", "2"]
    _, record = stand_in("research_recipe", *options)
    shuffled, recipe, exact, sampled = record["rows"]
    assert [row["files read"] for row in record["rows"]] == [12, 12, 3, 3]
    assert [row["model rows"] for row in record["rows"]] == [12, 12, 12, 12]
    assert recipe["recipe / this"] == 1
    assert exact["mean squared standard error"] == recipe["mean squared standard error"]
    assert sampled["rows to the recipe's error"] == 12
    assert shuffled["seconds"] == recipe["seconds"]


def test_trained_pair(run, fashion, tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    for file in raw.glob("train-*"):  # random labels: only images known by heart are right
        (raw / file.name.replace("train", "t10k")).write_bytes(file.read_bytes())
    figure = tmp_path / "maps.png"
    options = ["--epochs", "30", "--radius", "0.1", "--steps", "1", "--seeds", "1"]
    options += ["--images", "8", "--figure", str(figure)]
    printed, record = run("trained_pair", *fashion[:2], *options)
    assert "Left out, without a boundary in one of the networks:" in printed
    assert [network["network"] for network in record["networks"]] == ["ordinary", "robust"]
    assert len(record["rows"]) == len(record["comparisons"]) == 8
    gap = record["comparisons"]["relative gap"]["mean of the pairs"]
    assert record["comparisons"]["relative gap"]["each pair"] == [gap]
    low, high = gap["difference"]["95 %"]
    assert low <= gap["difference"]["value"] <= high
    assert gap["difference"]["value"] == pytest.approx(gap["ordinary"] - gap["robust"])
    assert figure.stat().st_size > 0


SOME = ["Saliency", "BoundarySaliency"]


def test_attributions(stand_in, tmp_path):
    maps = tmp_path / "maps.safetensors"
    options = ["--images", "2", "--steps", "2", "--maps", str(maps)]
    _, record = stand_in("attributions", *options, "--methods", *SOME, "--figures", str(tmp_path))
    assert [row["method"] for row in record["rows"]] == SOME
    assert record["rows"][0]["rows forward"] == record["rows"][0]["rows backward"] == 1
    ranked = [row["ranked by"] for row in record["Insertion and deletion, 16 x 16 pixels"]]
    assert ranked == ["Random", *(f"{name}{way}" for name in SOME for way in ("", ", absolute"))]
    assert (tmp_path / "pixel_maps.jpg").stat().st_size > 0
    assert (tmp_path / "curves_photographs.png").stat().st_size > 0
    _, again = stand_in("attributions", *options)  # from the maps that were kept
    assert again["rows"] == record["rows"]


def test_attributions_of_another_data_set(run, fashion):
    options = [*fashion[:4], "--data", "fashion", "--images", "3", "--steps", "2"]
    _, record = run("attributions", *options, "--methods", *SOME, "SmoothGrad")
    assert len(record["Insertion and deletion, 4 x 4 pixels"]) == 7
    assert record["Boxes"] == []
    cosine = record["Boundaries"][1]
    assert -1 <= float(cosine["smallest"]) <= float(cosine["mean"]) <= float(cosine["largest"]) <= 1


def test_band_orders(stand_in):
    _, record = stand_in("band_orders", "--images", "2", "--bands", "3")
    rows = {row["ranked by"]: row for row in record["rows"]}
    assert rows["SpectralShapley, exact"]["rows forward"] == 8
    for name in rows:
        insertion, deletion = (
            float(rows[name][f"{kind} area"].split()[0]) for kind in ("insertion", "deletion")
        )
        best, worst = (float(rows[n]["insertion area"].split()[0]) for n in ("best", "worst"))
        assert worst <= insertion <= best
        least, most = (float(rows[n]["deletion area"].split()[0]) for n in ("best", "worst"))
        assert least <= deletion <= most


def test_the_best_order_of_bands_is_that_of_a_search_through_all(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from band_orders import extremes

    members = all_coalitions(4)
    values = torch.rand(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    of = {tuple(m.tolist()): float(v) for m, v in zip(members, values, strict=True)}
    areas = []
    for order in permutations(range(4)):
        steps = [of[tuple(i in order[:k] for i in range(4))] for k in range(5)]
        areas.append(sum((a + b) / 2 for a, b in pairwise(steps)) / 4)
    assert extremes(values, members) == pytest.approx((min(areas), max(areas)))


def test_captum_metrics(stand_in):
    options = ["--images", "2", "--moves", "1", "--draws", "4", "--methods", *SOME]
    _, record = stand_in("captum_metrics", *options)
    assert [row["method"] for row in record["rows"]] == SOME


def test_the_peer_is_complete_along_its_path(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from agi import adversarial_gradient_integration

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).double()
    x = torch.rand(1, 3, 2, 2, dtype=torch.float64)
    target = int(model(x).argmax())
    attributions = adversarial_gradient_integration(
        model, x, target, step=1e-4, limits=(-9.0, 9.0), num_classes=1, max_steps=20000
    )
    lost = (
        float(model(x).detach().softmax(1)[0, target]) - 0.5
    )  # the path ends where the other class wins
    assert float(attributions.sum()) == pytest.approx(lost, abs=1e-3)


def test_nearest_boundary(run):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("foolbox", exc_type=ImportError)
    _, record = run("nearest_boundary", "--rounds", "1")
    assert [row["range"] for row in record["rows"]] == ["none"] * 3 + ["0 to 1"] * 3
    assert all(row["mean distance"] > 0 for row in record["rows"])


def test_fourier_heat_map(run, tmp_path, monkeypatch):
    figure = tmp_path / "heat.png"
    options = ["--images", "2", "--size", "8", "--rounds", "1", "--figure", str(figure)]
    small = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
    monkeypatch.setattr("fourier_heat_map.cnn", lambda: small)
    _, record = run("fourier_heat_map", *options)
    (row,) = record["rows"]
    assert (row["rows"], row["rows per image"], row["rows per image, bands"]) == (68, 34, 6)
    assert row["ratio, s"] > 0
    assert row["ratio in such batches, CPU s"] > 0
    assert figure.stat().st_size > 0


def test_snr(run, tmp_path):
    figure = tmp_path / "snr.png"
    printed, record = run("snr", "--size", "32", "--figure", str(figure))
    rows = {row["perturbation"]: row for row in record["rows"]}
    assert rows["contrast 0.4"]["dB per band (standard error)"].startswith("4.4 (0.0); 4.4 (0.0)")
    assert rows["white noise 0.2"]["exponent"] > 1
    assert figure.stat().st_size > 0
    assert "photographs, 32 pixels" in printed


def test_associations(run):
    pytest.importorskip("scipy")
    options = ["--sizes", "8", "20", "--sets", "8", "--resamples", "30", "--draws", "2000"]
    printed, record = run("associations", *options)
    below = "no relation: 95 % of the absolute values below"
    few, many = (float(row[below]) for row in record["rows"])
    assert few == pytest.approx(0.71, abs=0.05)  # the tables of Spearman's coefficient
    assert many == pytest.approx(0.43, abs=0.05)
    assert len(record["independent"]) == 4
    assert len(record["harder"]) == 8
    assert "| data | resampled | true | covers | mean width |" in printed


def test_singular_value_accuracy(run):
    options = ["--tables", "radii", "precision", "--cases", "120", "--rounds", "1"]
    printed, record = run("singular_value_accuracy", *options)
    assert "### Singular values: precision" in printed
    assert [row["outside"] for row in record["tables"]["radii"]] == [0] * 12
    assert sum(row["cases"] for row in record["tables"]["radii"]) == 120
    assert sum(row["values"] for row in record["tables"]["precision"]) == 240


def test_singular_values(run):
    options = ["--shapes", "4x3", "2x3x3", "--peers", "nested reverse", "--rounds", "1"]
    _, record = run("singular_values", *options)
    assert [(row["matrix"], row["order"]) for row in record["rows"]] == [
        *(("4x3", 2), ("4x3", 3), ("2x3x3", 2), ("2x3x3", 3)),
    ]
    differences = [row["largest difference"] for row in record["rows"] + record["products"]]
    assert max(map(float, differences)) < 1e-10


def test_weight_changes(run, fashion):
    options = ["--epochs", "1", "--images", "6", "--alone", "2", "--bits", "4", "2"]
    _, record = run("weight_changes", *fashion[:2], *options)
    assert len(record["rows"]) == 8
    for compared in record["comparisons"]:
        methods = compared["methods"]
        assert methods["Shapley values"] == pytest.approx({"layers": 1, "images": 1, "sum": 1})
        assert methods["IntegratedGradients"]["sum"] == pytest.approx(1, abs=0.1)
        assert sum(compared["values"].values()) == pytest.approx(compared["change"])
