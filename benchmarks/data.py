"""Many images for the benchmarks of the metric over a data set: photographs and Fashion-MNIST.

Seven photographs are too few to be a data set, so they are cut up: a view is a random square crop,
sometimes mirrored. Views of one photograph resemble each other; ``Pool.groups`` says which belong
together, and whoever speaks of the spread between images has to take that into account.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.datasets import FashionMNIST

from captum_spectral.sources.images import photographs
from captum_spectral.sources.models import load_model

sys.path.append(str(Path(__file__).parents[1] / "research"))
from images import middles_of_photographs as middles_of_photographs
from images import read_fashion_mnist

# Of the pixels of Fashion-MNIST, from 0 to 1; then what becomes of 0 and 1.
FASHION_MEAN, FASHION_STD = 0.286, 0.353
FASHION_RANGE = (-FASHION_MEAN / FASHION_STD, (1 - FASHION_MEAN) / FASHION_STD)


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
    if download:
        FashionMNIST(root, download=True)
    images, labels = read_fashion_mnist(root, "train" if train else "t10k")
    return Pool((images - FASHION_MEAN) / FASHION_STD, labels, torch.arange(len(images)))


class L2Attack(NamedTuple):
    """Projected gradient ascent of the loss in l2 balls around images of Fashion-MNIST.

    Args:
        radius: Of the balls, in pixels from 0 to 1, which are ``FASHION_STD`` times as large as the
            inputs of a network. All points stay in the range of pixels.
        steps: Each is 2.5 / ``steps`` of the radius long; the start is random.
    """

    radius: float
    steps: int

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The attacked images."""
        radius, (low, high) = self.radius / FASHION_STD, FASHION_RANGE

        def of_length_1(offsets: Tensor) -> Tensor:
            return nn.functional.normalize(offsets.flatten(1)).reshape(images.shape)

        def inside(offsets: Tensor) -> Tensor:
            # Clamping moves points towards their image: they do not leave the ball.
            offsets = offsets.renorm(2, 0, radius)
            return (images + offsets).clamp(low, high)

        lengths = radius * torch.rand(len(images), 1, 1, 1, generator=generator)
        points = inside(lengths * of_length_1(torch.randn(images.shape, generator=generator)))
        for _ in range(self.steps):
            points.requires_grad_()
            loss = nn.functional.cross_entropy(model(points), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, points)
            ahead = points.detach() + 2.5 * radius / self.steps * of_length_1(gradient)
            points = inside(ahead - images)
        return points


def fit(
    model: nn.Module,
    pool: Pool,
    epochs: int,
    starts: torch.Generator,
    attack: L2Attack | None = None,
) -> None:
    """Train in batches of 128; attacks begin at points from ``starts``."""
    batch = 128
    steps = epochs * -(-len(pool.images) // batch)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for some in torch.randperm(len(pool.images)).split(batch):
            shown, labels = pool.images[some], pool.labels[some]
            if attack:
                shown = attack(model, shown, labels, starts)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(shown), labels).backward()
            optimizer.step()
            schedule.step()


def train_fashion_cnn(
    root: Path,
    epochs: int = 4,
    seed: int = 0,
    download: bool = False,
    attack: L2Attack | None = None,
) -> nn.Module:
    """A small CNN in eval mode, trained once (a minute or two) and kept in ``root``.

    With an ``attack`` it is trained on attacked images only, which takes about ``attack.steps``
    times as long. It starts from the same weights and sees the same batches.
    """
    name = f"fashion-cnn-{epochs}-epochs-seed-{seed}"
    if attack:
        name += f"-l2-{attack.radius:g}-in-{attack.steps}-steps"
    weights = root / f"{name}.safetensors"
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
        pool = fashion_mnist(root, train=True, download=download)
        fit(model, pool, epochs, torch.Generator().manual_seed(seed), attack)
    save_file(model.state_dict(), weights)
    return model.eval()


@torch.no_grad()
def is_right(model: nn.Module, pool: Pool) -> Tensor:
    """``(N,)``, whether the class of an image has the largest output."""
    outputs = torch.cat([model(part) for part in pool.images.split(500)])
    return outputs.argmax(1) == pool.labels


def accuracy(model: nn.Module, pool: Pool) -> float:
    """Share of images whose class has the largest output."""
    return float(is_right(model, pool).double().mean())
