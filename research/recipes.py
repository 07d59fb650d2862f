"""The networks of the study: twenty ways to train a small classifier, and their data.

A recipe is a family; its networks differ in their seed. All take pixels from 0 to 1, with the
normalisation inside. ``low-pass`` and ``high-pass`` are trained on filtered images and hold no
filter themselves: they are shown the same images as all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from images import read_fashion_mnist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as vision

from captum_spectral.robustness import noisy_labels
from captum_spectral.sources.digests import digest_of

__all__ = ["RECIPES", "Data", "Recipe", "digits", "fashion_mnist", "trained"]


class Data(NamedTuple):
    """Images ``(N, 1, H, W)`` in pixels from 0 to 1, and their classes, to train and to test."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    num_classes: int = 10


def fashion_mnist(folder: Path, num_train: int, num_test: int) -> Data:
    """The first images of both halves of Fashion-MNIST."""
    train = read_fashion_mnist(folder, "train", num_train)
    return Data(*train, *read_fashion_mnist(folder, "t10k", num_test))


def digits(num_train: int, num_test: int) -> Data:
    """The 1,797 digits of scikit-learn, enlarged from 8 x 8 to 16 x 16; they need no download."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = torch.randperm(len(bunch.target), generator=torch.Generator().manual_seed(0))
    images = torch.from_numpy(bunch.images).float()[order, None] / 16
    images = vision.resize(images, [16, 16], antialias=True).clamp(0, 1)
    labels = torch.from_numpy(bunch.target).long()[order]
    test = slice(num_train, num_train + num_test)
    return Data(images[:num_train], labels[:num_train], images[test], labels[test])


# ------------------------------------------------------------------------------- architectures


class Normalize(nn.Module):
    """Pixels from 0 to 1 to about mean 0 and deviation 1."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.3) / 0.35


def _size_after(body: nn.Module, size: tuple[int, int]) -> int:
    return body(torch.zeros(1, 1, *size)).flatten(1).shape[1]


def _headed(body: nn.Sequential, size: tuple[int, int], dropout: float = 0.0) -> nn.Module:
    head = nn.Linear(_size_after(body, size), 64)
    extra = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(
        Normalize(), body, nn.Flatten(), head, nn.ReLU(), *extra, nn.Linear(64, 10)
    )


def _conv(into: int, out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(into, out, 3, stride, padding=1), nn.ReLU()]


def cnn(size: tuple[int, int], dropout: float = 0.0) -> nn.Module:
    """Two convolutions with max pooling, 105,000 parameters for 28 x 28 pixels."""
    body = nn.Sequential(*_conv(1, 16), nn.MaxPool2d(2), *_conv(16, 32), nn.MaxPool2d(2))
    return _headed(body, size, dropout)


def with_dropout(size: tuple[int, int]) -> nn.Module:
    """The same, with half of the hidden units dropped in training."""
    return cnn(size, dropout=0.5)


def strided(size: tuple[int, int]) -> nn.Module:
    """Strides in place of pooling, which alias."""
    return _headed(nn.Sequential(*_conv(1, 16, 2), *_conv(16, 32, 2)), size)


class Blur(nn.Module):
    """The binomial filter 1 2 1 in both directions, and every second pixel of it."""

    def forward(self, x: Tensor) -> Tensor:
        taps = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device) / 4
        kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return nn.functional.conv2d(padded, kernel, stride=2, groups=x.shape[1])


def anti_aliased(size: tuple[int, int]) -> nn.Module:
    """Max pooling without stride, then a blur with it (Zhang, ICML 2019)."""
    pool = [nn.MaxPool2d(2, stride=1), Blur()]
    return _headed(nn.Sequential(*_conv(1, 16), *pool, *_conv(16, 32), *pool), size)


def mlp(size: tuple[int, int]) -> nn.Module:
    """Two hidden layers, no convolution."""
    pixels = size[0] * size[1]
    layers = [nn.Linear(pixels, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(Normalize(), nn.Flatten(), *layers)


class SmallTransformer(nn.Module):
    """Patches of 4 x 4 pixels, two layers of four heads, the mean of all tokens."""

    def __init__(self, size: tuple[int, int], width: int = 48) -> None:
        super().__init__()
        self.normalize, self.patches = Normalize(), nn.Conv2d(1, width, 4, 4)
        count = (size[0] // 4) * (size[1] // 4)
        self.positions = nn.Parameter(0.02 * torch.randn(1, count, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(self.normalize(x)).flatten(2).mT + self.positions
        return self.head(self.layers(tokens).mean(1))


# ------------------------------------------------------------------------------- what is shown


Shown = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


def as_they_are(model: nn.Module, x: Tensor, y: Tensor, draw: torch.Generator) -> Tensor:
    return x


@dataclass(frozen=True)
class Noise:
    """White noise on half of the images."""

    sd: float

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, draw: torch.Generator) -> Tensor:
        some = torch.rand(len(x), 1, 1, 1, generator=draw) < 0.5
        noise = self.sd * torch.randn(x.shape, generator=draw)
        return (x + some * noise).clamp(0, 1)


@dataclass(frozen=True)
class Blurred:
    """A Gaussian blur of up to ``sigma`` pixels, the same for a batch."""

    sigma: float

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, draw: torch.Generator) -> Tensor:
        sigma = self.sigma * float(torch.rand((), generator=draw))
        return x if sigma < 0.2 else vision.gaussian_blur(x, [7, 7], [sigma, sigma])


class Contrast(NamedTuple):
    """Contrasts down to ``low`` about the mean of each image, and brightness up to ``shift``."""

    low: float
    shift: float

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, draw: torch.Generator) -> Tensor:
        c = self.low + (1 - self.low) * torch.rand(len(x), 1, 1, 1, generator=draw)
        b = self.shift * torch.rand(len(x), 1, 1, 1, generator=draw)
        mean = x.mean((1, 2, 3), keepdim=True)
        return (mean + c * (x - mean) + b).clamp(0, 1)


@dataclass(frozen=True)
class Attacked:
    """Projected gradient ascent of the loss in three steps, from a random start."""

    norm: str
    epsilon: float
    steps: int = 3

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, draw: torch.Generator) -> Tensor:
        d = self._into(self.epsilon * self._unit(torch.randn(x.shape, generator=draw)))
        d = d * torch.rand(len(x), 1, 1, 1, generator=draw)
        for _ in range(self.steps):
            at = (x + d).clamp(0, 1).requires_grad_()
            (g,) = torch.autograd.grad(nn.functional.cross_entropy(model(at), y), at)
            d = self._into(d + 2 * self.epsilon / self.steps * self._unit(g))
        return (x + d).clamp(0, 1).detach()

    def _unit(self, g: Tensor) -> Tensor:
        if self.norm == "linf":
            return g.sign()
        return nn.functional.normalize(g.flatten(1)).reshape(g.shape)

    def _into(self, d: Tensor) -> Tensor:
        if self.norm == "linf":
            return d.clamp(-self.epsilon, self.epsilon)
        return d.flatten(1).renorm(2, 0, self.epsilon).reshape(d.shape)


@dataclass(frozen=True)
class Filtered:
    """The frequencies from ``low`` to ``high``, in parts of the Nyquist frequency, and the mean."""

    low: float
    high: float

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, draw: torch.Generator) -> Tensor:
        f = [2 * torch.fft.fftfreq(n).abs() for n in x.shape[-2:]]
        r = torch.maximum(f[0][:, None], f[1][None])
        keep = ((r >= self.low) & (r <= self.high)) | (r == 0)
        return torch.fft.ifft2(torch.fft.fft2(x) * keep).real


@dataclass(frozen=True)
class Recipe:
    """How a network is made.

    Args:
        network: From ``(H, W)`` to an untrained network.
        shown: What becomes of a batch before the network learns from it.
        decay: Weight decay.
        wrong: Share of the labels that are drawn anew from all classes.
        group: What it is called in figures.
    """

    network: Callable[[tuple[int, int]], nn.Module] = cnn
    shown: Shown = as_they_are
    decay: float = 0.0
    wrong: float = 0.0
    group: str = "ordinary"


RECIPES = {
    "ordinary": Recipe(),
    "decay": Recipe(decay=0.05),
    "dropout": Recipe(with_dropout),
    "noise .1": Recipe(shown=Noise(0.1), group="noise"),
    "noise .3": Recipe(shown=Noise(0.3), group="noise"),
    "blur": Recipe(shown=Blurred(1.5), group="blur and contrast"),
    "contrast": Recipe(shown=Contrast(0.3, 0.3), group="blur and contrast"),
    "linf .03": Recipe(shown=Attacked("linf", 0.03), group="adversarial"),
    "linf .06": Recipe(shown=Attacked("linf", 0.06), group="adversarial"),
    "l2 .5": Recipe(shown=Attacked("l2", 0.5), group="adversarial"),
    "l2 1": Recipe(shown=Attacked("l2", 1.0), group="adversarial"),
    "low-pass .25": Recipe(shown=Filtered(0, 0.25), group="filtered"),
    "low-pass .5": Recipe(shown=Filtered(0, 0.5), group="filtered"),
    "high-pass .25": Recipe(shown=Filtered(0.25, 2), group="filtered"),
    "labels .2": Recipe(wrong=0.2, group="label noise"),
    "labels .4": Recipe(wrong=0.4, group="label noise"),
    "labels .8": Recipe(wrong=0.8, group="label noise"),
    "mlp": Recipe(mlp, group="architecture"),
    "strided": Recipe(strided, group="architecture"),
    "anti-aliased": Recipe(anti_aliased, group="architecture"),
    "transformer": Recipe(SmallTransformer, group="architecture"),
}


# ------------------------------------------------------------------------------- training


def epochs_of(recipe: Recipe, data: Data, epochs: int, seed: int) -> Iterator[nn.Module]:
    """Train a network; yield it in eval mode after every epoch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = recipe.network(tuple(data.train.shape[-2:]))
        draw = torch.Generator().manual_seed(seed)
        labels = noisy_labels(data.train_labels, recipe.wrong, data.num_classes, seed)
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=recipe.decay)
        batch = 64
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 3e-3, total_steps=epochs * -(-len(labels) // batch)
        )
        for _ in range(epochs):
            for some in torch.randperm(len(labels), generator=draw).split(batch):
                model.eval()
                x = recipe.shown(model, data.train[some], labels[some], draw)
                model.train()
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), labels[some]).backward()
                optimizer.step()
                schedule.step()
            yield model.eval()


def trained(name: str, data: Data, epochs: int, seed: int, cache: Path) -> nn.Module:
    """Train a network, or read it where that was done before with the same data."""
    recipe = RECIPES[name]
    shown = getattr(recipe.shown, "__name__", repr(recipe.shown))
    how = f"{recipe.network.__name__} {shown} {recipe.decay} {recipe.wrong} {epochs}"
    of = digest_of([data.train, data.train_labels], how)
    path = cache / f"{name.replace(' ', '-')}-seed-{seed}-{of[:12]}.safetensors"
    size = tuple(data.train.shape[-2:])
    if not path.exists():
        *_, model = epochs_of(recipe, data, epochs, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    with torch.random.fork_rng(devices=[]):
        model = recipe.network(size)
    model.load_state_dict(load_file(path))
    return model.eval()
