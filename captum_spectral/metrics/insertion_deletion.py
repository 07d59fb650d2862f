"""insertion_curve and deletion_curve: change the most important features first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from captum_spectral._arguments import check_count, format_inputs
from captum_spectral._captum import BaselineType, TargetType
from captum_spectral.features.choice import features_of
from captum_spectral.features.features import Features
from captum_spectral.game import Game
from captum_spectral.metrics._ranking import Growing, changed_at_steps, place_scores, positions
from captum_spectral.metrics.curve import Curve

__all__ = ["deletion_curve", "insertion_curve"]

PIXEL_STEPS = 50  # rows per example that a user can wait for


def insertion_curve(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor],
    attributions: Tensor | tuple[Tensor],
    target: TargetType = None,
    *,
    baselines: BaselineType = None,
    additional_forward_args: Any = None,
    feature_mask: Tensor | tuple[Tensor] | None = None,
    domain: Literal["pixel", "frequency"] = "pixel",
    num_bands: int | None = None,
    spectral_dims: int | tuple[int, ...] | None = None,
    features: Features | None = None,
    n_steps: int | None = None,
    perturbations_per_eval: int | None = None,
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
        num_bands: Bands in the frequency domain without a ``feature_mask``. None: 8, or as many as
            fit. Default: None
        spectral_dims: The transformed dims in the frequency domain. None: (-2, -1). Default: None
        features: Any other features, see :mod:`captum_spectral.features`; ``attributions`` are then
            ``(B, M)``, or a map where its places are pixels. Default: None
        n_steps: ``K``, at most the number of features ``G``; step k has changed the first
            ``n_k = k * G // K`` features. None: one band per step, or 50 steps of pixels (one
            feature per step where there are fewer). Default: None
        perturbations_per_eval: How many steps of the whole batch share a forward pass (at most
            ``perturbations_per_eval * B`` rows, step by step). None: as many rows as the model is
            fastest with, found while the work is done. Rows that do not fit in memory are halved
            in both cases. Default: None
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

    Cost: K + 1 model rows per example. Memory: the rows that share a forward pass, and one integer
    per pixel, or the ``M + 1`` band signals of the examples in flight.

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
    return _walk(
        True,
        forward_func,
        inputs,
        attributions,
        target,
        baselines=baselines,
        additional_forward_args=additional_forward_args,
        feature_mask=feature_mask,
        domain=domain,
        num_bands=num_bands,
        spectral_dims=spectral_dims,
        features=features,
        n_steps=n_steps,
        perturbations_per_eval=perturbations_per_eval,
        show_progress=show_progress,
    )


def deletion_curve(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor],
    attributions: Tensor | tuple[Tensor],
    target: TargetType = None,
    *,
    baselines: BaselineType = None,
    additional_forward_args: Any = None,
    feature_mask: Tensor | tuple[Tensor] | None = None,
    domain: Literal["pixel", "frequency"] = "pixel",
    num_bands: int | None = None,
    spectral_dims: int | tuple[int, ...] | None = None,
    features: Features | None = None,
    n_steps: int | None = None,
    perturbations_per_eval: int | None = None,
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
        num_bands: Bands in the frequency domain without a ``feature_mask``. None: 8, or as many as
            fit. Default: None
        spectral_dims: The transformed dims in the frequency domain. None: (-2, -1). Default: None
        features: Any other features, see :mod:`captum_spectral.features`; ``attributions`` are then
            ``(B, M)``, or a map where its places are pixels. Default: None
        features: Any other features. Default: None
        n_steps: ``K``, at most the number of features. None: one band per step, or up to 50 steps
            of pixels. Default: None
        perturbations_per_eval: How many steps of the whole batch share a forward pass. None: as the
            model is fastest. Default: None
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
    return _walk(
        False,
        forward_func,
        inputs,
        attributions,
        target,
        baselines=baselines,
        additional_forward_args=additional_forward_args,
        feature_mask=feature_mask,
        domain=domain,
        num_bands=num_bands,
        spectral_dims=spectral_dims,
        features=features,
        n_steps=n_steps,
        perturbations_per_eval=perturbations_per_eval,
        show_progress=show_progress,
    )


def _walk(
    inserted: bool,
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    attributions: Tensor | tuple[Tensor, ...],
    target: TargetType,
    *,
    baselines: BaselineType,
    additional_forward_args: Any,
    feature_mask: Tensor | tuple[Tensor, ...] | None,
    domain: str,
    num_bands: int | None,
    spectral_dims: int | tuple[int, ...] | None,
    features: Features | None,
    n_steps: int | None,
    perturbations_per_eval: int | None,
    show_progress: bool,
) -> Curve:
    """Walk from the baseline to the input if features are ``inserted``, else from there to it."""
    if n_steps is not None:
        n_steps = check_count("n_steps", n_steps)
    _check_single("inputs", inputs)
    _check_single("attributions", attributions)
    single = inputs if isinstance(inputs, tuple) else (inputs,)
    chosen = features_of(domain, feature_mask, num_bands, spectral_dims, single, features=features)
    member = chosen[0] if isinstance(chosen, tuple) else chosen
    game = Game(
        forward_func,
        inputs,
        target,
        features=chosen,
        baselines=baselines,
        additional_forward_args=additional_forward_args,
    )
    (x,), (a,) = game.inputs, format_inputs(attributions, "attributions")
    if member.pixelwise:
        _check_map(a, x)
        scores = _scores_of_places(a, game)
    else:
        scores = _scores_of_features(a, game)
    num_features = int((scores[0] > -torch.inf).sum())
    most = min(num_features, PIXEL_STEPS) if member.pixelwise else num_features
    counts = changed_at_steps(num_features, n_steps or most)
    device = game.signals.device
    coalitions = Growing(positions(scores).to(device), counts.to(device), inserted)
    title = "Insertion curve" if inserted else "Deletion curve"

    def name_of(members: Tensor) -> str:
        changed = members if inserted else ~members
        return f"{int(changed.sum())} of {num_features} features replaced"

    values = game.values_of(coalitions, perturbations_per_eval, show_progress, title, name_of)
    if values.numel() != len(x) * len(counts) or len(values) != len(x):
        raise ValueError(
            f"forward_func gives shape {(len(values), *values.shape[2:])} for {len(x)} rows at "
            f"target={target!r}; a curve needs one number per row: choose it with target, and keep "
            "the examples apart"
        )
    values = values.reshape(len(x), len(counts))  # (B, K + 1)
    fractions = counts.to(values) / num_features
    return Curve(fractions, values, torch.trapezoid(values, fractions))


def _check_single(name: str, given: Tensor | tuple[Tensor, ...]) -> None:
    if isinstance(given, tuple) and len(given) > 1:
        raise ValueError(
            f"{name} must be one tensor or a tuple of one, got a tuple of {len(given)}: keep all "
            "inputs but one fixed, as additional_forward_args"
        )


def _check_map(attributions: Tensor, x: Tensor) -> None:
    sizes = zip(attributions.shape[1:], x.shape[1:], strict=False)
    fits = attributions.dim() == x.dim() and all(a in (1, n) for a, n in sizes)
    if not fits or len(attributions) != len(x):
        raise ValueError(
            f"attributions must have the shape of the input, {tuple(x.shape)}, or size 1 in some "
            f"dims beyond the first, as (B, 1, H, W); got shape {tuple(attributions.shape)}"
        )


def _scores_of_places(attributions: Tensor, game: Game) -> Tensor:
    """Rank players by the mean over their places: ``(B, P)`` on the CPU."""
    (mask,) = game.feature_masks
    columns = torch.searchsorted(game.players, mask.cpu())
    return place_scores(attributions, columns, len(game.players))


def _scores_of_features(attributions: Tensor, game: Game) -> Tensor:
    """Rank players by their values: ``(B, P)`` on the CPU."""
    shape = (game.num_examples, game.num_features)
    if attributions.shape != shape:
        raise ValueError(
            f"attributions must be {shape} in the frequency domain, one value for each band of "
            "each input, as SpectralShapley.attribute(..., return_input_shape=False) gives; got "
            f"shape {tuple(attributions.shape)}"
        )
    return attributions.to("cpu", torch.float64)[:, game.players]
