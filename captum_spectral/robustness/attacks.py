"""robust_accuracy: the share of images for which an attack finds nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._captum import progress_bar
from captum_spectral._engine.draws import ImageDraws
from captum_spectral.boundary.balls import Ball, Norm, ball_of
from captum_spectral.boundary.batches import Stages
from captum_spectral.boundary.box import ROUNDING, Clip
from captum_spectral.boundary.nearest import as_candidates
from captum_spectral.boundary.pgd import climb
from captum_spectral.robustness.accuracy import RobustAccuracy, format_epsilon
from captum_spectral.robustness.labelled import Labelled, labelled

__all__ = ["Attack", "robust_accuracy"]

# Makes perturbed images (b, ...) from images (b, ...) and their labels (b,).
Attack = Callable[[Tensor, Tensor], Tensor]

# All steps together go so many radii: from any point of the ball to any other, and a little back.
REACH = 2.5


def robust_accuracy(
    forward_func: Callable[..., Any],
    images: Tensor,
    labels: Tensor,
    epsilon: float | list[float] | tuple[float, ...] | Tensor,
    norm: Norm = "linf",
    *,
    attack: Attack | None = None,
    steps: int = 20,
    restarts: int = 1,
    clip: Clip | None = (0.0, 1.0),
    seed: int = 0,
    internal_batch_size: int | None = None,
    show_progress: bool = False,
) -> RobustAccuracy:
    r"""Measure the share of images that an attack within a radius leaves rightly classified.

    .. math::
        \frac1B \, \Big|\Big\{ b:\; F(z) = y_b \text{ for all } z \text{ that were tried},\;
        |z - x_b| \le \epsilon,\; z \in [\text{low}, \text{high}] \Big\}\Big|, \qquad
        F(z) = \operatorname*{argmax}_j f_j(z)

    Images that are wrong as they are count as not robust. The attack is projected gradient descent
    on :math:`f_y - \log \sum_{j \ne y} e^{f_j}`, which has the direction of the cross entropy of
    the original and does not vanish where a model is confident: ``steps`` steps of ``2.5 * epsilon
    / steps``, signs of the gradient in ``"linf"`` and the normalised gradient in ``"l2"``. The
    first search starts at the image, others at points drawn uniformly from the ball. Every point
    on the way is looked at, not only the last. An image's starts depend on ``seed``, the restart
    and its pixels alone, so batches and order change nothing beyond rounding.

    It is an **upper** bound of the robust accuracy: a better attack may find more, and only a
    verifier could say that there is nothing more to find. See
    :func:`~captum_spectral.robustness.masking.gradient_masking` for the checks that belong beside
    it.

    Args:
        forward_func: The classifier, from images to outputs ``(B, classes)`` of which the largest
            is the decision; with the normalisation inside, so that radii are in pixels.
        images: Real floating tensor ``(B, ...)``, inside ``clip``.
        labels: ``(B,)`` integers, the true classes.
        epsilon: The radius, or several. An image that falls at one radius counts as fallen at all
            larger ones, since the point that was found lies in their balls, too, and is not
            attacked there again.
        norm: ``"linf"`` (the largest change of a pixel) or ``"l2"``. Default: "linf"
        attack: A function of images ``(b, ...)`` and labels ``(b,)``, called with rightly
            classified images only, that returns points within ``epsilon`` of them, such as
            ``lambda x, y: pgd.perturb(x, 0.03, 0.004, 20, y)`` with ``captum.robust.PGD``; any
            ``captum.robust.Perturbation`` bound to its arguments, any attack of another library.
            Points that are not finite count as not found. What it draws at random is its own
            affair. It knows one ``epsilon``, so there may be one only. None: ours. Default: None
        steps: Steps of ours. Default: 20
        restarts: Searches, the first from the image and the others from random points. Those that
            still help say that more would. Default: 1
        clip: ``(low, high)`` of valid pixels, where all points stay: numbers, one number per
            channel, or tensors that broadcast to the images. None: no limits. Default: (0.0, 1.0)
        seed: Of the starts. Default: 0
        internal_batch_size: At most so many images are attacked at a time. None: all at once. Those
            that do not fit in memory are attacked again, half as many at a time, in both cases.
            Default: None
        show_progress: Display a progress bar that counts every rightly classified image once for
            each radius and restart. Default: False

    Returns:
        :class:`RobustAccuracy`: ``bits``, ``accuracy``, ``standard_error``, and
        ``restart_accuracy`` after 1, 2, ... searches.

    Raises:
        TypeError: Images or outputs that are no real floating tensor, labels that are no integers,
            an ``attack`` that is not callable or returns no tensor, counts of a wrong kind.
        ValueError: Images outside ``clip`` or not finite, labels that do not fit, an unknown
            ``norm``, radii under the max-norm larger than the width of ``clip``, several radii
            beside an ``attack``, outputs that are not ``(B, classes)`` or not finite on an image as
            it is, or have no gradient, points of an ``attack`` of a wrong shape, farther away than
            ``epsilon`` or outside ``clip``.
        torch.OutOfMemoryError: Not even the attack on a single image fits in memory.

    Warns:
        UserWarning: The model, or a part of it, is in training mode.

    Cost in model rows per image: 1; and if it is rightly classified, for each radius and restart,
    until it falls, at most ``steps + 1`` forward and ``steps`` backward, or 1 and those of
    ``attack``. Memory: the graph of the rows.

    What it does not say: outputs that are not finite at a perturbed point count as right, as no
    other class is ahead there. In half precision points are within ``epsilon`` to the rounding of
    the pixels, which is 1/512 in bfloat16: more than half of 1/255.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.attacks import robust_accuracy
        >>> model = torch.nn.Linear(2, 2).requires_grad_(False)
        >>> model.weight[:], model.bias[:] = torch.eye(2), 0
        >>> images = torch.tensor([[0.9, 0.1], [0.6, 0.5], [0.2, 0.3]])
        >>> result = robust_accuracy(model.eval(), images, torch.tensor([0, 0, 0]), 0.1)
        >>> result.bits                     # the second is within 0.05, the third is wrong anyway
        tensor([ True, False, False])
        >>> print(f"{result.accuracy:.2f} ± {result.standard_error:.2f}")
        0.33 ± 0.33

    References:
        A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu, *Towards Deep Learning Models
        Resistant to Adversarial Attacks*, ICLR 2018. N. Carlini, D. Wagner, *Towards Evaluating
        the Robustness of Neural Networks*, IEEE S&P 2017, for losses that do not vanish.
    """
    # Also where the caller has switched gradients off.
    with torch.inference_mode(False), torch.no_grad():
        ball = ball_of(norm)
        sizes = format_epsilon(epsilon)
        check_count("steps", steps)
        check_count("restarts", restarts)
        if attack is not None and not callable(attack):
            raise TypeError(
                "attack must be a function of (images, labels) that returns perturbed images, got "
                f"{type(attack).__name__}"
            )
        if attack is not None and sizes.numel() > 1:
            raise ValueError(
                f"epsilon must be one number beside an attack, which knows one, got {epsilon!r}; "
                "call robust_accuracy for each of them"
            )
        data = labelled(forward_func, images, labels, clip, internal_batch_size)
        data.check_radii(sizes, norm)
        correct = data.correct()
        right = correct.nonzero().flatten()
        radii, order = sizes.reshape(-1).sort()
        fooled = torch.zeros(len(correct), restarts, len(radii), dtype=torch.bool, device="cpu")
        if len(right):
            search = _Search(
                ball=ball,
                radii=radii.tolist(),
                attack=attack,
                steps=steps,
                restarts=restarts,
                seed=seed,
            )
            fooled[right.cpu()] = search.fooled(data.of(right), show_progress)
        robust = correct.cpu()[:, None, None] & ~fooled
        by_restart = robust.permute(1, 2, 0)[:, order.argsort()]  # (n, E, B)
        shape = (restarts, *sizes.shape, len(correct))
        return RobustAccuracy(sizes, norm, correct.cpu(), by_restart.reshape(shape))


@dataclass(frozen=True)
class _Search:
    """An attack on images, all of which are rightly classified.

    Args:
        ball: The norm.
        radii: Increasing.
        attack: The user's, or None.
        steps: Of ours, in each ball.
        restarts: How often everything is tried.
        seed: Of the starts.
    """

    ball: Ball
    radii: list[float]
    attack: Attack | None
    steps: int
    restarts: int
    seed: int

    def fooled(self, data: Labelled, show_progress: bool) -> Tensor:
        """Return which fell, after how many searches, at which radii: ``(B, n, E)`` on the CPU."""
        stages_per_image = self.restarts * len(self.radii)
        total = stages_per_image * len(data.classifier.inputs)
        with progress_bar(show_progress, "Robust accuracy", total) as bar:
            stages = Stages(bar, stages_per_image)

            def attacked(examples: Tensor) -> tuple[Tensor, ...]:
                stages.begin(len(examples))
                return (self._of_batch(data.of(examples), stages),)

            (fooled,) = data.batches.of_all(attacked, stages)
        return fooled.cpu()

    def _of_batch(self, data: Labelled, stages: Stages) -> Tensor:
        classifier = data.classifier
        images = classifier.inputs
        fooled = images.new_zeros(len(images), self.restarts, len(self.radii), dtype=torch.bool)
        for restart in range(self.restarts):
            if restart:
                fooled[:, restart] = fooled[:, restart - 1]
            unit = self._starts(images, restart)
            for i, radius in enumerate(self.radii):
                left = (~fooled[:, restart, i]).nonzero().flatten()  # (R,)
                if len(left) and radius > 0:
                    crossed = self._crossed(data, left, radius, unit)
                    # What lies in this ball lies in the larger ones.
                    fooled[left[crossed], restart, i:] = True
                stages.advance()
        return fooled

    def _starts(self, images: Tensor, restart: int) -> Tensor:
        """Return points of the unit ball, the centre first."""
        if restart == 0 or self.attack is not None:
            return torch.zeros_like(images)
        draws = ImageDraws(images, self.seed, purpose=f"attack, start {restart}")
        return self.ball.random(draws, images)

    def _crossed(self, data: Labelled, examples: Tensor, radius: float, unit: Tensor) -> Tensor:
        """Attack examples ``(R,)`` within a radius once; return which fell ``(R,)``.

        Args:
            data: Them and others.
            examples: Their indices.
            radius: Positive.
            unit: ``(b, ...)`` points of the unit ball that ours starts from.
        """
        classifier, box, _ = data
        x = classifier.inputs[examples]
        if self.attack is None:
            _, crossed = climb(
                classifier,
                box,
                x + radius * unit[examples],
                examples,
                lead=classifier.soft_margin,
                ball=self.ball,
                radius=radius,
                max_steps=self.steps,
                step=REACH * radius / self.steps,
            )
            return crossed
        with torch.enable_grad():
            given = self.attack(
                x.to(classifier.dtype, copy=True), classifier.target[examples].clone()
            )
        points = as_candidates(given, x, "attack")
        there = points.isfinite().flatten(1).all(1)  # (R,)
        crossed = torch.zeros_like(there)
        if there.any():
            inside = box.of(examples[there])
            valid = inside.clamp(points[there])
            precision = max(torch.finfo(d).eps for d in (classifier.dtype, torch.float32))
            self._check_given(points[there], valid, x[there], radius, ROUNDING * precision)
            logits = classifier(valid, examples[there])
            crossed[there] = classifier.crossed(logits, examples[there])
        return crossed

    def _check_given(
        self, points: Tensor, valid: Tensor, x: Tensor, radius: float, precision: float
    ) -> None:
        """Check that points of the user's attack are in the box and in the ball, up to rounding.

        Args:
            points: ``(R, ...)``.
            valid: The nearest ones in the box.
            x: The images.
            radius: Of the ball.
            precision: The rounding of a pixel, as a share of it.
        """
        rounding = precision * points.abs().maximum(x.abs()).max()
        if float((points - valid).abs().max()) > rounding:
            raise ValueError(
                "attack must return points inside clip, got pixels from "
                f"{float(points.min()):.4g} to {float(points.max()):.4g}; give it the range, too, "
                "or clamp what it returns"
            )
        farthest = self.ball.length(points - x).max()
        slack = 1e-4 * radius + self.ball.length(rounding.expand_as(x[:1]))
        if farthest > radius + slack:
            raise ValueError(
                f"attack must return points within epsilon={radius:.4g} of the images, got one "
                f"that is {float(farthest):.4g} away"
            )
