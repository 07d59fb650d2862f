"""FeatureSuppression: gradients averaged over samples that lack random features of the input."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from captum.attr import GradientAttribution
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._captum import (
    BaselineType,
    TargetType,
    format_output,
    is_tuple,
    log_usage,
    progress_bar,
)
from captum_spectral._engine.averages import GradientAverage
from captum_spectral._engine.evaluation import Evaluation, RowLimit
from captum_spectral._engine.outputs import Output, reading
from captum_spectral._engine.rows import Walk
from captum_spectral.attr._synchronous import Synchronous
from captum_spectral.features.choice import features_of
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import SpectralDims
from captum_spectral.game import Game

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_spectral.attr._overloads import Inputs, No, SuppressionOptions, Yes

__all__ = ["FeatureSuppression"]


class FeatureSuppression(Synchronous, GradientAttribution):  # type: ignore[misc]
    r"""The gradient averaged over samples that lack random features of the input.

    The features are groups of pixels, or frequency bands. A sample keeps every feature with
    probability :math:`1 - r`, independently of the others, and holds the baseline :math:`b` in
    those that are suppressed; nothing is added that neither input nor baseline has:

    .. math::
        z = \mathbb{E}\big[\, |\nabla f(\hat x)| \,\big], \qquad
        \hat x = b + \sum_g m_g\, (x - b)_g, \qquad m_g \sim \text{Bernoulli}(1 - r)

    where :math:`(x - b)_g` is :math:`x - b` on the pixels of group :math:`g` and 0 elsewhere, or
    its frequency band :math:`g`. The gradient is the one with respect to the sample
    :math:`\hat x`, so every pixel has one, a suppressed pixel too. Its unit is that of the output
    per unit of the input.

    Args:
        forward_func: The model, or any modification of its forward function.
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None

    Cost in model rows per example: ``n_samples`` forward and ``n_samples`` backward. Memory: two
    float64 maps of the inputs for the mean and its standard error, the samples (a byte per sample
    and feature), the bands of the examples in flight, and what the model needs for the rows that
    share a pass.

    What it does not say. That samples should *suppress* features instead of adding noise is the
    paper's; the law of the suppression (independent features, ratio, fill) is chosen here. With
    ``absolute=True`` the map has no sign and its sum means nothing: there is no completeness, so
    no convergence delta. With ``absolute=False`` and ``suppress=(0, 1)``,
    :math:`\sum (x - b)_g \, z` over the pixels estimates the Shapley value of feature :math:`g` in
    the game :math:`v(S) = f(b + \sum_{g \in S} (x - b)_g)` if :math:`f` is multilinear in the
    :math:`m_g`: Owen's integral over the multilinear extension. For a network that is an
    approximation of unknown quality. The standard error is that of the average over samples; how
    far the samples are from what the model was trained on, it does not show, but
    ``return_confidence`` hints at it. How spread out a map is,
    :func:`~captum_spectral.metrics.normalized_entropy` measures.

    Relations: ``suppress=0`` is Captum's ``Saliency``. RISE draws such masks and weighs them by
    the output, without a gradient. Expected Gradients moves all pixels by one shared weight towards
    a baseline, where here each feature is present or not. SmoothGrad adds noise to the input
    (``NoiseTunnel`` around ``Saliency``).

    Example::

        >>> import torch
        >>> from captum_spectral import FeatureSuppression
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(4 * 30 * 30, 10)).eval()
        >>> inputs = torch.rand(2, 3, 32, 32)
        >>> explainer = FeatureSuppression(model)
        >>> explainer.attribute(inputs, [3, 7]).shape                 # single pixels suppressed
        torch.Size([2, 3, 32, 32])
        >>> attributions, error = explainer.attribute(                # frequency bands suppressed
        ...     inputs, [3, 7], domain="frequency", num_bands=4, suppress=(0.3, 0.9),
        ...     generator=torch.Generator().manual_seed(0), return_standard_error=True)
        >>> attributions.shape, error.shape                           # still maps of pixels
        (torch.Size([2, 3, 32, 32]), torch.Size([2, 3, 32, 32]))

    References:
        R. Luo, J. McDermott, C. O'Riordan, *Sampling Matters in Explanations: Towards Trustworthy
        Attribution Analysis Building Block in Visual Models through Maximizing Explanation
        Certainty*, arXiv 2506.19442, 2025. G. Owen, *Multilinear extensions of games*, Management
        Science 18, 1972. V. Petsiuk, A. Das, K. Saenko, *RISE*, BMVC 2018. G. Erion et al.,
        *Improving performance of deep learning models with axiomatic attribution priors and
        expected gradients*, Nature Machine Intelligence 3, 2021. D. Smilkov et al., *SmoothGrad*,
        arXiv 1706.03825, 2017.
    """

    def __init__(self, forward_func: Callable[..., Any], *, output: Output | None = None) -> None:
        GradientAttribution.__init__(self, reading(forward_func, output))

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_standard_error: No = ...,
        return_confidence: No = ...,
        **options: Unpack[SuppressionOptions],
    ) -> Inputs: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_standard_error: Yes,
        return_confidence: No = ...,
        **options: Unpack[SuppressionOptions],
    ) -> tuple[Inputs, Inputs]: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_standard_error: No = ...,
        return_confidence: Yes,
        **options: Unpack[SuppressionOptions],
    ) -> tuple[Inputs, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_standard_error: Yes,
        return_confidence: Yes,
        **options: Unpack[SuppressionOptions],
    ) -> tuple[Inputs, Inputs, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        target: TargetType = ...,
        *,
        return_standard_error: bool = ...,
        return_confidence: bool = ...,
        **options: Unpack[SuppressionOptions],
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
        domain: Literal["pixel", "frequency"] = "pixel",
        num_bands: int | None = None,
        spectral_dims: SpectralDims | None = None,
        features: Features | tuple[Features, ...] | None = None,
        n_samples: int = 50,
        suppress: float | tuple[float, float] = 0.7,
        absolute: bool = True,
        internal_batch_size: int | None = None,
        return_standard_error: bool = False,
        return_confidence: bool = False,
        generator: torch.Generator | None = None,
        show_progress: bool = False,
    ) -> Any:
        r"""Average the gradients of the output over samples that lack random features.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): Real floating input, dim 0 the examples; or a
                tuple of them. Half-precision inputs reach the model in their own dtype.
            target (int, tuple, Tensor, or list, optional): Output index to explain, for all
                examples (int, 1-element tensor, tuple for outputs with more dims) or per example
                (list of ints, 1-D tensor, list of tuples). None where ``forward_func`` gives one
                number per example, or one per batch. Default: None
            baselines (scalar, Tensor, tuple of scalar, or Tensor, optional): What a suppressed
                feature holds. None (zero), a number, a tensor of the input's shape or with first
                dim 1, or a tuple of those. Default: None
            additional_forward_args (Any, optional): Further arguments of ``forward_func``, a
                single one or a tuple. Tensors with dim 0 = B follow their example, all else is
                passed through. Default: None
            feature_mask (Tensor or tuple[Tensor, ...], optional): Integer ids of the features. In
                the pixel domain as everywhere in Captum: broadcastable to the input, pixels of one
                id are suppressed together (blocks, segments); ``(1, 1, H, W)`` is shared by the
                channels, and the form that ``NoiseTunnel`` needs. In the frequency domain as in
                :class:`~captum_spectral.SpectralShapley`: band ids over the full, unshifted Fourier
                plane, a frequency and its negative in one band (see
                :func:`~captum_spectral.band_mask`). In a tuple the same id in two tensors is one
                feature. None: every pixel by itself, shared by the channels (dim 1 of inputs with
                three dims or more); or ``num_bands`` equal-width bands; for every tensor its own.
                Default: None
            domain (str, optional): ``"pixel"`` suppresses pixels, ``"frequency"`` bands of the
                Fourier spectrum. Default: "pixel"
            num_bands (int, optional): Bands per input tensor in the frequency domain when there is
                no ``feature_mask``. None: 8, or as many as fit. Default: None
            spectral_dims (tuple[int, ...], optional): The dims that are transformed in the
                frequency domain, for all inputs or one entry for each, as in ``SpectralShapley``.
                None: (-2, -1). Default: None
            features (Features or tuple[Features, ...], optional): Any other features, see
                :mod:`captum_spectral.features`, for all inputs or one for each. Default: None
            n_samples (int, optional): How many samples are averaged. Default: 50
            suppress (float or tuple[float, float], optional): The probability :math:`r` that a
                feature is suppressed, in [0, 1]; or ``(lo, hi)``, and every sample draws its own
                :math:`r` uniformly between them. Default: 0.7
            absolute (bool, optional): Average the absolute gradient, as the paper does; False: the
                gradient with its sign. Default: True
            internal_batch_size (int, optional): At most so many rows go through the model at once;
                it bounds the memory and changes the result by rounding only. None: as many as the
                model is fastest with, found while the work is done; one sample of the whole batch
                at a time, ``B`` rows, for a ``forward_func`` that gives one number per batch. Rows
                that do not fit in memory are halved in both cases. Default: None
            return_standard_error (bool, optional): Return the standard error of each entry over
                the samples as well; needs at least 2 samples. It falls as ``1/sqrt(n_samples)``.
                Default: False
            return_confidence (bool, optional): Return how sure the model is of ``target`` on
                average over the samples as well,
                :math:`\mathbb{E}[\text{softmax}(f(\hat x))_\text{target}]`, a diagnostic of ours:
                the farther it is below that of the input, the farther the samples leave the data.
                Needs one class per example and ``(B, classes)`` outputs, which are taken for
                logits: of a ``forward_func`` that returns probabilities it is not the confidence.
                Default: False
            generator (torch.Generator, optional): Source of the samples; None takes PyTorch's
                global one. Samples depend on it alone, not on the batch, its device or
                ``internal_batch_size``: sample s suppresses the same features in every example, so
                a batch has the results of its examples one at a time, each from the same seed
                (where masks differ between examples: only if these have the same ids). The same
                seed with a larger ``suppress`` suppresses the same features and more. Default: None
            show_progress (bool, optional): Display a progress bar, counted in model rows.
                Default: False

        Returns:
            *Tensor* or *tuple[Tensor, ...]* of **attributions**, with ``return_standard_error``
            followed by the **standard error**; both of the shape of the inputs (tuples for a tuple
            of inputs), of their dtype, float32 for half precision. They are maps of *pixels*, also
            when frequencies were suppressed. With ``return_confidence`` the **confidence**
            ``(B,)``, in [0, 1], comes last.

        Raises:
            TypeError: Inputs, mask, baselines, ratio or counts of a wrong kind; a forward output
                that is no real number or tensor; a confidence in what is no class per example.
            ValueError: Non-finite inputs, shapes that do not fit, ``suppress`` outside [0, 1] or
                ``lo > hi``, a count below 1, a standard error of one sample, an unknown ``domain``
                or options of the other one; an output that is not one number per example, does
                not depend on the inputs differentiably, or has a gradient that is not finite; a
                confidence from outputs that are not ``(B, classes)``.
            AssertionError: A tuple target that does not fit the output (raised by Captum).

        Warns:
            UserWarning: The model, or a part of it, is in training mode.

        Cost: ``n_samples`` forward and backward model rows per example, and in the frequency
        domain an inverse transform for each.
        """
        n_samples = _check_samples(n_samples, return_standard_error)
        if internal_batch_size is not None:
            internal_batch_size = check_count("internal_batch_size", internal_batch_size)
        interval = _format_suppress(suppress)
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        game = Game(
            self.forward_func,
            inputs,
            target,
            features=features_of(
                domain, feature_mask, num_bands, spectral_dims, tensors, features=features
            ),
            baselines=baselines,
            additional_forward_args=additional_forward_args,
        )
        if return_confidence:
            _check_class(game.caller.target, game.caller.highest_class)
        samples = _draw(len(game.players), n_samples, interval, generator)
        # Also where the caller has switched gradients off.
        with torch.inference_mode(False), torch.no_grad():
            average = GradientAverage(
                game.signals,
                samples.to(game.signals.device),
                game.caller,
                game.inputs,
                absolute=absolute,
                spread=return_standard_error,
                confident=return_confidence,
            )
            evaluation = Evaluation(
                average,
                Walk(game.num_examples, n_samples, by_example=True),
                game.chunk_size(internal_batch_size, gradients=True),
                RowLimit("internal_batch_size", internal_batch_size, whole=None),
            )
            title = f"{self.get_name()} attribution"
            with progress_bar(show_progress, title, evaluation.remaining) as bar:
                evaluation.run(bar)
        moments = average.moments
        results = [format_output(is_tuple(inputs), tuple(m.mean() for m in moments))]
        if return_standard_error:
            errors = tuple(m.standard_error(n_samples) for m in moments)
            results.append(format_output(is_tuple(inputs), errors))
        if return_confidence:
            results.append(average.confidence.mean("confidence"))
        return results[0] if len(results) == 1 else tuple(results)


def _check_samples(n_samples: object, return_standard_error: bool) -> int:
    if n_samples is None:
        raise TypeError("n_samples must be an integer, got None")
    count = check_count("n_samples", n_samples)
    if return_standard_error and count == 1:
        raise ValueError("return_standard_error needs n_samples >= 2, got n_samples=1")
    return count


def _check_class(target: TargetType, highest_class: int | None) -> None:
    per_example = isinstance(target, Tensor) and target.dim() == 1
    if highest_class is None or not (isinstance(target, int) or per_example):
        raise TypeError(
            "return_confidence needs target to name one class per example, as an int, a list of "
            f"ints or a 1-D integer tensor, got {target!r}"
        )


def _draw(
    num_features: int,
    n_samples: int,
    interval: tuple[float, float],
    generator: torch.Generator | None,
) -> Tensor:
    """Draw the features that each sample keeps, ``(n, P)`` boolean, on the generator's device.

    A sample takes one number for its ratio and one for every feature, also where the ratio is
    given, so that ratios compare on common random numbers.
    """
    device = "cpu" if generator is None else generator.device
    lo, hi = interval
    kept = torch.empty(n_samples, num_features, dtype=torch.bool, device="cpu")
    for sample in kept:  # one by one: a float64 for every feature of one sample at a time
        u = torch.rand(1 + num_features, generator=generator, device=device, dtype=torch.float64)
        u = u.cpu()
        sample.copy_(u[1:] >= lo + (hi - lo) * u[0])
    return kept


def _format_suppress(suppress: object) -> tuple[float, float]:
    ends = suppress if isinstance(suppress, (tuple, list)) else (suppress, suppress)
    if len(ends) != 2 or not all(isinstance(r, Real) and not isinstance(r, bool) for r in ends):
        raise TypeError(f"suppress must be a number or a pair (lo, hi), got {suppress!r}")
    lo, hi = (float(r) for r in ends)
    if not (0 <= lo <= hi <= 1):
        raise ValueError(
            "suppress is the probability that a feature is suppressed and must lie in [0, 1], as a "
            f"number or (lo, hi) with lo <= hi; got {suppress!r}"
        )
    return lo, hi
