"""Layers of every kind, small models and their rounding by a loop."""

import itertools

import torch
from torch import nn


class PadsItself(nn.Conv2d):
    """Pads in its forward, as the convolutions of EfficientNet-Lite do."""

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (0, 1, 1, 2)))


class StandardisesItself(nn.Conv2d):
    """Makes other filters of its own in its forward, of mean 0 and deviation 1."""

    def forward(self, x):
        means = self.weight.mean((1, 2, 3), keepdim=True)
        deviations = self.weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - means) / deviations, self.bias)


LAYERS = {
    "plain": (lambda: nn.Conv2d(4, 6, 3), (4, 9, 8)),
    "stride and padding": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 9, 8)),
    "dilation": (lambda: nn.Conv2d(4, 6, 3, dilation=2, padding="same"), (4, 9, 8)),
    "two groups": (lambda: nn.Conv2d(4, 6, (3, 2), groups=2, stride=(1, 2)), (4, 9, 8)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1), (4, 9, 8)),
    "depthwise, two each": (lambda: nn.Conv2d(4, 8, 3, groups=4, stride=2), (4, 9, 8)),
    "circular": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (4, 9, 8)),
    "reflect": (lambda: nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), (4, 9, 8)),
    "replicate": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="replicate"), (4, 9, 8)),
    "pointwise": (lambda: nn.Conv2d(4, 6, 1, bias=False), (4, 9, 8)),
    "pads itself": (lambda: PadsItself(4, 6, 3, stride=2), (4, 9, 8)),
    "one dim": (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2), (4, 12)),
    "three dims": (lambda: nn.Conv3d(2, 4, 2, stride=(1, 2, 1), groups=2), (2, 4, 5, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), (4, 5, 4)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2, dilation=2), (4, 5, 4)),
    "transposed, one dim": (lambda: nn.ConvTranspose1d(4, 6, 4, stride=2, padding=1), (4, 5)),
    "transposed, three dims": (lambda: nn.ConvTranspose3d(2, 4, 2, groups=2), (2, 3, 4, 3)),
    "linear": (lambda: nn.Linear(5, 7), (5,)),
    "linear of places": (lambda: nn.Linear(5, 7, bias=False), (3, 5)),
}


def layer_and_input(name, examples=3):
    make, shape = LAYERS[name]
    with torch.random.fork_rng():
        torch.manual_seed(len(name))
        layer, x = make().double().eval(), torch.randn(examples, *shape).double()
    return layer, x


def small_cnn(seed=0):
    """A classifier of 5 layers, one of them depthwise, one with two groups, and two batch norms."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1, groups=6),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2, groups=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 4),
        )
        for norm in (model[1], model[4]):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
    return model.eval()


def images(count=24, seed=1):
    return torch.rand(count, 2, 10, 10, generator=torch.Generator().manual_seed(seed))


def by_loop(values, bits):
    """Round numbers to the affine grid from their least to their largest, one by one."""
    low, high = min(0.0, *values), max(0.0, *values)
    step = float(torch.tensor((high - low) / (2**bits - 1)))
    zero = round(-low / step)
    found = []
    for value in values:
        q = min(max(round(value / step) + zero, 0), 2**bits - 1)
        found.append(step * (q - zero))
    return found


def state(model):
    return {name: x.clone() for name, x in model.state_dict().items()}


def same_state(model, before):
    return all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def all_allocations(costs, full, most):
    """All ranks of layers within so many numbers."""
    for ranks in itertools.product(*[range(n + 1) for n in full]):
        if sum(r * c for r, c in zip(ranks, costs, strict=True)) <= most:
            yield ranks
