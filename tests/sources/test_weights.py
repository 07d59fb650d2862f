"""Weights in every form of file; payloads and foreign ones are refused."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn
from torchvision import models

from captum_spectral.sources.weights import load_weights, read_state_dict


def test_state_dicts_round_trip_in_every_form(tmp_path):
    layer = nn.Linear(3, 2)
    state = layer.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "a.ckpt")
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "parallel.pt")
    for file in tmp_path.iterdir():
        other = nn.Linear(3, 2)
        load_weights(other, read_state_dict(file), str(file))
        assert torch.equal(other.weight, layer.weight), file
        assert torch.equal(other.bias, layer.bias), file


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("writer", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_a_pickle_with_a_payload_is_refused_and_not_run(tmp_path, writer):
    path = tmp_path / "weights.pt"
    writer({"weight": Payload(tmp_path / "ran")}, path)
    with pytest.raises(ValueError, match=r"weights.pt cannot be read as weights: .*refused"):
        read_state_dict(path)
    assert not (tmp_path / "ran").exists()


def test_damaged_and_foreign_weights_are_named_with_the_reason(tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for name, content in [
        ("empty.pt", b""),
        ("text.pt", b"hello"),
        ("half.pt", whole[: len(whole) // 2]),
        ("text.safetensors", b"hello, this is no header of tensors"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} cannot be read as weights: \w+"):
            read_state_dict(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list.pt must hold a state dict .*got list"):
        read_state_dict(tmp_path / "list.pt")
    torch.save({"model": {}, "a": 1, "b": 2, "c": 3}, tmp_path / "dict.pt")
    with pytest.raises(ValueError, match="got dict with the keys model, a, b and 1 more"):
        read_state_dict(tmp_path / "dict.pt")
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "nothing.pt")


def test_weights_that_do_not_fit_are_named():
    state = {"weight": torch.zeros(2, 4), "w": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"x.pt does not fit the model Linear") as caught:
        load_weights(nn.Linear(3, 2), state, "x.pt")
    assert str(caught.value).endswith(
        "missing bias; unexpected w; other shape: weight of shape (2, 4) (the model's is (2, 3))"
    )


# ------------------------------------------------------------------ versions of modules


class Versioned(nn.Linear):
    """A layer whose weights meant something else in its first version."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        version = local_metadata.get("version", None)
        if version not in (1, 2):
            raise ValueError(f"version should be set to 1 or 2 instead of {version}")
        if version == 1:
            state_dict[prefix + "weight"] = state_dict[prefix + "weight"] * 2
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def test_versions_of_modules_are_read_with_the_weights(tmp_path):
    model = nn.Sequential(Versioned(2, 2))
    state = model.state_dict()
    state._metadata["0"]["version"] = 1
    wrapped = type(state)((f"module.{key}", x) for key, x in state.items())
    wrapped._metadata = {"module": {}, "module.0": {"version": 1}}
    for name, content in (("a", state), ("b", {"state_dict": state}), ("c", wrapped)):
        torch.save(content, tmp_path / f"{name}.pt")
        other = nn.Sequential(Versioned(2, 2))
        load_weights(other, read_state_dict(tmp_path / f"{name}.pt"), name)
        assert torch.equal(other[0].weight, 2 * model[0].weight), name


def test_weights_without_versions_are_of_the_present_ones(tmp_path):
    model = nn.Sequential(Versioned(2, 2))
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    torch.save(dict(model.state_dict()), tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        other = nn.Sequential(Versioned(2, 2))
        load_weights(other, read_state_dict(tmp_path / name), name)
        assert torch.equal(other[0].weight, model[0].weight)


def test_weights_of_before_there_were_versions_still_fit():
    layer = nn.BatchNorm1d(2)
    state = {key: x + 1 for key, x in layer.state_dict().items() if key != "num_batches_tracked"}
    load_weights(layer, state, "old.pt")  # the count came with version 2
    assert torch.equal(layer.weight, torch.full((2,), 2.0))


@pytest.mark.parametrize("versions", [3, [1], {"": 5}, {3: {}}])
def test_versions_in_a_file_that_are_none_are_left_out(tmp_path, versions):
    layer = nn.Linear(2, 2)
    state = layer.state_dict()
    state._metadata = versions
    torch.save(state, tmp_path / "a.pt")
    read = read_state_dict(tmp_path / "a.pt")
    assert not hasattr(read, "_metadata")
    load_weights(nn.Linear(2, 2), read, "a.pt")


# ------------------------------------------------------------------ tensors under several names


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = self.first


class Tied(nn.Module):
    """An embedding and an output layer with the same weights, as language models have."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.out = nn.Linear(4, 5)
        self.out.weight = self.embed.weight


class View(nn.Module):
    def __init__(self):
        super().__init__()
        self.whole = nn.Parameter(torch.randn(6))
        self.register_buffer("piece", self.whole.data[:3])


@pytest.mark.parametrize("kind", [Twice, Tied, View])
def test_shared_tensors_may_be_there_once(tmp_path, kind):
    model, other = kind(), kind()
    save_model(model, str(tmp_path / "a.safetensors"))
    load_weights(other, read_state_dict(tmp_path / "a.safetensors"), "a.safetensors")
    for key, x in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], x), key


def test_shared_tensors_that_differ_in_the_file_or_are_not_there_at_all_are_refused():
    state = Twice().state_dict()
    torn = {**state, "second.bias": state["first.bias"] + 1}
    with pytest.raises(
        ValueError, match=r"different, .* one tensor for both: first.bias and second"
    ):
        load_weights(Twice(), torn, "x.pt")
    without = {key: x for key, x in state.items() if not key.endswith("bias")}
    with pytest.raises(ValueError, match=r"missing first.bias, second.bias$"):
        load_weights(Twice(), without, "x.pt")
    part = {"piece": torch.zeros(3)}  # which does not set the rest of the whole
    with pytest.raises(ValueError, match=r"missing whole$"):
        load_weights(View(), part, "x.pt")


# ------------------------------------------------------------------ heads that only training uses


def googlenet(aux):
    return models.googlenet(weights=None, aux_logits=aux, init_weights=False)


def inception(aux):
    return models.inception_v3(weights=None, aux_logits=aux, init_weights=False)


@pytest.mark.parametrize("make", [googlenet, inception])
def test_auxiliary_heads_may_be_there_or_not(make):
    with_heads, without = make(True).state_dict(), make(False).state_dict()
    assert len(with_heads) > len(without)
    for model, state in ((make(True), without), (make(False), with_heads)):
        wrapped = nn.Sequential(model)
        load_weights(wrapped, {f"0.{key}": x for key, x in state.items()}, "x.pt")
        assert wrapped.state_dict().keys() == {f"0.{key}" for key in without}  # no noise is left
        assert torch.equal(model.fc.weight, state["fc.weight"])
    both = make(True)
    load_weights(both, with_heads, "x.pt")
    assert both.state_dict().keys() == with_heads.keys()


def test_half_an_auxiliary_head_is_refused():
    state = googlenet(True).state_dict()
    del state["aux2.fc2.bias"]
    with pytest.raises(
        ValueError, match=r"x.pt does not fit the model GoogLeNet: missing aux2.fc2"
    ):
        load_weights(googlenet(True), state, "x.pt")


def test_a_head_of_another_model_is_unexpected():
    state = {**nn.Linear(2, 2).state_dict(), "aux1.weight": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"unexpected aux1.weight$"):
        load_weights(nn.Linear(2, 2), state, "x.pt")


def test_a_program_of_torchscript_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
        archive.writestr("model/constants.pkl", pickle.dumps(()))
    with pytest.raises(ValueError, match=r"model.pt cannot be read as weights: it is a program"):
        read_state_dict(tmp_path / "model.pt")
