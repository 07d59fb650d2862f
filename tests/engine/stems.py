"""What the tests of the stem share: models, and a look at what became of their rows."""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from captum_spectral import BandGame
from captum_spectral._engine import chunk_size, shortcuts
from captum_spectral.coalitions import all_coalitions

ALL = all_coalitions(4)
PARTS, ROWS = 5, 16  # of an example
X = torch.rand(2, 3, 12, 12)


def known_of(model):
    """What the process has found out about a model."""
    found = chunk_size._known.get(model, {}).values()
    return next((fact for fact in found if isinstance(fact, shortcuts.Known)), None)


def behind_the_stem(model):
    """Whether rows were shown to a model behind its stem, and had the values of the plain way."""
    known = known_of(model)
    return known is not None and known.stem_holds and any(way[1] for way in known.proven)


def agree(model, x=X, target=1, tolerance=1e-5, **arguments):
    """Compare twice: a model is known the second time."""
    game = BandGame(model, x, target, **{"num_bands": 4, **arguments})
    plain = game.evaluate(ALL, 2)
    for _ in range(2):
        found = game.evaluate(ALL)
        assert (found - plain).abs().max() <= tolerance * plain.abs().max()


def classified(*layers, channels=6):
    return nn.Sequential(
        *layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)
    ).eval()


def warmed(*layers, shape=(4, 3, 12, 12)):
    """Layers whose batch norms have seen something."""
    layers = nn.Sequential(*layers).train()
    with torch.no_grad():
        for _ in range(3):
            layers(torch.rand(shape))
    return layers.eval()


class Passed(TorchDispatchMode):
    """Notes the rows of every convolution that is computed."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution.default:
            self.rows.append(len(args[0]))
        return func(*args, **(kwargs or {}))


class Own(nn.Module):
    """A forward function of one's own on a convolution."""

    def __init__(self, forward, channels=6):
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.head = classified(channels=3)
        self.how = forward
        self.eval()

    def forward(self, x, *more):
        return self.head(self.how(self, x, *more))
