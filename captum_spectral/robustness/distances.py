"""boundary_distances: how far each image is from the nearest mistake, and means that can be had."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._captum import progress_bar
from captum_spectral.boundary.box import Clip
from captum_spectral.boundary.nearest import Nearest
from captum_spectral.boundary.search import BoundarySearch, SearchMethod, format_search
from captum_spectral.robustness.accuracy import RobustAccuracy, format_epsilon
from captum_spectral.robustness.labelled import labelled

__all__ = ["BoundaryDistances", "Mean", "boundary_distances", "restricted_mean"]

PIXELS = (0.0, 1.0)


class Mean(NamedTuple):
    """A mean over images and its standard error.

    Args:
        value: The mean.
        standard_error: Sample standard deviation over the square root of the number of images;
            NaN for one image, or where the mean is infinite.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> from captum_spectral.robustness.distances import Mean
        >>> Mean(1.0, 0.1).value
        1.0
    """

    value: float
    standard_error: float


class BoundaryDistances(NamedTuple):
    r"""The l2 distances from B images to the nearest mistake that was found.

    They are upper bounds of the true distances, see :func:`~captum_spectral.find_boundary`. No mean
    here is one over the images for which something was found: those are the weak ones.

    Args:
        distances: ``(B,)`` float64 on the CPU, in the units of the images: 0 for an image that is
            wrong as it is, infinite where nothing was found.
        norms: ``(B,)`` float64 on the CPU, :math:`|x_b|_2`.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.distances import BoundaryDistances
        >>> found = BoundaryDistances(torch.tensor([0.0, 1.0, 2.0, torch.inf]), torch.full((4,), 8))
        >>> found.num_missing, found.median()
        (1, 1.5)
        >>> found.restricted_mean(cap=3).value
        1.5
        >>> found.robust_accuracy([0.5, 1.5]).accuracy
        tensor([0.7500, 0.5000], dtype=torch.float64)
    """

    distances: Tensor
    norms: Tensor

    @property
    def num_missing(self) -> int:
        """Images for which nothing was found."""
        return int(self.distances.isinf().sum())

    def restricted_mean(self, cap: float) -> Mean:
        """Return the mean of ``min(distance, cap)``, see :func:`restricted_mean`."""
        return restricted_mean(self.distances, cap)

    def relative_mean(self, cap: float = 1.0) -> Mean:
        r"""Return the mean of :math:`\min(d / |x|_2, \text{cap})`, DeepFool's robustness.

        With the cap of 1 nothing counts more than the change that turns the image black. A wrong
        image has 0, a black one that is not wrong ``cap``.
        """
        relative = torch.where(self.distances == 0, 0.0, self.distances.double() / self.norms)
        return restricted_mean(relative, cap)

    def median(self) -> float:
        """Return the median distance: infinite where half of the images or more have none."""
        ordered = self.distances.double().sort().values
        count = len(ordered)
        return float((ordered[(count - 1) // 2] + ordered[count // 2]) / 2)

    def robust_accuracy(
        self, epsilon: float | list[float] | tuple[float, ...] | Tensor
    ) -> RobustAccuracy:
        """Return the share of images whose distance is larger than ``epsilon``, one or several.

        The whole curve comes from one search per image; :func:`robust_accuracy` with
        ``norm="l2"`` attacks anew at each radius.
        """
        sizes = format_epsilon(epsilon)
        robust = self.distances > sizes[..., None]  # (B,) or (E, B)
        return RobustAccuracy(sizes, "l2", self.distances > 0, robust[None])


def restricted_mean(distances: Tensor, cap: float) -> Mean:
    r"""Compute the mean of distances some of which may be infinite.

    .. math:: \frac1B \sum_b \min(d_b, \text{cap})

    It is the area under the curve of robust accuracy from 0 to ``cap``, and so says nothing about
    what lies beyond; means are comparable at the same cap only.

    Args:
        distances: ``(B,)``, not negative; infinite where nothing was found.
        cap: Positive; infinite for the plain mean, which is infinite where any distance is.

    Returns:
        :class:`Mean`: the value and its standard error over images.

    Raises:
        TypeError: Distances that are no real tensor.
        ValueError: Distances that are negative, NaN, or not ``(B,)``, a cap that is not positive.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.distances import restricted_mean
        >>> restricted_mean(torch.tensor([0.0, 1.0, torch.inf]), cap=2.0)
        Mean(value=1.0, standard_error=0.5773502691896258)
    """
    if not isinstance(distances, Tensor) or distances.dtype.is_complex:
        raise TypeError(
            "distances must be a real tensor (B,), got "
            f"{getattr(distances, 'dtype', type(distances).__name__)}"
        )
    if distances.dim() != 1 or len(distances) == 0 or not (distances >= 0).all():
        raise ValueError(
            "distances must be (B,), not negative and not NaN, for at least one image, got shape "
            f"{tuple(distances.shape)}"
            + (f" and {float(distances.min())}" if distances.numel() else "")
        )
    if not cap > 0:
        raise ValueError(f"cap must be positive, got {cap}")
    restricted = distances.to("cpu", torch.float64).clamp(max=cap)
    count, value = len(restricted), float(restricted.mean())
    known = count > 1 and math.isfinite(value)
    return Mean(value, float(restricted.std()) / math.sqrt(count) if known else math.nan)


def boundary_distances(
    forward_func: Callable[..., Any],
    images: Tensor,
    labels: Tensor,
    *,
    clip: Clip | None = PIXELS,
    search: BoundarySearch | SearchMethod = "deepfool",
    num_restarts: int = 0,
    seed: int = 0,
    internal_batch_size: int | None = None,
    show_progress: bool = False,
) -> BoundaryDistances:
    r"""Find how far each image is from the nearest point that is wrongly classified, in l2.

    .. math::
        d_b = \min_{z:\, F(z) \ne y_b} |z - x_b|_2, \qquad z \in [\text{low}, \text{high}]

    Wrong images have distance 0; the others are searched as by
    :func:`~captum_spectral.find_boundary`, and have an infinite one where nothing was found.

    Args:
        forward_func: The classifier, from images to outputs ``(B, classes)``, with the
            normalisation inside, so that distances are in pixels.
        images: Real floating tensor ``(B, ...)``, inside ``clip``.
        labels: ``(B,)`` integers, the true classes.
        clip: ``(low, high)`` of valid pixels, as in :func:`~captum_spectral.find_boundary`; None:
            no limits. Default: (0.0, 1.0)
        search: ``"deepfool"``, ``"pgd"``, a function of images and labels that returns points of
            another class, or a :class:`~captum_spectral.BoundarySearch` with all its options, which
            has its own ``clip``, restarts and generator. Default: "deepfool"
        num_restarts: How often the search is repeated from random points. Default: 0
        seed: Of these. Default: 0
        internal_batch_size: At most so many images are searched at a time; halved where memory runs
            out. None: all at once. Default: None
        show_progress: Display a progress bar. Default: False

    Returns:
        :class:`BoundaryDistances`: ``distances (B,)``, and their means, median and curve of robust
        accuracy.

    Raises:
        TypeError: Images, labels, outputs or options of a wrong kind.
        ValueError: Images outside ``clip`` or not finite, labels that do not fit, options beside a
            :class:`~captum_spectral.BoundarySearch`, outputs that are not ``(B, classes)``, not
            finite, or have no gradient.
        torch.OutOfMemoryError: Not even the search of a single image fits in memory.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost in model rows per image: 1; and that of :func:`~captum_spectral.find_boundary` less 1 if
    it is rightly classified, about 12 forward by default.

    What it does not say: upper bounds, all of them; see :func:`~captum_spectral.find_boundary`.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.distances import boundary_distances
        >>> model = torch.nn.Linear(2, 2).requires_grad_(False)
        >>> model.weight[:], model.bias[:] = torch.eye(2), 0
        >>> images = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.3]])
        >>> found = boundary_distances(model.eval(), images, torch.tensor([0, 0, 0]))
        >>> [f"{d:.2f}" for d in found.distances.tolist()]      # 0.8 and 0.2 over the root of 2
        ['0.57', '0.14', '0.00']

    References:
        S.-M. Moosavi-Dezfooli, A. Fawzi, P. Frossard, *DeepFool: a simple and accurate method to
        fool deep neural networks*, CVPR 2016.
    """
    # Also where the caller has switched gradients off.
    with torch.inference_mode(False), torch.no_grad():
        options: dict[str, Any] = {"clip": clip, "num_restarts": num_restarts}
        if isinstance(search, BoundarySearch) and clip is PIXELS:
            options.pop("clip")
        check_count("seed", seed, at_least=0)
        if not isinstance(search, BoundarySearch):
            options |= {"generator": torch.Generator("cpu").manual_seed(seed)}
        found = format_search(search, "search", **options)
        data = labelled(forward_func, images, labels, found.clip, internal_batch_size)
        right = data.correct().nonzero().flatten()
        x = data.classifier.inputs
        distances = torch.zeros(len(x), dtype=torch.float64, device="cpu")
        if len(right):
            part = data.of(right)
            nearest = Nearest(found, part.classifier, part.box)
            total = nearest.stages * len(right)
            with progress_bar(show_progress, "Boundary distances", total) as bar:
                crossings = nearest.crossings(part.batches, bar)
            # The smallest number keeps a boundary through the image itself from counting as wrong.
            smallest = torch.finfo(torch.float64).tiny
            distances[right.cpu()] = crossings.distances.cpu().double().clamp(min=smallest)
        return BoundaryDistances(distances, x.flatten(1).norm(dim=1).to("cpu", torch.float64))
