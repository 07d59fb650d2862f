"""Fourier sensitivity: what waves and random bands of a given norm do to a model's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.features.band_mask import band_frequencies
from captum_spectral.features.features import assign
from captum_spectral.features.fourier import FourierBands
from captum_spectral.features.plane_waves import PlaneWaves, places_of
from captum_spectral.robustness._directions import Phase, band_directions, sum_of_waves
from captum_spectral.robustness._responses import Responses, SensitivityValue

__all__ = ["BandSensitivity", "FourierHeatMap", "band_sensitivity", "fourier_heat_map"]


@dataclass(frozen=True, eq=False)
class FourierHeatMap:
    """The sensitivity of a model to every frequency; what :func:`fourier_heat_map` returns.

    All maps are ``(H, W)`` float64 in the order of ``torch.fft.fft2``, equal at a frequency and its
    negative, and NaN where no frequency was asked for.

    Attributes:
        value (Tensor): ``(H, W)`` mean over images: the error or flip rate under the wave, else the
            mean change of the value. With ``method="gradient"``, ``root_mean_square``.
        standard_error (Tensor): ``(H, W)`` of ``value`` over images; NaN for a single image.
        root_mean_square (Tensor): ``(H, W)`` root of the mean squared change; of rates, their root.
        clean (float | None): The mean value of the images as they are; None where it was not
            needed.
        norm (float): That of the wave in every channel.
        unit (str): ``"error rate"``, ``"flip rate"``, ``"nats"``, ``"logits"`` or ``"value"``.
        num_images (int): ``N``.
        num_rows (int): Model rows it took, all images together.
    """

    value: Tensor
    standard_error: Tensor
    root_mean_square: Tensor
    clean: float | None
    norm: float
    unit: str
    num_images: int
    num_rows: int


@dataclass(frozen=True, eq=False)
class BandSensitivity:
    """The sensitivity of a model to frequency bands; what :func:`band_sensitivity` returns.

    Attributes:
        value (Tensor): ``(M,)`` float64 mean over images: the error or flip rate under the
            perturbation of a band, else the mean change of the value; NaN for an empty band.
        standard_error (Tensor): ``(M,)`` of ``value`` over images; NaN for a single image.
        root_mean_square (Tensor): ``(M,)`` root of the mean squared change; of rates, their root.
        frequencies (Tensor): ``(M, 2)`` lowest and highest frequency of every band, cycles/pixel.
        clean (float): The mean value of the images as they are.
        norm (float): That of the perturbation in every channel.
        unit (str): ``"error rate"``, ``"flip rate"``, ``"nats"``, ``"logits"`` or ``"value"``.
        num_images (int): ``N``.
        num_rows (int): Model rows it took, all images together.
    """

    value: Tensor
    standard_error: Tensor
    root_mean_square: Tensor
    frequencies: Tensor
    clean: float
    norm: float
    unit: str
    num_images: int
    num_rows: int


def fourier_heat_map(
    forward_func: Callable[..., Any],
    images: Tensor,
    labels: Tensor | None,
    norm: float,
    *,
    frequencies: Literal["all"] | int | Tensor = "all",
    value: SensitivityValue = "error",
    phase: Phase = "random",
    method: Literal["evaluate", "gradient"] = "evaluate",
    seed: int = 0,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
) -> FourierHeatMap:
    r"""Measure how sensitive a model is to a wave of every frequency.

    To every channel of an image one wave of norm :math:`v` is added, and nothing is clipped:

    .. math::
        h(k) = \mathbb{E}_{x, p}\; g\big(f(x + v\, U_k)\big), \qquad
        U_k(y, x) = \sqrt{\tfrac{2}{HW}} \cos\big(2 \pi (\tfrac{k_y y}{H} + \tfrac{k_x x}{W}) + p
        \big)

    and of entries :math:`\pm 1 / \sqrt{HW}` where :math:`k` is its own negative. :math:`g` is the
    error, the flip of the prediction, or the change of a value. A frequency and its negative are
    one wave and evaluated once.

    A gradient gives all frequencies in one pass, to first order in :math:`v`: the root mean square
    over phases and images of the change of the value,

    .. math:: h(k) = \frac{v}{\sqrt{HW}} \Big(\mathbb{E}_x \sum_c
        \big|\mathcal{F}[\partial g / \partial x_c](k)\big|^2\Big)^{1/2}

    It is exact for a linear value and an overview for any other: compare it with
    ``root_mean_square``, not with rates.

    Args:
        forward_func: The model, from ``(B, C, H, W)`` to logits ``(B, classes)``. A study that
            compares models gives it pixels from 0 to 1, with the normalisation inside.
        images: ``(B, C, H, W)`` floating.
        labels: ``(B,)`` class of every image; None: what the model predicts for it. With
            ``value="flip"`` they are not looked at.
        norm: ``v``, in the unit of the images, of the wave in each channel. Yin et al. use 4 for
            pixels from 0 to 1 of 32 x 32 and 15.7 of 224 x 224.
        frequencies: ``"all"``; an odd ``n`` for the ``n x n`` frequencies around zero; or integers
            ``(K, 2)``, rows and columns :math:`(k_y, k_x)` of the plane, negative ones too.
            Default: "all"
        value: ``"error"`` (share of wrong classes), ``"flip"`` (share of other classes than for the
            image as it is), ``"log_likelihood"`` (mean change, nats), ``"logit"``, or a function
            from outputs and ``(rows,)`` labels to ``(rows,)`` values, whose mean change is taken.
            Default: "error"
        phase: ``"random"``: ``p`` is uniform, drawn for every image, channel and frequency.
            ``"fixed"``: ``p`` is a quarter of pi, and the sign of the wave is drawn, as Yin et al.
            do; even a linear model's map then depends on ``p``. Default: "random"
        method: ``"evaluate"``, or ``"gradient"`` for values that have one. Default: "evaluate"
        seed: Phases and signs depend on it and the pixels of the image alone. Default: 0
        perturbations_per_eval: As in :meth:`captum_spectral.BandGame.evaluate`. Default: None
        show_progress: Show a progress bar, in rows. Default: False

    Returns:
        A :class:`FourierHeatMap`.

    Raises:
        TypeError: Images, labels or frequencies of a wrong kind.
        ValueError: Shapes that do not fit, non-finite images or outputs, a norm that is not
            positive, frequencies out of the plane, an unknown value, phase or method, a gradient of
            a rate.

    Cost in model rows: per image one for every pair of frequencies, ``(HW + s) / 2`` with the
    ``s`` frequencies that are their own negatives (394 for 28 x 28, 514 for 32 x 32, 25,090 for
    224 x 224, of which the central 63 x 63 are 1,985), and one more for the image as it is where
    the value is a change, and one where the prediction is asked for (``"flip"``, or no labels). One
    forward and one backward with ``method="gradient"``. Waves are made block by block from products
    of columns and rows; beyond the rows in flight and the values, memory is twice the images.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.sensitivity import fourier_heat_map
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
        >>> images, labels = torch.rand(5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
        >>> heat = fourier_heat_map(model, images, labels, norm=2.0)
        >>> heat.value.shape, heat.num_rows
        (torch.Size([8, 8]), 170)
        >>> torch.equal(heat.value[1, 3], heat.value[-1, -3])
        True

    References:
        D. Yin, R. Gontijo Lopes, J. Shlens, E. D. Cubuk, J. Gilmer, *A Fourier Perspective on Model
        Robustness in Computer Vision*, NeurIPS 2019.
    """
    if phase not in ("random", "fixed"):
        raise ValueError(f"phase must be 'random' or 'fixed', got {phase!r}")
    if method not in ("evaluate", "gradient"):
        raise ValueError(f"method must be 'evaluate' or 'gradient', got {method!r}")
    seed = check_count("seed", seed, at_least=0)
    responses = Responses(
        forward_func,
        images,
        labels,
        norm=norm,
        value=value,
        perturbations_per_eval=perturbations_per_eval,
        show_progress=show_progress,
    )
    x = responses.images
    height, width = x.shape[-2:]
    # (P, 2) the first frequency of every pair, and (H, W) the pair of every frequency
    places, pairs = places_of(height, width), PlaneWaves().ids(x)[0, 0].cpu()
    asked: Tensor = _pairs_of(frequencies, pairs).unique()
    clean = None
    if method == "gradient":
        slopes = responses.gradients().to("cpu", torch.float64)
        down, across = places[asked].unbind(1)
        spectrum = torch.fft.fft2(slopes)[..., down, across]  # (B, C, K)
        squares = spectrum.abs().square().sum(1) * (responses.norm**2 / (height * width))
        mean, error = _mean(squares)
        root = mean.sqrt()
        error = torch.where(root > 0, error / (2 * root), error)  # of a root, to first order
        found = root, error, root
    else:
        waves = sum_of_waves(x, responses.norm, phase, seed)
        changes, clean = responses.to(waves, PlaneWaves(), asked)
        found = (*_mean(changes), _root_mean_square(changes))
    value_map, error_map, root_map = (_painted(one, asked, pairs) for one in found)
    return FourierHeatMap(
        value=value_map,
        standard_error=error_map,
        root_mean_square=root_map,
        clean=clean,
        norm=responses.norm,
        unit=responses.unit,
        num_images=len(x),
        num_rows=responses.num_rows,
    )


def band_sensitivity(
    forward_func: Callable[..., Any],
    images: Tensor,
    labels: Tensor | None,
    norm: float,
    *,
    num_bands: int | None = None,
    feature_mask: Tensor | None = None,
    value: SensitivityValue = "error",
    seed: int = 0,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
) -> BandSensitivity:
    r"""Measure how sensitive a model is to a random perturbation inside each frequency band.

    To every channel of an image a random direction of norm :math:`v` within one band is added, and
    nothing is clipped:

    .. math::
        h_i = \mathbb{E}_{x, n}\; g\big(f(x + v\, u_i)\big), \qquad
        u_i = \frac{n_i}{|n_i|}, \qquad
        n_i = \mathcal{F}^{-1}\big[\, 1[\text{mask} = i] \cdot \mathcal{F}[n] \,\big]

    with Gaussian noise :math:`n`, so that all directions within the band are equally likely.
    :math:`g` is the error, the flip of the prediction, or the change of a value. It is the
    counterpart of the bands of :class:`~captum_spectral.SpectralImportance`: these say what a model
    draws on, this what disturbs it. All bands get the same norm, a wide one as much as a narrow
    one; its energy per frequency is then smaller.

    Args:
        forward_func: The model, from ``(B, C, H, W)`` to logits ``(B, classes)``. A study that
            compares models gives it pixels from 0 to 1, with the normalisation inside.
        images: ``(B, C, H, W)`` floating.
        labels: ``(B,)`` class of every image; None: what the model predicts for it. With
            ``value="flip"`` they are not looked at.
        norm: ``v``, in the unit of the images, of the direction in each channel.
        num_bands: Equal-width bands when there is no ``feature_mask``. None: 8, or as many as fit
            small images. Default: None
        feature_mask: Integer band ids over the unshifted Fourier plane, see
            :func:`~captum_spectral.band_mask`. Default: None
        value: As in :func:`fourier_heat_map`. Default: "error"
        seed: Directions depend on it and the pixels of the image alone. Default: 0
        perturbations_per_eval: As in :meth:`captum_spectral.BandGame.evaluate`. Default: None
        show_progress: Show a progress bar, in rows. Default: False

    Returns:
        A :class:`BandSensitivity`.

    Raises:
        TypeError: Images, labels or a mask of a wrong kind.
        ValueError: Shapes that do not fit, non-finite images or outputs, a norm that is not
            positive, an unknown value, more bands than fit.

    Cost in model rows: ``M + 1`` per image, and one more where the prediction is asked for
    (``"flip"``, or no labels). Memory beyond the rows in flight: twice the images, and ``M + 1``
    signals for each example in flight.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.sensitivity import band_sensitivity
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 3)).eval()
        >>> images, labels = torch.rand(5, 1, 16, 16), torch.tensor([0, 1, 2, 0, 1])
        >>> found = band_sensitivity(model, images, labels, norm=2.0, num_bands=4)
        >>> found.value.shape, found.num_rows
        (torch.Size([4]), 25)

    References:
        D. Yin, R. Gontijo Lopes, J. Shlens, E. D. Cubuk, J. Gilmer, *A Fourier Perspective on Model
        Robustness in Computer Vision*, NeurIPS 2019 (waves of single frequencies).
    """
    seed = check_count("seed", seed, at_least=0)
    responses = Responses(
        forward_func,
        images,
        labels,
        norm=norm,
        value=value,
        perturbations_per_eval=perturbations_per_eval,
        show_progress=show_progress,
    )
    x = responses.images
    features = FourierBands(feature_mask, num_bands=num_bands)
    _, (ids,) = assign(features, (x,))
    players = ids.unique().cpu()
    directions = band_directions(x, responses.norm, features, ids, seed)
    columns = torch.arange(len(players), device="cpu")
    changes, clean = responses.to(directions, features, columns, with_clean=True)
    assert clean is not None
    frequencies = band_frequencies(ids.cpu())
    found = (*_mean(changes), _root_mean_square(changes))
    mean, error, root = (_scattered(one, players, len(frequencies)) for one in found)
    return BandSensitivity(
        value=mean,
        standard_error=error,
        root_mean_square=root,
        frequencies=frequencies,
        clean=clean,
        norm=responses.norm,
        unit=responses.unit,
        num_images=len(x),
        num_rows=responses.num_rows,
    )


def _pairs_of(frequencies: object, pairs: Tensor) -> Tensor:
    """Return the pairs of the frequencies that are asked for."""
    height, width = sizes = tuple(pairs.shape)
    if isinstance(frequencies, str):
        if frequencies != "all":
            raise ValueError(
                f"frequencies must be 'all', an odd integer or integers (K, 2), got {frequencies!r}"
            )
        return pairs
    if isinstance(frequencies, Tensor) and frequencies.dim():
        kind = frequencies.dtype
        if kind.is_floating_point or kind.is_complex or kind is torch.bool:
            raise TypeError(f"frequencies must be integers, got dtype {kind}")
        if frequencies.dim() != 2 or frequencies.shape[1] != 2 or not len(frequencies):
            raise ValueError(
                "frequencies must be (K, 2), rows and columns of the plane, got shape "
                f"{tuple(frequencies.shape)}"
            )
        places = frequencies.detach().to("cpu", torch.int64)
        limits = torch.tensor(sizes, device="cpu")
        outside = ((places < -limits) | (places >= limits)).any(1)
        if outside.any():
            raise ValueError(
                f"frequencies must lie in the plane of {sizes}, negative ones counted from its "
                f"end, got {places[outside][0].tolist()}"
            )
        down, across = (places % limits).unbind(1)
        return pairs[down, across]
    side = check_count("frequencies", frequencies)
    if side % 2 == 0 or side > max(sizes) + 1:
        raise ValueError(
            f"frequencies={side} must be odd, as many on both sides of zero, and at most "
            f"{max(sizes) + (max(sizes) + 1) % 2} for images of {sizes}; or 'all'"
        )
    down, across = (
        ((torch.arange(n, device="cpu") + n // 2) % n - n // 2).abs() <= side // 2
        for n in (height, width)
    )
    return pairs[down][:, across]


def _mean(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over images of ``x (B, K)``, and its standard error."""
    error = x.std(0) / len(x) ** 0.5 if len(x) > 1 else torch.full_like(x[0], torch.nan)
    return x.mean(0), error


def _root_mean_square(x: Tensor) -> Tensor:
    return x.square().mean(0).sqrt()


def _scattered(values: Tensor, places: Tensor, size: int) -> Tensor:
    """Put values ``(K,)`` at their places of ``size``; elsewhere is NaN."""
    return values.new_full((size,), torch.nan).index_put((places,), values)


def _painted(values: Tensor, asked: Tensor, pairs: Tensor) -> Tensor:
    """Give both frequencies of every pair asked for its value: ``(H, W)``."""
    return _scattered(values, asked, int(pairs.max()) + 1)[pairs]
