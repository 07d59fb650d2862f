"""Captum's methods on bands, in one call."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from numbers import Real
from typing import Any, Literal, overload

import torch
from captum.attr import Attribution, DeepLiftShap, FeaturePermutation, GradientShap, NoiseTunnel
from torch import Tensor, nn

from captum_spectral._captum import BaselineType, TargetType
from captum_spectral._engine.forward import not_differentiable
from captum_spectral._engine.outputs import Output
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import SpectralDims
from captum_spectral.game import BandGame
from captum_spectral.game.mixing import OpaqueMixing

__all__ = ["band_attribution"]


@overload
def band_attribution(
    attribution: Callable[[BandGame], Any],
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType = ...,
    *,
    baselines: BaselineType = ...,
    additional_forward_args: Any = ...,
    feature_mask: Tensor | tuple[Tensor, ...] | None = ...,
    num_bands: int | None = ...,
    spectral_dims: SpectralDims = ...,
    features: Features | tuple[Features, ...] | None = ...,
    output: Output | None = ...,
    method_baselines: Tensor | float | None = ...,
    return_convergence_delta: Literal[False] = ...,
    **options: Any,
) -> Tensor: ...


@overload
def band_attribution(
    attribution: Callable[[BandGame], Any],
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType = ...,
    *,
    return_convergence_delta: Literal[True],
    **options: Any,
) -> tuple[Tensor, Tensor]: ...


def band_attribution(
    attribution: Callable[[BandGame], Any],
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType = None,
    *,
    baselines: BaselineType = None,
    additional_forward_args: Any = None,
    feature_mask: Tensor | tuple[Tensor, ...] | None = None,
    num_bands: int | None = None,
    spectral_dims: SpectralDims = (-2, -1),
    features: Features | tuple[Features, ...] | None = None,
    output: Output | None = None,
    method_baselines: Tensor | float | None = None,
    return_convergence_delta: bool = False,
    **options: Any,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Run a Captum method on the frequency bands of an input.

    The method runs on :class:`~captum_spectral.BandGame`, the model as a function of how much of
    each band is there, from none (0, the baseline) to all (1, the input). Its attributions are then
    comparable with the Shapley values of :class:`~captum_spectral.SpectralShapley`: of the same
    bands, in the same unit, and with the same sum where the method is complete.

    Methods that put hooks on layers (``DeepLift``, ``DeepLiftShap``, ``GuidedBackprop``,
    ``Deconvolution``, ``LRP``) need a model that is a ``torch.nn.Module``, with the layers that
    they know on images. ``LRP`` starts from a baseline of zeros and takes one input. Gradients need
    a model that has them. ``FeaturePermutation`` has no meaning here, where all weights are 1, and
    is refused; ``NoiseTunnel`` takes a method and not a model, and goes around
    ``SpectralShapley(model)``, or around a method inside of a function that makes it.

    Args:
        attribution: A class of ``captum.attr`` that takes a forward function, e.g.
            ``IntegratedGradients`` or ``KernelShap``; or a function that makes such an object.
        forward_func: The model.
        inputs: Real floating ``(B, ..., H, W)`` tensor, or a tuple of them.
        target: As everywhere in Captum. Default: None
        baselines: What an absent band holds, as in ``SpectralShapley``. Default: None
        additional_forward_args: Further arguments of ``forward_func``. Default: None
        feature_mask: Integer band ids over the unshifted Fourier plane. Default: None
        num_bands: Equal-width bands when there is no ``feature_mask``. None: 8, or as many as fit.
            Default: None
        spectral_dims: The transformed dims. For a tuple of inputs also one entry for each, such as
            ``((-2, -1), (-1,), None)``; an input with None has no spectrum and is one player.
            Default: (-2, -1)
        features: Other players than frequency bands, as in ``SpectralShapley``. Default: None
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None
        method_baselines: Weights of the bands where the method starts, if it has an argument
            ``baselines``: a number, ``(B, M)``, or ``(n, M)`` for ``GradientShap`` and
            ``DeepLiftShap``, which draw from them. None: 0, no band is there. Default: None
        return_convergence_delta: Return the method's own as well, if it has one. Default: False
        **options: Further arguments of the method's ``attribute``, e.g. ``n_steps=64``.

    Returns:
        ``(B, M)`` attributions; with ``return_convergence_delta`` followed by the delta.

    Raises:
        TypeError: As :class:`~captum_spectral.BandGame`, or of the method; an ``attribution`` that
            is no class or function, such as the object ``IntegratedGradients(model)``; a method
            that puts hooks on layers and a model that is a function; method_baselines or a delta
            of a method that has none.
        ValueError: As :class:`~captum_spectral.BandGame`, or of the method; ``FeaturePermutation``,
            ``method_baselines`` of another shape, a method on gradients and an output that has
            none.

    Cost: the model rows that the method takes.

    Example::

        >>> import torch
        >>> from captum.attr import IntegratedGradients
        >>> from captum_spectral import band_attribution
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 5)).eval()
        >>> x = torch.randn(2, 1, 16, 16)
        >>> values = band_attribution(IntegratedGradients, model, x, 1, num_bands=4, n_steps=8)
        >>> gain = (model(x) - model(0 * x))[:, 1]
        >>> values.shape, torch.allclose(values.sum(1), gain, atol=1e-5)
        (torch.Size([2, 4]), True)
    """
    _check_attribution(attribution)
    # Also where the caller has switched gradients off.
    with torch.inference_mode(False), torch.enable_grad():
        try:
            game = BandGame(
                forward_func,
                inputs,
                baselines=baselines,
                additional_forward_args=additional_forward_args,
                feature_mask=feature_mask,
                num_bands=num_bands,
                spectral_dims=spectral_dims,
                features=features,
                output=output,
            )
        except (TypeError, ValueError) as error:
            if attribution not in _DRAWING or not str(error).startswith("baselines"):
                raise
            raise type(error)(
                f"{error}. They are what an absent band holds; the weights of bands that "
                f"{attribution.__name__} draws from are method_baselines=, (n, M)"
            ) from error
        first = inputs[0] if isinstance(inputs, tuple) else inputs
        dtype = torch.promote_types(first.dtype, torch.float32)
        present = torch.ones(game.num_examples, game.num_bands, dtype=dtype, device=first.device)
        examples = torch.arange(game.num_examples, device=first.device)
        present.requires_grad_()  # or methods on gradients warn that they set it
        method = attribution(game)
        _check_method(method)
        options |= _baselines_of(method, method_baselines, present)
        if return_convergence_delta:
            options |= _delta_of(method)
        try:
            found = method.attribute(
                present, target=target, additional_forward_args=(examples,), **options
            )
        except TypeError as error:
            if "has no rule defined" not in str(error) or OpaqueMixing.__name__ not in str(error):
                raise
            game.apply(lambda layer: None)  # says it in our words
            raise
        except RuntimeError as error:
            if not any(words in str(error) for words in _NO_GRADIENT):
                raise
            raise ValueError(
                f"{not_differentiable('inputs')}. {type(method).__name__} needs gradients; "
                "FeatureAblation, KernelShap, ShapleyValueSampling and SpectralShapley do not"
            ) from error
        if return_convergence_delta:
            return found[0].detach(), found[1].detach()
        attributions: Tensor = found
        return attributions.detach()


# Their baselines are a distribution.
_DRAWING = GradientShap, DeepLiftShap
# PyTorch's words for an output that no gradient leads back from.
_NO_GRADIENT = (
    "does not require grad and does not have a grad_fn",
    "appears to not have been used in the graph",
)
_CALL = "band_attribution(IntegratedGradients, model, inputs, target)"


def _check_attribution(attribution: Any) -> None:
    """Check what can be told before there is a method."""
    tunnel = NoiseTunnel in (attribution, type(attribution))
    if tunnel:
        raise TypeError(
            "attribution must take a model, and NoiseTunnel takes a method: use "
            "NoiseTunnel(SpectralShapley(model)).attribute(inputs, ...) for noise on the inputs, "
            "or a function, lambda game: NoiseTunnel(IntegratedGradients(game)), for noise on how "
            "much of each band there is"
        )
    kind = type(attribution).__name__
    if isinstance(attribution, Attribution):
        raise TypeError(
            f"attribution must be a class and not an object of it: leave out (model) of {kind} "
            f"and call band_attribution({kind}, model, inputs, target)"
        )
    if isinstance(attribution, nn.Module) or not callable(attribution):
        got = repr(attribution) if isinstance(attribution, str) else kind
        raise TypeError(
            "attribution must be a class of captum.attr, or a function that makes such an object, "
            f"got {got}; call {_CALL}"
        )


def _check_method(method: Any) -> None:
    """Check the object that is to attribute."""
    if not callable(getattr(method, "attribute", None)):
        raise TypeError(
            f"attribution must give an object that has attribute(...), got "
            f"{type(method).__name__}; call {_CALL}"
        )
    if isinstance(method, FeaturePermutation):
        raise ValueError(
            "attribution must not be FeaturePermutation: it exchanges the weights of bands between "
            "examples, all of them are 1 here, and every attribution would be 0; FeatureAblation "
            "takes one band away at a time, KernelShap and ShapleyValueSampling many"
        )


def _delta_of(method: Any) -> dict[str, bool]:
    """Return what asks a method for its convergence delta."""
    if "return_convergence_delta" not in signature(method.attribute).parameters:
        raise TypeError(
            f"return_convergence_delta was given, and {type(method).__name__}.attribute has no "
            "such argument; IntegratedGradients, DeepLift, GradientShap and LRP have"
        )
    return {"return_convergence_delta": True}


def _baselines_of(method: Any, given: Tensor | float | None, present: Tensor) -> dict[str, Any]:
    """Return where the method starts, as an argument for it; nothing where its default will do."""
    argument = signature(method.attribute).parameters.get("baselines")
    if argument is None:
        if given is not None:
            raise TypeError(
                f"method_baselines was given, and {type(method).__name__}.attribute has no "
                "argument baselines"
            )
        return {}
    if given is None and argument.default is not Parameter.empty:
        return {}
    if given is None:  # a distribution, of the empty coalition alone; DeepLiftShap wants two
        given = torch.zeros_like(present[:1]).detach().expand(2, -1)
    examples, bands = present.shape
    drawing = isinstance(method, _DRAWING)
    if not isinstance(given, Tensor) and (drawing or not isinstance(given, Real)):
        number = "" if drawing else "a number or "
        raise TypeError(
            f"method_baselines of {type(method).__name__} must be {number}a tensor of weights of "
            f"the bands ({'n' if drawing else examples}, {bands}), got {type(given).__name__}"
        )
    if isinstance(given, Tensor):
        least = 2 if isinstance(method, DeepLiftShap) else 1
        fits = given.dim() == 2 and given.shape[1] == bands and len(given) >= least
        if not fits or not (drawing or len(given) in (1, examples)):
            rows = f"n, {bands}) with n >= {least}" if drawing else f"{examples}, {bands})"
            raise ValueError(
                f"method_baselines of {type(method).__name__} must be weights of the bands "
                f"({rows}, got shape {tuple(given.shape)}"
            )
    return {"baselines": given}
