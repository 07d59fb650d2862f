"""Images of a study, in pixels from 0 to 1: batches of them, corrupted ones, their mean."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from copy import copy

import torch
from torch import Tensor

from captum_spectral._arguments import check_count, check_pixel_range
from captum_spectral.robustness.corruptions import Corruption
from captum_spectral.sources.digests import digest_of

__all__ = ["Images"]

_MOST_BYTES = 2**30  # of corrupted images that are kept for the next model


class Images:
    """Images with labels, the same for several models.

    Args:
        images: ``(N, C, H, W)`` floating pixels from 0 to 1.
        labels: ``(N,)`` integer classes. None: not known yet, see :meth:`labelled`.
        batch_size: How many share a batch.
        device: Where batches go.

    Raises:
        TypeError: Images or labels of a wrong kind.
        ValueError: Shapes that do not fit, pixels outside of 0 to 1, no images at all.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | None,
        batch_size: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(images, Tensor) or not images.dtype.is_floating_point:
            got = getattr(images, "dtype", type(images).__name__)
            raise TypeError(f"images must be a floating tensor (N, C, H, W), got {got}")
        if images.dim() != 4 or not images.numel():
            raise ValueError(
                f"images must be (N, C, H, W) with N > 0, got shape {tuple(images.shape)}"
            )
        check_pixel_range(images)
        self.batch_size = check_count("batch_size", batch_size)
        self._images, self._device = images, torch.device(device)
        self._count = len(images)  # of those that are looked at
        self._corrupted: OrderedDict[tuple[Corruption, int, int], Tensor] = OrderedDict()
        self._digest = digest_of([images])
        if labels is None:
            labels = torch.zeros(len(images), dtype=torch.long)
        self._set_labels(labels)

    def _set_labels(self, labels: Tensor) -> None:
        if labels.shape != (len(self._images),) or labels.dtype.is_floating_point:
            raise ValueError(
                f"labels must be ({len(self._images)},) integers, one per image, got "
                f"{labels.dtype} of shape {tuple(labels.shape)}"
            )
        self._labels = labels.long().cpu()

    def labelled(self, labels: Tensor) -> Images:
        """Return the same images with other labels ``(N,)``; corrupted ones are shared."""
        others = copy(self)
        others._set_labels(labels)
        return others

    def first(self, count: int | None) -> Images:
        """Return so many of them, the first ones; None: all. Corrupted ones are shared."""
        some = copy(self)
        some._count = len(self._images) if count is None else min(count, len(self._images))
        return some

    def __len__(self) -> int:
        """Count the images."""
        return self._count

    @property
    def shape(self) -> torch.Size:
        """``(C, H, W)`` of one."""
        return self._images.shape[1:]

    @property
    def digest(self) -> str:
        """Of all pixels and labels."""
        return digest_of([self._labels], self._digest)

    @property
    def mean(self) -> Tensor:
        """``(1, C, H, W)``, the mean of all images per channel, the same at every pixel."""
        mean = self._images.double().mean((0, 2, 3), keepdim=True)
        return mean.to(self._images).expand(1, *self.shape).to(self._device)

    def all(self) -> tuple[Tensor, Tensor]:
        """Return images and labels on the device."""
        return self._on_device(self._images)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of each batch, on the device."""
        images, labels = self._images[: self._count], self._labels[: self._count]
        for x, y in zip(images.split(self.batch_size), labels.split(self.batch_size), strict=True):
            yield x.to(self._device), y.to(self._device)

    def corrupted(self, corruption: Corruption, severity: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return corrupted images and labels on the device; they are made once for all models."""
        key = (corruption, severity, seed)
        if key not in self._corrupted:
            parts = self._images.split(self.batch_size)
            made = [corruption(x.to(self._device), severity, seed=seed).cpu() for x in parts]
            self._corrupted[key] = torch.cat(made)
            size = self._images.numel() * self._images.element_size()
            while len(self._corrupted) > 1 and len(self._corrupted) * size > _MOST_BYTES:
                self._corrupted.popitem(last=False)
        self._corrupted.move_to_end(key)
        return self._on_device(self._corrupted[key])

    def _on_device(self, images: Tensor) -> tuple[Tensor, Tensor]:
        labels = self._labels[: self._count]
        return images[: self._count].to(self._device), labels.to(self._device)
