"""Corruptions made of functions on arrays of bytes, which draw from a global state."""

# ruff: noqa: NPY002 - the global state is what the functions draw from that this is for

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_spectral.robustness.corruptions import Corruption, CorruptionGroup

__all__ = ["numpy_corruption"]

_SEEDS = 2**32  # numpy's global state takes no larger ones
_PROBE = (64, 64, 3)


def numpy_corruption(
    function: Callable[[Any, Any], Any],
    name: str,
    severities: tuple[Any, ...] = (1, 2, 3, 4, 5),
    group: CorruptionGroup = "other",
    reproducible: bool | None = None,
) -> Corruption:
    """Make a corruption of a function on arrays, such as those that ImageNet-C was made with.

    Around each call, the global states of ``numpy.random`` and ``random`` are seeded with a number
    that belongs to the image, and put back afterwards. What draws from them is then the same in any
    batch, order and process. Calls in several threads at once disturb each other.

    Args:
        function: ``function(image, severity)`` of an array ``(H, W, 3)`` of bytes and one of
            ``severities``. It returns an array or ``PIL`` image of the same height and width, with
            values from 0 to 255 of any real dtype, of three channels or, if it is grey, without.
        name: Its name in tables, and part of what its random numbers depend on.
        severities: The second argument of the function for each severity, the mildest first.
            Default: (1, 2, 3, 4, 5)
        group: As in :class:`~captum_spectral.robustness.corruptions.Corruption`. Default: "other"
        reproducible: Whether the function draws all its random numbers from the two global states,
            or none. Generators of its own, and those of compiled code, cannot be seeded from
            outside. None: it is called twice with the same seed on an image of 64 by 64 random
            pixels at the last severity, and is reproducible if it gives the same. Default: None

    Returns:
        The :class:`~captum_spectral.robustness.corruptions.Corruption`. It takes images of 1 or 3
        channels, rounds them to bytes and runs on the CPU. Grey is shown as three equal channels,
        of which the first is taken of what comes back.

    Raises:
        TypeError: A function, name or severities of a wrong kind.
        ValueError: An unknown group, no severities, or a function that fails on the 64 by 64
            pixels.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from captum_spectral.robustness.adapters import numpy_corruption
        >>> def speckle(image, severity):
        ...     noise = np.random.normal(size=image.shape, scale=0.1 * severity)
        ...     return np.clip(image * (1 + noise), 0, 255)
        >>> corruption = numpy_corruption(speckle, "speckle", group="noise")
        >>> corruption.reproducible
        True
        >>> corruption(torch.rand(2, 3, 32, 32), severity=3).shape
        torch.Size([2, 3, 32, 32])

    The fifteen of ImageNet-C, with the package ``imagecorruptions-imaug``::

        from functools import partial
        from imagecorruptions import corrupt, get_corruption_names

        original = [
            numpy_corruption(partial(corrupt, corruption_name=name), name)
            for name in get_corruption_names()
        ]
    """
    if not callable(function):
        raise TypeError(
            f"function must be callable as function(image, severity), got {type(function).__name__}"
        )
    corruption = Corruption(name, _OnBytes(function, name), severities, group)
    if reproducible is None:
        reproducible = _gives_the_same_twice(function, name, corruption.severities[-1])
    return Corruption(
        name, corruption.function, corruption.severities, group, reproducible=bool(reproducible)
    )


@dataclass(frozen=True)
class _OnBytes:
    """Show images to a function as arrays of bytes."""

    function: Callable[[Any, Any], Any]
    name: str

    def __call__(self, x: Tensor, severity: Any, generator: torch.Generator) -> Tensor:
        channels = x.shape[1]
        if channels not in (1, 3):
            raise ValueError(f"{self.name} takes images of 1 or 3 channels, got {channels}")
        levels = (x * 255).round().to("cpu", torch.uint8).expand(-1, 3, -1, -1)
        made = []
        for image in levels.permute(0, 2, 3, 1):
            seed = int(torch.randint(_SEEDS, (), generator=generator, device="cpu"))
            with _seeded(seed):
                made.append(self._checked(self.function(image.numpy().copy(), severity), image))
        return torch.stack(made).permute(0, 3, 1, 2)[:, :channels].to(x) / 255

    def _checked(self, result: Any, image: Tensor) -> Tensor:
        """Return what the function gave for an image as float64 ``(H, W, 3)`` levels."""
        array = np.asarray(result)
        if array.dtype.kind not in "uif":
            raise TypeError(
                f"the function of {self.name} must give real numbers, got {array.dtype}"
            )
        if array.ndim == 2:
            array = np.repeat(array[:, :, None], 3, 2)
        if array.shape != tuple(image.shape):
            raise ValueError(
                f"the function of {self.name} must keep the shape {tuple(image.shape)} of its "
                f"image, got {np.shape(result)}"
            )
        if array.dtype.kind == "f" and array.max() <= 1 < int(image.max()):
            raise ValueError(
                f"the function of {self.name} gave values up to {array.max():.4g}, and they are "
                "taken from 0 to 255; multiply by 255"
            )
        return torch.from_numpy(array.astype(np.float64))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global states of numpy and of Python, and put them back in the end."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)


def _gives_the_same_twice(function: Callable[[Any, Any], Any], name: str, severity: Any) -> bool:
    """Return whether two calls with the same seed and image give the same."""
    image = np.random.default_rng(0).integers(0, 256, _PROBE, dtype=np.uint8)
    made = []
    for _ in range(2):
        with _seeded(0):
            try:
                made.append(np.asarray(function(image.copy(), severity)))
            except Exception as error:
                raise ValueError(
                    f"{name} failed on a first image of {_PROBE[0]} by {_PROBE[1]} pixels: "
                    f"{error}; give reproducible=True or False to go without it"
                ) from error
    first, second = made
    return np.array_equal(first, second)
