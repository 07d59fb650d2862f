"""What an absent band holds: a fixed image, noise with the image's own energies, another image."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral._captum import BaselineType
from captum_spectral.importance.draws import ImageDraws

__all__ = ["Baselines"]

_NAMED = ("noise", "donor")


class Baselines:
    """The baseline of every image of a batch.

    Args:
        baselines: None, a number, a tensor, "noise" or "donor"; see ``SpectralImportance``.

    Raises:
        TypeError: Something else.
        ValueError: Another name.
    """

    def __init__(self, baselines: BaselineType | str) -> None:
        if isinstance(baselines, str) and baselines not in _NAMED:
            raise ValueError(
                f"baselines must be None, a number, a tensor, 'noise' or 'donor', got {baselines!r}"
            )
        if isinstance(baselines, tuple):
            raise TypeError(
                "baselines must be None, a number, a tensor, 'noise' or 'donor', got a "
                "tuple; there is one input tensor"
            )
        self._baselines = baselines
        self._reserve: Tensor | None = None

    def forget(self) -> None:
        """Begin a new data set."""
        self._reserve = None

    def of(
        self, images: Tensor, mask: Tensor, dims: tuple[int, ...], draws: ImageDraws
    ) -> BaselineType:
        """The baselines of a batch.

        Args:
            images: ``(B, ...)``.
            mask: Band ids with the rank of ``images``.
            dims: The transformed dims.
            draws: The random numbers of these images.
        """
        if self._baselines == "noise":
            return matched_noise(images, draws.normal(images), mask, dims)
        if self._baselines == "donor":
            return self._donors(images, draws)
        return self._baselines

    def _donors(self, images: Tensor, draws: ImageDraws) -> Tensor:
        """For every image another one of its batch; for a single image the last one before."""
        count = len(images)
        before, self._reserve = self._reserve, images[-1:].detach().clone()
        if count > 1:
            steps = 1 + draws.integers(count - 1)
            return images[((torch.arange(count) + steps) % count).to(images.device)]
        if before is None or before.shape != images.shape:
            raise ValueError(
                "baselines='donor' takes another image of the batch as the baseline, and this is "
                "a batch of one; use batches of at least 2 images"
            )
        return before.to(images)


def matched_noise(x: Tensor, noise: Tensor, mask: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Noise scaled band by band to the energy that ``x`` has in the band.

    Args:
        x: ``(B, *signal)``.
        noise: Real noise of the same shape.
        mask: Band ids with the rank of ``x``.
        dims: The transformed dims.
    """
    noise = noise.to(torch.promote_types(x.dtype, torch.float32))
    index = mask.expand(x.shape).reshape(len(x), -1)
    of_x, of_noise = (torch.fft.fftn(s, dim=dims).reshape(len(x), -1) for s in (x.to(noise), noise))
    zero = noise.new_zeros(len(x), int(mask.max()) + 1)
    energy, reference = (zero.scatter_add(1, index, s.abs() ** 2) for s in (of_x, of_noise))
    gain = (energy / reference.clamp(min=torch.finfo(noise.dtype).tiny)).sqrt().gather(1, index)
    scaled: Tensor = torch.fft.ifftn((of_noise * gain).reshape(x.shape), dim=dims)
    return torch.real(scaled).to(x.dtype)
