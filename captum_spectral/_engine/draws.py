"""Draw random numbers that belong to an image, the same in any batch and any process."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

__all__ = ["ImageDraws"]


class ImageDraws:
    """Draw from a stream of random numbers for every image of a batch, seeded by its content.

    The numbers of an image then depend on the seed and the image alone, and not on its neighbours,
    the order of the data, or the number of processes that share them.

    Args:
        images: ``(B, ...)`` floating.
        seed: Another seed gives every image other numbers.
        purpose: So does another purpose. Default: ""

    Attributes:
        generators (list[torch.Generator]): One per image, on the CPU.
    """

    def __init__(self, images: Tensor, seed: int, purpose: str = "") -> None:
        self.generators = [
            torch.Generator("cpu").manual_seed(_digest(key, seed, purpose)) for key in _keys(images)
        ]

    def orderings(self, num_players: int, n_samples: int) -> Tensor:
        """Draw random orderings ``(B, n, M)``."""
        noise = [
            torch.rand(n_samples, num_players, generator=g, dtype=torch.float64, device="cpu")
            for g in self.generators
        ]
        return torch.stack(noise).argsort(-1)  # the order of independent numbers is uniform

    def integers(self, limit: int) -> Tensor:
        """Draw integers ``(B,)`` from 0 to ``limit - 1``."""
        return torch.cat(
            [torch.randint(limit, (1,), generator=g, device="cpu") for g in self.generators]
        )

    def normal(self, like: Tensor) -> Tensor:
        """Draw standard normal numbers of the shape and on the device of ``like (B, ...)``."""
        shape = like.shape[1:]
        return torch.stack(
            [torch.randn(shape, generator=g, device="cpu") for g in self.generators]
        ).to(like)


def _keys(images: Tensor) -> list[int]:
    """Hash every image to a number: its bits, weighted by position, summed modulo 2^64.

    Integer sums do not depend on their order, so every device gives the same.
    """
    flat = images.detach().flatten(1).contiguous()
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()]
    # Odd weights have an inverse modulo 2^64, so a change of any one value changes the sum. The
    # constant is 2^64 over the golden ratio, which spreads the weights; products wrap around.
    weights = torch.arange(1, flat.shape[1] + 1, device=flat.device) * -7046029254386353131 | 1
    sums = [(bits.long() * weights).sum() for bits in flat.view(whole)]  # one by one: less memory
    keys: list[int] = torch.stack(sums).tolist()
    return keys


def _digest(key: int, seed: int, purpose: str) -> int:
    """Mix key, seed and purpose into 63 bits."""
    text = f"{seed}:{key}:{purpose}" if purpose else f"{seed}:{key}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
