"""Checks that gradients do not mislead an attack, and random noise to compare it with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._captum import NullProgress, progress_bar
from captum_spectral._engine.draws import ImageDraws
from captum_spectral._engine.forward import gradients
from captum_spectral.boundary.balls import Norm, ball_of
from captum_spectral.boundary.box import Clip
from captum_spectral.robustness.accuracy import RobustAccuracy, format_epsilon
from captum_spectral.robustness.attacks import Attack, robust_accuracy
from captum_spectral.robustness.labelled import Labelled, labelled

__all__ = ["GradientMasking", "gradient_masking", "random_noise_accuracy"]

# What may be left at a radius where everything can be changed, and what the last restart may gain.
REMAINS = 0.02
GAIN = 0.01


def random_noise_accuracy(
    forward_func: Callable[..., Any],
    images: Tensor,
    labels: Tensor,
    epsilon: float | list[float] | tuple[float, ...] | Tensor,
    norm: Norm = "linf",
    *,
    clip: Clip | None = (0.0, 1.0),
    seed: int = 0,
    internal_batch_size: int | None = None,
    show_progress: bool = False,
) -> RobustAccuracy:
    r"""Measure the accuracy under random noise from the balls that attacks search.

    One point :math:`x_b + \epsilon u_b` per image and radius, with :math:`u_b` uniform in the unit
    ball of the norm, clamped to ``clip``. It is the control of every robust accuracy: an attack
    that leaves no less than this finds nothing that chance does not find. The same :math:`u_b` is
    used at all radii, and depends on ``seed`` and the pixels of the image alone.

    Args:
        forward_func: The classifier, from images to outputs ``(B, classes)``.
        images: Real floating tensor ``(B, ...)``, inside ``clip``.
        labels: ``(B,)`` integers, the true classes.
        epsilon: The radius, or several.
        norm: ``"linf"``: every pixel moves by up to ``epsilon``; ``"l2"``: all together by that;
            in many dims nearly all points of the ball are at its surface. Default: "linf"
        clip: ``(low, high)`` of valid pixels; None: no limits. Default: (0.0, 1.0)
        seed: Of the noise. Default: 0
        internal_batch_size: At most so many images go through the model at a time; halved where
            memory runs out. None: all at once. Default: None
        show_progress: Display a progress bar, counted in model rows. Default: False

    Returns:
        :class:`RobustAccuracy` whose ``bits`` are the images rightly classified under the noise,
        also those that are wrong without it.

    Raises:
        TypeError, ValueError: As :func:`~captum_spectral.robustness.attacks.robust_accuracy`.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost: 1 model row per image, and 1 for each radius.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.masking import random_noise_accuracy
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
        >>> images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> labels = model(images).argmax(1)
        >>> random_noise_accuracy(model, images, labels, [0.0, 0.01]).accuracy[0]
        tensor(1., dtype=torch.float64)
    """
    with torch.inference_mode(False), torch.no_grad():
        ball, sizes = ball_of(norm), format_epsilon(epsilon)
        data = labelled(forward_func, images, labels, clip, internal_batch_size)
        data.check_radii(sizes, norm)
        correct = data.correct()
        radii = sizes.reshape(-1).tolist()
        total = len(correct) * len(radii)
        classifier, box, batches = data
        with progress_bar(show_progress, "Random noise accuracy", total) as bar:

            def right(examples: Tensor) -> tuple[Tensor, ...]:
                x, inside = classifier.inputs[examples], box.of(examples)
                unit = ball.random(ImageDraws(x, seed, purpose="random noise"), x)
                kept = []
                for radius in radii:
                    logits = classifier(inside.clamp(x + radius * unit), examples)
                    kept.append(~classifier.crossed(logits, examples))
                return (torch.stack(kept, 1),)

            (bits,) = batches.of_all(right, _PerRadius(bar, len(radii)))
        shape = (1, *sizes.shape, len(correct))
        return RobustAccuracy(sizes, norm, correct.cpu(), bits.cpu().T.reshape(shape))


class _PerRadius:
    """Tells a bar that counts rows of images that are done at all radii."""

    def __init__(self, bar: Any, radii: int) -> None:
        self._bar, self._radii = bar, radii

    def update(self, num_images: int) -> None:
        """Count images."""
        self._bar.update(num_images * self._radii)


class GradientMasking(NamedTuple):
    """Checks of an attack on a model; what failed says why its robust accuracy is too high.

    Args:
        attacked: The robust accuracy at the radius asked for, with all restarts.
        noise: The accuracy under random noise of the same radius.
        beaten_by_noise: Images that noise flips and the attack does not.
        without_gradient: Rightly classified images whose gradient is 0 in every pixel.
        large: The robust accuracy at the large radius.
        gain: By how much the last restart lowered the robust accuracy; NaN for one search.
        failed: One sentence for each check that failed; empty if all passed.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.masking import gradient_masking
        >>> def saturated(x):                 # right, and flat: steps of a staircase
        ...     mean = (x.flatten(1).mean(1) * 8).round() + 0 * x.flatten(1).sum(1)
        ...     return torch.stack([4 - mean, mean - 4], 1)
        >>> images = torch.tensor([0.2, 0.3, 0.8]).reshape(3, 1, 1, 1).expand(3, 1, 4, 4)
        >>> checks = gradient_masking(saturated, images, torch.tensor([0, 0, 1]), 0.1)
        >>> checks.failed[0].split(':')[0]
        'gradients of the margin are 0 in every pixel of 3 of 3 images'
    """

    attacked: RobustAccuracy
    noise: RobustAccuracy
    beaten_by_noise: int
    without_gradient: int
    large: RobustAccuracy
    gain: float
    failed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True if no check failed, which is no proof that the attack finds all there is."""
        return not self.failed

    def __str__(self) -> str:
        """List the checks that failed."""
        return "\n".join(self.failed) or "no sign of masked gradients"


def gradient_masking(
    forward_func: Callable[..., Any],
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    norm: Norm = "linf",
    *,
    large_epsilon: float | None = None,
    attack: Attack | None = None,
    steps: int = 20,
    restarts: int = 3,
    clip: Clip | None = (0.0, 1.0),
    seed: int = 0,
    internal_batch_size: int | None = None,
    show_progress: bool = False,
) -> GradientMasking:
    r"""Look for signs that a model only hides its gradients from an attack.

    A robust accuracy says that an attack found nothing. These are the ways in which it shows that
    there was something:

    - random noise of the same radius flips images that the attack does not;
    - gradients of the margin are exactly 0 in images that are rightly classified, so that no step
      has a direction;
    - at a radius where any image can become any other, more than 2 % of all images stay right;
    - the last restart still finds more than 1 % of all images, and more than one of them.

    Args:
        forward_func: The classifier, from images to outputs ``(B, classes)``.
        images: Real floating tensor ``(B, ...)``, inside ``clip``.
        labels: ``(B,)`` integers, the true classes.
        epsilon: The radius whose robust accuracy is doubted.
        norm: ``"linf"`` or ``"l2"``. Default: "linf"
        large_epsilon: The radius at which nothing should be left. None: from one corner of ``clip``
            to the opposite one, 1 in ``"linf"``; must be given for unlimited pixels.
            Default: None
        attack: As in :func:`~captum_spectral.robustness.attacks.robust_accuracy`; it is checked at
            ``epsilon``, since it knows no other, and ours at the large radius. Default: None
        steps: Of our attack. Default: 20
        restarts: Searches. Default: 3
        clip: ``(low, high)`` of valid pixels; None: no limits. Default: (0.0, 1.0)
        seed: Of starts and noise. Default: 0
        internal_batch_size: At most so many images are attacked at a time. Default: None
        show_progress: Display progress bars. Default: False

    Returns:
        :class:`GradientMasking`: the numbers of each check, and in ``failed`` those that failed, in
        words.

    Raises:
        TypeError, ValueError: As :func:`~captum_spectral.robustness.attacks.robust_accuracy`; a
            ``large_epsilon`` that is missing or not larger than ``epsilon``.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost in model rows per image: that of the attack at ``epsilon`` with all restarts and at the
    large radius with one, and 6 forward and 1 backward.

    What it does not say: that a model passes proves nothing. Gradients can mislead in ways that
    none of these shows; a stronger attack of another kind, such as one without gradients, may.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.masking import gradient_masking
        >>> model = torch.nn.Linear(2, 2).requires_grad_(False)
        >>> model.weight[:], model.bias[:] = torch.eye(2), 0
        >>> images = torch.tensor([[0.9, 0.1], [0.6, 0.5], [0.2, 0.3]])
        >>> checks = gradient_masking(model.eval(), images, torch.tensor([0, 0, 1]), 0.1)
        >>> checks.passed, float(checks.large.accuracy)
        (True, 0.0)

    References:
        A. Athalye, N. Carlini, D. Wagner, *Obfuscated Gradients Give a False Sense of Security*,
        ICML 2018. N. Carlini et al., *On Evaluating Adversarial Robustness*, 2019.
    """
    with torch.inference_mode(False), torch.no_grad():
        if format_epsilon(epsilon).dim():
            raise ValueError(f"epsilon must be one number, got {epsilon!r}")
        check_count("restarts", restarts)
        data = labelled(forward_func, images, labels, clip, internal_batch_size)
        data.check_radii(torch.as_tensor(epsilon), norm)
        large = _large(large_epsilon, epsilon, norm, data)
        shared: dict[str, Any] = {
            "clip": clip,
            "seed": seed,
            "internal_batch_size": internal_batch_size,
            "show_progress": show_progress,
        }

        def measured(radius: float, **options: Any) -> RobustAccuracy:
            return robust_accuracy(
                forward_func, images, labels, radius, norm, steps=steps, **shared, **options
            )

        attacked = measured(epsilon, attack=attack, restarts=restarts)
        noise = random_noise_accuracy(forward_func, images, labels, epsilon, norm, **shared)
        after = attacked.restart_accuracy
        checks = GradientMasking(
            attacked=attacked,
            noise=noise,
            beaten_by_noise=int((attacked.bits & ~noise.bits).sum()),
            without_gradient=_without_gradient(data),
            large=measured(large),
            gain=float(after[-2] - after[-1]) if len(after) > 1 else math.nan,
            failed=(),
        )
        return checks._replace(failed=tuple(_failed(checks)))


def _failed(checks: GradientMasking) -> list[str]:
    """Say which checks failed."""
    found = []
    count = int(checks.attacked.correct.sum())
    if checks.beaten_by_noise:
        found.append(
            f"random noise of epsilon = {float(checks.noise.epsilon):.4g} flips "
            f"{checks.beaten_by_noise} of {count} images that the attack leaves right: it looks in "
            "the wrong directions"
        )
    if checks.without_gradient:
        found.append(
            f"gradients of the margin are 0 in every pixel of {checks.without_gradient} of {count} "
            "images: the attack cannot move there"
        )
    left = float(checks.large.accuracy)
    if left > REMAINS:
        found.append(
            f"robust accuracy is {left:.2f} at epsilon = {float(checks.large.epsilon):.4g}, where "
            "any image can become any other: the attack is too weak for this model"
        )
    count = len(checks.attacked.correct)
    if checks.gain * count > max(1.5, GAIN * count):
        found.append(
            f"the last of {len(checks.attacked.restart_accuracy)} searches still lowered robust "
            f"accuracy by {checks.gain:.3f}: more would find more"
        )
    return found


def _large(large: float | None, epsilon: float, norm: Norm, data: Labelled) -> float:
    """Return the radius from any image to any other."""
    if large is None:
        width = data.box.width(data.classifier.inputs[:1])
        large = float(ball_of(norm).length(width).max())
        if not math.isfinite(large):
            raise ValueError(
                "large_epsilon must be given where clip leaves pixels unlimited: a radius at which "
                "no image should stay right"
            )
    if not epsilon < large < math.inf:
        raise ValueError(
            f"large_epsilon must be finite and larger than epsilon={epsilon}, got {large}"
        )
    return large


def _without_gradient(data: Labelled) -> int:
    """Count rightly classified images at which the margin has no slope at all."""
    right = data.correct().nonzero().flatten()
    if not len(right):
        return 0
    part = data.of(right)

    @torch.enable_grad()
    def flat(examples: Tensor) -> tuple[Tensor, ...]:
        classifier = part.classifier
        leaf, logits = classifier.differentiable(classifier.inputs[examples], examples)
        (gradient,) = gradients(classifier.margin(logits, examples), (leaf,))
        return ((gradient == 0).flatten(1).all(1),)

    (counted,) = part.batches.of_all(flat, NullProgress())
    return int(counted.sum())
