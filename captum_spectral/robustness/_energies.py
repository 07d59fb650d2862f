"""Energies of images and of their perturbations in bands and rings, as one record per image."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_count, has_float64
from captum_spectral.features.band_mask import band_frequencies
from captum_spectral.features.features import assign
from captum_spectral.features.fourier import FourierBands
from captum_spectral.robustness.radial import ring_mask

__all__ = ["DC", "Energies", "Parts"]

DC = Literal["drop", "row", "keep"]

_BLOCK = 2**21  # entries of images in float64 at a time, 16 MiB
_ROUNDINGS = 8  # units in the last place that a perturbation may be off in every frequency


class Parts(NamedTuple):
    """The records of images, taken apart.

    Attributes:
        bands: ``(N, 2, M)`` energy of image and perturbation in every band.
        rings: ``(N, 2, Q)`` the same in every ring.
        frequencies: ``(M, 2)`` of the bands.
        ring_frequencies: ``(Q,)``.
    """

    bands: Tensor
    rings: Tensor
    frequencies: Tensor
    ring_frequencies: Tensor


class Energies:
    """Measures images and their perturbations.

    A record begins with height and width of its image, so that it tells how long it is; energies
    of bands and of rings follow. Energies within rounding are 0.

    Args:
        feature_mask: See ``spectral_snr``.
        num_bands: See ``spectral_snr``.
        dc: See ``spectral_snr``.

    Raises:
        ValueError: An unknown ``dc``, a mask that is not ``(H, W)``.
    """

    def __init__(self, feature_mask: Tensor | None, num_bands: int | None, dc: DC) -> None:
        if dc not in ("drop", "row", "keep"):
            raise ValueError(f"dc must be 'drop', 'row' or 'keep', got {dc!r}")
        if isinstance(feature_mask, Tensor) and feature_mask.dim() != 2:
            raise ValueError(
                "feature_mask must be (H, W), the same for all images and channels, got shape "
                f"{tuple(feature_mask.shape)}"
            )
        if num_bands is not None:
            num_bands = check_count("num_bands", num_bands)
        self._features = FourierBands(feature_mask, num_bands=num_bands)
        self._dc = dc

    def of(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        """Return the records ``(N, V)`` of images ``(N, C, H, W)``, float64 on the CPU."""
        height, width = clean.shape[-2:]
        plan = self._plan(height, width)
        unit = max(torch.finfo(dtype).eps for dtype in (clean.dtype, perturbed.dtype))
        size = torch.tensor([[height, width]], dtype=torch.float64, device="cpu")
        records = []
        count = max(1, _BLOCK // clean[0].numel())
        for some, others in zip(clean.split(count), perturbed.split(count), strict=True):
            x, y = (t if has_float64(t.device) else t.cpu() for t in (some, others))
            x, y = x.double(), y.double().to(x.device)
            power, change = (_powers(signal).cpu() for signal in (x, y - x))  # (n, half plane)
            least = (_ROUNDINGS * unit) ** 2 * power.sum(1, keepdim=True) / (height * width)
            found = [size.expand(len(x), 2)]
            for group in plan.groups:
                found += [group.sums(energies, least) for energies in (power, change)]
            records.append(torch.cat(found, 1))
        return torch.cat(records)

    def length(self, record: Tensor) -> int:
        """Return the length of a record that begins with its size."""
        plan = self._plan(*_size_of(record))
        return 2 + 2 * sum(len(group.counts) for group in plan.groups)

    def parts(self, records: Tensor) -> Parts:
        """Take records ``(N, V)`` apart."""
        plan = self._plan(*_size_of(records[0]))
        lengths = [2 * len(group.counts) for group in plan.groups]
        bands, rings = (part.unflatten(1, (2, -1)) for part in records[:, 2:].split(lengths, 1))
        return Parts(bands, rings, plan.frequencies, plan.ring_frequencies)

    def _plan(self, height: int, width: int) -> _Plan:
        """Say which frequencies of the plane belong together."""
        image = torch.zeros(1, 1, height, width, device="cpu")
        _, (ids,) = assign(self._features, (image,))
        bands = ids[0, 0].clone()
        frequencies = band_frequencies(bands)
        if self._dc == "row":
            bands += 1
            bands[0, 0] = 0
            frequencies = torch.cat([torch.zeros_like(frequencies[:1]), frequencies])
        elif self._dc == "drop":
            bands[0, 0] = -1
        numbers, rings = ring_mask(height, width).unique(return_inverse=True)
        return _Plan(
            (_Group.of(bands, len(frequencies)), _Group.of(rings - 1, len(numbers) - 1)),
            frequencies,
            numbers[1:].double() / min(height, width),  # ring 0 holds DC
        )


class _Group(NamedTuple):
    """Frequencies of half of the plane by the number that they belong to.

    Args:
        order: Places in the flat half plane, those of number 0 first.
        lengths: How many places each number has there.
        counts: ``(numbers,)`` how many frequencies of the whole plane.
    """

    order: Tensor
    lengths: list[int]
    counts: Tensor

    @classmethod
    def of(cls, numbers: Tensor, size: int) -> _Group:
        """Make it of numbers ``(H, W)`` below ``size``; below 0 is none of them."""
        half = numbers[:, : numbers.shape[1] // 2 + 1].flatten()
        place = half.argsort(stable=True)
        place = place[half[place] >= 0]
        lengths: list[int] = half[half >= 0].bincount(minlength=size).tolist()
        return cls(place, lengths, numbers[numbers >= 0].bincount(minlength=size))

    def sums(self, energies: Tensor, least: Tensor) -> Tensor:
        """Sum energies ``(n, half plane)`` by number; 0 where they are within rounding.

        Args:
            energies: Of every frequency.
            least: ``(n, 1)`` largest rounding of one frequency.
        """
        groups = energies[:, self.order].split(self.lengths, 1)
        sums = torch.stack([group.sum(1) for group in groups], 1)
        return torch.where(sums > least * self.counts, sums, 0.0)


class _Plan(NamedTuple):
    groups: tuple[_Group, _Group]  # bands and rings
    frequencies: Tensor
    ring_frequencies: Tensor


def _powers(x: Tensor) -> Tensor:
    """Return the energies of images ``(n, C, H, W)``, of channels together, over half the plane.

    Frequencies whose negatives are in the other half count twice, so that sums are those of the
    whole plane: ``(n, H (W // 2 + 1))``.
    """
    width = x.shape[-1]
    power: Tensor = torch.fft.rfft2(x.contiguous()).abs().square().sum(1)
    power[..., 1 : (width + 1) // 2] *= 2
    return power.flatten(1)


def _size_of(record: Tensor) -> tuple[int, int]:
    return int(record[0]), int(record[1])
