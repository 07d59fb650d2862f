"""captum-spectral explain: what it prints, writes and draws."""

import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from explained import explain, read_json, rows_of, run, runner
from PIL import Image
from safetensors.torch import save_file

import captum_spectral
from captum_spectral import SpectralShapley, band_frequencies, band_mask
from captum_spectral.cli import main
from captum_spectral.sources.models import load_model


def test_explain_prints_what_the_api_gives(place):
    output = explain(place)
    network = load_model(f"{place}:net")
    x = network.prepare(Image.open("photo.png"))
    logits = network.module(x)[0]
    target = int(logits.argmax())
    phi, delta = SpectralShapley(network.module).attribute(
        x, target, return_input_shape=False, return_convergence_delta=True
    )
    rows = rows_of(output)
    assert [row[0] for row in rows] == list(range(8))
    expected = torch.cat([band_frequencies(band_mask((24, 32))), phi.T], 1)
    np.testing.assert_allclose([row[1:] for row in rows], expected.detach(), atol=6e-4)
    assert "photo.png (80 x 60 pixels)" in output
    assert "input of 3 x 24 x 32" in output
    probability = logits.softmax(0)[target]
    assert f"class   {target}, probability {probability:.3g} (the model's pred" in output
    assert re.search(r"v\(full\) - v\(empty\) +[-+]\d", output)
    assert (
        f"efficiency gap {float(delta):+.1e}".split()
        == re.search(r"efficiency gap +\S+", output).group().split()
    )


def test_columns_are_aligned(place):
    lines = explain(place, "--samples", 4).splitlines()
    start = lines.index("Values in logits") + 1
    head, *table = lines[start : start + 9]
    assert head.split()[2:] == ["Shapley", "value", "standard", "error"]
    ends = [head.index("value") + len("value"), len(head)]
    for line in table:
        assert [number.end() for number in re.finditer(r"[-+]?\d+\.\d+", line)][2:] == ends


def test_json_holds_everything(place):
    save_file(load_model(f"{place}:net").module.state_dict(), "w.safetensors")
    output = explain(
        place, "--json", "x.json", "--bands", 3, "--target", 2, "--weights", "w.safetensors"
    )
    document = read_json("x.json")
    assert "written x.json" in output
    assert document["image"] == {"file": "photo.png", "width": 80, "height": 60}
    assert document["model"] == {
        "name": f"{place}:net",
        "weights": "w.safetensors",
        "input_shape": [3, 24, 32],
        "device": "cpu",
    }
    assert document["method"] == {
        "name": "SpectralShapley",
        "num_bands": 3,
        "norm": "linf",
        "spacing": "linear",
        "exact": True,
        "n_samples": None,
        "budget": None,
        "seed": None,
    }
    assert document["interval"] is None
    assert (document["unit"], document["frequency_unit"]) == ("logits", "cycles/pixel")
    assert document["versions"].keys() >= {"captum_spectral", "captum", "torch", "torchvision"}
    assert document["versions"]["captum_spectral"] == captum_spectral.__version__

    network = load_model(f"{place}:net")
    x = network.prepare(Image.open("photo.png"))
    phi = SpectralShapley(network.module).attribute(x, 2, num_bands=3, return_input_shape=False)
    bands = document["bands"]
    assert [band["band"] for band in bands] == [0, 1, 2]
    assert [band["standard_error"] for band in bands] == [None] * 3
    np.testing.assert_allclose([band["value"] for band in bands], phi[0].detach(), rtol=1e-5)
    frequencies = band_frequencies(band_mask((24, 32), 3))
    np.testing.assert_allclose([band["frequencies"] for band in bands], frequencies)
    with torch.no_grad():
        ends = torch.cat([network.module(x), network.module(torch.zeros_like(x))])
    assert document["class"]["id"] == 2
    assert document["class"]["name"] is None
    assert document["class"]["is_prediction"] == (int(ends[0].argmax()) == 2)
    assert document["class"]["probability"] == pytest.approx(float(ends[0].softmax(0)[2]))
    values = document["full_value"], document["empty_value"]
    assert values == pytest.approx(tuple(ends[:, 2].tolist()), abs=1e-5)
    gap = math.fsum(band["value"] for band in bands) - (values[0] - values[1])
    assert document["efficiency_gap"] == pytest.approx(gap, abs=1e-6)


def test_sampling_gives_standard_errors_and_follows_the_seed(place):
    def sampled(seed):
        explain(place, "--samples", 3, "--bands", 6, "--seed", seed, "--json", "s.json")
        return read_json("s.json")

    first, again, other = sampled(5), sampled(5), sampled(6)
    assert first == again
    assert first["bands"] != other["bands"]
    assert first["method"]["exact"] is False
    assert (first["method"]["n_samples"], first["method"]["seed"]) == (3, 5)
    network = load_model(f"{place}:net")
    phi, error = SpectralShapley(network.module).attribute(
        network.prepare(Image.open("photo.png")),
        first["class"]["id"],
        num_bands=6,
        n_samples=3,
        generator=torch.Generator().manual_seed(5),
        return_input_shape=False,
        return_standard_error=True,
    )
    bands = first["bands"]
    np.testing.assert_allclose([band["value"] for band in bands], phi[0].detach(), rtol=1e-5)
    np.testing.assert_allclose(
        [band["standard_error"] for band in bands], error[0].detach(), rtol=1e-4, atol=1e-9
    )


def test_a_dash_is_the_output_which_then_holds_the_document_alone(place):
    explain(place, "--bands", 3, "--json", "x.json")
    result = runner().invoke(
        main, ["explain", "photo.png", "--model", f"{place}:net", "--bands", "3", "--json", "-"]
    )
    assert json.loads(result.stdout) == read_json("x.json")
    assert "efficiency gap" in result.stderr
    assert not Path("-").exists()


def test_without_a_number_as_many_bands_as_fit(place):
    explain(place, "--json", "x.json")
    assert read_json("x.json")["method"]["num_bands"] == 8
    output = explain(place, "--json", "x.json", model="tiny")
    assert read_json("x.json")["method"]["num_bands"] == 5
    assert "input of 3 x 8 x 8" in output


def test_intervals_of_few_orderings_are_students_t(place):
    output = explain(place, "--samples", 3, "--bands", 6, "--json", "s.json", "--out", "s.svg")
    assert "95% intervals reach ±4.30 standard errors (Student's t, 2 degrees of freedom)" in output
    interval = read_json("s.json")["interval"]
    assert interval["degrees_of_freedom"] == 2
    assert interval["standard_errors"] == pytest.approx(4.3027, abs=1e-4)


def test_a_budget_gives_values_and_errors_of_so_many_rows(place):
    output = explain(place, "--budget", 20, "--bands", 6, "--seed", 5, "--json", "b.json")
    assert "95% intervals reach ±1.96 standard errors, which are those of the model" in output
    document = read_json("b.json")
    assert document["method"]["exact"] is False
    assert (document["method"]["budget"], document["method"]["seed"]) == (20, 5)
    network = load_model(f"{place}:net")
    phi, error = SpectralShapley(network.module).attribute(
        network.prepare(Image.open("photo.png")),
        document["class"]["id"],
        num_bands=6,
        budget=20,
        generator=torch.Generator().manual_seed(5),
        return_input_shape=False,
        return_standard_error=True,
    )
    bands = document["bands"]
    np.testing.assert_allclose([band["value"] for band in bands], phi[0].detach(), rtol=1e-4)
    np.testing.assert_allclose(
        [band["standard_error"] for band in bands], error[0].detach(), rtol=1e-3, atol=1e-9
    )


def test_norm_and_spacing_make_the_mask(place):
    explain(place, "--bands", 3, "--norm", "l2", "--spacing", "octave", "--json", "x.json")
    bands = read_json("x.json")["bands"]
    expected = band_frequencies(band_mask((24, 32), 3, "l2", "octave"), norm="l2")
    np.testing.assert_allclose([band["frequencies"] for band in bands], expected)


@pytest.mark.parametrize(
    ("name", "magic", "options"),
    [
        ("x.png", b"\x89PNG", ["--samples", 2]),
        ("X.PDF", b"%PDF", ["--bands", 1]),
        ("x.svg", b"<?xml", ["--bands", 5, "--norm", "l1"]),
    ],
)
def test_figures_in_every_format(place, name, magic, options):
    assert f"written {name}" in explain(place, "--out", name, *options)
    assert Path(name).read_bytes().startswith(magic)
    assert set(os.listdir()) - {"__pycache__"} == {name, "photo.png", f"{place}.py"}


def test_a_name_that_looks_like_mathematics_is_a_title_too(place):
    os.rename("photo.png", "a$b_{$.png")
    result = run("explain", "a$b_{$.png", "--model", f"{place}:net", "--out", "x.png")
    assert result.exit_code == 0, result.output


def test_a_model_without_transform_sees_the_imagenet_preset(place):
    assert "input of 3 x 224 x 224" in explain(place, "--bands", 2, model="plain")


def test_progress_goes_to_the_error_stream_when_asked_for(place):
    args = ["explain", "photo.png", "--model", f"{place}:net", "--bands", "2"]
    assert runner().invoke(main, args).stderr == ""
    result = runner().invoke(main, [*args, "--progress"])
    assert "attribution" in result.stderr
    assert "attribution" not in result.stdout


def test_random_weights_are_said_loudly_and_the_rest_as_ever(place):
    result = run("explain", "photo.png", "--model", f"{place}:untrained", "--bands", "2")
    assert result.exit_code == 0
    assert f"WARNING: {place}:untrained has RANDOM weights: it was never trained" in result.stderr
    assert len(rows_of(result.stdout)) == 2
    assert "RANDOM" not in run("explain", "photo.png", "--model", f"{place}:net").stderr
