"""Images of a study, in pixels from 0 to 1: batches of them, corrupted ones, their mean."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.robustness.corruptions import Corruption
from captum_spectral.sources.digests import digest_of

__all__ = ["Images"]

_MOST_BYTES = 2**30  # of corrupted images that are kept for the next model


class Images:
    """Images with labels, the same for several models.

    Args:
        images: ``(N, C, H, W)`` floating pixels from 0 to 1.
        labels: ``(N,)`` integer classes.
        batch_size: How many share a batch.
        device: Where batches go.

    Raises:
        TypeError: Images or labels of a wrong kind.
        ValueError: Shapes that do not fit, pixels outside of 0 to 1, no images at all.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, batch_size: int, device: torch.device | str = "cpu"
    ) -> None:
        if not isinstance(images, Tensor) or not images.dtype.is_floating_point:
            got = getattr(images, "dtype", type(images).__name__)
            raise TypeError(f"images must be a floating tensor (N, C, H, W), got {got}")
        if images.dim() != 4 or not images.numel():
            raise ValueError(
                f"images must be (N, C, H, W) with N > 0, got shape {tuple(images.shape)}"
            )
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):  # NaN, too
            raise ValueError(
                f"images must be pixels from 0 to 1, and these go from {low:g} to {high:g}; put "
                "the normalisation into the model"
            )
        if labels.shape != (len(images),) or labels.dtype.is_floating_point:
            raise ValueError(
                f"labels must be ({len(images)},) integers, one per image, got "
                f"{labels.dtype} of shape {tuple(labels.shape)}"
            )
        self.batch_size = check_count("batch_size", batch_size)
        self._images, self._labels, self._device = images, labels.long(), torch.device(device)
        self._corrupted: OrderedDict[tuple[Corruption, int, int], Tensor] = OrderedDict()
        self._digest = ""

    def labelled(self, labels: Tensor) -> Images:
        """Return the same images with other labels ``(N,)``."""
        return Images(self._images, labels, self.batch_size, self._device)

    def __len__(self) -> int:
        """Count the images."""
        return len(self._images)

    @property
    def shape(self) -> torch.Size:
        """``(C, H, W)`` of one."""
        return self._images.shape[1:]

    @property
    def digest(self) -> str:
        """Of all pixels and labels."""
        self._digest = self._digest or digest_of([self._images, self._labels])
        return self._digest

    @property
    def mean(self) -> Tensor:
        """``(1, C, H, W)``, the mean of all images per channel, the same at every pixel."""
        mean = self._images.double().mean((0, 2, 3), keepdim=True)
        return mean.to(self._images).expand(1, *self.shape).to(self._device)

    def all(self, most: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the first images and labels on the device."""
        return self._images[:most].to(self._device), self._labels[:most].to(self._device)

    def batches(self, most: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of each batch, on the device."""
        return self._split(self._images[:most])

    def corrupted(
        self, corruption: Corruption, severity: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of corrupted images; they are made once for all models."""
        key = (corruption, severity, seed)
        if key not in self._corrupted:
            made = [corruption(x, severity, seed=seed).cpu() for x, _ in self.batches()]
            self._corrupted[key] = torch.cat(made)
            size = self._images.numel() * self._images.element_size()
            while len(self._corrupted) > 1 and len(self._corrupted) * size > _MOST_BYTES:
                self._corrupted.popitem(last=False)
        self._corrupted.move_to_end(key)
        return self._split(self._corrupted[key])

    def _split(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in zip(
            images.split(self.batch_size),
            self._labels[: len(images)].split(self.batch_size),
            strict=True,
        ):
            yield x.to(self._device), y.to(self._device)
