"""The frequency response of a layer: what it amplifies, suppresses and folds back."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from captum_spectral._arguments import check_count
from captum_spectral.features.fourier import FourierBands
from captum_spectral.weights._layers import (
    Geometry,
    Layout,
    check_layer,
    default_size,
    format_size,
    read_layer,
)
from captum_spectral.weights._matrices import unit_of
from captum_spectral.weights._plane import (
    all_indices,
    blocks_of,
    from_half,
    half_plane,
    largest,
    norms,
    power_of,
    singular,
    transfer,
)
from captum_spectral.weights.singular_values import Prediction, SingularValues

__all__ = ["FrequencyResponse", "Kind", "frequency_response"]

Kind = Literal["max", "rms"]
_Reduction = Callable[[Tensor], Tensor]  # numbers of matrices (F, g, O, I), first dim F


def frequency_response(
    layer: nn.Module, size: int | Sequence[int] | None = None
) -> FrequencyResponse:
    r"""Return the frequency response of a convolution or linear layer, from its weights alone.

    A wave of frequency :math:`w` (radians per sample) that enters a convolution with kernel
    :math:`K` and dilation :math:`d` leaves it as a wave, its channels multiplied by the matrix

    .. math:: A(w) = \sum_a K[a]\; e^{\,j\, w \cdot (d a)}.

    Under a stride, the :math:`S` frequencies that meet in one of the output stand side by side,
    :math:`B(\nu) = [A(w_0) \dots A(w_{S-1})] / \sqrt S`, and the singular values of all
    :math:`B(\nu)` are those of the layer with circular padding. Padding of other kinds differs at
    the borders alone; of a kernel larger than the grid all taps count, wrapped around it.

    Args:
        layer: An ``nn.Conv1d``, ``Conv2d``, ``Conv3d``, one of their transposed kinds or an
            ``nn.Linear``, which multiplies all frequencies by one matrix. It is not changed, and
            its bias plays no part. Subclasses that pad on their own are taken for what their
            weight says.
        size: Sizes of the layer's input, a multiple of the stride in each dim; one number for the
            same in all. It need not be that of the feature map. None: 32 points per dim of the
            output (of the input, for transposed layers), more where the kernel is long; 1 where all
            frequencies are the same. Default: None

    Returns:
        A :class:`FrequencyResponse`, differentiable in the weights.

    Raises:
        TypeError: A layer of another kind, of quantised, integer or complex weights.
        ValueError: Weights that are not finite, not there yet, or computed by a parametrisation; a
            size that the stride does not divide or of other dims than the layer.

    Cost: no model rows. The matrices of some frequencies at a time are held, 32 MiB of them.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import frequency_response
        >>> blur = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
        >>> _ = torch.nn.init.constant_(blur.weight, 1 / 9)
        >>> response = frequency_response(blur.requires_grad_(False), size=8)
        >>> response.gain()[0].tolist()                 # 0, 1/8, ... cycles/pixel across
        [1.0, 0.804..., 0.333..., 0.138..., 0.333..., 0.138..., 0.333..., 0.804...]
        >>> float(response.norm()), float(response.norm_bound()) > 1
        (1.0, True)

    References:
        H. Sedghi, V. Gupta, P. Long, *The Singular Values of Convolutional Layers*, ICLR 2019
        (without stride, groups and dilation).
    """
    check_layer(layer, "layer")
    sizes = format_size(size, layer)
    weight, layout, geometry = read_layer(layer, None if sizes is None else len(sizes))
    return FrequencyResponse(weight, layout, geometry, sizes)


class FrequencyResponse:
    """Tell what a layer does to each frequency; :func:`frequency_response` makes it.

    Sizes: ``S`` frequencies alias onto one of the output, ``g`` groups, ``D`` spatial dims.

    Attributes:
        size (tuple[int, ...]): Of the layer's input.
        geometry: Kernel size, stride and dilation of the layer, and whether it is transposed.
    """

    def __init__(
        self,
        weight: Tensor,
        layout: Layout,
        geometry: Geometry,
        size: tuple[int, ...] | None = None,
    ) -> None:
        self.size = default_size(geometry) if size is None else size
        self.geometry = geometry
        self._layout = layout
        # (T, g, O, I): O channels on the coarse grid, I on the fine one
        self._kernel = layout.kernel(weight)
        self._offsets = geometry.offsets()

    def __repr__(self) -> str:
        _, groups, coarse, fine = self._kernel.shape
        channels = (coarse, fine) if self.geometry.transposed else (fine, coarse)
        return (
            f"FrequencyResponse(size={self.size}, groups={groups}, in={channels[0] * groups}, "
            f"out={channels[1] * groups}, stride={tuple(self.geometry.stride)})"
        )

    @property
    def matrices(self) -> Tensor:
        """``A(w)``, ``(*size, g, out/g, in/g)`` complex, in the layout of ``torch.fft.fftn``.

        Those of a transposed layer are at the frequencies of its output, ``size * stride``.
        """
        fine, _ = self.geometry.grids(self.size)
        found = self._at(all_indices(fine), fine).reshape(*fine, *self._kernel.shape[1:])
        return found.mH if self.geometry.transposed else found

    def singular_values(self) -> Tensor:
        """Return all singular values, ``(*coarse, g, p)``, in descending order for each frequency.

        ``coarse`` is ``size / stride``, or ``size`` for a transposed layer; ``p`` the smaller of
        ``S in/g`` and ``out/g``, of a transposed layer of ``in/g`` and ``S out/g``. With more input
        than output or the other way around, the circular operator has zeros besides.
        """
        return self._over_coarse(singular)

    def gain(self, kind: Kind = "max") -> Tensor:
        r"""Return by what factor a wave is amplified, by its frequency: amplitudes, ``(*size)``.

        ``"max"`` is that of the best mix of channels, :math:`s_1(A(w)) / \sqrt S`; ``"rms"`` that
        of random channels in the mean of energies, :math:`|A(w)|_F / \sqrt{S\, \mathrm{in}}`. The
        energy of the output counts all its waves, and is that of the whole output.

        Args:
            kind: ``"max"`` or ``"rms"``. Default: "max"

        Raises:
            ValueError: Another kind.
        """
        _check_kind(kind)
        if self.geometry.transposed:
            if kind == "max":
                return self._over_coarse(largest).amax(-1)
            return self._over_coarse(_frobenius) / math.sqrt(self._num_inputs)
        share = math.sqrt(self.geometry.num_aliases)
        if kind == "max":
            return self._over_fine(lambda a: largest(a).amax(-1)) / share
        return self._over_fine(_frobenius) / (share * math.sqrt(self._num_inputs))

    def band_gain(
        self,
        feature_mask: Tensor | None = None,
        num_bands: int | None = None,
        kind: Kind = "max",
        power: Tensor | float | None = None,
    ) -> Tensor:
        r"""Return by what factor inputs that are confined to a band are amplified, ``(M,)``.

        ``"max"`` is the operator norm of the layer on such inputs; under a stride, frequencies of a
        band that alias onto each other may add up. ``"rms"`` is the root of the mean energy that a
        random input of the band gains.

        Args:
            feature_mask: Integer band ids over the unshifted Fourier plane of the input,
                ``(*size)`` or broadcastable to it, as in :class:`~captum_spectral.SpectralShapley`.
                None: the bands of :func:`~captum_spectral.band_mask`. Default: None
            num_bands: How many, when there is no mask. None: 8, or as many as fit. Default: None
            kind: ``"max"`` or ``"rms"``. Default: "max"
            power: Power spectrum of the random inputs, ``(*size)``; a number a is for
                :math:`1/f^a`, without the mean. None: white. For ``"rms"`` alone. Default: None

        Raises:
            TypeError: A mask or power of a wrong kind.
            ValueError: Another kind, a mask that does not fit or is not symmetric, more bands than
                frequencies, power that is negative or of another shape, or with ``kind="max"``.

        Returns:
            ``(M,)`` amplitudes; NaN for an id that no frequency has, and where a band has no power.

        Example::

            >>> import torch
            >>> from captum_spectral.weights import frequency_response
            >>> halves = torch.nn.Conv1d(1, 1, 2, stride=2, bias=False)
            >>> _ = torch.nn.init.constant_(halves.weight, 0.5)
            >>> frequency_response(halves, 64).band_gain(num_bands=2, kind="rms")
            tensor([0.6..., 0.3...], grad_fn=...)
        """
        _check_kind(kind)
        if power is not None and kind == "max":
            raise ValueError("power weighs frequencies for kind='rms'; leave it out of kind='max'")
        ids = self.band_ids(feature_mask, num_bands)
        count = int(ids.max()) + 1
        if kind == "rms":
            weights = self._power(power)
            gain = self.gain("rms")
            unit = unit_of(gain.detach().amax())  # squares of other numbers may overflow
            energy = _sums((gain / unit).square() * weights, ids, count)
            total = _sums(weights, ids, count)
            mean = energy / total.where(total > 0, 1.0)
            # The root has no gradient at 0, where that of the energy is 0.
            root = torch.where(mean > 0, mean.where(mean > 0, 1.0).sqrt(), mean)
            return (unit * root).where(total > 0, math.nan)
        if self.geometry.transposed or self.geometry.num_aliases == 1:
            return largest_in_bands(self.gain("max"), ids)
        return torch.stack([self._norm_of_aliases(ids == band) for band in range(count)])

    def band_ids(self, feature_mask: Tensor | None = None, num_bands: int | None = None) -> Tensor:
        """Return the band of every frequency of the input, ``(*size)`` int64, checked."""
        dims = tuple(range(1, len(self.size) + 1))
        features = FourierBands(feature_mask, num_bands=num_bands, spectral_dims=dims)
        place = torch.zeros(1, device=self._kernel.device)
        ids = features.ids(place.expand(1, *self.size) if self.size else place)
        return ids.expand(1, *self.size)[0]

    def norm(self) -> Tensor:
        """Return the largest singular value at the frequencies of the grid, a 0-d tensor.

        The operator norm of the layer with circular padding on inputs of ``size``.
        """
        return self._over_coarse(largest, spread=False).amax()

    def norm_bound(self) -> Tensor:
        r"""Return an upper bound of the layer's norm on inputs of any size, with zero padding.

        .. math:: \max_\nu s_1(B(\nu)) \sqrt{\frac12 + \frac1{2 \prod_d \cos(\pi D_d / N_d)}},
            \qquad D_d = \Big\lfloor \frac{d\,(k_d - 1)}{s_d} \Big\rfloor < \frac{N_d}{2}

        over the :math:`N_d` points per dim of the coarse grid bounds the supremum over all
        frequencies, the norm on the infinite plane: with the largest value :math:`m` on the grid,
        :math:`|B v|^2 - m^2/2` is a trigonometric polynomial of degree :math:`D_d` between
        :math:`\pm m^2/2` there, and grows at most by the inverse cosines between the points (Ehlich
        and Zeller). Zero padding of any width only cuts from what the infinite plane holds. An
        allowance for rounding is included. The bound holds for circular padding, too, where the
        stride divides the size.

        Raises:
            ValueError: Reflected or replicated borders, which may add energy; a grid too small for
                the kernel.

        References:
            H. Ehlich, K. Zeller, *Schwankung von Polynomen zwischen Gitterpunkten*, Math. Z. 86,
            1964. B. Delattre et al., *Efficient Bound of Lipschitz Constant for Convolutional
            Layers by Gram Iteration*, ICML 2023 (such a bound without stride).
        """
        self._check_bounded()
        return self.norm() * self.bound_factor()

    def bound_factor(self) -> float:
        """Return ``norm_bound() / norm()``, which the geometry alone decides.

        Raises:
            ValueError: As :meth:`norm_bound`.
        """
        self._check_bounded()
        _, coarse = self.geometry.grids(self.size)
        cosines = 1.0
        for n, degree in zip(coarse, self.geometry.degrees, strict=True):
            if degree and 2 * degree >= n:
                raise ValueError(
                    f"size={self.size} has {n} points where the kernel needs at least "
                    f"{2 * degree + 1} for a bound; leave size out for enough of them"
                )
            cosines *= math.cos(math.pi * degree / n) if degree else 1.0
        taps, _, m, n = self._kernel.shape
        eps = torch.finfo(self._kernel.dtype).eps
        return math.sqrt((1 + 1 / cosines) / 2) * (
            1 + (taps + m + n * self.geometry.num_aliases) * eps
        )

    def aliasing(self, power: Tensor | float | None = None) -> Tensor:
        """Return the share of passed energy from above the Nyquist frequency of the output.

        Of a flat filter it is ``1 - 1/S``, of an ideal low pass 0, without stride always 0. A
        frequency on the edge counts half. Of a transposed layer it is the share of its output's
        energy above the Nyquist frequency of its input, the copies that it leaves.

        Args:
            power: Power spectrum of random inputs, as in :meth:`band_gain`. Default: None

        Returns:
            A number from 0 to 1, 0-d; NaN where nothing is passed.

        Raises:
            TypeError: Power of a wrong kind.
            ValueError: Power that is negative or of another shape.
        """
        fine, coarse = self.geometry.grids(self.size)
        weights = self._power(power)
        if self.geometry.transposed:
            weights = weights.repeat(self.geometry.stride)  # the copies of each frequency
        amplitudes = self._over_fine(_frobenius)
        passed = (amplitudes / unit_of(amplitudes.detach().amax())).square() * weights
        below = torch.ones((), dtype=passed.dtype, device="cpu")
        for d, (n, m) in enumerate(zip(fine, coarse, strict=True)):
            k = torch.arange(n, device="cpu")
            k = 2 * torch.minimum(k, n - k)
            share = (k < m).to(passed.dtype) + (k == m).to(passed.dtype) / (2 if n > m else 1)
            below = below * share.reshape([-1 if i == d else 1 for i in range(len(fine))])
        return (passed * (1 - below.to(passed.device))).sum() / passed.sum()

    @torch.no_grad()
    def predict(self, other_weight: Tensor, order: int = 2) -> Prediction:
        r"""Predict how all singular values move when the layer's weight becomes another.

        The matrices :math:`B(\nu)` are linear in the weight, so each moves along the
        :math:`B(\nu)` of the difference: a Taylor polynomial per frequency, with a radius that
        the error of no value exceeds, see
        :meth:`SingularValues.predict <captum_spectral.weights.SingularValues.predict>`. In float64
        whatever the weights are, like the values of ``layer.double()``; not differentiable.

        Args:
            other_weight: In the shape of ``layer.weight``. A batch norm that is fused into this
                response scales it, too.
            order: Of the polynomial, at least 1. Default: 2

        Returns:
            :class:`Prediction` of ``change`` and ``error``, each ``(*coarse, g, p)`` like
            :meth:`singular_values`.

        Raises:
            TypeError: A weight that is no real floating tensor, an order that is no integer.
            ValueError: A weight of another shape or not finite, an order below 1.

        Cost: no model rows. For order 2, 6 to 8 times as long as ``singular_values()``.

        Example::

            >>> import torch
            >>> from captum_spectral.weights import frequency_response
            >>> layer = torch.nn.Conv2d(3, 8, 3, bias=False)
            >>> rounded = (layer.weight * 64).round() / 64
            >>> change, error = frequency_response(layer, 8).predict(rounded)
            >>> change.shape, bool((error > 0).all())
            (torch.Size([8, 8, 1, 3]), True)
        """
        order = check_count("order", order)
        other = self._layout.check(other_weight, "other_weight").to(self._kernel.device)
        own = self._kernel.double()
        step = self._layout.kernel(other.double()) - own
        # Both side by side as groups of one layer go through the same frequencies.
        both = copy.copy(self)
        both._kernel = torch.cat([own, step], 1)

        def of(matrices: Tensor) -> Tensor:
            here, there = matrices.chunk(2, 1)
            return torch.stack(SingularValues(here).predict(there, order), -1)

        change, error = both._over_coarse(of, copies=4 + 2 * order).unbind(-1)
        # The matrices are sums of taps, each of which is rounded.
        size = (2 * own.flatten(1).norm(dim=1) + step.flatten(1).norm(dim=1)).sum()
        return Prediction(change, error + (len(own) + 4) * torch.finfo(own.dtype).eps * size)

    # ------------------------------------------------------------------ frequencies

    @property
    def _num_inputs(self) -> int:
        _, groups, coarse, fine = self._kernel.shape
        return groups * (coarse if self.geometry.transposed else fine)

    @property
    def _entries(self) -> int:
        """Numbers held for one frequency: its matrices, or the phases of its taps."""
        return max(self._kernel[0].numel(), 2 * len(self._kernel))

    def _at(self, index: Tensor, fine: Sequence[int]) -> Tensor:
        return transfer(self._kernel, self._offsets, fine, index)

    def _over_fine(self, reduce: _Reduction) -> Tensor:
        """Return numbers of ``A(w)`` over the fine grid, ``(*fine)``."""
        fine, _ = self.geometry.grids(self.size)
        # Along a dim of one tap nothing depends on the frequency.
        shape = zip(fine, self.geometry.kernel_size, strict=True)
        small = tuple(1 if k == 1 else n for n, k in shape)
        index = half_plane(small)
        parts = blocks_of(len(index), self._entries)
        values = torch.cat([reduce(self._at(index[part], small)) for part in parts])
        return from_half(values, small).expand(fine)

    def _over_coarse(self, reduce: _Reduction, spread: bool = True, copies: int = 1) -> Tensor:
        """Return numbers of ``B(nu)`` over the coarse grid, ``(*coarse, g, ...)``.

        Args:
            reduce: Numbers of matrices ``(F, g, O, S I)``.
            spread: Return the values over the whole grid, not the different ones. Default: True
            copies: Of the matrices that ``reduce`` holds at a time. Default: 1
        """
        _, coarse = self.geometry.grids(self.size)
        # Where the stride spans the kernel, frequencies differ by a rotation of the aliases.
        shape = zip(coarse, self.geometry.degrees, strict=True)
        small = tuple(1 if degree == 0 else n for n, degree in shape)
        index = half_plane(small)
        aliases = self._aliases(index, small)
        parts = blocks_of(len(index), copies * self._entries * self.geometry.num_aliases)
        values = torch.cat([reduce(self._side_by_side(aliases[part], small)) for part in parts])
        if not spread:
            return values
        values = from_half(values, small)
        return values.expand(*coarse, *values.shape[len(coarse) :])

    def _aliases(self, index: Tensor, coarse: Sequence[int]) -> Tensor:
        """Return the bins ``(F, S, D)`` of the fine grid that meet in bins of the coarse one."""
        steps = all_indices(self.geometry.stride) * torch.tensor(list(coarse), device="cpu")
        return index[:, None] + steps

    def _side_by_side(self, aliases: Tensor, coarse: Sequence[int]) -> Tensor:
        """Return ``[A(w_0) A(w_1) ...] / sqrt(S)``, ``(F, g, O, A I)``, of bins ``(F, A, D)``."""
        fine = [n * s for n, s in zip(coarse, self.geometry.stride, strict=True)]
        blocks = self._at(aliases, fine).permute(0, 2, 3, 1, 4).flatten(3)
        return blocks / math.sqrt(self.geometry.num_aliases)

    def _norm_of_aliases(self, inside: Tensor) -> Tensor:
        """Return the norm on inputs confined to ``inside``, a boolean ``(*fine)``.

        Only the columns of the blocks that are inside are made.
        """
        _, coarse = self.geometry.grids(self.size)
        share = math.sqrt(self.geometry.num_aliases)
        index = half_plane(coarse)
        aliases = self._aliases(index, coarse)
        kept = inside.cpu()[tuple(aliases.unbind(-1))]  # (F, S)
        counts = kept.sum(1)
        if not counts.any():
            return self._kernel.new_tensor(math.nan)
        if len(self._offsets) == 1:  # the same matrix at all of them
            return largest(self._kernel[0]).amax() * math.sqrt(int(counts.max())) / share
        found = []
        # Frequencies with as many aliases inside share a batch of matrices.
        for count in counts.unique().tolist():
            if count == 0:
                continue
            here = counts == count
            bins = aliases[here][kept[here]].reshape(-1, count, len(coarse))
            for part in blocks_of(len(bins), count * self._entries):
                found.append(largest(self._side_by_side(bins[part], coarse)).amax())
        return torch.stack(found).amax()

    def _power(self, power: Tensor | float | None) -> Tensor:
        """Return the weight of every frequency of the input, ``(*size)``."""
        return power_of(power, self.size, self._kernel.detach())

    def _check_bounded(self) -> None:
        if self.geometry.unbounded is not None:
            raise ValueError(
                f"norm_bound does not hold for a layer with {self.geometry.unbounded}; norm() is "
                "that of the same weights with circular padding"
            )


def largest_in_bands(values: Tensor, ids: Tensor) -> Tensor:
    """Return the largest value of each band, ``(M,)``; NaN for an id that no frequency has."""
    bands = [values[ids == band] for band in range(int(ids.max()) + 1)]
    return torch.stack([x.amax() if len(x) else x.new_tensor(math.nan) for x in bands])


def _sums(values: Tensor, ids: Tensor, count: int) -> Tensor:
    return values.new_zeros(count).index_add(0, ids.flatten(), values.flatten())


def _frobenius(matrices: Tensor) -> Tensor:
    """Return the norm of all groups together, ``(F,)``."""
    return norms(matrices, (-3, -2, -1))


def _check_kind(kind: str) -> None:
    if kind not in ("max", "rms"):
        raise ValueError(f"kind must be 'max' or 'rms', got {kind!r}")
