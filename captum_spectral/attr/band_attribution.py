"""Any Captum method on bands, in one call."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor

from captum_spectral._captum import BaselineType, TargetType
from captum_spectral._engine.outputs import Output
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import SpectralDims
from captum_spectral.game import BandGame
from captum_spectral.game.mixing import OpaqueMixing

__all__ = ["band_attribution"]


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
    **options: Any,
) -> Tensor:
    r"""Run a Captum method on the frequency bands of an input.

    The method runs on :class:`~captum_spectral.BandGame`, the model as a function of how much of
    each band is there, from none (0, the baseline) to all (1, the input). Its attributions are then
    comparable with the Shapley values of :class:`~captum_spectral.SpectralShapley`: of the same
    bands, in the same unit, and with the same sum where the method is complete.

    Methods that put hooks on layers (``DeepLift``, ``DeepLiftShap``, ``GuidedBackprop``,
    ``Deconvolution``, ``LRP``) need a model that is a ``torch.nn.Module``, with the layers that
    they know on images. ``LRP`` starts from a baseline of zeros and takes one input.

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
        **options: Further arguments of the method's ``attribute``, e.g. ``n_steps=64``.

    Returns:
        ``(B, M)`` attributions.

    Raises:
        TypeError: As :class:`~captum_spectral.BandGame`, or of the method; a method that puts hooks
            on layers and a model that is a function.
        ValueError: As :class:`~captum_spectral.BandGame`, or of the method.

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
    # Also where the caller has switched gradients off.
    with torch.inference_mode(False), torch.enable_grad():
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
        first = inputs[0] if isinstance(inputs, tuple) else inputs
        dtype = torch.promote_types(first.dtype, torch.float32)
        present = torch.ones(game.num_examples, game.num_bands, dtype=dtype, device=first.device)
        examples = torch.arange(game.num_examples, device=first.device)
        present.requires_grad_()  # or methods on gradients warn that they set it
        method = attribution(game)
        options |= _baselines_of(method, method_baselines, present)
        try:
            attributions: Tensor = method.attribute(
                present, target=target, additional_forward_args=(examples,), **options
            )
        except TypeError as error:
            if "has no rule defined" not in str(error) or OpaqueMixing.__name__ not in str(error):
                raise
            game.apply(lambda layer: None)  # says it in our words
            raise
        return attributions.detach()


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
    return {"baselines": given}
