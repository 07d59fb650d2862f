"""The benchmark scripts run and report; what they measure decides nothing here."""

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
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
