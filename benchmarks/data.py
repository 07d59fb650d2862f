"""Many images for the benchmarks of the metric over a data set: photographs and Fashion-MNIST.

Seven photographs are too few to be a data set, so they are cut up: a view is a random square crop,
sometimes mirrored. Views of one photograph resemble each other; ``Pool.groups`` says which belong
together, and whoever speaks of the spread between images has to take that into account.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.datasets import FashionMNIST

from captum_spectral.sources.images import photographs
from captum_spectral.sources.models import load_model


class Pool(NamedTuple):
    """Images, their classes, and which of them are views of the same picture."""

    images: Tensor
    labels: Tensor
    groups: Tensor

    def take(self, chosen: Tensor) -> Pool:
        """Some of them."""
        return Pool(*(part[chosen] for part in self))


def crops(count: int, seed: int = 0) -> list[Image.Image]:
    """``count`` distinct views of the photographs in turns: square crops, half of them mirrored.

    The first of each photograph is the photograph itself. The sides of the others are 0.7 to 1
    times the short side of the photograph.
    """
    whole, made = list(photographs().values()), []
    draw = random.Random(seed)
    for i in range(count):
        image = whole[i % len(whole)]
        if i >= len(whole):
            side = round(min(image.size) * draw.uniform(0.7, 1))
            left, top = (draw.randint(0, length - side) for length in image.size)
            image = image.crop((left, top, left + side, top + side))
            image = ImageOps.mirror(image) if draw.random() < 0.5 else image
        made.append(image)
    return made


def views(count: int, seed: int = 0) -> Pool:
    """``crops`` as EfficientNet-Lite0 wants them.

    The class of a view is what the network sees in the whole photograph, as in a data set, whose
    labels are not the network's opinion of the crop.
    """
    network = load_model("efficientnet-lite0")
    images = torch.cat([network.prepare(image) for image in crops(count, seed)])
    whole = torch.cat([network.prepare(image) for image in photographs().values()])
    with torch.no_grad():
        classes = network.module(whole).argmax(1)
    groups = torch.arange(count) % len(classes)
    return Pool(images, classes[groups], groups)


def fashion_mnist(root: Path, train: bool = False, download: bool = False) -> Pool:
    """Fashion-MNIST with mean 0 and standard deviation 1, ``(N, 1, 28, 28)``."""
    data = FashionMNIST(root, train=train, download=download)
    images = (data.data[:, None] / 255 - 0.286) / 0.353
    return Pool(images, data.targets.long(), torch.arange(len(images)))


def train_fashion_cnn(
    root: Path, epochs: int = 4, seed: int = 0, download: bool = False
) -> nn.Module:
    """A small CNN in eval mode, trained once (a minute or two) and kept in ``root``."""
    weights = root / f"fashion-cnn-{epochs}-epochs-seed-{seed}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10)),
        )
        if weights.exists():
            model.load_state_dict(load_file(weights))
            return model.eval()
        images, labels, _ = fashion_mnist(root, train=True, download=download)
        batch = 128
        steps = epochs * -(-len(images) // batch)
        optimizer = torch.optim.Adam(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(epochs):
            for some in torch.randperm(len(images)).split(batch):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[some]), labels[some]).backward()
                optimizer.step()
                schedule.step()
    save_file(model.state_dict(), weights)
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, pool: Pool) -> float:
    """Share of images whose class has the largest output."""
    outputs = torch.cat([model(part) for part in pool.images.split(500)])
    return float((outputs.argmax(1) == pool.labels).double().mean())
