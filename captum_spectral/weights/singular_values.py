"""Singular values of weights, and how they move when the weights move."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.weights._clusters import Clusters
from captum_spectral.weights._curvature import Curvature, mean_under_noise
from captum_spectral.weights._matrices import (
    check_index,
    format_direction,
    format_matrix,
    format_std,
    unit_of,
)
from captum_spectral.weights._series import coefficients

__all__ = ["Degenerate", "Forecast", "Prediction", "SingularValues"]

Degenerate = Literal["raise", "mean", "nan"]
_LARGEST_HESSIAN = 2**26  # entries: half a GiB in float64
_ALL = slice(None)


class Prediction(NamedTuple):
    """The change of singular values along a direction, as :meth:`SingularValues.predict` sees it.

    Args:
        change: ``(..., p)`` of every value, or of the mean of its cluster; 0 for a value that is 0.
        error: ``(..., p)`` certified radius: no value changes by less than ``change - error`` or
            by more than ``change + error``.
    """

    change: Tensor
    error: Tensor


class Forecast(NamedTuple):
    """The change of singular values under noise, as :meth:`SingularValues.forecast` sees it.

    Args:
        mean: ``(..., p)`` mean change to second order.
        std: ``(..., p)`` standard deviation of the change to first order.
    """

    mean: Tensor
    std: Tensor


class SingularValues:
    r"""Singular values of matrices and their derivatives of any order, from one decomposition.

    For :math:`A = \sum_k s_k u_k v_k^H` and a direction :math:`E`, with
    :math:`p = \min(m, n)` values in falling order,

    .. math::
        s_k(A + tE) = s_k + t\, \mathrm{Re}\, u_k^H E v_k + \frac{t^2}{2} D^2 s_k[E, E] + \dots

    The derivatives follow from T. Kato's reduced resolvents of
    :math:`\begin{pmatrix} 0 & A \\ A^H & 0 \end{pmatrix}`: all values at once, batched, real and
    complex. Values closer than ``rtol`` times the largest form a cluster. Tied values have no
    derivatives of their own, nor can those of close ones be computed well; the mean of a cluster
    has them, and they are as accurate at a tie as near it. The weight is detached: nothing here is
    differentiated by autograd; :func:`nuclear_norm` and its like are.

    Args:
        weight: ``(..., m, n)``, real or complex. Half precision is computed in float32.
        rtol: The largest distance of two neighbours in a cluster, over the largest value of the
            matrix; at least 0. None: ``max(m, n)`` times the precision of the dtype, so that only
            ties form clusters. Default: None

    Attributes:
        values: ``(..., p)`` :math:`s_k`, falling.
        gap: ``(..., p)`` :math:`d_k`, the distance of the cluster of :math:`s_k` to the other
            eigenvalues: other values, :math:`-s_p`, and 0 unless the matrix is square. Derivatives
            of order N grow like :math:`d_k^{1 - N}`. 0 for a value that is 0.
        clusters: ``(..., p)`` int64 number of the cluster of each value, from 0 for the largest.

    Raises:
        TypeError: A weight that is no floating or complex tensor.
        ValueError: A weight that is not finite or is no matrix, a negative ``rtol``.

    Cost: one decomposition, O(mnp), here. With it, :meth:`derivative` takes O(mnp) for the
    direction and O(N p^3) more for order N; without ties O(N^2 p^2) on top, with ties O(N^2 p^3).
    Memory 3N matrices p x p for each direction. No model rows.

    float32 is computed in float32: where gaps are 1e-3 of the largest value, errors of second
    derivatives are 1e-5 in the median and up to some percent. ``weight.double()`` costs twice the
    time.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import SingularValues
        >>> spectrum = SingularValues(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        >>> spectrum.values, spectrum.gap
        (tensor([3., 1.]), tensor([2., 1.]))
        >>> direction = torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
        >>> spectrum.derivative(direction, order=2)      # s_1 / (s_1^2 - s_2^2), and its negative
        tensor([ 0.3750, -0.1250])

    References:
        R. Luo, C. O'Riordan, J. McDermott, *Higher-Order Singular-Value Derivatives of Rectangular
        Real Matrices*, Journal of Mathematical Analysis and Applications, 2025. T. Kato,
        *Perturbation Theory for Linear Operators*, chapter II. First and second derivatives are
        older: G. Stewart, 1984; R. Vaccaro, 1994; A. Lewis and H. Sendov, 2005.
    """

    values: Tensor
    gap: Tensor
    clusters: Tensor

    def __init__(self, weight: Tensor, rtol: float | None = None) -> None:
        self._weight = format_matrix(weight).detach()
        left, values, right = torch.linalg.svd(self._weight, full_matrices=False)
        self._left, self._right = left, right.mH
        self._precision = max(self._weight.shape[-2:]) * torch.finfo(values.dtype).eps
        tolerance = self._precision if rtol is None else _check_rtol(rtol)
        # Derivatives are those of weights of size 1, so that no product over- or underflows.
        self._unit = unit_of(values[..., :1])
        scaled = values / self._unit
        self._clusters = Clusters(
            scaled,
            tolerance * scaled[..., :1],
            self._precision * scaled[..., :1],
            square=self._weight.shape[-2] == self._weight.shape[-1],
        )
        self.values = values
        self.gap = self._clusters.gap * self._unit
        self.clusters = self._clusters.ids

    def derivative(
        self,
        direction: Tensor,
        order: int = 1,
        k: int | None = None,
        degenerate: Degenerate = "raise",
    ) -> Tensor:
        r"""Compute :math:`D^N s_k[E, \dots, E]`, the N-th derivative of :math:`s_k(A + tE)` at 0.

        Args:
            direction: ``(..., m, n)`` :math:`E`; leading dims broadcast with those of the weight,
                so that many directions share one decomposition.
            order: :math:`N`, at least 1. Default: 1
            k: One value, counted from the largest; negative ones count from the smallest. None:
                all of them. Default: None
            degenerate: Of values in a cluster: ``"raise"``, the derivative of the cluster's
                ``"mean"``, or ``"nan"``. A value that is 0 has none in any case: an error with
                ``"raise"``, else NaN. Default: ``"raise"``

        Returns:
            ``(..., p)``, or ``(...)`` for one ``k``.

        Raises:
            TypeError: A direction that is no floating tensor, or is complex where the weight is
                real; ``order`` or ``k`` that are no integers.
            ValueError: A direction of another shape or not finite, ``order`` below 1, ``k`` out of
                range, an unknown ``degenerate``, values without derivatives of their own.

        Example::

            >>> import torch
            >>> from captum_spectral.weights import SingularValues
            >>> spectrum = SingularValues(torch.diag(torch.tensor([2.0, 2.0, 1.0])))
            >>> E = torch.diag(torch.tensor([1.0, 0.0, 0.5]))
            >>> spectrum.derivative(E, degenerate="mean")
            tensor([0.5000, 0.5000, 0.5000])
            >>> spectrum.derivative(E, degenerate="nan")
            tensor([   nan,    nan, 0.5000])
        """
        e = format_direction(direction, self._weight)
        order = check_count("order", order)
        chosen = None if k is None else check_index(k, self.values.shape[-1])
        self._check_degenerate(degenerate, chosen)
        window = _ALL if chosen is None else self._clusters.window(chosen)
        found = math.factorial(order) * self._coefficients(e, order, window)[-1]
        if chosen is not None:
            mean = (found * self._clusters.weights(chosen)).sum(-1)
            return self._marked(mean, degenerate, chosen, dims=0)
        found = self._clusters.mean(found)
        return torch.where(self._without(degenerate), torch.nan, found)

    def predict(self, direction: Tensor, order: int = 2) -> Prediction:
        r"""Predict :math:`s_k(A + E) - s_k(A)`, with a radius that the error never exceeds.

        .. math::
            \sum_{j=1}^N \frac{D^j s_k}{j!} \pm \min\Big(\frac{d_k}{2} \frac{r^{N+1}}{1 - r},\;
            |\text{prediction}| + \|E\|_2\Big), \qquad r = \frac{2 \|E\|_2}{d_k}

        The first bounds the remainder of the series inside its circle of convergence, :math:`r <
        1` (Cauchy's estimate); the second is Weyl's inequality, which holds always. A little is
        added for rounding. Radii are safe, not sharp: the error is often a hundredth of them. In
        a cluster, the prediction is that of the mean and the radius is Weyl's. A value that is 0
        is predicted to stay there, within :math:`\|E\|_2`.

        Args:
            direction: ``(..., m, n)`` :math:`E`, all of it: the other weight is :math:`A + E`.
            order: :math:`N`, at least 1. Default: 2

        Returns:
            :class:`Prediction` of ``change`` and ``error``, ``(..., p)``.

        Raises:
            TypeError: As :meth:`derivative`.
            ValueError: As :meth:`derivative`.

        Cost: that of ``derivative``, and the singular values of the direction.

        Example::

            >>> import torch
            >>> from captum_spectral.weights import SingularValues
            >>> _ = torch.manual_seed(0)
            >>> old, new = torch.eye(4, 6) + torch.randn(2, 4, 6, dtype=torch.float64) / 100
            >>> old[0, 0] = new[0, 0] = 2
            >>> change, error = SingularValues(old).predict(new - old)
            >>> truth = torch.linalg.svdvals(new) - torch.linalg.svdvals(old)
            >>> bool(((change - truth).abs() <= error).all())
            True
        """
        e = format_direction(direction, self._weight)
        order = check_count("order", order)
        own = self._clusters
        change = own.mean(torch.stack(self._coefficients(e, order, _ALL)).sum(0))
        size = torch.linalg.matrix_norm(e, 2)[..., None] * (1 + self._precision)
        # Far outside of the circle of convergence, high orders may overflow.
        change = torch.where(own.zero | ~change.isfinite(), 0, change)
        r = 2 * size / torch.where(own.zero, 1, self.gap)
        series = self.gap / 2 * r ** (order + 1) / (1 - r)
        usable = (r < 1) & ~own.zero & ~own.tied & series.isfinite()
        weyl = change.abs() + size
        error = torch.where(usable, torch.minimum(series, weyl), weyl)
        # The decomposition is that of a matrix next to A, whose values differ by as much (Weyl).
        rounding = self._precision * (2 * self.values[..., :1] + 4 * size)
        return Prediction(change, error + rounding)

    def forecast(self, std: float | Tensor) -> Forecast:
        r"""Forecast the changes under independent noise of mean 0 in every entry.

        .. math::
            \frac12 \sum_{ab} \tau_{ab}^2 \frac{\partial^2 s_k}{\partial A_{ab}^2}, \qquad
            \Big(\sum_{ab} \tau_{ab}^2 (u_a v_b)^2\Big)^{1/2}

        With :math:`\tau = \text{step} / \sqrt{12}` this is a forecast of what rounding to a grid
        does, without rounding. Noise raises the largest value: the mean decides at few bits, not
        the deviation. In complex weights the noise of the real and the imaginary part is
        :math:`\tau_{ab} / \sqrt 2` each. In a cluster it is that of the mean. NaN for a value that
        is 0.

        Args:
            std: :math:`\tau`: a number, or what broadcasts to ``(..., m, n)``, such as ``(m, 1)``
                for a step per row.

        Returns:
            :class:`Forecast` of ``mean`` and ``std``, ``(..., p)``.

        Raises:
            TypeError: ``std`` that is neither a number nor a real floating tensor.
            ValueError: ``std`` that is negative, not finite or of a shape that does not fit.

        Cost: O(mnp); O(mnp^2) for a real weight and a ``std`` that varies in both dims.

        Example::

            >>> import torch
            >>> from captum_spectral.weights import SingularValues
            >>> _ = torch.manual_seed(0)
            >>> A = torch.randn(16, 9, dtype=torch.float64)
            >>> step = 0.2
            >>> mean, std = SingularValues(A).forecast(step / 12**0.5)
            >>> rounded = (A / step).round() * step
            >>> change = torch.linalg.svdvals(rounded) - torch.linalg.svdvals(A)
            >>> bool(((change - mean).abs() <= 4 * std).all())
            True
        """
        dtype = self.values.dtype
        tau = format_std(std, self._weight, dtype)
        unit = unit_of(tau.amax((-2, -1)))[..., None]
        variance = (tau / unit[..., None]) ** 2
        own = self._clusters
        mean, deviation = mean_under_noise(self._left, self._right, variance, own)
        mean = own.mean(mean) * unit * (unit / self._unit)
        found = (torch.where(own.zero, torch.nan, x) for x in (mean, deviation * unit))
        return Forecast(*found)

    def gradient(self, k: int, degenerate: Degenerate = "raise") -> Tensor:
        r"""Compute the gradient of :math:`s_k`, :math:`u_k v_k^H`; in a cluster that of its mean.

        Args:
            k: The value, counted from the largest; negative ones count from the smallest.
            degenerate: As in :meth:`derivative`. Default: ``"raise"``

        Returns:
            ``(..., m, n)``: the first derivative along :math:`E` is
            :math:`\mathrm{Re} \sum_{ab} \bar G_{ab} E_{ab}`.

        Raises:
            TypeError: ``k`` that is no integer.
            ValueError: As :meth:`derivative`.
        """
        left, right, weights, _ = self._cluster_of(k, degenerate)
        return self._marked((left * weights) @ right.mH, degenerate, k)

    def hvp(self, direction: Tensor, k: int, degenerate: Degenerate = "raise") -> Tensor:
        r"""Compute the Hessian of :math:`s_k` times a direction, in O(mn).

        .. math:: \mathrm{d}u_k\, v_k^H + u_k\, \mathrm{d}v_k^H

        with the derivatives of both vectors along the direction.

        Args:
            direction: ``(..., m, n)``, see :meth:`derivative`.
            k: The value, counted from the largest; negative ones count from the smallest.
            degenerate: As in :meth:`derivative`. Default: ``"raise"``

        Returns:
            ``(..., m, n)``.

        Raises:
            TypeError: As :meth:`derivative`.
            ValueError: As :meth:`derivative`.
        """
        e = format_direction(direction, self._weight)
        left, right, weights, columns = self._cluster_of(k, degenerate)
        size = unit_of(e.abs().amax((-2, -1), keepdim=True))
        e = e / size
        minus, plus, own = self._clusters.resolvents(columns)
        x, y = e @ right, e.mH @ left
        alpha, beta = self._left.mH @ x, self._right.mH @ y
        upper, lower = -(alpha + beta) * minus, (alpha - beta) * plus
        du = self._left @ (upper + lower) / 2 + (x - self._left @ alpha) * own[..., None, :]
        dv = self._right @ (upper - lower) / 2 + (y - self._right @ beta) * own[..., None, :]
        found = (du * weights) @ right.mH + (left * weights) @ dv.mH
        return self._marked(found * (size / self._unit[..., None]), degenerate, k)

    def hessian_diagonal(self, k: int, degenerate: Degenerate = "raise") -> Tensor:
        r"""Compute :math:`\partial^2 s_k / \partial A_{ab}^2` for a real weight, in O(mnp).

        Args:
            k: The value, counted from the largest; negative ones count from the smallest.
            degenerate: As in :meth:`derivative`. Default: ``"raise"``

        Returns:
            ``(..., m, n)``.

        Raises:
            TypeError: A complex weight, ``k`` that is no integer.
            ValueError: As :meth:`derivative`.
        """
        curvature = self._curvature("hessian_diagonal", k, degenerate)
        return self._marked(curvature.diagonal() / self._unit[..., None], degenerate, k)

    def hessian(self, k: int, degenerate: Degenerate = "raise") -> Tensor:
        r"""Compute the Hessian of :math:`s_k` for a real weight.

        .. math::
            \frac{\partial^2 s_k}{\partial A_{ab}\, \partial A_{cd}} =
            L_{ac} v_b v_d + u_a u_c R_{bd} + C_{ad} u_c v_b + C_{cb} u_a v_d

        where :math:`L = \sum_{i \neq k} \frac{s_k}{s_k^2 - s_i^2} u_i u_i^T` over all left singular
        vectors, those with :math:`s_i = 0` too, :math:`R` the same of the right ones, and
        :math:`C = \sum_{i \neq k} \frac{s_i}{s_k^2 - s_i^2} u_i v_i^T`.

        Args:
            k: The value, counted from the largest; negative ones count from the smallest.
            degenerate: As in :meth:`derivative`. Default: ``"raise"``

        Returns:
            ``(..., m, n, m, n)``.

        Raises:
            TypeError: A complex weight, ``k`` that is no integer.
            ValueError: More than 2^26 entries; as :meth:`derivative`.
        """
        entries = self._weight.numel() * math.prod(self._weight.shape[-2:])
        if entries > _LARGEST_HESSIAN:
            raise ValueError(
                f"the hessian of a weight of shape {tuple(self._weight.shape)} has {entries} "
                "entries, more than 2^26; use hvp(direction, k) for products with it, or "
                "hessian_diagonal(k)"
            )
        curvature = self._curvature("hessian", k, degenerate)
        return self._marked(curvature.full() / self._unit[..., None, None, None], degenerate, k, 4)

    def __repr__(self) -> str:
        """Name the sizes, not the numbers."""
        shape, dtype = tuple(self._weight.shape), self._weight.dtype
        return f"SingularValues(weight {shape}, {dtype}, {self.values.shape[-1]} values)"

    def _coefficients(self, e: Tensor, order: int, columns: slice) -> list[Tensor]:
        """Return D^j / j! of the columns for j = 1..order, before means over clusters."""
        size = unit_of(e.abs().amax((-2, -1)))[..., None]  # (..., 1)
        found = coefficients(
            self._left, self._right, e / size[..., None],
            clusters=self._clusters, columns=columns, order=order,
        )  # fmt: skip
        return [h * size * (size / self._unit) ** j for j, h in enumerate(found)]

    def _cluster_of(self, k: int, degenerate: Degenerate) -> tuple[Tensor, Tensor, Tensor, slice]:
        """Return vectors of the window of k, the weights of their mean, and the window."""
        chosen = check_index(k, self.values.shape[-1])
        self._check_degenerate(degenerate, chosen)
        columns = self._clusters.window(chosen)
        weights = self._clusters.weights(chosen)[..., None, :].to(self.values.dtype)
        return self._left[..., columns], self._right[..., columns], weights, columns

    def _curvature(self, name: str, k: int, degenerate: Degenerate) -> Curvature:
        if self._weight.dtype.is_complex:
            raise TypeError(
                f"{name} needs a real weight, got dtype {self._weight.dtype}; "
                "use derivative(direction, order=2) or hvp(direction, k)"
            )
        _, _, weights, columns = self._cluster_of(k, degenerate)
        return Curvature(self._left, self._right, self._clusters, columns, weights)

    def _check_degenerate(self, degenerate: Degenerate, k: int | None) -> None:
        """Raise if values that are asked for have no derivatives of their own."""
        if degenerate not in ("raise", "mean", "nan"):
            raise ValueError(f"degenerate must be 'raise', 'mean' or 'nan', got {degenerate!r}")
        if degenerate != "raise":
            return
        own = self._clusters
        wrong = self._without(degenerate)
        asked = wrong if k is None else wrong[..., k : k + 1]
        if not asked.any():
            return
        *matrix, column = asked.nonzero()[0].tolist()
        number = column if k is None else k
        where = f" of matrix {tuple(matrix)}" if matrix else ""
        values, ids = self.values[tuple(matrix)], own.ids[tuple(matrix)]
        if own.zero[tuple(matrix)][number]:
            raise ValueError(
                f"value {number}{where} is {float(values[number]):.4g}, 0 to within rounding or "
                "in a cluster that reaches 0, and has no derivative; degenerate='nan' marks it, "
                "k asks for another"
            )
        tied = values[ids == ids[number]]
        first = int((ids == ids[number]).nonzero()[0])
        raise ValueError(
            f"values {first} to {first + len(tied) - 1}{where} are tied at {float(tied[0]):.4g}: "
            f"{float(tied[0] - tied[-1]):.4g} apart, a gap within rtol; alone they have no "
            "derivative. degenerate='mean' gives that of their mean, 'nan' marks them"
        )

    def _marked(self, found: Tensor, degenerate: Degenerate, k: int, dims: int = 2) -> Tensor:
        """Put NaN where value k has no derivative; it has so many dims behind the leading ones."""
        wrong = self._without(degenerate)[..., k]
        return torch.where(wrong.reshape((*wrong.shape, *[1] * dims)), torch.nan, found)

    def _without(self, degenerate: Degenerate) -> Tensor:
        """Return which values have no derivative, ``(..., p)``."""
        own = self._clusters
        return own.zero if degenerate == "mean" else own.zero | own.tied


def _check_rtol(rtol: float) -> float:
    if isinstance(rtol, bool) or not isinstance(rtol, (int, float)):
        raise TypeError(f"rtol must be a number or None, got {rtol!r}")
    if not 0 <= rtol < math.inf:
        raise ValueError(f"rtol must be at least 0 and finite, got {rtol}")
    return float(rtol)
