"""Files of adapters that are not what they say."""

import json

import pytest
import torch
from rounded import small_cnn
from safetensors import safe_open
from safetensors.torch import save_file

from captum_spectral.weights import ResidualAdapters, quantize_weights

MODEL = small_cnn()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The metadata and the tensors of a file."""
    path = tmp_path_factory.mktemp("saved") / "adapters.safetensors"
    adapters = ResidualAdapters(MODEL, quantize_weights(MODEL, 3), "plain")
    adapters.ranks = {"0": 2, "3": 1}
    adapters.save(path)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["captum_spectral"])
        return about, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def loaded(about, tensors, path):
    save_file(tensors, path, {"captum_spectral": json.dumps(about)})
    return ResidualAdapters.load(path, MODEL)


def test_without_damage_it_is_loaded(saved, tmp_path):
    assert loaded(*saved, tmp_path / "a").ranks == saved[0]["ranks"]


@pytest.mark.parametrize("key", ["bits", "errors", "clip", "metric", "adapter_bits", "ranks"])
def test_what_is_missing_about_it_is_told(saved, key, tmp_path):
    about = {name: value for name, value in saved[0].items() if name != key}
    with pytest.raises(ValueError, match=r"is damaged: its .* are missing"):
        loaded(about, saved[1], tmp_path / "a")


@pytest.mark.parametrize("about", [[1], "text", {}, None])
def test_other_metadata_are_those_of_another_file(about, saved, tmp_path):
    with pytest.raises(ValueError, match=r"must be a file of ResidualAdapters.save"):
        loaded(about, saved[1], tmp_path / "a")


@pytest.mark.parametrize("key", ["codes", "scale", "zero_point", "up", "values", "down"])
@pytest.mark.parametrize("damage", [None, lambda x: x[1:], lambda x: x.double() / 0])
def test_a_tensor_that_is_missing_or_of_another_shape_is_named(key, damage, saved, tmp_path):
    tensors = dict(saved[1])
    old = tensors.pop(f"0/{key}")
    if damage is not None:
        tensors[f"0/{key}"] = damage(old).contiguous()
    with pytest.raises(ValueError, match=f"is damaged: 0/{key} is missing, of another shape"):
        loaded(saved[0], tensors, tmp_path / "a")


@pytest.mark.parametrize(
    ("key", "name", "value", "message"),
    [
        ("bits", "0", 9, "it has 9 bits for '0'"),
        ("bits", "0", 2, "0/codes is missing"),
        ("ranks", "0", -1, "it has the rank -1 for '0'"),
        ("ranks", "0", 3, "0/up is missing"),
        ("ranks", "zz", 1, "it has ranks of layers that it has no weights of"),
    ],
)
def test_numbers_that_do_not_fit_are_told(key, name, value, message, saved, tmp_path):
    about = {**saved[0], key: {**saved[0][key], name: value}}
    with pytest.raises(ValueError, match=f"is damaged: {message}"):
        loaded(about, saved[1], tmp_path / "a")


def test_layers_of_another_model_are_told(saved, tmp_path):
    about = {**saved[0], **{key: {"zz": 3} for key in ("bits", "errors")}}
    with pytest.raises(ValueError, match="it names other layers than the model has"):
        loaded(about, saved[1], tmp_path / "a")


def test_a_grid_beyond_its_bits_is_told(saved, tmp_path):
    tensors = {**saved[1], "0/zero_point": torch.full_like(saved[1]["0/zero_point"], 8)}
    with pytest.raises(ValueError, match="the grid of '0' is none of 3 bits"):
        loaded(saved[0], tensors, tmp_path / "a")


def test_models_of_a_wrong_kind_are_refused(saved, tmp_path):
    loaded(*saved, tmp_path / "a")
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got int"):
        ResidualAdapters.load(tmp_path / "a", 3)
    with pytest.raises(TypeError, match="quantised must be what quantize_weights returns, or None"):
        ResidualAdapters.load(tmp_path / "a", MODEL, MODEL)
    other = quantize_weights(MODEL, 3, skip=["0"])
    with pytest.raises(ValueError, match="has other rounded layers than quantised"):
        ResidualAdapters.load(tmp_path / "a", MODEL, other)
