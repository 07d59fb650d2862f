"""Images of the study: Fashion-MNIST and the middles of photographs. Benchmarks read them, too."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor

from captum_spectral.sources.pictures import shipped_photographs

__all__ = ["middles_of_photographs", "read_fashion_mnist"]

_HEADERS = {"images-idx3-ubyte": 16, "labels-idx1-ubyte": 8}  # bytes before the content


def read_fashion_mnist(
    folder: Path, half: Literal["train", "t10k"], most: int | None = None
) -> tuple[Tensor, Tensor]:
    """Pixels from 0 to 1 ``(N, 1, 28, 28)`` and classes ``(N,)`` of the first ``most`` images.

    The files may lie anywhere below the folder, compressed or not: as Debian's
    dataset-fashion-mnist has them, or as torchvision puts them there.
    """

    def read(kind: str) -> Tensor:
        name = f"{half}-{kind}"
        found = sorted(p for p in folder.rglob(f"{name}*") if p.name in (name, f"{name}.gz"))
        if not found:
            raise FileNotFoundError(
                f"there is no {name} below {folder}; Debian's dataset-fashion-mnist has it, and "
                "torchvision.datasets.FashionMNIST downloads it"
            )
        raw = found[0].read_bytes()
        content = gzip.decompress(raw) if found[0].suffix == ".gz" else raw
        return torch.from_numpy(np.frombuffer(content, np.uint8, offset=_HEADERS[kind]).copy())

    images, labels = (read(kind) for kind in _HEADERS)
    return images.reshape(-1, 1, 28, 28)[:most] / 255, labels[:most].long()


def middles_of_photographs(size: int) -> Tensor:
    """The middle of every shipped photograph that is large enough, ``(N, 3, size, size)``.

    Pixels from 0 to 1, as they are: resizing would change the spectrum that is asked for.
    """
    pictures = shipped_photographs()
    images = [pictures.load(i) for i in range(len(pictures))]
    large = [image for image in images if min(image.size) >= size]
    return torch.stack([center_crop(pil_to_tensor(i), [size, size]) / 255 for i in large])
