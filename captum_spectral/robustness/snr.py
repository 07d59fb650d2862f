"""The spectral signal-to-noise ratio of a perturbation: the frequencies that survive it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from captum_spectral._arguments import format_inputs
from captum_spectral.robustness._energies import DC, Energies
from captum_spectral.robustness.radial import (
    PowerLawFit,
    RadialSNR,
    fit_power_law,
    radial_snr,
)

__all__ = ["SpectralSNR", "SpectralSNRMetric", "spectral_snr"]

_DECIBEL = 10 / math.log(10)  # of a natural logarithm of energies


class SpectralSNR:
    r"""The spectral signal-to-noise ratio over images, immutable; :func:`spectral_snr` returns it.

    Args:
        decibel: ``(M,)`` float64 mean over images of :math:`10 \log_{10} r_{ni}`, the
            geometric mean of the ratios; NaN where no image has a ratio.
        standard_error: ``(M,)`` of ``decibel`` over images; NaN for fewer than two.
        pooled_decibel: ``(M,)`` ratio of the summed energies; infinite where no image is
            changed.
        pooled_standard_error: ``(M,)`` of ``pooled_decibel`` over images.
        mean_ratio: ``(M,)`` mean of the ratios themselves. A few images dominate it.
        num_unchanged: ``(M,)`` int64 images whose band is changed by no more than
            rounding, so that their ratio is infinite. They count in the pooled ratio alone.
        num_silent: ``(M,)`` int64 images that have nothing in the band themselves, so that
            their ratio is 0 or none. They count in the pooled ratio alone.
        num_images: ``N``.
        frequencies: ``(M, 2)`` lowest and highest frequency of every band, cycles/pixel.
        ring_frequencies: ``(Q,)`` of the rings, cycles/pixel.
        ring_powers: ``(N, 2, Q)`` energy of every image and its perturbation in every
            ring, in an order that depends on their values alone.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> import torch
        >>> from captum_spectral import spectral_snr
        >>> images = torch.rand(4, 3, 32, 32)
        >>> half = spectral_snr(images, 0.5 * images, num_bands=4)     # 20 log10(2) everywhere
        >>> half
        SpectralSNR(4 images, 6.0, 6.0, 6.0, 6.0 dB)
        >>> half.num_images, half.frequencies.shape
        (4, torch.Size([4, 2]))
    """

    # Not a dataclass or a named tuple: torchmetrics would take one apart.
    decibel: Tensor
    standard_error: Tensor
    pooled_decibel: Tensor
    pooled_standard_error: Tensor
    mean_ratio: Tensor
    num_unchanged: Tensor
    num_silent: Tensor
    num_images: int
    frequencies: Tensor
    ring_frequencies: Tensor
    ring_powers: Tensor

    def __init__(
        self,
        *,
        decibel: Tensor,
        standard_error: Tensor,
        pooled_decibel: Tensor,
        pooled_standard_error: Tensor,
        mean_ratio: Tensor,
        num_unchanged: Tensor,
        num_silent: Tensor,
        num_images: int,
        frequencies: Tensor,
        ring_frequencies: Tensor,
        ring_powers: Tensor,
    ) -> None:
        self.__dict__.update(
            decibel=decibel,
            standard_error=standard_error,
            pooled_decibel=pooled_decibel,
            pooled_standard_error=pooled_standard_error,
            mean_ratio=mean_ratio,
            num_unchanged=num_unchanged,
            num_silent=num_silent,
            num_images=num_images,
            frequencies=frequencies,
            ring_frequencies=ring_frequencies,
            ring_powers=ring_powers,
        )

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse."""
        raise AttributeError(f"a SpectralSNR cannot be changed: {name}")

    def __repr__(self) -> str:
        """Name what most readers look for."""
        ratios = ", ".join(f"{ratio:.1f}" for ratio in self.decibel.tolist())
        return f"SpectralSNR({self.num_images} images, {ratios} dB)"

    @property
    def radial(self) -> RadialSNR:
        """The pooled ratio along the rings; see :class:`RadialSNR`."""
        return radial_snr(self.ring_powers, self.ring_frequencies)

    def fit_power_law(self, num_resamples: int = 1000, seed: int = 0) -> PowerLawFit:
        """Fit ``SNR ~ f^-exponent`` to the rings; see :func:`fit_power_law`.

        Args:
            num_resamples: How often images are drawn anew for the interval. Default: 1000
            seed: Of these draws. Default: 0
        """
        return fit_power_law(self.ring_powers, self.ring_frequencies, num_resamples, seed)


def spectral_snr(
    clean: Tensor,
    perturbed: Tensor | Callable[[Tensor], Tensor],
    feature_mask: Tensor | None = None,
    num_bands: int | None = None,
    dc: DC = "drop",
) -> SpectralSNR:
    r"""Measure the signal-to-noise ratio of perturbed images in every frequency band.

    With the unnormalised transform of every channel and the energies of bands, in float64,

    .. math::
        E_i(x) = \sum_c \sum_{k \in \text{band } i} |\mathcal{F}[x_c](k)|^2, \qquad
        r_{ni} = \frac{E_i(x_n)}{E_i(x'_n - x_n)}

    the result holds the mean of :math:`10 \log_{10} r_{ni}` over images (no image dominates it),
    and the ratio of the summed energies, whose standard error by the delta method is

    .. math:: \frac{10}{\ln 10} \sqrt{\frac{1}{N} \Big(\frac{s_a^2}{a^2} + \frac{s_b^2}{b^2} -
        \frac{2 s_{ab}}{a b}\Big)}

    with the means :math:`a, b` and (co)variances over images of both energies. It says what a
    perturbation leaves of images and nothing about a model: under white noise it repeats the power
    spectrum of the images.

    An image is *unchanged* in a band, and its ratio infinite, where the energy of the difference is
    at most :math:`(8 u)^2` times that of the image per frequency, times the frequencies of the
    band, with the rounding unit :math:`u` of the images; and *silent* where its own energy is that
    small. Both are counted and left out of the means.

    Args:
        clean: ``(N, C, H, W)`` floating, in any unit.
        perturbed: The same images perturbed, or a function that perturbs them.
        feature_mask: Integer band ids over the unshifted Fourier plane, the same for all images,
            see :func:`~captum_spectral.band_mask`. Default: None
        num_bands: Equal-width bands when there is no ``feature_mask``. None: 8, or as many as fit
            small images. Default: None
        dc: The mean of every channel holds most of the energy of a photograph. ``"drop"`` leaves it
            out of signal and perturbation, ``"row"`` gives it a first row of its own, ``"keep"``
            leaves it in its band. Rings never hold it. Default: "drop"

    Returns:
        A :class:`SpectralSNR`.

    Raises:
        TypeError: Images or a mask of a wrong kind.
        ValueError: Shapes that do not fit each other, non-finite images, an unknown ``dc``, more
            bands than fit.

    Cost: two transforms per channel, a few images at a time; no model rows. The result keeps the
    energies of rings, about ``1.4 min(H, W)`` float64 numbers per image.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.snr import spectral_snr
        >>> images = torch.rand(4, 3, 32, 32)
        >>> snr = spectral_snr(images, lambda x: x.mean((2, 3), keepdim=True) + 0.5 * (
        ...     x - x.mean((2, 3), keepdim=True)), num_bands=4)
        >>> [round(ratio, 2) for ratio in snr.decibel.tolist()]  # contrast: flat
        [6.02, 6.02, 6.02, 6.02]

    References:
        R. Luo, J. McDermott, C. O'Riordan, *Interpreting Global Perturbation Robustness of Image
        Models using Axiomatic Spectral Importance Decomposition*, TMLR 2024, speak of spectral
        signal-to-noise ratios; bands without DC, the means and their errors are defined here.
    """
    energies = Energies(feature_mask, num_bands, dc)
    return _result(energies, energies.of(*_pair(clean, perturbed)))


class SpectralSNRMetric(Metric):
    r"""The spectral signal-to-noise ratio of a data set, as a metric: see :func:`spectral_snr`.

    It keeps the energies of every image, so the result depends neither on batches nor on the order
    of images nor on how processes share them, to the last bit.

    Args:
        feature_mask: As in :func:`spectral_snr`. Default: None
        num_bands: As in :func:`spectral_snr`. Default: None
        dc: As in :func:`spectral_snr`. Default: "drop"
        **kwargs: Those of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        TypeError, ValueError: As :func:`spectral_snr`.

    Memory: bands and rings, twice, as float64 for each image: 2.7 kB for 224 x 224.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.snr import SpectralSNRMetric
        >>> metric = SpectralSNRMetric(num_bands=4)
        >>> for _ in range(3):
        ...     images = torch.rand(8, 3, 32, 32)
        ...     metric.update(images, images + 0.1 * torch.randn_like(images))
        >>> snr = metric.compute()
        >>> snr.num_images, snr.decibel.shape, snr.radial.decibel.shape
        (24, torch.Size([4]), torch.Size([23]))
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    records: list[Tensor]

    def __init__(
        self,
        feature_mask: Tensor | None = None,
        num_bands: int | None = None,
        dc: DC = "drop",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._energies = Energies(feature_mask, num_bands, dc)
        self.set_dtype(torch.float64)  # of the state of a process that has no images
        # Flat, so that processes may have different numbers of images, or none.
        self.add_state("records", default=[], dist_reduce_fx="cat", persistent=True)

    def update(self, clean: Tensor, perturbed: Tensor | Callable[[Tensor], Tensor]) -> None:
        """Take in a batch.

        Args:
            clean: As in :func:`spectral_snr`.
            perturbed: As in :func:`spectral_snr`.

        Raises:
            TypeError, ValueError: As :func:`spectral_snr`; images of another size than before.

        If it raises, the batch is not counted.
        """
        found = self._energies.of(*_pair(clean, perturbed))
        if self.records and not torch.equal(self.records[0][:2].cpu(), found[0, :2]):
            height, width = (int(n) for n in self.records[0][:2])
            raise ValueError(
                f"images must be of one size: got {tuple(clean.shape[-2:])} after "
                f"{(height, width)}; use a metric for each size"
            )
        self.records.append(found.flatten().to(self.device))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._computed = None
        self._update_count = max(self._update_count, int(len(self.records) > 0))

    def compute(self) -> SpectralSNR:
        """Return the result over all images so far, of all processes where there are several.

        Raises:
            ValueError: There are no images yet.
        """
        state = self.records if isinstance(self.records, list) else [self.records]
        if not sum(map(len, state)):
            raise ValueError("there are no images yet: update must come before compute")
        flat = torch.cat([part.to("cpu", torch.float64) for part in state])
        return _result(self._energies, flat.unflatten(0, (-1, self._energies.length(flat))))


def _pair(clean: Tensor, perturbed: Tensor | Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Check images and perturbed images, and return both."""
    tensors = []
    for name, images in (("clean", clean), ("perturbed", perturbed)):
        made = images if isinstance(images, Tensor) or not callable(images) else images(clean)
        if isinstance(made, tuple):
            raise TypeError(f"{name} must be one tensor (N, C, H, W), got a tuple")
        tensors.append(format_inputs(made, name)[0])
    first, second = tensors
    if first.dim() != 4:
        raise ValueError(f"clean must be (N, C, H, W), got shape {tuple(first.shape)}")
    if first.shape != second.shape:
        raise ValueError(
            f"perturbed must have the shape of clean, {tuple(first.shape)}, got "
            f"{tuple(second.shape)}"
        )
    return first, second


def _result(energies: Energies, records: Tensor) -> SpectralSNR:
    """Make the result of records ``(N, V)``."""
    # By their values: neither batches nor processes leave a trace in sums, or in what is drawn.
    order = np.lexsort(records.numpy().T[::-1])
    parts = energies.parts(records[torch.from_numpy(order)])
    signal, noise = parts.bands.unbind(1)  # (N, M) each
    has_ratio = (signal > 0) & (noise > 0)
    count = has_ratio.sum(0)
    ratio = torch.where(has_ratio, signal / noise, torch.nan)
    decibel = 10 * ratio.log10()
    mean = decibel.nanmean(0)
    # Equal ones have no spread, whatever rounding did to their mean.
    spread = torch.where(has_ratio, decibel - mean, 0.0).square().sum(0) / (count - 1)
    error = torch.where(count > 1, (spread / count).sqrt(), torch.nan)
    return SpectralSNR(
        decibel=mean,
        standard_error=error,
        pooled_decibel=10 * (signal.sum(0) / noise.sum(0)).log10(),
        pooled_standard_error=_pooled_error(signal, noise),
        mean_ratio=ratio.nanmean(0),
        num_unchanged=(noise == 0).sum(0),
        num_silent=(signal == 0).sum(0),
        num_images=len(records),
        frequencies=parts.frequencies,
        ring_frequencies=parts.ring_frequencies,
        ring_powers=parts.rings,
    )


def _pooled_error(signal: Tensor, noise: Tensor) -> Tensor:
    """Return the standard error of the pooled ratio in decibel, from energies ``(N, M)``."""
    if len(signal) < 2:
        return torch.full_like(signal[0], torch.nan)
    # The variance of the difference of both, each over its mean: what the formula expands.
    apart = signal / signal.mean(0) - noise / noise.mean(0)
    return _DECIBEL * apart.std(0) / math.sqrt(len(signal))
