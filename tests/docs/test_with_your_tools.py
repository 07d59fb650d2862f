"""Every snippet of the page runs as it is written, with small networks in place of downloads."""

import re
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers import tiny_cnn
from PIL import Image

PAGE = (Path(__file__).parents[2] / "docs" / "with-your-tools.md").read_text(encoding="utf-8")
REPOSITORY = "google/vit-base-patch16-224"


def snippets():
    """Heading and number to the code below it."""
    found = {}
    for part in re.split(r"^## ", PAGE, flags=re.M)[1:]:
        heading = part.splitlines()[0]
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", part, re.DOTALL)):
            found[f"{heading} {number}" if number else heading] = code
    return found


SNIPPETS = snippets()


@pytest.fixture
def names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny_cnn(dtype=torch.float32)
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = model(images).argmax(1)
    labels[0], labels[1] = 0, 1  # two classes, at least
    data = torch.utils.data.TensorDataset(images, labels)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    return {
        "images": images,
        "labels": labels,
        "model": model,
        "loader": torch.utils.data.DataLoader(data, batch_size=3),
        "photograph": Image.fromarray(pixels),
    }


def vit(folder):
    """A folder of ``save_pretrained``, with a network for 16 x 16 pixels and five classes."""
    import transformers

    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        image_size=16, patch_size=8, num_labels=5, id2label={i: f"class {i}" for i in range(5)},
    )  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)


class Run(list):
    """Takes what is logged, as a run of Weights and Biases does."""

    def log(self, numbers):
        self.append(numbers)


@pytest.fixture
def wandb(monkeypatch):
    """A module with the three names of Weights and Biases that the page uses."""
    module, run = ModuleType("wandb"), Run()

    @contextmanager
    def init(project, mode):
        yield run

    module.init, module.Image, module.run = init, lambda figure: figure, run
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def needed(code):
    line = re.match(r"# needs (.+)", code)
    return line[1].split(", ") if line else []


@pytest.mark.parametrize("heading", SNIPPETS)
def test_the_snippet_runs(heading, names, request):
    code = SNIPPETS[heading]
    if "wandb" in needed(code):
        wandb = request.getfixturevalue("wandb")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, while they are imported and trained
        for library in needed(code):
            pytest.importorskip(library)
        if REPOSITORY in code:
            vit("vit")
        if "model.onnx" in code:
            pytest.importorskip("onnxscript")
            batch = ({0: torch.export.Dim.DYNAMIC},)
            torch.onnx.export(names["model"], (names["images"],), "model.onnx",
                              dynamic_shapes=batch, verbose=False)  # fmt: skip
        code = code.replace(REPOSITORY, "vit").replace("pretrained=True", "num_classes=5")
        names["__name__"] = "__main__"
        exec(code, names)
    check = CHECKS.get(heading)
    if check is not None:
        check(names)
    if "wandb" in needed(code):
        (logged,) = wandb.run
        assert logged["spectral/band_0"] == names["result"].scalars()["band_0"]


def has_values(names):
    assert names["values"].shape[1] == 4
    assert names["values"].abs().sum() > 0


def says_a_class(names):
    assert names["name"].startswith("class ")


def has_scores(names):
    assert set(names["scores"]) == {"signed", "authors"}
    assert set(names["interval"]) == {"mean", "std"}


def has_logged(names):
    assert "score" in names["trainer"].callback_metrics
    assert "spectral/band_0" in names["trainer"].callback_metrics


def has_written(names):
    assert any(path.name.startswith("events") for path in Path("runs").iterdir())


def has_tables(names):
    assert len(names["frame"]) == len(names["result"].attributions)
    assert len(names["pairs"]) == 6
    assert names["explanation"].values.tolist() == names["frame"].value.tolist()


def has_a_page(names):
    assert Path("cat.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def has_both_outputs(names):
    has_values(names)
    assert names["boundary"].found.all()


def has_the_same_twice(names):
    assert torch.equal(names["result"].attributions, names["same"].attributions)


def has_a_result(names):
    assert names["result"].attributions.shape == (4,)


def has_players_of_each(names):
    assert names["values"].shape == (2, 3 + 3 + 1)


def has_methods(names):
    found = names["found"]
    assert all(values.shape == (6, 4) and values.abs().sum() > 0 for values in found.values())


def has_units(names):
    assert names["bands"].shape == (1, 6)
    assert names["hertz"][-1, -1] == 4000
    assert len(names["frequencies"]) == 3
    assert names["of_scans"].shape == (2, 3)
    assert names["of_scans"].abs().sum() > 0


def has_players_of_channels(names):
    assert names["values"].shape == (3, 8)
    assert (names["values"].abs().sum(0) > 0).all()


CHECKS = {
    "timm": has_values,
    "Hugging Face": has_values,
    "Hugging Face 1": says_a_class,
    "Audio": has_values,
    "Audio 1": has_players_of_channels,
    "ONNX Runtime": has_values,
    "scikit-learn": has_values,
    "Whatever a model returns": has_both_outputs,
    "Segmentation": has_values,
    "Loaders": has_the_same_twice,
    "Labels of any kind": has_a_result,
    "Several inputs": has_players_of_each,
    "Captum's methods on bands": has_methods,
    "Sounds in hertz, volumes in millimetres": has_units,
    "torchmetrics": has_scores,
    "Lightning": has_logged,
    "TensorBoard": has_written,
    "pandas, SHAP, shapiq": has_tables,
    "A browser": has_a_page,
}


def test_every_snippet_is_found_and_looked_at():
    assert set(SNIPPETS) == {*CHECKS, "Weights and Biases"}
