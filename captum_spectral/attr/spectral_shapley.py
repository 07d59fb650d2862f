"""SpectralShapley: Shapley values of the frequency bands of an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import torch
from captum.attr import PerturbationAttribution
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._captum import BaselineType, TargetType, log_usage
from captum_spectral._engine.outputs import Output, reading
from captum_spectral.attr._synchronous import Synchronous
from captum_spectral.attr._values import Solver, gap_of, in_form
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import SpectralDims
from captum_spectral.features.painting import unpaint_ids
from captum_spectral.game import BandGame

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_spectral.attr._overloads import Inputs, No, ShapleyOptions, Yes

__all__ = ["SpectralShapley"]


class SpectralShapley(Synchronous, PerturbationAttribution):  # type: ignore[misc]
    r"""Shapley values of the frequency bands of an input: which frequencies the output rests on.

    The input :math:`x` and the baseline :math:`b` are split into :math:`M` bands of their Fourier
    spectrum. A coalition :math:`S` of bands is worth the model's output on the input that holds the
    bands in :math:`S` of the input and all others of the baseline, and the payoff of all bands is
    split by Shapley's formula:

    .. math::
        v(S) = f\Big(b + \sum_{i \in S} (x_i - b_i)\Big), \qquad
        \phi_i = \sum_{S \not\ni i} \frac{1}{M \binom{M-1}{|S|}} \big(v(S \cup i) - v(S)\big),
        \qquad \sum_i \phi_i = v(\text{full}) - v(\text{empty})

    The values have the unit of the model's output (logits, or nats for log-probabilities).

    Args:
        forward_func: The model, or any modification of its forward function.
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None

    Cost in model rows per example: ``2^M`` exactly (256 for 8 bands), at most ``budget``, or at
    most ``2 n (M - 1) + 2`` with ``n_samples=n``; every coalition is evaluated once, and all
    outputs come from the same rows. Memory: the ``M + 1`` band signals of the examples in a forward
    pass, its rows, and the table of values.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralShapley
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(4 * 30 * 30, 10)).eval()
        >>> inputs = torch.rand(2, 3, 32, 32)
        >>> attributions = SpectralShapley(model).attribute(inputs, [3, 7])
        >>> attributions.shape                       # painted on the Fourier plane
        torch.Size([2, 3, 32, 32])
        >>> bands, delta = SpectralShapley(model).attribute(
        ...     inputs, [3, 7], return_input_shape=False, return_convergence_delta=True)
        >>> bands.shape                              # one value per band, low to high frequency
        torch.Size([2, 8])
        >>> bool((delta.abs() < 1e-5).all())
        True

    References:
        L. S. Shapley, *A value for n-person games*, 1953. R. Luo, J. McDermott, C. O'Riordan,
        *Interpreting Global Perturbation Robustness of Image Models using Axiomatic Spectral
        Importance Decomposition*, TMLR 2024.
    """

    def __init__(self, forward_func: Callable[..., Any], *, output: Output | None = None) -> None:
        PerturbationAttribution.__init__(self, reading(forward_func, output))

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_input_shape: Yes = ...,
        return_convergence_delta: No = ...,
        return_standard_error: No = ...,
        **options: Unpack[ShapleyOptions],
    ) -> Inputs: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_input_shape: Yes = ...,
        return_convergence_delta: No = ...,
        return_standard_error: Yes,
        **options: Unpack[ShapleyOptions],
    ) -> tuple[Inputs, Inputs]: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_input_shape: Yes = ...,
        return_convergence_delta: Yes,
        return_standard_error: No = ...,
        **options: Unpack[ShapleyOptions],
    ) -> tuple[Inputs, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_input_shape: Yes = ...,
        return_convergence_delta: Yes,
        return_standard_error: Yes,
        **options: Unpack[ShapleyOptions],
    ) -> tuple[Inputs, Tensor, Inputs]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = ...,
        *,
        return_input_shape: No,
        return_convergence_delta: No = ...,
        return_standard_error: No = ...,
        **options: Unpack[ShapleyOptions],
    ) -> Tensor: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = ...,
        *,
        return_input_shape: No,
        return_convergence_delta: No = ...,
        return_standard_error: Yes,
        **options: Unpack[ShapleyOptions],
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = ...,
        *,
        return_input_shape: No,
        return_convergence_delta: Yes,
        return_standard_error: No = ...,
        **options: Unpack[ShapleyOptions],
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = ...,
        *,
        return_input_shape: No,
        return_convergence_delta: Yes,
        return_standard_error: Yes,
        **options: Unpack[ShapleyOptions],
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = ...,
        *,
        return_input_shape: bool = ...,
        return_convergence_delta: bool = ...,
        return_standard_error: bool = ...,
        **options: Unpack[ShapleyOptions],
    ) -> Any: ...

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = None,
        *,
        baselines: BaselineType = None,
        additional_forward_args: Any = None,
        feature_mask: Tensor | tuple[Tensor, ...] | None = None,
        num_bands: int | None = None,
        spectral_dims: SpectralDims = (-2, -1),
        features: Features | tuple[Features, ...] | None = None,
        n_samples: int | None = None,
        budget: int | None = None,
        estimator: str | None = None,
        prior: Any = "energy",
        perturbations_per_eval: int | None = None,
        return_input_shape: bool = True,
        return_convergence_delta: bool = False,
        return_standard_error: bool = False,
        generator: torch.Generator | None = None,
        show_progress: bool = False,
        shortcuts: bool = True,
    ) -> Any:
        r"""Attribute the output to the frequency bands of the inputs.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): Real floating input ``(B, ..., H, W)`` of any
                size, dim 0 the examples; or a tuple of them. Half-precision inputs are transformed
                in float32 and shown to the model in their own dtype.
            target (int, tuple, Tensor, or list, optional): Output index to explain, for all
                examples (int, 1-element tensor, tuple for outputs with more dims) or per example
                (list of ints, 1-D tensor, list of tuples). None explains every output, all from
                the same forward passes. Default: None
            baselines (scalar, Tensor, tuple of scalar, or Tensor, optional): What an absent band
                holds: the band of the baseline. None (zero), a number, a tensor of the input's
                shape or with first dim 1, or a tuple of those. Default: None
            additional_forward_args (Any, optional): Further arguments of ``forward_func``, a
                single one or a tuple. Tensors with dim 0 = B are repeated with the inputs, all else
                is passed through. Default: None
            feature_mask (Tensor or tuple[Tensor, ...], optional): Integer band ids 0..M-1 over the
                full, unshifted Fourier plane (layout of ``torch.fft.fftn`` over ``spectral_dims``),
                of the shape of the spectral dims or broadcastable to the input (bands per channel,
                say). A frequency and its negative must share a band. In a tuple the same id in two
                tensors is one player. See :func:`~captum_spectral.band_mask`. None: ``num_bands``
                equal-width bands under the max-norm, for every tensor its own. Default: None
            num_bands (int, optional): Bands per input tensor when there is no ``feature_mask``.
                None: 8, or as many as fit. Default: None
            spectral_dims (tuple[int, ...], optional): The dims that are transformed: ``(-1,)`` for
                audio or time series ``(B, C, T)``, ``(-3, -2, -1)`` for volumes. For a tuple of
                inputs also one entry for each, such as ``((-2, -1), (-1,), None)``; one with None
                has no spectrum and is one player. Default: (-2, -1)
            features (Features or tuple[Features, ...], optional): Other players than frequency
                bands: any member of :mod:`captum_spectral.features`, such as ``Pixels(segments)``,
                for all inputs or one for each. Values are then painted in its layout.
                Default: None
            n_samples (int, optional): An integer ``n``: the estimate from ``n`` random orderings of
                the bands, each together with its reverse, shared by the whole batch. Default: None
            budget (int, optional): The most model rows per example, at least 4, the empty and the
                grand coalition included: the estimate from so many coalitions, shared by the whole
                batch; exact if it is ``2^M`` or more. Default: None; without ``n_samples`` the
                values are exact, from all ``2^M`` coalitions
            estimator (str, optional): What becomes of a budget. ``"gaussian_process"``: designed
                coalitions and the posterior mean under a prior of smooth games, which needs the
                fewest rows. ``"cross_fitted"``: unbiased whatever the prior, for values that are
                averaged over examples. ``"regression"``: Leverage SHAP, without standard errors.
                ``"orderings"``: as with ``n_samples``. None: ``"gaussian_process"``. Default: None
            prior (str or Tensor, optional): How much each band is expected to matter, for the first
                two estimators: ``"energy"``, by the square root of the energy of its part of input
                less baseline; ``"flat"``, all alike; or weights ``(M,)`` or ``(B, M)``. A bad prior
                costs rows, and the standard errors say so. Default: "energy"
            perturbations_per_eval (int, optional): At most ``perturbations_per_eval * B`` rows go
                through the model at once, coalition by coalition, as everywhere in Captum; must be
                1 for a ``forward_func`` that gives one number per batch. None: as many rows as the
                model is fastest with, found while the work is done and remembered for this model
                and kind of input until the process ends. Rows that do not fit in memory are halved
                in both cases. Rounding depends on it; for results that are the same to the last
                bit in every run give a number. Default: None
            return_input_shape (bool, optional): True: every Fourier bin carries its band's value,
                in the shape of the input. This is a picture of the *Fourier plane* (show it with
                :func:`~captum_spectral.visualization.visualize_spectrum`), not of the pixels.
                False: the band values ``(B, M)``. Default: True
            return_convergence_delta (bool, optional): Return the efficiency gap
                :math:`\sum_i \phi_i - (v(\text{full}) - v(\text{empty}))` as well. Default: False
            return_standard_error (bool, optional): Return the standard error as well, 0 where the
                values are exact: over the ordering pairs, of which there must be two (intervals
                take :func:`~captum_spectral.coalitions.half_width` of them), or that of the other
                estimators, which "regression" has not. Default: False
            generator (torch.Generator, optional): Source of the coalitions; None takes PyTorch's
                global one. Not used when exact. Default: None
            show_progress (bool, optional): Display a progress bar, counted in model rows.
                Default: False
            shortcuts (bool, optional): Let the engine show a Module the rows in faster ways, which
                give the same values to rounding: in another memory format, and behind affine first
                layers, which then run once per band; see :class:`~captum_spectral.Game`. False, or
                a number of ``perturbations_per_eval``: never. Not with a ``budget``.
                Default: True

        Returns:
            *Tensor* or *tuple[Tensor, ...]* of **attributions**, followed by the delta and the
            standard error where asked for:

            - **attributions**: the shape of the input (a tuple for a tuple of inputs), or
              ``(B, M)`` without ``return_input_shape``. With outputs ``(B, K)`` and no target
              ``(B, K, ..., H, W)`` or ``(B, K, M)``. The first dim is 1 for a ``forward_func`` that
              gives one number per batch. float64 where the model gives float64, else float32.
            - **delta** (``return_convergence_delta``): ``(B,)``, or ``(B, K)`` without a target.
            - **standard error** (``return_standard_error``): shape of the attributions.

        Raises:
            TypeError: Inputs, mask, baselines or counts of a wrong kind.
            ValueError: Non-finite inputs, shapes that do not fit, an asymmetric mask, more bands
                than frequencies, more than ``2^16`` rows per example without ``n_samples`` and
                ``budget``, a count below 1, a budget too small for the estimator, a forward output
                that is not finite or does not grow with the batch.
            AssertionError: A tuple target that does not fit the output (raised by Captum).
            torch.OutOfMemoryError: Not even one row fits in memory, or the table of values does
                not.
        """
        solver = Solver(
            n_samples, budget, estimator, prior, generator, with_errors=return_standard_error
        )
        if perturbations_per_eval is not None:
            check_count("perturbations_per_eval", perturbations_per_eval)
        game = BandGame(
            self.forward_func,
            inputs,
            target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            feature_mask=feature_mask,
            num_bands=num_bands,
            spectral_dims=spectral_dims,
            features=features,
            shortcuts=shortcuts and budget is None,  # to check them takes a row more
        )
        description = f"{self.get_name()} attribution"
        found = solver.solve(game, perturbations_per_eval, show_progress, description)
        results = [in_form(found.values, game, inputs, return_input_shape)]
        if return_convergence_delta:
            gap = gap_of(found.values, found.full_value, found.empty_value)
            results.append(gap.to(found.full_value.device))
        if return_standard_error:
            results.append(in_form(found.standard_error, game, inputs, return_input_shape))
        return results[0] if len(results) == 1 else tuple(results)

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: the values measure what a band adds to the output, not a slope."""
        return True

    def has_convergence_delta(self) -> bool:
        """True: the delta is the efficiency gap, 0 to rounding."""
        return True

    def compute_convergence_delta(
        self,
        attributions: Tensor | tuple[Tensor, ...],
        start_point: BaselineType,
        end_point: Tensor | tuple[Tensor, ...],
        target: TargetType = None,
        additional_forward_args: Any = None,
        *,
        feature_mask: Tensor | tuple[Tensor, ...] | None = None,
        num_bands: int | None = None,
        spectral_dims: SpectralDims = (-2, -1),
        features: Features | tuple[Features, ...] | None = None,
    ) -> Tensor:
        r"""Return the efficiency gap of given attributions, from two forward passes.

        .. math:: \delta = \sum_i \phi_i - \big(f(\text{end}) - f(\text{start})\big)

        Args:
            attributions: Band values ``(B, M)``, or painted in the shape of ``end_point``.
            start_point: The baselines.
            end_point: The inputs.
            target: The target that was explained. Default: None
            additional_forward_args: As in :meth:`attribute`. Default: None
            feature_mask: As in :meth:`attribute`. Default: None
            num_bands: As in :meth:`attribute`. Default: None
            spectral_dims: As in :meth:`attribute`. Default: (-2, -1)
            features: As in :meth:`attribute`. Default: None

        Returns:
            ``(B,)`` deltas, one per example.

        Raises:
            TypeError, ValueError: As :meth:`attribute`.

        Cost: 2 model rows per example.

        Example::

            >>> import torch
            >>> from captum_spectral import SpectralShapley
            >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 5)).eval()
            >>> explainer, x = SpectralShapley(model), torch.randn(2, 1, 16, 16)
            >>> attributions = explainer.attribute(x, 1, num_bands=4)
            >>> delta = explainer.compute_convergence_delta(attributions, 0, x, 1, num_bands=4)
            >>> bool((delta.abs() < 1e-5).all())
            True
        """
        game = BandGame(
            self.forward_func,
            end_point,
            target,
            baselines=start_point,
            additional_forward_args=additional_forward_args,
            feature_mask=feature_mask,
            num_bands=num_bands,
            spectral_dims=spectral_dims,
            features=features,
        )
        empty_and_full = torch.tensor([[False], [True]], device="cpu").expand(2, game.num_bands)
        ends = game.evaluate(empty_and_full, 1)
        tensors = attributions if isinstance(attributions, tuple) else (attributions,)
        inputs = end_point if isinstance(end_point, tuple) else (end_point,)
        if [t.shape[1:] for t in tensors] == [x.shape[1:] for x in inputs]:
            bands = unpaint_ids(tensors, game.feature_masks)
        else:
            bands = tensors[0]
        return gap_of(bands.detach().cpu(), ends[:, 1], ends[:, 0]).to(ends.device)
