"""SpectralBanzhaf: Banzhaf values of the frequency bands of an input."""

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
from captum_spectral.attr._values import Solver, in_form
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import SpectralDims
from captum_spectral.game import BandGame

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_spectral.attr._overloads import BanzhafOptions, Inputs, No, Yes

__all__ = ["SpectralBanzhaf"]


class SpectralBanzhaf(Synchronous, PerturbationAttribution):  # type: ignore[misc]
    r"""Banzhaf values of the frequency bands of an input: what a band adds to a random half.

    The game is that of :class:`~captum_spectral.SpectralShapley`. A band is worth what it adds on
    average over all coalitions of the others, each as likely as any other:

    .. math::
        \beta_i = \frac{1}{2^{M-1}} \sum_{S \not\ni i} \big(v(S \cup i) - v(S)\big)

    Shapley values give every *size* of coalition the same weight, so a part of them comes from
    nearly empty and nearly whole inputs; Banzhaf values come from inputs that hold about half of
    the bands. They do not sum to v(full) - v(empty), but are less noisy, and their order is the
    more reliable one where a model is. They have the unit of the model's output.

    Args:
        forward_func: The model, or any modification of its forward function.
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None

    Cost in model rows per example: ``2^M`` exactly (256 for 8 bands), or at most ``budget``; all
    outputs come from the same rows.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralBanzhaf
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(4 * 30 * 30, 10)).eval()
        >>> inputs = torch.rand(2, 3, 32, 32)
        >>> bands, error = SpectralBanzhaf(model).attribute(
        ...     inputs, [3, 7], num_bands=12, budget=128, return_input_shape=False,
        ...     return_standard_error=True)
        >>> bands.shape
        torch.Size([2, 12])

    References:
        J. F. Banzhaf, *Weighted voting doesn't work*, 1965. J. T. Wang, R. Jia, *Data Banzhaf: A
        Robust Data Valuation Framework for Machine Learning*, AISTATS 2023.
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
        return_standard_error: No = ...,
        **options: Unpack[BanzhafOptions],
    ) -> Inputs: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_input_shape: Yes = ...,
        return_standard_error: Yes,
        **options: Unpack[BanzhafOptions],
    ) -> tuple[Inputs, Inputs]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = ...,
        *,
        return_input_shape: No,
        return_standard_error: No = ...,
        **options: Unpack[BanzhafOptions],
    ) -> Tensor: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = ...,
        *,
        return_input_shape: No,
        return_standard_error: Yes,
        **options: Unpack[BanzhafOptions],
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = ...,
        *,
        return_input_shape: bool = ...,
        return_standard_error: bool = ...,
        **options: Unpack[BanzhafOptions],
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
        budget: int | None = None,
        estimator: str | None = None,
        prior: Any = "energy",
        perturbations_per_eval: int | None = None,
        return_input_shape: bool = True,
        return_standard_error: bool = False,
        generator: torch.Generator | None = None,
        show_progress: bool = False,
        shortcuts: bool = True,
    ) -> Any:
        """Attribute the output to the frequency bands of the inputs.

        The arguments are those of :meth:`captum_spectral.SpectralShapley.attribute`, but for
        ``n_samples`` and the estimator ``"orderings"``, which are of Shapley values, and the
        convergence delta, which there is none.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): Real floating input ``(B, ..., H, W)``, or a
                tuple of them.
            target (int, tuple, Tensor, or list, optional): Output index to explain; None: every
                output. Default: None
            baselines (scalar, Tensor, tuple of scalar, or Tensor, optional): What an absent band
                holds. Default: None, zero
            additional_forward_args (Any, optional): Further arguments of ``forward_func``.
                Default: None
            feature_mask (Tensor or tuple[Tensor, ...], optional): Band ids over the unshifted
                Fourier plane. Default: None
            num_bands (int, optional): Bands where there is no ``feature_mask``; None: 8, or as many
                as fit. Default: None
            spectral_dims (tuple[int, ...], optional): The dims that are transformed, for all inputs
                or one entry for each, as in ``SpectralShapley``. Default: (-2, -1)
            features (Features or tuple[Features, ...], optional): Other players than frequency
                bands. Default: None
            budget (int, optional): The most model rows per example, at least 4; None: exact.
                Default: None
            estimator (str, optional): ``"gaussian_process"``, ``"cross_fitted"`` (unbiased) or
                ``"regression"`` (no standard errors). None: the first. Default: None
            prior (str or Tensor, optional): ``"energy"``, ``"flat"``, or weights ``(M,)`` or
                ``(B, M)``. Default: "energy"
            perturbations_per_eval (int, optional): At most ``perturbations_per_eval * B`` rows in a
                forward pass; None: as many as the model is fastest with. Default: None
            return_input_shape (bool, optional): Paint the values on the Fourier plane, in the shape
                of the input, or return ``(B, M)``. Default: True
            return_standard_error (bool, optional): Return the standard errors as well, 0 where the
                values are exact. Default: False
            generator (torch.Generator, optional): Source of the coalitions. Default: None
            show_progress (bool, optional): Display a progress bar, in model rows. Default: False
            shortcuts (bool, optional): Let the engine show a Module the rows in faster ways, which
                give the same values to rounding: in another memory format, and behind affine first
                layers, which then run once per band; see :class:`~captum_spectral.Game`. False, or
                a number of ``perturbations_per_eval``: never. Not with a ``budget``.
                Default: True

        Returns:
            *Tensor* or *tuple[Tensor, ...]* of **attributions**, in the shape of the input or
            ``(B, *outputs, M)``, followed by their **standard error** where asked for.

        Raises:
            TypeError, ValueError, AssertionError, torch.OutOfMemoryError: As
                :meth:`captum_spectral.SpectralShapley.attribute`.
        """
        solver = Solver(
            None,
            budget,
            estimator,
            prior,
            generator,
            index="banzhaf",
            with_errors=return_standard_error,
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
        values = in_form(found.values, game, inputs, return_input_shape)
        if not return_standard_error:
            return values
        return values, in_form(found.standard_error, game, inputs, return_input_shape)

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: the values measure what a band adds to the output, not a slope."""
        return True

    def has_convergence_delta(self) -> bool:
        """False: Banzhaf values sum to nothing that is known."""
        return False
