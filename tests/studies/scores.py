"""The command score in a folder with photographs of three classes and a module of models."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from captum_spectral import ImportanceResult
from captum_spectral.cli import main

NETS = """
import os, signal, time
import torch
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

small = Compose([Resize((16, 20)), ToTensor()])

def net(seed=0, outputs=3):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(16, outputs)).eval(), small

def other():
    return net(1)

def ten():
    return net(0, 10)

class Interrupted(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.net, self.calls, self.kind = net()[0], 0, kind

    def forward(self, x):
        self.calls += 1
        if self.calls == 12 and os.environ.get("INTERRUPT") == "yes":
            if self.kind == "second" and os.environ.get("RANK") != "1":
                return self.net(x)
            if self.kind in ("error", "second"):
                raise RuntimeError("the device is gone")
            os.kill(os.getpid(), self.kind)
            time.sleep(5)
        return self.net(x)

def interrupt():
    return Interrupted(signal.SIGINT), small

def terminate():
    return Interrupted(signal.SIGTERM), small

def fail():
    return Interrupted("error"), small

def fail_second():
    return Interrupted("second"), small

def slow():
    model = net()[0]
    return lambda x: (time.sleep(0.004), model(x))[1], small

def standardise():
    def transform(image):
        x = small(image)
        return (x - x.mean()) / x.std()
    return net()[0], transform

def refuse_black():
    def transform(image):
        x = small(image)
        if x.max() == 0:
            raise ValueError("too dark")
        return x
    return net()[0], transform

def broken():
    def transform(image):
        raise ValueError("the crop is larger than the picture")
    return net()[0], transform

def no_logits():
    return lambda x: x.mean((1, 2, 3)), small

class Odd(nn.Module):
    # Gives odd for pictures as bright as above, or as dark as below.
    def __init__(self, odd, above=0.97, below=-1):
        super().__init__()
        self.net, self.odd, self.above, self.below = net()[0], odd, above, below

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        odd = (mean > self.above) | (mean <= self.below)
        return torch.where(odd[:, None], self.odd, self.net(x))

def overflow():
    return Odd(torch.nan), small

def zero_instead():
    return Odd(0.0), small

def never_at_zero():
    return Odd(torch.inf, below=0), small

def masked():
    model = net()[0]
    return lambda x: torch.cat([model(x), torch.full((len(x), 2), -torch.inf)], 1), small

def noisy():
    return lambda x: x.mean((2, 3)) + 0.01 * torch.randn(len(x), 3), small

def any_size():
    return net()[0], ToTensor()
"""


def photograph(path, seed=0, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def runner():
    """Output and errors apart, which click 8.1 has to be told."""
    apart = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(mix_stderr=False) if apart else CliRunner()


def score(*args):
    result = runner().invoke(main, ["score", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def scored(*args):
    """Scores, and gives the first result, the document and the printed text."""
    result = score(*args)
    assert result.exit_code == 0, result.stderr
    out = args[args.index("--out") + 1] if "--out" in args else "report"
    document = json.loads(Path(out, "importance.json").read_text())
    return (
        ImportanceResult.from_dict(document["models"][0]["result"]),
        document,
        result.output,
    )


def fails(*args):
    result = score(*args)
    assert result.exit_code != 0
    assert "Traceback" not in result.stderr
    return result.stderr


def refuse(*args):
    """What starting a worker does on systems without fork."""
    raise AttributeError("Can't pickle local object 'make.<locals>.transform'")


def in_two_processes(*args):
    torchrun = ["torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    torchrun.append("--rdzv-endpoint=localhost:0")
    return subprocess.run(
        [sys.executable, "-m", *torchrun, "-m", "captum_spectral", "score", *args],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def forked(count, *args, **options):
    """A command in processes as torchrun starts them, without its three times of importing."""
    return subprocess.run(
        [sys.executable, Path(__file__).parent / "ranks.py", str(count), *args],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


SMALL = ("--bands", 3, "--batch-size", 4)
