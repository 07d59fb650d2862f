"""Models of timm and Hugging Face by name, from folders and files: hubs are out of reach here."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from captum_spectral.sources import hubs
from captum_spectral.sources.models import in_pixels, load_model
from captum_spectral.sources.random_weights import RandomWeightsWarning, has_random_weights

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


@pytest.fixture
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own, while it is imported
        return pytest.importorskip("transformers")


# ------------------------------------------------------------------------------- timm


def saved_by_timm(timm, folder, **config):
    """A folder as timm puts it on the hub, of a network with random weights."""
    network = timm.create_model("resnet10t", num_classes=4).eval()
    timm.models.save_for_hf(network, folder, model_config=config, safe_serialization=True)
    return network


def test_a_folder_of_timm_comes_with_its_transform_and_names(timm, tmp_path):
    names = ["cat", "dog", "fox", "owl"]
    network = saved_by_timm(timm, tmp_path, label_names=names, label_descriptions={"fox": "a fox"})
    loaded = load_model(f"timm:local-dir:{tmp_path}")
    assert loaded.categories == ("cat", "dog", "a fox", "owl")
    config = timm.data.resolve_model_data_config(network)
    expected = timm.data.create_transform(**config, is_training=False)(IMAGE)[None]
    x = loaded.prepare(IMAGE)
    assert torch.equal(x, expected)
    assert torch.equal(loaded.module(x), network(x))
    assert not loaded.module.training
    shown = loaded.display(x[0])
    assert 0 <= shown.min() < shown.max() <= 1
    pixels = in_pixels(loaded)
    torch.testing.assert_close(pixels.module(pixels.prepare(IMAGE)), network(x), atol=1e-4, rtol=0)


def test_a_file_of_weights_for_timm_tells_how_many_classes_there_are(timm, tmp_path):
    network = timm.create_model("resnet10t", num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "own.pt")
    loaded = load_model("timm:resnet10t", tmp_path / "own.pt")
    assert loaded.categories is None
    x = loaded.prepare(IMAGE)
    assert torch.equal(loaded.module(x), network(x))


def test_weights_of_the_thousand_classes_get_their_names(timm, tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "own.pt")
    loaded = load_model("timm:resnet10t", tmp_path / "own.pt")
    assert len(loaded.categories) == 1000
    assert "tabby" in loaded.category(281)


def test_a_network_that_nobody_trained_is_no_model_by_name(timm, monkeypatch):
    with pytest.raises(ValueError, match="timm has no model 'resnet18x'; did you mean resnet18"):
        load_model("timm:resnet18x")
    monkeypatch.setattr(timm.models, "is_model_pretrained", lambda name: False)
    with pytest.raises(ValueError, match="no published weights of 'resnet10t', so that it would"):
        load_model("timm:resnet10t")


def test_published_weights_are_asked_for_and_their_absence_is_told(timm, monkeypatch):
    asked = []

    def create(architecture, pretrained, **options):
        asked.append((architecture, pretrained))
        raise RuntimeError("no route to the hub\nat line 7")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(OSError, match=r"^timm:resnet10t could not be loaded: no route to the hub$"):
        load_model("timm:resnet10t")
    assert asked == [("resnet10t", True)]


# ------------------------------------------------------------------------------- Hugging Face


@pytest.fixture
def saved(transformers, tmp_path):
    """A folder of ``save_pretrained``, and the network and the processor in it."""
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        image_size=16, patch_size=8, id2label={0: "cat", 1: "dog", 2: "owl"},
    )  # fmt: skip
    network = transformers.ViTForImageClassification(config).eval()
    network.save_pretrained(tmp_path / "vit")
    processor = transformers.ViTImageProcessor(
        size={"height": 16, "width": 16}, image_mean=[0.4] * 3, image_std=[0.2] * 3
    )
    processor.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit", network, processor


def test_a_folder_of_save_pretrained_comes_with_its_processor_and_names(saved):
    folder, network, processor = saved
    loaded = load_model(f"hf:{folder}")
    assert loaded.categories == ("cat", "dog", "owl")
    x = loaded.prepare(IMAGE)
    expected = processor(images=IMAGE, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(x, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(loaded.module(x), network(pixel_values=x).logits)
    assert not loaded.module.training
    torch.testing.assert_close(loaded.display(x[0]), (x[0] * 0.2 + 0.4).clamp(0, 1))
    pixels = in_pixels(loaded)
    torch.testing.assert_close(pixels.module(pixels.prepare(IMAGE)), loaded.module(x))


def test_a_file_of_weights_replaces_those_of_the_folder(saved, tmp_path):
    folder, network, _ = saved
    state = {key: x + 0.01 for key, x in network.state_dict().items()}
    torch.save(state, tmp_path / "own.pt")
    loaded = load_model(f"hf:{folder}", tmp_path / "own.pt")
    assert all(torch.equal(x, state[key]) for key, x in loaded.module.network.state_dict().items())


def test_a_backbone_without_a_trained_head_is_refused(transformers, saved):
    folder, network, _ = saved
    network.vit.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"no weights for classifier\.bias and \d more, which"):
        load_model(f"hf:{folder}")


def test_default_labels_are_no_names(transformers, saved):
    folder, *_ = saved
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(i): f"LABEL_{i}" for i in range(3)}
    (folder / "config.json").write_text(json.dumps(config))
    assert load_model(f"hf:{folder}").categories is None


def test_a_repository_that_cannot_be_had_is_told_in_one_line(transformers, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match=r"^hf:.*empty could not be loaded: .+$"):
        load_model(f"hf:{tmp_path / 'empty'}")


# ------------------------------------------------------------------------------- both


@pytest.mark.parametrize(("name", "extra"), [("timm:resnet18", "timm"), ("hf:a/b", "hf")])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, name, extra):
    real = __import__

    def missing(library, *rest):
        if library in ("timm", "transformers"):
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
        return real(library, *rest)

    monkeypatch.setattr("builtins.__import__", missing)
    with pytest.raises(ImportError, match=rf'pip install "captum-spectral\[{extra}\]"'):
        load_model(name)


class Halves:
    """Called as an image processor is."""

    model_input_names = ("pixel_values",)
    image_mean = image_std = (0.5, 0.5, 0.5)
    do_normalize = True

    def __call__(self, images, return_tensors):
        assert return_tensors == "pt"
        x = torch.from_numpy(np.array(images.resize((8, 6)))).permute(2, 0, 1) / 255
        return {"pixel_values": (x[None] - 0.5) / 0.5}


def test_a_factory_may_give_a_processor_for_its_transform(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = nn.Flatten(), Halves()
    monkeypatch.setattr(hubs, "factory_of_this_test", lambda: network, raising=False)
    loaded = load_model("captum_spectral.sources.hubs:factory_of_this_test")
    x = loaded.prepare(IMAGE)
    assert x.shape == (1, 3, 6, 8)
    torch.testing.assert_close(loaded.display(x[0]), x[0] * 0.5 + 0.5)


def test_a_factory_of_a_library_is_said_to_be_random(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = r"alexnet has RANDOM weights: .* write torchvision:NAME for published weights, or"
    with pytest.warns(RandomWeightsWarning, match=message):
        load_model("torchvision.models:alexnet")


def normed(*layers):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *layers)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm2d(4),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(144)),
    ],
)
def test_a_new_network_is_told_from_one_after_a_step_of_training(make):
    network = normed(make())
    assert has_random_weights(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    network(torch.rand(2, 3, 8, 8)).pow(3).sum().backward()
    optimizer.step()
    assert not has_random_weights(network)


def test_what_cannot_be_told_is_taken_for_trained():
    for layers in ((), (nn.BatchNorm2d(4, affine=False),), (nn.LazyBatchNorm2d(),)):
        assert not has_random_weights(normed(*layers))
    assert not has_random_weights(normed(nn.BatchNorm2d(4, device="meta")))
    assert not has_random_weights(load_model("efficientnet-lite0").module)
