"""Whatever a data loader gives is taken apart as it is meant, or refused."""

import numpy as np
import pytest
import torch
from helpers import tiny_cnn
from importance_cases import images_and_labels
from torch.utils.data import DataLoader, Subset, TensorDataset

from captum_spectral import SpectralImportance

IMAGES, LABELS = images_and_labels(6, (16, 12))
OPTIONS = {"num_bands": 2}


def evaluated(loader, model=None, **options):
    importance = SpectralImportance(tiny_cnn() if model is None else model, **OPTIONS)
    return importance.evaluate(loader, show_progress=False, **options)


def known(labels=LABELS, **options):
    importance = SpectralImportance(tiny_cnn(), **OPTIONS)
    importance.update(IMAGES, labels, **options)
    return importance.compute()


def of(form):
    """Batches of a form."""
    parts = zip(IMAGES.split(4), LABELS.split(4), strict=True)
    return [form(images, labels) for images, labels in parts]


FORMS = {
    "pair": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "arrays": lambda x, y: (x.numpy(), y.numpy()),
    "labels in a list": lambda x, y: (x, y.tolist()),
    "transformers": lambda x, y: {"pixel_values": x, "labels": y},
    "datasets": lambda x, y: {"label": y, "image": x, "path": ["a.png"] * len(x)},
    "kornia": lambda x, y: {"input": x, "target": y},
    "paths": lambda x, y: (x, y, ["a.png"] * len(x)),
    "longer": lambda x, y: (x, y, torch.arange(len(x)), ["a.png"] * len(x)),
    "nested": lambda x, y: ((x,), y),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_batch_gives_the_numbers_of_the_pair(form):
    assert evaluated(of(form)) == known()
    assert evaluated(iter(of(form)), max_examples=5).num_examples == 5


def test_a_loader_of_dicts_as_torch_collates_them():
    data = [{"image": x, "label": int(y)} for x, y in zip(IMAGES, LABELS, strict=True)]
    assert evaluated(DataLoader(data, batch_size=4)) == known()


@pytest.mark.parametrize("form", [lambda x: x, lambda x: {"pixel_values": x}, lambda x: (x, None)])
def test_images_alone_are_labelled_by_the_model(form):
    assert evaluated([form(IMAGES)]) == known(labels=None)


def test_unpack_takes_whatever_else_apart():
    loader = of(lambda x, y: {"sample": {"pixels": x}, "meta": [{"class": int(c)} for c in y]})

    def unpack(batch):
        return batch["sample"]["pixels"], [meta["class"] for meta in batch["meta"]]

    assert evaluated(loader, unpack=unpack) == known()
    assert evaluated(DataLoader(IMAGES, batch_size=4), unpack=lambda x: (x, LABELS[: len(x)]))


def test_tensors_of_a_dict_that_the_model_does_not_get_are_named_once():
    extra = {"mask": torch.ones(4), "weight": np.ones(4), "path": np.array(["a.png"] * 4), "id": 3}
    loader = of(lambda x, y: {"pixel_values": x, "labels": y} | extra)
    with pytest.warns(UserWarning, match="'mask', 'weight': of a dict images") as caught:
        assert evaluated(loader) == known()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "unpack=lambda batch: ((images, further arguments), labels)" in str(caught[0].message)
    assert evaluated(loader, unpack=lambda b: (b["pixel_values"], b["labels"])) == known()


def test_tensors_of_a_tuple_that_the_model_does_not_get_are_named_once():
    loader = of(lambda x, y: (x, y, x[:, :1], torch.arange(len(x)), ["a.png"] * len(x), x[:, 0, 0]))
    with pytest.warns(UserWarning, match=r"gives tensors that the model does not get, ") as caught:
        assert evaluated(loader) == known()
    (told,) = caught
    places = "[2] of shape (4, 1, 16, 12), [5] of shape (4, 12): of a tuple images and labels are"
    assert places in str(told.message)
    assert told.filename == __file__
    assert evaluated(loader, unpack=lambda batch: batch[:2]) == known()
    weighted = of(lambda x, y: [x, y, np.ones(len(x))])
    with pytest.warns(UserWarning, match=r"\[2\] of shape \(4,\): of a list images and labels"):
        assert evaluated(weighted) == known()


def scaled(x, scale, name=""):
    """Take a number per image, and a text."""
    assert name in ("", "text")
    return tiny_cnn()(x) * scale[:, None]


def test_further_arguments_follow_their_images():
    scale = torch.rand(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loader = [
        ((IMAGES[:4], scale[:4], "text"), LABELS[:4]),
        ([IMAGES[4:], scale[4:]], LABELS[4:]),
    ]
    found = evaluated(loader, scaled)
    one_by_one = SpectralImportance(scaled, **OPTIONS)
    for i in range(6):
        part = slice(i, i + 1)
        one_by_one.update(IMAGES[part], LABELS[part], additional_forward_args=scale[part])
    assert found == one_by_one.compute()
    best = scaled(IMAGES, scale).detach().log_softmax(1).amax(1)
    unlabelled = evaluated([((IMAGES, scale), None)], scaled)
    assert unlabelled.full_value == pytest.approx(float(best.mean()))
    assert evaluated(loader, scaled, max_examples=5).num_examples == 5


def test_three_with_integers_last_have_groups():
    groups = torch.tensor([0, 0, 1, 1, 2, 2])
    assert evaluated([(IMAGES, LABELS, groups)]) == known(groups=groups)
    assert evaluated([(IMAGES, LABELS, groups.tolist())]) == known(groups=groups)


class ByIndex:
    """A data set of some other library's."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        return {"image": IMAGES[index], "label": 3}


@pytest.mark.parametrize(
    "data",
    [
        TensorDataset(IMAGES, LABELS),
        Subset(TensorDataset(IMAGES), [0, 1]),
        ByIndex(),
        IMAGES,  # of (3, 16, 12) each, three images of no channels would be made
        IMAGES.numpy(),
    ],
    ids=["tensors", "subset", "by index", "tensor", "array"],
)
def test_a_data_set_in_place_of_a_loader(data):
    with pytest.raises(TypeError, match=r"gives single images; use .*DataLoader\(data"):
        evaluated(data)


@pytest.mark.parametrize(
    "example",
    [(IMAGES[0], 3), (IMAGES[0], LABELS[0]), {"image": IMAGES[0], "label": np.int64(3)}],
)
def test_single_images_with_their_labels(example):
    for data in ([example], iter([example])):
        with pytest.raises(TypeError, match=r"a single image with the label .*3.*DataLoader\("):
            evaluated(data)


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ({"sample": 1}, "dict with 'sample'"),
        ({}, "dict with nothing in it"),
        (([1.0], LABELS), r"list of 2 \(list, Tensor\)|tuple of 2 \(list, Tensor\)"),
        ("cat", "got str"),
        ((), r"tuple of 0 \(\)"),
    ],
)
def test_batches_of_another_form_name_what_came(batch, got):
    with pytest.raises(TypeError, match=rf"(?:{got}); unpack=, a function of a batch"):
        evaluated(iter([batch]))


def test_one_batch_in_place_of_a_loader():
    with pytest.raises(TypeError, match="this dict is one batch; put it in a list"):
        evaluated({"image": IMAGES, "label": LABELS})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((IMAGES, LABELS), "this tuple is one batch; put it in a list"),
        ([IMAGES.numpy(), LABELS.numpy()], "this list is one batch; put it in a list"),
        ({"image": IMAGES}, "this dict is one batch; put it in a list"),
        ("photos/", "dataloader must give batches, got 'photos/'"),
        (None, "dataloader must give batches, got None"),
    ],
)
def test_what_is_no_loader_is_named(given, message):
    with pytest.raises(TypeError, match=message):
        evaluated(given)


def test_images_alone_in_a_list_are_batches():
    assert evaluated([IMAGES[:3], IMAGES[3:]]).num_examples == 6


def test_unpack_must_be_a_function():
    with pytest.raises(TypeError, match="unpack must be a function of a batch, got 'image'"):
        evaluated([IMAGES], unpack="image")


def test_no_images_at_all():
    for empty in ([], DataLoader(TensorDataset(IMAGES[:0], LABELS[:0]), batch_size=2)):
        with pytest.raises(ValueError, match="dataloader must give at least one image, and gave"):
            evaluated(empty)
    importance = SpectralImportance(tiny_cnn(), **OPTIONS)
    importance.update(IMAGES, LABELS)
    assert importance.evaluate([], show_progress=False) == known()


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (["cat"] * 6, TypeError, r"labels must be integers, one class per image, got list \(too"),
        ((LABELS, LABELS), TypeError, r"labels must be integers, .* got tuple \("),
        (LABELS[:, None], ValueError, r"got shape \(6, 1\); use labels.squeeze\(1\)$"),
        (torch.eye(6).long(), ValueError, r"got shape \(6, 6\); use labels.argmax\(1\) of one-hot"),
    ],
)
def test_labels_that_are_no_classes_are_named(labels, error, message):
    with pytest.raises(error, match=message):
        evaluated([(IMAGES, labels)])
