"""Weights in every form of file; payloads and foreign ones are refused."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

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
