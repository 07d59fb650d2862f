"""A single logit is a classifier of two classes, wherever decisions are looked at."""

import torch
from helpers import tiny_cnn

from captum_spectral import BoundarySaliency, find_boundary
from captum_spectral.robustness import robust_accuracy

X = torch.rand(4, 3, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ONE = tiny_cnn(num_classes=1)
SHIFT = float(ONE(X).median().detach())  # so that both classes are predicted


def one(x):
    return {"logits": ONE(x) - SHIFT}


def two(x):
    z = ONE(x) - SHIFT
    return torch.cat([-z, z], 1) / 2


def test_its_boundary_is_that_of_the_two():
    target = two(X).argmax(1)
    assert target.unique().tolist() == [0, 1]
    found, known = (find_boundary(model, X, target) for model in (one, two))
    assert torch.equal(found.points, known.points)
    assert torch.equal(found.classes, 1 - target)
    maps = [BoundarySaliency(model).attribute(X, target) for model in (one, two)]
    assert torch.equal(*maps)


def test_its_accuracy_under_attack_is_not_that_of_class_0_alone():
    labels = two(X).argmax(1)
    right, wrong = labels, 1 - labels
    for model in (one, two):
        assert robust_accuracy(model, X, right, 0.0, clip=(0, 1)).accuracy == 1
        assert robust_accuracy(model, X, wrong, 0.0, clip=(0, 1)).accuracy == 0
    found, known = (robust_accuracy(m, X, labels, 1e-3, clip=(0, 1)) for m in (one, two))
    assert found.accuracy == known.accuracy
