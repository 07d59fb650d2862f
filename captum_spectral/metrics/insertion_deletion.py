"""insertion_curve and deletion_curve: change the most important features first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from captum_spectral._captum import BaselineType, TargetType
from captum_spectral.metrics._walk import walk
from captum_spectral.metrics.curve import Curve

__all__ = ["deletion_curve", "insertion_curve"]


def insertion_curve(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor],
    attributions: Tensor | tuple[Tensor],
    target: TargetType = None,
    baselines: BaselineType = None,
    additional_forward_args: Any = None,
    feature_mask: Tensor | tuple[Tensor] | None = None,
    domain: Literal["pixel", "frequency"] = "pixel",
    num_bands: int | None = None,
    spectral_dims: int | tuple[int, ...] | None = None,
    n_steps: int | None = None,
    perturbations_per_eval: int = 1,
    show_progress: bool = False,
) -> Curve:
    r"""The output while the features of the input enter the baseline, the most important first.

    .. math::
        v_k = f\Big(b + \sum_{g \in S_k} (x - b)_g\Big), \qquad
        S_k = \text{the } n_k \text{ features with the largest attributions}

    from the baseline, :math:`n_0 = 0`, to the input, :math:`n_K = G`. Here :math:`(x - b)_g` is
    :math:`x - b` on the pixels of feature :math:`g` and 0 elsewhere, or its frequency band
    :math:`g`. The values are what ``forward_func`` gives: wrap a model in a softmax for the
    probabilities of the paper. A **larger** area is better.

    What it does not say. It judges the order of the features and nothing else of the attributions.
    Inputs between baseline and input are like nothing the model was trained on (pixels leave
    edges, bands leave ringing), so the area mixes what the model relies on with how it fails;
    compare it with that of random attributions, on the same baseline and steps. A blurred input as
    ``baselines``, which the paper inserts into, leaves no edges.

    Args:
        forward_func: The model, or any function of the inputs that Captum accepts, with one number
            per row at ``target``.
        inputs: Real floating tensor, dim 0 the examples, or a tuple of one.
        attributions: What ranks the features of each example, finite; equal ones in order of
            position. Pixels: of the shape of ``inputs``, or of size 1 in some dims, as
            ``(B, 1, H, W)``. Frequency: ``(B, M)`` band values, as
            ``SpectralShapley.attribute(..., return_input_shape=False)`` gives.
        target: As everywhere in Captum, for all examples or per example. None where
            ``forward_func`` gives one number per row. Default: None
        baselines: What a feature holds that is not inserted: None (zero), a number, a tensor of
            the shape of ``inputs`` or with first dim 1. Default: None
        additional_forward_args: Further arguments of ``forward_func``, a single one or a tuple.
            Tensors with dim 0 = B follow their example, all else is passed through. Default: None
        feature_mask: Integer ids of the features. Pixels: as everywhere in Captum, broadcastable
            to the input, as many groups in every example. A group is ranked by the *mean* of its
            pixels: Captum's methods give all pixels of a group the value of the group, which the
            mean is, where a sum would rank groups by their size too. Frequency: band ids over the
            unshifted Fourier plane, see :func:`~captum_spectral.band_mask`. None: every pixel with
            all its channels (dim 1 of inputs with three dims or more), whose attributions are
            summed; or ``num_bands`` equal-width bands. Default: None
        domain: ``"pixel"``, or ``"frequency"`` for bands of the Fourier spectrum.
            Default: "pixel"
        num_bands: Bands in the frequency domain without a ``feature_mask``. None: 8. Default: None
        spectral_dims: The transformed dims in the frequency domain. None: (-2, -1). Default: None
        n_steps: ``K``, at most the number of features ``G``; step k has changed the first
            ``n_k = k * G // K`` features. None: one band per step, or 50 steps of pixels (one
            feature per step where there are fewer). Default: None
        perturbations_per_eval: How many steps of the whole batch share a forward pass (at most
            ``perturbations_per_eval * B`` rows, step by step). Default: 1
        show_progress: Display a progress bar, counted in model rows. Default: False

    Returns:
        :class:`~captum_spectral.Curve` of fractions ``(K+1,)``, values ``(B, K+1)`` and areas
        ``(B,)``; those of an example do not depend on the rest of the batch.

    Raises:
        TypeError: Inputs, attributions, mask, baselines or counts of a wrong kind; a forward
            output that is no real number or tensor.
        ValueError: Several input tensors, inputs or attributions that are not finite, shapes that
            do not fit, more steps than features, groups that differ in number between examples, an
            unknown ``domain`` or options of the other one; an output that is not one number per
            row, or not finite.
        AssertionError: A tuple target that does not fit the output (raised by Captum).

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost: K + 1 model rows per example. Memory: ``perturbations_per_eval * B`` rows in the model,
    and one integer per pixel, or the ``M + 1`` band signals of the inputs.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralShapley, insertion_curve
        >>> weight = torch.tensor([1.0, 4.0, 2.0, 3.0])
        >>> inputs = torch.ones(1, 1, 2, 2)
        >>> def model(x):
        ...     return x.flatten(1) @ weight
        >>> curve = insertion_curve(model, inputs, weight.reshape(1, 1, 2, 2))
        >>> curve.values
        tensor([[ 0.,  4.,  7.,  9., 10.]])
        >>> curve.areas
        tensor([6.2500])
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10)).eval()
        >>> images, target = torch.rand(2, 3, 16, 16), [3, 7]
        >>> bands = SpectralShapley(network).attribute(
        ...     images, target, num_bands=4, return_input_shape=False)
        >>> insertion_curve(
        ...     network, images, bands, target, domain="frequency", num_bands=4).values.shape
        torch.Size([2, 5])

    References:
        V. Petsiuk, A. Das, K. Saenko, *RISE: Randomized Input Sampling for Explanation of
        Black-box Models*, BMVC 2018, for pixels; groups and bands are ours.
    """
    return walk(
        forward_func,
        inputs,
        attributions,
        target,
        baselines,
        additional_forward_args,
        feature_mask,
        domain,
        num_bands,
        spectral_dims,
        n_steps,
        perturbations_per_eval,
        show_progress,
        inserted=True,
    )


def deletion_curve(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor],
    attributions: Tensor | tuple[Tensor],
    target: TargetType = None,
    baselines: BaselineType = None,
    additional_forward_args: Any = None,
    feature_mask: Tensor | tuple[Tensor] | None = None,
    domain: Literal["pixel", "frequency"] = "pixel",
    num_bands: int | None = None,
    spectral_dims: int | tuple[int, ...] | None = None,
    n_steps: int | None = None,
    perturbations_per_eval: int = 1,
    show_progress: bool = False,
) -> Curve:
    r"""The output while the baseline replaces the features of the input, the most important first.

    .. math::
        v_k = f\Big(x - \sum_{g \in S_k} (x - b)_g\Big), \qquad
        S_k = \text{the } n_k \text{ features with the largest attributions}

    from the input, :math:`n_0 = 0`, to the baseline, :math:`n_K = G`. A **smaller** area is better.
    All else, and what it does not say, is as in :func:`insertion_curve`: deletion is insertion with
    input and baseline exchanged.

    Args:
        forward_func: The model.
        inputs: Real floating tensor, dim 0 the examples, or a tuple of one.
        attributions: What ranks the features: of the shape of ``inputs`` or of size 1 in some
            dims, or ``(B, M)`` band values.
        target: As everywhere in Captum. Default: None
        baselines: What a deleted feature holds: None (zero), a number, a tensor of the shape of
            ``inputs`` or with first dim 1. Default: None
        additional_forward_args: Further arguments of ``forward_func``. Default: None
        feature_mask: Integer ids of pixel groups, ranked by the mean of their pixels, or of bands.
            None: every pixel with all its channels, or ``num_bands`` bands. Default: None
        domain: ``"pixel"`` or ``"frequency"``. Default: "pixel"
        num_bands: Bands in the frequency domain without a ``feature_mask``. None: 8. Default: None
        spectral_dims: The transformed dims in the frequency domain. None: (-2, -1). Default: None
        n_steps: ``K``, at most the number of features. None: one band per step, or up to 50 steps
            of pixels. Default: None
        perturbations_per_eval: How many steps of the whole batch share a forward pass. Default: 1
        show_progress: Display a progress bar, counted in model rows. Default: False

    Returns:
        :class:`~captum_spectral.Curve` of fractions ``(K+1,)``, values ``(B, K+1)`` and areas
        ``(B,)``.

    Raises:
        TypeError, ValueError, AssertionError: As :func:`insertion_curve`.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost: K + 1 model rows per example. Memory as :func:`insertion_curve`.

    Example::

        >>> import torch
        >>> from captum_spectral import deletion_curve
        >>> weight = torch.tensor([1.0, 4.0, 2.0, 3.0])
        >>> inputs = torch.ones(1, 1, 2, 2)
        >>> def model(x):
        ...     return x.flatten(1) @ weight
        >>> deletion_curve(model, inputs, weight.reshape(1, 1, 2, 2)).values
        tensor([[10.,  6.,  3.,  1.,  0.]])

    References:
        V. Petsiuk, A. Das, K. Saenko, *RISE: Randomized Input Sampling for Explanation of
        Black-box Models*, BMVC 2018, for pixels; groups and bands are ours.
    """
    return walk(
        forward_func,
        inputs,
        attributions,
        target,
        baselines,
        additional_forward_args,
        feature_mask,
        domain,
        num_bands,
        spectral_dims,
        n_steps,
        perturbations_per_eval,
        show_progress,
        inserted=False,
    )
